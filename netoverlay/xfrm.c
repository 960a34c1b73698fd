#include "netns_internal.h"

#include "common/error.h"
#include "common/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/xfrm.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <stdio.h>
#include <string.h>

/* ESP in transport mode with AES-128-GCM (RFC 4303, RFC 4106). Source: linux/xfrm.h. */

#define AEAD_NAME "rfc4106(gcm(aes))"
#define AEAD_ICV_BITS 128
#define KEY_BYTES 20 /* 16 of the key, 4 of salt */
/*
 * No check for replays: a host that starts anew counts its packets from one with the same key, and would not be heard
 * until it has come past the number where it was. What a replayed datagram may do is up to the transport above.
 */
#define REPLAY_WINDOW 0

static void put_host(xfrm_address_t *ret, const struct ipaddr *a)
{
	memset(ret, 0, sizeof(*ret));
	memcpy(ret, a->bytes, a->family == AF_INET6 ? 16 : 4);
}

static struct xfrm_lifetime_cfg for_ever(void)
{
	return (struct xfrm_lifetime_cfg){.soft_byte_limit = XFRM_INF,
					  .hard_byte_limit = XFRM_INF,
					  .soft_packet_limit = XFRM_INF,
					  .hard_packet_limit = XFRM_INF};
}

static void set(struct xfrm_request *ret, uint16_t type, const void *header, size_t len, int tolerate)
{
	ret->type = type;
	memcpy(ret->header, header, len);
	ret->header_len = len;
	ret->tolerate = tolerate;
}

static void state_request(const struct netstate_xfrm_state *s, bool del, struct xfrm_request *ret)
{
	struct xfrm_usersa_info sa = {.id = {.spi = htonl(s->spi), .proto = IPPROTO_ESP},
				      .lft = for_ever(),
				      .reqid = s->reqid,
				      .family = s->dst.family,
				      .mode = XFRM_MODE_TRANSPORT,
				      .replay_window = REPLAY_WINDOW};
	struct xfrm_usersa_id id = {.spi = htonl(s->spi), .family = s->dst.family, .proto = IPPROTO_ESP};

	_Static_assert(sizeof(sa) <= sizeof(ret->header), "header");
	if (del) {
		put_host(&id.daddr, &s->dst);
		set(ret, XFRM_MSG_DELSA, &id, sizeof(id), ESRCH);
		return;
	}
	put_host(&sa.id.daddr, &s->dst);
	put_host(&sa.saddr, &s->src);
	sa.sel.family = s->dst.family;
	set(ret, XFRM_MSG_NEWSA, &sa, sizeof(sa), EEXIST);
}

static void selector(const struct netstate_xfrm_policy *p, struct xfrm_selector *ret)
{
	*ret = (struct xfrm_selector){.family = p->dst.family,
				      .prefixlen_d = p->dst.family == AF_INET6 ? 128 : 32,
				      .prefixlen_s = p->dst.family == AF_INET6 ? 128 : 32,
				      .proto = IPPROTO_UDP,
				      .dport = htons(p->port),
				      .dport_mask = 0xffff};
	put_host(&ret->daddr, &p->dst);
	put_host(&ret->saddr, &p->src);
}

static void policy_request(const struct netstate_xfrm_policy *p, bool del, struct xfrm_request *ret)
{
	struct xfrm_userpolicy_info info = {.lft = for_ever(),
					    .dir = p->out ? XFRM_POLICY_OUT : XFRM_POLICY_IN,
					    .action = XFRM_POLICY_ALLOW,
					    .share = XFRM_SHARE_ANY};
	struct xfrm_userpolicy_id id = {.dir = p->out ? XFRM_POLICY_OUT : XFRM_POLICY_IN};

	_Static_assert(sizeof(info) <= sizeof(ret->header), "header");
	if (del) {
		selector(p, &id.sel);
		set(ret, XFRM_MSG_DELPOLICY, &id, sizeof(id), ENOENT);
		return;
	}
	selector(p, &info.sel);
	set(ret, XFRM_MSG_UPDPOLICY, &info, sizeof(info), 0); /* made when it is not there */
}

