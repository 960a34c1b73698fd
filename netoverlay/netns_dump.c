#include "netns_internal.h"
#include "rtnl.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DUMP_TRIES 5 /* the kernel's tables may change while they are read */

struct known_link {
	int index;
	char name[IFNAMSIZ];
	bool foreign;
	int link_index, link_nsid, master_index;
	struct netstate_link link;
};

#define TABLES_MAX 16 /* of routes, that are named in wishes */

struct dump {
	struct netns *ns;
	unsigned kinds;
	const struct netstate *want;
	struct netstate *ret;
	struct known_link *links;
	size_t n_links, cap;
	uint32_t tables[TABLES_MAX]; /* all of these is ours */
	unsigned n_tables;
};

static const struct known_link *link_by_index(const struct dump *d, int index)
{
	for (size_t i = 0; i < d->n_links; i++)
		if (d->links[i].index == index)
			return &d->links[i];
	return NULL;
}

/* ---------------------------------------------------------------- links */

static bool on_link(void *data, const struct nlmsghdr *nlh, struct error *err)
{
	struct dump *d = data;
	struct rtnl_fact fact;
	struct known_link *k;

	if (!rtnl_decode(nlh, &fact) || fact.entry.kind != NETSTATE_LINK)
		return true;
	if (d->n_links == d->cap) {
		d->cap = d->cap ? d->cap * 2 : 16;
		d->links = xreallocarray(d->links, d->cap, sizeof(*d->links));
	}
	k = &d->links[d->n_links++];
	*k = (struct known_link){
		.index = fact.index,
		.foreign = fact.entry.link.foreign,
		.link_index = fact.link_index,
		.link_nsid = fact.link_nsid,
		.master_index = fact.master_index,
		.link = fact.entry.link,
	};
	memcpy(k->name, fact.entry.link.name, sizeof(k->name));
	return true;
}

static bool on_name(void *data, const struct nlmsghdr *nlh, struct error *err)
{
	struct rtnl_fact fact;

	if (rtnl_decode(nlh, &fact) && fact.entry.kind == NETSTATE_LINK)
		memcpy(data, fact.entry.link.name, IFNAMSIZ);
	return true;
}

/* Name of a link; "" when there is none of that index. */
static void name_of(struct netns *ns, int index, char ret[static IFNAMSIZ])
{
	struct rtnl_head h;
	struct nl_msg *msg;

	rtnl_link_get_head(index, &h);
	msg = nlsock_msg(h.type, h.flags, h.header, h.header_len);
	if (nlsock_read(&ns->rt, msg, on_name, ret, NULL) < 0)
		*ret = '\0';
	nlmsg_free(msg);
}

static bool has_parent(const struct netstate_link *l)
{
	return l->kind == LINK_MACVLAN || l->kind == LINK_IPVLAN || l->kind == LINK_VLAN;
}

static void add_link(struct dump *d, const struct known_link *k)
{
	struct netstate_entry e = {.kind = NETSTATE_LINK, .link = k->link};
	const struct known_link *other;

	other = k->master_index ? link_by_index(d, k->master_index) : NULL;
	if (other)
		memcpy(e.link.master, other->name, IFNAMSIZ);
	if (has_parent(&e.link) && k->link_index && k->link_nsid < 0) {
		other = link_by_index(d, k->link_index);
		if (other)
			memcpy(e.link.parent, other->name, IFNAMSIZ);
	} else if (has_parent(&e.link) && k->link_index && d->ns->outer) {
		name_of(d->ns->outer, k->link_index, e.link.parent);
	}
	netstate_put(d->ret, &e);
}

static bool on_one(void *data, const struct nlmsghdr *nlh, struct error *err)
{
	struct rtnl_fact fact;

	if (rtnl_decode(nlh, &fact) && fact.entry.kind == NETSTATE_LINK)
		*(struct rtnl_fact *)data = fact;
	return true;
}

int netns_read_link(struct netns *ns, const char *name, struct netstate_link *ret)
{
	struct rtnl_fact f = {0};
	struct rtnl_head h;
	struct nl_msg *msg;
	struct netns *where;

	rtnl_link_get_head(0, &h);
	msg = nlsock_msg(h.type, h.flags, h.header, h.header_len);
	nla_put_string(msg, IFLA_IFNAME, name);
	if (nlsock_read(&ns->rt, msg, on_one, &f, NULL) < 0)
		f.index = 0;
	nlmsg_free(msg);
	if (!f.index)
		return 0;
	*ret = f.entry.link;
	if (f.master_index)
		name_of(ns, f.master_index, ret->master);
	where = f.link_nsid < 0 ? ns : ns->outer;
	if (has_parent(ret) && f.link_index && where)
		name_of(where, f.link_index, ret->parent);
	return f.index;
}

/* ---------------------------------------------------------------- what stands on them */

static bool is_wanted(const struct dump *d, const struct netstate_entry *e)
{
	return d->want && netstate_get(d->want, e);
}

static bool has_table(const struct dump *d, uint32_t table)
{
	for (unsigned i = 0; i < d->n_tables; i++)
		if (d->tables[i] == table)
			return true;
	return false;
}

