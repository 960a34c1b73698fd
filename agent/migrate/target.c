#include "agent/migrate/move.h"

#include "agent/exec/checkpoint.h"
#include "agent/migrate/facts.h"
#include "agent/migrate/incoming.h"
#include "agent/net/net.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MEMINFO_MAX 65536

static struct target_facts facts_of(const struct move *v)
{
	const struct target *t = &v->t;
	const pb_task_status *status = v->host.task(v->host.data)->status;

	return (struct target_facts){
		.phase = move_phase(v),
		.step = (int)v->state->report->step,
		.failed = v->failed,
		.promise_kept = v->state->promised && !t->busy,
		.task_ready = status->state == TASK_READY,
		.task_over = status->state > TASK_RUNNING,
		.running = t->running,
		.joined = t->theirs != NULL && t->in != NULL,
		.fits = t->fits,
		.received = t->received,
		.restored = t->restored,
		.restored_kept = t->restored_kept,
		.opened = t->opened,
		.busy = t->busy,
	};
}

enum move_want target_end_wants(const struct move *v)
{
	struct target_facts f = facts_of(v);

	return target_wants(&f);
}

static void ack(struct move *v, Skein__MoveAck__BodyCase what)
{
	Skein__MoveAck a = SKEIN__MOVE_ACK__INIT;

	if (!v->t.in)
		return;
	a.body_case = what;
	a.ready = true; /* all that say no more than their kind are the same field */
	incoming_ack(v->t.in, &a);
}

/* ---------------------------------------------------------------- the stream */

/* One stream's hold on this end. */
struct joined {
	struct move *v;
	struct incoming *in;
	bool ask;
};

static char *item_dir(void *data, const char *name, struct error *err)
{
	struct move *v = ((struct joined *)data)->v;
	struct container *c = v->freeing ? NULL : v->host.container(v->host.data);
	enum frames_dir dir;
	uint32_t round;

	if (frames_dir_parse(name, &dir, &round, err) < 0)
		return NULL;
	if (!c || !v->t.fits || move_phase(v) >= MIGRATION_SWITCH) {
		error_set(err, ERR_PRECONDITION, "%s is not expected now", name);
		return NULL;
	}
	if (dir == FRAMES_IMAGES)
		return xasprintf("%s/%u", v->t.dir, round);
	return xstrdup(dir == FRAMES_UPPER ? container_upper_dir(c) : container_volumes_dir(c));
}

static void on_pages_over(void *data, const struct error *err)
{
	struct move *v = data;

	v->t.pages = NULL;
	if (v->t.in)
		incoming_round_done(v->t.in, err);
}

static int begin_pages(void *data, uint32_t round, uint32_t parent, struct error *err)
{
	struct move *v = ((struct joined *)data)->v;
	_cleanup_free_ char *dir = NULL, *above = NULL;
	int fds[2];

	if (v->freeing || !v->t.fits || v->t.pages || move_phase(v) >= MIGRATION_SWITCH)
		return error_set(err, ERR_PRECONDITION, "pages are not expected now");
	dir = xasprintf("%s/%u", v->t.dir, round);
	above = parent ? xasprintf("%s/%u", v->t.dir, parent) : NULL;
	if (mkdir(dir, 0700) < 0)
		return error_set_errno(err, errno, "make directory %s", dir);
	if (page_socket_pair(fds, err) < 0)
		return -1;
	v->t.pages = page_server_open(v->m->o.exec, dir, above, fds[0], on_pages_over, v, err);
	if (v->t.pages)
		return fds[1];
	close(fds[1]);
	return -1;
}

/* ---- all is here: what the kernel is to know of the connections first */

static void on_imported(void *data, const struct error *err)
{
	struct move *v = data;

	if (v->freeing)
		return;
	v->t.busy = false;
	if (err)
		move_fail(v, err);
	else
		v->t.received = true;
	move_advance(v);
}

struct reading {
	struct move *v;
	char *path, *bytes;
	size_t len;
	struct error err;
};

static void read_flows(void *data)
{
	struct reading *r = data;

	file_read(r->path, NET_EXPORT_MAX, &r->bytes, &r->len, &r->err);
}

static void on_flows_read(void *data)
{
	struct reading *r = data;
	struct move *v = r->v;

	if (v->freeing)
		; /* nobody wants it any more */
	else if (error_is_set(&r->err))
		on_imported(v, &r->err);
	else
		net_import_flows(v->m->o.net, v->host.task(v->host.data)->id, v->state->order->peer_node, (uint8_t *)r->bytes,
				 r->len, on_imported, v);
	free(r->path);
	free(r->bytes);
	free(r);
	move_drop(v);
}

static void on_sent(void *data, uint32_t round)
{
	struct move *v = ((struct joined *)data)->v;
	struct reading *r;

	if (v->freeing || v->failed)
		return;
	v->t.round = round;
	free(v->t.images);
	v->t.images = xasprintf("%s/%u", v->t.dir, round);
	v->t.busy = true;
	if (!net_wanted(v->host.task(v->host.data))) {
		on_imported(v, NULL);
		return;
	}
	r = xnew(struct reading);
	*r = (struct reading){.v = v, .path = xasprintf("%s/" MOVE_FLOWS_FILE, v->t.images)};
	move_hold(v);
	loop_work(v->m->o.loop, read_flows, on_flows_read, r);
}

