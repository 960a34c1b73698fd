#include "ctforget.h"

#include "common/error.h"
#include "common/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* As in the kernel's net/netfilter/nf_conntrack_netlink.c; no header has them. */
#define FILTER_IP_SRC (1u << 0)
#define FILTER_PROTO_NUM (1u << 3)
#define FILTER_PROTO_SRC_PORT (1u << 4)
#define REPLY_BYTES (64u << 10)

struct request {
	union {
		struct nlmsghdr head;
		uint8_t bytes[512];
	};
};

static void begin(struct request *r, uint16_t type, uint16_t flags, uint8_t family)
{
	struct nfgenmsg nf = {.nfgen_family = family, .version = NFNETLINK_V0};

	memset(r, 0, sizeof(*r));
	r->head.nlmsg_len = NLMSG_LENGTH(sizeof(nf));
	r->head.nlmsg_type = (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type);
	r->head.nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	memcpy(NLMSG_DATA(&r->head), &nf, sizeof(nf));
}

static struct nlattr *put(struct request *r, uint16_t type, const void *data, size_t len)
{
	struct nlattr *a = (struct nlattr *)(r->bytes + NLMSG_ALIGN(r->head.nlmsg_len));

	a->nla_type = type;
	a->nla_len = (uint16_t)(NLA_HDRLEN + len);
	if (len)
		memcpy((uint8_t *)a + NLA_HDRLEN, data, len);
	r->head.nlmsg_len = NLMSG_ALIGN(r->head.nlmsg_len) + NLA_ALIGN(a->nla_len);
	return a;
}

static struct nlattr *nest(struct request *r, uint16_t type)
{
	return put(r, type | NLA_F_NESTED, NULL, 0);
}

static void nest_end(struct request *r, struct nlattr *a)
{
	a->nla_len = (uint16_t)(r->bytes + r->head.nlmsg_len - (uint8_t *)a);
}

static void put_reply(struct request *r, const struct ctforget *f)
{
	struct nlattr *tuple = nest(r, CTA_TUPLE_REPLY), *part = nest(r, CTA_TUPLE_IP);
	uint16_t port = htons(f->port);

	if (f->address.family == AF_INET)
		put(r, CTA_IP_V4_SRC, f->address.bytes, 4);
	else
		put(r, CTA_IP_V6_SRC, f->address.bytes, 16);
	nest_end(r, part);
	if (f->protocol) {
		part = nest(r, CTA_TUPLE_PROTO);
		put(r, CTA_PROTO_NUM, &f->protocol, 1);
		if (f->port)
			put(r, CTA_PROTO_SRC_PORT, &port, sizeof(port));
		nest_end(r, part);
	}
	nest_end(r, tuple);
}

/* The kernel (6.18 still) leaves out just those whose IPv6 address matches: that part is looked at here. */
static bool kernel_filters(const struct ctforget *f)
{
	return f->address.family == AF_INET;
}

static void build_dump(struct request *r, const struct ctforget *f)
{
	uint32_t none = 0, flags = FILTER_IP_SRC;
	struct nlattr *filter;

	if (!kernel_filters(f)) {
		begin(r, IPCTNL_MSG_CT_GET, NLM_F_DUMP, f->address.family);
		return;
	}
	if (f->protocol)
		flags |= FILTER_PROTO_NUM | (f->port ? FILTER_PROTO_SRC_PORT : 0);
	begin(r, IPCTNL_MSG_CT_GET, NLM_F_DUMP, f->address.family);
	put_reply(r, f);
	filter = nest(r, CTA_FILTER);
	put(r, CTA_FILTER_ORIG_FLAGS, &none, sizeof(none));
	put(r, CTA_FILTER_REPLY_FLAGS, &flags, sizeof(flags));
	nest_end(r, filter);
}

/* ---- what the dump says: the flows' original tuples, as they came */

struct tuples {
	uint8_t *bytes;
	size_t len;
};

/* An attribute among others; NULL = none of this type. */
static const struct nlattr *find(const void *from, const void *end, uint16_t type)
{
	const uint8_t *p = from;

	while ((const uint8_t *)end - p >= NLA_HDRLEN) {
		const struct nlattr *a = (const struct nlattr *)p;

		if (a->nla_len < NLA_HDRLEN || a->nla_len > (const uint8_t *)end - p)
			return NULL;
		if ((a->nla_type & NLA_TYPE_MASK) == type)
			return a;
		p += MIN(NLA_ALIGN(a->nla_len), (const uint8_t *)end - p);
	}
	return NULL;
}

static const struct nlattr *find_in(const struct nlattr *nested, uint16_t type)
{
	return nested ? find((const uint8_t *)nested + NLA_HDRLEN, (const uint8_t *)nested + nested->nla_len, type) : NULL;
}

