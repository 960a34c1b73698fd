#include "membership.h"

#include "manager/store/etcd.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/str.h"

#include <inttypes.h>
#include <string.h>
#include <sys/queue.h>

#define RETRY_MS 100
#define WAIT_MS 250
#define STALE_LEARNER_NS (20 * NS_PER_SEC)
#define PROMOTE_FOR_NS (120 * NS_PER_SEC)

/* ---- decisions */

static size_t quorum_of(size_t n)
{
	return n / 2 + 1;
}

int membership_may_remove(const struct membership_node *members, size_t n, uint64_t id, struct error *err)
{
	const struct membership_node *target = NULL;
	size_t healthy = 0, stay;

	for (size_t i = 0; i < n; i++) {
		if (members[i].id == id)
			target = &members[i];
		healthy += members[i].healthy;
	}
	if (!target)
		return error_set(err, ERR_NOT_FOUND, "no manager has the etcd member id %" PRIx64, id);
	if (n == 1)
		return error_set(err, ERR_PRECONDITION, "%s is the last manager of the cluster: promote another node first",
				 target->name);
	if (healthy < quorum_of(n))
		return error_set(err, ERR_UNAVAILABLE,
				 "the managers have lost their quorum (%zu of %zu are healthy, %zu are needed): "
				 "bring another one back first", healthy, n, quorum_of(n));
	stay = healthy - target->healthy;
	if (stay < quorum_of(n - 1))
		return error_set(err, ERR_PRECONDITION,
				 "without %s only %zu of %zu managers would be healthy, %zu are needed for a quorum: "
				 "bring another one back or promote a node first",
				 target->name, stay, n - 1, quorum_of(n - 1));
	return 0;
}

static bool has_peer_url(const struct etcd_member *m, const char *url)
{
	for (size_t i = 0; i < m->n_peer_urls; i++)
		if (str_eq(m->peer_urls[i], url))
			return true;
	return false;
}

enum membership_step membership_plan_add(const struct etcd_member *members, size_t n, const char *name,
					 const char *peer_url, uint64_t *ret_id, struct error *err)
{
	enum membership_step step = MEMBERSHIP_ADD;

	for (size_t i = 0; i < n; i++) {
		const struct etcd_member *m = &members[i];
		bool url = has_peer_url(m, peer_url);

		if (url && (!*m->name || str_eq(m->name, name))) {
			*ret_id = m->id;
			return *m->name ? MEMBERSHIP_REPLACE : MEMBERSHIP_REUSE;
		}
		if (url) {
			error_set(err, ERR_EXISTS, "peer URL %s belongs to manager %s: remove that node first",
				  peer_url, m->name);
			return MEMBERSHIP_REFUSE;
		}
		if (str_eq(m->name, name)) {
			error_set(err, ERR_EXISTS, "manager %s is a member already, with the peer URL %s", name,
				  m->n_peer_urls ? m->peer_urls[0] : "");
			return MEMBERSHIP_REFUSE;
		}
		if (m->is_learner) {
			*ret_id = m->id;
			step = MEMBERSHIP_WAIT;
		}
	}
	return step;
}

char *membership_initial_cluster(const struct etcd_member *members, size_t n, const char *name,
				 const char *peer_url)
{
	struct strbuf b = {0};

	for (size_t i = 0; i < n; i++) {
		for (size_t j = 0; j < members[i].n_peer_urls; j++) {
			strbuf_puts(&b, b.len ? "," : "");
			/* etcd wants a name for each; of one that has not started none is known. */
			if (str_eq(members[i].peer_urls[j], peer_url))
				strbuf_puts(&b, name);
			else if (*members[i].name)
				strbuf_puts(&b, members[i].name);
			else
				strbuf_printf(&b, "member-%" PRIx64, members[i].id);
			strbuf_printf(&b, "=%s", members[i].peer_urls[j]);
		}
	}
	return strbuf_take(&b);
}

/* ---- doing it */

/* A join, a promotion or a removal under way. */
struct job {
	LIST_ENTRY(job) entry;
	struct membership *m;
	struct etcd_request *request;
	uv_timer_t timer;
	void (*again)(struct job *job);   /* what the timer repeats */
	uint64_t member_id;
	int64_t until_ns;
	char *name, *peer_url;
	uint64_t blocker;                 /* learner in the way */
	int64_t blocked_since_ns;
	membership_added_cb on_added;
	membership_removed_cb on_removed;
	void *data;
};

