/* init, join, leave, info, version: this host and its cluster. */
#include "conn.h"
#include "ctl.h"
#include "listing.h"
#include "values_net.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/file.h"
#include "common/hostport.h"
#include "common/jointoken.h"
#include "common/mem.h"
#include "proto/pb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SETUP_TIMEOUT_MS 120000 /* a new etcd on a slow disk */
#define TOKEN_MAX_BYTES 4096
#define MANAGER_PORT 2377
#define CERT_EXPIRY_MAX_NS (20 * 366 * 24 * 3600 * NS_PER_SEC)
#define HEARTBEAT_MIN_NS (50 * NS_PER_MS)
#define HEARTBEAT_MAX_NS (60 * NS_PER_SEC)

struct setup_flags {
	bool help, force, quiet, force_new_cluster;
	char *advertise_addr, *listen_addr, *availability, *token, *token_file;
	int64_t cert_expiry, heartbeat;
	uint64_t history_limit, addr_pool_prefix;
	struct strv etcd_endpoints, addr_pools;
	char *etcd_ca, *etcd_cert, *etcd_key;
};
#define S(kind, field) OPT_##kind(struct setup_flags, field)

/* clang-format off */
#define ADDRESS_OPTIONS                                                                            \
	{"advertise-addr", 0, S(STR, advertise_addr), .arg = "ADDR|INTERFACE[:PORT]",              \
	 .help = "where other nodes reach this one (found when there is just one address)"},       \
	{"listen-addr", 0, S(STR, listen_addr), .arg = "ADDR:PORT", .def = "0.0.0.0:2377",         \
	 .help = "where a manager on this host listens"},                                          \
	{"availability", 0, S(ENUM, availability), .choices = "active|pause|drain",                \
	 .def = "active", .help = "whether this node runs tasks"}
/* clang-format on */

static const struct option_def init_options[] = {
	HELP_OPTION,
	ADDRESS_OPTIONS,
	{"cert-expiry", 0, S(DURATION, cert_expiry), .def = "2160h", .min = 3600000000000,
	 .max = CERT_EXPIRY_MAX_NS, .help = "life of the nodes' certificates"},
	{"dispatcher-heartbeat", 0, S(DURATION, heartbeat),
	 .help = "how often nodes report (0 = chosen by the number of nodes)"},
	{"task-history-limit", 0, S(U64, history_limit), .def = "5", .max = 1000,
	 .help = "tasks kept per slot, the running one included"},
	{"default-addr-pool", 0, S(LIST, addr_pools), .arg = "SUBNET",
	 .help = "subnets of networks are cut out of this one; may be repeated (10.0.0.0/8)"},
	{"default-addr-pool-mask-length", 0, S(U64, addr_pool_prefix), .def = "24", .min = 8, .max = 29,
	 .help = "mask length of the subnets that are cut"},
	{"force-new-cluster", 0, S(BOOL, force_new_cluster),
	 .help = "make a cluster of one from this manager's state after the others were lost"},
	{"etcd-endpoints", 0, S(LIST, etcd_endpoints), .arg = "URL",
	 .help = "use this etcd instead of an embedded one"},
	{"etcd-ca", 0, S(STR, etcd_ca), .arg = "FILE", .help = "root certificate of that etcd"},
	{"etcd-cert", 0, S(STR, etcd_cert), .arg = "FILE",
	 .help = "client certificate for that etcd"},
	{"etcd-key", 0, S(STR, etcd_key), .arg = "FILE", .help = "key of the client certificate"},
	{0},
};

static const struct option_def join_options[] = {
	HELP_OPTION,
	{"token", 0, S(STR, token), .arg = "TOKEN",
	 .help = "join token, from 'clusterctl join-token'", .secret = true},
	{"token-file", 0, S(STR, token_file), .arg = "FILE",
	 .help = "file with the join token ('-' = standard input); unlike --token not seen by "
		 "other users"},
	ADDRESS_OPTIONS,
	{0},
};

static const struct option_def leave_options[] = {
	HELP_OPTION,
	{"force", 0, S(BOOL, force),
	 .help = "leave even as a manager, and even when no manager answers"},
	{0},
};

static Skein__Availability availability_of(const char *name)
{
	return str_eq(name, "drain")   ? (Skein__Availability)AVAILABILITY_DRAIN
	       : str_eq(name, "pause") ? (Skein__Availability)AVAILABILITY_PAUSE
				       : (Skein__Availability)AVAILABILITY_ACTIVE;
}

