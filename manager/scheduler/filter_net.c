#include "filter_net.h"

#include "common/mem.h"

/* A feature that a node's description has to have as "true". */
struct need {
	const char *driver; /* NULL = any that is encrypted */
	const char *feature;
};

static const struct need needs[] = {
	{"overlay", "network.vxlan"},	 {"macvlan", "network.macvlan"}, {"ipvlan", "network.ipvlan"},
	{"vlan", "network.vlan"},	 {"vlan", "network.macvlan"}, /* each task has one on the VLAN's link */
	{NULL, "network.esp"},
};

static bool needs_it(const pb_network *network, const struct need *need)
{
	const pb_network_spec *spec = network->spec;

	if (!need->driver)
		return pb_kv_get(spec->options, spec->n_options, "encrypted");
	return str_eq(spec->driver, need->driver);
}

static void add(struct want *want, const struct need *need)
{
	for (size_t i = 0; i < want->n_needs; i++)
		if (want->needs[i] == need)
			return;
	want->needs = xreallocarray(want->needs, want->n_needs + 1, sizeof(void *));
	want->needs[want->n_needs++] = need;
}

void want_net_init(struct want *want, const struct view *view)
{
	const pb_task_spec *spec = want->task->spec;

	for (size_t i = 0; spec && i < spec->n_networks; i++) {
		const pb_network *network = view_network(view, spec->networks[i]->network_id);

		for (size_t k = 0; network && network->spec && k < ARRAY_SIZE(needs); k++)
			if (needs_it(network, &needs[k]))
				add(want, &needs[k]);
	}
}

void want_net_fini(struct want *want)
{
	free(want->needs);
	want->needs = NULL;
	want->n_needs = 0;
}

/* ---- drivers */

static const struct need *first_missing(const struct want *want, const struct nodeinfo *info)
{
	const pb_node_description *d = info->node->description;

	for (size_t i = 0; i < want->n_needs; i++)
		if (!d || !str_eq(pb_kv_get(d->features, d->n_features, want->needs[i]->feature), "true"))
			return want->needs[i];
	return NULL;
}

bool driver_check(const struct want *want, const struct nodeinfo *info)
{
	return !first_missing(want, info);
}

void driver_reason(const struct want *want, const struct nodeinfo *info, struct strbuf *out)
{
	const struct need *need = first_missing(want, info);

	if (need->driver)
		strbuf_printf(out, "network driver %s not supported by the kernel", need->driver);
	else
		strbuf_puts(out, "encrypted networks not supported by the kernel");
}

void driver_summary(const struct want *want, const struct nodeinfo *const *infos, size_t n, struct strbuf *out)
{
	/* Nodes of a cluster rarely lack different things: one reason stands for all. */
	driver_reason(want, infos[0], out);
	strbuf_printf(out, " on %zu %s", n, n == 1 ? "node" : "nodes");
}

/* ---- host-mode ports */

bool host_port_check(const struct want *want, const struct nodeinfo *info)
{
	return !info->taken_port;
}

void host_port_reason(const struct want *want, const struct nodeinfo *info, struct strbuf *out)
{
	strbuf_printf(out, "host-mode port already in use (%u/%s)", info->taken_port->published,
		      info->taken_port->protocol);
}

void host_port_summary(const struct want *want, const struct nodeinfo *const *infos, size_t n, struct strbuf *out)
{
	strbuf_printf(out, "host-mode port already in use on %zu %s", n, n == 1 ? "node" : "nodes");
}
