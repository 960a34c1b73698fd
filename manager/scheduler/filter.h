/*
 * filter - may a task run on a node? One table, in Swarm's order, used both to place tasks and to
 * explain.
 */
#pragma once
#include "constraint.h"
#include "nodeset.h"

#include "common/str.h"

struct need;

/* What a task asks for, read once for all nodes. Borrows from the task. */
struct want {
	const pb_task *task;
	const pb_resources *reserved;
	struct constraint *constraints;
	const char *const *constraint_texts;
	size_t n_constraints;
	bool impossible;       /* a constraint cannot be read: fits nowhere */
	uint64_t max_per_node; /* 0 = no limit */
	const struct need **needs; /* of its networks: filter_net.c */
	size_t n_needs;
	const pb_node *from; /* it goes on there with a container of this node; NULL = it begins anew */
};

void want_init(struct want *want, const struct view *view, const pb_task *task);
void want_fini(struct want *want);

struct filter {
	const char *name;
	bool (*check)(const struct want *want, const struct nodeinfo *info);
	/* Why not, for one node that did not pass: "insufficient memory (asked 4GiB, free 1.2GiB)".
	 */
	void (*reason)(const struct want *want, const struct nodeinfo *info, struct strbuf *out);
	/* The same for all that did not: "insufficient memory on 2 nodes (asked 4GiB, free 1.2GiB,
	 * 800MiB)". */
	void (*summary)(const struct want *want, const struct nodeinfo *const *infos, size_t n,
			struct strbuf *out);
	const char *mark; /* words that stand in its summary, and in no other's */
};

/* The first filter that refuses; NULL = the node fits. */
const struct filter *filter_refusing(const struct want *want, const struct nodeinfo *info);

/*
 * "no suitable node (<summary>; <summary>)": the filter that refused most nodes first.
 * infos: the nodes that were tried. Heap, yours.
 */
char *filter_explain(const struct want *want, const struct nodeinfo *infos, size_t n);

/* The name of the filter that refused most nodes, from what filter_explain() said; NULL = none of them is in the text. */
const char *filter_of_summary(const char *text);
