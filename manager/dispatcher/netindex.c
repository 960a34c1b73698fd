#include "netindex.h"

#include "common/mem.h"
#include "common/str.h"
#include "manager/store/plan.h"
#include "netfeed.h"
#include "netobj.h"

#include <assert.h>
#include <string.h>
#include <sys/queue.h>

struct netmember {
	LIST_ENTRY(netmember) entry;
	struct network *network;
	struct netfeed *feed;
};

struct network {
	UT_hash_handle hh;
	LIST_HEAD(, netmember) members;
	char id[];
};

struct feed_entry {
	UT_hash_handle hh;
	struct netfeed *feed;
};

struct netindex {
	struct network *networks;
	struct idset ingress;
	struct feed_entry *feeds; /* by node id */
};

struct netindex *netindex_new(void)
{
	return xnew(struct netindex);
}

void netindex_free(struct netindex *ix)
{
	if (!ix)
		return;
	assert(!ix->feeds && !ix->networks);
	idset_clear(&ix->ingress);
	free(ix);
}

/* ---------------------------------------------------------------- networks */

static void idset_del(struct idset *set, const char *id)
{
	struct idset_entry *e;

	HASH_FIND_STR(set->entries, id, e);
	if (!e)
		return;
	HASH_DEL(set->entries, e);
	free(e);
}

static struct network *network_find(const struct netindex *ix, const char *id)
{
	struct network *n;

	HASH_FIND_STR(ix->networks, id, n);
	return n;
}

static struct network *network_get(struct netindex *ix, const char *id)
{
	struct network *n = network_find(ix, id);
	size_t len = strlen(id);

	if (n)
		return n;
	n = xcalloc(1, sizeof(*n) + len + 1);
	memcpy(n->id, id, len);
	LIST_INIT(&n->members);
	HASH_ADD_KEYPTR(hh, ix->networks, n->id, len, n);
	return n;
}

const struct idset *netindex_ingress_services(const struct netindex *ix)
{
	return &ix->ingress;
}

/* ---------------------------------------------------------------- feeds */

void netindex_add(struct netindex *ix, struct netfeed *feed)
{
	struct feed_entry *e = xnew(struct feed_entry);
	const char *id = netfeed_node(feed);

	e->feed = feed;
	HASH_ADD_KEYPTR(hh, ix->feeds, id, strlen(id), e);
}

static struct feed_entry *feed_find(const struct netindex *ix, const char *node_id)
{
	struct feed_entry *e;

	HASH_FIND_STR(ix->feeds, node_id, e);
	return e;
}

void netindex_remove(struct netindex *ix, struct netfeed *feed)
{
	struct feed_entry *e = feed_find(ix, netfeed_node(feed));

	assert(e && e->feed == feed);
	HASH_DEL(ix->feeds, e);
	free(e);
}

struct netmember *netindex_join(struct netindex *ix, struct netfeed *feed, const char *network_id)
{
	struct netmember *m = xnew(struct netmember);

	m->feed = feed;
	m->network = network_get(ix, network_id);
	LIST_INSERT_HEAD(&m->network->members, m, entry);
	return m;
}

void netindex_leave(struct netindex *ix, struct netmember *member)
{
	struct network *n = member->network;

	LIST_REMOVE(member, entry);
	free(member);
	if (!LIST_EMPTY(&n->members))
		return;
	HASH_DEL(ix->networks, n);
	free(n);
}

/* ---------------------------------------------------------------- whom it concerns */

/* A touch with its object: an endpoint, or a service with or without its tasks. */
struct touch {
	enum netfeed_kind kind;
	const char *id;
	bool with_tasks;
};

static void touch(struct netfeed *feed, const struct touch *t)
{
	if (t->kind == NETFEED_SERVICE)
		netfeed_touch_service(feed, t->id, t->with_tasks);
	else
		netfeed_touch(feed, t->kind, t->id);
}

static void touch_all(struct netindex *ix, const struct touch *t)
{
	for (struct feed_entry *e = ix->feeds; e; e = e->hh.next)
		touch(e->feed, t);
}

static void touch_members(struct netindex *ix, const char *network_id, const struct touch *t)
{
	const struct network *n = network_find(ix, network_id);
	struct netmember *m;

	if (!n)
		return;
	LIST_FOREACH(m, &n->members, entry)
	touch(m->feed, t);
}

static void touch_node(struct netindex *ix, const char *node_id, const struct touch *t)
{
	struct feed_entry *e = str_empty(node_id) ? NULL : feed_find(ix, node_id);

	if (e)
		touch(e->feed, t);
}

/* ---------------------------------------------------------------- tasks */

static void touch_for_task(struct netindex *ix, const pb_task *task, const struct touch *t)
{
	struct feed_entry *own = str_empty(task->node_id) ? NULL : feed_find(ix, task->node_id);

	for (size_t i = 0; i < task->n_networks; i++)
		touch_members(ix, task->networks[i]->network_id, t);
	if (!own)
		return;
	touch(own->feed, t);
	netfeed_touch_networks(own->feed);
}

/* Its node has its networks, also while another task has its endpoint. */
static bool is_there(const pb_task *task)
{
	return task && netobj_task_counts(task);
}

static void touch_own_networks(struct netindex *ix, const pb_task *task)
{
	struct feed_entry *own = str_empty(task->node_id) ? NULL : feed_find(ix, task->node_id);

	if (own)
		netfeed_touch_networks(own->feed);
}

