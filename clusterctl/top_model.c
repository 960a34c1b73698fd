#include "top_model.h"

#include "top_index.h"

#include "common/mem.h"
#include "common/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define NANO 1e9

const struct list_field top_node_fields[] = {
	{"Name", "NODE"},	    {"Status", "STATUS"}, {"Tasks", "TASKS"}, {"CPUPerc", "CPU %"}, {"MemUsage", "MEM USAGE / LIMIT"},
	{"MemPerc", "MEM %"}, {"NetIO", "NET I/O"}, {0},
};
const struct list_field top_service_fields[] = {
	{"Name", "SERVICE"},	  {"Tasks", "TASKS"}, {"CPUPerc", "CPU %"}, {"MemUsage", "MEM USAGE"},
	{"NetIO", "NET I/O"}, {"PIDs", "PIDS"},	  {"Restarts", "RESTARTS"}, {0},
};
const struct list_field top_task_fields[] = {
	{"Name", "TASK"},      {"Node", "NODE"},     {"CPUPerc", "CPU %"}, {"MemUsage", "MEM USAGE / LIMIT"}, {"MemPerc", "MEM %"},
	{"NetIO", "NET I/O"}, {"BlockIO", "BLOCK I/O"}, {"PIDs", "PIDS"},     {"Restarts", "RESTARTS"},		  {"ID", NULL}, {0},
};

/* ---------------------------------------------------------------- joining */

static struct top_row *add_row(struct top_rows *rows, const char *name)
{
	rows->v = xreallocarray(rows->v, rows->n + 1, sizeof(*rows->v));
	rows->v[rows->n] = (struct top_row){.name = xstrdup(name)};
	return &rows->v[rows->n++];
}

static void add_usage(struct top_row *row, const pb_task_usage *u)
{
	row->cpu_nano += u->cpu_nano;
	row->mem_bytes += u->mem_bytes;
	row->mem_limit_bytes += u->mem_limit_bytes;
	row->net_rx_rate += u->net_rx_rate;
	row->net_tx_rate += u->net_tx_rate;
	row->block_read_bytes += u->block_read_bytes;
	row->block_write_bytes += u->block_write_bytes;
	row->pids += u->pids;
}

static bool runs(const pb_task *task)
{
	return task->status && (int)task->status->state == TASK_RUNNING;
}

/* A node or service -> its row. */
struct row_of {
	UT_hash_handle hh;
	size_t row;
	const char *id;
};

static struct row_of *rows_by_id(size_t n)
{
	return xcalloc(n + 1, sizeof(struct row_of));
}

static struct top_row *row_of_id(struct top_rows *rows, const struct row_of *map, const char *id)
{
	const struct row_of *r;

	HASH_FIND_STR(map, id, r);
	return r ? &rows->v[r->row] : NULL;
}

static void make_node(const struct top_index *x, const pb_node *node, struct top_row *row)
{
	const pb_node_usage *u = top_index_sample(x, node->id);

	row->status = xstrdup(pb_node_state_name(node->status ? (int)node->status->state : NODE_UNKNOWN));
	for (char *p = row->status + 1; row->status[0] && *p; p++)
		*p = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
	row->mem_limit_bytes = node->description && node->description->capacity ? (uint64_t)node->description->capacity->mem_bytes : 0;
	if (!u || *u->error)
		return;
	row->measured = true;
	row->cpu_nano = u->cpu_nano;
	row->mem_bytes = u->mem_bytes;
	row->net_rx_rate = u->net_rx_rate;
	row->net_tx_rate = u->net_tx_rate;
	if (u->capacity)
		row->mem_limit_bytes = (uint64_t)u->capacity->mem_bytes;
}

