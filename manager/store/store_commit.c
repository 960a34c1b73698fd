/*
 * Commits: a staged transaction becomes one or more etcd transactions. Encoding happens at once, so
 * the caller's objects are free afterwards; then chunk by chunk, and at last the wait until the view
 * has seen the revision.
 */
#include "store_codec.h"
#include "store_internal.h"

#include "common/clock.h"
#include "common/mem.h"
#include "common/str.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

#define TXN_MAX 128              /* etcd's --max-txn-ops: of compares, and of operations */
#define CHUNK_MAX 120
#define BYTES_MAX ((size_t)1 << 20)
#define REQUIRES_MAX 100
#define IN_FLIGHT_MAX 16
#define LOOKS_MAX 32 /* versions of an object that others may have written since */
#define PATIENCE_MS 1000         /* for the first answer, doubled each time; see etcd_txn_within() */
#define GIVE_UP_MS 6000
#define PAUSE_MS 50              /* from one sending to the next */
#define SEEN_TIMEOUT_MS 10000
#define SEEN_TIMEOUT_ERROR_MS 1000
#define UNIT_PARTS 3             /* most operations (or compares) of one object */

/* One changed (or only compared) object. */
struct unit {
	enum kind kind;
	char *key;
	void *value;             /* NULL = delete */
	size_t value_len;
	uint64_t revision;
	char *id;                /* value of the name key */
	char *name;              /* new unique name; NULL = name stays */
	char *name_key;          /* of `name` */
	char *old_name_key;      /* to be deleted; NULL = none */
	bool name_is_ours;       /* given up by another object of the same commit: no compare */
};

struct commit {
	TAILQ_ENTRY(commit) entry;
	struct commit_list *list; /* the one it is in */
	struct store *store;
	unsigned flags;
	char *fence_key;
	uint64_t fence_revision;
	struct unit *requires, *units;
	size_t n_requires, n_units;
	struct etcd_compare whole[KIND_COUNT]; /* kinds of which nothing may have been written; keys are ours */
	size_t n_whole;
	size_t first, next;      /* units of the chunk under way */
	unsigned resent;         /* so often the chunk was sent again: each sending may have been applied */
	unsigned looks;          /* so many versions back its first object was looked at */
	int64_t sent_ns;         /* last */
	int64_t give_up_ns;      /* the chunk is not sent again behind this */
	int64_t resend_ns;       /* 0 = it is not due to be sent again */
	struct etcd_request *request;
	size_t asking;           /* unit whose name is looked up after a conflict */
	uint64_t revision;       /* of the last chunk */
	int64_t begun_ns, decided_ns, seen_by_ns;
	struct error error;
	store_commit_cb cb;
	void *data;
};

static void commit_send(struct commit *c);

/* ---- encoding */

static void unit_fini(struct unit *u)
{
	free(u->key);
	free(u->value);
	free(u->id);
	free(u->name);
	free(u->name_key);
	free(u->old_name_key);
}

/* Names as the two keys see them; NULL = none. `old` itself may be gone: the view has moved on. */
static void names_of(const struct txn_change *change, const char **ret_old, const char **ret_now)
{
	const char *now = change->obj ? kind_info(change->kind)->unique_name(change->obj) : "";

	*ret_old = *change->old_name ? change->old_name : NULL;
	*ret_now = *now ? now : NULL;
}

static void encode(struct commit *c, struct unit *u, const struct txn_change *change, int64_t now_ns)
{
	const char *prefix = c->store->prefix;
	const char *old_name, *name;

	names_of(change, &old_name, &name);
	u->kind = change->kind;
	u->key = store_key(prefix, change->kind, change->id);
	u->revision = change->revision;
	u->id = xstrdup(change->id);
	if (change->check_only)
		return;
	/* The staged object is ours by now: txn_end() took it out of the view. */
	if (change->obj)
		u->value = store_value_pack(change->kind, (void *)change->obj, now_ns, &u->value_len);
	if (old_name && !str_eq(old_name, name))
		u->old_name_key = store_name_key(prefix, change->kind, old_name);
	if (name && !str_eq(old_name, name)) {
		u->name = xstrdup(name);
		u->name_key = store_name_key(prefix, change->kind, name);
	}
}

