#include "netns_internal.h"
#include "netstate_entry.h"
#include "rtnl.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NAMES_MAX 64 /* links of one call whose indexes are remembered */

/* One call of netns_apply. Requests are queued per socket; what goes to another socket flushes the others first. */
struct apply {
	struct netns *ns;
	const struct netstate_op *ops;
	struct nlsock_batch rt, outer, genl, xfrm;
	struct nlsock_batch *last;
	struct {
		char name[IFNAMSIZ];
		int index;
	} names[NAMES_MAX];
	unsigned n_names;
	size_t *again; /* IPVS entries that were there: changed in a second pass */
	size_t n_again;
	bool deleting; /* of a link is queued */
	bool *bad;     /* operations that failed: one may be several requests */
	size_t failed;
	struct error err;
};

/* ---------------------------------------------------------------- failures */

static void note(struct apply *a, size_t tag, enum error_code code, const char *why)
{
	char text[NETSTATE_ENTRY_TEXT_MAX];
	const struct netstate_op *op = &a->ops[tag];

	a->failed += !a->bad[tag];
	a->bad[tag] = true;
	if (error_is_set(&a->err))
		return;
	error_set(&a->err, code, "%s %s %s: %s", op->del ? "delete" : "set", netstate_kind_name(op->entry.kind),
		  netstate_entry_text(&op->entry, text), why);
}

static void on_failed(void *data, size_t tag, int errno_value, const char *text)
{
	struct apply *a = data;
	char why[256];

	if (errno_value == EEXIST && (a->ops[tag].entry.kind == NETSTATE_IPVS_SERVICE ||
				      a->ops[tag].entry.kind == NETSTATE_IPVS_DEST)) {
		a->again = xreallocarray(a->again, a->n_again + 1, sizeof(*a->again));
		a->again[a->n_again++] = tag;
		return;
	}
	snprintf(why, sizeof(why), "%s%s%s", strerror(errno_value), *text ? ": " : "", text);
	note(a, tag, errno_value == EPERM ? ERR_DENIED : ERR_INTERNAL, why);
}

/* ---------------------------------------------------------------- batches */

static struct nlsock_batch *use(struct apply *a, struct nlsock_batch *b)
{
	if (a->last && a->last != b)
		nlsock_batch_flush(a->last);
	a->last = b;
	return b;
}

static void flush(struct apply *a)
{
	if (a->last)
		nlsock_batch_flush(a->last);
	a->deleting = false;
}

static struct nl_msg *begin(struct nlsock_batch *b, const struct rtnl_head *h)
{
	return nlsock_batch_begin(b, h->type, h->flags, h->header, h->header_len);
}

static void add(struct nlsock_batch *b, size_t tag, const struct rtnl_head *h)
{
	nlsock_batch_add(b, tag, h->tolerate[0], h->tolerate[1], h->tolerate[2]);
}

/* ---------------------------------------------------------------- names */

/* Index of a link of the namespace; what is queued may make it, so it is sent first. 0 = there is none. */
static int index_of(struct apply *a, const char *name)
{
	int index;

	if (!*name)
		return 0;
	for (unsigned i = 0; i < a->n_names; i++)
		if (str_eq(a->names[i].name, name))
			return a->names[i].index;
	flush(a);
	index = netns_link_index(a->ns, name);
	if (index && a->n_names < NAMES_MAX) {
		snprintf(a->names[a->n_names].name, IFNAMSIZ, "%s", name);
		a->names[a->n_names++].index = index;
	}
	return index;
}

/* ---------------------------------------------------------------- links */

static bool made_outside(const struct netstate_link *l)
{
	return l->kind == LINK_VXLAN || l->kind == LINK_MACVLAN || l->kind == LINK_IPVLAN || l->kind == LINK_VLAN;
}

/* Descriptor of the namespace of a veth's other end. */
static int open_peer(struct apply *a, const struct netstate_link *l)
{
	if (*l->peer_ns)
		return open(l->peer_ns, O_RDONLY | O_CLOEXEC);
	return fcntl(a->ns->outer ? a->ns->outer->fd : a->ns->fd, F_DUPFD_CLOEXEC, 3);
}

/* A name that nobody has. A device that is made from the outer namespace is looked for there by its final name, too, by
 * kernels before 6.14: two namespaces may well have an eth0 each. */
