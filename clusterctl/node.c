/* node ls, inspect, update, promote, demote, rm; node ps is in ps.c. */
#include "conn.h"
#include "ctl.h"
#include "inspect.h"
#include "node.h"
#include "ps.h"
#include "values.h"

#include "common/error.h"
#include "common/mem.h"
#include "proto/pb.h"

#include <string.h>

#define CONFLICT_RETRIES 10 /* an agent that comes up writes its node several times in a row */

struct node_flags {
	bool help, force;
	char *availability, *role;
	struct strv labels, labels_rm;
};
#define N(kind, field) OPT_##kind(struct node_flags, field)

static const struct option_def update_options[] = {
	HELP_OPTION,
	{"availability", 0, N(ENUM, availability), .choices = "active|pause|drain",
	 .help = "active: runs tasks; pause: gets no new ones; drain: its tasks move elsewhere"},
	{"label-add", 0, N(LIST, labels), .arg = "KEY=VALUE", .help = "add or change a label"},
	{"label-rm", 0, N(LIST, labels_rm), .arg = "KEY", .help = "remove a label"},
	{"role", 0, N(ENUM, role), .choices = "worker|manager", .help = "role of the node"},
	{0},
};
static const struct option_def rm_options[] = {
	HELP_OPTION,
	{"force", 'f', N(BOOL, force), .help = "remove it even if it is not down"},
	{0},
};

/* ---------------------------------------------------------------- ls */

static const struct list_field node_fields[] = {
	{"ID", "ID"},
	{"Hostname", "HOSTNAME"},
	{"Status", "STATUS"},
	{"Availability", "AVAILABILITY"},
	{"ManagerStatus", "MANAGER STATUS"},
	{"EngineVersion", "AGENT VERSION"},
	{"Self", NULL},
	{"Address", NULL},
	{"Message", NULL},
	{"Role", NULL},
	{0},
};
#define NODE_FILTERS "id|name|label|node.label|role|availability|state"

/* Id of the node that we run on, "" when that is not known. */
static char *own_id(struct ctl *ctl)
{
	_cleanup_pb_ Skein__LocalInfo *local = NULL;
	Skein__Empty empty = SKEIN__EMPTY__INIT;
	struct error err = ERROR_INIT;

	if (!str_empty(ctl->global.host) || conn_call(ctl_conn(ctl), CONN_AGENT, "GetInfo", &empty,
						      CONN_TIMEOUT_MS, &local, &err) < 0)
		return xstrdup("");
	return xstrdup(local->node_id);
}

static const char *state_text(const pb_node *node)
{
	static const char *const texts[] = {[NODE_UNKNOWN] = "Unknown",
					    [NODE_DOWN] = "Down",
					    [NODE_READY] = "Ready",
					    [NODE_DISCONNECTED] = "Disconnected"};
	unsigned state = node->status ? (unsigned)node->status->state : NODE_UNKNOWN;

	return state < ARRAY_SIZE(texts) ? texts[state] : "Unknown";
}

static const char *availability_text(const pb_node *node)
{
	static const char *const texts[] = {[AVAILABILITY_ACTIVE] = "Active",
					    [AVAILABILITY_PAUSE] = "Pause",
					    [AVAILABILITY_DRAIN] = "Drain"};
	unsigned availability = node->spec ? (unsigned)node->spec->availability : 0;

	return availability < ARRAY_SIZE(texts) ? texts[availability] : "Unknown";
}

static const char *manager_text(const pb_node *node, const char *leader_id)
{
	if (!node->manager)
		return "";
	if (str_eq(node->id, leader_id))
		return "Leader";
	return node->status && (int)node->status->state == NODE_READY ? "Reachable" : "Unreachable";
}

static const char *node_name(const pb_node *node)
{
	if (node->spec && *node->spec->name)
		return node->spec->name;
	return node->description && *node->description->hostname ? node->description->hostname
								 : node->id;
}

static void add_node(struct listing *l, const pb_node *node, const char *leader_id,
		     const char *self, const struct list_flags *f)
{
	bool is_self = str_eq(node->id, self);
	char buf[TEXT_ID_SHOWN + 1];

	if (l->kind == LISTING_TABLE)
		listing_cellf(l, "%s%s", list_id(f, node->id, buf), is_self ? " *" : "");
	else
		listing_cell(l, list_id(f, node->id, buf));
	listing_cell(l, node_name(node));
	listing_cell(l, state_text(node));
	listing_cell(l, availability_text(node));
	listing_cell(l, manager_text(node, leader_id));
	listing_cell(l, node->description ? node->description->agent_version : "");
	listing_cell(l, is_self ? "true" : "false");
	listing_cell(l, node->status ? node->status->address : "");
	listing_cell(l, node->status ? node->status->message : "");
	listing_cell(l, pb_role_name((int)node->role));
}

