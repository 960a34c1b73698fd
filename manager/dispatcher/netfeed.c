#include "netfeed.h"

#include "common/mem.h"
#include "common/str.h"
#include "manager/store/plan.h"
#include "netindex.h"
#include "netobj.h"

#include <string.h>
#include <sys/queue.h>

/* An object that the agent was told of, or that is to be looked at. */
struct object {
	UT_hash_handle hh;
	TAILQ_ENTRY(object) dirty_entry;
	uint64_t fingerprint; /* of what was told */
	struct object *service; /* of an endpoint that was told */
	size_t n_endpoints;	/* of a service: told ones */
	enum netfeed_kind kind;
	bool told, dirty;
	bool with_tasks; /* of a service: its tasks are to be looked at, too */
	char id[];
};
TAILQ_HEAD(object_queue, object);

struct feed_network {
	UT_hash_handle hh;
	struct netmember *member;
	bool seen;
	char id[];
};

struct netfeed {
	struct netindex *index;
	char *node_id;
	void (*touched)(void *data);
	void *data;
	struct object *objects[NETFEED_KINDS];
	struct object_queue dirty[NETFEED_KINDS];
	struct feed_network *networks;
	struct idset ids; /* of the networks: for netobj */
	bool started, completed, check_networks;
	uint64_t sequence;
};

/* ---------------------------------------------------------------- objects */

static struct object *object_get(struct netfeed *f, enum netfeed_kind kind, const char *id)
{
	size_t len = strlen(id);
	struct object *o;

	HASH_FIND(hh, f->objects[kind], id, len, o);
	if (o)
		return o;
	o = xcalloc(1, sizeof(*o) + len + 1);
	memcpy(o->id, id, len);
	o->kind = kind;
	HASH_ADD_KEYPTR(hh, f->objects[kind], o->id, len, o);
	return o;
}

static void object_free(struct netfeed *f, struct object *o)
{
	HASH_DEL(f->objects[o->kind], o);
	free(o);
}

static void object_dirty(struct netfeed *f, struct object *o)
{
	if (o->dirty)
		return;
	o->dirty = true;
	TAILQ_INSERT_TAIL(&f->dirty[o->kind], o, dirty_entry);
}

static void object_settled(struct netfeed *f, struct object *o)
{
	TAILQ_REMOVE(&f->dirty[o->kind], o, dirty_entry);
	o->dirty = false;
	if (!o->told && !o->n_endpoints)
		object_free(f, o);
}

/* A service is told together with its endpoints. */
static void count_endpoint(struct netfeed *f, struct object *o, const char *service_id)
{
	struct object *service = o->service;

	if (service_id && !service) {
		service = o->service = object_get(f, NETFEED_SERVICE, service_id);
		if (service->n_endpoints++ == 0)
			object_dirty(f, service);
	} else if (!service_id && service) {
		o->service = NULL;
		if (--service->n_endpoints == 0)
			object_dirty(f, service);
	}
}

/* ---------------------------------------------------------------- touching */

static void object_touch(struct netfeed *f, enum netfeed_kind kind, const char *id)
{
	object_dirty(f, object_get(f, kind, id));
}

void netfeed_touch(struct netfeed *f, enum netfeed_kind kind, const char *id)
{
	object_touch(f, kind, id);
	f->touched(f->data);
}

void netfeed_touch_service(struct netfeed *f, const char *id, bool with_tasks)
{
	struct object *o = object_get(f, NETFEED_SERVICE, id);

	o->with_tasks |= with_tasks;
	object_dirty(f, o);
	f->touched(f->data);
}

void netfeed_touch_networks(struct netfeed *f)
{
	f->check_networks = true;
	f->touched(f->data);
}

const char *netfeed_node(const struct netfeed *f)
{
	return f->node_id;
}

/* ---------------------------------------------------------------- networks of the node */

/* It comes or goes, with all that is in it. */
static void touch_network(struct netfeed *f, const struct view *v, const char *id)
{
	_cleanup_free_ const pb_service **services = NULL;
	_cleanup_free_ const pb_task **tasks = NULL;
	size_t n;

	object_touch(f, NETFEED_NETWORK, id);
	services = view_services_of_network(v, id, &n);
	for (size_t i = 0; i < n; i++)
		object_touch(f, NETFEED_SERVICE, services[i]->id);
	tasks = view_tasks_of_network(v, id, &n);
	for (size_t i = 0; i < n; i++)
		if (netobj_task_counts(tasks[i]))
			object_touch(f, NETFEED_ENDPOINT, tasks[i]->id);
}

static void see_network(struct netfeed *f, const struct view *v, const char *id)
{
	size_t len = strlen(id);
	struct feed_network *n;

	HASH_FIND(hh, f->networks, id, len, n);
	if (!n) {
		n = xcalloc(1, sizeof(*n) + len + 1);
		memcpy(n->id, id, len);
		n->member = netindex_join(f->index, f, id);
		HASH_ADD_KEYPTR(hh, f->networks, n->id, len, n);
		touch_network(f, v, id);
	}
	n->seen = true;
}

