#include "usage_feed.h"

#include "agent/net/stats.h"
#include "agent/task.h"
#include "agent/worker.h"
#include "common/clock.h"
#include "common/loop.h"
#include "common/mem.h"
#include "containers.h"
#include "host_usage.h"

#include <string.h>
#include <sys/queue.h>

#define PERIOD_MS 1000

struct usage_feed_sub {
	LIST_ENTRY(usage_feed_sub) entry;
	struct usage_feed *feed;
	void (*cb)(void *data, const pb_node_usage *sample); /* NULL: gone while others are told */
	void *data;
};

struct usage_feed {
	struct usage_feed_options opt;
	struct containers containers; /* the loop's, but while `reading` */
	struct host_usage host, host_before;
	pb_node_usage *before; /* the last sample; NULL = there is none to compare with */
	int64_t at, before_at; /* monotonic: rates */
	uv_timer_t timer;
	bool reading, telling;
	LIST_HEAD(, usage_feed_sub) subs;
	struct closer closer;
};

/* ---------------------------------------------------------------- samples */

static uint64_t rate(uint64_t now, uint64_t before, int64_t over_ns)
{
	return now > before && over_ns > 0 ? (uint64_t)((double)(now - before) * (double)NS_PER_SEC / (double)over_ns) : 0;
}

static const pb_task_usage *task_before(const struct usage_feed *f, const char *id)
{
	for (size_t i = 0; f->before && i < f->before->n_tasks; i++)
		if (strcmp(f->before->tasks[i]->task_id, id) == 0)
			return f->before->tasks[i];
	return NULL;
}

static pb_task_usage *task_sample(const struct usage_feed *f, const struct watched *x)
{
	pb_task_usage *t = pb_new(&skein__task_usage__descriptor);
	const pb_task_usage *before = task_before(f, x->id);
	int64_t over = f->at - f->before_at;

	pb_set_str(&t->task_id, x->id);
	t->cpu_ns = x->usage.cpu_ns;
	t->mem_bytes = usage_working_set(&x->usage);
	t->mem_limit_bytes = (uint64_t)MAX(x->mem_limit_bytes, 0);
	t->pids = x->usage.pids;
	t->block_read_bytes = x->usage.read_bytes;
	t->block_write_bytes = x->usage.written_bytes;
	for (unsigned i = 0; i < x->n_ifaces; i++) {
		t->net_rx_bytes += x->ifaces[i].traffic.rx_bytes;
		t->net_tx_bytes += x->ifaces[i].traffic.tx_bytes;
	}
	if (!before)
		return t;
	t->cpu_nano = rate(t->cpu_ns, before->cpu_ns, over);
	t->net_rx_rate = rate(t->net_rx_bytes, before->net_rx_bytes, over);
	t->net_tx_rate = rate(t->net_tx_bytes, before->net_tx_bytes, over);
	return t;
}

static pb_node_usage *node_sample(const struct usage_feed *f)
{
	pb_node_usage *n = pb_new(&skein__node_usage__descriptor);
	int64_t over = f->at - f->before_at;

	n->at = clock_wall_ns();
	n->mem_bytes = f->host.mem_bytes;
	n->capacity = pb_new(&skein__resources__descriptor);
	n->capacity->mem_bytes = (int64_t)f->host.mem_total_bytes;
	if (f->before) {
		n->cpu_nano = MAX(rate(f->host.busy_ns, f->host_before.busy_ns, over), UINT64_C(1)); /* 0 is the first sample's */
		n->net_rx_rate = rate(f->host.rx_bytes, f->host_before.rx_bytes, over);
		n->net_tx_rate = rate(f->host.tx_bytes, f->host_before.tx_bytes, over);
	}
	for (const struct watched *x = f->containers.all; x; x = x->hh.next)
		if (x->usable)
			pb_msgs_add(&n->n_tasks, &n->tasks, task_sample(f, x));
	return n;
}

/* ---------------------------------------------------------------- subscribers */

static bool anybody(const struct usage_feed *f)
{
	const struct usage_feed_sub *sub;

	LIST_FOREACH(sub, &f->subs, entry)
	if (sub->cb)
		return true;
	return false;
}

static void sweep(struct usage_feed *f)
{
	struct usage_feed_sub *sub, *next;

	for (sub = LIST_FIRST(&f->subs); sub; sub = next) {
		next = LIST_NEXT(sub, entry);
		if (sub->cb)
			continue;
		LIST_REMOVE(sub, entry);
		free(sub);
	}
}