static char *or_empty(char *s)
{
	return s ?: (char *)"";
}

/* What init and join have in common. The agent checks the rest: only it knows the host. */
static int check_addresses(const struct setup_flags *f, struct error *err)
{
	struct hostport hp;

	if (hostport_parse(f->listen_addr, MANAGER_PORT, &hp, err) < 0)
		return error_wrap(err, "--listen-addr");
	if (f->advertise_addr && hostport_parse(f->advertise_addr, MANAGER_PORT, &hp, err) < 0)
		return error_wrap(err, "--advertise-addr");
	return 0;
}

/* The agent does not stand in our directory. */
static int make_absolute(const char *flag, char **path, struct error *err)
{
	char *full;

	if (str_empty(*path) || **path == '/')
		return 0;
	full = realpath(*path, NULL);
	if (!full)
		return error_set_errno(err, errno, "--%s: invalid value \"%s\": expected a file",
				       flag, *path);
	free(*path);
	*path = full;
	return 0;
}

static int check_init(struct setup_flags *f, struct error *err)
{
	char value[STR_HUMAN_MAX];

	if (make_absolute("etcd-ca", &f->etcd_ca, err) < 0 ||
	    make_absolute("etcd-cert", &f->etcd_cert, err) < 0 ||
	    make_absolute("etcd-key", &f->etcd_key, err) < 0)
		return -1;

	if (f->etcd_endpoints.n == 0 && (f->etcd_ca || f->etcd_cert || f->etcd_key))
		return error_set(
			err, ERR_INVALID,
			"--etcd-ca, --etcd-cert and --etcd-key go only with --etcd-endpoints");
	if (f->heartbeat && (f->heartbeat < HEARTBEAT_MIN_NS || f->heartbeat > HEARTBEAT_MAX_NS))
		return error_set(
			err, ERR_INVALID,
			"--dispatcher-heartbeat: invalid value \"%s\": expected 0 or a duration "
			"from 50ms to 1m",
			str_duration(f->heartbeat, value));
	for (size_t i = 0; i < f->addr_pools.n; i++)
		if (value_addr_pool(f->addr_pools.v[i], f->addr_pool_prefix, err) < 0)
			return error_wrap(err, "--default-addr-pool");
	return check_addresses(f, err);
}

static enum ctl_exit run_init(struct ctl *ctl, const struct verb *verb, void *flags,
			      const struct option_seen *seen, const struct strv *args,
			      struct error *err)
{
	struct setup_flags *f = flags;
	Skein__InitRequest request = SKEIN__INIT_REQUEST__INIT;
	_cleanup_pb_ Skein__InitResponse *reply = NULL;

	if (check_init(f, err) < 0)
		return CTL_USAGE;
	request.listen_address = f->listen_addr;
	request.advertise_address = or_empty(f->advertise_addr);
	request.availability = availability_of(f->availability);
	request.force_new_cluster = f->force_new_cluster;
	request.cert_expiry = f->cert_expiry;
	request.task_history_limit = (uint32_t)f->history_limit;
	request.heartbeat_period = f->heartbeat;
	request.n_address_pools = f->addr_pools.n;
	request.address_pools = f->addr_pools.v;
	request.address_pool_prefix = (uint32_t)f->addr_pool_prefix;
	request.n_etcd_endpoints = f->etcd_endpoints.n;
	request.etcd_endpoints = f->etcd_endpoints.v;
	request.etcd_ca = or_empty(f->etcd_ca);
	request.etcd_cert = or_empty(f->etcd_cert);
	request.etcd_key = or_empty(f->etcd_key);
	if (conn_call(ctl_conn(ctl), CONN_AGENT, "InitCluster", &request, SETUP_TIMEOUT_MS, &reply,
		      err) < 0)
		return CTL_FAILED;
	printf("Cluster initialized: this node (%s) is now a manager.\n\n"
	       "To add a worker to this cluster, run on its host:\n\n"
	       "    clusterctl join --token %s %s\n\n"
	       "To add a manager, run 'clusterctl join-token manager' and follow the "
	       "instructions.\n",
	       reply->node_id, reply->worker_token, reply->address);
	mem_wipe(reply->manager_token, strlen(reply->manager_token));
	return CTL_OK;
}

