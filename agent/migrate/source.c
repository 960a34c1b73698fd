#include "agent/migrate/move.h"

#include "agent/exec/checkpoint.h"
#include "agent/migrate/facts.h"
#include "agent/migrate/outgoing.h"
#include "agent/migrate/source_decide.h"
#include "agent/net/net.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"

#include <unistd.h>

/* Frozen, and nobody says anything: ask the target whether it will ever run it; and again. */
#define ASK_AFTER_NS (15 * NS_PER_SEC)
#define ASK_AGAIN_NS (2 * NS_PER_SEC)

static struct container *container_of_task(struct move *v)
{
	return v->host.container(v->host.data);
}

static struct source_facts facts_of(const struct move *v)
{
	const struct source *s = &v->s;

	return (struct source_facts){
		.phase = move_phase(v),
		.step = (int)v->state->report->step,
		.gone = s->gone,
		.failed = v->failed,
		.promised = s->promised,
		.connected = s->out != NULL,
		.asking = s->asking,
		.ask_due = s->ask_due,
		.looked = s->looked,
		.ready = s->ready,
		.files = s->files,
		.rounds = s->rounds_done,
		.files_again = s->files_again,
		.frozen = v->state->frozen,
		.cut = v->state->frozen,
		.is_frozen = s->is_frozen,
		.is_cut = s->is_cut,
		.dumped = s->dumped,
		.files_still = s->files_still,
		.images = s->images,
		.said = s->said,
		.received = s->received,
		.busy = s->busy,
		.files_busy = s->files_busy,
	};
}

enum move_want source_wants(const struct move *v)
{
	struct source_facts f = facts_of(v);

	if (f.phase == MIGRATION_MOVED || (f.phase == MIGRATION_LOST && source_stands(&f)))
		return MOVE_KILL;
	return source_stands(&f) ? MOVE_STAND : MOVE_NOTHING;
}

/* ---------------------------------------------------------------- connection */

static void on_timer(uv_timer_t *timer)
{
	struct move *v = container_of(timer, struct move, s.timer);

	v->s.ask_due = true;
	move_advance(v);
}

static void ask_in(struct move *v, int64_t delay_ns)
{
	v->s.ask_due = false;
	loop_timer_in(&v->s.timer, delay_ns, on_timer);
}

static void hang_up(struct move *v)
{
	struct source *s = &v->s;

	move_rep(v)->bytes_sent += outgoing_bytes(s->out);
	outgoing_close(s->out);
	s->out = NULL;
	s->files_busy = false;
	s->asking = false;
	/* Its sending half will not be heard of any more; criu ends as nobody reads what it sends. */
	if (s->halves == HALF_SEND)
		s->busy = false;
	s->halves &= ~HALF_SEND;
}

static void on_ack(void *data, const Skein__MoveAck *ack)
{
	struct move *v = data;

	switch (ack->body_case) {
	case SKEIN__MOVE_ACK__BODY_READY:
		v->s.ready = true;
		break;
	case SKEIN__MOVE_ACK__BODY_RECEIVED:
		v->s.received = true;
		move_rep(v)->transfer = v->s.dumped_at ? clock_mono_ns() - v->s.dumped_at : 0;
		break;
	case SKEIN__MOVE_ACK__BODY_PROMISED:
		v->s.promised = move_phase(v) != MIGRATION_MOVED;
		break;
	case SKEIN__MOVE_ACK__BODY_RESTORED:
		if (v->s.froze_at)
			move_rep(v)->downtime = clock_mono_ns() - v->s.froze_at;
		move_report(v);
		break;
	default:
		break;
	}
	move_advance(v);
}

static void on_end(void *data, const struct error *err)
{
	struct move *v = data;
	struct error lost = err ? *err : ERROR_INIT;
	bool asking = v->s.asking, failing = !asking && move_phase(v) < MIGRATION_SWITCH && v->state->report->step < STEP_SENT;

	if (!err)
		error_set(&lost, ERR_UNAVAILABLE, "the target has ended the connection");
	hang_up(v);
	if (asking)
		ask_in(v, ASK_AGAIN_NS);
	if (failing) {
		error_wrap(&lost, "connection to the target");
		move_fail(v, &lost);
	}
	move_advance(v);
}

