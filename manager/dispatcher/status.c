#include "status.h"

#include "common/mem.h"
#include "common/str.h"
#include "manager/store/txn.h"
#include "manager/store/view.h"
#include "text.h"

#include <string.h>

/* States that an agent may set: ACCEPTED and later; REMOVE is only ever wanted, ORPHANED is ours.
 */
static bool agents_state(int state)
{
	switch (state) {
	case TASK_ACCEPTED:
	case TASK_PREPARING:
	case TASK_READY:
	case TASK_STARTING:
	case TASK_RUNNING:
	case TASK_COMPLETE:
	case TASK_SHUTDOWN:
	case TASK_FAILED:
	case TASK_REJECTED:
		return true;
	default:
		return false;
	}
}

/* The time is left out: repeating a status is no news. */
static bool says_the_same(const pb_task_status *a, const pb_task_status *b)
{
	return a->state == b->state && a->pid == b->pid && a->exit_code == b->exit_code &&
	       str_eq(a->message, b->message) && str_eq(a->err, b->err) &&
	       str_eq(a->container_id, b->container_id) && pb_equal(a->health, b->health);
}

enum status_verdict status_judge(const struct view *v, const char *node_id,
				 const Skein__TaskStatusReport *report)
{
	const pb_task *task = view_task(v, report->task_id);
	int state, has;

	if (!report->status || !agents_state((int)report->status->state))
		return STATUS_INVALID;
	if (!task)
		return STATUS_NO_TASK;
	if (!str_eq(task->node_id, node_id))
		return STATUS_FOREIGN;
	state = (int)report->status->state;
	has = task->status ? (int)task->status->state : TASK_NEW;
	if (state == has)
		return says_the_same(report->status, task->status) ? STATUS_SAME : STATUS_TAKEN;
	/* An outcome is final, though the numbers of the outcomes are ordered, too. */
	if (state < has || has > TASK_RUNNING)
		return STATUS_STALE;
	return STATUS_TAKEN;
}

static pb_task_status *cleaned(const pb_task_status *status, int64_t now)
{
	pb_task_status *copy = pb_dup(status);

	text_clip(copy->message, STATUS_TEXT_MAX);
	text_clip(copy->err, STATUS_TEXT_MAX);
	text_clip(copy->container_id, STATUS_CONTAINER_ID_MAX);
	if (copy->health)
		text_clip(copy->health->output, STATUS_HEALTH_OUTPUT_MAX);
	if (copy->at <= 0)
		copy->at = now;
	return copy;
}

void status_stage(struct txn *t, const struct view *v, const char *node_id,
		  const Skein__StatusReports *reports, int64_t now,
		  uint64_t counts[static STATUS_VERDICTS])
{
	for (size_t i = 0; i < reports->n_reports; i++) {
		const Skein__TaskStatusReport *report = reports->reports[i];
		enum status_verdict verdict = status_judge(v, node_id, report);
		pb_task *task;

		counts[verdict]++;
		if (verdict != STATUS_TAKEN)
			continue;
		task = txn_edit(t, KIND_TASK, report->task_id);
		pb_free(task->status);
		task->status = cleaned(report->status, now);
		txn_put(t, KIND_TASK, task);
	}
}
