#include "network_flags.h"

#include "values.h"
#include "values_net.h"
#include "verbs.h"

#include "common/error.h"
#include "common/mem.h"

#include <string.h>

#define F(kind, field) OPT_##kind(struct network_flags, field)

/* clang-format off */
const struct option_def network_create_options[] = {
	HELP_OPTION,
	{"driver", 'd', F(ENUM, driver), .choices = "overlay|bridge|macvlan|ipvlan|vlan", .def = "overlay",
	 .help = "overlay spans the nodes; bridge is each node's own; the others lead into the network of the hosts"},
	{"subnet", 0, F(LIST, subnets), .arg = "SUBNET",
	 .help = "addresses of the network, such as 10.0.5.0/24 (else cut from the cluster's pool)"},
	{"gateway", 0, F(LIST, gateways), .arg = "IP", .help = "gateway of a subnet (else its first address)"},
	{"ip-range", 0, F(LIST, ip_ranges), .arg = "SUBNET",
	 .help = "part of a subnet that services and tasks get addresses from"},
	{"aux-address", 0, F(LIST, aux_addresses), .arg = "NAME=IP",
	 .help = "address that is never given to anybody, and whose it is"},
	{"ipv6", 0, F(BOOL, ipv6), .help = "IPv6 addresses as well"},
	{"internal", 0, F(BOOL, internal), .help = "no way out of the network"},
	{"attachable", 0, F(BOOL, attachable),
	 .help = "containers that belong to no service may join"},
	{"opt", 'o', F(LIST, options), .arg = "KEY[=VALUE]",
	 .help = "option of the driver: encrypted, mtu=BYTES, parent=INTERFACE, mode=..., id=VLAN"},
	{"label", 0, F(LIST, labels), .arg = "KEY=VALUE", .help = "label of the network"},
	{0},
};

const struct option_def network_check_options[] = {
	HELP_OPTION,
	{"repair", 0, F(BOOL, repair), .help = "put right what differs"},
	{"format", 0, F(ENUM, format), .choices = "table|json", .def = "table",
	 .help = "how to print it; json: an object per node and line"},
	{0},
};
/* clang-format on */

static int add_pairs(size_t *n, pb_kv ***list, const struct strv *texts, const char *flag,
		     struct error *err)
{
	for (size_t i = 0; i < texts->n; i++) {
		const char *value;
		_cleanup_free_ char *key = value_pair(texts->v[i], &value, err);

		if (!key)
			return error_wrap(err, "--%s", flag);
		pb_kv_set(n, list, key, value);
	}
	return 0;
}

pb_network_spec *network_build(const struct network_flags *f, const char *name, struct error *err)
{
	_cleanup_pb_ pb_network_spec *spec = pb_new(&skein__network_spec__descriptor);
	const struct pool_flags pools = {.subnets = &f->subnets,
					 .gateways = &f->gateways,
					 .ip_ranges = &f->ip_ranges,
					 .aux_addresses = &f->aux_addresses,
					 .ipv6 = f->ipv6};

	pb_set_str(&spec->name, name);
	pb_set_str(&spec->driver, f->driver);
	spec->ipv6 = f->ipv6;
	spec->internal = f->internal;
	spec->attachable = f->attachable;
	if (value_pools(&pools, &spec->n_pools, &spec->pools, err) < 0 ||
	    add_pairs(&spec->n_options, &spec->options, &f->options, "opt", err) < 0 ||
	    add_pairs(&spec->n_labels, &spec->labels, &f->labels, "label", err) < 0)
		return NULL;
	return TAKE_PTR(spec);
}

void network_name_flag(struct error *err)
{
	static const struct {
		const char *field, *flag;
	} fields[] = {
		{"name", "NETWORK"},	 {"labels", "--label"},	    {"driver", "--driver"},
		{"options", "--opt"},	 {"ipv6", "--ipv6"},	    {"pools.gateway", "--gateway"},
		{"pools.ip_range", "--ip-range"}, {"pools.aux_addresses", "--aux-address"},
		{"pools.subnet", "--subnet"},	  {"pools", "--subnet"},
	};

	if (err->code != ERR_INVALID && err->code != ERR_EXHAUSTED)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		const char *rest = err->msg + strlen(fields[i].field);
		_cleanup_free_ char *text = NULL;

		if (!str_starts(err->msg, fields[i].field) || !*rest || !strchr("[ .:", *rest))
			continue;
		if (*rest == '[') /* which of several: its value follows */
			rest = strchr(rest, ']') ? strchr(rest, ']') + 1 : rest;
		text = xasprintf("%s%s", fields[i].flag, rest);
		error_set(err, err->code, "%s", text);
		return;
	}
}
