#include "rebalance.h"

#include "constraint.h"
#include "filter.h"
#include "nodeset.h"
#include "ranking.h"

#include "common/mem.h"
#include "common/str.h"
#include "manager/store/plan.h"

#include <string.h>

/* A task that may move, and where it is by now. */
struct piece {
	const pb_task *task;
	size_t at; /* of the nodes */
	bool moved;
};

struct board {
	struct nodeset set;
	struct want want;
	struct piece *pieces;
	size_t n_pieces;
	size_t n_levels;  /* preferences, then the node itself */
	size_t *branches; /* of node i and level l: the first node of the branch that it is in */
	uint64_t *counts; /* of branch i of level l: tasks of the service */
};

static const char *value_of(const struct board *b, size_t node, const char *key)
{
	const char *value = constraint_value(b->set.v[node].node, key, strlen(key));

	return value ?: "";
}

/* Nodes are in one branch when they agree on this preference and on all before it. */
static size_t branch_find(const struct board *b, const pb_placement *placement, size_t node, size_t level)
{
	if (level + 1 == b->n_levels)
		return node;
	for (size_t i = 0; i < node; i++) {
		bool beside = level == 0 || b->branches[i * b->n_levels + level - 1] ==
						    b->branches[node * b->n_levels + level - 1];

		if (beside && str_eq(value_of(b, i, placement->spread[level]), value_of(b, node, placement->spread[level])))
			return b->branches[i * b->n_levels + level];
	}
	return node;
}

static void branches_init(struct board *b, const pb_placement *placement)
{
	b->n_levels = 1 + (placement ? MIN(placement->n_spread, (size_t)RANKING_SPREAD_MAX) : 0);
	b->branches = xcalloc(b->set.n * b->n_levels + 1, sizeof(*b->branches));
	b->counts = xcalloc(b->set.n * b->n_levels + 1, sizeof(*b->counts));
	for (size_t level = 0; level < b->n_levels; level++)
		for (size_t i = 0; i < b->set.n; i++)
			b->branches[i * b->n_levels + level] = branch_find(b, placement, i, level);
}

static uint64_t *count_at(const struct board *b, size_t node, size_t level)
{
	return &b->counts[b->branches[node * b->n_levels + level] * b->n_levels + level];
}

/* `by` tasks more (or less) on a node. */
static void count(struct board *b, size_t node, int by)
{
	b->set.v[node].service_tasks += (uint64_t)by;
	for (size_t level = 0; level < b->n_levels; level++)
		*count_at(b, node, level) += (uint64_t)by;
}

/* The first level on which two nodes are in different branches. */
static size_t parting(const struct board *b, size_t x, size_t y)
{
	const size_t *bx = &b->branches[x * b->n_levels], *by = &b->branches[y * b->n_levels];
	size_t level = 0;

	while (level + 1 < b->n_levels && bx[level] == by[level])
		level++;
	return level;
}

/* ---- what there is */

/* A slot that is being moved counts once: at its target when that is known. */
static const char *counted_at(const struct view *view, const pb_task *task)
{
	const pb_migration *m = view_migration_from(view, task->id);

	if (view_migration_to(view, task->id))
		return "";
	return !m || str_empty(m->target_node) || (m->options && m->options->dry_run) ? task->node_id : m->target_node;
}

static bool may_move(const struct board *b, const struct view *view, const pb_task *task)
{
	/* Of another version: an update replaces it anyway. */
	return task_state(task) == TASK_RUNNING && task->spec && task->spec->live_migrate &&
	       task->spec_version == b->want.task->spec_version && !view_migration_from(view, task->id);
}

static void add_task(struct board *b, const struct view *view, const pb_task *task)
{
	struct nodeinfo *info;

	if (!task_live(task) || !task_on_node(task))
		return;
	info = nodeset_find(&b->set, counted_at(view, task));
	if (!info)
		return;
	count(b, (size_t)(info - b->set.v), 1);
	if (may_move(b, view, task) && node_state(info->node) == NODE_READY)
		b->pieces[b->n_pieces++] = (struct piece){.task = task, .at = (size_t)(info - b->set.v)};
}

static void board_fini(struct board *b)
{
	nodeset_fini(&b->set);
	want_fini(&b->want);
	free(b->pieces);
	free(b->branches);
	free(b->counts);
}

