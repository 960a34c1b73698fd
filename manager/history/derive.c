#include "derive.h"

#include "common/mem.h"
#include "common/str.h"
#include "manager/store/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX 300 /* of a reason */

void event_list_add(struct event_list *list, pb_event *event)
{
	if (list->n == list->cap) {
		list->cap = list->cap ? 2 * list->cap : 64;
		list->v = xreallocarray(list->v, list->cap, sizeof(pb_event *));
	}
	list->v[list->n++] = event;
}

void event_list_fini(struct event_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		pb_free(list->v[i]);
	free(list->v);
	*list = (struct event_list){0};
}

/* What all events of one change have in common. */
struct making {
	const char *type, *id, *name;
	uint64_t revision;
	int64_t at;
	struct event_list *out;
};

static pb_event *event_new(const char *type, const char *action, const char *id, const char *name, uint64_t revision,
			   int64_t at)
{
	pb_event *e = pb_new(&skein__event__descriptor);

	pb_set_str(&e->type, type);
	pb_set_str(&e->action, action);
	pb_set_str(&e->id, id);
	pb_set_str(&e->name, name);
	e->revision = revision;
	e->at = at;
	return e;
}

static pb_event *add(const struct making *m, const char *action)
{
	pb_event *e = event_new(m->type, action, m->id, m->name, m->revision, m->at);

	event_list_add(m->out, e);
	return e;
}

/* ---- attributes: what is empty is left out */

static void put(pb_event *e, const char *key, const char *value)
{
	char text[TEXT_MAX + 1];
	size_t len = value ? strnlen(value, TEXT_MAX) : 0;

	if (!len)
		return;
	/* Not in the middle of a character. */
	while (value[len] && len > 0 && ((unsigned char)value[len] & 0xc0) == 0x80)
		len--;
	memcpy(text, value, len);
	text[len] = '\0';
	pb_kv_set(&e->n_attributes, &e->attributes, key, text);
}

static void put_u64(pb_event *e, const char *key, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	put(e, key, text);
}

static void put_lower(pb_event *e, const char *key, const char *value)
{
	char text[64];
	size_t i = 0;

	for (; value[i] && i + 1 < sizeof(text); i++)
		text[i] = value[i] >= 'A' && value[i] <= 'Z' ? (char)(value[i] - 'A' + 'a') : value[i];
	text[i] = '\0';
	put(e, key, text);
}

/* ---- tasks */

static int state_of(const pb_task *task)
{
	return task->status ? (int)task->status->state : TASK_NEW;
}

static void describe_task(pb_event *e, const pb_task *task)
{
	put(e, "service", task->service_name);
	put(e, "serviceid", task->service_id);
	put(e, "nodeid", task->node_id);
	put(e, "container", task->status ? task->status->container_id : NULL);
	put(e, "image", task->spec && task->spec->container ? task->spec->container->image : NULL);
}

static void ended(const struct making *m, const pb_task *task)
{
	int state = state_of(task);
	pb_event *e = add(m, state == TASK_REJECTED ? "reject" : state == TASK_ORPHANED ? "orphan" : "die");
	char code[16];

	describe_task(e, task);
	put_lower(e, "state", pb_task_state_name(state));
	put(e, "error", task->status->err);
	if (state == TASK_REJECTED || state == TASK_ORPHANED)
		return;
	snprintf(code, sizeof(code), "%" PRId32, task->status->exit_code);
	put(e, "exitCode", code);
}

static const char *why_waiting(const pb_task *task)
{
	return task && task->status && state_of(task) <= TASK_PENDING ? task->status->err : "";
}

static void on_task(struct making *m, const pb_task *old, const pb_task *now)
{
	int before = old ? state_of(old) : -1, after = now ? state_of(now) : -1;
	char name[PB_TASK_NAME_MAX];

	if (!now)
		return; /* history that is dropped */
	m->type = "task";
	m->id = now->id;
	m->name = pb_task_name(now, name);
	if (!old)
		describe_task(add(m, "create"), now);
	if (*why_waiting(now) && !str_eq(why_waiting(now), why_waiting(old))) {
		pb_event *e = add(m, "pending");

		describe_task(e, now);
		put(e, "error", why_waiting(now));
	}
	if (before < TASK_RUNNING && after == TASK_RUNNING)
		describe_task(add(m, "start"), now);
	if (before <= TASK_RUNNING && after > TASK_RUNNING)
		ended(m, now);
}