static void on_end(void *data, const struct error *err)
{
	struct joined *j = data;
	struct move *v = j->v;
	struct error lost = err ? *err : ERROR_INIT;

	if (v->t.in == j->in) {
		v->t.in = NULL;
		if (v->t.pages)
			page_server_close(v->t.pages);
		v->t.pages = NULL;
	}
	/* Without its source it cannot become whole. */
	if (!v->freeing && !j->ask && !v->t.received && move_phase(v) < MIGRATION_SWITCH) {
		if (!err)
			error_set(&lost, ERR_UNAVAILABLE, "the source has ended the connection");
		move_fail(v, &lost);
	}
	free(j);
	move_advance(v);
	move_drop(v);
}

static void replace_stream(struct move *v, struct incoming *in)
{
	struct error err;

	error_set(&err, ERR_CONFLICT, "a newer stream of the source has come");
	if (v->t.in)
		incoming_finish(v->t.in, &err);
	v->t.in = in;
}

/* The source stands still and would like to go on. */
static void answer_question(struct move *v)
{
	struct target_facts f = facts_of(v);
	struct error err;

	if (f.promise_kept && f.step >= STEP_DISCARDED) {
		ack(v, SKEIN__MOVE_ACK__BODY_PROMISED);
		incoming_finish(v->t.in, NULL);
		return;
	}
	if (!target_may_promise(&f)) {
		error_set(&err, ERR_PRECONDITION, "it may run here");
		incoming_finish(v->t.in, &err);
		return;
	}
	error_set(&err, ERR_CANCELLED, "the source has given up");
	move_fail(v, &err); /* the promise follows */
}

void target_join(struct move *v, struct rpc_call *call, const Skein__MoveHello *hello)
{
	static const struct incoming_handlers handlers = {.dir = item_dir, .pages = begin_pages, .sent = on_sent, .end = on_end};
	struct joined *j = xnew(struct joined);

	j->v = v;
	j->ask = hello->ask;
	move_hold(v);
	j->in = incoming_new(v->m->o.loop, call, hello, &handlers, j);
	replace_stream(v, j->in);
	if (hello->ask) {
		answer_question(v);
	} else {
		pb_free(v->t.theirs);
		v->t.theirs = pb_dup(hello->facts);
		v->t.clock_apart = clock_wall_ns() - hello->facts->clock;
	}
	move_advance(v);
}

/* ---------------------------------------------------------------- do they go together? */

struct comparison {
	struct move *v;
	Skein__MoveFacts *theirs;
	char *criu, *disk;
	struct error err;
};

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static void compare(void *data)
{
	struct comparison *c = data;
	Skein__MoveFacts *mine = facts_here(c->criu);
	_cleanup_free_ char *text = NULL;
	struct facts_target more = {.exists = exists};
	struct statvfs st;

	if (file_read("/proc/meminfo", MEMINFO_MAX, &text, NULL, &c->err) == 0 && statvfs(c->disk, &st) == 0) {
		more.free_memory = facts_parse_available(text);
		more.free_disk = (uint64_t)st.f_bavail * st.f_frsize;
		facts_compare(c->theirs, mine, &more, &c->err);
	} else if (!error_is_set(&c->err)) {
		error_set_errno(&c->err, errno, "look at %s", c->disk);
	}
	pb_free(mine);
}

static void on_compared(void *data)
{
	struct comparison *c = data;
	struct move *v = c->v;

	v->t.busy = false;
	if (!v->freeing && !error_is_set(&c->err) && !v->t.dir)
		v->t.dir = migrate_images_dir(v->m, v->state->order->id, true, c->theirs->memory_bytes, &c->err);
	if (!v->freeing && error_is_set(&c->err))
		move_fail(v, &c->err);
	v->t.fits = !error_is_set(&c->err);
	pb_free(c->theirs);
	free(c->criu);
	free(c->disk);
	free(c);
	move_advance(v);
	move_drop(v);
}

static void begin_compare(struct move *v)
{
	Skein__NodeDescription *d = pb_new(&skein__node_description__descriptor);
	struct comparison *c;
	const char *why = NULL;
	struct error err;

	if (!exec_can_checkpoint(v->m->o.exec, &why)) {
		error_set(&err, ERR_PRECONDITION, "the target cannot restore: %s", why);
		pb_free(d);
		move_fail(v, &err);
		return;
	}
	c = xnew(struct comparison);
	exec_features(v->m->o.exec, d);
	*c = (struct comparison){.v = v, .theirs = pb_dup(v->t.theirs), .disk = xstrdup(v->m->o.state_dir)};
	c->criu = xstrdup(pb_kv_get(d->features, d->n_features, "criu"));
	pb_free(d);
	c->theirs->clock = clock_wall_ns() - v->t.clock_apart; /* it may have come long ago */
	v->t.busy = true;
	move_hold(v);
	loop_work(v->m->o.loop, compare, on_compared, c);
}