static void make_nodes(const struct top_state *s, const struct top_index *x, struct top_rows *rows)
{
	size_t n = s->nodes ? s->nodes->n_nodes : 0;
	_cleanup_free_ struct row_of *ids = rows_by_id(n);
	struct row_of *map = NULL;

	for (size_t i = 0; i < n; i++) {
		const pb_node *node = s->nodes->nodes[i];

		make_node(x, node, add_row(rows, pb_node_name(node)));
		ids[i] = (struct row_of){.row = i, .id = node->id};
		HASH_ADD_KEYPTR(hh, map, ids[i].id, strlen(ids[i].id), &ids[i]);
	}
	for (size_t t = 0; t < s->tasks->n_tasks; t++) {
		struct top_row *row = runs(s->tasks->tasks[t]) ? row_of_id(rows, map, s->tasks->tasks[t]->node_id) : NULL;

		if (row)
			row->running++;
	}
	HASH_CLEAR(hh, map);
}

static void add_task(const struct top_index *x, const pb_task *task, struct top_row *row)
{
	const pb_task_usage *u = top_index_usage(x, task);

	row->restarts += top_index_restarts(x, task);
	if (u)
		add_usage(row, u);
	else
		row->measured = false;
}

static void make_services(const struct top_state *s, const struct top_index *x, struct top_rows *rows)
{
	size_t n = s->services ? s->services->n_services : 0;
	_cleanup_free_ struct row_of *ids = rows_by_id(n);
	struct row_of *map = NULL;

	for (size_t i = 0; i < n; i++) {
		const Skein__ServiceSummary *summary = s->services->services[i];
		struct top_row *row = add_row(rows, summary->service->spec ? summary->service->spec->name : summary->service->id);

		row->running = summary->running;
		row->desired = summary->desired;
		row->measured = true;
		ids[i] = (struct row_of){.row = i, .id = summary->service->id};
		HASH_ADD_KEYPTR(hh, map, ids[i].id, strlen(ids[i].id), &ids[i]);
	}
	for (size_t t = 0; t < s->tasks->n_tasks; t++) {
		const pb_task *task = s->tasks->tasks[t];
		struct top_row *row = runs(task) ? row_of_id(rows, map, task->service_id) : NULL;

		if (row)
			add_task(x, task, row);
	}
	HASH_CLEAR(hh, map);
}

static void make_tasks(const struct top_state *s, const struct top_index *x, struct top_rows *rows)
{
	for (size_t i = 0; i < s->tasks->n_tasks; i++) {
		const pb_task *task = s->tasks->tasks[i];
		const char *node = pb_kv_get(s->tasks->node_names, s->tasks->n_node_names, task->node_id);
		char name[PB_TASK_NAME_MAX];
		struct top_row *row;

		if (!runs(task))
			continue;
		row = add_row(rows, pb_task_name(task, name));
		row->node = xstrdup(node ? node : task->node_id);
		row->status = xstrdup(task->id);
		row->measured = true;
		add_task(x, task, row);
	}
}

/* ---------------------------------------------------------------- sorting: what is most stands first, names break ties */

static uint64_t value_of(const struct top_row *row, enum top_sort sort)
{
	switch (sort) {
	case TOP_BY_CPU:
		return row->cpu_nano;
	case TOP_BY_MEMORY:
		return row->mem_bytes;
	case TOP_BY_NETWORK:
		return row->net_rx_rate + row->net_tx_rate;
	case TOP_BY_RESTARTS:
		return row->restarts;
	case TOP_BY_NAME:
		break;
	}
	return 0;
}

static int compare(const void *a, const void *b, void *data)
{
	const struct top_row *x = a, *y = b;
	uint64_t vx = value_of(x, *(enum top_sort *)data), vy = value_of(y, *(enum top_sort *)data);

	if (vx != vy)
		return vx > vy ? -1 : 1;
	return strverscmp(x->name, y->name);
}

void top_rows_make(const struct top_state *state, enum top_kind kind, enum top_sort sort, struct top_rows *ret)
{
	struct top_index *x = top_index_new(state);

	*ret = (struct top_rows){0};
	if (kind == TOP_NODES)
		make_nodes(state, x, ret);
	else if (kind == TOP_SERVICES)
		make_services(state, x, ret);
	else
		make_tasks(state, x, ret);
	top_index_free(x);
	if (ret->n)
		qsort_r(ret->v, ret->n, sizeof(*ret->v), compare, &sort);
}

