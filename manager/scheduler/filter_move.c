#include "filter_move.h"

#include "common/mem.h"

#include <string.h>

static const char *feature(const pb_node *node, const char *key)
{
	const pb_node_description *d = node->description;
	const char *value = d ? pb_kv_get(d->features, d->n_features, key) : NULL;

	return value ? value : "";
}

/* ---- can checkpoint */

bool checkpoint_check(const struct want *want, const struct nodeinfo *info)
{
	return !want->task->spec || !want->task->spec->live_migrate || *feature(info->node, "checkpoint");
}

void checkpoint_reason(const struct want *want, const struct nodeinfo *info, struct strbuf *out)
{
	const char *why = feature(info->node, "checkpoint.error");

	strbuf_printf(out, "containers cannot be checkpointed there%s%s", *why ? ": " : "", why);
}

void checkpoint_summary(const struct want *want, const struct nodeinfo *const *infos, size_t n, struct strbuf *out)
{
	strbuf_printf(out, "containers cannot be checkpointed on %zu %s", n, n == 1 ? "node" : "nodes");
}

/* ---- goes on there */

static const char *arch_of(const pb_node *node)
{
	return node->description ? node->description->arch : "";
}

/* "3" of "3.17.1" */
static bool same_major(const char *a, const char *b)
{
	size_t n = strcspn(a, ".");

	return n == strcspn(b, ".") && strncmp(a, b, n) == 0;
}

bool move_check(const struct want *want, const struct nodeinfo *info)
{
	return !want->from || (!str_eq(want->from->id, info->node->id) && str_eq(arch_of(want->from), arch_of(info->node)) &&
			       same_major(feature(want->from, "criu"), feature(info->node, "criu")));
}

void move_reason(const struct want *want, const struct nodeinfo *info, struct strbuf *out)
{
	if (str_eq(want->from->id, info->node->id))
		strbuf_puts(out, "it runs there already");
	else if (!str_eq(arch_of(want->from), arch_of(info->node)))
		strbuf_printf(out, "other architecture (%s, the source has %s)", arch_of(info->node), arch_of(want->from));
	else
		strbuf_printf(out, "other version of criu (%s, the source has %s)", feature(info->node, "criu"),
			      feature(want->from, "criu"));
}

void move_summary(const struct want *want, const struct nodeinfo *const *infos, size_t n, struct strbuf *out)
{
	size_t alike = 0;

	for (size_t i = 0; i < n; i++)
		alike += !str_eq(want->from->id, infos[i]->node->id);
	if (alike)
		strbuf_printf(out, "other architecture or criu on %zu %s%s", alike, alike == 1 ? "node" : "nodes", alike < n ? ", " : "");
	if (alike < n)
		strbuf_puts(out, "1 node is where it runs");
}
