#include "decider.h"

#include "allocator/rests.h"
#include "changes.h"
#include "orchestrator/sightings.h"
#include "round.h"
#include "scheduler/faults.h"
#include "store/plan.h"
#include "store/store.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"

#include <assert.h>
#include <string.h>
#include <sys/random.h>

/* More tasks than this are made in several rounds: the loop has other work in between. */
#define TASKS_PER_ROUND 2000
/* The wall clock may be set: planned times are looked at again this often. */
#define WAKE_MAX_NS (60 * NS_PER_SEC)
#define CONFLICT_BACKOFF_NS (10 * NS_PER_MS)
#define FAILURE_BACKOFF_NS (100 * NS_PER_MS)
#define BACKOFF_MAX_NS (5 * NS_PER_SEC)

struct decider {
	uv_loop_t *loop;
	struct store *store;
	struct store_sub *sub;
	uv_timer_t timer;
	struct closer closer;
	bool leading, in_flight;
	uint64_t term; /* grows with each start and stop */
	uint64_t flight_term;
	int64_t flight_since, retry_at; /* monotonic */
	unsigned streak;		/* of commits that failed */
	struct dirty dirty;		/* not yet planned */
	struct dirty flying;		/* planned, not yet committed */
	struct wakes wakes;
	struct sightings *sightings;
	struct faults *faults;
	struct rests *rests;
	struct decider_stats stats;
	void (*observer)(void *data, int64_t plan_ns);
	void *observer_data;
};

static void on_timer(uv_timer_t *timer);

/* ---- when */

static void arm(struct decider *d)
{
	int64_t delay, next;

	if (!d->leading || d->in_flight || d->closer.closing)
		return;
	if (dirty_any(&d->dirty)) {
		delay = MAX(d->retry_at - clock_mono_ns(), 0);
	} else {
		next = wakes_next(&d->wakes);
		if (next == INT64_MAX) {
			uv_timer_stop(&d->timer);
			return;
		}
		delay = MIN(MAX(next - clock_wall_ns(), 0), WAKE_MAX_NS);
	}
	/* With no delay it runs in the next turn of the loop: all events of this turn are in one
	 * round. */
	loop_timer_in(&d->timer, delay, on_timer);
}

/* ---- what changed */

static void on_events(void *data, const struct store_event *events, size_t n)
{
	struct decider *d = data;

	if (!d->leading)
		return;
	for (size_t i = 0; i < n; i++)
		changes_note(&d->dirty, d->rests, &events[i], clock_wall_ns());
	arm(d);
}

/* ---- one round */

static void settled(struct decider *d)
{
	d->streak = 0;
	d->retry_at = 0;
}

/* A conflict is planned again at once, a second one in a row a little later; etcd being away, later
 * still. */
static void not_committed(struct decider *d, const struct error *err)
{
	bool conflict = err->code == ERR_CONFLICT;
	int64_t backoff = conflict ? CONFLICT_BACKOFF_NS : FAILURE_BACKOFF_NS;

	if (conflict)
		d->stats.conflicts++;
	else
		d->stats.failures++;
	for (unsigned i = 1; i < d->streak && backoff < BACKOFF_MAX_NS; i++)
		backoff *= 2;
	if (conflict && d->streak == 0)
		backoff = 0;
	else if (d->streak < 2)
		log_warn("plan_not_committed", kv_err(err));
	d->streak++;
	d->retry_at = clock_mono_ns() + MIN(backoff, BACKOFF_MAX_NS);
	dirty_merge(&d->dirty, &d->flying);
}

static void on_committed(void *data, const struct error *err)
{
	struct decider *d = data;

	d->in_flight = false;
	d->stats.last_commit_ns = clock_mono_ns() - d->flight_since;
	if (d->leading && d->flight_term == d->term) {
		if (err)
			not_committed(d, err);
		else
			settled(d);
		d->stats.commits += !err;
	}
	dirty_clear(&d->flying);
	arm(d);
	closer_drop(&d->closer);
}

static void new_id(void *data, char ret_id[static ID_LEN + 1])
{
	id_new(ret_id);
}