void top_rows_fini(struct top_rows *rows)
{
	for (size_t i = 0; i < rows->n; i++) {
		free(rows->v[i].name);
		free(rows->v[i].node);
		free(rows->v[i].status);
	}
	free(rows->v);
	*rows = (struct top_rows){0};
}

bool top_complete(const struct top_state *s)
{
	for (size_t i = 0; i < s->n_samples; i++)
		if (!*s->samples[i]->error && !s->samples[i]->cpu_nano)
			return false;
	return true;
}

/* ---------------------------------------------------------------- cells */

static void put_memory(struct listing *l, const struct top_row *row, bool limit)
{
	char used[STR_HUMAN_MAX], max[STR_HUMAN_MAX];

	if (!row->measured)
		listing_cell(l, "--");
	else if (limit && row->mem_limit_bytes)
		listing_cellf(l, "%s / %s", str_bytes_human((int64_t)row->mem_bytes, used),
			      str_bytes_human((int64_t)row->mem_limit_bytes, max));
	else
		listing_cell(l, str_bytes_human((int64_t)row->mem_bytes, used));
}

static void put_pair(struct listing *l, const struct top_row *row, uint64_t a, uint64_t b, const char *per)
{
	char x[STR_HUMAN_MAX], y[STR_HUMAN_MAX];

	if (row->measured)
		listing_cellf(l, "%s%s / %s%s", str_bytes_human((int64_t)a, x), per, str_bytes_human((int64_t)b, y), per);
	else
		listing_cell(l, "--");
}

static void put_percent(struct listing *l, const struct top_row *row, double part, double whole)
{
	if (row->measured && whole > 0)
		listing_cellf(l, "%.2f%%", 100 * part / whole);
	else
		listing_cell(l, "--");
}

/* 100 % is one core, as Docker has it. */
static void put_cpu(struct listing *l, const struct top_row *row)
{
	put_percent(l, row, (double)row->cpu_nano, NANO);
}

static void put_mem_percent(struct listing *l, const struct top_row *row)
{
	put_percent(l, row, (double)row->mem_bytes, (double)row->mem_limit_bytes);
}

static void put_number(struct listing *l, const struct top_row *row, uint64_t n)
{
	if (row->measured)
		listing_cellf(l, "%" PRIu64, n);
	else
		listing_cell(l, "--");
}

static void fill_node(struct listing *l, const struct top_row *row)
{
	listing_cell(l, row->name);
	listing_cell(l, row->status);
	listing_cellf(l, "%" PRIu64, row->running);
	put_cpu(l, row);
	put_memory(l, row, true);
	put_mem_percent(l, row);
	put_pair(l, row, row->net_rx_rate, row->net_tx_rate, "/s");
}

static void fill_service(struct listing *l, const struct top_row *row)
{
	listing_cell(l, row->name);
	listing_cellf(l, "%" PRIu64 "/%" PRIu64, row->running, row->desired);
	put_cpu(l, row);
	put_memory(l, row, false);
	put_pair(l, row, row->net_rx_rate, row->net_tx_rate, "/s");
	put_number(l, row, row->pids);
	listing_cellf(l, "%" PRIu64, row->restarts);
}

static void fill_task(struct listing *l, const struct top_row *row)
{
	listing_cell(l, row->name);
	listing_cell(l, row->node);
	put_cpu(l, row);
	put_memory(l, row, true);
	put_mem_percent(l, row);
	put_pair(l, row, row->net_rx_rate, row->net_tx_rate, "/s");
	put_pair(l, row, row->block_read_bytes, row->block_write_bytes, "");
	put_number(l, row, row->pids);
	listing_cellf(l, "%" PRIu64, row->restarts);
	listing_cell(l, row->status);
}

void top_fill(struct listing *l, enum top_kind kind, const struct top_rows *rows)
{
	static void (*const fill[])(struct listing *l, const struct top_row *row) = {
		[TOP_NODES] = fill_node, [TOP_SERVICES] = fill_service, [TOP_TASKS] = fill_task};

	for (size_t i = 0; i < rows->n; i++)
		fill[kind](l, &rows->v[i]);
}