/* ---- services */

static const char *image_of(const pb_service *service)
{
	return service && service->spec && service->spec->task && service->spec->task->container
		       ? service->spec->task->container->image
		       : "";
}

static bool is_replicated(const pb_service *service)
{
	return service->spec && service->spec->mode_case == SKEIN__SERVICE_SPEC__MODE_REPLICATED;
}

static const char *update_of(const pb_service *service)
{
	static const char *const names[] = {
		[SKEIN__UPDATE_STATE__UPDATE_NONE] = "",
		[SKEIN__UPDATE_STATE__UPDATE_UPDATING] = "updating",
		[SKEIN__UPDATE_STATE__UPDATE_PAUSED] = "paused",
		[SKEIN__UPDATE_STATE__UPDATE_COMPLETED] = "completed",
		[SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_STARTED] = "rollback_started",
		[SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_PAUSED] = "rollback_paused",
		[SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_COMPLETED] = "rollback_completed",
	};
	unsigned state = service->update ? (unsigned)service->update->state : 0;

	return state < ARRAY_SIZE(names) ? names[state] : "";
}

static void service_changed(const struct making *m, const pb_service *old, const pb_service *now)
{
	bool spec = !pb_equal(old->spec, now->spec), update = !str_eq(update_of(old), update_of(now));
	pb_event *e;

	if (!spec && !update)
		return;
	e = add(m, "update");
	if (!str_eq(image_of(old), image_of(now))) {
		put(e, "image.old", image_of(old));
		put(e, "image.new", image_of(now));
	}
	if (is_replicated(old) && is_replicated(now) &&
	    old->spec->replicated->replicas != now->spec->replicated->replicas) {
		put_u64(e, "replicas.old", old->spec->replicated->replicas);
		put_u64(e, "replicas.new", now->spec->replicated->replicas);
	}
	if (update) {
		put(e, "updatestate.old", update_of(old));
		put(e, "updatestate.new", update_of(now));
	}
	if (update && now->update)
		put(e, "message", now->update->message);
}

static void on_service(struct making *m, const pb_service *old, const pb_service *now)
{
	const pb_service *any = now ? now : old;

	m->type = "service";
	m->id = any->id;
	m->name = any->spec ? any->spec->name : "";
	if (old && now) {
		service_changed(m, old, now);
		return;
	}
	put(add(m, now ? "create" : "remove"), "image", image_of(any));
}

/* ---- nodes and their images */

static const char *node_state_of(const pb_node *node)
{
	return pb_node_state_name(node->status ? (int)node->status->state : NODE_UNKNOWN);
}

static int availability_of(const pb_node *node)
{
	return node->spec ? (int)node->spec->availability : AVAILABILITY_ACTIVE;
}

static void put_change(pb_event **e, const struct making *m, const char *key, const char *old, const char *now)
{
	char name[64];

	if (str_eq(old, now))
		return;
	if (!*e)
		*e = add(m, "update");
	snprintf(name, sizeof(name), "%s.old", key);
	put_lower(*e, name, old);
	snprintf(name, sizeof(name), "%s.new", key);
	put_lower(*e, name, now);
}

static void node_changed(const struct making *m, const pb_node *old, const pb_node *now)
{
	pb_event *e = NULL;

	put_change(&e, m, "state", node_state_of(old), node_state_of(now));
	put_change(&e, m, "availability", pb_availability_name(availability_of(old)),
		   pb_availability_name(availability_of(now)));
	put_change(&e, m, "role", pb_role_name((int)old->role), pb_role_name((int)now->role));
	if (e && !str_eq(node_state_of(old), node_state_of(now)))
		put(e, "message", now->status ? now->status->message : NULL);
	/* Labels or the name: what became of them, `node inspect` tells. */
	if (!e && !pb_equal(old->spec, now->spec))
		add(m, "update");
}

static const pb_image_info *image_find(const pb_node_description *d, const char *digest)
{
	for (size_t i = 0; d && i < d->n_images; i++)
		if (str_eq(d->images[i]->digest, digest))
			return d->images[i];
	return NULL;
}

static void image_event(const struct making *node, const char *action, const pb_image_info *image)
{
	struct making m = *node;
	pb_event *e;

	m.type = "image";
	m.id = image->digest;
	m.name = image->n_names ? image->names[0] : "";
	e = add(&m, action);
	put(e, "nodeid", node->id);
}

