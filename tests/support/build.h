/*
 * build - clusters for tests, written down as they are meant:
 *
 *   struct view *v = view_of(node("n1", .mem_bytes = 64 * MIB), service("web", .replicas = 2),
 *                            task("t1", .service = "web", .slot = 1, .node = "n1"));
 *
 * A task takes its spec from its service. Header only: tests are one file each.
 */
#pragma once
#include "manager/store/view.h"

#include "common/clock.h"
#include "common/mem.h"
#include "common/str.h"

#include <stdlib.h>
#include <string.h>

/* Fields given behind the defaults replace them: that is the point. */
#ifdef __clang__
#pragma clang diagnostic ignored "-Winitializer-overrides"
#else
#pragma GCC diagnostic ignored "-Woverride-init"
#endif

#define MIB (INT64_C(1) << 20)
#define GIB (INT64_C(1) << 30)
#define CPU INT64_C(1000000000)
#define SEC NS_PER_SEC
/* The time of tests: far from zero. */
#define NOW (INT64_C(1700000000) * NS_PER_SEC)

struct node_def {
	const char *id, *labels, *engine_labels, *features, *hostname, *address, *arch, *image;
	uint32_t index; /* 0: its place in view_of() */
	int state, availability, role;
	int64_t cpu_nano, mem_bytes, pids, since;
};

struct service_def {
	const char *id, *image, *constraints, *spread, *network, *env,
		*previous_env; /* lists: separated by ';' */
	uint64_t replicas, version, max_per_node;
	bool global, no_restart_policy;
	int64_t cpu_nano, mem_bytes, pids;
	int condition;
	int64_t restart_delay, window;
	uint64_t max_attempts;
	uint64_t parallelism;
	int64_t update_delay, monitor;
	float ratio;
	int order, failure_action;
	int update_state;
	int64_t update_started_at;
	const char *networks; /* ids, with aliases: "front,db,cache;back" */
	const char *ipv4, *ipv6; /* wanted, in the first of them */
	const char *ports;    /* "8080:80/tcp;:53/udp/host"; nothing before ':' = the cluster chooses */
	const char *given_ports; /* the same, in the endpoint */
	const char *given_vips;	 /* "front=10.0.0.2" */
	bool dnsrr;
};

struct network_def {
	const char *id, *driver, *subnet, *subnet6, *range, *gateway, *aux, *options;
	const char *given, *given6; /* subnets in force */
	const char *err;
	uint32_t vni;
	bool ipv6;
};

struct task_def {
	const char *id, *service, *node, *err;
	uint64_t slot, version;
	int state, desired;
	int64_t created_at, at, start_after;
	const char *addresses; /* "front=10.0.0.3/24;back=fd00::3/64" */
};

struct built {
	enum kind kind;
	void *obj;
};

static inline void add_labels(size_t *n, pb_kv ***list, const char *text)
{
	_cleanup_free_ char *copy = xstrdup(text);
	char *rest = copy;

	for (char *item; rest && (item = strsep(&rest, ";"));) {
		char *value = strchr(item, '=');

		if (value)
			*value++ = '\0';
		pb_kv_set(n, list, item, value);
	}
}

static inline void add_strings(size_t *n, char ***list, const char *text)
{
	_cleanup_free_ char *copy = xstrdup(text);
	char *rest = copy;

	for (char *item; rest && (item = strsep(&rest, ";"));)
		pb_strs_add(n, list, item);
}

static inline struct built build_node(struct node_def def)
{
	pb_node *n = pb_new(&skein__node__descriptor);

	pb_set_str(&n->id, def.id);
	n->role = (Skein__NodeRole)def.role;
	n->spec = pb_new(&skein__node_spec__descriptor);
	n->spec->availability = (Skein__Availability)def.availability;
	add_labels(&n->spec->n_labels, &n->spec->labels, def.labels);
	n->status = pb_new(&skein__node_status__descriptor);
	n->status->state = (Skein__NodeState)def.state;
	n->status->since = def.since;
	pb_set_str(&n->status->address, def.address);
	n->description = pb_new(&skein__node_description__descriptor);
	pb_set_str(&n->description->hostname, def.hostname ? def.hostname : def.id);
	pb_set_str(&n->description->os, "linux");
	pb_set_str(&n->description->arch, def.arch);
	add_labels(&n->description->n_engine_labels, &n->description->engine_labels,
		   def.engine_labels);
	add_labels(&n->description->n_features, &n->description->features, def.features);
	n->index = def.index;
	n->description->capacity = pb_new(&skein__resources__descriptor);
	n->description->capacity->cpu_nano = def.cpu_nano;
	n->description->capacity->mem_bytes = def.mem_bytes;
	n->description->capacity->pids = def.pids;
	if (def.image) {
		pb_image_info *image = pb_new(&skein__image_info__descriptor);

		pb_strs_add(&image->n_names, &image->names, def.image);
		pb_msgs_add(&n->description->n_images, &n->description->images, image);
	}
	return (struct built){KIND_NODE, n};
}