static void on_task(struct netindex *ix, const struct view *v, const pb_task *old,
		    const pb_task *now)
{
	const pb_task *any = now ? now : old;
	const pb_service *service = view_service(v, any->service_id);
	const struct touch t = {NETFEED_ENDPOINT, any->id, false};
	_cleanup_pb_ pb_net_endpoint *was = NULL, *is = NULL;

	/* Most events by far: nothing to do with networks. */
	if (!(old && old->n_networks) && !(now && now->n_networks) &&
	    !netobj_service_publishes(service))
		return;
	if (is_there(old) != is_there(now))
		touch_own_networks(ix, any);
	was = netobj_endpoint(v, old, service, NULL);
	is = netobj_endpoint(v, now, service, NULL);
	if (pb_equal(was, is))
		return;
	if (was)
		touch_for_task(ix, old, &t);
	if (is)
		touch_for_task(ix, now, &t);
	if (netobj_service_is_ingress(service))
		touch_all(ix, &t);
}

/* ---------------------------------------------------------------- services */

static bool same_ids(const struct idset *a, const struct idset *b)
{
	if (HASH_COUNT(a->entries) != HASH_COUNT(b->entries))
		return false;
	for (const struct idset_entry *e = a->entries; e; e = e->hh.next)
		if (!idset_has(b, e->id))
			return false;
	return true;
}

/* What its tasks look like from outside depends on it. */
static bool tasks_differ(const pb_service *old, const pb_service *now)
{
	return netobj_service_publishes(old) != netobj_service_publishes(now) ||
	       netobj_service_is_ingress(old) != netobj_service_is_ingress(now) ||
	       netobj_service_weight(old) != netobj_service_weight(now);
}

/* networks: of the service, before or now; those of its tasks are added. */
static void touch_for_service(struct netindex *ix, const struct view *v, struct idset *networks,
			      bool everybody, const struct touch *t)
{
	_cleanup_free_ const pb_task **tasks = NULL;
	size_t n;

	if (everybody) {
		touch_all(ix, t);
		return;
	}
	/* Who knows a task knows its service: in the task's networks, and where it has host ports. */
	tasks = view_tasks_of_service(v, t->id, &n);
	for (size_t i = 0; i < n; i++) {
		if (!netobj_task_counts(tasks[i]))
			continue;
		touch_node(ix, tasks[i]->node_id, t);
		for (size_t k = 0; k < tasks[i]->n_networks; k++)
			idset_add(networks, tasks[i]->networks[k]->network_id);
	}
	for (const struct idset_entry *e = networks->entries; e; e = e->hh.next)
		touch_members(ix, e->id, t);
}

static void on_service(struct netindex *ix, const struct view *v, const pb_service *old,
		       const pb_service *now)
{
	const char *id = now ? now->id : old->id;
	_cleanup_pb_ pb_net_service *was = netobj_service(old, NULL), *is = netobj_service(now, NULL);
	bool was_ingress = netobj_service_is_ingress(old), is_ingress = netobj_service_is_ingress(now);
	struct touch t = {NETFEED_SERVICE, id, tasks_differ(old, now)};
	struct idset before = {0}, after = {0};

	netobj_service_networks(old, &before);
	netobj_service_networks(now, &after);
	if (!pb_equal(was, is) || t.with_tasks || !same_ids(&before, &after)) {
		if (is_ingress)
			idset_add(&ix->ingress, id);
		else
			idset_del(&ix->ingress, id);
		idset_add_all(&before, &after);
		touch_for_service(ix, v, &before, was_ingress || is_ingress, &t);
	}
	idset_clear(&before);
	idset_clear(&after);
}

/* ---------------------------------------------------------------- the rest */

static void on_node(struct netindex *ix, const char *id, const pb_node *old, const pb_node *now)
{
	_cleanup_pb_ pb_net_node *was = netobj_node(old), *is = netobj_node(now);
	const struct touch t = {NETFEED_NODE, id, false};

	if (!pb_equal(was, is))
		touch_all(ix, &t);
}

static void touch_end(struct netindex *ix, const struct view *v, const char *task_id)
{
	const pb_task *task = str_empty(task_id) ? NULL : view_task(v, task_id);
	const struct touch t = {NETFEED_ENDPOINT, task_id, false};

	if (!task)
		return;
	touch_for_task(ix, task, &t);
	if (netobj_service_is_ingress(view_service(v, task->service_id)))
		touch_all(ix, &t);
}

/* Who has the endpoint? It is written much more often than that changes. */
static void on_migration(struct netindex *ix, const struct view *v, const pb_migration *old, const pb_migration *now)
{
	const pb_migration *any = now ? now : old;

	if (old && now && netobj_is_switched(old) == netobj_is_switched(now) && str_eq(old->target_task, now->target_task))
		return;
	touch_end(ix, v, any->source_task);
	touch_end(ix, v, any->target_task);
}

void netindex_event(struct netindex *ix, const struct view *v, enum kind kind, const char *id,
		    const void *old, const void *now)
{
	const struct touch network = {NETFEED_NETWORK, id, false};

	switch (kind) {
	case KIND_TASK:
		on_task(ix, v, old, now);
		break;
	case KIND_SERVICE:
		on_service(ix, v, old, now);
		break;
	case KIND_NODE:
		on_node(ix, id, old, now);
		break;
	case KIND_NETWORK:
		touch_members(ix, id, &network);
		break;
	case KIND_MIGRATION:
		on_migration(ix, v, old, now);
		break;
	default:
		break;
	}
}
