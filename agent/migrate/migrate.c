#include "agent/migrate/move.h"

#include "agent/migrate/source_decide.h"
#include "agent/migrate/incoming.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"
#include "rpc/rpc.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>

/* A source may come before the order for it has: so long, and so many, are waited for. */
#define PARK_NS (10 * NS_PER_SEC)
#define PARK_MAX 32
/* Of memory that is free for files, images may take so much at most. */
#define RUN_SHARE 2

/* ---------------------------------------------------------------- saving, reporting */

void move_hold(struct move *v)
{
	v->holds++;
}

void move_drop(struct move *v)
{
	if (--v->holds > 0)
		return;
	pb_free(v->state);
	closer_drop(&v->m->closer);
	free(v);
}

struct saving {
	struct move *move;
	void (*saved)(void *data, const struct error *err);
};

static void on_saved(void *data, const struct error *err)
{
	struct saving s = *(struct saving *)data;

	free(data);
	if (s.saved && !s.move->freeing)
		s.saved(s.move, err);
	move_drop(s.move);
}

void move_save(struct move *v, void (*saved)(void *data, const struct error *err))
{
	struct saving *s = xnew(struct saving);

	*s = (struct saving){v, saved};
	move_hold(v);
	v->host.save(v->host.data, v->state, on_saved, s);
}

void move_report(struct move *v)
{
	v->m->o.report(v->m->o.data, v->state->report);
}

void move_say(struct move *v, const char *doing)
{
	pb_set_str(&v->state->report->doing, doing);
	move_report(v);
}

static const char *step_name(Skein__MigrationStep step)
{
	const ProtobufCEnumValue *value = protobuf_c_enum_descriptor_get_value(&skein__migration_step__descriptor, (int)step);

	return value ? value->name : "?";
}

void move_step(struct move *v, Skein__MigrationStep step)
{
	if (step <= v->state->report->step)
		return;
	v->state->report->step = step;
	pb_set_str(&v->state->report->doing, "");
	log_info("migration_step", kv_str("migration", v->state->order->id), kv_str("end", v->is_target ? "target" : "source"),
		 kv_str("step", step_name(step)));
	move_report(v);
	move_save(v, NULL);
}

/* The first reason stays. */
void move_fail(struct move *v, const struct error *err)
{
	if (v->failed)
		return;
	v->failed = true;
	log_warn("migration_failed", kv_str("migration", v->state->order->id), kv_str("end", v->is_target ? "target" : "source"),
		 kv_err(err));
	pb_set_str(&v->state->report->err, err->msg);
	move_report(v);
}

/* ---------------------------------------------------------------- ends */

/* Steps may call back at once: `again` keeps one loop going instead of recursing. */
void move_advance(struct move *v)
{
	if (v->freeing)
		return;
	if (v->advancing) {
		v->again = true;
		return;
	}
	move_hold(v);
	v->advancing = true;
	do
		v->again = false;
	while (!v->freeing && ((v->is_target ? target_act(v) : source_act(v)) || v->again));
	v->advancing = false;
	if (!v->freeing)
		v->host.changed(v->host.data);
	move_drop(v);
}

static struct move *find(struct migrate *m, const char *id)
{
	struct move *v;

	LIST_FOREACH(v, &m->moves, link) {
		if (v->is_target && str_eq(v->state->order->id, id))
			return v;
	}
	return NULL;
}

static void greet_parked(struct migrate *m, struct move *v);

struct move *move_new(struct migrate *m, const pb_migration_order *order, const Skein__MigrationState *saved,
		      const struct move_host *host)
{
	struct move *v = xnew(struct move);

	v->m = m;
	v->host = *host;
	v->is_target = order->target;
	v->holds = 1;
	closer_hold(&m->closer);
	v->state = saved ? pb_dup(saved) : pb_new(&skein__migration_state__descriptor);
	if (!v->state->report)
		v->state->report = pb_new(&skein__migration_report__descriptor);
	pb_set_msg(&v->state->order, order);
	pb_set_str(&v->state->report->migration_id, order->id);
	v->state->report->target = order->target;
	LIST_INSERT_HEAD(&m->moves, v, link);
	if (v->is_target)
		target_init(v);
	else
		source_init(v);
	if (saved)
		move_report(v);
	else
		move_save(v, NULL);
	if (v->is_target)
		greet_parked(m, v);
	return v;
}

void move_free(struct move *v)
{
	if (!v || v->freeing)
		return;
	v->freeing = true;
	LIST_REMOVE(v, link);
	if (v->is_target)
		target_close(v);
	else
		source_close(v);
	move_drop(v);
}