static void random_bytes(void *data, void *buf, size_t len)
{
	/* At most 256 bytes, and the pool is ready: not interrupted, never short (getrandom(2)). */
	ssize_t n = getrandom(buf, len, 0);

	assert(n == (ssize_t)len);
}

static struct txn *plan(struct decider *d)
{
	struct plan p = {
		.view = store_view(d->store),
		.now = clock_wall_ns(),
		.dirty = &d->flying,
		.wakes = &d->wakes,
		.new_id = new_id,
		.random = random_bytes,
		.sightings = d->sightings,
		.faults = d->faults,
		.rests = d->rests,
		.budget = TASKS_PER_ROUND,
	};
	int64_t since = clock_mono_ns(), took;

	p.txn = txn_begin(p.view);
	round_plan(&p);
	plan_fini(&p);
	took = clock_mono_ns() - since;
	d->stats.rounds++;
	d->stats.plan_ns += took;
	d->stats.plan_max_ns = MAX(d->stats.plan_max_ns, took);
	if (d->observer)
		d->observer(d->observer_data, took);
	return p.txn;
}

static void commit(struct decider *d, struct txn *txn)
{
	size_t n;

	txn_changes(txn, &n);
	d->stats.ops += n;
	d->in_flight = true;
	d->flight_term = d->term;
	d->flight_since = clock_mono_ns();
	closer_hold(&d->closer);
	log_debug("plan_commit", kv_u64("ops", n));
	store_commit(d->store, txn, STORE_FENCED | STORE_CHUNKED, on_committed, d);
}

static void on_timer(uv_timer_t *timer)
{
	struct decider *d = timer->data;
	struct txn *txn;

	if (!d->leading || d->in_flight)
		return;
	wakes_due(&d->wakes, clock_wall_ns(), &d->dirty);
	if (!dirty_any(&d->dirty)) {
		arm(d);
		return;
	}
	d->flying = d->dirty;
	d->dirty = (struct dirty){0};
	txn = plan(d);
	if (txn_empty(txn)) {
		txn_free(txn);
		dirty_clear(&d->flying);
		settled(d);
		arm(d);
		return;
	}
	commit(d, txn);
}

/* ---- life */

struct decider *decider_new(uv_loop_t *loop, struct store *store)
{
	struct decider *d = xnew(struct decider);

	d->loop = loop;
	d->store = store;
	uv_timer_init(loop, &d->timer);
	d->timer.data = d;
	closer_init(&d->closer);
	d->sub = store_subscribe(store, on_events, d);
	return d;
}

static void forget(struct decider *d)
{
	d->term++;
	d->streak = 0;
	d->retry_at = 0;
	dirty_clear(&d->dirty);
	wakes_clear(&d->wakes);
	sightings_free(TAKE_PTR(d->sightings));
	faults_free(TAKE_PTR(d->faults));
	rests_free(TAKE_PTR(d->rests));
}

void decider_start(struct decider *d)
{
	forget(d);
	d->sightings = sightings_new();
	d->faults = faults_new();
	d->rests = rests_new();
	d->leading = true;
	d->dirty.all = d->dirty.schedule = true;
	arm(d);
}

void decider_stop(struct decider *d)
{
	d->leading = false;
	uv_timer_stop(&d->timer);
	forget(d);
}

struct closing {
	struct decider *d;
	closed_cb cb;
	void *data;
};

static void on_closed(void *data)
{
	struct closing *closing = data;

	if (closing->cb)
		closing->cb(closing->data);
	dirty_clear(&closing->d->flying);
	free(closing->d);
	free(closing);
}

void decider_close(struct decider *d, closed_cb cb, void *data)
{
	struct closing *closing = xnew(struct closing);

	*closing = (struct closing){d, cb, data};
	if (!closer_begin(&d->closer, on_closed, closing)) {
		free(closing);
		return;
	}
	decider_stop(d);
	store_unsubscribe(TAKE_PTR(d->sub));
	closer_add(&d->closer, (uv_handle_t *)&d->timer);
	closer_end(&d->closer);
}

void decider_set_observer(struct decider *d, void (*cb)(void *data, int64_t plan_ns), void *data)
{
	d->observer = cb;
	d->observer_data = data;
}

const struct decider_stats *decider_stats(const struct decider *d)
{
	return &d->stats;
}