/*
 * A name that moves from one object to another inside a commit: one put. etcd refuses two operations on
 * a key, and the compare on the giver's object already proves that it held the name.
 */
static void join_names(struct commit *c)
{
	for (size_t i = 0; i < c->n_units; i++) {
		for (size_t j = 0; c->units[i].old_name_key && j < c->n_units; j++) {
			if (!str_eq(c->units[i].old_name_key, c->units[j].name_key))
				continue;
			mem_freep(&c->units[i].old_name_key);
			c->units[j].name_is_ours = true;
		}
	}
}

static void encode_all(struct commit *c, struct txn *t)
{
	int64_t now_ns = clock_wall_ns();
	const struct txn_change *changes;
	size_t n;

	txn_end(t);
	changes = txn_changes(t, &n);
	c->units = xcalloc(n, sizeof(*c->units));
	c->requires = xcalloc(n, sizeof(*c->requires));
	for (size_t i = 0; i < n; i++)
		encode(c, changes[i].check_only ? &c->requires[c->n_requires++] : &c->units[c->n_units++],
		       &changes[i], now_ns);
	join_names(c);
	for (unsigned kind = 0; kind < KIND_COUNT; kind++) {
		uint64_t since = txn_required_since(t, kind);

		if (since)
			c->whole[c->n_whole++] = (struct etcd_compare){store_key(c->store->prefix, kind, ""),
								       ETCD_CMP_PREFIX_SINCE, since};
	}
}

static size_t unit_ops(const struct unit *u)
{
	return 1 + (u->name_key != NULL) + (u->old_name_key != NULL);
}

static size_t unit_bytes(const struct unit *u)
{
	return u->value_len + 2 * strlen(u->key) + (u->name_key ? 2 * strlen(u->name_key) : 0) +
	       (u->old_name_key ? strlen(u->old_name_key) : 0);
}

/* How many units from `first` on go into one etcd transaction. 0: not even one does. */
static size_t chunk_len(const struct commit *c, size_t first, size_t max_ops)
{
	size_t ops = 0, bytes = 0, i = first;

	for (; i < c->n_units; i++) {
		ops += unit_ops(&c->units[i]);
		bytes += unit_bytes(&c->units[i]);
		if (ops + c->n_requires + c->n_whole + 1 > max_ops || bytes > BYTES_MAX)
			break;
	}
	return i - first;
}

static int check_size(struct commit *c)
{
	bool chunked = c->flags & STORE_CHUNKED;

	if (c->n_requires > REQUIRES_MAX)
		return error_set(&c->error, ERR_EXHAUSTED, "change depends on %zu other objects, at most %d are possible",
				 c->n_requires, REQUIRES_MAX);
	for (size_t i = 0; i < c->n_units; i++)
		if (unit_bytes(&c->units[i]) > BYTES_MAX)
			return error_set(&c->error, ERR_EXHAUSTED, "%s has %zu bytes, at most %zu are possible",
					 c->units[i].key, unit_bytes(&c->units[i]), BYTES_MAX);
	if (!chunked && chunk_len(c, 0, TXN_MAX) < c->n_units)
		return error_set(&c->error, ERR_EXHAUSTED,
				 "change of %zu objects is larger than one transaction (%d operations, %zu bytes)",
				 c->n_units, TXN_MAX, BYTES_MAX);
	return 0;
}

/* ---- the end */

static void move_to(struct commit *c, struct commit_list *list)
{
	struct store *s = c->store;

	if (c->list) {
		TAILQ_REMOVE(c->list, c, entry);
		s->n_in_flight -= c->list == &s->in_flight;
	}
	c->list = list;
	if (list) {
		TAILQ_INSERT_TAIL(list, c, entry);
		s->n_in_flight += list == &s->in_flight;
	}
}

static void commit_free(struct commit *c)
{
	for (size_t i = 0; i < c->n_units; i++)
		unit_fini(&c->units[i]);
	for (size_t i = 0; i < c->n_requires; i++)
		unit_fini(&c->requires[i]);
	free(c->units);
	free(c->requires);
	for (size_t i = 0; i < c->n_whole; i++)
		free((char *)c->whole[i].key);
	free(c->fence_key);
	free(c);
}

