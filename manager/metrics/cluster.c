#include "cluster.h"

#include "families.h"

#include "common/clock.h"
#include "common/mem.h"
#include "common/str.h"
#include "manager/store/view.h"

#include <stdio.h>
#include <string.h>
#include <uthash.h>

#define STATES_MAX 16
#define REASONS_MAX 16

static const int states[] = {TASK_NEW,	   TASK_PENDING, TASK_ASSIGNED, TASK_ACCEPTED, TASK_PREPARING, TASK_READY,   TASK_STARTING,
			     TASK_RUNNING, TASK_COMPLETE, TASK_SHUTDOWN, TASK_FAILED,	TASK_REJECTED,	TASK_ORPHANED};

struct service_row {
	UT_hash_handle hh;
	const pb_service *service;
	struct strbuf labels;
	uint64_t running;
};

struct reason_row {
	const char *name;
	uint64_t n;
};

struct counting {
	const struct cluster_ops *ops;
	struct service_row *rows, *by_id;
	size_t n_rows;
	uint64_t tasks[STATES_MAX];
	struct reason_row reasons[REASONS_MAX];
	size_t n_reasons;
};

/* ---- counting */

static int state_of(const pb_task *task)
{
	return task->status ? (int)task->status->state : TASK_NEW;
}

static void count_reason(struct counting *c, const char *name)
{
	size_t i = 0;

	while (i < c->n_reasons && !str_eq(c->reasons[i].name, name))
		i++;
	if (i == REASONS_MAX)
		return;
	if (i == c->n_reasons)
		c->reasons[c->n_reasons++].name = name;
	c->reasons[i].n++;
}

static void count_pending(struct counting *c, const pb_task *task)
{
	bool told = task->status && *task->status->err;
	const char *reason = !told ? "waiting" : c->ops->refused_by(c->ops->data, task);

	/* What the allocator could not give leaves a task NEW. */
	if (!reason)
		reason = state_of(task) == TASK_NEW ? "networks" : "other";
	count_reason(c, reason);
}

static void count_task(void *data, const void *obj)
{
	struct counting *c = data;
	const pb_task *task = obj;
	struct service_row *row;
	int state = state_of(task);
	bool wanted = (int)task->desired <= TASK_RUNNING;

	for (size_t i = 0; i < ARRAY_SIZE(states); i++)
		c->tasks[i] += states[i] == state;
	if (wanted && state < TASK_ASSIGNED)
		count_pending(c, task);
	if (!wanted || state != TASK_RUNNING)
		return;
	HASH_FIND_STR(c->by_id, task->service_id, row);
	if (row)
		row->running++;
}

static void add_service(void *data, const void *obj)
{
	struct counting *c = data;
	struct service_row *row = &c->rows[c->n_rows++];

	row->service = obj;
	metrics_label(&row->labels, "service", row->service->spec ? row->service->spec->name : "");
	metrics_label(&row->labels, "service_id", row->service->id);
	HASH_ADD_KEYPTR(hh, c->by_id, row->service->id, strlen(row->service->id), row);
}

static uint64_t desired(const struct counting *c, const struct view *v, const pb_service *service)
{
	if (!service->spec)
		return 0;
	return service->spec->mode_case == SKEIN__SERVICE_SPEC__MODE_REPLICATED ? service->spec->replicated->replicas
									       : c->ops->global_wanted(c->ops->data, v, service);
}

/* ---- writing */

static void lower(char *text)
{
	for (; *text; text++)
		*text = *text >= 'A' && *text <= 'Z' ? (char)(*text - 'A' + 'a') : *text;
}

static void write_tasks(struct metrics_writer *w, const struct counting *c)
{
	char extra[64];

	metrics_family(w, &family_tasks);
	for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
		snprintf(extra, sizeof(extra), "state=\"%s\"", pb_task_state_name(states[i]));
		lower(extra);
		metrics_u64(w, NULL, extra, c->tasks[i]);
	}
	metrics_family(w, &family_pending);
	for (size_t i = 0; i < c->n_reasons; i++) {
		snprintf(extra, sizeof(extra), "reason=\"%s\"", c->reasons[i].name);
		metrics_u64(w, NULL, extra, c->reasons[i].n);
	}
}