static void drop_network(struct netfeed *f, struct feed_network *n)
{
	netindex_leave(f->index, n->member);
	HASH_DEL(f->networks, n);
	free(n);
}

static void check_networks(struct netfeed *f, const struct view *v)
{
	_cleanup_free_ const pb_task **tasks = NULL;
	struct feed_network *n, *next;
	size_t n_tasks;

	f->check_networks = false;
	for (n = f->networks; n; n = n->hh.next)
		n->seen = false;
	see_network(f, v, NETOBJ_INGRESS);
	tasks = view_tasks_of_node(v, f->node_id, &n_tasks);
	for (size_t i = 0; i < n_tasks; i++)
		for (size_t k = 0; netobj_task_counts(tasks[i]) && k < tasks[i]->n_networks; k++)
			see_network(f, v, tasks[i]->networks[k]->network_id);
	idset_clear(&f->ids);
	HASH_ITER(hh, f->networks, n, next)
	{
		if (n->seen) {
			idset_add(&f->ids, n->id);
			continue;
		}
		touch_network(f, v, n->id);
		drop_network(f, n);
	}
}

/* ---------------------------------------------------------------- what is to be looked at */

static void start(struct netfeed *f, const struct view *v)
{
	const struct idset *ingress = netindex_ingress_services(f->index);
	_cleanup_free_ const pb_task **tasks = NULL;
	_cleanup_free_ const void **nodes = NULL;
	size_t n;

	f->started = true;
	f->check_networks = true;
	nodes = view_list(v, KIND_NODE, &n);
	for (size_t i = 0; i < n; i++)
		object_touch(f, NETFEED_NODE, ((const pb_node *)nodes[i])->id);
	for (const struct idset_entry *e = ingress->entries; e; e = e->hh.next) {
		struct object *o = object_get(f, NETFEED_SERVICE, e->id);

		o->with_tasks = true;
		object_dirty(f, o);
	}
	tasks = view_tasks_of_node(v, f->node_id, &n);
	for (size_t i = 0; i < n; i++)
		if (netobj_task_counts(tasks[i]))
			object_touch(f, NETFEED_ENDPOINT, tasks[i]->id);
}

/* Also tasks that are gone together with their service. */
static void touch_tasks(struct netfeed *f, const struct view *v, struct object *service)
{
	_cleanup_free_ const pb_task **tasks = NULL;
	struct object *o, *next;
	size_t n;

	service->with_tasks = false;
	tasks = view_tasks_of_service(v, service->id, &n);
	for (size_t i = 0; i < n; i++)
		if (netobj_task_counts(tasks[i]))
			object_touch(f, NETFEED_ENDPOINT, tasks[i]->id);
	if (!service->n_endpoints)
		return;
	HASH_ITER(hh, f->objects[NETFEED_ENDPOINT], o, next)
	if (o->service == service)
		object_dirty(f, o);
}

static void collect(struct netfeed *f, const struct view *v)
{
	struct object *o;

	if (!f->started)
		start(f, v);
	if (f->check_networks)
		check_networks(f, v);
	TAILQ_FOREACH(o, &f->dirty[NETFEED_SERVICE], dirty_entry)
	if (o->with_tasks)
		touch_tasks(f, v, o);
}

/* ---------------------------------------------------------------- what the agent should know */

static bool in_networks(const struct netfeed *f, const pb_task *task)
{
	for (size_t i = 0; i < task->n_networks; i++)
		if (idset_has(&f->ids, task->networks[i]->network_id))
			return true;
	return false;
}

static pb_net_endpoint *wanted_endpoint(const struct netfeed *f, const struct view *v,
					const char *id)
{
	const pb_task *task = view_task(v, id);
	const pb_service *service = task ? view_service(v, task->service_id) : NULL;

	if (!task || (!str_eq(task->node_id, f->node_id) && !in_networks(f, task) &&
		      !netobj_service_is_ingress(service)))
		return NULL;
	return netobj_endpoint(v, task, service, &f->ids);
}

static pb_net_service *wanted_service(const struct netfeed *f, const struct view *v,
				      const struct object *o)
{
	const pb_service *service = view_service(v, o->id);
	bool wanted = o->n_endpoints || netobj_service_is_ingress(service);
	struct idset networks = {0};

	netobj_service_networks(service, &networks);
	for (const struct idset_entry *e = networks.entries; !wanted && e; e = e->hh.next)
		wanted = idset_has(&f->ids, e->id);
	idset_clear(&networks);
	return wanted ? netobj_service(service, &f->ids) : NULL;
}

static void *wanted(const struct netfeed *f, const struct view *v, const struct object *o)
{
	switch (o->kind) {
	case NETFEED_NETWORK:
		return idset_has(&f->ids, o->id) ? netobj_network(view_network(v, o->id)) : NULL;
	case NETFEED_NODE:
		return netobj_node(view_node(v, o->id));
	case NETFEED_ENDPOINT:
		return wanted_endpoint(f, v, o->id);
	case NETFEED_SERVICE:
		return wanted_service(f, v, o);
	case NETFEED_KINDS:
		break;
	}
	return NULL;
}

/* ---------------------------------------------------------------- the message */