void xfrm_request_of(const struct netstate_entry *e, bool del, struct xfrm_request *ret)
{
	*ret = (struct xfrm_request){0};
	if (e->kind == NETSTATE_XFRM_STATE)
		state_request(&e->xfrm_state, del, ret);
	else
		policy_request(&e->xfrm_policy, del, ret);
}

void xfrm_attrs(struct nl_msg *msg, const struct netstate_entry *e, bool del)
{
	if (e->kind == NETSTATE_XFRM_STATE && !del) {
		struct xfrm_algo_aead algo = {
			.alg_name = AEAD_NAME, .alg_key_len = KEY_BYTES * 8, .alg_icv_len = AEAD_ICV_BITS};
		uint8_t aead[sizeof(algo) + KEY_BYTES];

		memcpy(aead, &algo, sizeof(algo));
		memcpy(aead + sizeof(algo), e->xfrm_state.key, KEY_BYTES);
		nla_put(msg, XFRMA_ALG_AEAD, sizeof(aead), aead);
		mem_wipe(aead, sizeof(aead));
	}
	if (e->kind == NETSTATE_XFRM_STATE && del) {
		xfrm_address_t src;

		put_host(&src, &e->xfrm_state.src);
		nla_put(msg, XFRMA_SRCADDR, sizeof(src), &src);
	}
	if (e->kind == NETSTATE_XFRM_POLICY) {
		const struct netstate_xfrm_policy *p = &e->xfrm_policy;
		struct xfrm_mark mark = {.v = p->mark, .m = p->mask};

		if (p->mask)
			nla_put(msg, XFRMA_MARK, sizeof(mark), &mark);
		if (!del) {
			struct xfrm_user_tmpl tmpl = {.id = {.proto = IPPROTO_ESP, .spi = htonl(p->spi)},
						      .family = p->dst.family,
						      .reqid = p->reqid,
						      .mode = XFRM_MODE_TRANSPORT,
						      .optional = !p->required,
						      .aalgos = ~0u,
						      .ealgos = ~0u,
						      .calgos = ~0u};

			put_host(&tmpl.id.daddr, &p->dst);
			put_host(&tmpl.saddr, &p->src);
			nla_put(msg, XFRMA_TMPL, sizeof(tmpl), &tmpl);
		}
	}
}

/* ---------------------------------------------------------------- from the kernel */

static struct ipaddr get_host(const void *bytes, uint16_t family)
{
	struct ipaddr a = {.family = family == AF_INET6 ? AF_INET6 : AF_INET, .prefix = family == AF_INET6 ? 128 : 32};

	memcpy(a.bytes, bytes, family == AF_INET6 ? 16 : 4);
	return a;
}

/* Copied: messages are aligned to four bytes, these headers want eight. */
static bool get_header(const struct nlmsghdr *nlh, void *ret, size_t size)
{
	const void *header = nlsock_header(nlh, size);

	if (header)
		memcpy(ret, header, size);
	return header;
}

bool xfrm_decode_state(const struct nlmsghdr *nlh, struct netstate_xfrm_state *ret)
{
	const struct xfrm_algo_aead *aead;
	struct xfrm_usersa_info sa;
	struct nlattr *tb[XFRMA_MAX + 1];

	if (!get_header(nlh, &sa, sizeof(sa)) || sa.id.proto != IPPROTO_ESP || sa.mode != XFRM_MODE_TRANSPORT ||
	    nlmsg_parse((struct nlmsghdr *)nlh, sizeof(sa), tb, XFRMA_MAX, NULL) < 0 || !tb[XFRMA_ALG_AEAD] ||
	    nla_len(tb[XFRMA_ALG_AEAD]) != (int)(sizeof(*aead) + KEY_BYTES))
		return false; /* not one of ours */
	aead = nla_data(tb[XFRMA_ALG_AEAD]);
	*ret = (struct netstate_xfrm_state){
		.src = get_host(&sa.saddr, sa.family),
		.dst = get_host(&sa.id.daddr, sa.family),
		.spi = ntohl(sa.id.spi),
		.reqid = sa.reqid,
	};
	memcpy(ret->key, aead->alg_key, KEY_BYTES);
	return true;
}

