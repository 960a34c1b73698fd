#include "network_show.h"

#include "pb_json.h"
#include "text.h"

#include "common/mem.h"
#include "common/str.h"

#include <string.h>

const char *network_scope(const pb_network *network)
{
	static const char *const local[] = {"bridge", "host", "none"};

	for (unsigned i = 0; i < ARRAY_SIZE(local); i++)
		if (str_eq(network->spec->driver, local[i]))
			return "local";
	return "cluster";
}

char *network_subnets(const pb_network *network)
{
	bool given = network->n_pools > 0;
	size_t n = given ? network->n_pools : network->spec->n_pools;
	pb_ipam_pool *const *pools = given ? network->pools : network->spec->pools;
	struct strbuf out = {0};

	for (size_t i = 0; i < n; i++)
		strbuf_printf(&out, "%s%s", i ? ", " : "", pools[i]->subnet);
	return out.p ? strbuf_take(&out) : xstrdup("");
}

/* ---------------------------------------------------------------- inspect */

/* The network's own fields on top, as every inspect has it; what uses it beside them. */
json_t *network_json(const void *msg)
{
	const Skein__NetworkResponse *reply = msg;
	json_t *object = pb_json(&reply->network->base), *all = pb_json(&reply->base);

	json_object_set(object, "uses", json_object_get(all, "uses"));
	json_object_set(object, "free", json_object_get(all, "free"));
	json_decref(all);
	return object;
}

static void put(FILE *out, const char *name, const char *value)
{
	if (*value)
		fprintf(out, "%s:%*s%s\n", name, (int)MAX(20 - (int)strlen(name), 1), "", value);
}

static void put_pairs(FILE *out, const char *title, pb_kv *const *list, size_t n)
{
	if (n > 0)
		fprintf(out, "%s:\n", title);
	for (size_t i = 0; i < n; i++)
		fprintf(out, " %s%s%s\n", list[i]->key, *list[i]->value ? "=" : "", list[i]->value);
}

static void put_pools(FILE *out, const Skein__NetworkResponse *reply)
{
	const pb_network *network = reply->network;

	if (network->n_pools > 0)
		fputs("Subnets:\n", out);
	for (size_t i = 0; i < network->n_pools; i++) {
		const pb_ipam_pool *pool = network->pools[i];
		const char *left = pb_kv_get(reply->free, reply->n_free, pool->subnet);

		fprintf(out, " %s  gateway %s", pool->subnet,
			*pool->gateway ? pool->gateway : "none");
		if (*pool->ip_range)
			fprintf(out, "  range %s", pool->ip_range);
		fprintf(out, "%s%s%s\n", left ? "  " : "", left ?: "",
			left ? " addresses free" : "");
	}
}

static int compare_uses(const void *pa, const void *pb)
{
	const Skein__NetworkUse *a = *(Skein__NetworkUse *const *)pa,
				*b = *(Skein__NetworkUse *const *)pb;
	int r = strcmp(a->kind, b->kind);

	if (r == 0)
		r = strverscmp(a->name, b->name);
	return r ? r : strcmp(a->id, b->id);
}

static const char *ready_text(const Skein__NetworkUse *use)
{
	return !str_eq(use->kind, "task") ? "" : use->ready ? "yes" : "no";
}

