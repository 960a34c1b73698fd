#include "filter.h"

#include "filter_move.h"
#include "filter_net.h"

#include "manager/store/plan.h"

#include "common/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* How many nodes' numbers a summary shows. */
#define SHOWN_MAX 3

void want_init(struct want *want, const struct view *view, const pb_task *task)
{
	const pb_placement *placement = task->spec ? task->spec->placement : NULL;
	const pb_task *source;

	*want = (struct want){.task = task, .reserved = task_reservations(task)};
	want_net_init(want, view);
	source = *task->migrated_from && !*task->node_id ? view_task(view, task->migrated_from) : NULL;
	want->from = source ? view_node(view, source->node_id) : NULL;
	if (!placement)
		return;
	want->max_per_node = placement->max_replicas_per_node;
	want->constraint_texts = (const char *const *)placement->constraints;
	want->n_constraints = placement->n_constraints;
	want->constraints = xcalloc(want->n_constraints, sizeof(*want->constraints));
	for (size_t i = 0; i < want->n_constraints; i++)
		if (constraint_parse(placement->constraints[i], &want->constraints[i], NULL) < 0)
			want->impossible = true;
}

void want_fini(struct want *want)
{
	free(want->constraints);
	want->constraints = NULL;
	want_net_fini(want);
}

static const char *plural(size_t n)
{
	return n == 1 ? "node" : "nodes";
}

/* ---- ready */

static bool ready_check(const struct want *want, const struct nodeinfo *info)
{
	return node_state(info->node) == NODE_READY &&
	       node_availability(info->node) == AVAILABILITY_ACTIVE;
}

/* The short word for why a node takes no tasks. */
static const char *unready_word(const pb_node *node)
{
	switch (node_state(node)) {
	case NODE_DOWN:
		return "down";
	case NODE_DISCONNECTED:
		return "disconnected";
	case NODE_READY:
		return node_availability(node) == AVAILABILITY_DRAIN ? "drained" : "paused";
	default:
		return "in unknown state";
	}
}

static void ready_reason(const struct want *want, const struct nodeinfo *info, struct strbuf *out)
{
	strbuf_printf(out, "node is %s", unready_word(info->node));
}

static void ready_summary(const struct want *want, const struct nodeinfo *const *infos, size_t n,
			  struct strbuf *out)
{
	static const char *const words[] = {"down", "disconnected", "in unknown state", "drained",
					    "paused"};
	bool first = true;

	strbuf_printf(out, "%zu %s not available for new tasks (", n, plural(n));
	for (size_t w = 0; w < ARRAY_SIZE(words); w++) {
		size_t count = 0;

		for (size_t i = 0; i < n; i++)
			count += str_eq(unready_word(infos[i]->node), words[w]);
		if (!count)
			continue;
		strbuf_printf(out, "%s%zu %s", first ? "" : ", ", count, words[w]);
		first = false;
	}
	strbuf_putc(out, ')');
}

/* ---- resources */

enum resource { MEMORY, CPU, PIDS };

static int64_t asked(enum resource r, const struct want *want)
{
	const pb_resources *reserved = want->reserved;

	return r == MEMORY ? reserved->mem_bytes : r == CPU ? reserved->cpu_nano : reserved->pids;
}

static int64_t unused(enum resource r, const struct nodeinfo *info)
{
	int64_t left = r == MEMORY ? info->mem_bytes - info->mem_reserved
		       : r == CPU  ? info->cpu_nano - info->cpu_reserved
				   : info->pids - info->pids_reserved;

	return MAX(left, 0);
}

static bool has_room(enum resource r, const struct want *want, const struct nodeinfo *info)
{
	/* Nothing asked fits everywhere, on an overbooked node as well. A node without a limit of
	 * pids takes all. */
	return asked(r, want) <= 0 || (r == PIDS && info->pids <= 0) ||
	       asked(r, want) <= unused(r, info);
}

