#include "updater.h"

#include "restart.h"
#include "sightings.h"

#include "common/clock.h"
#include "common/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define UPDATING SKEIN__UPDATE_STATE__UPDATE_UPDATING
#define PAUSED SKEIN__UPDATE_STATE__UPDATE_PAUSED
#define COMPLETED SKEIN__UPDATE_STATE__UPDATE_COMPLETED
#define ROLLBACK_STARTED SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_STARTED
#define ROLLBACK_PAUSED SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_PAUSED
#define ROLLBACK_COMPLETED SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_COMPLETED

static int state_of(const pb_service *service)
{
	return service->update ? (int)service->update->state : SKEIN__UPDATE_STATE__UPDATE_NONE;
}

static bool in_progress(const pb_service *service)
{
	return state_of(service) == UPDATING || state_of(service) == ROLLBACK_STARTED;
}

static const pb_update_config *config_of(const pb_service *service)
{
	static const pb_update_config defaults = {
		.base = PROTOBUF_C_MESSAGE_INIT(&skein__update_config__descriptor),
		.parallelism = 1,
		.monitor = 5 * NS_PER_SEC,
	};
	const pb_update_config *config = state_of(service) == ROLLBACK_STARTED
						 ? service->spec->rollback
						 : service->spec->update;

	return config ? config : &defaults;
}

/* How long a new task is watched, and the whole service behind the last one. */
static int64_t monitor_of(const pb_update_config *config)
{
	return config->delay >= config->monitor ? config->delay + NS_PER_SEC : config->monitor;
}

/* A task that the update (or a restart during it) made. */
static bool is_new(struct plan *p, const pb_service *service, const pb_task *task)
{
	return task_created_at(task) >= service->update->started_at &&
	       !slot_task_outdated(p, service, task);
}

static pb_service *edit_status(struct plan *p, const pb_service *service, int state,
			       const char *message)
{
	pb_service *copy = txn_edit(p->txn, KIND_SERVICE, service->id);

	if (!copy->update)
		copy->update = pb_new(&skein__update_status__descriptor);
	copy->update->state = (Skein__UpdateState)state;
	pb_set_str(&copy->update->message, message);
	return copy;
}

static const pb_service *put(struct plan *p, pb_service *service)
{
	txn_put(p->txn, KIND_SERVICE, service);
	return service;
}

/* ---- failures */

struct tally {
	int64_t started_at, monitor;
	uint64_t failures;
	int64_t last_at;
	const char *last_id;
};

static void count_failure(void *data, const struct sighting *seen)
{
	struct tally *tally = data;

	if (!seen->failed || seen->created_at < tally->started_at)
		return;
	if (seen->running_at && seen->ended_at - seen->running_at > tally->monitor)
		return;
	tally->failures++;
	if (!tally->last_id || seen->ended_at > tally->last_at ||
	    (seen->ended_at == tally->last_at && strcmp(seen->task_id, tally->last_id) > 0)) {
		tally->last_at = seen->ended_at;
		tally->last_id = seen->task_id;
	}
}

/* Slots that the update has to do with: still outdated, or with a task that it made. */
static uint64_t slots_concerned(struct plan *p, const pb_service *service,
				const struct slots *slots)
{
	uint64_t n = 0;

	for (size_t i = 0; i < slots->n; i++) {
		const struct slot *slot = &slots->v[i];
		bool concerned = false;

		for (size_t k = 0; k < slot->n && !concerned; k++)
			concerned = is_new(p, service, slot->tasks[k]) ||
				    (task_live(slot->tasks[k]) &&
				     slot_task_outdated(p, service, slot->tasks[k]));
		n += concerned;
	}
	return n;
}

static void see_tasks(struct plan *p, const pb_service *service, const struct slots *slots)
{
	for (size_t i = 0; i < slots->n; i++)
		for (size_t k = 0; k < slots->v[i].n; k++)
			if (is_new(p, service, slots->v[i].tasks[k]))
				sightings_see(p->sightings, slots->v[i].tasks[k], p->now);
}

static void pause_update(struct plan *p, const pb_service *service, const char *task_id,
			 const char *note)
{
	bool rollback = state_of(service) == ROLLBACK_STARTED;
	_cleanup_free_ char *message =
		xasprintf("%s paused due to failure or early termination of task %s%s",
			  rollback ? "rollback" : "update", task_id, note);

	put(p, edit_status(p, service, rollback ? ROLLBACK_PAUSED : PAUSED, message));
	sightings_forget(p->sightings, service->id);
}

