#include "common/mem.h"
#include "common/str.h"
#include "netstate_entry.h"
#include "netstate_order.h"

struct diff {
	const struct netstate *want, *have;
	unsigned kinds;
	struct strv remade; /* names of links */
	struct oplist ops;
};

static bool is_remade(const struct diff *d, const struct netstate_entry *e)
{
	const struct netstate_entry *old = netstate_get(d->have, e);

	return old && netstate_link_remade(&old->link, &e->link);
}

static bool note_remade(void *data, const struct netstate_entry *e)
{
	struct diff *d = data;

	if (e->kind == NETSTATE_LINK && !strv_has(&d->remade, e->link.name) &&
	    (is_remade(d, e) || (*e->link.parent && strv_has(&d->remade, e->link.parent))))
		strv_add(&d->remade, e->link.name);
	return true;
}

static bool is_lost(const struct diff *d, const struct netstate_entry *e)
{
	if (!d->remade.n)
		return false;
	if (e->kind == NETSTATE_LINK)
		return strv_has(&d->remade, e->link.master) || strv_has(&d->remade, e->link.parent);
	return strv_has(&d->remade, netstate_entry_base(e));
}

static bool add_missing(void *data, const struct netstate_entry *e)
{
	struct diff *d = data;
	const struct netstate_entry *old;

	if (!(d->kinds & 1u << e->kind))
		return true;
	old = netstate_get(d->have, e);
	if (old && e->kind == NETSTATE_LINK && is_remade(d, e)) {
		oplist_add(&d->ops, true, old, NULL);
		oplist_add(&d->ops, false, e, NULL);
	} else if (!old || is_lost(d, e)) {
		oplist_add(&d->ops, false, e, NULL);
	} else if (!netstate_entry_fulfils(old, e)) {
		oplist_add(&d->ops, false, e, old);
	}
	return true;
}

static bool delete_surplus(void *data, const struct netstate_entry *e)
{
	struct diff *d = data;

	if (!(d->kinds & 1u << e->kind) || e->kind == NETSTATE_SYSCTL || netstate_get(d->want, e))
		return true;
	if (e->kind == NETSTATE_LINK && (e->link.foreign || e->link.kind == LINK_OTHER))
		return true;
	oplist_add(&d->ops, true, e, NULL);
	return true;
}

void netstate_diff(const struct netstate *want, const struct netstate *have, unsigned kinds, struct netstate_ops *ret)
{
	struct diff d = {.want = want, .have = have, .kinds = kinds};
	size_t before;

	if (kinds & 1u << NETSTATE_LINK) {
		do {
			before = d.remade.n;
			netstate_each(want, note_remade, &d);
		} while (d.remade.n != before);
	}
	netstate_each(want, add_missing, &d);
	netstate_each(have, delete_surplus, &d);
	oplist_finish(&d.ops, want, ret);
	strv_fini(&d.remade);
}
