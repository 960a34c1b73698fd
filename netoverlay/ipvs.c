#include "netns_internal.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <arpa/inet.h>
#include <linux/genetlink.h>
#include <linux/ip_vs.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <stdlib.h>
#include <string.h>

#define SVC_PERSISTENT 1 /* IP_VS_SVC_F_PERSISTENT */
#define PERSISTENT_S 360 /* as ipvsadm(8) */

/* Source: linux/ip_vs.h; the kernel's net/netfilter/ipvs/ip_vs_ctl.c for what it insists on. */

void ipvs_head(uint16_t family, uint8_t cmd, uint16_t *ret_type, uint8_t ret_header[4])
{
	struct genlmsghdr header = {.cmd = cmd, .version = IPVS_GENL_VERSION};

	_Static_assert(sizeof(header) == 4, "generic netlink header");
	*ret_type = family;
	memcpy(ret_header, &header, sizeof(header));
}

uint8_t ipvs_command(const struct netstate_entry *e, bool del, bool change)
{
	if (e->kind == NETSTATE_IPVS_SERVICE)
		return del ? IPVS_CMD_DEL_SERVICE : change ? IPVS_CMD_SET_SERVICE : IPVS_CMD_NEW_SERVICE;
	return del ? IPVS_CMD_DEL_DEST : change ? IPVS_CMD_SET_DEST : IPVS_CMD_NEW_DEST;
}

/* ---------------------------------------------------------------- into messages */

static void put_address(struct nl_msg *msg, int attr, const struct ipaddr *a)
{
	uint8_t bytes[16] = {0}; /* union nf_inet_addr, whatever the family */

	memcpy(bytes, a->bytes, a->family == AF_INET6 ? 16 : 4);
	nla_put(msg, attr, sizeof(bytes), bytes);
}

/* What names a service. */
static void put_service_key(struct nl_msg *msg, uint8_t protocol, uint16_t port, const struct ipaddr *addr, uint32_t fwmark)
{
	nla_put_u16(msg, IPVS_SVC_ATTR_AF, addr->family == AF_INET6 ? AF_INET6 : AF_INET);
	if (fwmark) {
		nla_put_u32(msg, IPVS_SVC_ATTR_FWMARK, fwmark);
		return;
	}
	nla_put_u16(msg, IPVS_SVC_ATTR_PROTOCOL, protocol);
	put_address(msg, IPVS_SVC_ATTR_ADDR, addr);
	nla_put_u16(msg, IPVS_SVC_ATTR_PORT, htons(port));
}

static void put_service(struct nl_msg *msg, const struct netstate_ipvs_service *s, bool del)
{
	bool every_port = !s->fwmark && !s->port; /* the kernel has these for persistent services only */
	struct ip_vs_flags flags = {.flags = every_port ? SVC_PERSISTENT : 0, .mask = ~0u};
	struct nlattr *nest = nla_nest_start(msg, IPVS_CMD_ATTR_SERVICE);

	put_service_key(msg, s->protocol, s->port, &s->addr, s->fwmark);
	if (!del) {
		nla_put_string(msg, IPVS_SVC_ATTR_SCHED_NAME, *s->scheduler ? s->scheduler : "rr");
		nla_put(msg, IPVS_SVC_ATTR_FLAGS, sizeof(flags), &flags);
		nla_put_u32(msg, IPVS_SVC_ATTR_TIMEOUT, every_port ? PERSISTENT_S : 0);
		nla_put_u32(msg, IPVS_SVC_ATTR_NETMASK, s->addr.family == AF_INET6 ? 128 : ~0u);
	}
	nla_nest_end(msg, nest);
}

