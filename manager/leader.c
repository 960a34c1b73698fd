#include "leader.h"

#include "manager/store/etcd.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/str.h"

#include <string.h>
#include <sys/queue.h>

#define KEEPALIVES_PER_TTL 4
#define KEEPALIVES_MAX 4          /* unanswered at a time */
#define BACKOFF_MIN_MS 50
#define BACKOFF_MAX_MS 1000
#define RESIGN_TIMEOUT_MS 1000
#define CHALLENGE_ATTEMPT_MS 100
#define CHALLENGE_PAUSE_MS 25
#define CHALLENGE_FOR_NS (10 * NS_PER_SEC)

/* One refresh under way. Several may be: one that got stuck must not keep the next from going out. */
struct keepalive {
	LIST_ENTRY(keepalive) entry;
	struct leader *leader;
	struct etcd_request *request;
	uint64_t lease;
	int64_t sent_ns;
};

struct leader {
	struct leader_options opt;
	char *key, *node_id;
	struct closer closer;

	/* The key, as far as this node knows. */
	bool known;
	uint64_t seen;           /* revision up to which that is */
	char *present;           /* value; "" = no key */
	uint64_t present_revision, present_lease;
	struct etcd_watch *watch;

	uint64_t lease;          /* 0 = none */
	int64_t ttl_ns, valid_until_ns;
	LIST_HEAD(, keepalive) keepalives;
	size_t n_keepalives;

	bool elected;
	uint64_t create_revision;

	struct etcd_request *request; /* the one step under way */
	int64_t request_ns;
	uint64_t backoff_ms;
	uv_timer_t retry_timer, keepalive_timer, expiry_timer;

	uint64_t challenged;     /* create revision of the key that is to go; 0 = none */
	int64_t challenge_until_ns;
	struct etcd_request *challenge;
	uv_timer_t challenge_timer;

	bool resigning;
	void (*resigned)(void *data);
	void *resigned_data;
};

static void step(struct leader *l);
static void on_expiry(uv_timer_t *timer);
static void on_keepalive_due(uv_timer_t *timer);

/* ---- who leads */

static void depose(struct leader *l, const char *why)
{
	if (!l->elected)
		return;
	l->elected = false;
	l->create_revision = 0;
	log_info("leader_deposed", kv_str("why", why));
	l->opt.on_deposed(l->opt.data, why);
}

static void elect(struct leader *l, uint64_t create_revision)
{
	l->elected = true;
	l->create_revision = create_revision;
	log_info("leader_elected", kv_u64("revision", create_revision));
	l->opt.on_elected(l->opt.data, create_revision);
}

static bool is_ours(const struct leader *l)
{
	return str_eq(l->present, l->node_id);
}

/* What the key is, at revision `seen`; "" = there is none. */
static void set_present(struct leader *l, uint64_t seen, const char *id, uint64_t create_revision, uint64_t lease)
{
	bool changed = !l->known || !str_eq(l->present, id);

	l->known = true;
	l->seen = seen;
	char *copy = xstrdup(id); /* id may be the old one */

	free(l->present);
	l->present = copy;
	l->present_revision = create_revision;
	l->present_lease = lease;
	if (l->elected && create_revision != l->create_revision)
		depose(l, *copy ? "another manager took over" : "the leader key was deleted");
	if (changed && !l->closer.closing)
		l->opt.on_leader(l->opt.data, l->present, create_revision);
	if (!l->closer.closing && !l->resigning && !l->elected && is_ours(l) && l->lease &&
	    l->present_lease == l->lease)
		elect(l, create_revision);
}

static void set_present_kv(struct leader *l, uint64_t seen, const struct etcd_kv *kv)
{
	_cleanup_free_ char *id = xstrndup(kv->value, kv->value_len);

	set_present(l, seen, id, kv->create_revision, kv->lease);
}

/* ---- watching the key */

static void on_events(void *data, uint64_t revision, const struct etcd_event *events, size_t n)
{
	struct leader *l = data;

	for (size_t i = 0; i < n && !l->closer.closing; i++) {
		const struct etcd_kv *kv = &events[i].kv;

		/* An answer may have overtaken its event. */
		if (kv->mod_revision <= l->seen)
			continue;
		if (events[i].is_delete)
			set_present(l, kv->mod_revision, "", 0, 0);
		else
			set_present_kv(l, kv->mod_revision, kv);
	}
	step(l);
}