static void open_stream(struct move *v)
{
	struct outgoing_options options = {
		.loop = v->m->o.loop,
		.rpc = v->m->o.rpc,
		.creds = v->m->creds,
		.address = v->state->order->peer_address,
		.on_ack = on_ack,
		.on_end = on_end,
		.data = v,
	};

	v->s.out = outgoing_open(&options);
}

static void say_hello(struct move *v, Skein__MoveFacts *facts)
{
	Skein__MoveChunk chunk = SKEIN__MOVE_CHUNK__INIT;
	Skein__MoveHello hello = SKEIN__MOVE_HELLO__INIT;

	hello.migration_id = v->state->order->id;
	hello.ticket = v->state->order->ticket;
	hello.facts = facts;
	hello.ask = facts == NULL;
	chunk.body_case = SKEIN__MOVE_CHUNK__BODY_HELLO;
	chunk.hello = &hello;
	outgoing_send(v->s.out, &chunk); /* on_end() says when it does not arrive */
}

static void connect_target(struct move *v)
{
	const pb_task *task = v->host.task(v->host.data);
	Skein__NodeDescription *d = pb_new(&skein__node_description__descriptor);
	Skein__MoveFacts *facts;

	exec_features(v->m->o.exec, d);
	facts = facts_here(pb_kv_get(d->features, d->n_features, "criu"));
	pb_free(d);
	facts->memory_bytes = v->s.memory_bytes;
	facts_add_task(facts, task);
	move_say(v, "waiting for the target");
	open_stream(v);
	say_hello(v, facts);
	pb_free(facts);
}

static void ask(struct move *v)
{
	v->s.ask_due = false;
	if (!v->m->creds) {
		ask_in(v, ASK_AGAIN_NS);
		return;
	}
	v->s.asking = true;
	open_stream(v);
	say_hello(v, NULL);
}

/* ---------------------------------------------------------------- looking */

/* What this end alone can tell. */
static int look(struct move *v, struct error *err)
{
	const pb_task *task = v->host.task(v->host.data);
	const pb_container_spec *c = task->spec->container;
	const char *why = NULL;

	if (!v->m->creds)
		return error_set(err, ERR_UNAVAILABLE, "the node is not in a cluster");
	if (v->state->order->options && v->state->order->options->lazy)
		return error_set(err, ERR_PRECONDITION, "post-copy (--lazy) is not supported");
	if (!container_of_task(v) || !container_pid(container_of_task(v)))
		return error_set(err, ERR_PRECONDITION, "its container does not run");
	if (!exec_can_checkpoint(v->m->o.exec, &why))
		return error_set(err, ERR_PRECONDITION, "the source cannot checkpoint: %s", why);
	for (size_t i = 0; i < c->n_mounts; i++) {
		if (c->mounts[i]->type == MOUNT_VOLUME && !str_empty(c->mounts[i]->source))
			return error_set(err, ERR_PRECONDITION, "volume %.100s is on this node and does not follow",
					 c->mounts[i]->source);
	}
	return net_can_move(v->m->o.net, task, err);
}

static void on_tried(void *data, struct container *c, const struct checkpoint_stats *stats, const struct error *err)
{
	struct move *v = data;

	v->s.busy = false;
	if (err) {
		move_fail(v, err);
	} else {
		v->s.looked = true;
		v->s.memory_bytes = stats->pages_written * stats->page_bytes;
		move_rep(v)->memory_bytes = v->s.memory_bytes;
	}
	move_advance(v);
}

static void begin_look(struct move *v)
{
	struct error err = ERROR_INIT;

	if (look(v, &err) < 0) {
		move_fail(v, &err);
		return;
	}
	move_say(v, "trial dump");
	v->s.busy = true;
	container_trial_dump(container_of_task(v), on_tried, v);
}

/* ---------------------------------------------------------------- freezing, and back */

static void on_frozen(void *data, struct container *c, const struct error *err)
{
	struct move *v = data;

	v->s.busy = false;
	if (err) {
		move_fail(v, err);
		ask_in(v, 0);
	} else {
		v->s.is_frozen = true;
		v->s.froze_at = v->s.froze_at ? v->s.froze_at : clock_mono_ns();
	}
	move_advance(v);
}