static void roll_back(struct plan *p, const pb_service *service, const char *task_id)
{
	_cleanup_free_ char *message = xasprintf(
		"update rolled back due to failure or early termination of task %s", task_id);
	pb_service *copy = edit_status(p, service, ROLLBACK_STARTED, message);

	copy->update->started_at = p->now;
	copy->update->completed_at = 0;
	/* A version is never used for two specs: the tasks of the first one would pass for the
	 * second. */
	if (!pb_equal(copy->spec->task, copy->previous_spec->task))
		copy->spec_version++;
	pb_free(copy->spec);
	copy->spec = TAKE_PTR(copy->previous_spec);
	copy->previous_spec_version = 0;
	put(p, copy);
	sightings_forget(p->sightings, service->id);
}

static bool too_many(const struct tally *tally, uint64_t concerned, float ratio)
{
	return tally->failures &&
	       (double)tally->failures > (double)ratio * (double)MAX(concerned, 1);
}

bool updater_starts_first(const pb_service *service)
{
	return config_of(service)->order == SKEIN__UPDATE_ORDER__START_FIRST;
}

static void act_on_failures(struct plan *p, const pb_service *service, const char *task_id)
{
	bool rolling_back = state_of(service) == ROLLBACK_STARTED;

	if (rolling_back ||
	    config_of(service)->failure_action != SKEIN__UPDATE_FAILURE_ACTION__FAILURE_ROLLBACK)
		pause_update(p, service, task_id, "");
	else if (!service->previous_spec)
		pause_update(p, service, task_id, " (there is no previous spec to roll back to)");
	else
		roll_back(p, service, task_id);
}

void updater_check(struct plan *p, const pb_service *service, const struct slots *slots)
{
	const pb_update_config *config = config_of(service);
	struct tally tally = {.monitor = monitor_of(config)};

	if (!in_progress(service) || !service->update->started_at)
		return;
	tally.started_at = service->update->started_at;
	see_tasks(p, service, slots);
	if (config->failure_action == SKEIN__UPDATE_FAILURE_ACTION__FAILURE_CONTINUE)
		return;
	sightings_each(p->sightings, service->id, count_failure, &tally);
	if (too_many(&tally, slots_concerned(p, service, slots), config->max_failure_ratio))
		act_on_failures(p, service, tally.last_id);
}

/* ---- progress */

enum phase {
	UNTOUCHED, /* nothing to do, nothing done */
	TODO,
	BUSY, /* its new task has not come up yet */
	DONE,
};

struct progress {
	enum phase phase;
	int64_t done_at;
};

/* When the first of the update's tasks in the slot came up or ended; 0 = none did. */
static int64_t first_up(struct plan *p, const pb_service *service, const struct slot *slot,
			bool *ret_any)
{
	int64_t first = 0;

	*ret_any = false;
	for (size_t i = 0; i < slot->n; i++) {
		const struct sighting *seen;
		int64_t at;

		if (!is_new(p, service, slot->tasks[i]))
			continue;
		*ret_any = true;
		seen = sightings_see(p->sightings, slot->tasks[i], p->now);
		at = seen->running_at ? seen->running_at : seen->ended_at;
		if (at && (!first || at < first))
			first = at;
	}
	return first;
}

static bool has_live(struct plan *p, const pb_service *service, const struct slot *slot,
		     bool outdated)
{
	for (size_t i = 0; i < slot->n; i++)
		if (task_live(slot->tasks[i]) &&
		    slot_task_outdated(p, service, slot->tasks[i]) == outdated)
			return true;
	return false;
}

/* The newest task that the update made ended for good. */
static bool gave_up(struct plan *p, const pb_service *service, const struct slot *slot)
{
	for (size_t i = slot->n; i-- > 0;)
		if (is_new(p, service, slot->tasks[i]))
			return task_ended(slot->tasks[i]) && !restart_wanted(slot, slot->tasks[i]);
	return false;
}

static bool finished_outdated(struct plan *p, const pb_service *service, const struct slot *slot)
{
	return restart_slot_finished(p, service, slot) &&
	       slot_task_outdated(p, service, restart_last(p, service, slot));
}

static struct progress progress_of(struct plan *p, const pb_service *service,
				   const struct slot *slot, bool started)
{
	struct progress progress = {UNTOUCHED, 0};
	bool any = false;

	if (slot->gone || slot->frozen || !slot->n)
		return progress;
	if (started)
		progress.done_at = first_up(p, service, slot, &any);
	if (!has_live(p, service, slot, false) && !(any && gave_up(p, service, slot)) &&
	    (slot_is_live(slot) || finished_outdated(p, service, slot)))
		progress.phase = TODO;
	else if (any)
		progress.phase = progress.done_at ? DONE : BUSY;
	return progress;
}

static const pb_service *start(struct plan *p, const pb_service *service)
{
	pb_service *copy =
		state_of(service) == ROLLBACK_STARTED
			? edit_status(p, service, ROLLBACK_STARTED, service->update->message)
			: edit_status(p, service, UPDATING, "update in progress");

	copy->update->started_at = p->now;
	copy->update->completed_at = 0;
	sightings_forget(p->sightings, service->id);
	return put(p, copy);
}

