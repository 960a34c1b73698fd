#include "scheduler.h"

#include "faults.h"
#include "filter.h"
#include "ranking.h"

#include "manager/store/plan.h"

#include "common/mem.h"

#include <stdlib.h>
#include <string.h>

/* PENDING tasks of one service version, with or without a node of their own. */
struct group {
	const pb_task **tasks;
	size_t n;
	int64_t since; /* the oldest's birth: who waits longest comes first */
};

static bool is_bound(const pb_task *task)
{
	return *task->node_id;
}

static int same_group(const pb_task *a, const pb_task *b)
{
	int order = (int)is_bound(b) - (int)is_bound(a);

	if (order)
		return order;
	order = strcmp(a->service_id, b->service_id);
	if (order)
		return order;
	return a->spec_version < b->spec_version ? -1 : a->spec_version > b->spec_version;
}

static int by_group(const void *a, const void *b)
{
	const pb_task *x = *(pb_task *const *)a, *y = *(pb_task *const *)b;
	int order = same_group(x, y);

	if (order)
		return order;
	if (x->slot != y->slot)
		return x->slot < y->slot ? -1 : 1;
	return strcmp(x->id, y->id);
}

static int by_wait(const void *a, const void *b)
{
	const struct group *x = a, *y = b;
	int order = (int)is_bound(y->tasks[0]) - (int)is_bound(x->tasks[0]);

	if (order)
		return order;
	if (x->since != y->since)
		return x->since < y->since ? -1 : 1;
	return same_group(x->tasks[0], y->tasks[0]);
}

static size_t keep_pending(const pb_task **tasks, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (task_state(tasks[i]) == TASK_PENDING)
			tasks[kept++] = tasks[i];
	return kept;
}

static struct group *make_groups(const pb_task **tasks, size_t n, size_t *ret_n)
{
	struct group *groups = xcalloc(n, sizeof(*groups));
	size_t n_groups = 0;

	qsort(tasks, n, sizeof(*tasks), by_group);
	for (size_t i = 0; i < n; i++) {
		struct group *g = n_groups ? &groups[n_groups - 1] : NULL;

		if (!g || same_group(g->tasks[0], tasks[i])) {
			g = &groups[n_groups++];
			*g = (struct group){.tasks = &tasks[i], .since = INT64_MAX};
		}
		g->n++;
		g->since = MIN(g->since, task_created_at(tasks[i]));
	}
	qsort(groups, n_groups, sizeof(*groups), by_wait);
	*ret_n = n_groups;
	return groups;
}

static void assign(struct plan *p, const pb_task *task, const pb_node *node)
{
	pb_task *copy = plan_edit(p, task);

	plan_status(p, copy, TASK_ASSIGNED,
		    is_bound(task) ? "scheduler confirmed task can run on preassigned node"
				   : "scheduler assigned task to node",
		    NULL);
	pb_set_str(&copy->node_id, node->id);
	plan_put(p, copy);
}

static void refuse(struct plan *p, const pb_task *task, const char *why)
{
	const pb_task_status *status = task->status;
	pb_task *copy;

	if (strcmp(status->err, why) == 0)
		return;
	/* Numbers in the reason change with every task that comes or goes: that is not worth a
	 * write each. */
	if (*status->err && status->at <= p->now && p->now - status->at < SCHEDULER_REWRITE_NS) {
		wakes_set(p->wakes, WAKE_SCHEDULER, "", status->at + SCHEDULER_REWRITE_NS);
		return;
	}
	copy = plan_edit(p, task);
	plan_status(p, copy, TASK_PENDING, "pending task scheduling", why);
	plan_put(p, copy);
}

static void place_bound(struct plan *p, struct nodeset *set, const struct want *want,
			const struct group *g)
{
	for (size_t i = 0; i < g->n; i++) {
		struct nodeinfo *info = nodeset_find(set, g->tasks[i]->node_id);
		_cleanup_free_ char *why = NULL;

		if (!info)
			continue; /* the orchestrator removes it */
		if (!filter_refusing(want, info)) {
			nodeinfo_add(info, g->tasks[i]);
			assign(p, g->tasks[i], info->node);
			continue;
		}
		why = filter_explain(want, info, 1);
		refuse(p, g->tasks[i], why);
	}
}

