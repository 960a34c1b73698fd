#include "netns_internal.h"
#include "rtnl.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <stdio.h>
#include <string.h>

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
	size_t failed;
	struct error err;
};

/* ---------------------------------------------------------------- failures */

static void note(struct apply *a, size_t tag, enum error_code code, const char *why)
{
	char text[NETSTATE_ENTRY_TEXT_MAX];
	const struct netstate_op *op = &a->ops[tag];

	a->failed++;
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

static void forget_name(struct apply *a, const char *name)
{
	for (unsigned i = 0; i < a->n_names; i++)
		if (str_eq(a->names[i].name, name)) {
			a->names[i] = a->names[--a->n_names];
			return;
		}
}

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

static bool create_link(struct apply *a, size_t tag, const struct netstate_link *l)
{
	bool outside = a->ns->outer && made_outside(l);
	struct rtnl_link_refs refs = {.target_fd = outside ? a->ns->fd : -1, .peer_fd = -1};
	struct nlsock_batch *b = use(a, outside ? &a->outer : &a->rt);
	struct rtnl_head h;
	char why[160];

	if (*l->parent) {
		refs.parent = netns_link_index(outside ? a->ns->outer : a->ns, l->parent);
		if (!refs.parent) {
			snprintf(why, sizeof(why), "there is no link %s", l->parent);
			note(a, tag, ERR_NOT_FOUND, why);
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
	rtnl_link_create_head(&refs, &h);
	if (!rtnl_link_create_attrs(begin(b, &h), l, &refs)) {
		note(a, tag, ERR_INVALID, "a link of this kind or mode cannot be made");
		return false;
	}
	nlsock_batch_add(b, tag, EEXIST, 0, 0); /* what differs in it is set below */
	forget_name(a, l->name);
	return true;
}

/* By name, so that nothing need be asked in between. */
static void set_link(struct apply *a, size_t tag, const struct netstate_link *l)
{
	struct rtnl_link_set set = {.by_name = l->name, .mac = l->mac, .mtu = l->mtu, .up = l->up};
	struct nlsock_batch *b;
	struct rtnl_head h;
	char why[64];

	if (*l->master) {
		set.master = index_of(a, l->master);
		if (!set.master) {
			snprintf(why, sizeof(why), "there is no bridge %s", l->master);
			note(a, tag, ERR_NOT_FOUND, why);
			return;
		}
	}
	b = use(a, &a->rt);
	rtnl_link_set_head(&set, &h);
	rtnl_link_set_attrs(begin(b, &h), &set);
	add(b, tag, &h);
	if (!*l->master)
		return;
	set = (struct rtnl_link_set){.by_name = l->name};
	rtnl_link_set_head(&set, &h);
	rtnl_link_port_attrs(begin(b, &h), l->name, l->isolated, l->hairpin);
	add(b, tag, &h);
}

static void apply_link(struct apply *a, size_t tag, const struct netstate_op *op)
{
	const struct netstate_link *l = &op->entry.link;
	struct rtnl_head h;
	int index;

	if (!op->del) {
		if (l->kind == LINK_OTHER || op->replaces || create_link(a, tag, l))
			set_link(a, tag, l);
		return;
	}
	if (l->kind == LINK_OTHER || l->foreign)
		return;
	index = index_of(a, l->name);
	if (!index)
		return;
	rtnl_link_delete_head(index, &h);
	begin(use(a, &a->rt), &h);
	add(&a->rt, tag, &h);
	forget_name(a, l->name);
}

/* ---------------------------------------------------------------- the others */

static const char *link_of(const struct netstate_entry *e)
{
	switch (e->kind) {
	case NETSTATE_ADDR:
		return e->addr.link;
	case NETSTATE_ROUTE:
		return e->route.link;
	case NETSTATE_NEIGH:
		return e->neigh.link;
	case NETSTATE_FDB:
		return e->fdb.link;
	default:
		return "";
	}
}

static void apply_entry(struct apply *a, size_t tag, const struct netstate_op *op)
{
	const char *link = link_of(&op->entry);
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
	char path[160];
	int back, e = 0;

	if (op->del)
		return; /* it stays with its link */
	flush(a);
	snprintf(path, sizeof(path), "/proc/sys/%s", s->name);
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

static void apply_xfrm(struct apply *a, size_t tag, const struct netstate_op *op)
{
	struct error err = ERROR_INIT;
	struct xfrm_request req;

	if (netns_need_xfrm(a->ns, &err) < 0) {
		note(a, tag, err.code, err.msg);
		return;
	}
	a->xfrm.nl = &a->ns->xfrm;
	xfrm_request_of(&op->entry, op->del, &req);
	xfrm_attrs(nlsock_batch_begin(use(a, &a->xfrm), req.type, 0, req.header, req.header_len), &op->entry, op->del);
	nlsock_batch_add(&a->xfrm, tag, req.tolerate, 0, 0);
	mem_wipe(&req, sizeof(req));
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
	if (ret_failed)
		*ret_failed = a->failed;
	if (a->failed)
		r = error_set(err, a->err.code, "%s", a->err.msg);
	free(a);
	return r;
}