void move_order(struct move *v, const pb_migration_order *order)
{
	bool changed = order->phase > v->state->order->phase;

	if (order->phase < v->state->order->phase) /* an older word, of a manager that lags */
		return;
	pb_set_msg(&v->state->order, order);
	if (changed) {
		log_info("migration_phase", kv_str("migration", order->id), kv_str("end", v->is_target ? "target" : "source"),
			 kv_u64("phase", (uint64_t)order->phase));
		if (order->phase == MIGRATION_SWITCH)
			v->t.switched_at = clock_mono_ns();
		move_save(v, NULL);
		move_advance(v);
	}
}

const char *move_migration_id(const struct move *v)
{
	return v->state->order->id;
}

bool move_is_target(const struct move *v)
{
	return v->is_target;
}

enum move_want move_wants(const struct move *v)
{
	return v->is_target ? target_end_wants(v) : source_wants(v);
}

const char *move_images(const struct move *v)
{
	return v->t.images;
}

void move_task_changed(struct move *v)
{
	move_advance(v);
}

/* ---------------------------------------------------------------- the service */

/* A call of Peer.Move: parked until an order for it comes, then an end's. */
struct parked {
	struct migrate *m;
	struct rpc_call *call;       /* NULL: over */
	Skein__MoveHello *hello;
	struct incoming *in;         /* what it has become */
	int64_t came_at;             /* mono ns */
	bool waits;
	uv_timer_t timer;
	LIST_ENTRY(parked) link;
};

static void on_parked_closed(uv_handle_t *handle)
{
	struct parked *p = container_of((uv_timer_t *)handle, struct parked, timer);
	struct migrate *m = p->m;

	pb_free(p->hello);
	free(p);
	closer_drop(&m->closer);
}

static void stop_waiting(struct parked *p)
{
	if (!p->waits)
		return;
	p->waits = false;
	p->m->n_parked--;
	LIST_REMOVE(p, link);
	uv_timer_stop(&p->timer);
}

static void refuse(struct parked *p)
{
	struct error err;

	/* One answer for all reasons: who has no ticket learns nothing. */
	error_set(&err, ERR_DENIED, "no container is expected from this node with this ticket");
	log_warn("move_refused", kv_str("migration", p->hello->migration_id), kv_str("node", rpc_call_peer(p->call)->node_id));
	stop_waiting(p);
	rpc_call_fail(p->call, &err);
}

static void on_waited(uv_timer_t *timer)
{
	refuse(container_of(timer, struct parked, timer));
}

static void greet(struct parked *p, struct move *v)
{
	stop_waiting(p);
	if (!str_eq(rpc_call_peer(p->call)->node_id, v->state->order->peer_node) ||
	    !frames_ticket_fits(&v->state->order->ticket, &p->hello->ticket) || v->freeing) {
		refuse(p);
		return;
	}
	if (p->hello->facts) /* what passed since it came is no difference of the clocks */
		p->hello->facts->clock += clock_mono_ns() - p->came_at;
	target_join(v, p->call, p->hello);
	p->in = v->t.in;
}

static void greet_parked(struct migrate *m, struct move *v)
{
	struct parked *p, *next;

	for (p = LIST_FIRST(&m->parked); p; p = next) {
		next = LIST_NEXT(p, link);
		if (str_eq(p->hello->migration_id, v->state->order->id))
			greet(p, v);
	}
}

static void take_first(struct migrate *m, struct rpc_call *call, const Skein__MoveChunk *chunk)
{
	struct frames frames = {0};
	struct error err = ERROR_INIT;
	struct parked *p;
	struct move *v;

	if (frames_take(&frames, chunk, &err) == 0 && (m->closer.closing || m->n_parked >= PARK_MAX))
		error_set(&err, ERR_UNAVAILABLE, "%u streams wait already", m->n_parked);
	if (error_is_set(&err)) {
		rpc_call_fail(call, &err);
		return;
	}
	p = xnew(struct parked);
	*p = (struct parked){.m = m, .call = call, .hello = pb_dup(chunk->hello), .came_at = clock_mono_ns(), .waits = true};
	rpc_call_set_data(call, p);
	closer_hold(&m->closer);
	uv_timer_init(m->o.loop, &p->timer);
	LIST_INSERT_HEAD(&m->parked, p, link);
	m->n_parked++;
	v = find(m, p->hello->migration_id);
	if (v)
		greet(p, v);
	else
		loop_timer_in(&p->timer, PARK_NS, on_waited);
}

