#include "netstate_order.h"

#include "common/mem.h"
#include "common/str.h"

#include <stdlib.h>
#include <string.h>

#define DEPTH_MAX 8 /* of links on links; more is a ring */

void oplist_add(struct oplist *l, bool del, const struct netstate_entry *e, const struct netstate_entry *old)
{
	struct netstate_op *op;

	if (l->n == l->cap) {
		l->cap = l->cap ? l->cap * 2 : 16;
		l->v = xreallocarray(l->v, l->cap, sizeof(*l->v));
	}
	op = &l->v[l->n++];
	memset(op, 0, sizeof(*op));
	op->del = del;
	op->entry = *e;
	if (old) {
		op->replaces = true;
		op->old = *old;
	}
}

static unsigned link_depth(const struct netstate *set, const struct netstate_link *l, unsigned limit)
{
	unsigned depth = 0;

	for (int i = 0; i < 2 && limit; i++) {
		struct netstate_entry key = {.kind = NETSTATE_LINK};
		const struct netstate_entry *below;

		memcpy(key.link.name, i ? l->parent : l->master, IFNAMSIZ);
		if (!*key.link.name || str_eq(key.link.name, l->name))
			continue;
		below = netstate_get(set, &key);
		if (below)
			depth = MAX(depth, 1 + link_depth(set, &below->link, limit - 1));
	}
	return depth;
}

/* Of links that say nothing of each other, those that others are put on first; what is there, or comes as another's
 * end, last. */
static unsigned link_rank(enum link_kind kind)
{
	static const unsigned rank[] = {
		[LINK_DUMMY] = 0, [LINK_BRIDGE] = 1,  [LINK_VXLAN] = 2,  [LINK_VETH] = 3,
		[LINK_VLAN] = 4,  [LINK_MACVLAN] = 5, [LINK_IPVLAN] = 6, [LINK_OTHER] = 7,
	};

	return rank[kind];
}

struct place {
	uint32_t phase, rank;
	size_t seq;
};

static struct place place_of(const struct netstate_op *op, size_t seq, const struct netstate *set)
{
	const struct netstate_entry *e = &op->entry;
	struct place p = {.seq = seq};

	p.phase = op->del ? NETSTATE_KINDS - 1 - e->kind : NETSTATE_KINDS + e->kind;
	if (e->kind == NETSTATE_LINK)
		p.rank = op->del ? DEPTH_MAX - link_rank(e->link.kind) :
				   link_depth(set, &e->link, DEPTH_MAX) * 16 + link_rank(e->link.kind);
	return p;
}

static int cmp_place(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->phase != y->phase)
		return x->phase < y->phase ? -1 : 1;
	if (x->rank != y->rank)
		return x->rank < y->rank ? -1 : 1;
	return x->seq < y->seq ? -1 : x->seq > y->seq;
}

void oplist_finish(struct oplist *l, const struct netstate *set, struct netstate_ops *ret)
{
	_cleanup_free_ struct place *places = xcalloc(l->n + 1, sizeof(*places));
	struct netstate_op *sorted = xcalloc(l->n + 1, sizeof(*sorted));

	for (size_t i = 0; i < l->n; i++)
		places[i] = place_of(&l->v[i], i, set);
	qsort(places, l->n, sizeof(*places), cmp_place);
	for (size_t i = 0; i < l->n; i++)
		sorted[i] = l->v[places[i].seq];
	*ret = (struct netstate_ops){.v = sorted, .n = l->n};
	free(l->v);
	*l = (struct oplist){};
}

void netstate_ops_fini(struct netstate_ops *ops)
{
	if (ops->v)
		explicit_bzero(ops->v, ops->n * sizeof(*ops->v)); /* keys of states */
	free(ops->v);
	*ops = (struct netstate_ops){};
}
