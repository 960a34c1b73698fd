#include "progress_model.h"

#include "common/mem.h"

#include <string.h>

void progress_init(struct progress *p, const struct progress_setup *setup)
{
	*p = (struct progress){.setup = *setup};
}

static void drop_slots(struct progress *p)
{
	for (size_t i = 0; i < p->n_slots; i++) {
		free(p->slots[i].label);
		free(p->slots[i].reason);
	}
	free(p->slots);
	p->slots = NULL;
	p->n_slots = 0;
}

void progress_fini(struct progress *p)
{
	drop_slots(p);
	strv_fini(&p->ended);
	free(p->message);
	free(p->name);
}

/* ---------------------------------------------------------------- slots */

static int64_t created_at(const pb_task *task)
{
	return task->meta ? task->meta->created_at : 0;
}

static int task_state(const pb_task *task)
{
	return task->status ? (int)task->status->state : TASK_NEW;
}

static bool same_slot(const pb_task *a, const pb_task *b)
{
	return a->slot == b->slot && (a->slot > 0 || str_eq(a->node_id, b->node_id));
}

/* Slots in order, then the task that speaks for the slot first: one that should run, newest
 * version, newest. */
static int compare(const void *pa, const void *pb)
{
	const pb_task *a = *(pb_task *const *)pa, *b = *(pb_task *const *)pb;
	bool a_wanted = (int)a->desired <= TASK_RUNNING, b_wanted = (int)b->desired <= TASK_RUNNING;

	if (a->slot != b->slot)
		return a->slot < b->slot ? -1 : 1;
	if (a->slot == 0 && !str_eq(a->node_id, b->node_id))
		return strcmp(a->node_id, b->node_id);
	if (a_wanted != b_wanted)
		return a_wanted ? -1 : 1;
	if (a->spec_version != b->spec_version)
		return a->spec_version > b->spec_version ? -1 : 1;
	if (created_at(a) != created_at(b))
		return created_at(a) > created_at(b) ? -1 : 1;
	return strcmp(a->id, b->id);
}

static bool is_updating(const pb_update_status *update)
{
	return update && (update->state == SKEIN__UPDATE_STATE__UPDATE_UPDATING ||
			  update->state == SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_STARTED);
}

/*
 * Whether a task counts although it may be of an older version: nothing about tasks was changed, or
 * the update has ended and left it (only placement changed, and its node still fits).
 */
static bool any_version_counts(const struct progress *p, const pb_service *service)
{
	if (is_updating(service->update))
		return false;
	return !p->setup.new_tasks || p->update_seen;
}

static void fill_slot(struct progress *p, struct progress_slot *slot, const pb_task *task,
		      const pb_service *service, const Skein__WatchServiceResponse *msg)
{
	const char *node = pb_kv_get(msg->node_names, msg->n_node_names, task->node_id);
	bool current =
		task->spec_version == service->spec_version || any_version_counts(p, service);
	bool wanted = (int)task->desired <= TASK_RUNNING;
	int state = task_state(task);

	slot->label = task->slot > 0 ? xasprintf("%llu", (unsigned long long)task->slot)
				     : xstrdup(node ?: task->node_id);
	slot->numbered = task->slot > 0;
	slot->state = state;
	slot->reason = xstrdup(task->status ? task->status->err : "");
	/* desired READY and state RUNNING do not occur together; "ready until promoted" is not
	 * running yet */
	slot->running = current && wanted && state == TASK_RUNNING;
	slot->completed = current && state == TASK_COMPLETE && p->one_shot;
	/* the restart policy has had its say about a task that should no longer run: there is no
	 * newer one */
	slot->failed = current && !wanted && (state == TASK_FAILED || state == TASK_REJECTED);
}

/* A slot whose task was told to go and that has no other is not wanted any more (scaled down). */
static bool is_leaving(const pb_task *task)
{
	int state = task_state(task);

	if ((int)task->desired == TASK_REMOVE)
		return true;
	return (int)task->desired > TASK_RUNNING && state != TASK_COMPLETE &&
	       state != TASK_FAILED && state != TASK_REJECTED;
}