static void board_init(struct board *b, const struct view *view, const pb_task *sample, const pb_task *const *tasks,
		       size_t n, int64_t now)
{
	want_init(&b->want, view, sample);
	nodeset_load(&b->set, view, NULL);
	nodeset_focus(&b->set, view, sample, NULL, now, NULL);
	for (size_t i = 0; i < b->set.n; i++)
		b->set.v[i].service_tasks = 0;
	branches_init(b, sample->spec ? sample->spec->placement : NULL);
	b->pieces = xcalloc(n, sizeof(*b->pieces));
	for (size_t i = 0; i < n; i++)
		add_task(b, view, tasks[i]);
}

/* ---- moves */

struct choice {
	struct piece *piece;
	size_t to, level; /* the level on which it makes a difference */
};

/* How many more tasks there are where the piece is. */
static int64_t gain_at(const struct board *b, const struct choice *c, size_t level)
{
	return (int64_t)*count_at(b, c->piece->at, level) - (int64_t)*count_at(b, c->to, level);
}

/* Outer branches first; then the greatest difference, there and on the levels inside; then the node with less to do. */
static bool is_better(const struct board *b, const struct choice *x, const struct choice *y)
{
	if (!y->piece || x->level != y->level)
		return !y->piece || x->level < y->level;
	for (size_t level = x->level; level < b->n_levels; level++)
		if (gain_at(b, x, level) != gain_at(b, y, level))
			return gain_at(b, x, level) > gain_at(b, y, level);
	return b->set.v[x->to].tasks < b->set.v[y->to].tasks;
}

static bool may_go(const struct board *b, const struct choice *c)
{
	struct want want = b->want;

	want.from = b->set.v[c->piece->at].node;
	return !filter_refusing(&want, &b->set.v[c->to]);
}

static void try_node(const struct board *b, struct piece *piece, size_t to, struct choice *best)
{
	struct choice c = {.piece = piece, .to = to, .level = parting(b, piece->at, to)};

	if (gain_at(b, &c, c.level) < 2)
		return;
	if (is_better(b, &c, best) && may_go(b, &c))
		*best = c;
}

static struct choice choose(const struct board *b)
{
	struct choice best = {0};
	const struct piece *last = NULL;

	/* Pieces of one node are alike: the first that has not moved stands for all. */
	for (size_t i = 0; i < b->n_pieces; i++) {
		struct piece *piece = &b->pieces[i];

		if (piece->moved || (last && last->at == piece->at))
			continue;
		last = piece;
		for (size_t to = 0; to < b->set.n; to++)
			if (to != piece->at)
				try_node(b, piece, to, &best);
	}
	return best;
}

static int by_node(const void *a, const void *b)
{
	const struct piece *x = a, *y = b;

	if (x->at != y->at)
		return x->at < y->at ? -1 : 1;
	/* The youngest first: it has the least to lose. */
	if (task_created_at(x->task) != task_created_at(y->task))
		return task_created_at(x->task) > task_created_at(y->task) ? -1 : 1;
	return strcmp(x->task->id, y->task->id);
}

/* A task as the service wants it now. */
static const pb_task *sample_of(const pb_service *service, const pb_task *const *tasks, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (task_live(tasks[i]) && tasks[i]->spec_version == service->spec_version)
			return tasks[i];
	return NULL;
}

size_t rebalance_plan(const struct view *view, const pb_service *service, int64_t now,
		      struct rebalance_move ret_moves[static REBALANCE_MOVES_MAX])
{
	_cleanup_free_ const pb_task **tasks = NULL;
	const pb_task *sample;
	size_t n, n_moves = 0;
	struct board b = {0};

	tasks = view_tasks_of_service(view, service->id, &n);
	sample = sample_of(service, (const pb_task *const *)tasks, n);
	if (!sample || service_is_global(service))
		return 0;
	board_init(&b, view, sample, (const pb_task *const *)tasks, n, now);
	qsort(b.pieces, b.n_pieces, sizeof(*b.pieces), by_node);
	while (n_moves < REBALANCE_MOVES_MAX) {
		struct choice c = choose(&b);

		if (!c.piece)
			break;
		count(&b, c.piece->at, -1);
		count(&b, c.to, 1);
		/* What it leaves is not free before it has moved: nothing is taken off there. */
		nodeinfo_add(&b.set.v[c.to], c.piece->task);
		b.set.v[c.to].service_tasks--;
		c.piece->moved = true;
		ret_moves[n_moves++] = (struct rebalance_move){c.piece->task, b.set.v[c.to].node};
	}
	board_fini(&b);
	return n_moves;
}