/* The token from --token or --token-file. Yours; NULL with err. */
static char *get_token(const struct setup_flags *f, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	const char *path = str_eq(f->token_file, "-") ? "/dev/stdin" : f->token_file;
	size_t len;

	if (f->token && f->token_file) {
		error_set(err, ERR_INVALID, "--token and --token-file exclude each other");
		return NULL;
	}
	if (f->token)
		return xstrdup(f->token);
	if (!path) {
		error_set(err, ERR_INVALID,
			  "--token is missing: 'clusterctl join-token worker' on a manager prints "
			  "it");
		return NULL;
	}
	if (file_read(path, TOKEN_MAX_BYTES, &text, &len, err) < 0) {
		error_wrap(err, "--token-file");
		return NULL;
	}
	return xstrndup(text, strcspn(text, " \t\r\n"));
}

static int check_join(const struct setup_flags *f, const char *token, const struct strv *managers,
		      struct error *err)
{
	struct jointoken parsed;
	struct hostport hp;

	if (jointoken_parse(token, &parsed, err) < 0)
		return error_wrap(err, f->token ? "--token" : "--token-file");
	mem_wipe(&parsed, sizeof(parsed));
	for (size_t i = 0; i < managers->n; i++)
		if (hostport_parse(managers->v[i], MANAGER_PORT, &hp, err) < 0)
			return -1;
	return check_addresses(f, err);
}

static enum ctl_exit run_join(struct ctl *ctl, const struct verb *verb, void *flags,
			      const struct option_seen *seen, const struct strv *args,
			      struct error *err)
{
	struct setup_flags *f = flags;
	_cleanup_free_ char *token = get_token(f, err);
	Skein__JoinRequest request = SKEIN__JOIN_REQUEST__INIT;
	_cleanup_pb_ Skein__JoinResponse *reply = NULL;
	int r;

	if (!token)
		return CTL_USAGE;
	if (check_join(f, token, args, err) < 0) {
		mem_wipe(token, strlen(token));
		return CTL_USAGE;
	}
	request.token = token;
	request.n_managers = args->n;
	request.managers = args->v;
	request.listen_address = f->listen_addr;
	request.advertise_address = or_empty(f->advertise_addr);
	request.availability = availability_of(f->availability);
	r = conn_call(ctl_conn(ctl), CONN_AGENT, "Join", &request, SETUP_TIMEOUT_MS, &reply, err);
	mem_wipe(token, strlen(token));
	if (r < 0)
		return CTL_FAILED;
	printf("This node (%s) joined the cluster as a %s.\n", reply->node_id,
	       pb_role_name((int)reply->role));
	return CTL_OK;
}

static enum ctl_exit run_leave(struct ctl *ctl, const struct verb *verb, void *flags,
			       const struct option_seen *seen, const struct strv *args,
			       struct error *err)
{
	Skein__LeaveRequest request = SKEIN__LEAVE_REQUEST__INIT;

	request.force = ((struct setup_flags *)flags)->force;
	if (conn_call(ctl_conn(ctl), CONN_AGENT, "Leave", &request, SETUP_TIMEOUT_MS, NULL, err) <
	    0)
		return CTL_FAILED;
	puts("Node left the cluster.");
	return CTL_OK;
}

/* ---------------------------------------------------------------- info, version */

static const struct list_field info_fields[] = {
	{"State", "State"},
	{"Error", "Error"},
	{"NodeID", "Node id"},
	{"ClusterID", "Cluster id"},
	{"Role", "Role"},
	{"Address", "Address"},
	{"Managers", "Managers"},
	{"Session", "Session"},
	{"TasksRunning", "Tasks running here"},
	{"Hostname", "Host name"},
	{"Version", "Version"},
	{"Kernel", "Kernel"},
	{"OS", "OS"},
	{"CPUs", "CPUs"},
	{"Memory", "Memory"},
	{"Features", "Features"},
	{"CertExpiresAt", "Certificate until"},
	{"Leader", "Leader"},
	{"ClusterManagers", "Managers in cluster"},
	{"ClusterNodes", "Nodes in cluster"},
	{"ClusterServices", "Services"},
	{"ClusterTasks", "Tasks running"},
	{"Etcd", "etcd"},
	{"Health", "Health"},
	{"Warnings", "Warnings"},
	{0},
};