static void passing_name(char ret[static IFNAMSIZ])
{
	static atomic_uint counter;

	snprintf(ret, IFNAMSIZ, "sk%06x.%05x", (unsigned)getpid() & 0xffffff, atomic_fetch_add(&counter, 1) & 0xfffff);
}

static void not_there(struct apply *a, size_t tag, const char *what, const char *name)
{
	char why[64];

	snprintf(why, sizeof(why), "there is no %s %s", what, name);
	note(a, tag, ERR_NOT_FOUND, why);
}

/* It has been made under another name: sent at once, and given its own. */
static bool rename_link(struct apply *a, size_t tag, const char *from, const struct netstate_link *l)
{
	struct rtnl_link_set set = {.name = l->name};
	struct rtnl_head h;

	flush(a);
	set.index = netns_link_index(a->ns, from);
	if (!set.index)
		return false; /* that was noted */
	rtnl_link_set_head(&set, &h);
	rtnl_link_set_attrs(begin(use(a, &a->rt), &h), &set);
	add(&a->rt, tag, &h);
	return true;
}

static bool create_link(struct apply *a, size_t tag, const struct netstate_link *l)
{
	bool outside = a->ns->outer && made_outside(l);
	struct rtnl_link_refs refs = {.target_fd = outside ? a->ns->fd : -1, .peer_fd = -1};
	struct nlsock_batch *b = use(a, outside ? &a->outer : &a->rt);
	char passing[IFNAMSIZ], why[NETSTATE_PATH_MAX + 96];
	struct rtnl_head h;

	if (*l->parent) {
		flush(a); /* it may be made by what is queued */
		refs.parent = netns_link_index(outside ? a->ns->outer : a->ns, l->parent);
		if (!refs.parent) {
			not_there(a, tag, "link", l->parent);
			return false;
		}
	}
	if (l->kind == LINK_VETH) {
		refs.peer_fd = open_peer(a, l);
		if (refs.peer_fd < 0) {
			snprintf(why, sizeof(why), "namespace %s of its other end: %s", l->peer_ns, strerror(errno));
			note(a, tag, ERR_NOT_FOUND, why);
			return false;
		}
		nlsock_batch_keep_fd(b, refs.peer_fd);
	}
	if (outside) {
		passing_name(passing);
		refs.name = passing;
	}
	rtnl_link_create_head(&h);
	if (!rtnl_link_create_attrs(begin(b, &h), l, &refs)) {
		note(a, tag, ERR_INVALID, "a link of this kind or mode cannot be made");
		return false;
	}
	add(b, tag, &h);
	return !outside || rename_link(a, tag, passing, l);
}

static void send_set(struct apply *a, size_t tag, const struct rtnl_link_set *set)
{
	struct rtnl_head h;

	rtnl_link_set_head(set, &h);
	rtnl_link_set_attrs(begin(use(a, &a->rt), &h), set);
	add(&a->rt, tag, &h);
}

/* As a port of a bridge it may not do for a moment what it must not: its flags come before it is up. */
static bool join_bridge(struct apply *a, size_t tag, const struct netstate_link *l, const struct netstate_link *have)
{
	struct rtnl_link_set set = {.by_name = l->name};
	struct rtnl_head h;

	if (!have || !str_eq(have->master, l->master)) {
		set.master = index_of(a, l->master);
		if (!set.master) {
			not_there(a, tag, "bridge", l->master);
			return false;
		}
		send_set(a, tag, &set);
	} else if (have->isolated == l->isolated && have->hairpin == l->hairpin) {
		return true;
	}
	rtnl_link_set_head(&set, &h);
	rtnl_link_port_attrs(begin(use(a, &a->rt), &h), l->name, l->isolated, l->hairpin);
	add(&a->rt, tag, &h);
	return true;
}

static bool same_mac(const struct mac *a, const struct mac *b)
{
	return memcmp(a->bytes, b->bytes, sizeof(a->bytes)) == 0;
}