static enum ctl_exit run_ls(struct ctl *ctl, const struct verb *verb, void *flags,
			    const struct option_seen *seen, const struct strv *args,
			    struct error *err)
{
	const struct list_flags *f = flags;
	_cleanup_listing_ struct listing l = {0};
	_cleanup_pb_ Skein__ListNodesResponse *reply = NULL;
	_cleanup_free_ char *self = NULL;
	enum ctl_exit asked = ctl_list(ctl, CONN_MANAGER, "ListNodes", verb, f, &l, &reply, err);

	if (asked != CTL_OK)
		return asked;
	self = own_id(ctl);
	for (size_t i = 0; i < reply->n_nodes; i++)
		add_node(&l, reply->nodes[i], reply->leader_id, self, f);
	listing_print(&l, stdout);
	return CTL_OK;
}

/* ---------------------------------------------------------------- inspect */

Skein__NodeResponse *node_get(struct ctl *ctl, const char *ref, struct error *err)
{
	_cleanup_free_ char *self = str_eq(ref, "self") ? own_id(ctl) : NULL;
	Skein__RefRequest request = SKEIN__REF_REQUEST__INIT;
	Skein__NodeResponse *reply = NULL;

	request.ref = str_empty(self) ? (char *)ref : self;
	if (conn_call(ctl_conn(ctl), CONN_MANAGER, "GetNode", &request, CONN_TIMEOUT_MS, &reply,
		      err) < 0)
		return NULL;
	if (!reply->node || !reply->node->spec) {
		pb_free(reply);
		error_set(err, ERR_INTERNAL, "the manager's answer holds no node");
		return NULL;
	}
	return reply;
}

static void *fetch_node(struct ctl *ctl, const char *ref, struct error *err)
{
	_cleanup_pb_ Skein__NodeResponse *reply = node_get(ctl, ref, err);

	return reply ? TAKE_PTR(reply->node) : NULL;
}

static void put_labels(FILE *out, const char *title, pb_kv *const *labels, size_t n)
{
	if (n > 0)
		fprintf(out, "%s:\n", title);
	for (size_t i = 0; i < n; i++)
		fprintf(out, " - %s=%s\n", labels[i]->key, labels[i]->value);
}

static void pretty_node(const void *msg, FILE *out)
{
	const pb_node *node = msg;
	const pb_node_description *d = node->description;
	char memory[STR_HUMAN_MAX];

	fprintf(out, "ID:\t\t\t%s\nName:\t\t\t%s\n", node->id, node_name(node));
	put_labels(out, "Labels", node->spec->labels, node->spec->n_labels);
	fprintf(out, "Role:\t\t\t%s\n", pb_role_name((int)node->role));
	fprintf(out, "Status:\n State:\t\t\t%s\n Availability:\t\t%s\n", state_text(node),
		availability_text(node));
	if (node->status)
		fprintf(out, " Address:\t\t%s\n%s%s%s", node->status->address,
			*node->status->message ? " Message:\t\t" : "", node->status->message,
			*node->status->message ? "\n" : "");
	if (node->manager)
		fprintf(out, "Manager:\n Address:\t\t%s\n", node->manager->address);
	if (!d)
		return;
	fprintf(out, "Platform:\n Operating system:\t%s\n Architecture:\t\t%s\n Kernel:\t\t%s\n",
		d->os_name, d->arch, d->kernel);
	if (d->capacity)
		fprintf(out, "Resources:\n CPUs:\t\t\t%g\n Memory:\t\t%s\n",
			(double)d->capacity->cpu_nano / 1e9,
			str_bytes_human(d->capacity->mem_bytes, memory));
	fprintf(out, "Agent version:\t\t%s\n", d->agent_version);
	put_labels(out, "Features", d->features, d->n_features);
	put_labels(out, "Engine labels", d->engine_labels, d->n_engine_labels);
	fprintf(out, "Images:\t\t\t%zu\n", d->n_images);
}

static enum ctl_exit run_inspect(struct ctl *ctl, const struct verb *verb, void *flags,
				 const struct option_seen *seen, const struct strv *args,
				 struct error *err)
{
	return inspect_run(ctl, flags, args, fetch_node, pretty_node, err);
}

/* ---------------------------------------------------------------- update, promote, demote, rm */