static void send_queued(struct store *s)
{
	while (!s->closer.closing && s->n_in_flight < IN_FLIGHT_MAX && !TAILQ_EMPTY(&s->queued)) {
		struct commit *c = TAILQ_FIRST(&s->queued);

		move_to(c, &s->in_flight);
		commit_send(c);
	}
}

static void finish(struct commit *c)
{
	struct store *s = c->store;

	move_to(c, NULL);
	s->stats.last_commit_ns = clock_mono_ns() - c->begun_ns;
	if (!error_is_set(&c->error)) {
		s->stats.commits++;
		if (s->on_lag && c->revision)
			s->on_lag(s->on_lag_data, clock_mono_ns() - c->decided_ns);
	} else if (c->error.code == ERR_CONFLICT || c->error.code == ERR_EXISTS) {
		s->stats.conflicts++;
	} else {
		s->stats.failures++;
	}
	c->cb(c->data, error_is_set(&c->error) ? &c->error : NULL);
	commit_free(c);
}

/* Errors wait as well: who reads the view again must find there what was in the way. */
static bool is_seen(const struct commit *c)
{
	return c->revision <= c->store->revision;
}

static void set_commit_timer(struct store *s)
{
	int64_t first_ns = INT64_MAX;
	const struct commit *c;

	TAILQ_FOREACH(c, &s->waiting, entry)
		first_ns = MIN(first_ns, c->seen_by_ns);
	if (first_ns < INT64_MAX)
		loop_timer_in(&s->commit_timer, first_ns - clock_mono_ns(), store_commit_timer);
	else
		uv_timer_stop(&s->commit_timer);
}

static struct commit *next_done(struct store *s, int64_t now_ns)
{
	struct commit *c;

	TAILQ_FOREACH(c, &s->waiting, entry) {
		if (is_seen(c))
			return c;
		if (c->seen_by_ns > now_ns)
			continue;
		if (!error_is_set(&c->error))
			error_set(&c->error, ERR_UNAVAILABLE,
				  "written at revision %" PRIu64 ", but etcd does not report it", c->revision);
		return c;
	}
	return NULL;
}

void store_commits_seen(struct store *s)
{
	struct commit *c;

	while (!s->closer.closing && (c = next_done(s, clock_mono_ns())))
		finish(c);
	if (!s->closer.closing)
		set_commit_timer(s);
}

void store_commit_timer(uv_timer_t *timer)
{
	store_commits_seen(container_of(timer, struct store, commit_timer));
}

/* Decided: wait for the view. The caller is told by the timer, never from inside store_commit(). */
static void decided(struct commit *c)
{
	struct store *s = c->store;
	uint64_t wait_ms = error_is_set(&c->error) ? SEEN_TIMEOUT_ERROR_MS : SEEN_TIMEOUT_MS;

	c->decided_ns = clock_mono_ns();
	c->seen_by_ns = c->decided_ns + (int64_t)wait_ms * NS_PER_MS;
	move_to(c, &s->waiting);
	if (is_seen(c))
		uv_timer_start(&s->commit_timer, store_commit_timer, 0, 0);
	else if (!uv_is_active((uv_handle_t *)&s->commit_timer))
		loop_timer_in(&s->commit_timer, (int64_t)wait_ms * NS_PER_MS, store_commit_timer);
	send_queued(s);
}

/* ---- etcd */

static void on_name(void *data, const struct etcd_range_result *result, const struct error *err);

/* A compare failed. When a new name is in use, that is the reason to tell. */
static void find_conflict(struct commit *c)
{
	for (; c->asking < c->next; c->asking++) {
		struct unit *u = &c->units[c->asking];

		if (!u->name_key || u->name_is_ours)
			continue;
		c->request = etcd_range(c->store->etcd, u->name_key, NULL, 0, 0, on_name, c);
		return;
	}
	error_set(&c->error, ERR_CONFLICT, "something was changed by somebody else meanwhile");
	decided(c);
}

static void on_name(void *data, const struct etcd_range_result *result, const struct error *err)
{
	struct commit *c = data;
	struct unit *u = &c->units[c->asking];

	c->request = NULL;
	if (c->store->closer.closing)
		return;
	if (!err && result->n && (result->kvs[0].value_len != strlen(u->id) ||
				  memcmp(result->kvs[0].value, u->id, result->kvs[0].value_len))) {
		error_set(&c->error, ERR_EXISTS, "%s name %s is already in use", kind_info(u->kind)->name, u->name);
		decided(c);
		return;
	}
	c->asking++;
	find_conflict(c);
}

