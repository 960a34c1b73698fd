#include "node_index.h"

#include "manager/store/plan.h"

#include "common/mem.h"

/* Which are in use; read when the first node needs one. */
struct numbers {
	uint8_t *used;
	uint32_t highest;
};

static void read_numbers(struct numbers *numbers, const struct view *view)
{
	_cleanup_free_ const void **nodes = NULL;
	size_t n;

	numbers->used = xcalloc(NODE_INDEX_MAX + 1, 1);
	nodes = view_list(view, KIND_NODE, &n);
	for (size_t i = 0; i < n; i++) {
		uint32_t index = ((const pb_node *)nodes[i])->index;

		if (!index || index > NODE_INDEX_MAX)
			continue;
		numbers->used[index] = true;
		numbers->highest = MAX(numbers->highest, index);
	}
}

static uint32_t take(struct numbers *numbers)
{
	uint32_t index = numbers->highest + 1;

	if (index > NODE_INDEX_MAX)
		for (index = 1; index <= NODE_INDEX_MAX && numbers->used[index];)
			index++;
	if (index > NODE_INDEX_MAX)
		return 0;
	numbers->used[index] = true;
	numbers->highest = MAX(numbers->highest, index);
	return index;
}

static void give(struct plan *p, struct numbers *numbers, const pb_node *node)
{
	uint32_t index;
	pb_node *copy;

	if (!node || node->index)
		return;
	if (!numbers->used)
		read_numbers(numbers, p->view);
	index = take(numbers);
	if (!index)
		return;
	copy = txn_edit(p->txn, KIND_NODE, node->id);
	copy->index = index;
	txn_put(p->txn, KIND_NODE, copy);
}

void node_index_plan(struct plan *p)
{
	struct numbers numbers = {0};
	_cleanup_free_ const void **nodes = NULL;
	size_t n = 0;

	if (p->dirty->all)
		nodes = view_list(p->view, KIND_NODE, &n);
	for (size_t i = 0; i < n; i++)
		give(p, &numbers, nodes[i]);
	for (struct idset_entry *e = p->dirty->nodes.entries; e && !p->dirty->all; e = e->hh.next)
		give(p, &numbers, view_node(p->view, e->id));
	free(numbers.used);
}