static bool note_table(void *data, const struct netstate_entry *e)
{
	struct dump *d = data;
	uint32_t t = e->kind == NETSTATE_ROUTE ? e->route.table : 0;

	if (t && t != RT_TABLE_MAIN && t != RT_TABLE_LOCAL && t != RT_TABLE_DEFAULT && !has_table(d, t) &&
	    d->n_tables < TABLES_MAX)
		d->tables[d->n_tables++] = t;
	return true;
}

/* Ours: by where it stands, by its mark, or because it is asked for by name. */
static bool belongs(const struct dump *d, const struct rtnl_fact *f, const struct known_link *on)
{
	const struct netstate_entry *e = &f->entry;
	bool ours = on && !on->foreign;

	switch (e->kind) {
	case NETSTATE_ADDR:
		return (ours && f->scope == RT_SCOPE_UNIVERSE) || is_wanted(d, e);
	case NETSTATE_ROUTE:
		return f->protocol == NETSTATE_PROTO || has_table(d, e->route.table) || is_wanted(d, e);
	case NETSTATE_RULE:
		return f->protocol == NETSTATE_PROTO || is_wanted(d, e);
	case NETSTATE_NEIGH:
	case NETSTATE_FDB:
		return f->permanent && (ours || is_wanted(d, e));
	default:
		return false;
	}
}

static bool on_fact(void *data, const struct nlmsghdr *nlh, struct error *err)
{
	struct dump *d = data;
	const struct known_link *on = NULL;
	struct rtnl_fact f;

	if (!rtnl_decode(nlh, &f) || !(d->kinds & 1u << f.entry.kind))
		return true;
	if (f.index) {
		on = link_by_index(d, f.index);
		if (!on)
			return true; /* came into being after its links were read */
	}
	switch (f.entry.kind) {
	case NETSTATE_ADDR:
		memcpy(f.entry.addr.link, on ? on->name : "", on ? IFNAMSIZ : 1);
		break;
	case NETSTATE_ROUTE:
		memcpy(f.entry.route.link, on ? on->name : "", on ? IFNAMSIZ : 1);
		break;
	case NETSTATE_NEIGH:
		memcpy(f.entry.neigh.link, on ? on->name : "", on ? IFNAMSIZ : 1);
		break;
	case NETSTATE_FDB:
		memcpy(f.entry.fdb.link, on ? on->name : "", on ? IFNAMSIZ : 1);
		break;
	default:
		break;
	}
	if (belongs(d, &f, on))
		netstate_put(d->ret, &f.entry);
	return true;
}

static int read_all(struct dump *d, uint16_t type, const void *header, size_t header_len, nlsock_message_cb cb, struct error *err)
{
	struct nl_msg *msg = nlsock_msg(type, NLM_F_DUMP, header, header_len);
	int r = nlsock_read(&d->ns->rt, msg, cb, d, err);

	nlmsg_free(msg);
	return r;
}

static int read_rtnl(struct dump *d, struct error *err)
{
	static const uint8_t families[] = {AF_INET, AF_INET6};
	struct ifinfomsg ifi = {.ifi_family = AF_UNSPEC};
	struct ndmsg bridge = {.ndm_family = AF_BRIDGE};

	d->n_links = 0;
	if (read_all(d, RTM_GETLINK, &ifi, sizeof(ifi), on_link, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
		struct ifaddrmsg ifa = {.ifa_family = families[i]};
		struct rtmsg rtm = {.rtm_family = families[i]};
		struct ndmsg ndm = {.ndm_family = families[i]};

		if (d->kinds & 1u << NETSTATE_ADDR && read_all(d, RTM_GETADDR, &ifa, sizeof(ifa), on_fact, err) < 0)
			return -1;
		if (d->kinds & 1u << NETSTATE_ROUTE && read_all(d, RTM_GETROUTE, &rtm, sizeof(rtm), on_fact, err) < 0)
			return -1;
		if (d->kinds & 1u << NETSTATE_RULE && read_all(d, RTM_GETRULE, &rtm, sizeof(rtm), on_fact, err) < 0)
			return -1;
		if (d->kinds & 1u << NETSTATE_NEIGH && read_all(d, RTM_GETNEIGH, &ndm, sizeof(ndm), on_fact, err) < 0)
			return -1;
	}
	if (d->kinds & 1u << NETSTATE_FDB && read_all(d, RTM_GETNEIGH, &bridge, sizeof(bridge), on_fact, err) < 0)
		return -1;
	for (size_t i = 0; d->kinds & 1u << NETSTATE_LINK && i < d->n_links; i++)
		add_link(d, &d->links[i]);
	return 0;
}

/* ---------------------------------------------------------------- sysctls */

bool netns_sysctl_path(const char *name, char ret[static NETNS_SYSCTL_PATH_MAX])
{
	if (!str_starts(name, "net/") || strstr(name, "/../") || str_ends(name, "/.."))
		return false;
	return snprintf(ret, NETNS_SYSCTL_PATH_MAX, "/proc/sys/%s", name) < NETNS_SYSCTL_PATH_MAX;
}

static bool read_sysctl(void *data, const struct netstate_entry *want)
{
	struct dump *d = data;
	struct netstate_entry e = *want;
	_cleanup_close_ int fd = -1;
	char path[NETNS_SYSCTL_PATH_MAX];
	ssize_t n;

	if (want->kind != NETSTATE_SYSCTL)
		return true;
	if (netns_sysctl_path(want->sysctl.name, path))
		fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, e.sysctl.value, sizeof(e.sysctl.value) - 1);
	if (n < 0)
		return true; /* gone with its link */
	e.sysctl.value[n] = '\0';
	e.sysctl.value[strcspn(e.sysctl.value, "\n")] = '\0';
	for (char *tab = e.sysctl.value; (tab = strchr(tab, '\t'));)
		*tab = ' '; /* between several numbers */
	netstate_put(d->ret, &e);
	return true;
}