static void applied(struct commit *c, uint64_t revision)
{
	if (c->n_units)
		c->revision = revision;
	if (c->next < c->n_units)
		commit_send(c);
	else
		decided(c);
}

static void on_first_unit(void *data, const struct etcd_range_result *result, const struct error *err);

/*
 * The second sending found something changed: by the first? A chunk is applied as a whole, and no two writers put the
 * same bytes (ids, times): its first object tells, as it was when it was changed first. Others may have changed it since: the leader
 * does so with what it has just been given.
 *   at  etcd's revision to look at; 0 = now
 */
static void look_at_first_unit(struct commit *c, uint64_t at)
{
	c->request = etcd_range(c->store->etcd, c->units[c->first].key, NULL, at, 0, on_first_unit, c);
}

/* The revision at which its version before this one can be seen; 0 = there is none behind the one that we started from. */
static uint64_t version_before(const struct etcd_kv *kv, const struct unit *u)
{
	if (kv->mod_revision <= kv->create_revision || kv->mod_revision <= u->revision + 1)
		return 0;
	return u->revision ? kv->mod_revision - 1 : kv->create_revision;
}

static void on_first_unit(void *data, const struct etcd_range_result *result, const struct error *err)
{
	struct commit *c = data;
	const struct unit *u = &c->units[c->first];
	const struct etcd_kv *kv;
	uint64_t before;

	c->request = NULL;
	if (c->store->closer.closing)
		return;
	if (err) {
		c->error = *err;
		decided(c);
		return;
	}
	kv = result->n ? &result->kvs[0] : NULL;
	before = kv && u->value && c->looks < LOOKS_MAX ? version_before(kv, u) : 0;
	if (!kv && !u->value) {
		applied(c, c->revision);
	} else if (kv && u->value && kv->value_len == u->value_len &&
		   memcmp(kv->value, u->value, u->value_len) == 0) {
		applied(c, kv->mod_revision);
	} else if (before) {
		c->looks++;
		look_at_first_unit(c, before);
	} else {
		c->asking = c->first;
		find_conflict(c);
	}
}

static void send_chunk(struct commit *c);

static void set_resend_timer(struct store *s)
{
	int64_t first_ns = INT64_MAX;
	const struct commit *c;

	TAILQ_FOREACH(c, &s->in_flight, entry)
		first_ns = c->resend_ns ? MIN(first_ns, c->resend_ns) : first_ns;
	if (first_ns < INT64_MAX)
		loop_timer_in(&s->resend_timer, MAX(first_ns - clock_mono_ns(), 0), store_resend_timer);
}

void store_resend_timer(uv_timer_t *timer)
{
	struct store *s = container_of(timer, struct store, resend_timer);
	int64_t now_ns = clock_mono_ns();
	struct commit *c;

	TAILQ_FOREACH(c, &s->in_flight, entry) {
		if (!c->resend_ns || c->resend_ns > now_ns)
			continue;
		c->resend_ns = 0;
		send_chunk(c);
	}
	set_resend_timer(s);
}

static void on_txn(void *data, const struct etcd_txn_result *result, const struct error *err)
{
	struct commit *c = data;

	c->request = NULL;
	if (c->store->closer.closing)
		return;
	if (err && err->code == ERR_TIMEOUT && clock_mono_ns() < c->give_up_ns) {
		/* The compares let only one of them be applied. */
		c->resent++;
		c->resend_ns = c->sent_ns + PAUSE_MS * NS_PER_MS;
		set_resend_timer(c->store);
	} else if (err) {
		c->error = *err;
		decided(c);
	} else if (result->succeeded) {
		applied(c, result->revision);
	} else {
		/* The view is to show who was first before the caller reads again. */
		c->revision = MAX(c->revision, result->revision);
		c->asking = c->first;
		if (c->resent && c->first < c->next)
			look_at_first_unit(c, 0);
		else
			find_conflict(c);
	}
}