static void images_changed(const struct making *m, const pb_node_description *old, const pb_node_description *now)
{
	if (!old || !now) /* it has just told for the first time what it has */
		return;
	for (size_t i = 0; i < now->n_images; i++)
		if (!image_find(old, now->images[i]->digest))
			image_event(m, now->images[i]->loaded ? "load" : "pull", now->images[i]);
	for (size_t i = 0; i < old->n_images; i++)
		if (!image_find(now, old->images[i]->digest))
			image_event(m, "delete", old->images[i]);
}

static void on_node(struct making *m, const pb_node *old, const pb_node *now)
{
	const pb_node *any = now ? now : old;

	m->type = "node";
	m->id = any->id;
	m->name = pb_node_name(any);
	if (!old || !now) {
		put(add(m, now ? "create" : "remove"), "role", pb_role_name((int)any->role));
		return;
	}
	node_changed(m, old, now);
	images_changed(m, old->description, now->description);
}

pb_event *derive_leader(const char *node_id, uint64_t revision, int64_t now)
{
	pb_event *e = event_new("node", "update", node_id, "", revision, now);

	put(e, "leader.old", "false");
	put(e, "leader.new", "true");
	return e;
}

/* ---- the rest */

static void on_network(struct making *m, const pb_network *old, const pb_network *now)
{
	const pb_network *any = now ? now : old;
	pb_event *e;

	m->type = "network";
	m->id = any->id;
	m->name = any->spec ? any->spec->name : "";
	if (old && now && str_eq(old->err, now->err))
		return;
	e = add(m, !old ? "create" : !now ? "remove" : "update");
	put(e, "driver", any->spec ? any->spec->driver : NULL);
	put(e, "error", now ? now->err : NULL);
}

static bool same_secret(const pb_token *a, const pb_token *b)
{
	return a->secret_sha256.len == b->secret_sha256.len &&
	       (!a->secret_sha256.len || !memcmp(a->secret_sha256.data, b->secret_sha256.data, a->secret_sha256.len));
}

static void on_token(struct making *m, const pb_token *old, const pb_token *now)
{
	const pb_token *any = now ? now : old;
	const char *action = !old ? "create" : !now ? "remove" : !same_secret(old, now) ? "rotate" : "use";
	pb_event *e;

	if (old && now && same_secret(old, now) && now->uses == old->uses)
		return;
	m->type = "token";
	m->id = any->id;
	m->name = any->id;
	e = add(m, action);
	put(e, "role", pb_role_name((int)any->role));
	if (str_eq(action, "use"))
		put_u64(e, "uses", now->uses);
}

/* It lets somebody look at the web page: role "ui". */
static void on_ui_token(struct making *m, const pb_ui_token *old, const pb_ui_token *now)
{
	if (old && now)
		return;
	m->type = "token";
	m->id = m->name = now ? now->id : old->id;
	put(add(m, now ? "create" : "remove"), "role", "ui");
}

static void on_cluster(struct making *m, const pb_cluster *old, const pb_cluster *now)
{
	if (!now || (old && pb_equal(old->spec, now->spec)))
		return;
	m->type = "cluster";
	m->id = now->id;
	m->name = "";
	add(m, old ? "update" : "create");
}

/* ---- */

static int64_t time_of(const struct store_event *change)
{
	const Skein__Meta *meta = change->now ? *kind_info(change->kind)->meta((void *)change->now) : NULL;

	return meta ? meta->updated_at : 0;
}

void derive(const struct store_event *change, uint64_t revision, int64_t now, struct event_list *out)
{
	struct making m = {.revision = revision, .at = time_of(change) ?: now, .out = out};

	switch (change->kind) {
	case KIND_TASK:
		on_task(&m, change->old, change->now);
		break;
	case KIND_SERVICE:
		on_service(&m, change->old, change->now);
		break;
	case KIND_NODE:
		on_node(&m, change->old, change->now);
		break;
	case KIND_NETWORK:
		on_network(&m, change->old, change->now);
		break;
	case KIND_TOKEN:
		on_token(&m, change->old, change->now);
		break;
	case KIND_UI_TOKEN:
		on_ui_token(&m, change->old, change->now);
		break;
	case KIND_CLUSTER:
		on_cluster(&m, change->old, change->now);
		break;
	case KIND_MIGRATION: /* its tasks' events say what came of it */
	case KIND_COUNT:
		break;
	}
}
