#include "assign.h"

#include "common/mem.h"
#include "common/str.h"
#include "manager/store/view.h"
#include "move.h"
#include "peers.h"

#include <string.h>
#include <uthash.h>

struct told {
	UT_hash_handle hh;
	uint64_t revision;    /* of the task when it was looked at last */
	uint64_t fingerprint; /* of what the agent acts on */
	bool moves;	      /* it was told with an order of a migration */
	unsigned seen;	      /* round in which the task was there */
	char id[];
};

struct assign {
	char *node_id;
	struct told *told;
	uint64_t sequence;
	bool completed; /* the complete set is out */
	unsigned round;
};

struct assign *assign_new(const char *node_id)
{
	struct assign *a = xnew(struct assign);

	a->node_id = xstrdup(node_id);
	return a;
}

static void told_drop(struct assign *a, struct told *t)
{
	HASH_DEL(a->told, t);
	free(t);
}

void assign_free(struct assign *a)
{
	struct told *t, *next;

	if (!a)
		return;
	HASH_ITER(hh, a->told, t, next)
	told_drop(a, t);
	free(a->node_id);
	free(a);
}

/* An orphan is nobody's task any more: an agent that still has it must drop it. */
static bool is_for_agent(const pb_task *task)
{
	int state = task->status ? (int)task->status->state : TASK_NEW;

	return state >= TASK_ASSIGNED && state != TASK_ORPHANED;
}

/* FNV-1a */
static uint64_t hash_message(uint64_t hash, const ProtobufCMessage *msg)
{
	size_t len = protobuf_c_message_get_packed_size(msg);
	_cleanup_free_ uint8_t *bytes = xmalloc(len);

	protobuf_c_message_pack(msg, bytes);
	for (size_t i = 0; i < len; i++)
		hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
	return hash;
}

/* Over the task without what changes by the agent's own doing, and its order. */
static uint64_t fingerprint_of(const pb_task *task, const pb_migration_order *order)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	pb_task bare = *task;

	bare.status = NULL;
	bare.meta = NULL;
	hash = hash_message(hash, &bare.base);
	return order ? hash_message(hash, &order->base) : hash;
}

static struct told *told_find(struct assign *a, const char *id)
{
	struct told *t;

	HASH_FIND_STR(a->told, id, t);
	return t;
}

static struct told *told_add(struct assign *a, const char *id)
{
	size_t len = strlen(id);
	struct told *t = xcalloc(1, sizeof(*t) + len + 1);

	memcpy(t->id, id, len);
	HASH_ADD_KEYPTR(hh, a->told, t->id, len, t);
	return t;
}

static Skein__Assignment *assignment_of(const struct assign *a, const pb_task *task,
					struct peers *peers)
{
	Skein__Assignment *out = pb_new(&skein__assignment__descriptor);

	pb_set_msg(&out->task, task);
	/* Behind PREPARING the image is there; an agent that lost it asks its own way. */
	if ((int)task->status->state < TASK_READY)
		peers_find(peers, task, a->node_id, &out->n_image_peers, &out->image_peers);
	return out;
}

/* Tasks that are new or changed, until the message is full. False when it is. */
static bool add_updates(struct assign *a, const struct view *v, struct peers *peers,
			Skein__Assignments *out)
{
	_cleanup_free_ const pb_task **tasks = NULL;
	size_t n, bytes = 0;

	tasks = view_tasks_of_node(v, a->node_id, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_task *task = tasks[i];
		uint64_t revision = task->meta ? task->meta->revision : 0, fingerprint;
		struct told *t = told_find(a, task->id);
		_cleanup_pb_ pb_migration_order *order = NULL;
		Skein__Assignment *assignment;

		if (!is_for_agent(task))
			continue;
		if (t)
			t->seen = a->round;
		order = move_order(v, task);
		if (t && t->revision == revision && revision && !order && !t->moves)
			continue;
		fingerprint = fingerprint_of(task, order);
		if (t && t->fingerprint == fingerprint) {
			t->revision = revision;
			continue;
		}
		assignment = assignment_of(a, task, peers);
		pb_set_msg(&assignment->migration, order);
		bytes += protobuf_c_message_get_packed_size(&assignment->base);
		if (bytes > ASSIGN_MESSAGE_MAX_BYTES && out->n_update) {
			pb_free(assignment);
			return false;
		}
		pb_msgs_add(&out->n_update, &out->update, assignment);
		if (!t)
			t = told_add(a, task->id);
		t->seen = a->round;
		t->revision = revision;
		t->fingerprint = fingerprint;
		t->moves = order;
	}
	return true;
}

static void add_removals(struct assign *a, Skein__Assignments *out)
{
	struct told *t, *next;

	HASH_ITER(hh, a->told, t, next)
	{
		if (t->seen == a->round)
			continue;
		pb_strs_add(&out->n_remove, &out->remove, t->id);
		told_drop(a, t);
	}
}

Skein__Assignments *assign_next(struct assign *a, const struct view *v, struct peers *peers)
{
	_cleanup_pb_ Skein__Assignments *out = pb_new(&skein__assignments__descriptor);
	bool all;

	a->round++;
	all = add_updates(a, v, peers, out);
	/* Before the walk came to its end, a task not seen is not a task gone. */
	if (all)
		add_removals(a, out);
	if (a->completed && !out->n_update && !out->n_remove)
		return NULL;
	out->complete = a->sequence == 0;
	out->more = !a->completed && !all;
	out->applies_to = a->sequence;
	out->results_in = ++a->sequence;
	a->completed |= all;
	return TAKE_PTR(out);
}
