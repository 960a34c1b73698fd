// links: netoverlay
#include "netoverlay/netns_internal.h"
#include "netoverlay/netstate_entry.h"
#include "netoverlay/rtnl.h"

#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was decoded can be named and printed, and is the same entry as itself. */
static void use(const struct netstate_entry *e)
{
	char text[NETSTATE_ENTRY_TEXT_MAX];
	uint8_t key[NETSTATE_KEY_MAX];
	struct netstate *s = netstate_new();

	if (strlen(netstate_entry_text(e, text)) >= sizeof(text) || netstate_entry_key(e, key) > sizeof(key))
		abort();
	if (!netstate_put(s, e) || netstate_put(s, e) || !netstate_get(s, e) || !netstate_entry_fulfils(e, e))
		abort();
	netstate_free(s);
}

static bool decode(uint8_t what, const struct nlmsghdr *nlh, struct netstate_entry *e)
{
	struct netstate_ipvs_service service = {.fwmark = 7};
	char text[NLSOCK_TEXT_MAX];
	struct rtnl_fact fact;

	switch (what) {
	case 'i':
		e->kind = NETSTATE_IPVS_SERVICE;
		return ipvs_decode_service(nlh, &e->ipvs_service);
	case 'd':
		e->kind = NETSTATE_IPVS_DEST;
		return ipvs_decode_dest(nlh, &service, &e->ipvs_dest);
	case 'x':
		e->kind = NETSTATE_XFRM_STATE;
		return xfrm_decode_state(nlh, &e->xfrm_state);
	case 'p':
		e->kind = NETSTATE_XFRM_POLICY;
		return xfrm_decode_policy(nlh, &e->xfrm_policy);
	case 'e':
		if (nlsock_error_of(nlh, text) > 0 || strlen(text) >= sizeof(text))
			abort();
		return false;
	default:
		if (!rtnl_decode(nlh, &fact))
			return false;
		*e = fact.entry;
		return true;
	}
}

/* The first byte says whose messages follow: r of rtnetlink, i and d of IPVS, x and p of xfrm, e errors. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct netstate_entry e = {0};
	struct nlmsghdr *nlh;
	uint8_t *copy;
	size_t left;

	if (size < 1)
		return 0;
	left = size - 1;
	copy = malloc(left + 1); /* aligned as the kernel's answers are, and with an end that sanitizers see */
	if (!copy)
		return 0;
	memcpy(copy, data + 1, left);
	nlh = (struct nlmsghdr *)copy;
	while (left >= sizeof(*nlh) && nlh->nlmsg_len >= sizeof(*nlh) && nlh->nlmsg_len <= left) {
		size_t step = NLMSG_ALIGN(nlh->nlmsg_len);

		e = (struct netstate_entry){0};
		if (decode(data[0], nlh, &e))
			use(&e);
		if (step >= left)
			break;
		left -= step;
		nlh = (struct nlmsghdr *)((uint8_t *)nlh + step);
	}
	free(copy);
	return 0;
}
