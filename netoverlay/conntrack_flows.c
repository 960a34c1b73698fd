#include "conntrack.h"
#include "conntrack_internal.h"
#include "netns_internal.h"

#include "common/error.h"
#include "common/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_conntrack_tcp.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <netlink/msg.h>
#include <string.h>

#define TCP_STATES 9 /* the kernel's enum tcp_conntrack, up to CLOSE */
#define TIMEOUT_MAX_S 432000u

static int size_of(int family)
{
	return family == AF_INET6 ? 16 : 4;
}

/* ---------------------------------------------------------------- reading */

struct list {
	const struct ipaddr *address;
	bool answers;
	struct conntrack_entry *v;
	size_t n, cap;
};

static bool read_address(struct nlattr *ip, int family, bool source, struct ipaddr *ret)
{
	static const int types[2][2] = {{CTA_IP_V4_DST, CTA_IP_V4_SRC}, {CTA_IP_V6_DST, CTA_IP_V6_SRC}};
	struct nlattr *a = conntrack_find(ip, types[family == AF_INET6][source]);

	if (!a || nla_len(a) != size_of(family))
		return false;
	*ret = (struct ipaddr){.family = (uint8_t)family, .prefix = (uint8_t)(8 * size_of(family))};
	memcpy(ret->bytes, nla_data(a), (size_t)size_of(family));
	return true;
}

static bool read_port(struct nlattr *proto, int type, uint16_t *ret)
{
	struct nlattr *a = conntrack_find(proto, type);

	if (!a || nla_len(a) != sizeof(uint16_t))
		return false;
	*ret = ntohs(nla_get_u16(a));
	return true;
}

static bool read_tuple(struct nlattr *tuple, int family, uint8_t *protocol, struct ipaddr *src, uint16_t *sport,
		       struct ipaddr *dst, uint16_t *dport)
{
	struct nlattr *ip = conntrack_find(tuple, CTA_TUPLE_IP), *proto = conntrack_find(tuple, CTA_TUPLE_PROTO);
	struct nlattr *number = conntrack_find(proto, CTA_PROTO_NUM);

	if (!number || nla_len(number) != 1)
		return false;
	*protocol = nla_get_u8(number);
	return (*protocol == IPPROTO_TCP || *protocol == IPPROTO_UDP) && read_address(ip, family, true, src) &&
	       read_address(ip, family, false, dst) && read_port(proto, CTA_PROTO_SRC_PORT, sport) &&
	       read_port(proto, CTA_PROTO_DST_PORT, dport);
}

static uint32_t read_u32(struct nlattr *a)
{
	return a && nla_len(a) == sizeof(uint32_t) ? ntohl(nla_get_u32(a)) : 0;
}

static bool read_entry(const struct nlmsghdr *nlh, int family, struct conntrack_entry *ret)
{
	struct nlattr *tb[CTA_MAX + 1], *state;
	uint8_t protocol;

	if (nlmsg_parse((struct nlmsghdr *)nlh, sizeof(struct nfgenmsg), tb, CTA_MAX, NULL) < 0)
		return false;
	memset(ret, 0, sizeof(*ret));
	if (!read_tuple(tb[CTA_TUPLE_ORIG], family, &ret->protocol, &ret->from, &ret->from_port, &ret->to, &ret->to_port) ||
	    !read_tuple(tb[CTA_TUPLE_REPLY], family, &protocol, &ret->answerer, &ret->answerer_port, &ret->answered,
			&ret->answered_port))
		return false;
	ret->seen_reply = read_u32(tb[CTA_STATUS]) & IPS_SEEN_REPLY;
	ret->timeout_s = read_u32(tb[CTA_TIMEOUT]);
	ret->mark = read_u32(tb[CTA_MARK]);
	state = conntrack_find(conntrack_find(tb[CTA_PROTOINFO], CTA_PROTOINFO_TCP), CTA_PROTOINFO_TCP_STATE);
	ret->tcp_state = state && nla_len(state) == 1 ? nla_get_u8(state) : 0;
	return true;
}

