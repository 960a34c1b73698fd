#include "explain.h"

#include "common/mem.h"
#include "common/str.h"
#include "manager/scheduler/constraint.h"
#include "manager/scheduler/scheduler.h"
#include "manager/store/plan.h"
#include "manager/store/view.h"

#include <inttypes.h>

#define HEALTH_SHOWN_MAX 200

static const char *node_name(const pb_node *node)
{
	if (!node)
		return "";
	if (node->spec && !str_empty(node->spec->name))
		return node->spec->name;
	return node->description ? node->description->hostname : node->id;
}

static void add_verdict(void *data, const pb_node *node, bool fits, const char *filter, const char *reason)
{
	Skein__TaskExplanation *e = data;
	Skein__NodeVerdict *v = pb_new(&skein__node_verdict__descriptor);

	pb_set_str(&v->node_id, node->id);
	pb_set_str(&v->node_name, node_name(node));
	v->fits = fits;
	pb_set_str(&v->filter, filter);
	pb_set_str(&v->reason, reason);
	pb_msgs_add(&e->n_nodes, &e->nodes, v);
}

/* The allocator could not give it what it needs before a node is chosen. */
static bool waits_for_network(const pb_task *task)
{
	return task_state(task) == TASK_NEW && task->status && !str_empty(task->status->err);
}

/* What its check says while it is not (or no longer) fine. */
static void add_health(struct strbuf *out, const pb_task_health *health)
{
	static const char *const names[] = {"", "starting", "healthy", "unhealthy"};

	if (!health || health->state == HEALTH_NONE || (size_t)health->state >= ARRAY_SIZE(names))
		return;
	strbuf_printf(out, "; health: %s", names[health->state]);
	if (health->checked_at && (health->failing_streak || health->state != HEALTH_HEALTHY))
		strbuf_printf(out, ", last check exit %d%s%.*s", health->exit_code, *health->output ? ": " : "", HEALTH_SHOWN_MAX,
			      health->output);
}

/* Nothing to say but that it runs. */
static bool is_plain(const pb_task *task)
{
	const char *message = task->status->message;

	return str_empty(message) || str_eq(message, "started") || str_eq(message, "healthy");
}

static void summarise_live(struct strbuf *out, const pb_task *task, const pb_node *node, int64_t now)
{
	char since[STR_HUMAN_MAX];
	int state = task_state(task);

	if (state < TASK_ASSIGNED) {
		strbuf_puts(out, waits_for_network(task) ? "waits for its networks" : "waits for a node");
		if (task->status && !str_empty(task->status->err))
			strbuf_printf(out, ": %s", task->status->err);
		return;
	}
	str_duration_human(now - task->status->at, since);
	if (state == TASK_RUNNING)
		strbuf_printf(out, "runs on %s for %s%s%s", node_name(node), since, is_plain(task) ? "" : ": ",
			      is_plain(task) ? "" : task->status->message);
	else
		strbuf_printf(out, "is on %s, %s for %s (%s)", node_name(node), pb_task_state_name(state), since,
			      task->status->message);
	add_health(out, task->status->health);
	if (task->start_after > now)
		strbuf_printf(out, "; starts in %s (restart delay)", str_duration(task->start_after - now, since));
	if (node && node->status && (int)node->status->state == NODE_DOWN)
		strbuf_puts(out, "; its node is down");
}

static void summarise_ended(struct strbuf *out, const pb_task *task, const pb_node *node)
{
	const pb_restart_policy *restart = task->spec ? task->spec->restart : NULL;

	strbuf_printf(out, "ended on %s: %s", node_name(node), pb_task_state_name(task_state(task)));
	if (task->status && !str_empty(task->status->err))
		strbuf_printf(out, " (%s)", task->status->err);
	if (restart && (int)restart->condition == RESTART_NONE)
		strbuf_puts(out, "; not replaced: restart condition none");
	else if (restart && (int)restart->condition == RESTART_ON_FAILURE && task_state(task) == TASK_COMPLETE)
		strbuf_puts(out, "; not replaced: it succeeded, and the restart condition is on-failure");
	else if (restart && restart->max_attempts > 0)
		strbuf_printf(out, "; not replaced: all %" PRIu64 " restart attempts are used", restart->max_attempts);
	else
		strbuf_puts(out, "; its successor is being made");
}