static void put_dest(struct nl_msg *msg, const struct netstate_ipvs_dest *d, bool del)
{
	struct nlattr *nest = nla_nest_start(msg, IPVS_CMD_ATTR_SERVICE);

	put_service_key(msg, d->protocol, d->service_port, &d->service, d->fwmark);
	nla_nest_end(msg, nest);
	nest = nla_nest_start(msg, IPVS_CMD_ATTR_DEST);
	nla_put_u16(msg, IPVS_DEST_ATTR_ADDR_FAMILY, d->addr.family);
	put_address(msg, IPVS_DEST_ATTR_ADDR, &d->addr);
	nla_put_u16(msg, IPVS_DEST_ATTR_PORT, htons(d->port));
	if (!del) {
		nla_put_u32(msg, IPVS_DEST_ATTR_FWD_METHOD, IP_VS_CONN_F_DROUTE);
		nla_put_u32(msg, IPVS_DEST_ATTR_WEIGHT, d->weight);
		nla_put_u32(msg, IPVS_DEST_ATTR_U_THRESH, 0);
		nla_put_u32(msg, IPVS_DEST_ATTR_L_THRESH, 0);
	}
	nla_nest_end(msg, nest);
}

void ipvs_attrs(struct nl_msg *msg, const struct netstate_entry *e, bool del)
{
	if (e->kind == NETSTATE_IPVS_SERVICE)
		put_service(msg, &e->ipvs_service, del);
	else
		put_dest(msg, &e->ipvs_dest, del);
}

/* ---------------------------------------------------------------- from the kernel */

static bool get_address(const struct nlattr *attr, uint16_t family, struct ipaddr *ret)
{
	size_t len = family == AF_INET6 ? 16 : 4;

	*ret = (struct ipaddr){.family = family == AF_INET6 ? AF_INET6 : AF_INET, .prefix = len * 8};
	if (!attr)
		return true;
	if (nla_len(attr) < (int)len)
		return false;
	memcpy(ret->bytes, nla_data(attr), len);
	return true;
}

bool ipvs_decode_service(const struct nlmsghdr *nlh, struct netstate_ipvs_service *ret)
{
	static const struct nla_policy policy[IPVS_SVC_ATTR_MAX + 1] = {
		[IPVS_SVC_ATTR_AF] = {.type = NLA_U16},
		[IPVS_SVC_ATTR_PROTOCOL] = {.type = NLA_U16},
		[IPVS_SVC_ATTR_PORT] = {.type = NLA_U16},
		[IPVS_SVC_ATTR_FWMARK] = {.type = NLA_U32},
		[IPVS_SVC_ATTR_SCHED_NAME] = {.type = NLA_STRING, .maxlen = 16},
	};
	struct nlattr *top[IPVS_CMD_ATTR_MAX + 1], *tb[IPVS_SVC_ATTR_MAX + 1];
	uint16_t family;

	if (nlmsg_parse((struct nlmsghdr *)nlh, GENL_HDRLEN, top, IPVS_CMD_ATTR_MAX, NULL) < 0 ||
	    !top[IPVS_CMD_ATTR_SERVICE] ||
	    nla_parse_nested(tb, IPVS_SVC_ATTR_MAX, top[IPVS_CMD_ATTR_SERVICE], policy) < 0 || !tb[IPVS_SVC_ATTR_AF])
		return false;
	*ret = (struct netstate_ipvs_service){0};
	family = nla_get_u16(tb[IPVS_SVC_ATTR_AF]);
	if (tb[IPVS_SVC_ATTR_FWMARK])
		ret->fwmark = nla_get_u32(tb[IPVS_SVC_ATTR_FWMARK]);
	if (tb[IPVS_SVC_ATTR_PROTOCOL])
		ret->protocol = nla_get_u16(tb[IPVS_SVC_ATTR_PROTOCOL]);
	if (tb[IPVS_SVC_ATTR_PORT])
		ret->port = ntohs(nla_get_u16(tb[IPVS_SVC_ATTR_PORT]));
	if (tb[IPVS_SVC_ATTR_SCHED_NAME])
		nla_strlcpy(ret->scheduler, tb[IPVS_SVC_ATTR_SCHED_NAME], sizeof(ret->scheduler));
	return get_address(ret->fwmark ? NULL : tb[IPVS_SVC_ATTR_ADDR], family, &ret->addr);
}

