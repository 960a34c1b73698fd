/*
 * Statuses on their way to etcd: messages of all agents in the order they came, as many as fit into
 * one transaction at a time. A message is acknowledged when everything it says is in the view.
 */
#include "internal.h"

#include "common/clock.h"
#include "common/mem.h"
#include "manager/store/store.h"

#include <stdio.h>

#define REPORTS_PER_BATCH 1000

static void message_free(struct report_message *m)
{
	pb_free(m->reports);
	free(m);
}

void reports_add(struct session *s, Skein__StatusReports *reports)
{
	struct dispatcher *d = s->d;
	struct report_message *m = xnew(struct report_message);

	snprintf(m->node_id, sizeof(m->node_id), "%s", s->node_id);
	snprintf(m->session_id, sizeof(m->session_id), "%s", s->id);
	m->reports = reports;
	STAILQ_INSERT_TAIL(&d->queue, m, entry);
	d->stats.reports += reports->n_reports;
	s->queued_reports++;
	writer_kick(&d->statuses);
}

static void fill_batch(struct dispatcher *d)
{
	struct report_message *m;
	size_t n = 0;

	while ((m = STAILQ_FIRST(&d->queue)) &&
	       (n == 0 || n + m->reports->n_reports <= REPORTS_PER_BATCH)) {
		STAILQ_REMOVE_HEAD(&d->queue, entry);
		STAILQ_INSERT_TAIL(&d->batch, m, entry);
		n += MAX(m->reports->n_reports, 1u);
	}
}

static void stage(void *data, struct txn *t)
{
	struct dispatcher *d = data;
	int64_t now = clock_wall_ns();
	struct report_message *m;

	/* A batch that could not be committed is judged again, by the view of now. */
	if (STAILQ_EMPTY(&d->batch))
		fill_batch(d);
	STAILQ_FOREACH(m, &d->batch, entry)
	status_stage(t, store_view(d->store), m->node_id, m->reports, now, d->counts);
}

static void done(void *data, const struct error *err)
{
	struct dispatcher *d = data;
	struct report_message *m;

	if (err)
		return;
	while ((m = STAILQ_FIRST(&d->batch))) {
		STAILQ_REMOVE_HEAD(&d->batch, entry);
		session_ack(d, m);
		message_free(m);
	}
	if (!STAILQ_EMPTY(&d->queue))
		writer_kick(&d->statuses);
}

void reports_open(struct dispatcher *d)
{
	STAILQ_INIT(&d->queue);
	STAILQ_INIT(&d->batch);
	d->statuses = (struct writer){
		.store = d->store, .flags = STORE_CHUNKED, .stage = stage, .done = done, .data = d};
	writer_open(&d->statuses, d->loop, &d->closer);
}

void reports_close(struct dispatcher *d)
{
	writer_close(&d->statuses);
}

static void queue_free(struct report_queue *queue)
{
	struct report_message *m;

	while ((m = STAILQ_FIRST(queue))) {
		STAILQ_REMOVE_HEAD(queue, entry);
		message_free(m);
	}
}

void reports_free(struct dispatcher *d)
{
	queue_free(&d->queue);
	queue_free(&d->batch);
}
