/* network create, ls, inspect, rm, check. */
#include "conn.h"
#include "ctl.h"
#include "inspect.h"
#include "network_flags.h"
#include "network_show.h"
#include "pb_json.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"
#include "proto/pb.h"

#include <string.h>

/* ---------------------------------------------------------------- create, rm */

static enum ctl_exit run_create(struct ctl *ctl, const struct verb *verb, void *flags,
				const struct option_seen *seen, const struct strv *args,
				struct error *err)
{
	Skein__CreateNetworkRequest request = SKEIN__CREATE_NETWORK_REQUEST__INIT;
	_cleanup_pb_ Skein__NetworkResponse *reply = NULL;
	_cleanup_pb_ pb_network_spec *spec = network_build(flags, args->v[0], err);

	if (!spec)
		return CTL_USAGE;
	request.spec = spec;
	if (conn_call(ctl_conn(ctl), CONN_MANAGER, "CreateNetwork", &request, CONN_TIMEOUT_MS,
		      &reply, err) < 0) {
		network_name_flag(err);
		return CTL_FAILED;
	}
	if (!reply->network) {
		error_set(err, ERR_INTERNAL, "the manager's answer holds no network");
		return CTL_FAILED;
	}
	puts(reply->network->id);
	return CTL_OK;
}

static enum ctl_exit run_rm(struct ctl *ctl, const struct verb *verb, void *flags,
			    const struct option_seen *seen, const struct strv *args,
			    struct error *err)
{
	return ctl_for_each_ref(ctl, "RemoveNetwork", args, err);
}

/* ---------------------------------------------------------------- ls */

static const struct list_field network_fields[] = {
	{"ID", "NETWORK ID"},
	{"Name", "NAME"},
	{"Driver", "DRIVER"},
	{"Scope", "SCOPE"},
	{"Subnets", "SUBNETS"},
	{"Internal", NULL},
	{"Attachable", NULL},
	{"IPv6", NULL},
	{"VNI", NULL},
	{"Labels", NULL},
	{"Error", NULL},
	{"CreatedAt", NULL},
	{0},
};
#define NETWORK_FILTERS "id|name|label|driver"

static void add_network(struct listing *l, const pb_network *network, const struct list_flags *f)
{
	const pb_network_spec *spec = network->spec;
	_cleanup_free_ char *subnets = network_subnets(network);
	_cleanup_strbuf_ struct strbuf labels = {0};
	char buf[TEXT_ID_SHOWN + 1], when[CLOCK_RFC3339_MAX];

	for (size_t i = 0; i < spec->n_labels; i++)
		strbuf_printf(&labels, "%s%s=%s", i ? "," : "", spec->labels[i]->key,
			      spec->labels[i]->value);
	listing_cell(l, list_id(f, network->id, buf));
	listing_cell(l, spec->name);
	listing_cell(l, spec->driver);
	listing_cell(l, network_scope(network));
	listing_cell(l, subnets);
	listing_cell(l, spec->internal ? "true" : "false");
	listing_cell(l, spec->attachable ? "true" : "false");
	listing_cell(l, spec->ipv6 ? "true" : "false");
	listing_cellf(l, "%u", network->vni);
	listing_cell(l, labels.p);
	listing_cell(l, network->err);
	listing_cell(l, network->meta && network->meta->created_at
				? clock_rfc3339(network->meta->created_at, when)
				: "");
}

static enum ctl_exit run_ls(struct ctl *ctl, const struct verb *verb, void *flags,
			    const struct option_seen *seen, const struct strv *args,
			    struct error *err)
{
	const struct list_flags *f = flags;
	_cleanup_listing_ struct listing l = {0};
	_cleanup_pb_ Skein__ListNetworksResponse *reply = NULL;
	enum ctl_exit asked = ctl_list(ctl, CONN_MANAGER, "ListNetworks", verb, f, &l, &reply, err);