static void read_slots(struct progress *p, const Skein__WatchServiceResponse *msg)
{
	_cleanup_free_ pb_task **tasks = xcalloc(msg->n_tasks + 1, sizeof(*tasks));

	drop_slots(p);
	p->running = p->completed = p->failed = 0;
	for (size_t i = 0; i < msg->n_tasks; i++)
		tasks[i] = msg->tasks[i];
	qsort(tasks, msg->n_tasks, sizeof(*tasks), compare);
	p->slots = xcalloc(msg->n_tasks + 1, sizeof(*p->slots));
	for (size_t i = 0; i < msg->n_tasks; i++) {
		struct progress_slot *slot = &p->slots[p->n_slots];

		if ((i > 0 && same_slot(tasks[i - 1], tasks[i])) || is_leaving(tasks[i]))
			continue;
		fill_slot(p, slot, tasks[i], msg->service, msg);
		p->n_slots++;
		p->running += slot->running;
		p->completed += slot->completed;
		p->failed += slot->failed;
	}
}

/* ---------------------------------------------------------------- verdict */

static void fail(struct progress *p, char *message)
{
	if (p->verdict == PROGRESS_WAIT) {
		p->verdict = PROGRESS_FAILED;
		p->message = message;
	} else {
		free(message);
	}
}

static bool is_news(const struct progress *p, const pb_update_status *update)
{
	return update && ((int)update->state != p->setup.update_state ||
			  update->started_at != p->setup.update_started_at);
}

/* What the updater says about the update that we wait for. */
static void read_update(struct progress *p, const pb_service *service)
{
	const pb_update_status *update = service->update;
	const char *text = update && *update->message ? update->message : "no reason given";

	if (!is_news(p, update))
		return;
	p->update_seen = p->update_seen || update->state != SKEIN__UPDATE_STATE__UPDATE_NONE;
	p->rolling_back = update->state == SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_STARTED;
	switch (update->state) {
	case SKEIN__UPDATE_STATE__UPDATE_PAUSED:
		fail(p, xasprintf("the update was paused: %s", text));
		break;
	case SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_PAUSED:
		fail(p, xasprintf("the rollback was paused: %s", text));
		break;
	case SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_COMPLETED:
		if (!p->setup.rollback)
			fail(p, xasprintf("the update was rolled back: %s", text));
		break;
	default:
		break;
	}
}

/* A task that ended by itself, although it is to run on: one that was told to stop is SHUTDOWN, not COMPLETE or FAILED. */
static bool has_ended(const struct progress *p, const pb_task *task)
{
	int state = task_state(task);

	if ((int)task->desired == TASK_REMOVE)
		return false;
	return state == TASK_FAILED || state == TASK_REJECTED || (state == TASK_COMPLETE && !p->one_shot);
}

static void note_ended(struct progress *p, const Skein__WatchServiceResponse *msg)
{
	for (size_t i = 0; i < msg->n_tasks; i++)
		if (has_ended(p, msg->tasks[i]) && !strv_has(&p->ended, msg->tasks[i]->id))
			strv_add(&p->ended, msg->tasks[i]->id);
}

static void check_ended(struct progress *p, const Skein__WatchServiceResponse *msg)
{
	for (size_t i = 0; i < msg->n_tasks; i++) {
		const pb_task *task = msg->tasks[i];
		const char *node = pb_kv_get(msg->node_names, msg->n_node_names, task->node_id);
		_cleanup_free_ char *slot = NULL;

		if (!has_ended(p, task) || strv_has(&p->ended, task->id))
			continue;
		slot = task->slot > 0 ? xasprintf("%llu", (unsigned long long)task->slot) : xstrdup(node ?: task->node_id);
		fail(p, xasprintf("%s.%s ended while it was verified: %s", p->name, slot,
				  task->status && *task->status->err ? task->status->err : "it completed"));
	}
}