int node_change(struct ctl *ctl, const char *ref, node_edit_fn edit, const void *data, Skein__NodeResponse **ret_reply,
		struct error *err)
{
	for (unsigned attempt = 0;; attempt++) {
		_cleanup_pb_ Skein__NodeResponse *reply = node_get(ctl, ref, err);
		Skein__UpdateNodeRequest request = SKEIN__UPDATE_NODE_REQUEST__INIT;

		if (!reply || edit(reply->node->spec, data, err) < 0)
			return -1;
		request.ref = reply->node->id;
		request.revision = reply->node->meta ? reply->node->meta->revision : 0;
		request.spec = reply->node->spec;
		if (conn_call(ctl_conn(ctl), CONN_MANAGER, "UpdateNode", &request, CONN_TIMEOUT_MS,
			      ret_reply, err) == 0)
			return 0;
		if (err->code != ERR_CONFLICT || attempt >= CONFLICT_RETRIES)
			return -1;
	}
}

static int edit_node(pb_node_spec *spec, const void *data, struct error *err)
{
	const struct node_flags *f = data;

	if (f->availability)
		spec->availability =
			(Skein__Availability)(str_eq(f->availability, "drain") ? AVAILABILITY_DRAIN
					      : str_eq(f->availability, "pause")
						      ? AVAILABILITY_PAUSE
						      : AVAILABILITY_ACTIVE);
	if (f->role)
		spec->role = (Skein__NodeRole)(str_eq(f->role, "manager") ? NODE_ROLE_MANAGER
									  : NODE_ROLE_WORKER);
	for (size_t i = 0; i < f->labels_rm.n; i++)
		pb_kv_del(&spec->n_labels, &spec->labels, f->labels_rm.v[i]);
	for (size_t i = 0; i < f->labels.n; i++) {
		const char *value;
		_cleanup_free_ char *key = value_pair(f->labels.v[i], &value, err);

		if (!key)
			return error_wrap(err, "--label-add");
		pb_kv_set(&spec->n_labels, &spec->labels, key, value);
	}
	return 0;
}

static enum ctl_exit run_update(struct ctl *ctl, const struct verb *verb, void *flags,
				const struct option_seen *seen, const struct strv *args,
				struct error *err)
{
	const struct node_flags *f = flags;
	_cleanup_pb_ pb_node_spec *trial = pb_new(&skein__node_spec__descriptor);

	if (!f->availability && !f->role && f->labels.n == 0 && f->labels_rm.n == 0)
		return ctl_usage(err, "nothing to change: give --availability, --label-add, "
				      "--label-rm or --role");
	if (edit_node(trial, f, err) < 0)
		return CTL_USAGE;
	if (node_change(ctl, args->v[0], edit_node, f, NULL, err) < 0)
		return CTL_FAILED;
	puts(args->v[0]);
	return CTL_OK;
}

static int set_role(pb_node_spec *spec, const void *data, struct error *err)
{
	spec->role = *(const Skein__NodeRole *)data;
	return 0;
}

/* Every node is tried; the status is that of the worst. */
static enum ctl_exit change_roles(struct ctl *ctl, const struct strv *args, int role,
				  struct error *err)
{
	Skein__NodeRole wanted = (Skein__NodeRole)role;
	enum ctl_exit status = CTL_OK;

	for (size_t i = 0; i < args->n; i++) {
		if (status != CTL_OK)
			ctl_warn("%s", err->msg);
		if (node_change(ctl, args->v[i], set_role, &wanted, NULL, err) < 0)
			status = CTL_FAILED;
		else if (role == NODE_ROLE_MANAGER)
			printf("Node %s promoted to a manager in the cluster.\n", args->v[i]);
		else
			printf("Manager %s demoted in the cluster.\n", args->v[i]);
	}
	return status;
}

static enum ctl_exit run_promote(struct ctl *ctl, const struct verb *verb, void *flags,
				 const struct option_seen *seen, const struct strv *args,
				 struct error *err)
{
	return change_roles(ctl, args, NODE_ROLE_MANAGER, err);
}

static enum ctl_exit run_demote(struct ctl *ctl, const struct verb *verb, void *flags,
				const struct option_seen *seen, const struct strv *args,
				struct error *err)
{
	return change_roles(ctl, args, NODE_ROLE_WORKER, err);
}

static enum ctl_exit run_rm(struct ctl *ctl, const struct verb *verb, void *flags,
			    const struct option_seen *seen, const struct strv *args,
			    struct error *err)
{
	for (size_t i = 0; i < args->n; i++) {
		Skein__RemoveNodeRequest request = SKEIN__REMOVE_NODE_REQUEST__INIT;

		request.ref = args->v[i];
		request.force = ((struct node_flags *)flags)->force;
		if (conn_call(ctl_conn(ctl), CONN_MANAGER, "RemoveNode", &request, CONN_TIMEOUT_MS,
			      NULL, err) < 0)
			return CTL_FAILED;
		puts(args->v[i]);
	}
	return CTL_OK;
}

