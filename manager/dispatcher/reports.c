/*
 * Statuses on their way to etcd: messages of all agents in the order they came, as many as fit into
 * one transaction at a time. A message is acknowledged when everything it says is in the view.
 */
#include "internal.h"

#include "common/clock.h"
#include "common/mem.h"
#include "common/str.h"
#include "manager/store/store.h"
#include "move.h"

#include <stdio.h>

#define REPORTS_PER_BATCH 1000

static void message_free(struct report_message *m)
{
	pb_free(m->reports);
	pb_free(m->move);
	free(m);
}

static struct report_message *add(struct session *s)
{
	struct report_message *m = xnew(struct report_message);

	snprintf(m->node_id, sizeof(m->node_id), "%s", s->node_id);
	snprintf(m->session_id, sizeof(m->session_id), "%s", s->id);
	STAILQ_INSERT_TAIL(&s->d->queue, m, entry);
	s->queued_reports++;
	writer_kick(&s->d->statuses);
	return m;
}

void reports_add(struct session *s, Skein__StatusReports *reports)
{
	add(s)->reports = reports;
	s->d->stats.reports += reports->n_reports;
}

/* A newer word of the same end, which is whole each time, takes the older one's place while that waits. */
void reports_add_move(struct session *s, pb_migration_report *report)
{
	struct report_message *m;

	STAILQ_FOREACH(m, &s->d->queue, entry) {
		if (!m->move || !str_eq(m->session_id, s->id) || m->move->target != report->target ||
		    !str_eq(m->move->migration_id, report->migration_id))
			continue;
		pb_free(m->move);
		m->move = report;
		return;
	}
	add(s)->move = report;
}

static size_t size_of(const struct report_message *m)
{
	return m->reports ? MAX(m->reports->n_reports, 1u) : 1;
}

static void fill_batch(struct dispatcher *d)
{
	struct report_message *m;
	size_t n = 0;

	while ((m = STAILQ_FIRST(&d->queue)) &&
	       (n == 0 || n + size_of(m) <= REPORTS_PER_BATCH)) {
		STAILQ_REMOVE_HEAD(&d->queue, entry);
		STAILQ_INSERT_TAIL(&d->batch, m, entry);
		n += size_of(m);
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
	STAILQ_FOREACH(m, &d->batch, entry) {
		if (m->reports)
			status_stage(t, store_view(d->store), m->node_id, m->reports, now, d->counts);
		else
			move_stage(t, store_view(d->store), m->node_id, m->move);
	}
}

static void done(void *data, const struct error *err)
{
	struct dispatcher *d = data;
	struct report_message *m;

	if (err)
		return;
	while ((m = STAILQ_FIRST(&d->batch))) {
		STAILQ_REMOVE_HEAD(&d->batch, entry);
		session_written(d, m);
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