static void put_uses(FILE *out, const Skein__NetworkResponse *reply)
{
	struct table t = {.columns = 7};
	_cleanup_free_ Skein__NetworkUse **uses = NULL;

	if (reply->n_uses == 0)
		return;
	uses = xcalloc(reply->n_uses, sizeof(*uses));
	memcpy(uses, reply->uses, reply->n_uses * sizeof(*uses));
	qsort(uses, reply->n_uses, sizeof(*uses), compare_uses);
	for (const char *const *head = (const char *const[]){" KIND", "NAME", "NODE", "IPV4",
							     "IPV6", "MAC", "READY", NULL};
	     *head; head++)
		table_cell(&t, *head);
	for (size_t i = 0; i < reply->n_uses; i++) {
		_cleanup_free_ char *kind = xasprintf(" %s", uses[i]->kind);

		table_cell(&t, kind);
		table_cell(&t, uses[i]->name);
		table_cell(&t, *uses[i]->node_name ? uses[i]->node_name : uses[i]->node_id);
		table_cell(&t, uses[i]->ipv4);
		table_cell(&t, uses[i]->ipv6);
		table_cell(&t, uses[i]->mac);
		table_cell(&t, ready_text(uses[i]));
	}
	fputs("Addresses in use:\n", out);
	table_print(&t, out);
	table_fini(&t);
}

void network_pretty(const void *msg, FILE *out)
{
	const Skein__NetworkResponse *reply = msg;
	const pb_network *network = reply->network;
	const pb_network_spec *spec = network->spec;
	char vni[16] = "";

	if (network->vni)
		snprintf(vni, sizeof(vni), "%u", network->vni);
	put(out, "ID", network->id);
	put(out, "Name", spec->name);
	put_pairs(out, "Labels", spec->labels, spec->n_labels);
	put(out, "Driver", spec->driver);
	put(out, "Scope", network_scope(network));
	put(out, "VNI", vni);
	put(out, "Error", network->err);
	put(out, "Internal", spec->internal ? "yes" : "no");
	put(out, "Attachable", spec->attachable ? "yes" : "no");
	put(out, "IPv6", spec->ipv6 ? "yes" : "no");
	put(out, "Ingress", spec->ingress ? "yes" : "");
	put_pairs(out, "Options", spec->options, spec->n_options);
	put_pools(out, reply);
	put_uses(out, reply);
}

/* ---------------------------------------------------------------- check */

void network_findings_add(struct network_findings *f, const Skein__CheckNetworksResponse *node)
{
	f->nodes++;
	f->unreachable += *node->error != '\0';
	f->checked += node->checked;
	f->differences += node->n_differences;
	for (size_t i = 0; i < node->n_differences; i++)
		f->repaired += node->differences[i]->repaired;
}

static void put_difference(struct table *t, const char *node, const Skein__NetworkDifference *d)
{
	table_cell(t, node);
	table_cell(t, *d->network ? d->network : "(host)");
	table_cell(t, d->what);
	table_cell(t, *d->wanted ? d->wanted : "(nothing)");
	table_cell(t, *d->found ? d->found : "(missing)");
	table_cell(t, d->repaired ? "yes" : "no");
}

void network_check_table(Skein__CheckNetworksResponse *const *nodes, size_t n, FILE *out)
{
	struct table t = {.columns = 6};

	for (const char *const *head = (const char *const[]){"NODE", "NETWORK", "WHAT", "WANTED",
							     "FOUND", "REPAIRED", NULL};
	     *head; head++)
		table_cell(&t, *head);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < nodes[i]->n_differences; k++)
			put_difference(&t,
				       *nodes[i]->node_name ? nodes[i]->node_name
							    : nodes[i]->node_id,
				       nodes[i]->differences[k]);
	if (t.cells.n > t.columns)
		table_print(&t, out);
	table_fini(&t);
}

char *network_check_summary(const struct network_findings *f)
{
	struct strbuf out = {0};

	strbuf_printf(&out, "%zu node%s, %zu entries checked: ", f->nodes, f->nodes == 1 ? "" : "s",
		      f->checked);
	if (f->differences == 0)
		strbuf_puts(&out, "no difference");
	else
		strbuf_printf(&out, "%zu difference%s, %zu repaired", f->differences,
			      f->differences == 1 ? "" : "s", f->repaired);
	if (f->unreachable > 0)
		strbuf_printf(&out, "; %zu node%s could not be asked", f->unreachable,
			      f->unreachable == 1 ? "" : "s");
	return strbuf_take(&out);
}
