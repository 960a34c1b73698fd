#include "work_internal.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <stdio.h>
#include <string.h>

/* Rulesets: run, and compared with what is there. All on the serial thread. */

#define NFT_DIFF_TEXT_MAX 400

static const char *const tables[WORK_TABLES] = {"inet skein", "ip skein", "netdev skein"};

static int list_objects(struct netns *ns, const char *table, struct nftobjects *ret, struct error *err)
{
	_cleanup_free_ char *listing = NULL;

	*ret = (struct nftobjects){0};
	if (netns_nft_list(ns, table, &listing, err) < 0)
		return -1;
	nftobjects_parse(listing, ret);
	return 0;
}

int work_run_nft(struct netns *ns, const char *text, bool fill, struct error *err)
{
	_cleanup_free_ char *sweep = NULL, *all = NULL;
	struct nftobjects have;

	if (!fill)
		return netns_nft(ns, text, NULL, err);
	if (list_objects(ns, tables[0], &have, err) < 0)
		return -1;
	sweep = nftdiff_sweep(&have);
	nftobjects_fini(&have);
	all = xasprintf("%s%s", sweep, text);
	return netns_nft(ns, all, NULL, err);
}

/* The egress hook of a ruleset needs its device; any link of that name does for looking at the text. */
static int add_device(struct netns *ns, const char *text, struct error *err)
{
	const char *device = strstr(text, "egress device \"");
	struct netstate_op op = {.entry = {.kind = NETSTATE_LINK, .link = {.kind = LINK_BRIDGE}}};

	if (!device || sscanf(device, "egress device \"%15[^\"]", op.entry.link.name) != 1)
		return 0;
	return netns_apply(ns, &op, 1, NULL, err);
}

struct diff_sink {
	struct work_sync *sync;
	bool any;
};

static char *nft_text(const char *name, const char *body)
{
	return body ? xasprintf("%s { %.*s }", name, NFT_DIFF_TEXT_MAX, body) : NULL;
}

static void on_nft_diff(void *data, const char *name, const char *want, const char *have)
{
	struct diff_sink *sink = data;
	struct work_diff *d = work_add_diff(sink->sync, "nftables");

	d->wanted = nft_text(name, want);
	d->found = nft_text(name, have);
	sink->any = true;
}

void work_forget_written(struct work *w)
{
	for (size_t i = 0; i < WORK_TABLES; i++)
		nftobjects_fini(&w->written[i]);
	free(w->written_text);
	w->written_text = NULL;
}

/* How nft(8) writes what we want is seen by loading it where it does no harm. Many tasks have the same: it is kept. */
static int write_rulesets(struct work *w, const char *text, struct error *err)
{
	struct netns *scratch;
	int r = -1;

	if (str_eq(w->written_text, text))
		return 0;
	work_forget_written(w);
	scratch = netns_new(w->host, err);
	if (scratch && add_device(scratch, text, err) == 0)
		r = netns_nft(scratch, text, NULL, err);
	for (size_t i = 0; i < WORK_TABLES && r == 0; i++)
		r = list_objects(scratch, tables[i], &w->written[i], err);
	netns_close(scratch);
	if (r == 0)
		w->written_text = xstrdup(text);
	else
		work_forget_written(w);
	return r;
}

static int compare_rulesets(struct work *w, struct netns *ns, struct work_sync *s, bool *ret_differ, struct error *err)
{
	struct diff_sink sink = {.sync = s};

	if (write_rulesets(w, s->text, err) < 0)
		return -1;
	for (size_t i = 0; i < WORK_TABLES; i++) {
		struct nftobjects have;

		if (list_objects(ns, tables[i], &have, err) < 0)
			return -1;
		nftdiff(&w->written[i], &have, on_nft_diff, &sink);
		s->checked += w->written[i].n;
		nftobjects_fini(&have);
	}
	*ret_differ = sink.any;
	return 0;
}

int work_sync_rulesets(struct work *w, struct netns *ns, struct work_sync *s, struct error *err)
{
	size_t first = s->n_diffs;
	bool differ = false;
	int r = compare_rulesets(w, ns, s, &differ, err);

	if (r == 0 && differ && s->repair)
		r = work_run_nft(ns, s->text, s->fill, err);
	if (s->path) /* looked at once a minute, and there are many */
		work_rest(w, s->path);
	if (r < 0 || !differ || !s->repair)
		return r;
	for (size_t i = first; i < s->n_diffs; i++)
		s->diffs[i].repaired = true;
	return 0;
}
