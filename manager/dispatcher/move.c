#include "move.h"

#include "common/mem.h"
#include "common/str.h"
#include "manager/store/txn.h"
#include "manager/store/view.h"
#include "peers.h"
#include "text.h"

#include <string.h>

/* ---- down */

pb_migration_order *move_order(const struct view *v, const pb_task *task)
{
	const pb_migration *m = str_empty(task->migration_id) ? NULL : view_migration(v, task->migration_id);
	_cleanup_free_ char *address = NULL;
	const pb_node *peer;
	pb_migration_order *order;
	bool target;

	if (!m || (int)m->phase == MIGRATION_NEW)
		return NULL;
	target = str_eq(m->target_task, task->id);
	if (!target && !str_eq(m->source_task, task->id))
		return NULL;
	order = pb_new(&skein__migration_order__descriptor);
	pb_set_str(&order->id, m->id);
	order->target = target;
	order->phase = m->phase;
	pb_set_str(&order->source_task, m->source_task);
	pb_set_str(&order->target_task, m->target_task);
	pb_set_str(&order->peer_node, target ? m->source_node : m->target_node);
	peer = view_node(v, order->peer_node);
	address = peer ? peers_address(peer) : NULL;
	pb_set_str(&order->peer_address, address);
	if (m->ticket.len) {
		order->ticket.data = xmalloc(m->ticket.len);
		order->ticket.len = m->ticket.len;
		memcpy(order->ticket.data, m->ticket.data, m->ticket.len);
	}
	pb_set_msg(&order->options, m->options);
	return order;
}

bool move_same_orders(const pb_migration *a, const pb_migration *b)
{
	return a && b && a->phase == b->phase && str_eq(a->source_task, b->source_task) && str_eq(a->target_task, b->target_task) &&
	       str_eq(a->source_node, b->source_node) && str_eq(a->target_node, b->target_node);
}

/* ---- up */

static bool ends_step(const pb_migration_report *report)
{
	switch ((int)report->step) {
	case STEP_NONE:
	case STEP_PREPARED:
		return true;
	case STEP_CONVERGED:
	case STEP_FROZEN:
	case STEP_SENT:
	case STEP_RESUMED:
	case STEP_GONE:
		return !report->target;
	case STEP_RECEIVED:
	case STEP_RESTORED:
	case STEP_DISCARDED:
		return report->target;
	default:
		return false;
	}
}

enum move_verdict move_judge(const struct view *v, const char *node_id, const pb_migration_report *report)
{
	const pb_migration *m = str_empty(report->migration_id) ? NULL : view_migration(v, report->migration_id);
	const pb_migration_report *has;

	if (!ends_step(report))
		return MOVE_INVALID;
	if (!m || (int)m->phase == MIGRATION_NEW)
		return MOVE_UNKNOWN;
	if (!str_eq(report->target ? m->target_node : m->source_node, node_id))
		return MOVE_FOREIGN;
	has = report->target ? m->target : m->source;
	if (!has)
		return MOVE_TAKEN;
	if (report->step < has->step)
		return MOVE_STALE;
	return pb_equal(has, report) ? MOVE_SAME : MOVE_TAKEN;
}

static pb_migration_report *cleaned(const pb_migration_report *report)
{
	pb_migration_report *copy = pb_dup(report);
	int64_t *const times[] = {&copy->dump, &copy->transfer, &copy->restore, &copy->downtime};

	text_clip(copy->err, MOVE_TEXT_MAX);
	text_clip(copy->doing, MOVE_TEXT_MAX);
	while (copy->n_rounds > MOVE_ROUNDS_MAX)
		pb_msgs_del(&copy->n_rounds, &copy->rounds, 0);
	for (size_t i = 0; i < ARRAY_SIZE(times); i++)
		*times[i] = MAX(*times[i], 0);
	for (size_t i = 0; i < copy->n_rounds; i++) {
		copy->rounds[i]->took = MAX(copy->rounds[i]->took, 0);
		copy->rounds[i]->frozen = MAX(copy->rounds[i]->frozen, 0);
	}
	return copy;
}

enum move_verdict move_stage(struct txn *t, const struct view *v, const char *node_id, const pb_migration_report *report)
{
	_cleanup_pb_ pb_migration_report *clean = cleaned(report);
	enum move_verdict verdict = move_judge(v, node_id, clean);
	pb_migration *m;

	if (verdict != MOVE_TAKEN)
		return verdict;
	m = txn_edit(t, KIND_MIGRATION, clean->migration_id);
	pb_set_msg(clean->target ? (void *)&m->target : (void *)&m->source, clean);
	txn_put(t, KIND_MIGRATION, m);
	return verdict;
}
