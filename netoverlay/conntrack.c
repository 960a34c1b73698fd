#include "conntrack.h"
#include "conntrack_internal.h"
#include "netns_internal.h"

#include "common/error.h"
#include "common/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netlink.h>
#include <netlink/msg.h>
#include <stdlib.h>
#include <string.h>

/* As in the kernel's net/netfilter/nf_conntrack_netlink.c; no header has them. */
#define FILTER_IP_SRC (1u << 0)
#define FILTER_PROTO_NUM (1u << 3)
#define FILTER_PROTO_SRC_PORT (1u << 4)

#define TUPLE_MAX 256

/* ---------------------------------------------------------------- asking */

static size_t address_size(const struct conntrack_flow *f)
{
	return f->address.family == AF_INET6 ? 16 : 4;
}

static int address_attr(const struct conntrack_flow *f)
{
	return f->address.family == AF_INET6 ? CTA_IP_V6_SRC : CTA_IP_V4_SRC;
}

static void put_reply(struct nl_msg *msg, const struct conntrack_flow *f)
{
	struct nlattr *tuple = nla_nest_start(msg, CTA_TUPLE_REPLY | NLA_F_NESTED);
	struct nlattr *part = nla_nest_start(msg, CTA_TUPLE_IP | NLA_F_NESTED);

	nla_put(msg, address_attr(f), (int)address_size(f), f->address.bytes);
	nla_nest_end(msg, part);
	if (f->protocol) {
		part = nla_nest_start(msg, CTA_TUPLE_PROTO | NLA_F_NESTED);
		nla_put_u8(msg, CTA_PROTO_NUM, f->protocol);
		if (f->port)
			nla_put_u16(msg, CTA_PROTO_SRC_PORT, htons(f->port));
		nla_nest_end(msg, part);
	}
	nla_nest_end(msg, tuple);
}

/*
 * A dump walks the kernel's whole hash table, whatever is in it (some milliseconds): one serves all flows of a family.
 * only: the kernel picks those of this flow; NULL = all come. Kernels (6.18 still) leave out just those whose IPv6 address
 * matches, so that IPv6 is always looked at here.
 */
static struct nl_msg *dump_of(uint8_t family, const struct conntrack_flow *only)
{
	struct nfgenmsg header = conntrack_header(family);
	struct nl_msg *msg = nlsock_msg(conntrack_type(IPCTNL_MSG_CT_GET), NLM_F_DUMP, &header, sizeof(header));
	struct nlattr *filter;

	if (!only || family == AF_INET6)
		return msg;
	put_reply(msg, only);
	filter = nla_nest_start(msg, CTA_FILTER | NLA_F_NESTED);
	nla_put_u32(msg, CTA_FILTER_ORIG_FLAGS, 0);
	nla_put_u32(msg, CTA_FILTER_REPLY_FLAGS,
		    FILTER_IP_SRC | (only->protocol ? FILTER_PROTO_NUM : 0) |
			    (only->protocol && only->port ? FILTER_PROTO_SRC_PORT : 0));
	nla_nest_end(msg, filter);
	return msg;
}

/* ---------------------------------------------------------------- what the dump says */

/* The flows' original tuples, as they came: attributes behind each other, and their ids. */
struct tuples {
	uint8_t family;
	const struct conntrack_flow *flows; /* of this family, by address */
	size_t n;
	uint8_t *bytes;
	size_t len;
	uint32_t *ids; /* as they came, too */
	size_t n_ids;
};

static int by_address(const void *a, const void *b)
{
	const struct conntrack_flow *x = a, *y = b;

	return ipaddr_cmp(&x->address, &y->address);
}

static bool has_value(struct nlattr *a, const void *value, size_t len)
{
	return a && (size_t)nla_len(a) == len && memcmp(nla_data(a), value, len) == 0;
}

static bool is_answered(struct nlattr *status)
{
	return !status || nla_len(status) < (int)sizeof(uint32_t) || ntohl(nla_get_u32(status)) & IPS_SEEN_REPLY;
}