/* More running than wanted: a scale down has not got to work yet. Completed ones may be any number.
 */
static bool is_converged(const struct progress *p)
{
	return p->running <= p->desired && p->running + p->completed >= p->desired;
}

static void judge(struct progress *p, const pb_service *service, const Skein__WatchServiceResponse *msg, int64_t now)
{
	bool ended =
		service->update && !is_updating(service->update) && is_news(p, service->update);
	bool update_runs = is_updating(service->update) && !p->setup.verify;
	bool monitored = p->setup.verify && p->setup.new_tasks && !ended && p->running > 0;

	if (p->watching)
		check_ended(p, msg);
	if (p->verdict != PROGRESS_WAIT)
		return;
	p->verifying = false;
	if (!is_converged(p) || update_runs) {
		p->verify_until = 0;
		/* every slot has come to its end, some of them badly */
		if (p->failed > 0 && p->running + p->completed + p->failed == p->n_slots &&
		    p->n_slots >= p->desired) {
			if (p->settle_until == 0)
				p->settle_until = now + PROGRESS_SETTLE_NS;
		} else {
			p->settle_until = 0;
		}
		return;
	}
	p->settle_until = 0;
	p->hold_ns = MAX(monitored ? p->monitor_ns : 0, p->running > 0 ? p->setup.verify_ns : 0);
	if (p->hold_ns == 0) {
		p->verdict = PROGRESS_DONE;
		return;
	}
	p->verifying = true;
	if (p->verify_until == 0)
		p->converged_at = now;
	p->verify_until = p->converged_at + p->hold_ns;
	if (p->setup.verify_ns > 0 && !p->watching) {
		p->watching = true;
		note_ended(p, msg);
	}
}

void progress_feed(struct progress *p, const Skein__WatchServiceResponse *msg, int64_t now)
{
	const pb_service *service = msg->service;
	const pb_restart_policy *restart;

	if (p->verdict != PROGRESS_WAIT)
		return;
	if (!service || !service->spec) {
		fail(p, xstrdup("the service was removed"));
		return;
	}
	restart = service->spec->task ? service->spec->task->restart : NULL;
	free(p->name);
	p->name = xstrdup(service->spec->name);
	p->desired = msg->desired;
	p->one_shot = restart && (int)restart->condition != RESTART_ANY;
	p->monitor_ns = service->spec->update ? service->spec->update->monitor : 0;
	read_update(p, service);
	read_slots(p, msg);
	if (p->verdict == PROGRESS_WAIT)
		judge(p, service, msg, now);
	progress_tick(p, now);
}

void progress_tick(struct progress *p, int64_t now)
{
	if (p->verdict != PROGRESS_WAIT)
		return;
	if (p->verify_until && now >= p->verify_until)
		p->verdict = PROGRESS_DONE;
	else if (p->settle_until && now >= p->settle_until)
		fail(p, xasprintf("%llu of %llu tasks failed and will not be started again",
				  (unsigned long long)p->failed, (unsigned long long)p->desired));
}

int64_t progress_wake_at(const struct progress *p)
{
	return p->verdict != PROGRESS_WAIT ? 0 : p->verify_until ?: p->settle_until;
}

void progress_reasons(const struct progress *p, struct strv *out)
{
	for (size_t i = 0; i < p->n_slots; i++) {
		const struct progress_slot *slot = &p->slots[i];
		bool repeated = false;

		if (slot->running || slot->completed || !*slot->reason)
			continue;
		/* thirty tasks that wait for the same thing make one line */
		for (size_t k = 0; k < i && !repeated; k++)
			repeated = !p->slots[k].running && str_eq(p->slots[k].reason, slot->reason);
		if (!repeated)
			strv_addf(out, "%s.%s: %s", p->name, slot->label, slot->reason);
	}
}