struct membership {
	uv_loop_t *loop;
	struct etcd *etcd;
	struct closer closer;
	LIST_HEAD(, job) jobs;
};

static struct job *job_new(struct membership *m)
{
	struct job *job = xnew(struct job);

	job->m = m;
	uv_timer_init(m->loop, &job->timer);
	closer_hold(&m->closer);
	LIST_INSERT_HEAD(&m->jobs, job, entry);
	return job;
}

static void on_job_closed(uv_handle_t *handle)
{
	struct job *job = container_of((uv_timer_t *)handle, struct job, timer);

	closer_drop(&job->m->closer);
	free(job->name);
	free(job->peer_url);
	free(job);
}

static void job_end(struct job *job)
{
	LIST_REMOVE(job, entry);
	uv_close((uv_handle_t *)&job->timer, on_job_closed);
}

static void on_job_timer(uv_timer_t *timer)
{
	struct job *job = container_of(timer, struct job, timer);

	job->again(job);
}

static void repeat_in(struct job *job, uint64_t delay_ms, void (*again)(struct job *job))
{
	job->again = again;
	uv_timer_start(&job->timer, on_job_timer, delay_ms, 0);
}

/* ---- promoting */

static void promote(struct job *job);

static void on_promoted(void *data, const struct etcd_member *members, size_t n, const struct error *err)
{
	struct job *job = data;
	bool over = !err || err->code == ERR_NOT_FOUND || err->code == ERR_CANCELLED ||
		    (err->code == ERR_PRECONDITION && !strstr(err->msg, "in sync"));

	job->request = NULL;
	if (!over && clock_mono_ns() < job->until_ns) {
		repeat_in(job, RETRY_MS, promote);
		return;
	}
	if (err && err->code != ERR_CANCELLED && err->code != ERR_NOT_FOUND)
		log_warn("member_not_promoted", kv_u64("member", job->member_id), kv_err(err));
	else if (!err)
		log_info("member_promoted", kv_u64("member", job->member_id));
	job_end(job);
}

static void promote(struct job *job)
{
	job->request = etcd_member_promote(job->m->etcd, job->member_id, on_promoted, job);
}

static bool is_being_promoted(const struct membership *m, uint64_t member_id)
{
	const struct job *job;

	LIST_FOREACH(job, &m->jobs, entry)
		if (!job->on_added && !job->on_removed && job->member_id == member_id)
			return true;
	return false;
}

static void promote_begin(struct membership *m, uint64_t member_id)
{
	struct job *job;

	if (is_being_promoted(m, member_id))
		return;
	job = job_new(m);
	job->member_id = member_id;
	job->until_ns = clock_mono_ns() + PROMOTE_FOR_NS;
	promote(job);
}

/* ---- joining */

static void look(struct job *job);

static const struct etcd_member *find_member(const struct etcd_member *members, size_t n, const char *peer_url)
{
	for (size_t i = 0; i < n; i++)
		if (has_peer_url(&members[i], peer_url))
			return &members[i];
	return NULL;
}

static void join_done(struct job *job, const struct membership_added *added, const struct error *err)
{
	membership_added_cb cb = job->on_added;
	void *data = job->data;

	job_end(job);
	cb(data, added, err);
}

static void join_found(struct job *job, const struct etcd_member *members, size_t n)
{
	const struct etcd_member *self = find_member(members, n, job->peer_url);
	_cleanup_free_ char *cluster = NULL;
	struct membership_added added;
	struct error err;

	if (!self) {
		error_set(&err, ERR_INTERNAL, "etcd does not list the member that was added (%s)", job->peer_url);
		join_done(job, NULL, &err);
		return;
	}
	cluster = membership_initial_cluster(members, n, job->name, job->peer_url);
	added = (struct membership_added){self->id, cluster, n};
	if (self->is_learner)
		promote_begin(job->m, self->id);
	join_done(job, &added, NULL);
}

static void on_entered(void *data, const struct etcd_member *members, size_t n, const struct error *err)
{
	struct job *job = data;

	job->request = NULL;
	if (err)
		join_done(job, NULL, err);
	else
		join_found(job, members, n);
}

static void on_blocker_removed(void *data, const struct etcd_member *members, size_t n, const struct error *err)
{
	struct job *job = data;

	job->request = NULL;
	if (err && err->code != ERR_NOT_FOUND)
		join_done(job, NULL, err);
	else
		look(job);
}