	if (asked != CTL_OK)
		return asked;
	for (size_t i = 0; i < reply->n_networks; i++)
		if (reply->networks[i]->spec)
			add_network(&l, reply->networks[i], f);
	listing_print(&l, stdout);
	return CTL_OK;
}

/* ---------------------------------------------------------------- inspect */

static void *fetch_network(struct ctl *ctl, const char *ref, struct error *err)
{
	Skein__RefRequest request = SKEIN__REF_REQUEST__INIT;
	_cleanup_pb_ Skein__NetworkResponse *reply = NULL;

	request.ref = (char *)ref;
	if (conn_call(ctl_conn(ctl), CONN_MANAGER, "GetNetwork", &request, CONN_TIMEOUT_MS, &reply,
		      err) < 0)
		return NULL;
	if (!reply->network || !reply->network->spec) {
		error_set(err, ERR_INTERNAL, "the manager's answer holds no network");
		return NULL;
	}
	return TAKE_PTR(reply);
}

static enum ctl_exit run_inspect(struct ctl *ctl, const struct verb *verb, void *flags,
				 const struct option_seen *seen, const struct strv *args,
				 struct error *err)
{
	return inspect_run_as(ctl, flags, args, fetch_network, network_json, network_pretty, err);
}

/* ---------------------------------------------------------------- check */

struct check_run {
	struct rpc_call *call;
	bool json, done, failed;
	struct error err;
	struct network_findings findings;
	size_t n;
	Skein__CheckNetworksResponse **nodes;
};

static void on_message(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	const Skein__CheckNetworksResponse *node = (const Skein__CheckNetworksResponse *)msg;
	struct check_run *run = data;

	network_findings_add(&run->findings, node);
	if (*node->error)
		ctl_warn("%s: %s", *node->node_name ? node->node_name : node->node_id, node->error);
	if (run->json) {
		json_t *json = pb_json(msg);
		_cleanup_free_ char *line = json_dumps(json, JSON_COMPACT);

		puts(line ?: "{}");
		json_decref(json);
		return;
	}
	pb_msgs_add(&run->n, &run->nodes, pb_dup(node));
}

static void on_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct check_run *run = data;

	run->done = true;
	run->call = NULL;
	run->failed = err != NULL;
	if (err)
		run->err = *err;
}

static const struct rpc_handlers check_handlers = {.on_message = on_message, .on_done = on_done};

static int compare_nodes(const void *pa, const void *pb)
{
	const Skein__CheckNetworksResponse *a = *(Skein__CheckNetworksResponse *const *)pa,
					   *b = *(Skein__CheckNetworksResponse *const *)pb;

	return strverscmp(a->node_name, b->node_name);
}

static enum ctl_exit check_report(struct check_run *run, struct error *err)
{
	const struct network_findings *f = &run->findings;
	_cleanup_free_ char *summary = network_check_summary(f);

	if (run->n > 0)
		qsort(run->nodes, run->n, sizeof(*run->nodes), compare_nodes);
	network_check_table(run->nodes, run->n, stdout);
	if (f->differences == 0 && f->unreachable == 0) {
		if (!run->json)
			puts(summary);
		return CTL_OK;
	}
	error_set(err, ERR_PRECONDITION, "%s", summary);
	return CTL_FAILED;
}

static enum ctl_exit run_check(struct ctl *ctl, const struct verb *verb, void *flags,
			       const struct option_seen *seen, const struct strv *args,
			       struct error *err)
{
	const struct network_flags *f = flags;
	Skein__CheckNetworksRequest request = SKEIN__CHECK_NETWORKS_REQUEST__INIT;
	struct check_run run = {.json = str_eq(f->format, "json")};
	struct conn *conn = ctl_conn(ctl);
	enum ctl_exit status = CTL_FAILED;

