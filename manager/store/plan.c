#include "plan.h"

#include "common/mem.h"
#include "common/str.h"

#include <string.h>

/* ---- sets of ids */

void idset_add(struct idset *set, const char *id)
{
	size_t len = id ? strlen(id) : 0;
	struct idset_entry *e;

	if (!len || idset_has(set, id))
		return;
	e = xcalloc(1, sizeof(*e) + len + 1);
	memcpy(e->id, id, len);
	HASH_ADD_KEYPTR(hh, set->entries, e->id, len, e);
}

bool idset_has(const struct idset *set, const char *id)
{
	struct idset_entry *e;

	HASH_FIND_STR(set->entries, id, e);
	return e != NULL;
}

void idset_add_all(struct idset *set, const struct idset *other)
{
	for (struct idset_entry *e = other->entries; e; e = e->hh.next)
		idset_add(set, e->id);
}

void idset_clear(struct idset *set)
{
	struct idset_entry *e, *tmp;

	HASH_ITER(hh, set->entries, e, tmp) {
		HASH_DEL(set->entries, e);
		free(e);
	}
}

/* ---- dirt */

bool dirty_any(const struct dirty *dirty)
{
	return dirty->all || dirty->schedule || dirty->subnets || dirty->ports || dirty->migrations ||
	       dirty->services.entries || dirty->nodes.entries || dirty->networks.entries;
}

void dirty_merge(struct dirty *dirty, const struct dirty *other)
{
	dirty->all |= other->all;
	dirty->schedule |= other->schedule;
	dirty->subnets |= other->subnets;
	dirty->ports |= other->ports;
	dirty->migrations |= other->migrations;
	idset_add_all(&dirty->services, &other->services);
	idset_add_all(&dirty->nodes, &other->nodes);
	idset_add_all(&dirty->networks, &other->networks);
}

void dirty_clear(struct dirty *dirty)
{
	dirty->all = dirty->schedule = dirty->subnets = dirty->ports = dirty->migrations = false;
	idset_clear(&dirty->services);
	idset_clear(&dirty->nodes);
	idset_clear(&dirty->networks);
}

/* ---- wakes */

static struct wake *wake_find(const struct wakes *wakes, enum wake_kind kind, const char *id)
{
	_cleanup_free_ char *key = xasprintf("%c%s", 'a' + (int)kind, id);
	struct wake *wake;

	HASH_FIND_STR(wakes->entries, key, wake);
	return wake;
}

void wakes_set(struct wakes *wakes, enum wake_kind kind, const char *id, int64_t at)
{
	struct wake *wake = wake_find(wakes, kind, id);
	size_t len = 1 + strlen(id);

	if (wake) {
		wake->at = MIN(wake->at, at);
		return;
	}
	wake = xcalloc(1, sizeof(*wake) + len + 1);
	wake->key[0] = (char)('a' + (int)kind);
	memcpy(wake->key + 1, id, len);
	wake->at = at;
	HASH_ADD_KEYPTR(hh, wakes->entries, wake->key, len, wake);
}

static void wake_free(struct wakes *wakes, struct wake *wake)
{
	HASH_DEL(wakes->entries, wake);
	free(wake);
}

void wakes_drop(struct wakes *wakes, enum wake_kind kind, const char *id)
{
	struct wake *wake = wake_find(wakes, kind, id);

	if (wake)
		wake_free(wakes, wake);
}

int64_t wakes_next(const struct wakes *wakes)
{
	int64_t next = INT64_MAX;

	for (struct wake *wake = wakes->entries; wake; wake = wake->hh.next)
		next = MIN(next, wake->at);
	return next;
}

void wakes_due(struct wakes *wakes, int64_t now, struct dirty *dirty)
{
	struct wake *wake, *tmp;

	HASH_ITER(hh, wakes->entries, wake, tmp) {
		if (wake->at > now)
			continue;
		if (wake->key[0] == 'a' + WAKE_SERVICE)
			idset_add(&dirty->services, wake->key + 1);
		else if (wake->key[0] == 'a' + WAKE_NETWORK)
			idset_add(&dirty->networks, wake->key + 1);
		else if (wake->key[0] == 'a' + WAKE_MIGRATION)
			dirty->migrations = true;
		else
			dirty->schedule = true;
		wake_free(wakes, wake);
	}
}

