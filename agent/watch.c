#include "agent_internal.h"

#include "common/mem.h"
#include "common/str.h"
#include "identity.h"
#include "metrics/server.h"
#include "session.h"

#include <stdio.h>

/* ---------------------------------------------------------------- health */

static bool runtime_works(void *data, struct error *err)
{
	struct agent *a = data;

	if (!a->exec_works)
		*err = a->exec_error; /* none: it is being probed */
	return a->exec_works;
}

static bool network_works(void *data, struct error *err)
{
	struct agent *a = data;

	if (!a->net_works)
		*err = a->net_error;
	return a->net_works;
}

static bool has_session(void *data, struct error *err)
{
	struct agent *a = data;

	if (a->removed)
		error_set(err, ERR_PRECONDITION, "the node was removed from its cluster");
	else if (error_is_set(&a->unusable))
		*err = a->unusable;
	else if (!active_is(a))
		error_set(err, ERR_PRECONDITION, "the node is in no cluster");
	else if (str_empty(session_manager(a->session)))
		error_set(err, ERR_UNAVAILABLE, "no manager answers");
	else
		return true;
	return false;
}

static const struct health_check checks[] = {
	{"runtime", runtime_works},
	{"network", network_works},
	{"session", has_session},
};

/* Without a manager the node still runs its containers: that is not what a restart of the agent would help. */
#define N_ALIVE 2

/* ---------------------------------------------------------------- metrics */

static void facts(void *data, struct collector_facts *ret)
{
	struct agent *a = data;
	const struct identity_data *id = a->identity ? identity_get(a->identity) : NULL;

	*ret = (struct collector_facts){
		.node_id = id ? id->node_id : "",
		.runtime_up = a->exec_works,
		.network_up = a->net_works,
		.cert_expires_at = id ? id->not_after_ns : 0,
		.reserved_mem_bytes = a->config->reserved_mem_bytes,
	};
	if (a->session) {
		ret->session_up = !str_empty(session_manager(a->session));
		ret->sessions = session_count(a->session);
	}
}

static const char *or_null(const char *s)
{
	return str_empty(s) ? NULL : s;
}

static const char *address_of(const struct agent_config *c)
{
	return str_empty(c->metrics_address) ? c->listen : c->metrics_address;
}

const char *watch_where(const struct agent_config *c, char where[static MANAGER_CONF_WHERE_MAX])
{
	bool own = str_starts(address_of(c), "127.") || str_eq(address_of(c), "::1");

	where[0] = '\0';
	if (c->metrics && !own)
		snprintf(where, MANAGER_CONF_WHERE_MAX, "%s:%u", str_empty(c->metrics_cert) ? "http" : "https",
			 (unsigned)c->metrics_port);
	return where;
}

struct metrics_server *watch_open(struct agent *a)
{
	const struct agent_config *c = a->config;
	struct metrics_server_options options = {
		.collector = {
			.loop = a->loop, .worker = a->worker, .images = a->images, .task_stats = a->task_stats, .net = a->net,
			.cgroup_parent = c->cgroup_parent, .labels = (const char *const *)c->metrics_labels.v, .facts = facts, .data = a,
		},
		.address = address_of(c),
		.port = (uint16_t)c->metrics_port,
		.cert_file = or_null(c->metrics_cert), .key_file = or_null(c->metrics_key),
		.client_ca_file = or_null(c->metrics_client_ca),
		.alive = checks, .n_alive = N_ALIVE,
		.ready = checks, .n_ready = ARRAY_SIZE(checks),
	};

	return metrics_server_new(&options);
}