	if (args->n > 0)
		request.ref = args->v[0];
	request.repair = f->repair;
	run.call = conn_stream(conn, CONN_MANAGER, "CheckNetworks", &check_handlers, &run, err);
	if (!run.call)
		return CTL_FAILED;
	if (rpc_call_send(run.call, &request.base, &run.err) == 0)
		rpc_call_half_close(run.call);
	else
		rpc_call_cancel(run.call);
	conn_run(conn, &run.done);
	if (run.failed) {
		*err = run.err;
		conn_explain(conn, CONN_MANAGER, err);
	} else {
		status = check_report(&run, err);
	}
	while (run.n > 0)
		pb_msgs_del(&run.n, &run.nodes, run.n - 1);
	free(run.nodes);
	return status;
}

/* ---------------------------------------------------------------- verbs */

const struct verb network_verbs[] = {
	{
		.noun = "network",
		.name = "create",
		.synopsis = "[OPTIONS] NETWORK",
		.help = "Make a network that services can be in",
		.about = "Services in the same network find each other by name. Networks host, "
			 "none and bridge are there from the\n"
			 "start.\n\n"
			 "With --ipv6 the network has addresses of both families; a family without "
			 "--subnet gets one from the\n"
			 "cluster's pool. Several --subnet, --gateway, --ip-range and --aux-address "
			 "find each other by their\n"
			 "addresses.",
		.example =
			"clusterctl network create front\n"
			"clusterctl network create --ipv6 --subnet 10.0.5.0/24 --gateway 10.0.5.1 "
			"--opt encrypted back\n"
			"clusterctl network create -d macvlan --subnet 192.168.7.0/24 "
			"--ip-range 192.168.7.128/25 \\\n"
			"    --gateway 192.168.7.1 --opt parent=eth0 lan",
		.options = network_create_options,
		.flags_size = sizeof(struct network_flags),
		.min_args = 1,
		.max_args = 1,
		.run = run_create,
	},
	{
		.noun = "network",
		.name = "ls",
		.aliases = "list",
		.synopsis = "[OPTIONS]",
		.help = "List the networks",
		.about = "SCOPE is cluster when one network spans the nodes, local when each node "
			 "has its own.",
		.example = "clusterctl network ls\nclusterctl network ls --filter driver=overlay "
			   "--format '{{.Name}} {{.Subnets}}'",
		.options = list_options,
		.flags_size = sizeof(struct list_flags),
		.fields = network_fields,
		.filters = NETWORK_FILTERS,
		.run = run_ls,
	},
	{
		.noun = "network",
		.name = "inspect",
		.synopsis = "[OPTIONS] NETWORK...",
		.help = "Show all that is known of networks, as JSON",
		.about = "\"uses\" are all addresses in use, with node and MAC; \"free\" says how "
			 "many are left in each subnet.",
		.example = "clusterctl network inspect --pretty front\nclusterctl network inspect "
			   "--format '{{.free}}' front",
		.options = inspect_options,
		.flags_size = sizeof(struct inspect_flags),
		.min_args = 1,
		.max_args = ANY_NUMBER,
		.object = OBJECT_NETWORK,
		.run = run_inspect,
	},
	{
		.noun = "network",
		.name = "check",
		.synopsis = "[OPTIONS] [NETWORK]",
		.help = "Compare the kernels of all nodes with what the cluster wants",
		.about = "Links, addresses, forwarding entries, neighbours, balancing, firewall "
			 "tables and names are read on every\n"
			 "node, and each difference is shown. Nodes do the same by themselves and "
			 "repair what they find.\n\n"
			 "The status is 1 when there were differences (repaired or not) or a node "
			 "could not be asked.",
		.example = "clusterctl network check\nclusterctl network check --repair front",
		.options = network_check_options,
		.flags_size = sizeof(struct network_flags),
		.max_args = 1,
		.object = OBJECT_NETWORK,
		.run = run_check,
	},
	{
		.noun = "network",
		.name = "rm",
		.aliases = "remove",
		.synopsis = "NETWORK...",
		.help = "Remove networks that no service is in",
		.example = "clusterctl network rm front back",
		.options = no_options,
		.flags_size = sizeof(struct no_flags),
		.min_args = 1,
		.max_args = ANY_NUMBER,
		.object = OBJECT_NETWORK,
		.run = run_rm,
	},
	{0},
};