static bool on_entry(void *data, const struct nlmsghdr *nlh, struct error *err)
{
	struct list *l = data;
	struct conntrack_entry e;

	if (!nlsock_header(nlh, sizeof(struct nfgenmsg)) || l->n == CONNTRACK_LIST_MAX ||
	    !read_entry(nlh, l->address->family, &e) ||
	    !ipaddr_same_host(l->answers ? &e.answerer : &e.from, l->address))
		return true;
	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 32;
		l->v = xreallocarray(l->v, l->cap, sizeof(*l->v));
	}
	l->v[l->n++] = e;
	return true;
}

int conntrack_list(struct netns *ns, const struct ipaddr *address, bool answers, struct conntrack_entry **ret, size_t *ret_n,
		   struct error *err)
{
	struct nfgenmsg header = conntrack_header(address->family);
	struct list l = {.address = address, .answers = answers};
	struct error local = ERROR_INIT;
	struct nlsock nl;
	struct nl_msg *msg;
	int r = conntrack_open(ns, &nl, err);

	*ret = NULL;
	*ret_n = 0;
	if (r)
		return r < 0 ? -1 : 0;
	msg = nlsock_msg(conntrack_type(IPCTNL_MSG_CT_GET), NLM_F_DUMP, &header, sizeof(header));
	r = nlsock_read(&nl, msg, on_entry, &l, &local);
	nlmsg_free(msg);
	nlsock_close(&nl);
	/* Others come and go meanwhile; without tracking there is nothing. */
	if (r < 0 && local.code != ERR_CONFLICT && local.code != ERR_NOT_FOUND && local.code != ERR_UNIMPLEMENTED) {
		free(l.v);
		return error_set(err, local.code, "read tracked connections: %s", local.msg);
	}
	*ret = l.v;
	*ret_n = l.n;
	return 0;
}

/* ---------------------------------------------------------------- making */

static void put_tuple(struct nl_msg *msg, int type, const struct conntrack_entry *e, const struct ipaddr *src, uint16_t sport,
		      const struct ipaddr *dst, uint16_t dport)
{
	bool six = src->family == AF_INET6;
	struct nlattr *tuple = nla_nest_start(msg, type | NLA_F_NESTED), *part;

	part = nla_nest_start(msg, CTA_TUPLE_IP | NLA_F_NESTED);
	nla_put(msg, six ? CTA_IP_V6_SRC : CTA_IP_V4_SRC, size_of(src->family), src->bytes);
	nla_put(msg, six ? CTA_IP_V6_DST : CTA_IP_V4_DST, size_of(src->family), dst->bytes);
	nla_nest_end(msg, part);
	part = nla_nest_start(msg, CTA_TUPLE_PROTO | NLA_F_NESTED);
	nla_put_u8(msg, CTA_PROTO_NUM, e->protocol);
	nla_put_u16(msg, CTA_PROTO_SRC_PORT, htons(sport));
	nla_put_u16(msg, CTA_PROTO_DST_PORT, htons(dport));
	nla_nest_end(msg, part);
	if (type == CTA_TUPLE_ORIG && e->from_zone)
		nla_put_u16(msg, CTA_TUPLE_ZONE, htons(e->from_zone));
	nla_nest_end(msg, tuple);
}

/* Source: ctnetlink_setup_nat() of the kernel: replies are given as they were without a translation, which then changes them. */
static void put_translation(struct nl_msg *msg, int type, const struct ipaddr *to, uint16_t port)
{
	bool six = to->family == AF_INET6;
	struct nlattr *nat = nla_nest_start(msg, type | NLA_F_NESTED), *part;

	nla_put(msg, six ? CTA_NAT_V6_MINIP : CTA_NAT_V4_MINIP, size_of(to->family), to->bytes);
	nla_put(msg, six ? CTA_NAT_V6_MAXIP : CTA_NAT_V4_MAXIP, size_of(to->family), to->bytes);
	part = nla_nest_start(msg, CTA_NAT_PROTO | NLA_F_NESTED);
	nla_put_u16(msg, CTA_PROTONAT_PORT_MIN, htons(port));
	nla_put_u16(msg, CTA_PROTONAT_PORT_MAX, htons(port));
	nla_nest_end(msg, part);
	nla_nest_end(msg, nat);
}