bool xfrm_decode_policy(const struct nlmsghdr *nlh, struct netstate_xfrm_policy *ret)
{
	struct xfrm_userpolicy_info info;
	struct nlattr *tb[XFRMA_MAX + 1];
	struct xfrm_user_tmpl tmpl;
	struct xfrm_mark mark = {0};

	if (!get_header(nlh, &info, sizeof(info)) || info.sel.proto != IPPROTO_UDP ||
	    (info.dir != XFRM_POLICY_OUT && info.dir != XFRM_POLICY_IN) ||
	    nlmsg_parse((struct nlmsghdr *)nlh, sizeof(info), tb, XFRMA_MAX, NULL) < 0 || !tb[XFRMA_TMPL] ||
	    nla_len(tb[XFRMA_TMPL]) < (int)sizeof(tmpl))
		return false;
	memcpy(&tmpl, nla_data(tb[XFRMA_TMPL]), sizeof(tmpl));
	if (tb[XFRMA_MARK] && nla_len(tb[XFRMA_MARK]) >= (int)sizeof(mark))
		memcpy(&mark, nla_data(tb[XFRMA_MARK]), sizeof(mark));
	*ret = (struct netstate_xfrm_policy){
		.out = info.dir == XFRM_POLICY_OUT,
		.src = get_host(&info.sel.saddr, info.sel.family),
		.dst = get_host(&info.sel.daddr, info.sel.family),
		.port = ntohs(info.sel.dport),
		.mark = mark.v,
		.mask = mark.m,
		.spi = ntohl(tmpl.id.spi),
		.reqid = tmpl.reqid,
		.required = !tmpl.optional,
	};
	return true;
}

struct reading {
	struct netstate *ret;
	const struct netstate *want;
	uint32_t reqid;
	bool found;
};

static bool has_reqid(void *data, const struct netstate_entry *e)
{
	struct reading *r = data;

	r->found = (e->kind == NETSTATE_XFRM_STATE && e->xfrm_state.reqid == r->reqid) ||
		   (e->kind == NETSTATE_XFRM_POLICY && e->xfrm_policy.reqid == r->reqid);
	return !r->found;
}

/* Others on this host may use ESP for the same, with names and numbers that look alike. */
static bool is_ours(struct reading *r, uint32_t reqid)
{
	if (r->want && (!r->found || r->reqid != reqid)) {
		r->reqid = reqid;
		r->found = false;
		netstate_each(r->want, has_reqid, r);
	}
	return !r->want || r->found;
}

static bool on_state(void *data, const struct nlmsghdr *nlh, struct error *err)
{
	struct netstate_entry e = {.kind = NETSTATE_XFRM_STATE};
	struct reading *r = data;

	if (xfrm_decode_state(nlh, &e.xfrm_state) && is_ours(r, e.xfrm_state.reqid))
		netstate_put(r->ret, &e);
	mem_wipe(&e, sizeof(e));
	return true;
}

static bool on_policy(void *data, const struct nlmsghdr *nlh, struct error *err)
{
	struct netstate_entry e = {.kind = NETSTATE_XFRM_POLICY};
	struct reading *r = data;

	if (xfrm_decode_policy(nlh, &e.xfrm_policy) && is_ours(r, e.xfrm_policy.reqid))
		netstate_put(r->ret, &e);
	return true;
}

static int read_kind(struct netns *ns, uint16_t type, nlsock_message_cb cb, struct reading *reading, struct error *err)
{
	struct nl_msg *msg = nlsock_msg(type, NLM_F_DUMP, NULL, 0);
	int r = nlsock_read(&ns->xfrm, msg, cb, reading, err);

	nlmsg_free(msg);
	return r;
}

int xfrm_dump(struct netns *ns, unsigned kinds, const struct netstate *want, struct netstate *ret, struct error *err)
{
	struct reading r = {.ret = ret, .want = want};

	if (netns_need_xfrm(ns, err) < 0)
		return -1;
	if (kinds & 1u << NETSTATE_XFRM_STATE && read_kind(ns, XFRM_MSG_GETSA, on_state, &r, err) < 0)
		return -1;
	if (kinds & 1u << NETSTATE_XFRM_POLICY && read_kind(ns, XFRM_MSG_GETPOLICY, on_policy, &r, err) < 0)
		return -1;
	return 0;
}