static void put_amount(enum resource r, int64_t amount, struct strbuf *out)
{
	char buf[STR_HUMAN_MAX];

	if (r == MEMORY) {
		strbuf_puts(out, str_bytes_human(amount, buf));
		return;
	}
	if (r == PIDS) {
		strbuf_printf(out, "%" PRId64, amount);
		return;
	}
	snprintf(buf, sizeof(buf), "%.3f", (double)(amount / 1000000) / 1000);
	while (str_ends(buf, "0"))
		buf[strlen(buf) - 1] = '\0';
	if (str_ends(buf, "."))
		buf[strlen(buf) - 1] = '\0';
	strbuf_puts(out, buf);
}

static const char *resource_name(enum resource r)
{
	return r == MEMORY ? "memory" : r == CPU ? "CPU" : "pids";
}

static void room_reason(enum resource r, const struct want *want, const struct nodeinfo *info,
			struct strbuf *out)
{
	strbuf_printf(out, "insufficient %s (asked ", resource_name(r));
	put_amount(r, asked(r, want), out);
	strbuf_puts(out, ", free ");
	put_amount(r, unused(r, info), out);
	strbuf_putc(out, ')');
}

/* The largest amounts first; at most SHOWN_MAX. Returns how many. */
static size_t most_room(enum resource r, const struct nodeinfo *const *infos, size_t n,
			int64_t *top)
{
	size_t shown = 0;

	for (size_t i = 0; i < n; i++) {
		int64_t amount = unused(r, infos[i]);

		for (size_t k = 0; k < SHOWN_MAX; k++) {
			int64_t lower = k < shown ? top[k] : -1;

			if (amount <= lower)
				continue;
			top[k] = amount;
			amount = lower;
			if (k == shown) {
				shown++;
				break;
			}
		}
	}
	return shown;
}

static void room_summary(enum resource r, const struct want *want,
			 const struct nodeinfo *const *infos, size_t n, struct strbuf *out)
{
	int64_t top[SHOWN_MAX];
	size_t shown = most_room(r, infos, n, top);

	strbuf_printf(out, "insufficient %s on %zu %s (asked ", resource_name(r), n, plural(n));
	put_amount(r, asked(r, want), out);
	strbuf_puts(out, ", free");
	for (size_t i = 0; i < shown; i++) {
		strbuf_puts(out, i ? ", " : " ");
		put_amount(r, top[i], out);
	}
	strbuf_puts(out, n > shown ? ", ...)" : ")");
}

#define DEFINE_RESOURCE(noun, which)                                                               \
	static bool noun##_check(const struct want *want, const struct nodeinfo *info)             \
	{                                                                                          \
		return has_room(which, want, info);                                                \
	}                                                                                          \
	static void noun##_reason(const struct want *want, const struct nodeinfo *info,            \
				  struct strbuf *out)                                              \
	{                                                                                          \
		room_reason(which, want, info, out);                                               \
	}                                                                                          \
	static void noun##_summary(const struct want *want, const struct nodeinfo *const *infos,   \
				   size_t n, struct strbuf *out)                                   \
	{                                                                                          \
		room_summary(which, want, infos, n, out);                                          \
	}

DEFINE_RESOURCE(memory, MEMORY)
DEFINE_RESOURCE(cpu, CPU)
DEFINE_RESOURCE(pids, PIDS)

/* ---- constraints */

static const struct constraint *first_mismatch(const struct want *want, const struct nodeinfo *info)
{
	for (size_t i = 0; i < want->n_constraints; i++)
		if (!constraint_matches(&want->constraints[i], info->node))
			return &want->constraints[i];
	return NULL;
}

static bool constraint_check(const struct want *want, const struct nodeinfo *info)
{
	return !want->impossible && !first_mismatch(want, info);
}

static void constraint_reason(const struct want *want, const struct nodeinfo *info,
			      struct strbuf *out)
{
	const struct constraint *c = want->impossible ? NULL : first_mismatch(want, info);
	const char *have, *name;

	if (!c) {
		strbuf_puts(out, "a constraint of the service cannot be read");
		return;
	}
	have = constraint_value(info->node, c->key, c->key_len);
	/* "rack" of "node.labels.rack". */
	name = memrchr(c->key, '.', c->key_len);
	name = name ? name + 1 : c->key;
	strbuf_printf(out, "constraint %s not satisfied (node has ",
		      want->constraint_texts[c - want->constraints]);
	if (str_empty(have))
		strbuf_printf(out, "no %.*s)", (int)(c->key + c->key_len - name), name);
	else
		strbuf_printf(out, "%.*s=%s)", (int)(c->key + c->key_len - name), name, have);
}