/* What differs from `have`; NULL = it has just been made. By name, so that nothing need be asked in between. */
static void set_link(struct apply *a, size_t tag, const struct netstate_link *l, const struct netstate_link *have, int index)
{
	struct rtnl_link_set set = {.index = index, .by_name = l->name};

	if (have) {
		set.mac = same_mac(&l->mac, &have->mac) ? (struct mac){0} : l->mac;
		set.ours = have->foreign && l->kind != LINK_OTHER;
	}
	if (l->mtu && (have ? l->mtu != have->mtu : l->kind == LINK_BRIDGE))
		set.mtu = l->mtu;
	if (set.mtu || set.ours || !same_mac(&set.mac, &(struct mac){0}))
		send_set(a, tag, &set);
	if (*l->master && !join_bridge(a, tag, l, have))
		return;
	if (l->down && have && have->up)
		send_set(a, tag, &(struct rtnl_link_set){.by_name = l->name, .down = true});
	if (l->up && !(have && have->up))
		send_set(a, tag, &(struct rtnl_link_set){.by_name = l->name, .up = true});
}

static void delete_link(struct apply *a, size_t tag, int index)
{
	struct rtnl_head h;

	rtnl_link_delete_head(index, &h);
	begin(use(a, &a->rt), &h);
	add(&a->rt, tag, &h);
	a->deleting = true;
	a->n_names = 0; /* others may go with it */
}

static void put_link(struct apply *a, size_t tag, const struct netstate_link *l)
{
	struct netstate_link have;
	int index;

	if (a->deleting)
		flush(a);
	index = netns_read_link(a->ns, l->name, &have);
	if (!index && l->kind == LINK_OTHER) {
		flush(a); /* the other end of one that is queued */
		index = netns_read_link(a->ns, l->name, &have);
		if (!index) {
			note(a, tag, ERR_NOT_FOUND, "it is not there");
			return;
		}
	}
	if (index && netstate_link_remade(&have, l)) {
		delete_link(a, tag, index);
		flush(a);
		index = 0;
	}
	if (index || create_link(a, tag, l))
		set_link(a, tag, l, index ? &have : NULL, index);
}

static void apply_link(struct apply *a, size_t tag, const struct netstate_op *op)
{
	const struct netstate_link *l = &op->entry.link;
	int index;

	if (!op->del) {
		put_link(a, tag, l);
		return;
	}
	if (l->kind == LINK_OTHER || l->foreign)
		return;
	index = index_of(a, l->name);
	if (index)
		delete_link(a, tag, index);
}

/* ---------------------------------------------------------------- the others */

static void apply_entry(struct apply *a, size_t tag, const struct netstate_op *op)
{
	const char *link = netstate_entry_base(&op->entry);
	int index = index_of(a, link);
	struct nlsock_batch *b;
	struct rtnl_head h;

	if (*link && !index) {
		if (!op->del) /* gone with its link */
			note(a, tag, ERR_NOT_FOUND, "its link is not there");
		return;
	}
	b = use(a, &a->rt);
	rtnl_entry_head(&op->entry, index, op->del, &h);
	rtnl_entry_attrs(begin(b, &h), &op->entry, index, op->del);
	add(b, tag, &h);
}

static void apply_sysctl(struct apply *a, size_t tag, const struct netstate_op *op)
{
	const struct netstate_sysctl *s = &op->entry.sysctl;
	_cleanup_close_ int fd = -1;
	char path[NETNS_SYSCTL_PATH_MAX];
	int back, e = 0;

	if (op->del)
		return; /* it stays with its link */
	if (!netns_sysctl_path(s->name, path)) {
		note(a, tag, ERR_INVALID, "not a name of a namespace's own (\"net/...\")");
		return;
	}
	flush(a);
	if (netns_enter(a->ns, &back, NULL) < 0) {
		note(a, tag, ERR_INTERNAL, "its namespace cannot be entered");
		return;
	}
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, s->value, strlen(s->value)) < 0)
		e = errno;
	netns_leave(back);
	if (e)
		note(a, tag, ERR_INTERNAL, strerror(e));
}

static void send_ipvs(struct apply *a, size_t tag, const struct netstate_op *op, bool change)
{
	uint8_t header[4];
	uint16_t type;

	ipvs_head(a->ns->ipvs_family, ipvs_command(&op->entry, op->del, change), &type, header);
	ipvs_attrs(nlsock_batch_begin(use(a, &a->genl), type, 0, header, sizeof(header)), &op->entry, op->del);
	/* A service that is gone took its destinations with it. */
	nlsock_batch_add(&a->genl, tag, op->del ? ESRCH : 0, op->del ? ENOENT : 0, 0);
}

