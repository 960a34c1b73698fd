#include "reporter.h"

#include "common/mem.h"

#include <stdbool.h>
#include <string.h>
#include <uthash.h>

#define BATCH_MAX 500

struct pending {
	UT_hash_handle hh;
	pb_task_status *status;
	uint64_t in_batch; /* sequence of the batch that carries this very status; 0 = none */
	char id[];
};

struct reporter {
	int (*send)(void *data, const Skein__StatusReports *batch);
	void *data;
	struct pending *pending;
	uint64_t sequence, in_flight; /* 0 = none */
	bool up;
	bool due; /* something pending may not be held back (any longer) */
	uv_timer_t hold;
};

struct reporter *reporter_new(uv_loop_t *loop, int (*send)(void *data, const Skein__StatusReports *batch), void *data)
{
	struct reporter *r = xnew(struct reporter);

	r->send = send;
	r->data = data;
	uv_timer_init(loop, &r->hold);
	r->hold.data = r;
	return r;
}

static void drop(struct reporter *r, struct pending *p)
{
	HASH_DEL(r->pending, p);
	pb_free(p->status);
	free(p);
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void reporter_free(struct reporter *r)
{
	struct pending *p, *next;

	if (!r)
		return;
	HASH_ITER(hh, r->pending, p, next)
		drop(r, p);
	uv_close((uv_handle_t *)&r->hold, on_closed);
}

static void flush(struct reporter *r)
{
	Skein__StatusReports batch = SKEIN__STATUS_REPORTS__INIT;
	Skein__TaskStatusReport entries[BATCH_MAX], *list[BATCH_MAX];
	size_t n = 0;

	if (!r->pending)
		r->due = false;
	if (!r->up || !r->due || r->in_flight)
		return;
	for (struct pending *p = r->pending; p && n < BATCH_MAX; p = p->hh.next) {
		entries[n] = (Skein__TaskStatusReport)SKEIN__TASK_STATUS_REPORT__INIT;
		entries[n].task_id = p->id;
		entries[n].status = p->status;
		list[n] = &entries[n];
		p->in_batch = r->sequence + 1;
		n++;
	}
	batch.sequence = ++r->sequence;
	batch.reports = list;
	batch.n_reports = n;
	if (r->send(r->data, &batch) < 0)
		return;
	r->in_flight = batch.sequence;
	r->due = n < HASH_COUNT(r->pending);
	if (!r->due)
		uv_timer_stop(&r->hold);
}

static void flush_now(struct reporter *r)
{
	r->due = true;
	flush(r);
}

static void on_held(uv_timer_t *timer)
{
	flush_now(timer->data);
}

void reporter_put(struct reporter *r, const char *task_id, const pb_task_status *status)
{
	struct pending *p;
	size_t len = strlen(task_id);

	HASH_FIND(hh, r->pending, task_id, len, p);
	if (!p) {
		p = xcalloc(1, sizeof(*p) + len + 1);
		memcpy(p->id, task_id, len);
		HASH_ADD(hh, r->pending, id, len, p);
	}
	pb_free(p->status);
	p->status = pb_dup_clean(status); /* a runtime's words may be any bytes */
	p->in_batch = 0;
	if (status->state >= (Skein__TaskState)TASK_RUNNING)
		flush_now(r);
	else if (!r->due && !uv_is_active((uv_handle_t *)&r->hold))
		uv_timer_start(&r->hold, on_held, REPORTER_HOLD_MS, 0);
}

void reporter_drop(struct reporter *r, const char *task_id)
{
	struct pending *p;

	HASH_FIND(hh, r->pending, task_id, strlen(task_id), p);
	if (p)
		drop(r, p);
}

void reporter_ack(struct reporter *r, uint64_t sequence)
{
	struct pending *p, *next;

	if (sequence != r->in_flight || sequence == 0)
		return;
	r->in_flight = 0;
	HASH_ITER(hh, r->pending, p, next) {
		if (p->in_batch == sequence)
			drop(r, p);
	}
	flush(r);
}

void reporter_session(struct reporter *r, bool up)
{
	r->up = up;
	r->in_flight = 0;
	for (struct pending *p = r->pending; p; p = p->hh.next)
		p->in_batch = 0;
	flush_now(r);
}