static void constraint_summary(const struct want *want, const struct nodeinfo *const *infos,
			       size_t n, struct strbuf *out)
{
	strbuf_printf(out, "scheduling constraints not satisfied on %zu %s", n, plural(n));
}

/* ---- replicas per node */

static bool replicas_check(const struct want *want, const struct nodeinfo *info)
{
	return !want->max_per_node || info->service_tasks < want->max_per_node;
}

static void replicas_reason(const struct want *want, const struct nodeinfo *info,
			    struct strbuf *out)
{
	strbuf_printf(out,
		      "max replicas per node limit reached (limit %" PRIu64 ", node has %" PRIu64
		      ")",
		      want->max_per_node, info->service_tasks);
}

static void replicas_summary(const struct want *want, const struct nodeinfo *const *infos, size_t n,
			     struct strbuf *out)
{
	/* Swarm's words, for those who search for them. */
	strbuf_printf(out, "max replicas per node limit exceed on %zu %s (limit %" PRIu64 ")", n,
		      plural(n), want->max_per_node);
}

/* ---- the table */

static const struct filter filters[] = {
	{"ready", ready_check, ready_reason, ready_summary, "not available for new tasks"},
	{"memory", memory_check, memory_reason, memory_summary, "insufficient memory"},
	{"cpu", cpu_check, cpu_reason, cpu_summary, "insufficient CPU"},
	{"pids", pids_check, pids_reason, pids_summary, "insufficient pids"},
	{"network-driver", driver_check, driver_reason, driver_summary, "not supported by the kernel"},
	{"constraint", constraint_check, constraint_reason, constraint_summary, "scheduling constraints not satisfied"},
	{"checkpoint", checkpoint_check, checkpoint_reason, checkpoint_summary, "cannot be checkpointed"},
	{"move", move_check, move_reason, move_summary, "is where it runs"},
	{"host-port", host_port_check, host_port_reason, host_port_summary, "host-mode port already in use"},
	{"max-replicas", replicas_check, replicas_reason, replicas_summary, "max replicas per node"},
};

const struct filter *filter_refusing(const struct want *want, const struct nodeinfo *info)
{
	for (size_t i = 0; i < ARRAY_SIZE(filters); i++)
		if (!filters[i].check(want, info))
			return &filters[i];
	return NULL;
}

const char *filter_of_summary(const char *text)
{
	const char *found = NULL, *name = NULL;

	for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
		const char *at = strstr(text, filters[i].mark);

		if (!at || (found && at >= found))
			continue;
		found = at;
		name = filters[i].name;
	}
	return name;
}

struct refusal {
	const struct filter *filter;
	const struct nodeinfo **infos;
	size_t n;
};

static int by_count(const void *a, const void *b)
{
	const struct refusal *x = a, *y = b;

	if (x->n != y->n)
		return x->n > y->n ? -1 : 1;
	return x->filter < y->filter ? -1 : 1;
}

char *filter_explain(const struct want *want, const struct nodeinfo *infos, size_t n)
{
	struct refusal refusals[ARRAY_SIZE(filters)] = {0};
	_cleanup_strbuf_ struct strbuf out = {0};
	bool first = true;

	for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
		refusals[i].filter = &filters[i];
		refusals[i].infos = xcalloc(n, sizeof(*refusals[i].infos));
	}
	for (size_t i = 0; i < n; i++) {
		const struct filter *filter = filter_refusing(want, &infos[i]);
		struct refusal *r = filter ? &refusals[filter - filters] : NULL;

		if (r)
			r->infos[r->n++] = &infos[i];
	}
	qsort(refusals, ARRAY_SIZE(refusals), sizeof(refusals[0]), by_count);
	strbuf_puts(&out, "no suitable node");
	for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
		if (refusals[i].n) {
			strbuf_puts(&out, first ? " (" : "; ");
			refusals[i].filter->summary(want, refusals[i].infos, refusals[i].n, &out);
			first = false;
		}
		free(refusals[i].infos);
	}
	if (!first)
		strbuf_putc(&out, ')');
	return strbuf_take(&out);
}
