#include "task_internal.h"

#include "agent/exec/checkpoint.h"
#include "agent/migrate/migrate.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"
#include "taskdb.h"


/* ---------------------------------------------------------------- what the migration needs of the task */

static const pb_task *task_of(void *data)
{
	return ((struct task *)data)->obj;
}

static struct container *container_of_task(void *data)
{
	struct task *t = data;

	return t->created && t->op != OP_REMOVE ? t->container : NULL;
}

static void save(void *data, const Skein__MigrationState *state, taskdb_saved_cb saved, void *saved_data)
{
	struct task *t = data;

	pb_set_msg(&t->obj->migration_state, state);
	taskdb_put(t->env->db, t->obj, saved, saved_data);
}

/* It serves: it has done so all the time. */
static void serve(struct task *t)
{
	t->ready = true;
	free(t->ready_message);
	t->ready_message = xstrdup("moved here");
	task_watch_serving(t, true);
}

static void on_changed(void *data)
{
	struct task *t = data;

	if (t->running && !t->ready && !str_empty(t->obj->migrated_from) && t->move && task_move_wants(t) == MOVE_NOTHING)
		serve(t);
	task_advance(t);
}

static void on_stand(void *data, bool still)
{
	struct task *t = data;

	if (still)
		task_unwatch_serving(t);
	else if (t->running && !t->readiness && !t->stopping)
		task_watch_serving(t, true);
}

static void begin(struct task *t, const pb_migration_order *order, const Skein__MigrationState *saved)
{
	struct move_host host = {
		.task = task_of,
		.container = container_of_task,
		.save = save,
		.changed = on_changed,
		.stand = on_stand,
		.data = t,
	};

	t->move = move_new(t->env->migrate, order, saved, &host);
}

/* ---------------------------------------------------------------- orders */

void task_take_order(struct task *t, const pb_migration_order *order)
{
	if (!order || !t->env->migrate || t->frozen)
		return;
	if (t->move && str_eq(move_migration_id(t->move), order->id)) {
		move_order(t->move, order);
		return;
	}
	task_drop_move(t);
	begin(t, order, NULL);
	/* Now that it is known to the task. */
	move_task_changed(t->move);
}

void task_adopt_move(struct task *t)
{
	const Skein__MigrationState *saved = t->obj->migration_state;

	if (saved && saved->order && t->env->migrate) {
		_cleanup_pb_ Skein__MigrationState *copy = pb_dup(saved);

		begin(t, copy->order, copy);
	}
}

enum net_gate task_adopted_gate(const struct task *t)
{
	const Skein__MigrationState *saved = t->obj->migration_state;

	if (!saved || !saved->order)
		return NET_OPEN;
	if (!saved->order->target)
		return saved->frozen ? NET_CUT : NET_OPEN;
	return saved->report && saved->report->step == STEP_RESTORED ? NET_OPEN : NET_SHUT;
}

void task_drop_move(struct task *t)
{
	struct move *v = t->move;

	t->move = NULL;
	move_free(v);
}

enum move_want task_move_wants(const struct task *t)
{
	if (t->move)
		return move_wants(t->move);
	/* It must not begin anew what goes on elsewhere; the word to go on has not come yet. */
	return !str_empty(t->obj->migrated_from) && t->obj->status->state <= TASK_READY ? MOVE_HOLD : MOVE_NOTHING;
}

void task_tell_move(struct task *t)
{
	if (t->move)
		move_task_changed(t->move);
}

void task_tell_move_exit(struct task *t)
{
	if (t->move)
		move_exited(t->move);
}

/* ---------------------------------------------------------------- restoring */

static void on_restored(void *data, struct container *c, const struct restore_stats *stats, const struct error *err)
{
	struct task *t = data;

	if (t->frozen)
		return;
	task_step_end(t, START_RUNTIME, err);
	if (!err && task_status_of(t)->state < TASK_RUNNING) {
		t->running = true;
		task_status_of(t)->pid = container_pid(c);
		task_stats_started(t->env->stats, t->obj);
	}
	if (t->move)
		move_restored(t->move, err);
	task_advance(t);
}

void task_restore(struct task *t)
{
	_cleanup_free_ char *images = xstrdup(move_images(t->move));

	task_step_begin(t, OP_RESTORE);
	task_set_state(t, TASK_STARTING, "restoring", NULL);
	move_restoring(t->move);
	container_restore(t->container, images, on_restored, t);
}