static void explain_task(Skein__ExplainServiceResponse *r, const struct view *view, const pb_task *task, int64_t now)
{
	Skein__TaskExplanation *e = pb_new(&skein__task_explanation__descriptor);
	const pb_node *node = view_node(view, task->node_id);
	_cleanup_strbuf_ struct strbuf summary = {0};

	e->task = pb_dup(task);
	pb_set_str(&e->node_name, node_name(node));
	if (task_live(task) && !task_ended(task))
		summarise_live(&summary, task, node, now);
	else
		summarise_ended(&summary, task, node);
	pb_set_str(&e->summary, summary.p);
	scheduler_explain(view, task, now, add_verdict, e);
	pb_msgs_add(&r->n_tasks, &r->tasks, e);
}

static bool same_slot(const pb_task *a, const pb_task *b)
{
	return a->slot == b->slot && (a->slot != 0 || str_eq(a->node_id, b->node_id));
}

/* Of an ended task: is it the newest of a slot that has no wanted one? Tasks are sorted by slot. */
static bool last_word(const pb_task **tasks, size_t n, size_t i)
{
	for (size_t j = 0; j < n; j++) {
		if (j == i || !same_slot(tasks[i], tasks[j]))
			continue;
		if (task_live(tasks[j]) || j > i)
			return false;
	}
	return true;
}

uint64_t explain_global_wanted(const struct view *view, const pb_service *service)
{
	const pb_placement *placement = service->spec->task ? service->spec->task->placement : NULL;
	_cleanup_free_ const void **nodes = NULL;
	uint64_t wanted = 0;
	size_t n;

	nodes = view_list(view, KIND_NODE, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_node *node = nodes[i];

		wanted += node->status && (int)node->status->state == NODE_READY && node->spec &&
			  (int)node->spec->availability != AVAILABILITY_DRAIN && constraint_all_match(placement, node);
	}
	return wanted;
}

Skein__ExplainServiceResponse *explain_service(const struct view *view, const pb_service *service, int64_t now)
{
	Skein__ExplainServiceResponse *r = pb_new(&skein__explain_service_response__descriptor);
	_cleanup_strbuf_ struct strbuf summary = {0};
	_cleanup_free_ const pb_task **tasks = NULL;
	uint64_t running = 0, waiting = 0, unconnected = 0, wanted;
	size_t n;

	r->service = pb_dup(service);
	tasks = view_tasks_of_service(view, service->id, &n);
	for (size_t i = 0; i < n; i++) {
		if (!task_live(tasks[i]) && !last_word(tasks, n, i))
			continue;
		running += task_live(tasks[i]) && task_state(tasks[i]) == TASK_RUNNING;
		if (task_live(tasks[i]) && waits_for_network(tasks[i]))
			unconnected++;
		else
			waiting += task_live(tasks[i]) && task_state(tasks[i]) < TASK_ASSIGNED;
		explain_task(r, view, tasks[i], now);
	}
	wanted = service->spec->mode_case == SKEIN__SERVICE_SPEC__MODE_REPLICATED
			 ? service->spec->replicated->replicas
			 : explain_global_wanted(view, service);
	strbuf_printf(&summary, "%s: %" PRIu64 " of %" PRIu64 " run", service->spec->name, running, wanted);
	if (waiting > 0)
		strbuf_printf(&summary, ", %" PRIu64 " wait for a node", waiting);
	if (unconnected > 0)
		strbuf_printf(&summary, ", %" PRIu64 " wait for their networks", unconnected);
	if (service->endpoint && !str_empty(service->endpoint->err))
		strbuf_printf(&summary, "; %s", service->endpoint->err);
	pb_set_str(&r->summary, summary.p);
	return r;
}