#define node(id_, ...)                                                                             \
	build_node((struct node_def){.id = id_,                                                    \
				     .state = NODE_READY,                                          \
				     .cpu_nano = 4 * CPU,                                          \
				     .mem_bytes = 8 * GIB,                                         \
				     .arch = "x86_64",                                             \
				     .since = NOW,                                                 \
				     ##__VA_ARGS__})

static inline void add_networks(pb_task_spec *spec, const struct service_def *def)
{
	_cleanup_free_ char *copy = xstrdup(def->networks);
	char *rest = copy;

	for (char *item; rest && (item = strsep(&rest, ";"));) {
		pb_attachment_config *config = pb_new(&skein__network_attachment_config__descriptor);
		char *words = item;

		pb_set_str(&config->network_id, strsep(&words, ","));
		pb_set_str(&config->network_name, config->network_id);
		for (char *alias; words && (alias = strsep(&words, ","));)
			pb_strs_add(&config->n_aliases, &config->aliases, alias);
		if (!spec->n_networks) {
			pb_set_str(&config->ipv4, def->ipv4);
			pb_set_str(&config->ipv6, def->ipv6);
		}
		pb_msgs_add(&spec->n_networks, &spec->networks, config);
	}
}

static inline pb_task_spec *build_task_spec(const struct service_def *def, const char *env)
{
	pb_task_spec *spec = pb_new(&skein__task_spec__descriptor);

	spec->container = pb_new(&skein__container_spec__descriptor);
	pb_set_str(&spec->container->image, def->image);
	add_strings(&spec->container->n_env, &spec->container->env, env);
	spec->resources = pb_new(&skein__resource_requirements__descriptor);
	spec->resources->reservations = pb_new(&skein__resources__descriptor);
	spec->resources->reservations->cpu_nano = def->cpu_nano;
	spec->resources->reservations->mem_bytes = def->mem_bytes;
	spec->resources->reservations->pids = def->pids;
	if (!def->no_restart_policy) {
		spec->restart = pb_new(&skein__restart_policy__descriptor);
		spec->restart->condition = (Skein__RestartCondition)def->condition;
		spec->restart->delay = def->restart_delay;
		spec->restart->max_attempts = def->max_attempts;
		spec->restart->window = def->window;
	}
	spec->placement = pb_new(&skein__placement__descriptor);
	add_strings(&spec->placement->n_constraints, &spec->placement->constraints,
		    def->constraints);
	add_strings(&spec->placement->n_spread, &spec->placement->spread, def->spread);
	spec->placement->max_replicas_per_node = def->max_per_node;
	pb_set_str(&spec->network, def->networks ? NULL : def->network);
	add_networks(spec, def);
	return spec;
}

static inline void add_ports(size_t *n, pb_port ***list, const char *text)
{
	_cleanup_free_ char *copy = xstrdup(text);
	char *rest = copy;

	for (char *item; rest && (item = strsep(&rest, ";"));) {
		pb_port *port = pb_new(&skein__port_config__descriptor);
		char *target = strchr(item, ':') + 1, *protocol = strchr(target, '/'), *mode;

		port->published = (uint32_t)atoi(item);
		port->target = (uint32_t)atoi(target);
		mode = protocol ? strchr(protocol + 1, '/') : NULL;
		if (mode) {
			*mode++ = '\0';
			port->mode = PUBLISH_HOST;
			if (strchr(mode, '='))
				pb_set_str(&port->host_ip, strchr(mode, '=') + 1);
		}
		pb_set_str(&port->protocol, protocol ? protocol + 1 : "tcp");
		pb_msgs_add(n, list, port);
	}
}

static inline pb_update_config *build_update_config(const struct service_def *def)
{
	pb_update_config *config = pb_new(&skein__update_config__descriptor);

	config->parallelism = def->parallelism;
	config->delay = def->update_delay;
	config->monitor = def->monitor;
	config->max_failure_ratio = def->ratio;
	config->order = (Skein__UpdateOrder)def->order;
	config->failure_action = (Skein__UpdateFailureAction)def->failure_action;
	return config;
}

static inline pb_service_spec *build_service_spec(const struct service_def *def, const char *env)
{
	pb_service_spec *spec = pb_new(&skein__service_spec__descriptor);

	pb_set_str(&spec->name, def->id);
	if (def->global) {
		spec->mode_case = SKEIN__SERVICE_SPEC__MODE_GLOBAL;
		spec->global = pb_new(&skein__global_mode__descriptor);
	} else {
		spec->mode_case = SKEIN__SERVICE_SPEC__MODE_REPLICATED;
		spec->replicated = pb_new(&skein__replicated_mode__descriptor);
		spec->replicated->replicas = def->replicas;
	}
	spec->task = build_task_spec(def, env);
	spec->update = build_update_config(def);
	spec->rollback = build_update_config(def);
	if (def->ports || def->dnsrr) {
		spec->endpoint = pb_new(&skein__endpoint_spec__descriptor);
		spec->endpoint->mode = def->dnsrr ? ENDPOINT_DNSRR : ENDPOINT_VIP;
		add_ports(&spec->endpoint->n_ports, &spec->endpoint->ports, def->ports);
	}
	return spec;
}

static inline pb_endpoint *build_endpoint(const struct service_def *def)
{
	pb_endpoint *e = pb_new(&skein__endpoint__descriptor);
	_cleanup_free_ char *copy = xstrdup(def->given_vips);
	char *rest = copy;

	e->mode = def->dnsrr ? ENDPOINT_DNSRR : ENDPOINT_VIP;
	add_ports(&e->n_ports, &e->ports, def->given_ports);
	for (char *item; rest && (item = strsep(&rest, ";"));) {
		pb_vip *vip = pb_new(&skein__virtual_ip__descriptor);

		pb_set_str(&vip->network_id, strsep(&item, "="));
		pb_set_str(strchr(item, ':') ? &vip->ipv6 : &vip->ipv4, item);
		pb_msgs_add(&e->n_vips, &e->vips, vip);
	}
	return e;
}

static inline struct built build_service(struct service_def def)
{
	pb_service *s = pb_new(&skein__service__descriptor);

	pb_set_str(&s->id, def.id);
	s->spec_version = def.version;
	s->spec = build_service_spec(&def, def.env);
	if (def.previous_env) {
		s->previous_spec = build_service_spec(&def, def.previous_env);
		s->previous_spec_version = def.version - 1;
	}
	if (def.given_ports || def.given_vips)
		s->endpoint = build_endpoint(&def);
	if (def.update_state) {
		s->update = pb_new(&skein__update_status__descriptor);
		s->update->state = (Skein__UpdateState)def.update_state;
		s->update->started_at = def.update_started_at;
	}
	return (struct built){KIND_SERVICE, s};
}

#define service(id_, ...)                                                                          \
	build_service((struct service_def){.id = id_,                                              \
					   .image = "docker.io/library/web:latest",                \
					   .replicas = 1,                                          \
					   .version = 1,                                           \
					   .condition = RESTART_ANY,                               \
					   .restart_delay = 5 * SEC,                               \
					   .parallelism = 1,                                       \
					   .monitor = 5 * SEC,                                     \
					   .network = "host",                                      \
					   ##__VA_ARGS__})

static inline void add_addresses(pb_task *t, const char *text)
{
	_cleanup_free_ char *copy = xstrdup(text);
	char *rest = copy;

	for (char *item; rest && (item = strsep(&rest, ";"));) {
		pb_attachment *at = pb_new(&skein__network_attachment__descriptor);

		pb_set_str(&at->network_id, strsep(&item, "="));
		pb_set_str(strchr(item, ':') ? &at->ipv6 : &at->ipv4, item);
		pb_msgs_add(&t->n_networks, &t->networks, at);
	}
}

static inline struct built build_task(struct task_def def)
{
	pb_task *t = pb_new(&skein__task__descriptor);

	pb_set_str(&t->id, def.id);
	t->meta = pb_new(&skein__meta__descriptor);
	t->meta->created_at = def.created_at;
	pb_set_str(&t->service_id, def.service);
	pb_set_str(&t->service_name, def.service);
	t->slot = def.slot;
	pb_set_str(&t->node_id, def.node);
	t->spec_version = def.version;
	t->desired = (Skein__TaskState)def.desired;
	t->status = pb_new(&skein__task_status__descriptor);
	t->status->state = (Skein__TaskState)def.state;
	t->status->at = def.at;
	pb_set_str(&t->status->err, def.err);
	t->start_after = def.start_after;
	add_addresses(t, def.addresses);
	return (struct built){KIND_TASK, t};
}

#define task(id_, ...)                                                                             \
	build_task((struct task_def){.id = id_,                                                    \
				     .service = "web",                                             \
				     .state = TASK_RUNNING,                                        \
				     .version = 1,                                                 \
				     .desired = TASK_RUNNING,                                      \
				     .created_at = NOW - 3600 * SEC,                               \
				     .at = NOW - 3600 * SEC,                                       \
				     ##__VA_ARGS__})

static inline void add_pool(size_t *n, pb_ipam_pool ***list, const char *subnet, const struct network_def *def)
{
	pb_ipam_pool *pool;

	if (!subnet)
		return;
	pool = pb_new(&skein__ipam_pool__descriptor);
	pb_set_str(&pool->subnet, subnet);
	if (def) {
		pb_set_str(&pool->ip_range, def->range);
		pb_set_str(&pool->gateway, def->gateway);
		add_labels(&pool->n_aux_addresses, &pool->aux_addresses, def->aux);
	}
	pb_msgs_add(n, list, pool);
}

static inline struct built build_network(struct network_def def)
{
	pb_network *n = pb_new(&skein__network__descriptor);

	pb_set_str(&n->id, def.id);
	pb_set_str(&n->err, def.err);
	n->vni = def.vni;
	n->spec = pb_new(&skein__network_spec__descriptor);
	pb_set_str(&n->spec->name, def.id);
	pb_set_str(&n->spec->driver, def.driver);
	n->spec->ipv6 = def.ipv6;
	add_labels(&n->spec->n_options, &n->spec->options, def.options);
	add_pool(&n->spec->n_pools, &n->spec->pools, def.subnet, &def);
	add_pool(&n->spec->n_pools, &n->spec->pools, def.subnet6, NULL);
	add_pool(&n->n_pools, &n->pools, def.given, &def);
	add_pool(&n->n_pools, &n->pools, def.given6, NULL);
	return (struct built){KIND_NETWORK, n};
}

/* Name and id are one. */
#define network(id_, ...) build_network((struct network_def){.id = id_, .driver = "overlay", ##__VA_ARGS__})

static inline struct built build_cluster(uint32_t history_limit)
{
	pb_cluster *c = pb_new(&skein__cluster__descriptor);

	c->spec = pb_new(&skein__cluster_spec__descriptor);
	c->spec->task_history_limit = history_limit;
	return (struct built){KIND_CLUSTER, c};
}
#define cluster(history_limit) build_cluster(history_limit)

static inline void view_add(struct view *v, struct built b)
{
	pb_task *t = b.kind == KIND_TASK ? b.obj : NULL;
	const pb_service *s = t ? view_service(v, t->service_id) : NULL;
	pb_node *n = b.kind == KIND_NODE ? b.obj : NULL;

	/* Nodes that are there from the beginning have their numbers. */
	if (n && !n->index)
		n->index = 1 + (uint32_t)view_count(v, KIND_NODE);
	/* A task of an older version has the service's previous spec. */
	if (s && !t->spec)
		pb_set_msg(&t->spec, t->spec_version != s->spec_version && s->previous_spec
					     ? s->previous_spec->task
					     : s->spec->task);
	pb_free(view_put(v, b.kind, b.obj));
}

static inline struct view *build_view(const struct built *objects, size_t n)
{
	struct view *v = view_new();

	/* Services first: tasks take their spec from them. */
	for (size_t i = 0; i < n; i++)
		if (objects[i].kind != KIND_TASK)
			view_add(v, objects[i]);
	for (size_t i = 0; i < n; i++)
		if (objects[i].kind == KIND_TASK)
			view_add(v, objects[i]);
	return v;
}

#define view_of(...)                                                                               \
	build_view((struct built[]){__VA_ARGS__},                                                  \
		   sizeof((struct built[]){__VA_ARGS__}) / sizeof(struct built))