static enum ctl_exit run_ps(struct ctl *ctl, const struct verb *verb, void *flags,
			    const struct option_seen *seen, const struct strv *args,
			    struct error *err)
{
	_cleanup_strv_ struct strv nodes = {0};

	for (size_t i = 0; i < MAX(args->n, 1); i++) {
		bool is_self = args->n == 0 || str_eq(args->v[i], "self");
		_cleanup_free_ char *self = is_self ? own_id(ctl) : NULL;

		if (is_self && str_empty(self)) {
			error_set(err, ERR_PRECONDITION,
				  "which node is \"self\" is not known here: name a node");
			return CTL_FAILED;
		}
		strv_add(&nodes, is_self ? self : args->v[i]);
	}
	return ps_run(ctl, verb, flags, NULL, &nodes, err);
}

const struct verb node_verbs[] = {
	{
		.noun = "node",
		.name = "ls",
		.aliases = "list",
		.synopsis = "[OPTIONS]",
		.help = "List the nodes of the cluster",
		.about = "A star marks the node that this runs on.",
		.example = "clusterctl node ls\nclusterctl node ls --filter role=manager --format "
			   "'{{.Hostname}} {{.Status}}'",
		.options = list_options,
		.flags_size = sizeof(struct list_flags),
		.fields = node_fields,
		.filters = NODE_FILTERS,
		.run = run_ls,
	},
	{
		.noun = "node",
		.name = "inspect",
		.synopsis = "[OPTIONS] NODE|self...",
		.help = "Show all that is known of nodes, as JSON",
		.example = "clusterctl node inspect --pretty self\nclusterctl node inspect "
			   "--format '{{.status.address}}' h2",
		.options = inspect_options,
		.flags_size = sizeof(struct inspect_flags),
		.min_args = 1,
		.max_args = ANY_NUMBER,
		.object = OBJECT_NODE,
		.run = run_inspect,
	},
	{
		.noun = "node",
		.name = "ps",
		.synopsis = "[OPTIONS] [NODE...]",
		.help = "List the tasks of nodes (of this one when none is named)",
		.example = "clusterctl node ps h2",
		.options = ps_options,
		.flags_size = sizeof(struct list_flags),
		.max_args = ANY_NUMBER,
		.object = OBJECT_NODE,
		.fields = ps_fields,
		.filters = PS_FILTERS,
		.run = run_ps,
	},
	{
		.noun = "node",
		.name = "update",
		.synopsis = "[OPTIONS] NODE",
		.help = "Change the availability, labels or role of a node",
		.example = "clusterctl node update --availability drain h2\nclusterctl node update "
			   "--label-add rack=a --label-rm zone h2",
		.options = update_options,
		.flags_size = sizeof(struct node_flags),
		.min_args = 1,
		.max_args = 1,
		.object = OBJECT_NODE,
		.run = run_update,
	},
	{
		.noun = "node",
		.name = "promote",
		.synopsis = "NODE...",
		.help = "Make nodes managers",
		.example = "clusterctl node promote h2 h3",
		.options = no_options,
		.flags_size = sizeof(struct no_flags),
		.min_args = 1,
		.max_args = ANY_NUMBER,
		.object = OBJECT_NODE,
		.run = run_promote,
	},
	{
		.noun = "node",
		.name = "demote",
		.synopsis = "NODE...",
		.help = "Make managers workers again",
		.about = "Refused when it is the last manager, or when the managers left would "
			 "have no quorum.",
		.example = "clusterctl node demote h3",
		.options = no_options,
		.flags_size = sizeof(struct no_flags),
		.min_args = 1,
		.max_args = ANY_NUMBER,
		.object = OBJECT_NODE,
		.run = run_demote,
	},
	{
		.noun = "node",
		.name = "rm",
		.aliases = "remove",
		.synopsis = "[OPTIONS] NODE...",
		.help = "Remove nodes from the cluster",
		.about = "A node must be down (it left, or is lost), and may not be a manager. Its "
			 "certificate is refused from then on.",
		.example = "clusterctl node rm h4",
		.options = rm_options,
		.flags_size = sizeof(struct node_flags),
		.min_args = 1,
		.max_args = ANY_NUMBER,
		.object = OBJECT_NODE,
		.run = run_rm,
	},
	{0},
};