/* Nobody looks: files are closed, and the next sample is a first one. */
static void rest(struct usage_feed *f)
{
	uv_timer_stop(&f->timer);
	if (f->reading)
		return;
	containers_begin(&f->containers);
	containers_end(&f->containers);
	pb_free(f->before);
	f->before = NULL;
}

static void tell(struct usage_feed *f, const pb_node_usage *sample)
{
	struct usage_feed_sub *sub;

	f->telling = true;
	LIST_FOREACH(sub, &f->subs, entry)
	if (sub->cb)
		sub->cb(sub->data, sample);
	f->telling = false;
	sweep(f);
}

/* ---------------------------------------------------------------- one look: traffic, tasks, files */

static void read_files(void *data)
{
	struct usage_feed *f = data;

	host_usage_read(&f->host);
	containers_read(&f->containers);
}

static void on_read(void *data)
{
	struct usage_feed *f = data;
	pb_node_usage *sample;

	f->reading = false;
	f->at = clock_mono_ns();
	if (!f->closer.closing && anybody(f)) {
		sample = node_sample(f);
		pb_free(f->before);
		f->before = sample;
		f->before_at = f->at;
		f->host_before = f->host;
		tell(f, sample);
	}
	if (!anybody(f))
		rest(f);
	closer_drop(&f->closer);
}

static void on_task(void *data, const struct task *t)
{
	struct usage_feed *f = data;
	const pb_task *task = task_object(t);

	if (task->status && (int)task->status->state == TASK_RUNNING)
		containers_note(&f->containers, task);
}

static void on_traffic(void *data, const struct net_stats *stats)
{
	struct usage_feed *f = data;

	if (f->closer.closing || !anybody(f)) {
		f->reading = false;
		if (!f->closer.closing)
			rest(f);
		closer_drop(&f->closer);
		return;
	}
	containers_begin(&f->containers);
	worker_each(f->opt.worker, on_task, f);
	containers_end(&f->containers);
	containers_traffic(&f->containers, stats);
	loop_work(f->opt.loop, read_files, on_read, f);
}

static void on_timer(uv_timer_t *timer)
{
	struct usage_feed *f = timer->data;

	if (f->reading) /* the last look is not over: this one is left out */
		return;
	f->reading = true;
	closer_hold(&f->closer);
	net_stats_read(f->opt.net, on_traffic, f);
}

/* ---------------------------------------------------------------- life */

struct usage_feed_sub *usage_feed_subscribe(struct usage_feed *f, void (*cb)(void *data, const pb_node_usage *sample), void *data)
{
	struct usage_feed_sub *sub = xnew(struct usage_feed_sub);

	sub->feed = f;
	sub->cb = cb;
	sub->data = data;
	LIST_INSERT_HEAD(&f->subs, sub, entry);
	if (!uv_is_active((uv_handle_t *)&f->timer) && !f->closer.closing)
		uv_timer_start(&f->timer, on_timer, 0, PERIOD_MS);
	return sub;
}

void usage_feed_unsubscribe(struct usage_feed_sub *sub)
{
	struct usage_feed *f;

	if (!sub)
		return;
	f = sub->feed;
	sub->cb = NULL;
	if (!f->telling)
		sweep(f);
	if (!anybody(f) && !f->telling && !f->closer.closing)
		rest(f);
}

struct usage_feed *usage_feed_new(const struct usage_feed_options *options)
{
	struct usage_feed *f = xnew(struct usage_feed);

	f->opt = *options;
	containers_init(&f->containers, options->cgroup_parent, NULL);
	LIST_INIT(&f->subs);
	closer_init(&f->closer);
	uv_timer_init(options->loop, &f->timer);
	f->timer.data = f;
	return f;
}

struct closing {
	struct usage_feed *feed;
	void (*closed)(void *data);
	void *data;
};

static void on_closed(void *data)
{
	struct closing closing = *(struct closing *)data;
	struct usage_feed *f = closing.feed;

	free(data);
	while (!LIST_EMPTY(&f->subs)) {
		struct usage_feed_sub *sub = LIST_FIRST(&f->subs);

		LIST_REMOVE(sub, entry);
		free(sub);
	}
	containers_fini(&f->containers);
	pb_free(f->before);
	free(f);
	if (closing.closed)
		closing.closed(closing.data);
}

void usage_feed_close(struct usage_feed *f, void (*closed)(void *data), void *data)
{
	struct closing *closing = xnew(struct closing);

	*closing = (struct closing){f, closed, data};
	if (!closer_begin(&f->closer, on_closed, closing)) {
		free(closing);
		return;
	}
	uv_timer_stop(&f->timer);
	closer_add(&f->closer, (uv_handle_t *)&f->timer);
	closer_end(&f->closer);
}