/* ---------------------------------------------------------------- running */

static void on_kept(void *data, const struct error *err)
{
	struct move *v = data;

	v->t.busy = false;
	if (err) { /* the next agent would not know that it runs here */
		v->t.restored = false;
		v->state->restored = false;
		move_fail(v, err);
	} else {
		v->t.restored_kept = true;
	}
	move_advance(v);
}

static void begin_keep(struct move *v)
{
	v->t.busy = true;
	v->state->restored = true;
	move_save(v, on_kept);
}

static void on_opened(void *data, const struct error *err)
{
	struct move *v = data;

	if (v->freeing)
		return;
	v->t.busy = false;
	v->t.opened = true;
	/* It runs, and only here: what is wrong with its network is the network's to mend. */
	if (err)
		log_error("migration_open", kv_str("migration", v->state->order->id), kv_err(err));
	move_advance(v);
}

static void begin_open(struct move *v)
{
	v->t.busy = true;
	if (net_wanted(v->host.task(v->host.data)))
		net_open(v->m->o.net, v->host.task(v->host.data)->id, on_opened, v);
	else
		on_opened(v, NULL);
}

static void restored(struct move *v)
{
	if (v->t.switched_at)
		move_rep(v)->restore = clock_mono_ns() - v->t.switched_at;
	move_step(v, STEP_RESTORED);
	ack(v, SKEIN__MOVE_ACK__BODY_RESTORED);
	if (v->t.in)
		incoming_finish(v->t.in, NULL);
	migrate_remove_dir(v->m, TAKE_PTR(v->t.dir));
}

void move_restoring(struct move *v)
{
	v->t.running = true;
	move_say(v, "restoring");
}

void move_restored(struct move *v, const struct error *err)
{
	if (err) {
		v->t.running = false;
		move_fail(v, err);
	} else {
		v->t.restored = true;
	}
	move_advance(v);
}

/* ---------------------------------------------------------------- never */

static void on_promised(void *data, const struct error *err)
{
	struct move *v = data;

	v->t.busy = false;
	if (err) { /* not kept is not given; the manager finds the node down, or this is tried again with its next word */
		v->state->promised = false;
		return;
	}
	move_advance(v);
}

static void begin_promise(struct move *v)
{
	v->t.busy = true;
	v->state->promised = true;
	move_save(v, on_promised);
}

static void discarded(struct move *v)
{
	struct error why;

	move_step(v, STEP_DISCARDED);
	ack(v, SKEIN__MOVE_ACK__BODY_PROMISED);
	error_set(&why, ERR_CANCELLED, "%s", str_empty(move_rep(v)->err) ? "the migration was given up" : move_rep(v)->err);
	if (v->t.in)
		incoming_finish(v->t.in, NULL);
	migrate_remove_dir(v->m, TAKE_PTR(v->t.dir));
}

bool target_act(struct move *v)
{
	struct target_facts f = facts_of(v);
	enum target_action action = target_decide(&f);

	if (action != TARGET_WAIT)
		log_debug("migration_target", kv_str("migration", v->state->order->id), kv_str("action", target_action_name(action)));
	if (action == TARGET_OPEN && !v->host.container(v->host.data)) /* its task has not found it yet */
		action = TARGET_WAIT;
	switch (action) {
	case TARGET_WAIT:
		return false;
	case TARGET_COMPARE:
		begin_compare(v);
		break;
	case TARGET_PREPARED:
		move_step(v, STEP_PREPARED);
		ack(v, SKEIN__MOVE_ACK__BODY_READY);
		break;
	case TARGET_RECEIVED:
		move_step(v, STEP_RECEIVED);
		ack(v, SKEIN__MOVE_ACK__BODY_RECEIVED);
		break;
	case TARGET_KEEP:
		begin_keep(v);
		break;
	case TARGET_OPEN:
		begin_open(v);
		break;
	case TARGET_RESTORED:
		restored(v);
		break;
	case TARGET_PROMISE:
		begin_promise(v);
		break;
	case TARGET_DISCARDED:
		discarded(v);
		break;
	}
	return true;
}

/* ---------------------------------------------------------------- life */

/* Of an end that an earlier agent began only what it had promised or what runs is left. */
void target_init(struct move *v)
{
	struct error err;

	v->t.restored = v->state->restored;
	v->t.restored_kept = v->t.restored;
	if (v->t.restored || v->state->promised || v->state->report->step == STEP_NONE)
		return;
	v->t.running = true; /* until the task has looked */
	error_set(&err, ERR_UNAVAILABLE, "the target's agent was started anew");
	move_fail(v, &err);
}

void target_close(struct move *v)
{
	struct target *t = &v->t;
	struct error err;

	error_set(&err, ERR_CANCELLED, "the task is no longer here");
	if (t->pages)
		page_server_close(t->pages);
	t->pages = NULL;
	if (t->in)
		incoming_finish(t->in, &err);
	pb_free(t->theirs);
	t->theirs = NULL;
	migrate_remove_dir(v->m, TAKE_PTR(t->dir));
	free(t->images);
	t->images = NULL;
}