static void apply_ipvs(struct apply *a, size_t tag, const struct netstate_op *op)
{
	struct error err = ERROR_INIT;

	if (netns_need_genl(a->ns, &err) < 0) {
		note(a, tag, err.code, err.msg);
		return;
	}
	a->genl.nl = &a->ns->genl;
	send_ipvs(a, tag, op, op->replaces);
}

static void send_xfrm(struct apply *a, size_t tag, const struct netstate_op *op, bool del)
{
	struct xfrm_request req;

	xfrm_request_of(&op->entry, del, &req);
	xfrm_attrs(nlsock_batch_begin(use(a, &a->xfrm), req.type, 0, req.header, req.header_len), &op->entry, del);
	nlsock_batch_add(&a->xfrm, tag, req.tolerate, 0, 0);
}

static void apply_xfrm(struct apply *a, size_t tag, const struct netstate_op *op)
{
	struct error err = ERROR_INIT;

	if (netns_need_xfrm(a->ns, &err) < 0) {
		note(a, tag, err.code, err.msg);
		return;
	}
	a->xfrm.nl = &a->ns->xfrm;
	if (op->replaces && op->entry.kind == NETSTATE_XFRM_STATE)
		send_xfrm(a, tag, op, true); /* a state's key cannot be changed */
	send_xfrm(a, tag, op, op->del);
}

static void apply_op(struct apply *a, size_t tag)
{
	const struct netstate_op *op = &a->ops[tag];

	switch (op->entry.kind) {
	case NETSTATE_LINK:
		apply_link(a, tag, op);
		break;
	case NETSTATE_ADDR:
	case NETSTATE_ROUTE:
	case NETSTATE_RULE:
	case NETSTATE_NEIGH:
	case NETSTATE_FDB:
		apply_entry(a, tag, op);
		break;
	case NETSTATE_SYSCTL:
		apply_sysctl(a, tag, op);
		break;
	case NETSTATE_IPVS_SERVICE:
	case NETSTATE_IPVS_DEST:
		apply_ipvs(a, tag, op);
		break;
	case NETSTATE_XFRM_STATE:
	case NETSTATE_XFRM_POLICY:
		apply_xfrm(a, tag, op);
		break;
	case NETSTATE_KINDS:
		break;
	}
}

/* Services and destinations that were there already. */
static void change_again(struct apply *a)
{
	_cleanup_free_ size_t *again = a->again;
	size_t n = a->n_again;

	a->again = NULL;
	a->n_again = 0;
	for (size_t i = 0; i < n; i++)
		send_ipvs(a, again[i], &a->ops[again[i]], true);
	flush(a);
}

int netns_apply(struct netns *ns, const struct netstate_op *ops, size_t n, size_t *ret_failed, struct error *err)
{
	struct apply *a = xnew(struct apply);
	int r = 0;

	a->ns = ns;
	a->ops = ops;
	a->bad = xcalloc(n + 1, sizeof(*a->bad));
	nlsock_batch_init(&a->rt, &ns->rt, on_failed, a);
	nlsock_batch_init(&a->outer, ns->outer ? &ns->outer->rt : &ns->rt, on_failed, a);
	nlsock_batch_init(&a->genl, &ns->genl, on_failed, a);
	nlsock_batch_init(&a->xfrm, &ns->xfrm, on_failed, a);
	watch_before(ns);
	if (ns->outer)
		watch_before(ns->outer);
	for (size_t i = 0; i < n; i++)
		apply_op(a, i);
	flush(a);
	change_again(a);
	watch_after(ns);
	if (ns->outer)
		watch_after(ns->outer);
	nlsock_batch_fini(&a->rt);
	nlsock_batch_fini(&a->outer);
	nlsock_batch_fini(&a->genl);
	nlsock_batch_fini(&a->xfrm);
	free(a->again);
	free(a->bad);
	if (ret_failed)
		*ret_failed = a->failed;
	if (a->failed)
		r = error_set(err, a->err.code, "%s", a->err.msg);
	free(a);
	return r;
}