static void on_compacted(void *data, uint64_t compact_revision)
{
	struct leader *l = data;

	l->watch = NULL;
	l->known = false;
	step(l);
}

/* ---- steps: one request at a time, each leads to the next */

static void on_retry(uv_timer_t *timer)
{
	step(container_of(timer, struct leader, retry_timer));
}

static void later(struct leader *l, const struct error *why)
{
	log_debug("leader_retry", kv_err(why));
	l->backoff_ms = MIN(MAX(l->backoff_ms * 2, BACKOFF_MIN_MS), BACKOFF_MAX_MS);
	uv_timer_start(&l->retry_timer, on_retry, l->backoff_ms, 0);
}

static void on_loaded(void *data, const struct etcd_range_result *result, const struct error *err)
{
	static const struct etcd_watch_handlers handlers = {on_events, on_compacted, NULL};
	struct leader *l = data;

	l->request = NULL;
	if (l->closer.closing || l->resigning)
		return;
	if (err) {
		later(l, err);
		return;
	}
	l->backoff_ms = 0;
	if (!l->watch)
		l->watch = etcd_watch(l->opt.etcd, l->key, NULL, result->revision + 1, &handlers, l);
	if (!result->n)
		set_present(l, result->revision, "", 0, 0);
	else
		set_present_kv(l, result->revision, &result->kvs[0]);
	step(l);
}

static void lease_lost(struct leader *l, const char *why)
{
	l->lease = 0;
	uv_timer_stop(&l->keepalive_timer);
	uv_timer_stop(&l->expiry_timer);
	depose(l, why);
	step(l);
}

static void refreshed(struct leader *l, int64_t sent_ns, int64_t ttl_s)
{
	/* etcd counts from when it got the request, which is later than when it was sent. */
	l->ttl_ns = ttl_s * NS_PER_SEC;
	l->valid_until_ns = sent_ns + l->ttl_ns;
	loop_timer_in(&l->expiry_timer, l->valid_until_ns - clock_mono_ns(), on_expiry);
}

static void on_granted(void *data, uint64_t lease, int64_t ttl_s, const struct error *err)
{
	struct leader *l = data;

	l->request = NULL;
	if (l->closer.closing || l->resigning)
		return;
	if (err) {
		later(l, err);
		return;
	}
	l->backoff_ms = 0;
	l->lease = lease;
	refreshed(l, l->request_ns, MAX(ttl_s, 1));
	loop_timer_in(&l->keepalive_timer, l->ttl_ns / KEEPALIVES_PER_TTL, on_keepalive_due);
	step(l);
}

static void on_campaigned(void *data, const struct etcd_txn_result *result, const struct error *err)
{
	struct leader *l = data;

	l->request = NULL;
	if (l->closer.closing || l->resigning)
		return;
	if (!err && result->succeeded && l->lease) {
		l->backoff_ms = 0;
		set_present(l, result->revision, l->node_id, result->revision, l->lease);
		step(l);
		return;
	}
	/* Somebody else was first, or nobody knows (it may have been applied): look. */
	l->known = false;
	if (err)
		later(l, err);
	else
		step(l);
}

static void on_swept(void *data, const struct etcd_txn_result *result, const struct error *err)
{
	struct leader *l = data;

	l->request = NULL;
	if (l->closer.closing || l->resigning)
		return;
	l->known = false;
	if (err)
		later(l, err);
	else
		step(l);
}

static struct etcd_request *delete_key(struct leader *l, uint64_t create_revision, etcd_txn_cb cb)
{
	struct etcd_compare compare = {l->key, ETCD_CMP_CREATE, create_revision};
	struct etcd_op op = {.key = l->key};

	return etcd_txn(l->opt.etcd, &compare, 1, &op, 1, cb, l);
}

static struct etcd_request *campaign(struct leader *l)
{
	struct etcd_compare compare = {l->key, ETCD_CMP_CREATE, 0};
	struct etcd_op op = {.key = l->key, .value = l->node_id, .value_len = strlen(l->node_id),
			     .lease = l->lease};

	return etcd_txn(l->opt.etcd, &compare, 1, &op, 1, on_campaigned, l);
}