static void join_strings(struct strbuf *out, char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		strbuf_printf(out, "%s%s", i ? ", " : "", list[i]);
}

static void add_description(struct listing *l, const pb_node_description *d)
{
	static const pb_node_description none = SKEIN__NODE_DESCRIPTION__INIT;
	_cleanup_strbuf_ struct strbuf features = {0};
	char memory[STR_HUMAN_MAX];

	if (!d)
		d = &none;
	for (size_t i = 0; i < d->n_features; i++)
		strbuf_printf(&features, "%s%s=%s", i ? " " : "", d->features[i]->key,
			      d->features[i]->value);
	listing_cell(l, d->hostname);
	listing_cell(l, d->agent_version);
	listing_cell(l, d->kernel);
	listing_cell(l, d->os_name);
	listing_cellf(l, "%g", d->capacity ? (double)d->capacity->cpu_nano / 1e9 : 0);
	listing_cell(l, str_bytes_human(d->capacity ? d->capacity->mem_bytes : 0, memory));
	listing_cell(l, features.p);
}

static void add_cluster(struct listing *l, const Skein__Info *info)
{
	_cleanup_strbuf_ struct strbuf etcd = {0}, warnings = {0};

	if (!info) {
		for (unsigned i = 0; i < 8; i++)
			listing_cell(l, "");
		return;
	}
	join_strings(&etcd, info->etcd_endpoints, info->n_etcd_endpoints);
	join_strings(&warnings, info->warnings, info->n_warnings);
	listing_cell(l, *info->leader_id ? info->leader_id : "none");
	listing_cellf(l, "%u", info->managers);
	listing_cellf(l, "%u (%u ready)", info->nodes, info->nodes_ready);
	listing_cellf(l, "%u", info->services);
	listing_cellf(l, "%u", info->tasks_running);
	listing_cellf(l, "%s%s%s", info->etcd_embedded ? "embedded" : "external",
		      etcd.len ? ": " : "", etcd.p ?: "");
	if (info->n_warnings)
		listing_cellf(l, "%zu warning%s", info->n_warnings, info->n_warnings == 1 ? "" : "s");
	else
		listing_cell(l, "ok");
	listing_cell(l, warnings.p);
}

static void add_local(struct listing *l, const Skein__LocalInfo *local)
{
	_cleanup_strbuf_ struct strbuf managers = {0};
	bool member = *local->node_id != '\0';

	join_strings(&managers, local->managers, local->n_managers);
	listing_cell(l, local->state);
	listing_cell(l, local->error);
	listing_cell(l, local->node_id);
	listing_cell(l, local->cluster_id);
	listing_cell(l, member ? pb_role_name((int)local->role) : "");
	listing_cell(l, local->address);
	listing_cell(l, managers.p);
	listing_cell(l, local->session);
	listing_cellf(l, "%u", local->tasks_running);
	add_description(l, local->description);
}

/* "Name: value" lines; what is empty is left out. Warnings stand below, each with what to do about it. */
static void print_info(const struct listing *l, const Skein__Info *info)
{
	for (size_t i = 0; i < l->n_fields; i++)
		if (*l->rows.cells.v[i] && !str_eq(l->fields[i].name, "Warnings"))
			printf("%s: %s\n", l->fields[i].header, l->rows.cells.v[i]);
	for (size_t i = 0; info && i < info->n_warnings; i++) {
		printf("WARNING: %s\n", info->warnings[i]);
		if (i < info->n_advice && *info->advice[i])
			printf("  to do: %s\n", info->advice[i]);
	}
}

struct info_flags {
	bool help;
	char *format;
};
static const struct option_def info_options[] = {
	HELP_OPTION,
	{"format", 0, OPT_STR(struct info_flags, format), .arg = "FORMAT",
	 .help = "json or a template such as '{{.State}}'"},
	{0},
};

static enum ctl_exit run_info(struct ctl *ctl, const struct verb *verb, void *flags,
			      const struct option_seen *seen, const struct strv *args,
			      struct error *err)
{
	_cleanup_listing_ struct listing l = {0};
	_cleanup_pb_ Skein__LocalInfo *local = NULL;
	_cleanup_pb_ Skein__Info *info = NULL;
	Skein__Empty empty = SKEIN__EMPTY__INIT;
	Skein__GetInfoRequest request = SKEIN__GET_INFO_REQUEST__INIT;
	struct error manager_err = ERROR_INIT;
	char expires[CLOCK_RFC3339_MAX];