static void add_update(Skein__NetState *out, const struct object *o, void *msg)
{
	switch (o->kind) {
	case NETFEED_NETWORK:
		pb_msgs_add(&out->n_networks, &out->networks, msg);
		break;
	case NETFEED_NODE:
		pb_msgs_add(&out->n_nodes, &out->nodes, msg);
		break;
	case NETFEED_ENDPOINT:
		pb_msgs_add(&out->n_endpoints, &out->endpoints, msg);
		break;
	case NETFEED_SERVICE:
		pb_msgs_add(&out->n_services, &out->services, msg);
		break;
	case NETFEED_KINDS:
		break;
	}
}

static void add_removal(Skein__NetState *out, const struct object *o)
{
	switch (o->kind) {
	case NETFEED_NETWORK:
		pb_strs_add(&out->n_remove_networks, &out->remove_networks, o->id);
		break;
	case NETFEED_NODE:
		pb_strs_add(&out->n_remove_nodes, &out->remove_nodes, o->id);
		break;
	case NETFEED_ENDPOINT:
		pb_strs_add(&out->n_remove_endpoints, &out->remove_endpoints, o->id);
		break;
	case NETFEED_SERVICE:
		pb_strs_add(&out->n_remove_services, &out->remove_services, o->id);
		break;
	case NETFEED_KINDS:
		break;
	}
}

/* Room for some more bytes; the first object fits always. */
static bool reserve(size_t *used, size_t bytes)
{
	if (*used && *used + bytes > NETFEED_MESSAGE_MAX_BYTES)
		return false;
	*used += bytes;
	return true;
}

/* Into the message if the agent does not know it. False: the message is full. */
static bool settle(struct netfeed *f, const struct view *v, struct object *o,
		   Skein__NetState *out, size_t *used)
{
	_cleanup_pb_ ProtobufCMessage *msg = wanted(f, v, o);
	uint64_t fingerprint = msg ? netobj_fingerprint(msg) : 0;

	/* What a complete state has told is not taken back before its end. */
	if (!msg && o->told && !f->completed)
		return true;
	if (msg ? !o->told || fingerprint != o->fingerprint : o->told) {
		size_t bytes = msg ? protobuf_c_message_get_packed_size(msg) : strlen(o->id);

		if (!reserve(used, bytes + 16))
			return false;
		if (o->kind == NETFEED_ENDPOINT)
			count_endpoint(f, o, msg ? ((pb_net_endpoint *)msg)->service_id : NULL);
		o->told = msg != NULL;
		o->fingerprint = fingerprint;
		if (msg)
			add_update(out, o, TAKE_PTR(msg));
		else
			add_removal(out, o);
	}
	object_settled(f, o);
	return true;
}

/* By kind: what an object refers to comes before it, except that services follow their endpoints. */
static bool settle_all(struct netfeed *f, const struct view *v, Skein__NetState *out, size_t *used)
{
	for (int kind = 0; kind < NETFEED_KINDS; kind++) {
		struct object *o = TAILQ_FIRST(&f->dirty[kind]), *next;

		for (; o; o = next) {
			next = TAILQ_NEXT(o, dirty_entry);
			if (!settle(f, v, o, out, used))
				return false;
		}
	}
	return true;
}

static bool is_idle(const struct netfeed *f)
{
	for (int kind = 0; kind < NETFEED_KINDS; kind++)
		if (!TAILQ_EMPTY(&f->dirty[kind]))
			return false;
	return f->completed && !f->check_networks;
}

Skein__NetState *netfeed_next(struct netfeed *f, const struct view *v, uint64_t revision)
{
	_cleanup_pb_ Skein__NetState *out = NULL;
	size_t used = 0;
	bool all;

	if (is_idle(f))
		return NULL;
	out = pb_new(&skein__net_state__descriptor);
	collect(f, v);
	all = settle_all(f, v, out, &used);
	if (f->completed && !used)
		return NULL;
	out->complete = f->sequence == 0;
	out->more = !f->completed && !all;
	out->applies_to = f->sequence;
	out->results_in = ++f->sequence;
	out->revision = revision;
	f->completed |= all;
	return TAKE_PTR(out);
}

/* ---------------------------------------------------------------- life */

struct netfeed *netfeed_new(struct netindex *ix, const char *node_id, void (*touched)(void *data),
			    void *data)
{
	struct netfeed *f = xnew(struct netfeed);

	f->index = ix;
	f->node_id = xstrdup(node_id);
	f->touched = touched;
	f->data = data;
	for (int kind = 0; kind < NETFEED_KINDS; kind++)
		TAILQ_INIT(&f->dirty[kind]);
	netindex_add(ix, f);
	return f;
}

void netfeed_free(struct netfeed *f)
{
	struct feed_network *n, *next_network;
	struct object *o, *next;

	if (!f)
		return;
	netindex_remove(f->index, f);
	HASH_ITER(hh, f->networks, n, next_network)
	drop_network(f, n);
	for (int kind = 0; kind < NETFEED_KINDS; kind++)
		HASH_ITER(hh, f->objects[kind], o, next)
		object_free(f, o);
	idset_clear(&f->ids);
	free(f->node_id);
	free(f);
}
