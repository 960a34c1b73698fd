#include "netns_internal.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <errno.h>
#include <fcntl.h>
#include <nftables/libnftables.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

#define SPARE_DESCRIPTORS 16 /* others may open some meanwhile */

/* The library waits with select(2), and whoever gives it a higher descriptor is aborted. See file_fd_high(). */
static int check_descriptors(struct error *err)
{
	_cleanup_close_ int lowest = open("/dev/null", O_RDONLY | O_CLOEXEC);

	if (lowest < 0)
		return error_set_errno(err, errno, "nftables: a descriptor");
	if (lowest >= FD_SETSIZE - SPARE_DESCRIPTORS)
		return error_set(err, ERR_EXHAUSTED, "nftables: %d descriptors are open, the library can do with %d at most",
				 lowest, FD_SETSIZE - SPARE_DESCRIPTORS);
	return 0;
}

/* The library opens its socket when its context is made: inside the namespace, which it then stays in. */
static int need_context(struct netns *ns, struct error *err)
{
	int back;

	if (ns->nft)
		return 0;
	if (check_descriptors(err) < 0 || netns_enter(ns, &back, err) < 0)
		return -1;
	ns->nft = nft_ctx_new(NFT_CTX_DEFAULT);
	netns_leave(back);
	if (!ns->nft)
		return error_set(err, ERR_INTERNAL, "nftables: no context");
	nft_ctx_buffer_output(ns->nft);
	nft_ctx_buffer_error(ns->nft);
	nft_ctx_output_set_flags(ns->nft, NFT_CTX_OUTPUT_STATELESS | NFT_CTX_OUTPUT_NUMERIC_ALL);
	return 0;
}

static int run(struct netns *ns, const char *text, char **ret_out, char **ret_errors, struct error *err)
{
	const char *out;
	int back, r;

	if (need_context(ns, err) < 0)
		return -1;
	/* Names of interfaces are looked up by the thread, not by the socket. */
	if (netns_enter(ns, &back, err) < 0)
		return -1;
	r = nft_run_cmd_from_buffer(ns->nft, text);
	netns_leave(back);
	out = nft_ctx_get_output_buffer(ns->nft);
	*ret_out = xstrdup(out ?: "");
	out = nft_ctx_get_error_buffer(ns->nft);
	*ret_errors = xstrdup(out ?: "");
	return r == 0 ? 0 : 1;
}

void netns_rest(struct netns *ns)
{
	if (ns->nft)
		nft_ctx_free(ns->nft);
	ns->nft = NULL;
}

int netns_nft(struct netns *ns, const char *text, char **ret_out, struct error *err)
{
	_cleanup_free_ char *out = NULL, *errors = NULL;
	int r = run(ns, text, &out, &errors, err);

	if (r < 0)
		return -1;
	if (r > 0)
		return error_set(err, strstr(errors, "not permitted") ? ERR_DENIED : ERR_INVALID, "nftables: %.600s", errors);
	if (ret_out)
		*ret_out = TAKE_PTR(out);
	return 0;
}

int netns_nft_list(struct netns *ns, const char *table, char **ret, struct error *err)
{
	_cleanup_free_ char *out = NULL, *errors = NULL;
	char command[128];
	int r;

	snprintf(command, sizeof(command), "list table %s", table);
	r = run(ns, command, &out, &errors, err);
	if (r < 0)
		return -1;
	if (r > 0) {
		if (!strstr(errors, "No such file or directory"))
			return error_set(err, ERR_INTERNAL, "nftables: %.600s", errors);
		free(out);
		out = xstrdup("");
	}
	*ret = TAKE_PTR(out);
	return 0;
}