bool ipvs_decode_dest(const struct nlmsghdr *nlh, const struct netstate_ipvs_service *s, struct netstate_ipvs_dest *ret)
{
	static const struct nla_policy policy[IPVS_DEST_ATTR_MAX + 1] = {
		[IPVS_DEST_ATTR_PORT] = {.type = NLA_U16},
		[IPVS_DEST_ATTR_WEIGHT] = {.type = NLA_U32},
		[IPVS_DEST_ATTR_ADDR_FAMILY] = {.type = NLA_U16},
	};
	struct nlattr *top[IPVS_CMD_ATTR_MAX + 1], *tb[IPVS_DEST_ATTR_MAX + 1];
	uint16_t family = s->addr.family;

	if (nlmsg_parse((struct nlmsghdr *)nlh, GENL_HDRLEN, top, IPVS_CMD_ATTR_MAX, NULL) < 0 ||
	    !top[IPVS_CMD_ATTR_DEST] || nla_parse_nested(tb, IPVS_DEST_ATTR_MAX, top[IPVS_CMD_ATTR_DEST], policy) < 0)
		return false;
	*ret = (struct netstate_ipvs_dest){
		.protocol = s->protocol, .service_port = s->port, .service = s->addr, .fwmark = s->fwmark};
	if (tb[IPVS_DEST_ATTR_ADDR_FAMILY])
		family = nla_get_u16(tb[IPVS_DEST_ATTR_ADDR_FAMILY]);
	if (tb[IPVS_DEST_ATTR_PORT])
		ret->port = ntohs(nla_get_u16(tb[IPVS_DEST_ATTR_PORT]));
	if (tb[IPVS_DEST_ATTR_WEIGHT])
		ret->weight = nla_get_u32(tb[IPVS_DEST_ATTR_WEIGHT]);
	return tb[IPVS_DEST_ATTR_ADDR] && get_address(tb[IPVS_DEST_ATTR_ADDR], family, &ret->addr);
}

struct services {
	struct netstate_ipvs_service *v;
	size_t n;
	struct netstate *ret;
	size_t at; /* whose destinations are being read */
};

static bool on_service(void *data, const struct nlmsghdr *nlh, struct error *err)
{
	struct services *s = data;
	struct netstate_entry e = {.kind = NETSTATE_IPVS_SERVICE};

	if (!ipvs_decode_service(nlh, &e.ipvs_service))
		return true;
	netstate_put(s->ret, &e);
	s->v = xreallocarray(s->v, s->n + 1, sizeof(*s->v));
	s->v[s->n++] = e.ipvs_service;
	return true;
}

static bool on_dest(void *data, const struct nlmsghdr *nlh, struct error *err)
{
	struct services *s = data;
	struct netstate_entry e = {.kind = NETSTATE_IPVS_DEST};

	if (ipvs_decode_dest(nlh, &s->v[s->at], &e.ipvs_dest))
		netstate_put(s->ret, &e);
	return true;
}

static struct nl_msg *dump_msg(struct netns *ns, uint8_t cmd)
{
	uint8_t header[4];
	uint16_t type;

	ipvs_head(ns->ipvs_family, cmd, &type, header);
	return nlsock_msg(type, NLM_F_DUMP, header, sizeof(header));
}

struct nl_msg *ipvs_dump_services_msg(struct netns *ns)
{
	return dump_msg(ns, IPVS_CMD_GET_SERVICE);
}

struct nl_msg *ipvs_dump_dests_msg(struct netns *ns, const struct netstate_ipvs_service *s)
{
	struct nl_msg *msg = dump_msg(ns, IPVS_CMD_GET_DEST);
	struct nlattr *nest = nla_nest_start(msg, IPVS_CMD_ATTR_SERVICE);

	put_service_key(msg, s->protocol, s->port, &s->addr, s->fwmark);
	nla_nest_end(msg, nest);
	return msg;
}

int ipvs_dump(struct netns *ns, struct netstate *ret, struct error *err)
{
	struct services s = {.ret = ret};
	struct nl_msg *msg;
	int r;

	if (netns_need_genl(ns, err) < 0)
		return -1;
	msg = ipvs_dump_services_msg(ns);
	r = nlsock_read(&ns->genl, msg, on_service, &s, err);
	nlmsg_free(msg);
	for (; r == 0 && s.at < s.n; s.at++) {
		msg = ipvs_dump_dests_msg(ns, &s.v[s.at]);
		r = nlsock_read(&ns->genl, msg, on_dest, &s, err);
		nlmsg_free(msg);
	}
	free(s.v);
	return r;
}