static void add_unit(const struct unit *u, struct etcd_compare *compares, size_t *n_compares, struct etcd_op *ops,
		     size_t *n_ops)
{
	compares[(*n_compares)++] = (struct etcd_compare){u->key, ETCD_CMP_MOD, u->revision};
	ops[(*n_ops)++] = (struct etcd_op){.key = u->key, .value = u->value, .value_len = u->value_len};
	if (u->old_name_key)
		ops[(*n_ops)++] = (struct etcd_op){.key = u->old_name_key};
	if (!u->name_key)
		return;
	if (!u->name_is_ours)
		compares[(*n_compares)++] = (struct etcd_compare){u->name_key, ETCD_CMP_CREATE, 0};
	ops[(*n_ops)++] = (struct etcd_op){.key = u->name_key, .value = u->id, .value_len = strlen(u->id)};
}

static bool fence_holds(const struct commit *c)
{
	const struct store *s = c->store;

	return !(c->flags & STORE_FENCED) || (c->fence_key && str_eq(s->fence_key, c->fence_key) &&
					      s->fence_revision == c->fence_revision);
}

/* Send units [first, next). */
static void send_chunk(struct commit *c)
{
	struct etcd_compare compares[UNIT_PARTS * TXN_MAX];
	struct etcd_op ops[UNIT_PARTS * TXN_MAX];
	size_t n_compares = 0, n_ops = 0;
	struct etcd *etcd = c->store->etcd;
	int64_t left_ms, patience_ms = PATIENCE_MS << MIN(c->resent, 10u);

	c->sent_ns = clock_mono_ns();
	left_ms = MAX((c->give_up_ns - c->sent_ns) / NS_PER_MS, 1);
	if (c->flags & STORE_FENCED)
		compares[n_compares++] =
			(struct etcd_compare){c->fence_key, ETCD_CMP_CREATE, c->fence_revision};
	for (size_t i = 0; i < c->n_requires; i++)
		compares[n_compares++] =
			(struct etcd_compare){c->requires[i].key, ETCD_CMP_MOD, c->requires[i].revision};
	for (size_t i = 0; i < c->n_whole; i++)
		compares[n_compares++] = c->whole[i];
	for (size_t i = c->first; i < c->next; i++)
		add_unit(&c->units[i], compares, &n_compares, ops, &n_ops);
	c->request = etcd_txn_within(etcd, (uint64_t)MIN(left_ms, patience_ms), compares, n_compares, ops, n_ops,
				     on_txn, c);
}

/* The chunk that begins at `next`. */
static void commit_send(struct commit *c)
{
	bool chunked = c->flags & STORE_CHUNKED;

	if (!fence_holds(c)) {
		error_set(&c->error, ERR_CONFLICT, "this manager is not the leader any more");
		decided(c);
		return;
	}
	c->first = c->next;
	c->resent = 0;
	c->looks = 0;
	c->give_up_ns = clock_mono_ns() + GIVE_UP_MS * NS_PER_MS;
	/* With many requires a chunk still takes what etcd allows. */
	c->next += chunk_len(c, c->first, chunked && c->n_requires < CHUNK_MAX / 2 ? CHUNK_MAX : TXN_MAX);
	send_chunk(c);
}

void store_commit(struct store *s, struct txn *t, unsigned flags, store_commit_cb cb, void *data)
{
	struct commit *c = xnew(struct commit);

	assert(!s->closer.closing);
	c->store = s;
	c->flags = flags;
	c->cb = cb;
	c->data = data;
	c->begun_ns = clock_mono_ns();
	c->fence_key = xstrdup(s->fence_key);
	c->fence_revision = s->fence_revision;
	encode_all(c, t);
	txn_free(t);
	if (check_size(c) < 0 || (!c->n_units && !c->n_requires)) {
		decided(c);
		return;
	}
	move_to(c, &s->queued);
	send_queued(s);
}

void store_commits_cancel(struct store *s)
{
	struct commit_list *const lists[] = {&s->waiting, &s->in_flight, &s->queued};

	for (size_t i = 0; i < ARRAY_SIZE(lists); i++) {
		while (!TAILQ_EMPTY(lists[i])) {
			struct commit *c = TAILQ_FIRST(lists[i]);

			if (c->request)
				etcd_request_cancel(TAKE_PTR(c->request));
			if (!error_is_set(&c->error))
				error_set(&c->error, ERR_CANCELLED, "the store closes");
			finish(c);
		}
	}
}