/* Another join is under way, or was interrupted long ago. Its learner has no vote: removing it costs nothing. */
static void wait_for_blocker(struct job *job, uint64_t blocker)
{
	int64_t now_ns = clock_mono_ns();

	if (job->blocker != blocker) {
		job->blocker = blocker;
		job->blocked_since_ns = now_ns;
	}
	if (now_ns - job->blocked_since_ns < STALE_LEARNER_NS) {
		repeat_in(job, WAIT_MS, look);
		return;
	}
	log_warn("member_stale", kv_u64("member", blocker));
	job->request = etcd_member_remove(job->m->etcd, blocker, on_blocker_removed, job);
}

static void on_listed(void *data, const struct etcd_member *members, size_t n, const struct error *err)
{
	struct job *job = data;
	struct error refused;
	uint64_t id;

	job->request = NULL;
	if (err) {
		join_done(job, NULL, err);
		return;
	}
	switch (membership_plan_add(members, n, job->name, job->peer_url, &id, &refused)) {
	case MEMBERSHIP_ADD:
		job->request = etcd_member_add(job->m->etcd, job->peer_url, true, on_entered, job);
		break;
	case MEMBERSHIP_REUSE:
		join_found(job, members, n);
		break;
	case MEMBERSHIP_REPLACE:
		/* Raft does not take back a member that has forgotten what it agreed to. */
		log_warn("member_lost_data", kv_str("node", job->name), kv_u64("member", id));
		job->request = etcd_member_remove(job->m->etcd, id, on_blocker_removed, job);
		break;
	case MEMBERSHIP_WAIT:
		wait_for_blocker(job, id);
		break;
	case MEMBERSHIP_REFUSE:
		join_done(job, NULL, &refused);
		break;
	}
}

static void look(struct job *job)
{
	job->request = etcd_member_list(job->m->etcd, on_listed, job);
}

void membership_add(struct membership *m, const char *name, const char *peer_url, membership_added_cb cb,
		    void *data)
{
	struct job *job = job_new(m);

	job->name = xstrdup(name);
	job->peer_url = xstrdup(peer_url);
	job->on_added = cb;
	job->data = data;
	look(job);
}

/* ---- leaving */

static void on_removed(void *data, const struct etcd_member *members, size_t n, const struct error *err)
{
	struct job *job = data;
	membership_removed_cb cb = job->on_removed;
	void *cb_data = job->data;

	job->request = NULL;
	job_end(job);
	cb(cb_data, err && err->code != ERR_NOT_FOUND ? err : NULL);
}

void membership_remove(struct membership *m, uint64_t member_id, membership_removed_cb cb, void *data)
{
	struct job *job = job_new(m);

	job->member_id = member_id;
	job->on_removed = cb;
	job->data = data;
	job->request = etcd_member_remove(m->etcd, member_id, on_removed, job);
}

/* ---- the object */

struct membership *membership_new(uv_loop_t *loop, struct etcd *etcd)
{
	struct membership *m = xnew(struct membership);

	m->loop = loop;
	m->etcd = etcd;
	closer_init(&m->closer);
	LIST_INIT(&m->jobs);
	return m;
}

struct closing {
	void (*closed)(void *data);
	void *data;
	struct membership *membership;
};

static void on_closed(void *data)
{
	struct closing c = *(struct closing *)data;

	free(data);
	free(c.membership);
	if (c.closed)
		c.closed(c.data);
}

/* A job without a request waits for its timer; only a join waits so and has somebody to tell. */
static void job_cancel(struct job *job)
{
	struct error err;

	if (job->request) {
		etcd_request_cancel(TAKE_PTR(job->request));
		return;
	}
	error_set(&err, ERR_CANCELLED, "the manager stops");
	if (job->on_added)
		join_done(job, NULL, &err);
	else
		job_end(job);
}

void membership_close(struct membership *m, void (*closed)(void *data), void *data)
{
	struct closing *c;

	if (m->closer.closing)
		return;
	c = xmalloc(sizeof(*c));
	*c = (struct closing){closed, data, m};
	closer_begin(&m->closer, on_closed, c);
	while (!LIST_EMPTY(&m->jobs))
		job_cancel(LIST_FIRST(&m->jobs));
	closer_end(&m->closer);
}