void migrate_on_chunk(struct migrate *m, struct rpc_call *call, const Skein__MoveChunk *chunk)
{
	struct parked *p = rpc_call_data(call);
	struct error err;

	if (!p) {
		take_first(m, call, chunk);
	} else if (p->in) {
		incoming_take(p->in, chunk);
	} else if (p->waits) {
		error_set(&err, ERR_INVALID, "a frame before the answer to the hello");
		stop_waiting(p);
		rpc_call_fail(call, &err);
	}
}

void migrate_on_half_close(struct rpc_call *call)
{
	/* It ends when its end says so. */
}

void migrate_on_done(struct rpc_call *call)
{
	struct parked *p = rpc_call_data(call);

	if (!p)
		return;
	stop_waiting(p);
	p->call = NULL;
	if (p->in)
		incoming_gone(p->in);
	uv_close((uv_handle_t *)&p->timer, on_parked_closed);
}

/* ---------------------------------------------------------------- images */

static uint64_t free_bytes(const char *dir)
{
	struct statvfs st;

	return statvfs(dir, &st) < 0 ? 0 : (uint64_t)st.f_bavail * st.f_frsize;
}

char *migrate_images_dir(struct migrate *m, const char *id, bool target, uint64_t need_bytes, struct error *err)
{
	/* Memory is what a restore reads fastest from. */
	bool fits = free_bytes(m->o.run_dir) / RUN_SHARE > need_bytes;
	char *dir = xasprintf("%s/migrate/%s.%s", fits ? m->o.run_dir : m->o.state_dir, id, target ? "target" : "source");

	if (file_remove_tree(dir, err) == 0 && file_mkdirs(dir, 0700, err) == 0)
		return dir;
	free(dir);
	return NULL;
}

struct removal {
	struct migrate *m;
	char *dir;
};

static void remove_work(void *data)
{
	struct removal *r = data;
	struct error err = ERROR_INIT;

	if (file_remove_tree(r->dir, &err) < 0)
		log_warn("migration_images", kv_err(&err));
}

static void remove_done(void *data)
{
	struct removal *r = data;

	closer_drop(&r->m->closer);
	free(r->dir);
	free(r);
}

void migrate_remove_dir(struct migrate *m, char *dir)
{
	struct removal *r;

	if (!dir)
		return;
	r = xnew(struct removal);
	*r = (struct removal){m, dir};
	closer_hold(&m->closer);
	loop_work(m->o.loop, remove_work, remove_done, r);
}

/* ---------------------------------------------------------------- life */

/* Aside first: what a migration of this agent puts there must not be taken for it. */
static void remove_old(struct migrate *m, const char *dir)
{
	_cleanup_free_ char *path = xasprintf("%s/migrate", dir);
	char *old = xasprintf("%s/migrate.old", dir);
	struct error err = ERROR_INIT;

	if (file_remove_tree(old, &err) < 0 || (rename(path, old) < 0 && errno != ENOENT))
		log_warn("migration_images", kv_str("path", path), kv_str("error", err.msg));
	migrate_remove_dir(m, old);
}

struct migrate *migrate_new(const struct migrate_options *options)
{
	struct migrate *m = xnew(struct migrate);

	m->o = *options;
	m->o.state_dir = xstrdup(options->state_dir);
	m->o.run_dir = xstrdup(options->run_dir);
	closer_init(&m->closer);
	/* No end of an earlier agent goes on with what was sent: it is discarded, or was restored. */
	remove_old(m, options->run_dir);
	remove_old(m, options->state_dir);
	return m;
}

void migrate_set_node(struct migrate *m, const char *node_id, struct rpc_creds *creds)
{
	if (m->creds)
		rpc_creds_unref(m->creds);
	m->creds = creds ? rpc_creds_ref(creds) : NULL;
	free(m->node_id);
	m->node_id = xstrdup(node_id);
}

void migrate_report_all(struct migrate *m)
{
	struct move *v;

	LIST_FOREACH(v, &m->moves, link)
		move_report(v);
}

struct closing {
	struct migrate *m;
	void (*closed)(void *data);
	void *data;
};

static void on_closed(void *data)
{
	struct closing c = *(struct closing *)data;

	free(data);
	migrate_set_node(c.m, NULL, NULL);
	free((char *)c.m->o.state_dir);
	free((char *)c.m->o.run_dir);
	free(c.m);
	if (c.closed)
		c.closed(c.data);
}

void migrate_close(struct migrate *m, void (*closed)(void *data), void *data)
{
	struct closing *c = xnew(struct closing);

	*c = (struct closing){m, closed, data};
	if (!closer_begin(&m->closer, on_closed, c)) {
		free(c);
		return;
	}
	closer_end(&m->closer);
}