/* Do what is missing most: know the key, have a lease, have the key. */
static void step(struct leader *l)
{
	if (l->closer.closing || l->resigning || l->request || uv_is_active((uv_handle_t *)&l->retry_timer))
		return;
	l->request_ns = clock_mono_ns();
	if (!l->known)
		l->request = etcd_range(l->opt.etcd, l->key, NULL, 0, 0, on_loaded, l);
	else if (!l->lease)
		l->request = etcd_lease_grant(l->opt.etcd, l->opt.ttl_s, on_granted, l);
	else if (!*l->present)
		l->request = campaign(l);
	else if (is_ours(l) && l->present_lease != l->lease)
		/* Left over from our last process, or from a lease that was lost: nobody stands behind it. */
		l->request = delete_key(l, l->present_revision, on_swept);
}

/* ---- the lease */

static void on_expiry(uv_timer_t *timer)
{
	struct leader *l = container_of(timer, struct leader, expiry_timer);

	/* The old key, if it is still there, is swept away with the next lease. */
	lease_lost(l, "the lease could not be refreshed in time");
}

static void keepalive_free(struct keepalive *k)
{
	LIST_REMOVE(k, entry);
	k->leader->n_keepalives--;
	free(k);
}

static void on_kept_alive(void *data, uint64_t lease, int64_t ttl_s, const struct error *err)
{
	struct keepalive *k = data;
	struct leader *l = k->leader;
	bool present = k->lease == l->lease;
	int64_t sent_ns = k->sent_ns;

	keepalive_free(k);
	if (l->closer.closing || l->resigning || !present)
		return;
	if (!err && sent_ns + ttl_s * NS_PER_SEC > l->valid_until_ns)
		refreshed(l, sent_ns, ttl_s);
	else if (err && err->code == ERR_NOT_FOUND)
		lease_lost(l, "the lease is gone");
	/* Any other error: the next one is due soon, and on_expiry() watches the time. */
}

static void on_keepalive_due(uv_timer_t *timer)
{
	struct leader *l = container_of(timer, struct leader, keepalive_timer);
	struct keepalive *k;

	loop_timer_in(&l->keepalive_timer, l->ttl_ns / KEEPALIVES_PER_TTL, on_keepalive_due);
	if (l->n_keepalives >= KEEPALIVES_MAX)
		return;
	k = xnew(struct keepalive);
	k->leader = l;
	k->lease = l->lease;
	k->sent_ns = clock_mono_ns();
	LIST_INSERT_HEAD(&l->keepalives, k, entry);
	l->n_keepalives++;
	k->request = etcd_lease_keepalive(l->opt.etcd, l->lease, on_kept_alive, k);
}

static void cancel_all(struct leader *l)
{
	l->challenged = 0;
	if (l->request)
		etcd_request_cancel(TAKE_PTR(l->request));
	while (!LIST_EMPTY(&l->keepalives))
		etcd_request_cancel(LIST_FIRST(&l->keepalives)->request);
	etcd_watch_cancel(TAKE_PTR(l->watch));
	if (l->challenge)
		etcd_request_cancel(TAKE_PTR(l->challenge));
	uv_timer_stop(&l->retry_timer);
	uv_timer_stop(&l->keepalive_timer);
	uv_timer_stop(&l->expiry_timer);
	uv_timer_stop(&l->challenge_timer);
}

/* ---- the API */

struct leader *leader_start(const struct leader_options *options)
{
	struct leader *l = xnew(struct leader);

	l->opt = *options;
	if (l->opt.ttl_s <= 0)
		l->opt.ttl_s = LEADER_TTL_DEFAULT_S;
	l->key = xstrdup(options->key);
	l->node_id = xstrdup(options->node_id);
	l->present = xstrdup("");
	closer_init(&l->closer);
	LIST_INIT(&l->keepalives);
	uv_timer_init(options->loop, &l->retry_timer);
	uv_timer_init(options->loop, &l->keepalive_timer);
	uv_timer_init(options->loop, &l->expiry_timer);
	uv_timer_init(options->loop, &l->challenge_timer);
	step(l);
	return l;
}

bool leader_is_self(const struct leader *l)
{
	return l->elected;
}

uint64_t leader_create_revision(const struct leader *l)
{
	return l->create_revision;
}

const char *leader_present(const struct leader *l)
{
	return l->present;
}

static void challenge(struct leader *l);

static void on_challenge_due(uv_timer_t *timer)
{
	challenge(container_of(timer, struct leader, challenge_timer));
}

static void on_challenged(void *data, const struct etcd_txn_result *result, const struct error *err)
{
	struct leader *l = data;

	l->challenge = NULL;
	if (!l->challenged)
		return;
	/* Answered: the watch tells how it ended. */
	if (!err)
		l->challenged = 0;
	else
		uv_timer_start(&l->challenge_timer, on_challenge_due, CHALLENGE_PAUSE_MS, 0);
}