static void put_tcp(struct nl_msg *msg, uint8_t state)
{
	struct nf_ct_tcp_flags liberal = {.flags = IP_CT_TCP_FLAG_BE_LIBERAL, .mask = IP_CT_TCP_FLAG_BE_LIBERAL};
	struct nlattr *info = nla_nest_start(msg, CTA_PROTOINFO | NLA_F_NESTED);
	struct nlattr *tcp = nla_nest_start(msg, CTA_PROTOINFO_TCP | NLA_F_NESTED);

	nla_put_u8(msg, CTA_PROTOINFO_TCP_STATE, state);
	nla_put(msg, CTA_PROTOINFO_TCP_FLAGS_ORIGINAL, sizeof(liberal), &liberal);
	nla_put(msg, CTA_PROTOINFO_TCP_FLAGS_REPLY, sizeof(liberal), &liberal);
	nla_nest_end(msg, tcp);
	nla_nest_end(msg, info);
}

static void put_entry(struct nl_msg *msg, const struct conntrack_entry *e)
{
	uint32_t status = IPS_CONFIRMED | (e->seen_reply ? IPS_SEEN_REPLY | IPS_ASSURED : 0);

	put_tuple(msg, CTA_TUPLE_ORIG, e, &e->from, e->from_port, &e->to, e->to_port);
	put_tuple(msg, CTA_TUPLE_REPLY, e, &e->to, e->to_port, &e->from, e->from_port);
	nla_put_u32(msg, CTA_STATUS, htonl(status));
	nla_put_u32(msg, CTA_TIMEOUT, htonl(MAX(MIN(e->timeout_s, TIMEOUT_MAX_S), 1u)));
	if (e->mark)
		nla_put_u32(msg, CTA_MARK, htonl(e->mark));
	if (!ipaddr_same_host(&e->answerer, &e->to) || e->answerer_port != e->to_port)
		put_translation(msg, CTA_NAT_DST, &e->answerer, e->answerer_port);
	if (!ipaddr_same_host(&e->answered, &e->from) || e->answered_port != e->from_port)
		put_translation(msg, CTA_NAT_SRC, &e->answered, e->answered_port);
	if (e->protocol == IPPROTO_TCP)
		put_tcp(msg, e->tcp_state);
}

static bool is_sound(const struct conntrack_entry *e)
{
	int family = e->from.family;

	return (family == AF_INET || family == AF_INET6) && e->to.family == family && e->answerer.family == family &&
	       e->answered.family == family &&
	       (e->protocol == IPPROTO_UDP || (e->protocol == IPPROTO_TCP && e->tcp_state && e->tcp_state < TCP_STATES));
}

static void on_failed(void *data, size_t tag, int errno_value, const char *text)
{
	error_set_errno(data, errno_value, "make a tracked connection%s%s", *text ? ": " : "", text);
}

int conntrack_add(struct netns *ns, const struct conntrack_entry *v, size_t n, struct error *err)
{
	struct error local = ERROR_INIT;
	struct nlsock_batch b;
	struct nlsock nl;
	int r = conntrack_open(ns, &nl, err);

	if (r)
		return r < 0 ? -1 : error_set(err, ERR_UNIMPLEMENTED, "the kernel does not track connections");
	nlsock_batch_init(&b, &nl, on_failed, &local);
	for (size_t i = 0; i < n; i++) {
		struct nfgenmsg header = conntrack_header(v[i].from.family);

		if (!is_sound(&v[i])) {
			error_set(&local, ERR_INVALID, "a tracked connection that cannot be");
			continue;
		}
		put_entry(nlsock_batch_begin(&b, conntrack_type(IPCTNL_MSG_CT_NEW), NLM_F_CREATE | NLM_F_EXCL, &header,
					     sizeof(header)),
			  &v[i]);
		nlsock_batch_add(&b, i, EEXIST, 0, 0);
	}
	nlsock_batch_flush(&b);
	nlsock_batch_fini(&b);
	nlsock_close(&nl);
	return error_is_set(&local) ? error_set(err, local.code, "%s", local.msg) : 0;
}