static void complete(struct plan *p, const pb_service *service)
{
	bool rollback = state_of(service) == ROLLBACK_STARTED;
	pb_service *copy = edit_status(p, service, rollback ? ROLLBACK_COMPLETED : COMPLETED,
				       rollback ? "rollback completed" : "update completed");

	copy->update->completed_at = p->now;
	put(p, copy);
	sightings_forget(p->sightings, service->id);
}

static void stop_outdated(struct plan *p, const pb_service *service, struct slot *slot)
{
	for (size_t i = 0; i < slot->n; i++)
		if (task_live(slot->tasks[i]) && slot_task_outdated(p, service, slot->tasks[i]))
			slot_desire(p, slot, i, TASK_SHUTDOWN);
}

static bool current_is_up(struct plan *p, const pb_service *service, const struct slot *slot)
{
	for (size_t i = 0; i < slot->n; i++)
		if (task_live(slot->tasks[i]) && task_state(slot->tasks[i]) == TASK_RUNNING &&
		    !slot_task_outdated(p, service, slot->tasks[i]))
			return true;
	return false;
}

/* The new task is there: the old one goes, with start-first only once the new one runs. */
static void retire_old(struct plan *p, const pb_service *service, struct slots *slots,
		       bool start_first)
{
	for (size_t i = 0; i < slots->n; i++) {
		struct slot *slot = &slots->v[i];

		if (slot->gone || slot->frozen || slot->moving || !has_live(p, service, slot, false))
			continue;
		if (!start_first || current_is_up(p, service, slot))
			stop_outdated(p, service, slot);
	}
}

static bool replace(struct plan *p, const pb_service *service, struct slot *slot, bool start_first)
{
	bool alone = !slot_is_live(slot) && !slot_must_wait(p, slot, NULL);

	if (slot->moving) {
		plan_abort(p, slot->moving, "the service was updated"); /* first; its end brings us back */
		return true;
	}
	if (!slot_create(p, service, slot, start_first || alone ? TASK_RUNNING : TASK_READY, 0))
		return false;
	if (!start_first)
		stop_outdated(p, service, slot);
	return true;
}

/* Work through the slots; true when all that is to do is done, *ret_last then tells since when. */
static bool advance(struct plan *p, const pb_service *service, struct slots *slots,
		    const struct progress *progress, const pb_update_config *config,
		    int64_t *ret_last)
{
	bool start_first = updater_starts_first(service);
	uint64_t busy = 0, limit = config->parallelism ? config->parallelism : UINT64_MAX;
	int64_t next_free = INT64_MAX;
	bool all_done = true;

	*ret_last = 0;
	for (size_t i = 0; i < slots->n; i++) {
		int64_t free_at = progress[i].done_at + config->delay;

		all_done &= progress[i].phase == UNTOUCHED || progress[i].phase == DONE;
		*ret_last = MAX(*ret_last, progress[i].done_at);
		if (progress[i].phase == BUSY) {
			busy++;
		} else if (progress[i].phase == DONE && free_at > p->now) {
			busy++;
			next_free = MIN(next_free, free_at);
		}
	}
	for (size_t i = 0; i < slots->n; i++) {
		if (progress[i].phase != TODO)
			continue;
		if (busy >= limit) {
			if (next_free != INT64_MAX)
				plan_wake(p, service->id, next_free);
			break;
		}
		if (!replace(p, service, &slots->v[i], start_first))
			break;
		busy++;
	}
	return all_done;
}

static bool any_todo(const struct progress *progress, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (progress[i].phase == TODO)
			return true;
	return false;
}

static struct progress *survey(struct plan *p, const pb_service *service, const struct slots *slots)
{
	bool started = in_progress(service) && service->update->started_at;
	struct progress *progress = xcalloc(slots->n, sizeof(*progress));

	for (size_t i = 0; i < slots->n; i++)
		progress[i] = progress_of(p, service, &slots->v[i], started);
	return progress;
}

void updater_step(struct plan *p, const pb_service *service, struct slots *slots)
{
	const pb_update_config *config = config_of(service);
	_cleanup_free_ struct progress *progress = NULL;
	int64_t last;

	if (state_of(service) == PAUSED || state_of(service) == ROLLBACK_PAUSED)
		return;
	retire_old(p, service, slots, updater_starts_first(service));
	progress = survey(p, service, slots);
	if (!in_progress(service) && !any_todo(progress, slots->n))
		return;
	if (!in_progress(service) || !service->update->started_at) {
		service = start(p, service);
		config = config_of(service);
	}
	if (!advance(p, service, slots, progress, config, &last))
		return;
	if (last + monitor_of(config) <= p->now)
		complete(p, service);
	else
		plan_wake(p, service->id, last + monitor_of(config));
}
