#include "ranking.h"

#include "common/mem.h"

#include <stdlib.h>
#include <string.h>

/* Either an inner branch with children, or a leaf with a heap of nodes. */
struct branch {
	const char *value;
	uint64_t tasks; /* of the service, on all nodes of the branch */
	struct branch *children;
	size_t n_children;
	struct nodeinfo **heap; /* those that fit, best first */
	size_t n_heap;
};

struct ranking {
	const struct want *want;
	struct branch root;
};

static int compare(const struct nodeinfo *a, const struct nodeinfo *b)
{
	if (a->faults != b->faults)
		return a->faults < b->faults ? -1 : 1;
	if (a->service_tasks != b->service_tasks)
		return a->service_tasks < b->service_tasks ? -1 : 1;
	if (a->tasks != b->tasks)
		return a->tasks < b->tasks ? -1 : 1;
	if (a->has_image != b->has_image)
		return a->has_image ? -1 : 1;
	return strcmp(a->node->id, b->node->id);
}

/* ---- leaves */

static void sift_down(struct branch *leaf, size_t i)
{
	for (;;) {
		size_t best = i, left = 2 * i + 1;

		for (size_t k = left; k < left + 2 && k < leaf->n_heap; k++)
			if (compare(leaf->heap[k], leaf->heap[best]) < 0)
				best = k;
		if (best == i)
			return;
		struct nodeinfo *swap = leaf->heap[i];

		leaf->heap[i] = leaf->heap[best];
		leaf->heap[best] = swap;
		i = best;
	}
}

static void leaf_build(struct ranking *r, struct branch *leaf, struct nodeinfo **infos, size_t n)
{
	leaf->heap = xcalloc(n, sizeof(*leaf->heap));
	for (size_t i = 0; i < n; i++)
		if (!filter_refusing(r->want, infos[i]))
			leaf->heap[leaf->n_heap++] = infos[i];
	for (size_t i = leaf->n_heap / 2; i-- > 0;)
		sift_down(leaf, i);
}

static struct nodeinfo *leaf_take(struct ranking *r, struct branch *leaf)
{
	struct nodeinfo *best = leaf->heap[0];

	nodeinfo_add(best, r->want->task);
	if (filter_refusing(r->want, best))
		leaf->heap[0] = leaf->heap[--leaf->n_heap];
	sift_down(leaf, 0);
	return best;
}

/* ---- the tree */

static const char *spread_value(const struct nodeinfo *info, const char *key)
{
	const char *value = constraint_value(info->node, key, strlen(key));

	return value ? value : "";
}

static int by_value(const void *a, const void *b, void *key)
{
	const struct nodeinfo *x = *(struct nodeinfo *const *)a, *y = *(struct nodeinfo *const *)b;
	int order = strcmp(spread_value(x, key), spread_value(y, key));

	return order ? order : strcmp(x->node->id, y->node->id);
}

static void branch_build(struct ranking *r, struct branch *branch, struct nodeinfo **infos,
			 size_t n, size_t level)
{
	const pb_placement *placement = r->want->task->spec ? r->want->task->spec->placement : NULL;
	char *key;

	for (size_t i = 0; i < n; i++)
		branch->tasks += infos[i]->service_tasks;
	if (!placement || level >= placement->n_spread || level >= RANKING_SPREAD_MAX) {
		leaf_build(r, branch, infos, n);
		return;
	}
	key = placement->spread[level];
	qsort_r(infos, n, sizeof(*infos), by_value, key);
	branch->children = xcalloc(n, sizeof(*branch->children));
	for (size_t from = 0, to; from < n; from = to) {
		struct branch *child = &branch->children[branch->n_children++];

		child->value = spread_value(infos[from], key);
		for (to = from + 1;
		     to < n && strcmp(spread_value(infos[to], key), child->value) == 0;)
			to++;
		branch_build(r, child, infos + from, to - from, level + 1);
	}
}

static struct branch *best_child(const struct branch *branch);

/* What the branch would give next; NULL = it is full. */
static struct nodeinfo *peek(const struct branch *branch)
{
	while (branch && branch->n_children)
		branch = best_child(branch);
	return branch && branch->n_heap ? branch->heap[0] : NULL;
}

/* The child with the fewest tasks that has room; of equals the one with the better node. */
static struct branch *best_child(const struct branch *branch)
{
	struct branch *best = NULL;
	struct nodeinfo *best_node = NULL;

	for (size_t i = 0; i < branch->n_children; i++) {
		struct branch *child = &branch->children[i];
		struct nodeinfo *node;

		if (best && child->tasks > best->tasks)
			continue;
		node = peek(child);
		if (!node)
			continue;
		if (!best || child->tasks < best->tasks || compare(node, best_node) < 0) {
			best = child;
			best_node = node;
		}
	}
	return best;
}

struct ranking *ranking_new(struct nodeset *set, const struct want *want)
{
	_cleanup_free_ struct nodeinfo **infos = xcalloc(set->n, sizeof(*infos));
	struct ranking *r = xnew(struct ranking);

	for (size_t i = 0; i < set->n; i++)
		infos[i] = &set->v[i];
	r->want = want;
	branch_build(r, &r->root, infos, set->n, 0);
	return r;
}

static void branch_fini(struct branch *branch)
{
	for (size_t i = 0; i < branch->n_children; i++)
		branch_fini(&branch->children[i]);
	free(branch->children);
	free(branch->heap);
}

void ranking_free(struct ranking *r)
{
	if (!r)
		return;
	branch_fini(&r->root);
	free(r);
}

struct nodeinfo *ranking_take(struct ranking *r)
{
	struct branch *branch = &r->root;

	if (!peek(branch))
		return NULL;
	for (;;) {
		branch->tasks++;
		if (!branch->n_children)
			return leaf_take(r, branch);
		branch = best_child(branch);
	}
}