/* Whatever becomes of this agent: the next one knows that it may be frozen. */
static void on_freeze_saved(void *data, const struct error *err)
{
	struct move *v = data;
	struct container *c = container_of_task(v);

	v->s.busy = false;
	if (err || !c || move_phase(v) != MIGRATION_FREEZE) {
		if (err)
			move_fail(v, err);
		ask_in(v, 0);
		move_advance(v);
		return;
	}
	v->s.busy = true;
	v->host.stand(v->host.data, true);
	v->s.froze_at = clock_mono_ns();
	container_freeze(c, on_frozen, v);
}

static void begin_freeze(struct move *v)
{
	v->state->frozen = true;
	v->s.busy = true;
	move_say(v, "freezing");
	move_save(v, on_freeze_saved);
}

static void on_cut(void *data, const struct error *err)
{
	struct move *v = data;

	v->s.busy = false;
	if (v->freeing)
		return;
	if (err) {
		move_fail(v, err);
		ask_in(v, 0);
	} else {
		v->s.is_cut = true;
		move_step(v, STEP_FROZEN);
		ask_in(v, ASK_AFTER_NS);
	}
	move_advance(v);
}

static void begin_cut(struct move *v)
{
	v->s.busy = true;
	if (net_wanted(v->host.task(v->host.data)))
		net_cut(v->m->o.net, v->host.task(v->host.data)->id, on_cut, v);
	else
		on_cut(v, NULL);
}

static void on_thawed(void *data, struct container *c, const struct error *err)
{
	struct move *v = data;

	v->s.busy = false;
	v->s.is_frozen = v->s.is_cut = false;
	v->state->frozen = false;
	if (err)
		log_error("migration_thaw", kv_str("migration", v->state->order->id), kv_err(err));
	v->host.stand(v->host.data, false);
	move_advance(v);
}

static void begin_thaw(struct move *v)
{
	struct container *c = container_of_task(v);

	v->s.busy = true;
	if (c)
		container_thaw(c, on_thawed, v);
	else
		on_thawed(v, NULL, NULL);
}

static void on_opened(void *data, const struct error *err)
{
	struct move *v = data;

	v->s.busy = false;
	if (v->freeing)
		return;
	if (err)
		log_error("migration_open", kv_str("migration", v->state->order->id), kv_err(err));
	v->s.is_cut = false;
	begin_thaw(v);
}

static void begin_open(struct move *v)
{
	v->s.busy = true;
	move_say(v, "going on here");
	if (net_wanted(v->host.task(v->host.data)))
		net_open(v->m->o.net, v->host.task(v->host.data)->id, on_opened, v);
	else
		on_opened(v, NULL);
}

/* ---------------------------------------------------------------- steps */

void source_files_over(struct move *v, const struct error *err)
{
	bool still = v->s.is_frozen;

	v->s.files_busy = false;
	if (err) {
		move_fail(v, err);
		if (still)
			ask_in(v, 0);
	} else if (still) {
		v->s.files_still = true;
	} else if (!v->s.files) {
		v->s.files = true;
	} else {
		v->s.files_again = true;
	}
	move_advance(v);
}

static void on_sent_saved(void *data, const struct error *err)
{
	struct move *v = data;

	v->s.busy = false;
	if (err) {
		move_fail(v, err);
		ask_in(v, 0);
	} else {
		move_rep(v)->bytes_sent = v->s.out ? outgoing_bytes(v->s.out) : move_rep(v)->bytes_sent;
		move_report(v);
		ask_in(v, ASK_AFTER_NS);
	}
	move_advance(v);
}

/* On disk before the leader hears of it: from here on only it, or the target, can say that we go on. */
static void begin_sent(struct move *v)
{
	v->s.busy = true;
	v->state->report->step = STEP_SENT;
	pb_set_str(&v->state->report->doing, "");
	move_save(v, on_sent_saved);
}

