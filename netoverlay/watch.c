#include "netns_internal.h"

#include "common/error.h"
#include "common/mem.h"

#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>

/*
 * Notifications are there when the request that caused them returns. So what has come in when a batch begins is
 * somebody else's doing, and what has come in when it ends is ours (or so near to it that the slow check sees it).
 */

static const int groups[] = {RTNLGRP_LINK,        RTNLGRP_NEIGH,      RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
			     RTNLGRP_IPV4_ROUTE,  RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE,   RTNLGRP_IPV6_RULE};

int netns_watch_open(struct netns *ns, struct error *err)
{
	int back, r;

	if (ns->watch.sock)
		return nl_socket_get_fd(ns->watch.sock);
	if (netns_enter(ns, &back, err) < 0)
		return -1;
	r = nlsock_open(&ns->watch, NETLINK_ROUTE, err);
	netns_leave(back);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(groups); i++) {
		if (nl_socket_add_membership(ns->watch.sock, groups[i]) < 0) {
			nlsock_close(&ns->watch);
			return error_set(err, ERR_INTERNAL, "watch the network of %s", ns->path ?: "the host");
		}
	}
	return r < 0 ? -1 : nl_socket_get_fd(ns->watch.sock);
}

/* Neighbours are learnt and confirmed all the time: only permanent ones matter. One that was deleted is told of as
 * failed, whatever it was before. */
static bool matters(const struct nlmsghdr *nlh)
{
	const struct ndmsg *ndm;

	if (nlh->nlmsg_type != RTM_NEWNEIGH)
		return nlh->nlmsg_type >= RTM_BASE;
	ndm = nlsock_header(nlh, sizeof(*ndm));
	return ndm && ndm->ndm_state & NUD_PERMANENT;
}

/* True when something that matters was there. Notifications that were lost matter. */
static bool drain(struct netns *ns)
{
	_cleanup_free_ uint8_t *buf = NULL;
	bool seen = false;
	long n;

	if (!ns->watch.sock)
		return false;
	buf = xmalloc(64 * 1024);
	while ((n = nlsock_poll(&ns->watch, buf, 64 * 1024)) != 0) {
		int len = (int)n;

		if (n < 0) {
			seen = true;
			continue;
		}
		for (struct nlmsghdr *nlh = (void *)buf; nlmsg_ok(nlh, len); nlh = nlmsg_next(nlh, &len))
			seen |= matters(nlh);
	}
	return seen;
}

void watch_before(struct netns *ns)
{
	ns->watch_foreign |= drain(ns);
}

void watch_after(struct netns *ns)
{
	drain(ns);
}

bool netns_watch_read(struct netns *ns)
{
	bool seen = drain(ns) || ns->watch_foreign;

	ns->watch_foreign = false;
	return seen;
}