static bool fits(const struct conntrack_flow *f, struct nlattr *proto, struct nlattr *status)
{
	uint16_t port = htons(f->port);

	if (f->unanswered && is_answered(status))
		return false;
	if (f->protocol && !has_value(conntrack_find(proto, CTA_PROTO_NUM), &f->protocol, 1))
		return false;
	return !f->protocol || !f->port || has_value(conntrack_find(proto, CTA_PROTO_SRC_PORT), &port, sizeof(port));
}

/* Is it one of those that are to be forgotten, by the source of its replies? */
static bool is_wanted(const struct tuples *t, struct nlattr *reply, struct nlattr *status)
{
	struct conntrack_flow key = {.address.family = t->family};
	struct nlattr *source = conntrack_find(conntrack_find(reply, CTA_TUPLE_IP), address_attr(&key));
	const struct conntrack_flow *f;

	if (!source || (size_t)nla_len(source) != address_size(&key))
		return false;
	memcpy(key.address.bytes, nla_data(source), address_size(&key));
	key.address.prefix = (uint8_t)(8 * address_size(&key));
	f = bsearch(&key, t->flows, t->n, sizeof(*f), by_address);
	while (f && f > t->flows && by_address(f - 1, &key) == 0)
		f--;
	for (; f && f < t->flows + t->n && by_address(f, &key) == 0; f++)
		if (fits(f, conntrack_find(reply, CTA_TUPLE_PROTO), status))
			return true;
	return false;
}

static bool on_flow(void *data, const struct nlmsghdr *nlh, struct error *err)
{
	struct tuples *t = data;
	struct nlmsghdr *h = (struct nlmsghdr *)nlh;
	struct nlattr *a, *id;

	if (!nlsock_header(nlh, sizeof(struct nfgenmsg)))
		return true;
	a = nlmsg_find_attr(h, sizeof(struct nfgenmsg), CTA_TUPLE_ORIG);
	id = nlmsg_find_attr(h, sizeof(struct nfgenmsg), CTA_ID);
	if (!a || !id || nla_len(id) != sizeof(*t->ids) || nla_total_size(nla_len(a)) > TUPLE_MAX ||
	    !is_wanted(t, nlmsg_find_attr(h, sizeof(struct nfgenmsg), CTA_TUPLE_REPLY),
		       nlmsg_find_attr(h, sizeof(struct nfgenmsg), CTA_STATUS)))
		return true;
	t->bytes = xrealloc(t->bytes, t->len + (size_t)nla_total_size(nla_len(a)));
	memcpy(t->bytes + t->len, a, (size_t)nla_attr_size(nla_len(a)));
	t->len += (size_t)nla_total_size(nla_len(a));
	t->ids = xreallocarray(t->ids, t->n_ids + 1, sizeof(*t->ids));
	t->ids[t->n_ids++] = nla_get_u32(id);
	return true;
}

/* ---------------------------------------------------------------- deleting */

static void on_failed(void *data, size_t tag, int errno_value, const char *text)
{
	error_set_errno(data, errno_value, "forget a tracked connection%s%s", *text ? ": " : "", text);
}

static void delete_all(struct nlsock *nl, const struct tuples *t, struct error *err)
{
	struct nfgenmsg header = conntrack_header(t->family);
	struct nlsock_batch b;

	nlsock_batch_init(&b, nl, on_failed, err);
	for (size_t at = 0, i = 0; at < t->len; i++) {
		const struct nlattr *a = (const struct nlattr *)(t->bytes + at);
		struct nl_msg *msg =
			nlsock_batch_begin(&b, conntrack_type(IPCTNL_MSG_CT_DELETE), 0, &header, sizeof(header));

		/* The client may have begun another connection from the same port meanwhile: that one has another id. */
		nla_put(msg, CTA_TUPLE_ORIG | NLA_F_NESTED, nla_len(a), nla_data(a));
		nla_put_u32(msg, CTA_ID, t->ids[i]);
		nlsock_batch_add(&b, 0, ENOENT, 0, 0); /* ended meanwhile */
		at += (size_t)nla_total_size(nla_len(a));
	}
	nlsock_batch_flush(&b);
	nlsock_batch_fini(&b);
}