static bool has_value(const struct nlattr *a, const void *value, size_t len)
{
	return a && a->nla_len == NLA_HDRLEN + len && memcmp((const uint8_t *)a + NLA_HDRLEN, value, len) == 0;
}

static bool fits(const struct ctforget *f, const struct nlattr *reply)
{
	const struct nlattr *ip = find_in(reply, CTA_TUPLE_IP), *proto = find_in(reply, CTA_TUPLE_PROTO);
	uint16_t port = htons(f->port);

	if (f->protocol && !has_value(find_in(proto, CTA_PROTO_NUM), &f->protocol, 1))
		return false;
	if (f->protocol && f->port && !has_value(find_in(proto, CTA_PROTO_SRC_PORT), &port, sizeof(port)))
		return false;
	if (f->address.family == AF_INET)
		return has_value(find_in(ip, CTA_IP_V4_SRC), f->address.bytes, 4);
	return has_value(find_in(ip, CTA_IP_V6_SRC), f->address.bytes, 16);
}

static void note_tuple(struct tuples *t, const struct ctforget *f, const struct nlmsghdr *h)
{
	const uint8_t *p = (const uint8_t *)NLMSG_DATA(h) + NLMSG_ALIGN(sizeof(struct nfgenmsg));
	const uint8_t *end = (const uint8_t *)h + h->nlmsg_len;
	const struct nlattr *a = p < end ? find(p, end, CTA_TUPLE_ORIG) : NULL;

	if (!a || a->nla_len > 256 || !fits(f, find(p, end, CTA_TUPLE_REPLY)))
		return;
	t->bytes = xrealloc(t->bytes, t->len + NLA_ALIGN(a->nla_len));
	memcpy(t->bytes + t->len, a, a->nla_len);
	t->len += NLA_ALIGN(a->nla_len);
}

/* 1 = that was all; 0 = more comes; -1 = errno */
static int read_part(int fd, const struct ctforget *f, uint8_t *buf, struct tuples *t)
{
	ssize_t n = recv(fd, buf, REPLY_BYTES, 0);

	if (n <= 0)
		return -1;
	for (struct nlmsghdr *h = (struct nlmsghdr *)buf; NLMSG_OK(h, (size_t)n); h = NLMSG_NEXT(h, n)) {
		if (h->nlmsg_type == NLMSG_DONE)
			return 1;
		if (h->nlmsg_type == NLMSG_ERROR) {
			errno = -((struct nlmsgerr *)NLMSG_DATA(h))->error;
			return errno ? -1 : 1;
		}
		note_tuple(t, f, h);
	}
	return 0;
}

static void delete_all(int fd, const struct tuples *t, uint8_t family)
{
	for (size_t at = 0; at < t->len;) {
		const struct nlattr *a = (const struct nlattr *)(t->bytes + at);
		struct request r;

		begin(&r, IPCTNL_MSG_CT_DELETE, 0, family);
		put(&r, CTA_TUPLE_ORIG | NLA_F_NESTED, (const uint8_t *)a + NLA_HDRLEN, a->nla_len - NLA_HDRLEN);
		/* Without an answer: one that has ended meanwhile is no error. */
		if (send(fd, &r, r.head.nlmsg_len, 0) < 0)
			return;
		at += NLA_ALIGN(a->nla_len);
	}
}

static int forget_one(int fd, const struct ctforget *f, uint8_t *buf, struct error *err)
{
	struct tuples t = {0};
	struct request r;
	int done = 0;

	build_dump(&r, f);
	if (send(fd, &r, r.head.nlmsg_len, 0) < 0)
		return error_set_errno(err, errno, "ask for tracked connections");
	while (!done)
		done = read_part(fd, f, buf, &t);
	if (done > 0)
		delete_all(fd, &t, f->address.family);
	free(t.bytes);
	/* No connection tracking in this namespace, or none in this kernel: nothing to forget. */
	if (done < 0 && errno != ENOENT && errno != EOPNOTSUPP)
		return error_set_errno(err, errno, "list tracked connections");
	return 0;
}

int ctforget_run(const struct ctforget *v, size_t n, struct error *err)
{
	_cleanup_free_ uint8_t *buf = xmalloc(REPLY_BYTES);
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
	struct timeval timeout = {.tv_sec = 2};
	int r = 0;

	if (fd < 0)
		return errno == EPROTONOSUPPORT ? 0 : error_set_errno(err, errno, "open nfnetlink");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
	for (size_t i = 0; i < n; i++)
		if (forget_one(fd, &v[i], buf, r < 0 ? NULL : err) < 0)
			r = -1;
	return r;
}