void wakes_clear(struct wakes *wakes)
{
	struct wake *wake, *tmp;

	HASH_ITER(hh, wakes->entries, wake, tmp)
		wake_free(wakes, wake);
}

/* ---- scope */

static void scope_all(struct plan *p)
{
	_cleanup_free_ const void **services = NULL, **tasks = NULL;
	size_t n;

	services = view_list(p->view, KIND_SERVICE, &n);
	for (size_t i = 0; i < n; i++)
		idset_add(&p->scope, ((const pb_service *)services[i])->id);
	/* Services that are gone are known by the tasks they left. */
	tasks = view_list(p->view, KIND_TASK, &n);
	for (size_t i = 0; i < n; i++)
		idset_add(&p->scope, ((const pb_task *)tasks[i])->service_id);
}

static void scope_globals(struct plan *p)
{
	_cleanup_free_ const void **services = NULL;
	size_t n;

	services = view_list(p->view, KIND_SERVICE, &n);
	for (size_t i = 0; i < n; i++)
		if (service_is_global(services[i]))
			idset_add(&p->scope, ((const pb_service *)services[i])->id);
}

static void scope_node(struct plan *p, const char *node_id)
{
	_cleanup_free_ const pb_task **tasks = NULL;
	size_t n;

	tasks = view_tasks_of_node(p->view, node_id, &n);
	for (size_t i = 0; i < n; i++)
		idset_add(&p->scope, tasks[i]->service_id);
}

void plan_scope(struct plan *p)
{
	const struct dirty *dirty = p->dirty;

	if (dirty->all)
		scope_all(p);
	idset_add_all(&p->scope, &dirty->services);
	for (struct idset_entry *e = dirty->nodes.entries; e; e = e->hh.next)
		scope_node(p, e->id);
	if (dirty->nodes.entries)
		scope_globals(p);
	for (struct idset_entry *e = p->scope.entries; e; e = e->hh.next)
		wakes_drop(p->wakes, WAKE_SERVICE, e->id);
}

void plan_fini(struct plan *p)
{
	idset_clear(&p->scope);
}

/* ---- changing tasks */

pb_task *plan_edit(struct plan *p, const pb_task *task)
{
	pb_task *copy = txn_edit(p->txn, KIND_TASK, task->id);

	if (copy && !copy->status)
		copy->status = pb_new(&skein__task_status__descriptor);
	return copy;
}

const pb_task *plan_put(struct plan *p, pb_task *task)
{
	txn_put(p->txn, KIND_TASK, task);
	return task;
}

const pb_task *plan_desire(struct plan *p, const pb_task *task, int desired)
{
	pb_task *copy;

	if ((int)task->desired >= desired)
		return task;
	copy = plan_edit(p, task);
	copy->desired = (Skein__TaskState)desired;
	return plan_put(p, copy);
}

void plan_status(struct plan *p, pb_task *task, int state, const char *message, const char *err)
{
	task->status->state = (Skein__TaskState)state;
	task->status->at = p->now;
	pb_set_str(&task->status->message, message);
	pb_set_str(&task->status->err, err);
}

void plan_wake(struct plan *p, const char *service_id, int64_t at)
{
	wakes_set(p->wakes, WAKE_SERVICE, service_id, at);
}

void plan_abort(struct plan *p, const pb_migration *m, const char *why)
{
	pb_migration *copy;

	if ((int)m->phase <= MIGRATION_NEW || (int)m->phase >= MIGRATION_SWITCH)
		return;
	copy = txn_edit(p->txn, KIND_MIGRATION, m->id);
	copy->reached = copy->phase;
	copy->phase = MIGRATION_ABORT;
	copy->phase_at = p->now;
	pb_set_str(&copy->message, why);
	txn_put(p->txn, KIND_MIGRATION, copy);
}