static void place_free(struct plan *p, struct nodeset *set, const struct want *want,
		       const struct group *g)
{
	struct ranking *ranking = ranking_new(set, want);
	_cleanup_free_ char *why = NULL;

	for (size_t i = 0; i < g->n; i++) {
		struct nodeinfo *info = why ? NULL : ranking_take(ranking);

		if (info) {
			assign(p, g->tasks[i], info->node);
			continue;
		}
		if (!why)
			why = filter_explain(want, set->v, set->n);
		refuse(p, g->tasks[i], why);
	}
	ranking_free(ranking);
}

static void note_faults(struct plan *p)
{
	for (struct idset_entry *e = p->scope.entries; e; e = e->hh.next) {
		_cleanup_free_ const pb_task **tasks = NULL;
		size_t n;

		tasks = view_tasks_of_service(p->view, e->id, &n);
		for (size_t i = 0; i < n; i++)
			faults_note(p->faults, tasks[i], p->now);
	}
	faults_expire(p->faults, p->now);
}

/* Whether placing could end differently than in the last round. */
static bool worth_trying(const struct plan *p)
{
	return p->dirty->all || p->dirty->schedule || p->dirty->nodes.entries || !txn_empty(p->txn);
}

void scheduler_plan(struct plan *p)
{
	_cleanup_free_ const pb_task **tasks = NULL;
	_cleanup_free_ struct group *groups = NULL;
	struct nodeset set = {0};
	size_t n, n_groups;

	note_faults(p);
	if (!worth_trying(p))
		return;
	wakes_drop(p->wakes, WAKE_SCHEDULER, "");
	tasks = view_tasks_unassigned(p->view, &n);
	n = keep_pending(tasks, n);
	if (!n)
		return;
	groups = make_groups(tasks, n, &n_groups);
	nodeset_load(&set, p->view, NULL);
	for (size_t i = 0; i < n_groups; i++) {
		struct want want;

		want_init(&want, p->view, groups[i].tasks[0]);
		nodeset_focus(&set, p->view, groups[i].tasks[0], p->faults, p->now, NULL);
		if (is_bound(groups[i].tasks[0]))
			place_bound(p, &set, &want, &groups[i]);
		else
			place_free(p, &set, &want, &groups[i]);
		want_fini(&want);
	}
	nodeset_fini(&set);
}

void scheduler_explain(const struct view *view, const pb_task *task, int64_t now,
		       scheduler_verdict_cb cb, void *data)
{
	struct nodeset set = {0};
	struct want want;

	want_init(&want, view, task);
	nodeset_load(&set, view, task);
	nodeset_focus(&set, view, task, NULL, now, task);
	for (size_t i = 0; i < set.n; i++) {
		const struct filter *filter = filter_refusing(&want, &set.v[i]);
		_cleanup_strbuf_ struct strbuf reason = {0};

		if (filter)
			filter->reason(&want, &set.v[i], &reason);
		cb(data, set.v[i].node, !filter, filter ? filter->name : "",
		   filter ? reason.p : "");
	}
	nodeset_fini(&set);
	want_fini(&want);
}

static const pb_node *place_there(struct plan *p, const struct nodeset *set, const struct want *want, const char *node_id, char **ret_why)
{
	struct nodeinfo *info = nodeset_find(set, node_id);
	_cleanup_strbuf_ struct strbuf reason = {0};
	const struct filter *filter = info ? filter_refusing(want, info) : NULL;

	if (info && !filter)
		return info->node;
	if (!info) {
		*ret_why = xasprintf("node %s is not there", node_id);
		return NULL;
	}
	filter->reason(want, info, &reason);
	*ret_why = xasprintf("node %s: %s", pb_node_name(info->node), reason.p);
	return NULL;
}

const pb_node *scheduler_place(struct plan *p, const pb_task *task, const char *want_node, char **ret_why)
{
	struct nodeset set = {0};
	struct nodeinfo *info;
	struct ranking *ranking;
	const pb_node *node;
	struct want want;

	want_init(&want, p->view, task);
	nodeset_load(&set, p->view, NULL);
	nodeset_focus(&set, p->view, task, p->faults, p->now, NULL);
	if (*want_node) {
		node = place_there(p, &set, &want, want_node, ret_why);
	} else {
		ranking = ranking_new(&set, &want);
		info = ranking_take(ranking);
		node = info ? info->node : NULL;
		ranking_free(ranking);
		if (!node)
			*ret_why = filter_explain(&want, set.v, set.n);
	}
	nodeset_fini(&set);
	want_fini(&want);
	return node;
}