static void read_sysctls(void *data)
{
	struct dump *d = data;

	netstate_each(d->want, read_sysctl, d);
}

/* ---------------------------------------------------------------- all */

static bool copy(void *data, const struct netstate_entry *e)
{
	netstate_put(data, e);
	return true;
}

/* What was read before the tables changed is not taken: it may be gone. */
static int read_consistently(struct dump *d, struct error *err)
{
	struct netstate *ret = d->ret;
	struct error why = ERROR_INIT;
	int r = -1;

	for (int i = 0; i < DUMP_TRIES && r < 0; i++) {
		why = ERROR_INIT;
		d->ret = netstate_new();
		r = read_rtnl(d, &why);
		if (r == 0)
			netstate_each(d->ret, copy, ret);
		netstate_free(d->ret);
		if (r < 0 && why.code != ERR_CONFLICT)
			break;
	}
	d->ret = ret;
	free(d->links);
	if (r < 0)
		return error_set(err, why.code, "read the state of namespace %s: %s", d->ns->path ?: "of the host", why.msg);
	return 0;
}

int netns_dump(struct netns *ns, unsigned kinds, const struct netstate *want, struct netstate *ret, struct error *err)
{
	const unsigned xfrm = 1u << NETSTATE_XFRM_STATE | 1u << NETSTATE_XFRM_POLICY;
	const unsigned ipvs = 1u << NETSTATE_IPVS_SERVICE | 1u << NETSTATE_IPVS_DEST;
	struct dump d = {.ns = ns, .kinds = kinds, .want = want, .ret = ret};

	if (want)
		netstate_each(want, note_table, &d);
	if (read_consistently(&d, err) < 0)
		return -1;
	if (kinds & 1u << NETSTATE_SYSCTL && want && netns_run(ns, read_sysctls, &d, err) < 0)
		return -1;
	if (kinds & ipvs && ipvs_dump(ns, ret, err) < 0)
		return -1;
	if (kinds & xfrm && xfrm_dump(ns, kinds, want, ret, err) < 0)
		return -1;
	return 0;
}

/* ---------------------------------------------------------------- the link of an address */

struct search {
	struct ipaddr addr;
	int index;
	char *name;
	uint32_t mtu;
};

static bool on_search_addr(void *data, const struct nlmsghdr *nlh, struct error *err)
{
	struct search *s = data;
	struct rtnl_fact f;

	if (rtnl_decode(nlh, &f) && f.entry.kind == NETSTATE_ADDR && ipaddr_same_host(&f.entry.addr.addr, &s->addr))
		s->index = f.index;
	return true;
}

static bool on_search_link(void *data, const struct nlmsghdr *nlh, struct error *err)
{
	struct search *s = data;
	struct rtnl_fact f;

	if (rtnl_decode(nlh, &f) && f.entry.kind == NETSTATE_LINK) {
		memcpy(s->name, f.entry.link.name, IFNAMSIZ);
		s->mtu = f.entry.link.mtu;
	}
	return true;
}

int netns_link_of_address(struct netns *ns, const struct ipaddr *a, char ret_name[static IFNAMSIZ], uint32_t *ret_mtu,
			  struct error *err)
{
	struct search s = {.addr = *a, .name = ret_name};
	struct ifaddrmsg ifa = {.ifa_family = a->family};
	struct nl_msg *msg = nlsock_msg(RTM_GETADDR, NLM_F_DUMP, &ifa, sizeof(ifa));
	char text[IPADDR_TEXT_MAX];
	struct rtnl_head h;
	int r = nlsock_read(&ns->rt, msg, on_search_addr, &s, err);

	nlmsg_free(msg);
	if (r < 0)
		return -1;
	if (!s.index)
		return error_set(err, ERR_NOT_FOUND, "no link of this host has the address %s", ipaddr_format_host(a, text));
	rtnl_link_get_head(s.index, &h);
	msg = nlsock_msg(h.type, h.flags, h.header, h.header_len);
	r = nlsock_read(&ns->rt, msg, on_search_link, &s, err);
	nlmsg_free(msg);
	*ret_mtu = s.mtu;
	return r;
}
