#include "view.h"

#include "common/mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <uthash.h>

/* Objects with a common attribute. */
enum index {
	/* An object is in at most one group of each of these. */
	INDEX_SERVICE,      /* tasks by service */
	INDEX_NODE,         /* tasks by node */
	INDEX_UNASSIGNED,   /* tasks that wait for a node: one group, key "" */
	INDEX_NAME,         /* services by name; more than one only while a transaction swaps names */
	INDEX_NETWORK_NAME, /* networks by name */
	INDEX_MIGRATION_SERVICE, /* migrations by service, by the task that goes, by the task that comes, ... */
	INDEX_MIGRATION_SOURCE,
	INDEX_MIGRATION_TARGET,
	INDEX_MIGRATION_ACTIVE, /* ... that have not come to an end: one group, key "" */
	INDEX_SINGLE_COUNT,
	/* ... and in any number of groups of these. */
	INDEX_NETWORK_TASK = INDEX_SINGLE_COUNT,
	INDEX_NETWORK_SERVICE,
	INDEX_COUNT,
};

struct link {
	LIST_ENTRY(link) siblings;
	struct entry *entry;
	struct group *group; /* NULL = in none */
};

struct group {
	UT_hash_handle hh;
	LIST_HEAD(, link) links;
	size_t n;
	char key[];
};

struct entry {
	UT_hash_handle hh;
	void *obj;
	struct link links[INDEX_SINGLE_COUNT];
	struct link *network_links; /* of a task or service: one per network */
	size_t n_network_links;
	char id[];
};

struct view {
	struct entry *objects[KIND_COUNT];
	struct group *groups[INDEX_COUNT];
};

/* ---- kinds */

static const char *cluster_id(const void *obj)
{
	return "cluster";
}

static const char *no_name(const void *obj)
{
	return "";
}

static const char *service_name(const void *obj)
{
	const pb_service *service = obj;

	return service->spec ? service->spec->name : "";
}

static const char *network_name(const void *obj)
{
	const pb_network *network = obj;

	return network->spec ? network->spec->name : "";
}