	if (listing_init(&l, info_fields, ((struct info_flags *)flags)->format, false, err) < 0)
		return CTL_USAGE;
	if (conn_call(ctl_conn(ctl), CONN_AGENT, "GetInfo", &empty, CONN_TIMEOUT_MS, &local, err) <
	    0)
		return CTL_FAILED;
	add_local(&l, local);
	listing_cell(&l,
		     local->cert_expires_at ? clock_rfc3339(local->cert_expires_at, expires) : "");
	/* a worker, and a node outside a cluster, have no manager to ask: that is no error here */
	if ((*local->manager_socket || !str_empty(ctl->global.host)) &&
	    conn_call(ctl_conn(ctl), CONN_MANAGER, "GetInfo", &request, CONN_TIMEOUT_MS, &info,
		      &manager_err) < 0)
		ctl_warn("%s", manager_err.msg);
	add_cluster(&l, info);
	if (l.kind == LISTING_TABLE)
		print_info(&l, info);
	else
		listing_print(&l, stdout);
	return CTL_OK;
}

static enum ctl_exit run_version(struct ctl *ctl, const struct verb *verb, void *flags,
				 const struct option_seen *seen, const struct strv *args,
				 struct error *err)
{
	_cleanup_pb_ Skein__LocalInfo *local = NULL;
	Skein__Empty empty = SKEIN__EMPTY__INIT;

	printf("clusterctl: %s\n", SKEIN_VERSION);
	if (conn_call(ctl_conn(ctl), CONN_AGENT, "GetInfo", &empty, CONN_TIMEOUT_MS, &local, err) <
	    0)
		return CTL_FAILED;
	printf("agent:      %s\n",
	       local->description ? local->description->agent_version : "unknown");
	return CTL_OK;
}

const struct verb cluster_verbs[] = {
	{
		.name = "init",
		.synopsis = "[OPTIONS]",
		.help = "Make a new cluster with this host as its first manager",
		.about = "Prints the command that lets other hosts join. The state of the cluster "
			 "is kept in an etcd that the\n"
			 "manager starts, unless --etcd-endpoints names another one.",
		.example = "clusterctl init --advertise-addr 10.0.0.1",
		.options = init_options,
		.flags_size = sizeof(struct setup_flags),
		.run = run_init,
	},
	{
		.name = "join",
		.synopsis = "[OPTIONS] HOST:PORT...",
		.help = "Let this host join a cluster, as worker or manager depending on the token",
		.about = "The token carries the digest of the cluster's root certificate: nothing "
			 "is sent to a host that\n"
			 "cannot show that certificate. With several addresses the first one that "
			 "answers is used.",
		.example = "clusterctl join --token SKEIN-1-... 10.0.0.1:2377\nclusterctl join "
			   "--token-file /root/token 10.0.0.1:2377",
		.options = join_options,
		.flags_size = sizeof(struct setup_flags),
		.min_args = 1,
		.max_args = 16,
		.run = run_join,
	},
	{
		.name = "leave",
		.synopsis = "[OPTIONS]",
		.help = "Let this host leave its cluster",
		.about = "Stops the node's tasks and forgets its certificate. The node is shown as "
			 "down until 'clusterctl node rm'.\n"
			 "A manager must be demoted first, or be forced.",
		.example = "clusterctl leave",
		.options = leave_options,
		.flags_size = sizeof(struct setup_flags),
		.run = run_leave,
	},
	{
		.name = "info",
		.synopsis = "[OPTIONS]",
		.help = "Show the state of this host and, on a manager, of the cluster",
		.example = "clusterctl info\nclusterctl info --format '{{.State}}'",
		.options = info_options,
		.flags_size = sizeof(struct info_flags),
		.fields = info_fields,
		.run = run_info,
	},
	{
		.name = "version",
		.synopsis = "",
		.help = "Show the versions of clusterctl and of the agent",
		.about = "'clusterctl --version' asks nobody and shows clusterctl's alone.",
		.example = "clusterctl version",
		.options = no_options,
		.flags_size = sizeof(struct no_flags),
		.run = run_version,
	},
	{0},
};
