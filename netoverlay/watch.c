#include "netns_internal.h"

#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#define ERRORS_MAX 8

/*
 * Notifications are there when the request that caused them returns. So what has come in when a batch begins is
 * somebody else's doing, and what has come in when it ends is ours (or so near to it that the slow check sees it).
 */

static const int groups[] = {RTNLGRP_LINK,        RTNLGRP_NEIGH,      RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR,
			     RTNLGRP_IPV4_ROUTE,  RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE,   RTNLGRP_IPV6_RULE};

static int join(struct netns *ns, struct error *err)
{
	for (size_t i = 0; i < ARRAY_SIZE(groups); i++)
		if (nl_socket_add_membership(ns->watch.sock, groups[i]) < 0)
			return error_set(err, ERR_INTERNAL, "watch the network of %s", ns->path ?: "the host");
	return 0;
}

/* One descriptor for two: notifications, and that some were seen when we looked for another reason. */
static int open_both(struct netns *ns, struct error *err)
{
	struct epoll_event ev = {.events = EPOLLIN};

	ns->watch_fd = file_fd_high(epoll_create1(EPOLL_CLOEXEC));
	ns->watch_seen = file_fd_high(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
	if (ns->watch_fd < 0 || ns->watch_seen < 0 || epoll_ctl(ns->watch_fd, EPOLL_CTL_ADD, ns->watch_seen, &ev) < 0 ||
	    epoll_ctl(ns->watch_fd, EPOLL_CTL_ADD, nl_socket_get_fd(ns->watch.sock), &ev) < 0)
		return error_set_errno(err, errno, "watch the network of %s", ns->path ?: "the host");
	return 0;
}

void watch_close(struct netns *ns)
{
	nlsock_close(&ns->watch);
	mem_closep(&ns->watch_fd);
	mem_closep(&ns->watch_seen);
}

int netns_watch_open(struct netns *ns, struct error *err)
{
	int back, r;

	if (ns->watch.sock)
		return ns->watch_fd;
	if (netns_enter(ns, &back, err) < 0)
		return -1;
	r = nlsock_open(&ns->watch, NETLINK_ROUTE, err);
	netns_leave(back);
	if (r == 0 && (join(ns, err) < 0 || open_both(ns, err) < 0)) {
		watch_close(ns);
		r = -1;
	}
	return r < 0 ? -1 : ns->watch_fd;
}

/* Neighbours are learnt, confirmed and forgotten all the time: only permanent ones matter. Of one that somebody deletes
 * the kernel says, in the name of who did it, that it failed, whatever it was before; and then that it is gone, as of
 * those that it forgets by itself. */
static bool neighbour_matters(const struct nlmsghdr *nlh)
{
	const struct ndmsg *ndm = nlsock_header(nlh, sizeof(*ndm));

	if (!ndm)
		return false;
	if (ndm->ndm_state & NUD_PERMANENT)
		return true;
	return nlh->nlmsg_type == RTM_NEWNEIGH && ndm->ndm_family != AF_BRIDGE && ndm->ndm_state & NUD_FAILED &&
	       nlh->nlmsg_pid != 0;
}

/* Routing daemons change the main table as they like; only our routes there are compared. One in its stead replaces it. */
static bool route_matters(const struct nlmsghdr *nlh)
{
	const struct rtmsg *rtm = nlsock_header(nlh, sizeof(*rtm));

	if (!rtm || rtm->rtm_flags & RTM_F_CLONED)
		return false;
	return rtm->rtm_protocol == NETSTATE_PROTO || nlh->nlmsg_flags & NLM_F_REPLACE ||
	       (rtm->rtm_table != RT_TABLE_MAIN && rtm->rtm_table != RT_TABLE_LOCAL);
}

static bool matters(const struct nlmsghdr *nlh)
{
	const struct ifaddrmsg *ifa;

	switch (nlh->nlmsg_type) {
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		return neighbour_matters(nlh);
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		return route_matters(nlh);
	case RTM_NEWADDR:
	case RTM_DELADDR: /* the kernel gives itself addresses on a link */
		ifa = nlsock_header(nlh, sizeof(*ifa));
		return ifa && ifa->ifa_scope != RT_SCOPE_LINK;
	default:
		return nlh->nlmsg_type >= RTM_BASE;
	}
}

/* True when something that matters was there. Notifications that were lost matter. */
static bool drain(struct netns *ns)
{
	_cleanup_free_ uint8_t *buf = NULL;
	bool seen = false;
	int errors = 0;
	long n;

	if (!ns->watch.sock)
		return false;
	buf = xmalloc(64 * 1024);
	while ((n = nlsock_poll(&ns->watch, buf, 64 * 1024)) != 0) {
		int len = (int)n;

		if (n < 0) {
			seen = true;
			if (++errors == ERRORS_MAX)
				break;
			continue;
		}
		for (struct nlmsghdr *nlh = (void *)buf; nlmsg_ok(nlh, len); nlh = nlmsg_next(nlh, &len))
			seen |= matters(nlh);
	}
	return seen;
}

void watch_before(struct netns *ns)
{
	/* The descriptor must be readable still, or nobody would come and ask. */
	if (drain(ns))
		eventfd_write(ns->watch_seen, 1);
}

void watch_after(struct netns *ns)
{
	drain(ns);
}

bool netns_watch_read(struct netns *ns)
{
	bool seen = drain(ns);
	eventfd_t n;

	return (ns->watch.sock && eventfd_read(ns->watch_seen, &n) == 0) || seen;
}
