#include "writer.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "manager/store/store.h"

#define RETRY_MIN_NS (4 * NS_PER_MS)
#define RETRY_MAX_NS (500 * NS_PER_MS)

static void begin(struct writer *w);

static void on_retry(uv_timer_t *timer)
{
	begin(timer->data);
}

static void retry_later(struct writer *w)
{
	unsigned shift = MIN(w->failures, 8u);

	w->failures++;
	w->dirty = true;
	loop_timer_in(&w->retry, MIN(RETRY_MIN_NS << shift, RETRY_MAX_NS), on_retry);
}

static void on_committed(void *data, const struct error *err)
{
	struct writer *w = data;

	w->in_flight = false;
	if (!err) {
		w->failures = 0;
		w->failing_since = 0;
	} else if (err->code != ERR_CONFLICT && !w->failing_since) {
		w->failing_since = w->begun;
	}
	if (!w->closer->closing) {
		w->done(w->data, err);
		if (err) {
			log_debug("writer_retry", kv_err(err));
			retry_later(w);
		} else if (w->dirty) {
			begin(w);
		}
	}
	closer_drop(w->closer);
}

static void begin(struct writer *w)
{
	struct txn *t;

	uv_idle_stop(&w->turn);
	uv_timer_stop(&w->retry);
	w->dirty = false;
	t = txn_begin(store_view(w->store));
	w->stage(w->data, t);
	if (txn_empty(t)) {
		txn_free(t);
		w->done(w->data, NULL);
		return;
	}
	w->in_flight = true;
	w->begun = clock_mono_ns();
	closer_hold(w->closer);
	store_commit(w->store, t, w->flags, on_committed, w);
}

static void on_turn(uv_idle_t *idle)
{
	begin(idle->data);
}

void writer_kick(struct writer *w)
{
	if (w->closer->closing)
		return;
	w->dirty = true;
	if (!w->in_flight && !uv_is_active((uv_handle_t *)&w->retry))
		uv_idle_start(&w->turn, on_turn);
}

bool writer_fails_since(const struct writer *w, int64_t before)
{
	return (w->failing_since && w->failing_since <= before) ||
	       (w->in_flight && w->begun <= before);
}

void writer_open(struct writer *w, uv_loop_t *loop, struct closer *closer)
{
	w->closer = closer;
	uv_idle_init(loop, &w->turn);
	uv_timer_init(loop, &w->retry);
	w->turn.data = w->retry.data = w;
}

void writer_close(struct writer *w)
{
	closer_add(w->closer, (uv_handle_t *)&w->turn);
	closer_add(w->closer, (uv_handle_t *)&w->retry);
}