static void write_services(struct metrics_writer *w, const struct view *v, const struct counting *c)
{
	metrics_one_u64(w, &family_services, c->n_rows);
	metrics_family(w, &family_desired);
	for (size_t i = 0; i < c->n_rows; i++)
		metrics_u64(w, &c->rows[i].labels, NULL, desired(c, v, c->rows[i].service));
	metrics_family(w, &family_running);
	for (size_t i = 0; i < c->n_rows; i++)
		metrics_u64(w, &c->rows[i].labels, NULL, c->rows[i].running);
}

static void node_labels(struct strbuf *labels, const pb_node *node)
{
	metrics_label(labels, "node", pb_node_name(node));
	metrics_label(labels, "node_id", node->id);
}

static unsigned bounded(int value, unsigned n)
{
	return value >= 0 && (unsigned)value < n ? (unsigned)value : 0;
}

#define NODE_STATES 4
#define AVAILABILITIES 3
#define ROLES 2

static void write_node_counts(struct metrics_writer *w, const pb_node *const *nodes, size_t n)
{
	uint64_t counts[NODE_STATES][AVAILABILITIES][ROLES] = {0};
	char extra[128];

	for (size_t i = 0; i < n; i++) {
		unsigned state = bounded(nodes[i]->status ? (int)nodes[i]->status->state : NODE_UNKNOWN, NODE_STATES);
		unsigned availability = bounded(nodes[i]->spec ? (int)nodes[i]->spec->availability : 0, AVAILABILITIES);

		counts[state][availability][bounded((int)nodes[i]->role, ROLES)]++;
	}
	metrics_family(w, &family_nodes);
	for (unsigned i = 0; i < NODE_STATES * AVAILABILITIES * ROLES; i++) {
		unsigned state = i / (AVAILABILITIES * ROLES), availability = i / ROLES % AVAILABILITIES, role = i % ROLES;

		snprintf(extra, sizeof(extra), "state=\"%s\",availability=\"%s\",role=\"%s\"", pb_node_state_name((int)state),
			 pb_availability_name((int)availability), pb_role_name((int)role));
		lower(extra);
		metrics_u64(w, NULL, extra, counts[state][availability][role]);
	}
}

static void write_nodes(struct metrics_writer *w, const struct view *v)
{
	_cleanup_free_ const void **nodes = NULL;
	struct strbuf *labels;
	size_t n;

	nodes = view_list(v, KIND_NODE, &n);
	labels = xcalloc(n + 1, sizeof(*labels));
	for (size_t i = 0; i < n; i++)
		node_labels(&labels[i], nodes[i]);
	write_node_counts(w, (const pb_node *const *)nodes, n);
	metrics_family(w, &family_node_ready);
	for (size_t i = 0; i < n; i++) {
		const pb_node *node = nodes[i];

		metrics_u64(w, &labels[i], NULL, node->status && (int)node->status->state == NODE_READY);
	}
	metrics_family(w, &family_node_certificate);
	for (size_t i = 0; i < n; i++) {
		const pb_node *node = nodes[i];

		if (node->cert_expires_at > 0)
			metrics_u64(w, &labels[i], NULL, (uint64_t)(node->cert_expires_at / NS_PER_SEC));
	}
	for (size_t i = 0; i < n; i++)
		strbuf_fini(&labels[i]);
	free(labels);
}

static void write_cluster(struct metrics_writer *w, const struct view *v)
{
	const pb_cluster *cluster = view_cluster(v);
	_cleanup_strbuf_ struct strbuf labels = {0};

	metrics_family(w, &family_cluster);
	if (cluster) {
		metrics_label(&labels, "cluster", cluster->id);
		metrics_info(w, &labels);
	}
	metrics_one_u64(w, &family_networks, view_count(v, KIND_NETWORK));
}

void cluster_write(struct metrics_writer *w, const struct view *v, const struct cluster_ops *ops)
{
	struct counting c = {.ops = ops};

	c.rows = xcalloc(view_count(v, KIND_SERVICE) + 1, sizeof(*c.rows));
	view_each(v, KIND_SERVICE, add_service, &c);
	view_each(v, KIND_TASK, count_task, &c);
	write_cluster(w, v);
	write_services(w, v, &c);
	write_tasks(w, &c);
	write_nodes(w, v);
	HASH_CLEAR(hh, c.by_id);
	for (size_t i = 0; i < c.n_rows; i++)
		strbuf_fini(&c.rows[i].labels);
	free(c.rows);
}
