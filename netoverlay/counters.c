#include "counters.h"

#include "common/error.h"
#include "common/mem.h"
#include "netns_internal.h"

#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/ip_vs.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <string.h>

struct links {
	struct link_counters *v;
	size_t n, cap;
};

static bool on_link(void *data, const struct nlmsghdr *nlh, struct error *err)
{
	struct links *l = data;
	struct nlattr *tb[IFLA_MAX + 1];
	struct rtnl_link_stats64 stats = {0};
	struct link_counters *c;

	if (nlh->nlmsg_type != RTM_NEWLINK || nlmsg_parse((struct nlmsghdr *)nlh, sizeof(struct ifinfomsg), tb, IFLA_MAX, NULL) < 0 ||
	    !tb[IFLA_IFNAME] || !tb[IFLA_STATS64])
		return true;
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 64;
		l->v = xreallocarray(l->v, l->cap, sizeof(*l->v));
	}
	/* Kernels say more, or less, than the header we were built with. */
	memcpy(&stats, nla_data(tb[IFLA_STATS64]), MIN((size_t)nla_len(tb[IFLA_STATS64]), sizeof(stats)));
	c = &l->v[l->n++];
	*c = (struct link_counters){
		.rx_bytes = stats.rx_bytes, .rx_packets = stats.rx_packets, .rx_errors = stats.rx_errors, .rx_dropped = stats.rx_dropped,
		.tx_bytes = stats.tx_bytes, .tx_packets = stats.tx_packets, .tx_errors = stats.tx_errors, .tx_dropped = stats.tx_dropped,
	};
	nla_strlcpy(c->name, tb[IFLA_IFNAME], sizeof(c->name));
	return true;
}

int netns_link_counters(struct netns *ns, struct link_counters **ret, size_t *ret_n, struct error *err)
{
	struct ifinfomsg header = {.ifi_family = AF_UNSPEC};
	struct nl_msg *msg = nlsock_msg(RTM_GETLINK, NLM_F_DUMP, &header, sizeof(header));
	struct error why = ERROR_INIT;
	struct links l = {0};
	int r = nlsock_read(&ns->rt, msg, on_link, &l, &why);

	nlmsg_free(msg);
	/* Links that come and go meanwhile are no reason to say nothing of the others. */
	if (r < 0 && why.code != ERR_CONFLICT) {
		free(l.v);
		if (err)
			*err = why;
		return -1;
	}
	*ret = l.v;
	*ret_n = l.n;
	return 0;
}

/* ---------------------------------------------------------------- IPVS */

struct balance {
	struct balance_counters *ret;
	struct netstate_ipvs_service *v;
	size_t n, cap;
};

static bool on_service(void *data, const struct nlmsghdr *nlh, struct error *err)
{
	struct balance *b = data;

	if (b->n == b->cap) {
		b->cap = b->cap ? b->cap * 2 : 16;
		b->v = xreallocarray(b->v, b->cap, sizeof(*b->v));
	}
	b->n += ipvs_decode_service(nlh, &b->v[b->n]);
	return true;
}

static uint32_t u32_of(const struct nlattr *attr)
{
	return attr && nla_len(attr) >= 4 ? nla_get_u32(attr) : 0;
}

static bool on_endpoint(void *data, const struct nlmsghdr *nlh, struct error *err)
{
	struct balance_counters *c = data;
	struct nlattr *top[IPVS_CMD_ATTR_MAX + 1], *tb[IPVS_DEST_ATTR_MAX + 1];

	if (nlmsg_parse((struct nlmsghdr *)nlh, GENL_HDRLEN, top, IPVS_CMD_ATTR_MAX, NULL) < 0 || !top[IPVS_CMD_ATTR_DEST] ||
	    nla_parse_nested(tb, IPVS_DEST_ATTR_MAX, top[IPVS_CMD_ATTR_DEST], NULL) < 0)
		return true;
	c->endpoints++;
	c->active += u32_of(tb[IPVS_DEST_ATTR_ACTIVE_CONNS]);
	c->inactive += u32_of(tb[IPVS_DEST_ATTR_INACT_CONNS]);
	return true;
}

int netns_balance_counters(struct netns *ns, struct balance_counters *ret, struct error *err)
{
	struct balance b = {.ret = ret};
	struct nl_msg *msg;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (netns_need_genl(ns, err) < 0)
		return -1;
	msg = ipvs_dump_services_msg(ns);
	r = nlsock_read(&ns->genl, msg, on_service, &b, err);
	nlmsg_free(msg);
	ret->services = (unsigned)b.n;
	for (size_t i = 0; r == 0 && i < b.n; i++) {
		msg = ipvs_dump_dests_msg(ns, &b.v[i]);
		r = nlsock_read(&ns->genl, msg, on_endpoint, ret, err);
		nlmsg_free(msg);
	}
	free(b.v);
	return r;
}
