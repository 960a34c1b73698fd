#include "conntrack.h"
#include "netns_internal.h"

#include "common/error.h"
#include "common/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <string.h>

/* As in the kernel's net/netfilter/nf_conntrack_netlink.c; no header has them. */
#define FILTER_IP_SRC (1u << 0)
#define FILTER_PROTO_NUM (1u << 3)
#define FILTER_PROTO_SRC_PORT (1u << 4)

#define TUPLE_MAX 256

static uint16_t type_of(uint8_t message)
{
	return (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | message);
}

static struct nfgenmsg header_of(const struct conntrack_flow *f)
{
	return (struct nfgenmsg){.nfgen_family = f->address.family, .version = NFNETLINK_V0};
}

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

static struct nl_msg *dump_of(const struct conntrack_flow *f)
{
	struct nfgenmsg header = header_of(f);
	struct nl_msg *msg = nlsock_msg(type_of(IPCTNL_MSG_CT_GET), NLM_F_DUMP, &header, sizeof(header));
	struct nlattr *filter;

	/* The kernel (6.18 still) leaves out just those whose IPv6 address matches: all are read, and looked at here. */
	if (f->address.family == AF_INET6)
		return msg;
	put_reply(msg, f);
	filter = nla_nest_start(msg, CTA_FILTER | NLA_F_NESTED);
	nla_put_u32(msg, CTA_FILTER_ORIG_FLAGS, 0);
	nla_put_u32(msg, CTA_FILTER_REPLY_FLAGS,
		    FILTER_IP_SRC | (f->protocol ? FILTER_PROTO_NUM : 0) |
			    (f->protocol && f->port ? FILTER_PROTO_SRC_PORT : 0));
	nla_nest_end(msg, filter);
	return msg;
}

/* ---------------------------------------------------------------- what the dump says */

/* The flows' original tuples, as they came: attributes behind each other. */
struct tuples {
	const struct conntrack_flow *flow;
	uint8_t *bytes;
	size_t len;
};

static struct nlattr *find_in(struct nlattr *nested, int type)
{
	return nested ? nla_find(nla_data(nested), nla_len(nested), type) : NULL;
}

static bool has_value(struct nlattr *a, const void *value, size_t len)
{
	return a && (size_t)nla_len(a) == len && memcmp(nla_data(a), value, len) == 0;
}

static bool fits(const struct conntrack_flow *f, struct nlattr *reply)
{
	struct nlattr *proto = find_in(reply, CTA_TUPLE_PROTO);
	uint16_t port = htons(f->port);

	if (f->protocol && !has_value(find_in(proto, CTA_PROTO_NUM), &f->protocol, 1))
		return false;
	if (f->protocol && f->port && !has_value(find_in(proto, CTA_PROTO_SRC_PORT), &port, sizeof(port)))
		return false;
	return has_value(find_in(find_in(reply, CTA_TUPLE_IP), address_attr(f)), f->address.bytes, address_size(f));
}

static bool on_flow(void *data, const struct nlmsghdr *nlh, struct error *err)
{
	struct tuples *t = data;
	struct nlmsghdr *h = (struct nlmsghdr *)nlh;
	struct nlattr *a;

	if (!nlsock_header(nlh, sizeof(struct nfgenmsg)))
		return true;
	a = nlmsg_find_attr(h, sizeof(struct nfgenmsg), CTA_TUPLE_ORIG);
	if (!a || nla_total_size(nla_len(a)) > TUPLE_MAX ||
	    !fits(t->flow, nlmsg_find_attr(h, sizeof(struct nfgenmsg), CTA_TUPLE_REPLY)))
		return true;
	t->bytes = xrealloc(t->bytes, t->len + (size_t)nla_total_size(nla_len(a)));
	memcpy(t->bytes + t->len, a, (size_t)nla_attr_size(nla_len(a)));
	t->len += (size_t)nla_total_size(nla_len(a));
	return true;
}

/* ---------------------------------------------------------------- deleting */

static void on_failed(void *data, size_t tag, int errno_value, const char *text)
{
	error_set_errno(data, errno_value, "forget a tracked connection%s%s", *text ? ": " : "", text);
}

static void delete_all(struct nlsock *nl, const struct tuples *t, struct error *err)
{
	struct nfgenmsg header = header_of(t->flow);
	struct nlsock_batch b;

	nlsock_batch_init(&b, nl, on_failed, err);
	for (size_t at = 0; at < t->len;) {
		const struct nlattr *a = (const struct nlattr *)(t->bytes + at);
		struct nl_msg *msg =
			nlsock_batch_begin(&b, type_of(IPCTNL_MSG_CT_DELETE), 0, &header, sizeof(header));

		nla_put(msg, CTA_TUPLE_ORIG | NLA_F_NESTED, nla_len(a), nla_data(a));
		nlsock_batch_add(&b, 0, ENOENT, 0, 0); /* ended meanwhile */
		at += (size_t)nla_total_size(nla_len(a));
	}
	nlsock_batch_flush(&b);
	nlsock_batch_fini(&b);
}

static void forget_one(struct nlsock *nl, const struct conntrack_flow *f, struct error *err)
{
	struct tuples t = {.flow = f};
	struct error local = ERROR_INIT;
	struct nl_msg *msg = dump_of(f);
	int r = nlsock_read(nl, msg, on_flow, &t, &local);

	nlmsg_free(msg);
	/* Flows come and go while they are read; those seen are forgotten. Without tracking there is nothing. */
	if (r < 0 && local.code != ERR_CONFLICT && local.code != ERR_NOT_FOUND && local.code != ERR_UNIMPLEMENTED)
		*err = local;
	delete_all(nl, &t, err);
	free(t.bytes);
}

int conntrack_forget(struct netns *ns, const struct conntrack_flow *v, size_t n, struct error *err)
{
	struct error local = ERROR_INIT;
	struct nlsock nl = {0};
	int back, r;

	if (netns_enter(ns, &back, err) < 0)
		return -1;
	r = nlsock_open(&nl, NETLINK_NETFILTER, &local);
	netns_leave(back);
	if (r < 0 && local.code == ERR_UNIMPLEMENTED)
		return 0;
	for (size_t i = 0; r == 0 && i < n; i++)
		forget_one(&nl, &v[i], &local);
	nlsock_close(&nl);
	return error_is_set(&local) ? error_set(err, local.code, "%s", local.msg) : 0;
}