static void say_all_sent(struct move *v)
{
	Skein__MoveChunk chunk = SKEIN__MOVE_CHUNK__INIT;
	Skein__MoveSent sent = SKEIN__MOVE_SENT__INIT;

	sent.round = v->s.round;
	chunk.body_case = SKEIN__MOVE_CHUNK__BODY_SENT;
	chunk.sent = &sent;
	v->s.said = true;
	outgoing_send(v->s.out, &chunk);
}

static void resumed(struct move *v)
{
	migrate_remove_dir(v->m, TAKE_PTR(v->s.dir));
	uv_timer_stop(&v->s.timer);
	move_step(v, STEP_RESUMED);
}

bool source_act(struct move *v)
{
	struct source_facts f = facts_of(v);
	/* An agent that was started anew has to find the container first. */
	enum source_action action = f.gone || container_of_task(v) ? source_decide(&f) : SOURCE_WAIT;

	if (action != SOURCE_WAIT)
		log_debug("migration_source", kv_str("migration", v->state->order->id), kv_str("action", source_action_name(action)));
	switch (action) {
	case SOURCE_WAIT:
		return false;
	case SOURCE_LOOK:
		begin_look(v);
		break;
	case SOURCE_CONNECT:
		connect_target(v);
		break;
	case SOURCE_PREPARED:
		move_step(v, STEP_PREPARED);
		break;
	case SOURCE_FILES:
	case SOURCE_FILES_STILL:
		source_send_files(v);
		break;
	case SOURCE_ROUND:
		source_round(v, false);
		break;
	case SOURCE_CONVERGED:
		move_step(v, STEP_CONVERGED);
		break;
	case SOURCE_FREEZE:
		begin_freeze(v);
		break;
	case SOURCE_CUT:
		begin_cut(v);
		break;
	case SOURCE_DUMP:
		source_round(v, true);
		break;
	case SOURCE_IMAGES:
		source_send_images(v);
		break;
	case SOURCE_SAY:
		say_all_sent(v);
		break;
	case SOURCE_SENT:
		begin_sent(v);
		break;
	case SOURCE_HANG_UP:
		hang_up(v);
		break;
	case SOURCE_ASK:
		ask(v);
		break;
	case SOURCE_OPEN:
		begin_open(v);
		break;
	case SOURCE_THAW:
		begin_thaw(v);
		break;
	case SOURCE_RESUMED:
		resumed(v);
		break;
	case SOURCE_GONE:
		move_step(v, STEP_GONE);
		break;
	}
	return true;
}

/* ---------------------------------------------------------------- life */

/* What an earlier agent was doing is cut off, but for standing still with everything sent. */
void source_init(struct move *v)
{
	struct error err;
	int step = (int)v->state->report->step;

	uv_timer_init(v->m->o.loop, &v->s.timer);
	if (step == STEP_NONE && !v->state->frozen)
		return;
	if (step >= STEP_SENT || move_phase(v) >= MIGRATION_SWITCH) {
		if (v->state->frozen)
			ask_in(v, ASK_AFTER_NS);
		return;
	}
	error_set(&err, ERR_UNAVAILABLE, "the source's agent was started anew");
	move_fail(v, &err);
	ask_in(v, 0);
}

static void on_timer_closed(uv_handle_t *handle)
{
	move_drop(container_of((uv_timer_t *)handle, struct move, s.timer));
}

static void free_snapshot(struct snapshot *s)
{
	if (s)
		snapshot_fini(s);
	free(s);
}

void source_close(struct move *v)
{
	struct source *s = &v->s;
	struct container *c = container_of_task(v);

	if (c && s->busy)
		container_checkpoint_drop(c);
	outgoing_close(s->out);
	s->out = NULL;
	free_snapshot(s->upper);
	free_snapshot(s->volumes);
	migrate_remove_dir(v->m, TAKE_PTR(s->dir));
	move_hold(v);
	uv_close((uv_handle_t *)&s->timer, on_timer_closed);
}

void move_exited(struct move *v)
{
	if (v->is_target) {
		v->t.running = false;
	} else {
		v->s.gone = true;
		v->state->frozen = false;
		v->s.busy = false;
		migrate_remove_dir(v->m, TAKE_PTR(v->s.dir));
	}
	move_advance(v);
}