static void forget_family(struct nlsock *nl, uint8_t family, const struct conntrack_flow *flows, size_t n, struct error *err)
{
	struct tuples t = {.family = family, .flows = flows, .n = n};
	struct error local = ERROR_INIT;
	struct nl_msg *msg = dump_of(family, n == 1 ? flows : NULL);
	int r = nlsock_read(nl, msg, on_flow, &t, &local);

	nlmsg_free(msg);
	/* Flows come and go while they are read; those seen are forgotten. Without tracking there is nothing. */
	if (r < 0 && local.code != ERR_CONFLICT && local.code != ERR_NOT_FOUND && local.code != ERR_UNIMPLEMENTED)
		*err = local;
	delete_all(nl, &t, err);
	free(t.bytes);
	free(t.ids);
}

static bool on_count(void *data, const struct nlmsghdr *nlh, struct error *err)
{
	struct nlattr *a = nlsock_header(nlh, sizeof(struct nfgenmsg))
				   ? nlmsg_find_attr((struct nlmsghdr *)nlh, sizeof(struct nfgenmsg), CTA_STATS_GLOBAL_ENTRIES)
				   : NULL;

	if (a && nla_len(a) == sizeof(uint32_t))
		*(bool *)data = nla_get_u32(a) > 0;
	return true;
}

/* All namespaces share one table, which a dump walks whole: milliseconds, also for those that track nothing. */
static bool tracks_any(struct nlsock *nl)
{
	struct nfgenmsg header = conntrack_header(AF_UNSPEC);
	struct nl_msg *msg = nlsock_msg(conntrack_type(IPCTNL_MSG_CT_GET_STATS), 0, &header, sizeof(header));
	struct error ignored = ERROR_INIT;
	bool any = true; /* a kernel that does not say */

	nlsock_read(nl, msg, on_count, &any, &ignored);
	nlmsg_free(msg);
	return any;
}

/* Those of one family, by address; their addresses as those of hosts. */
static struct conntrack_flow *sorted(const struct conntrack_flow *v, size_t n, uint8_t family, size_t *ret_n)
{
	struct conntrack_flow *flows = xcalloc(n + 1, sizeof(*flows));

	*ret_n = 0;
	for (size_t i = 0; i < n; i++) {
		if (v[i].address.family != family)
			continue;
		flows[*ret_n] = v[i];
		flows[(*ret_n)++].address = ipaddr_host(&v[i].address);
	}
	qsort(flows, *ret_n, sizeof(*flows), by_address);
	return flows;
}

int conntrack_open(struct netns *ns, struct nlsock *ret, struct error *err)
{
	struct error local = ERROR_INIT;
	int back, r;

	*ret = (struct nlsock){0};
	if (netns_enter(ns, &back, err) < 0)
		return -1;
	r = nlsock_open(ret, NETLINK_NETFILTER, &local);
	netns_leave(back);
	if (r < 0 && local.code == ERR_UNIMPLEMENTED)
		return 1;
	return r < 0 ? error_set(err, local.code, "%s", local.msg) : 0;
}

int conntrack_forget(struct netns *ns, const struct conntrack_flow *v, size_t n, struct error *err)
{
	struct error local = ERROR_INIT;
	struct nlsock nl = {0};
	int back, r;
	bool any;

	if (netns_enter(ns, &back, err) < 0)
		return -1;
	r = nlsock_open(&nl, NETLINK_NETFILTER, &local);
	netns_leave(back);
	if (r < 0 && local.code == ERR_UNIMPLEMENTED)
		return 0;
	any = r == 0 && tracks_any(&nl);
	for (size_t i = 0; any && i < 2; i++) {
		uint8_t family = i == 0 ? AF_INET : AF_INET6;
		_cleanup_free_ struct conntrack_flow *flows = NULL;
		size_t n_flows;

		flows = sorted(v, n, family, &n_flows);
		if (n_flows)
			forget_family(&nl, family, flows, n_flows, &local);
	}
	nlsock_close(&nl);
	return error_is_set(&local) ? error_set(err, local.code, "%s", local.msg) : 0;
}
