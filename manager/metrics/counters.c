#include "counters.h"

#include "families.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"
#include "manager/store/store.h"
#include "proto/pb.h"
#include "rpc/rpc.h"

#include <string.h>
#include <uthash.h>

#define CODES 17
#define METHODS_MAX 200 /* there are fewer: names come from our own table of methods */

struct api_method {
	UT_hash_handle hh;
	struct strbuf labels; /* service and method, rendered */
	uint64_t codes[CODES];
	struct metric_histogram seconds;
	char path[];
};

static double seconds(int64_t ns)
{
	return (double)ns / (double)NS_PER_SEC;
}

/* ---- API */

/* "skein.Control/GetInfo": service "Control", method "GetInfo". */
static void render(struct api_method *m)
{
	const char *slash = strchr(m->path, '/'), *dot = strchr(m->path, '.');
	_cleanup_free_ char *service = NULL;

	if (!slash || !dot || dot > slash) {
		metrics_label(&m->labels, "service", "none");
		metrics_label(&m->labels, "method", "unknown");
		return;
	}
	service = xstrndup(dot + 1, (size_t)(slash - dot - 1));
	metrics_label(&m->labels, "service", service);
	metrics_label(&m->labels, "method", slash + 1);
}

static struct api_method *method_get(struct manager_counters *c, const char *path)
{
	size_t len = strlen(path);
	struct api_method *m;

	HASH_FIND(hh, c->api, path, len, m);
	if (m || HASH_COUNT(c->api) >= METHODS_MAX)
		return m;
	m = xcalloc(1, sizeof(*m) + len + 1);
	memcpy(m->path, path, len);
	render(m);
	HASH_ADD_KEYPTR(hh, c->api, m->path, len, m);
	return m;
}

void counters_on_call(void *data, const struct rpc_observation *o)
{
	struct api_method *m = method_get(data, o->method);

	if (!m)
		return;
	m->codes[(unsigned)o->code < CODES ? o->code : ERR_UNKNOWN]++;
	if (o->unary && o->code == ERR_OK)
		metric_observe(&m->seconds, &family_api_seconds, seconds(o->took_ns));
}

static bool is_timed(const struct api_method *m)
{
	for (size_t i = 0; i < ARRAY_SIZE(m->seconds.counts); i++)
		if (m->seconds.counts[i])
			return true;
	return false;
}

void counters_write_api(struct metrics_writer *w, const struct manager_counters *c)
{
	metrics_family(w, &family_api_requests);
	for (const struct api_method *m = c->api; m; m = m->hh.next) {
		for (unsigned code = 0; code < CODES; code++) {
			_cleanup_strbuf_ struct strbuf extra = {0};

			if (!m->codes[code])
				continue;
			metrics_label(&extra, "code", error_code_name((enum error_code)code));
			metrics_u64(w, &m->labels, extra.p, m->codes[code]);
		}
	}
	metrics_family(w, &family_api_seconds);
	for (const struct api_method *m = c->api; m; m = m->hh.next)
		if (is_timed(m))
			metrics_histogram(w, &m->labels, NULL, &m->seconds);
}

/* ---- etcd */

void counters_on_etcd(void *data, enum etcd_operation operation, int64_t took_ns, enum error_code code)
{
	struct manager_counters *c = data;

	metric_observe(&c->etcd[operation], &family_etcd_seconds, seconds(took_ns));
	c->etcd_failures[operation] += code != ERR_OK;
}

void counters_on_lag(void *data, int64_t lag_ns)
{
	struct manager_counters *c = data;

	metric_observe(&c->watch_lag, &family_etcd_watch_lag, seconds(lag_ns));
}

void counters_write_etcd(struct metrics_writer *w, const struct manager_counters *c)
{
	static const char *const operations[ETCD_OPERATIONS] = {
		[ETCD_READ] = "operation=\"read\"",
		[ETCD_TXN] = "operation=\"txn\"",
		[ETCD_LEASE] = "operation=\"lease\"",
		[ETCD_MEMBERS] = "operation=\"members\"",
	};

	metrics_family(w, &family_etcd_seconds);
	for (unsigned i = 0; i < ETCD_OPERATIONS; i++)
		metrics_histogram(w, NULL, operations[i], &c->etcd[i]);
	metrics_family(w, &family_etcd_failures);
	for (unsigned i = 0; i < ETCD_OPERATIONS; i++)
		metrics_u64(w, NULL, operations[i], c->etcd_failures[i]);
	metrics_family(w, &family_etcd_watch_lag);
	metrics_histogram(w, NULL, NULL, &c->watch_lag);
}

/* ---- deciding */

void counters_on_plan(void *data, int64_t plan_ns)
{
	struct manager_counters *c = data;

	metric_observe(&c->plan, &family_plan, seconds(plan_ns));
}

static int state_of(const pb_task *task)
{
	return task && task->status ? (int)task->status->state : TASK_NEW;
}

void counters_on_events(void *data, const struct store_event *events, size_t n)
{
	struct manager_counters *c = data;

	for (size_t i = 0; i < n; i++) {
		const pb_task *old = events[i].old, *now = events[i].now;

		if (events[i].kind != KIND_TASK || !old || !now || state_of(now) != TASK_RUNNING ||
		    state_of(old) >= TASK_RUNNING || !now->meta)
			continue;
		/* Two clocks: the writer's and the agent's. */
		metric_observe(&c->start, &family_start, seconds(MAX(now->status->at - now->meta->created_at, 0)));
	}
}

void counters_leader(struct manager_counters *c, const char *node_id)
{
	size_t len = strlen(node_id);

	if (!len || len >= sizeof(c->leader) || str_eq(c->leader, node_id))
		return;
	c->leader_changes += c->leader[0] != '\0';
	memcpy(c->leader, node_id, len + 1);
}

void counters_fini(struct manager_counters *c)
{
	struct api_method *m, *next;

	HASH_ITER (hh, c->api, m, next) {
		HASH_DEL(c->api, m);
		strbuf_fini(&m->labels);
		free(m);
	}
}