/*
 * Often and with little patience: when etcd's own leader is lost as well, what is sent is lost until another one is
 * elected. What got no answer in time may still be applied, which does no harm.
 */
static void challenge(struct leader *l)
{
	struct etcd_compare compare = {l->key, ETCD_CMP_CREATE, l->challenged};
	struct etcd_op op = {.key = l->key};

	if (l->present_revision != l->challenged || clock_mono_ns() >= l->challenge_until_ns) {
		l->challenged = 0;
		return;
	}
	l->challenge = etcd_txn_within(l->opt.etcd, CHALLENGE_ATTEMPT_MS, &compare, 1, &op, 1, on_challenged, l);
}

void leader_challenge(struct leader *l, const char *node_id)
{
	if (l->closer.closing || l->resigning || l->elected || str_empty(node_id) ||
	    !str_eq(l->present, node_id))
		return;
	log_info("leader_challenged", kv_str("node", node_id), kv_u64("revision", l->present_revision));
	l->challenge_until_ns = clock_mono_ns() + CHALLENGE_FOR_NS;
	if (l->challenged == l->present_revision)
		return; /* under way */
	l->challenged = l->present_revision;
	if (l->challenge)
		etcd_request_cancel(TAKE_PTR(l->challenge));
	uv_timer_stop(&l->challenge_timer);
	challenge(l);
}

/* ---- the end */

static void resign_done(struct leader *l)
{
	void (*resigned)(void *) = TAKE_PTR(l->resigned);

	uv_timer_stop(&l->retry_timer);
	if (resigned)
		resigned(l->resigned_data);
}

static void on_revoked(void *data, uint64_t lease, int64_t ttl_s, const struct error *err)
{
	struct leader *l = data;

	l->request = NULL;
	resign_done(l);
}

static void on_resign_late(uv_timer_t *timer)
{
	struct leader *l = container_of(timer, struct leader, retry_timer);

	if (l->request)
		etcd_request_cancel(TAKE_PTR(l->request));
	else
		resign_done(l);
}

static void drop_lease(struct leader *l)
{
	l->request = etcd_lease_revoke(l->opt.etcd, l->lease, on_revoked, l);
}

static void on_key_deleted(void *data, const struct etcd_txn_result *result, const struct error *err)
{
	struct leader *l = data;

	l->request = NULL;
	/* After a cancel (too late, or closing) there is no time for the lease: it expires by itself. */
	if (err)
		resign_done(l);
	else
		drop_lease(l);
}

void leader_resign(struct leader *l, void (*done)(void *data), void *data)
{
	uint64_t revision = l->create_revision;

	if (l->closer.closing || l->resigning)
		return;
	l->resigning = true;
	l->resigned = done;
	l->resigned_data = data;
	cancel_all(l);
	depose(l, "this manager stops");
	if (l->closer.closing)
		return;
	uv_timer_start(&l->retry_timer, on_resign_late, l->lease ? RESIGN_TIMEOUT_MS : 0, 0);
	/* The key first: of a lease's end the others learn later. */
	if (revision)
		l->request = delete_key(l, revision, on_key_deleted);
	else if (l->lease)
		drop_lease(l);
}

struct closing {
	void (*closed)(void *data);
	void *data;
	struct leader *leader;
};

static void on_closed(void *data)
{
	struct closing c = *(struct closing *)data;
	struct leader *l = c.leader;

	free(data);
	free(l->key);
	free(l->node_id);
	free(l->present);
	free(l);
	if (c.closed)
		c.closed(c.data);
}

void leader_close(struct leader *l, void (*closed)(void *data), void *data)
{
	struct closing *c;

	if (l->closer.closing)
		return;
	c = xmalloc(sizeof(*c));
	*c = (struct closing){closed, data, l};
	closer_begin(&l->closer, on_closed, c);
	cancel_all(l);
	resign_done(l);
	closer_add(&l->closer, (uv_handle_t *)&l->retry_timer);
	closer_add(&l->closer, (uv_handle_t *)&l->keepalive_timer);
	closer_add(&l->closer, (uv_handle_t *)&l->expiry_timer);
	closer_add(&l->closer, (uv_handle_t *)&l->challenge_timer);
	closer_end(&l->closer);
}
