/*
 * A manager that cannot write is cut off from etcd's majority, or there is none. Agents may find
 * another one; and when writing works again, none may be called DOWN for what it could not say.
 */
#include "internal.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"
#include "manager/store/store.h"

/* Cut off: the others may be able to. With most managers in sight etcd is slow, or all of it is
 * gone: for others as well. */
#define CUT_OFF_NS (3 * NS_PER_SEC)
#define SLOW_NS (10 * NS_PER_SEC)

static bool cannot_write(const struct dispatcher *d, int64_t for_ns)
{
	int64_t before = clock_mono_ns() - for_ns;

	return writer_fails_since(&d->nodes, before) || writer_fails_since(&d->statuses, before) ||
	       (d->probe_failing_since && d->probe_failing_since <= before) ||
	       (d->probing && d->probe_begun <= before);
}

/* How long it may last until agents had better look for another manager. */
static int64_t patience(const struct dispatcher *d)
{
	return liveness_minority(d->liveness, store_view(d->store)) ? CUT_OFF_NS : SLOW_NS;
}

bool outage_refuses(const struct dispatcher *d)
{
	return cannot_write(d, (d->outage ? CUT_OFF_NS : patience(d)) / 3);
}

static bool is_over(const struct dispatcher *d)
{
	return !cannot_write(d, CUT_OFF_NS) && !d->nodes.failing_since &&
	       !d->statuses.failing_since && !d->probe_failing_since;
}

static void on_probed(void *data, const struct error *err)
{
	struct dispatcher *d = data;

	d->probing = false;
	if (!err || err->code == ERR_CONFLICT)
		d->probe_failing_since = 0;
	else if (!d->probe_failing_since)
		d->probe_failing_since = d->probe_begun;
	closer_drop(&d->closer);
}

/*
 * Beats alone write nothing: a manager that lost sight of most others asks etcd whether it still
 * answers with a majority behind it (a transaction that only compares is a linearizable read).
 */
static void probe_majority(struct dispatcher *d, int64_t now)
{
	struct txn *t;

	if (d->probing)
		return;
	if (!d->probe_failing_since && !liveness_minority(d->liveness, store_view(d->store)))
		return;
	d->probing = true;
	d->probe_begun = now;
	t = txn_begin(store_view(d->store));
	txn_require(t, KIND_CLUSTER, "cluster");
	closer_hold(&d->closer);
	store_commit(d->store, t, 0, on_probed, d);
}

static void begin(struct dispatcher *d)
{
	struct session *s, *next;
	struct error err = ERROR_INIT;

	d->outage = true;
	log_error("dispatcher_outage", kv_u64("sessions", HASH_COUNT(d->by_node)));
	error_set(&err, ERR_UNAVAILABLE, "this manager cannot write to etcd");
	HASH_ITER(hh, d->by_node, s, next)
	{
		session_end(s, &err);
	}
}

void outage_watch(struct dispatcher *d, int64_t now)
{
	probe_majority(d, now);
	if (!d->outage && cannot_write(d, patience(d))) {
		begin(d);
	} else if (d->outage && is_over(d)) {
		d->outage = false;
		log_info("dispatcher_outage_over");
		liveness_restart(d->liveness, now);
	}
}