#define DEFINE_META(noun)                                                                     \
	static Skein__Meta **noun##_meta(void *obj)                                                \
	{                                                                                          \
		return &((pb_##noun *)obj)->meta;                                                  \
	}
#define DEFINE_ID(noun)                                                                            \
	static const char *noun##_id(const void *obj)                                              \
	{                                                                                          \
		return ((const pb_##noun *)obj)->id;                                               \
	}

DEFINE_META(cluster)
DEFINE_META(node)
DEFINE_META(service)
DEFINE_META(task)
DEFINE_META(token)
DEFINE_META(network)
DEFINE_META(ui_token)
DEFINE_META(migration)
DEFINE_ID(node)
DEFINE_ID(service)
DEFINE_ID(task)
DEFINE_ID(token)
DEFINE_ID(network)
DEFINE_ID(ui_token)
DEFINE_ID(migration)

const struct kind_info *kind_info(enum kind kind)
{
	static const struct kind_info infos[KIND_COUNT] = {
		[KIND_CLUSTER] = {"cluster", &skein__cluster__descriptor, cluster_id, no_name,
				  cluster_meta},
		[KIND_NODE] = {"node", &skein__node__descriptor, node_id, no_name, node_meta},
		[KIND_SERVICE] = {"service", &skein__service__descriptor, service_id, service_name,
				  service_meta},
		[KIND_TASK] = {"task", &skein__task__descriptor, task_id, no_name, task_meta},
		[KIND_TOKEN] = {"token", &skein__join_token__descriptor, token_id, no_name, token_meta},
		[KIND_NETWORK] = {"network", &skein__network__descriptor, network_id, network_name,
				  network_meta},
		[KIND_UI_TOKEN] = {"uitoken", &skein__ui_token__descriptor, ui_token_id, no_name, ui_token_meta},
		[KIND_MIGRATION] = {"migration", &skein__migration__descriptor, migration_id, no_name, migration_meta},
	};

	assert(kind < KIND_COUNT);
	return &infos[kind];
}

/* ---- indexes */

static bool is_unassigned(const pb_task *task)
{
	int state = task->status ? (int)task->status->state : TASK_NEW;

	return state < TASK_ASSIGNED && (int)task->desired <= TASK_RUNNING;
}

static const char *migration_key(enum index index, const pb_migration *m)
{
	switch (index) {
	case INDEX_MIGRATION_SERVICE:
		return m->service_id;
	case INDEX_MIGRATION_SOURCE:
		return m->source_task;
	case INDEX_MIGRATION_TARGET:
		return m->target_task;
	default:
		return NULL;
	}
}

/* The key of an object's group in an index; NULL = the object does not belong into it. */
static const char *index_key(enum kind kind, enum index index, const void *obj)
{
	const pb_task *task = obj;
	const char *key = NULL;

	if (kind == KIND_SERVICE && index == INDEX_NAME)
		key = service_name(obj);
	if (kind == KIND_NETWORK && index == INDEX_NETWORK_NAME)
		key = network_name(obj);
	if (kind == KIND_TASK && index == INDEX_SERVICE)
		key = task->service_id;
	if (kind == KIND_TASK && index == INDEX_NODE)
		key = task->node_id;
	if (kind == KIND_TASK && index == INDEX_UNASSIGNED)
		return is_unassigned(task) ? "" : NULL;
	if (kind == KIND_MIGRATION && index == INDEX_MIGRATION_ACTIVE)
		return migration_over(obj) ? NULL : "";
	if (kind == KIND_MIGRATION)
		key = migration_key(index, obj);
	return key && *key ? key : NULL;
}

static struct group *group_find(const struct view *v, enum index index, const char *key)
{
	struct group *group;

	HASH_FIND_STR(v->groups[index], key, group);
	return group;
}

static struct group *group_get(struct view *v, enum index index, const char *key)
{
	struct group *group = group_find(v, index, key);
	size_t len = strlen(key);

	if (group)
		return group;
	group = xcalloc(1, sizeof(*group) + len + 1);
	memcpy(group->key, key, len);
	LIST_INIT(&group->links);
	HASH_ADD_KEYPTR(hh, v->groups[index], group->key, len, group);
	return group;
}

static void unlink_from(struct view *v, enum index index, struct link *link)
{
	struct group *group = link->group;

	if (!group)
		return;
	LIST_REMOVE(link, siblings);
	link->group = NULL;
	if (--group->n == 0) {
		HASH_DEL(v->groups[index], group);
		free(group);
	}
}

static void link_to(struct view *v, enum index index, const char *key, struct entry *entry, struct link *link)
{
	link->entry = entry;
	link->group = group_get(v, index, key);
	link->group->n++;
	LIST_INSERT_HEAD(&link->group->links, link, siblings);
}

/* Ids of networks, each once. Objects have a handful. */
struct names {
	const char **v;
	size_t n;
};

static void names_add(struct names *names, const char *name)
{
	if (!name || !*name)
		return;
	for (size_t i = 0; i < names->n; i++)
		if (strcmp(names->v[i], name) == 0)
			return;
	names->v[names->n++] = name;
}

static void networks_of_task(const pb_task *task, struct names *names)
{
	names->v = xreallocarray(NULL, task->n_networks, sizeof(*names->v));
	for (size_t i = 0; i < task->n_networks; i++)
		names_add(names, task->networks[i]->network_id);
}

static void networks_of_service(const pb_service *service, struct names *names)
{
	const pb_task_spec *spec = service->spec ? service->spec->task : NULL;
	const pb_endpoint *endpoint = service->endpoint;

	names->v = xreallocarray(NULL, (spec ? spec->n_networks : 0) + (endpoint ? endpoint->n_vips : 0),
				 sizeof(*names->v));
	for (size_t i = 0; spec && i < spec->n_networks; i++)
		names_add(names, spec->networks[i]->network_id);
	for (size_t i = 0; endpoint && i < endpoint->n_vips; i++)
		names_add(names, endpoint->vips[i]->network_id);
}

static bool same_networks(const struct entry *entry, const struct names *names)
{
	if (entry->n_network_links != names->n)
		return false;
	for (size_t i = 0; i < names->n; i++)
		if (strcmp(entry->network_links[i].group->key, names->v[i]))
			return false;
	return true;
}

static void reindex_networks(struct view *v, enum kind kind, struct entry *entry, const void *obj)
{
	enum index index = kind == KIND_TASK ? INDEX_NETWORK_TASK : INDEX_NETWORK_SERVICE;
	struct names names = {0};

	if (obj && kind == KIND_TASK)
		networks_of_task(obj, &names);
	else if (obj && kind == KIND_SERVICE)
		networks_of_service(obj, &names);
	if (!same_networks(entry, &names)) {
		for (size_t i = 0; i < entry->n_network_links; i++)
			unlink_from(v, index, &entry->network_links[i]);
		free(entry->network_links);
		entry->network_links = names.n ? xcalloc(names.n, sizeof(struct link)) : NULL;
		entry->n_network_links = names.n;
		for (size_t i = 0; i < names.n; i++)
			link_to(v, index, names.v[i], entry, &entry->network_links[i]);
	}
	free(names.v);
}

/* Bring the object's membership up to date; obj NULL = it leaves all groups. */
static void reindex(struct view *v, enum kind kind, struct entry *entry, const void *obj)
{
	reindex_networks(v, kind, entry, obj);
	for (unsigned i = 0; i < INDEX_SINGLE_COUNT; i++) {
		struct link *link = &entry->links[i];
		const char *key = obj ? index_key(kind, i, obj) : NULL;

		if (link->group && key && strcmp(link->group->key, key) == 0)
			continue;
		unlink_from(v, i, link);
		if (key)
			link_to(v, i, key, entry, link);
	}
}

/* ---- objects */

struct view *view_new(void)
{
	return xnew(struct view);
}

void view_free(struct view *v)
{
	if (!v)
		return;
	for (unsigned kind = 0; kind < KIND_COUNT; kind++) {
		struct entry *entry, *tmp;

		HASH_ITER(hh, v->objects[kind], entry, tmp) {
			reindex(v, kind, entry, NULL);
			HASH_DEL(v->objects[kind], entry);
			pb_free(entry->obj);
			free(entry);
		}
	}
	free(v);
}

static struct entry *entry_find(const struct view *v, enum kind kind, const char *id)
{
	struct entry *entry;

	HASH_FIND_STR(v->objects[kind], id, entry);
	return entry;
}

void *view_put(struct view *v, enum kind kind, void *obj)
{
	const char *id = kind_info(kind)->id(obj);
	struct entry *entry = entry_find(v, kind, id);
	size_t len = strlen(id);
	void *old;

	assert(((ProtobufCMessage *)obj)->descriptor == kind_info(kind)->type);
	if (!entry) {
		entry = xcalloc(1, sizeof(*entry) + len + 1);
		memcpy(entry->id, id, len);
		HASH_ADD_KEYPTR(hh, v->objects[kind], entry->id, len, entry);
	}
	old = entry->obj;
	entry->obj = obj;
	reindex(v, kind, entry, obj);
	return old;
}

void *view_del(struct view *v, enum kind kind, const char *id)
{
	struct entry *entry = entry_find(v, kind, id);
	void *old;

	if (!entry)
		return NULL;
	old = entry->obj;
	reindex(v, kind, entry, NULL);
	HASH_DEL(v->objects[kind], entry);
	free(entry);
	return old;
}

const void *view_get(const struct view *v, enum kind kind, const char *id)
{
	struct entry *entry = id ? entry_find(v, kind, id) : NULL;

	return entry ? entry->obj : NULL;
}

const pb_service *view_service_by_name(const struct view *v, const char *name)
{
	struct group *group = name && *name ? group_find(v, INDEX_NAME, name) : NULL;

	return group ? LIST_FIRST(&group->links)->entry->obj : NULL;
}

const pb_network *view_network_by_name(const struct view *v, const char *name)
{
	struct group *group = name && *name ? group_find(v, INDEX_NETWORK_NAME, name) : NULL;

	return group ? LIST_FIRST(&group->links)->entry->obj : NULL;
}

size_t view_count(const struct view *v, enum kind kind)
{
	return HASH_COUNT(v->objects[kind]);
}

void view_each(const struct view *v, enum kind kind, void (*cb)(void *data, const void *obj), void *data)
{
	for (const struct entry *entry = v->objects[kind]; entry; entry = entry->hh.next)
		cb(data, entry->obj);
}

/* ---- snapshots */

static int by_id(const void *a, const void *b, void *info)
{
	const struct kind_info *kind = info;

	return strcmp(kind->id(*(void *const *)a), kind->id(*(void *const *)b));
}

/* What was staged but never committed has no time yet: it is the newest. */
static int64_t created_at(const pb_task *task)
{
	return task->meta && task->meta->created_at ? task->meta->created_at : INT64_MAX;
}

static int by_slot(const void *a, const void *b)
{
	const pb_task *x = *(pb_task *const *)a, *y = *(pb_task *const *)b;

	if (x->slot != y->slot)
		return x->slot < y->slot ? -1 : 1;
	if (created_at(x) != created_at(y))
		return created_at(x) < created_at(y) ? -1 : 1;
	return strcmp(x->id, y->id);
}

const void **view_list(const struct view *v, enum kind kind, size_t *ret_n)
{
	size_t n = view_count(v, kind), i = 0;
	const void **list = xreallocarray(NULL, n, sizeof(void *));

	for (struct entry *entry = v->objects[kind]; entry; entry = entry->hh.next)
		list[i++] = entry->obj;
	qsort_r(list, n, sizeof(void *), by_id, (void *)kind_info(kind));
	*ret_n = n;
	return list;
}

static void *members_of(const struct view *v, enum index index, const char *key, size_t *ret_n)
{
	struct group *group = group_find(v, index, key);
	size_t n = group ? group->n : 0, i = 0;
	const void **list = xreallocarray(NULL, n, sizeof(void *));
	struct link *link;

	if (group)
		LIST_FOREACH(link, &group->links, siblings)
			list[i++] = link->entry->obj;
	*ret_n = n;
	return list;
}

const pb_task **view_tasks_of_service(const struct view *v, const char *service_id, size_t *ret_n)
{
	const pb_task **list = members_of(v, INDEX_SERVICE, service_id, ret_n);

	qsort(list, *ret_n, sizeof(*list), by_slot);
	return list;
}

const pb_task **view_tasks_of_node(const struct view *v, const char *node_id, size_t *ret_n)
{
	const pb_task **list = members_of(v, INDEX_NODE, node_id, ret_n);

	qsort_r(list, *ret_n, sizeof(*list), by_id, (void *)kind_info(KIND_TASK));
	return list;
}

const pb_task **view_tasks_unassigned(const struct view *v, size_t *ret_n)
{
	const pb_task **list = members_of(v, INDEX_UNASSIGNED, "", ret_n);

	qsort_r(list, *ret_n, sizeof(*list), by_id, (void *)kind_info(KIND_TASK));
	return list;
}

const pb_task **view_tasks_of_network(const struct view *v, const char *network_id, size_t *ret_n)
{
	const pb_task **list = members_of(v, INDEX_NETWORK_TASK, network_id, ret_n);

	qsort_r(list, *ret_n, sizeof(*list), by_id, (void *)kind_info(KIND_TASK));
	return list;
}

void view_each_task_of_network(const struct view *v, const char *network_id,
			       void (*cb)(void *data, const pb_task *task), void *data)
{
	struct group *group = group_find(v, INDEX_NETWORK_TASK, network_id);
	struct link *link;

	if (group)
		LIST_FOREACH(link, &group->links, siblings)
			cb(data, link->entry->obj);
}

const pb_service **view_services_of_network(const struct view *v, const char *network_id, size_t *ret_n)
{
	const pb_service **list = members_of(v, INDEX_NETWORK_SERVICE, network_id, ret_n);

	qsort_r(list, *ret_n, sizeof(*list), by_id, (void *)kind_info(KIND_SERVICE));
	return list;
}

/* ---- migrations */

static int by_slot_and_age(const void *a, const void *b)
{
	const pb_migration *x = *(pb_migration *const *)a, *y = *(pb_migration *const *)b;
	int64_t xt = x->meta && x->meta->created_at ? x->meta->created_at : INT64_MAX;
	int64_t yt = y->meta && y->meta->created_at ? y->meta->created_at : INT64_MAX;

	if (x->slot != y->slot)
		return x->slot < y->slot ? -1 : 1;
	if (xt != yt)
		return xt < yt ? -1 : 1;
	return strcmp(x->id, y->id);
}

const pb_migration **view_migrations_of_service(const struct view *v, const char *service_id, size_t *ret_n)
{
	const pb_migration **list = members_of(v, INDEX_MIGRATION_SERVICE, service_id, ret_n);

	qsort(list, *ret_n, sizeof(*list), by_slot_and_age);
	return list;
}

const pb_migration **view_migrations_active(const struct view *v, size_t *ret_n)
{
	const pb_migration **list = members_of(v, INDEX_MIGRATION_ACTIVE, "", ret_n);

	qsort_r(list, *ret_n, sizeof(*list), by_id, (void *)kind_info(KIND_MIGRATION));
	return list;
}

static const pb_migration *active_of(const struct view *v, enum index index, const char *task_id)
{
	struct group *group = group_find(v, index, task_id);
	const pb_migration *found = NULL;
	struct link *link;

	if (!group)
		return NULL;
	LIST_FOREACH(link, &group->links, siblings) {
		const pb_migration *m = link->entry->obj;

		if (!migration_over(m) && (!found || strcmp(m->id, found->id) < 0))
			found = m;
	}
	return found;
}

const pb_migration *view_migration_from(const struct view *v, const char *task_id)
{
	return active_of(v, INDEX_MIGRATION_SOURCE, task_id);
}

const pb_migration *view_migration_to(const struct view *v, const char *task_id)
{
	return active_of(v, INDEX_MIGRATION_TARGET, task_id);
}
