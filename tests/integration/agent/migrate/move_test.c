/*
 * A running container from one end to the other: both ends real, with CRIU, and the stream between them over mutual TLS; the
 * leader and the two tasks are the test's. CRIU of Debian 12 works on Debian's kernel (tests/vm/run tests
 * integration.agent.migrate.move_test).
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/migrate/frames.h"
#include "agent/migrate/migrate.h"
#include "agent/peer.h"
#include "rpc/rpc.h"
#include "support/move_fixture.h"
#include "support/pki.h"

#include <signal.h>

#define ID "0123456789abcdefghijklmno"

/* Counts in memory; says so in its log and in a file of its own, and says on TERM where it was. */
static const char counter[] =
	"trap 'echo ended at $(cat /tmp/n); exit 7' TERM; mkdir -p /data/d; echo first >/data/d/f; "
	"i=0; while :; do i=$((i+1)); echo count $i; echo $i >/tmp/n; sleep 0.1; done";

/* One agent's part of it. */
struct end {
	struct world *w;
	struct migrate *migrate;
	struct rpc_creds *creds;
	struct move *move;
	struct box box;
	struct space space;
	char *dir;
	Skein__MigrationState *saved;
	pb_migration_report *report;
	bool is_target, restoring, removing, stood, killed;
};

struct world {
	struct bed bed;
	struct rpc *rpc;
	struct pki pki;
	struct rpc_server *server;
	struct peer *peer;
	char address[32];
	struct end source, target;
	int phase, abort_at, spoil_at; /* steps of the source, or 0 */
	uint8_t ticket[FRAMES_TICKET_BYTES];
};

/* ---------------------------------------------------------------- the tasks */

static const pb_task *task_of(void *data)
{
	return ((struct end *)data)->box.task;
}

static struct container *container_of_end(void *data)
{
	struct end *e = data;

	return e->removing ? NULL : e->box.c;
}

static void save(void *data, const Skein__MigrationState *state, void (*saved)(void *data, const struct error *err), void *saved_data)
{
	struct end *e = data;

	pb_set_msg(&e->saved, state);
	saved(saved_data, NULL);
}

static void on_restored_here(void *data, struct container *c, const struct restore_stats *stats, const struct error *err)
{
	struct end *e = data;

	e->restoring = false;
	move_restored(e->move, err);
}

/* Called with what the container was made with. */
static void on_removed_here(void *data, struct container *c, const struct error *err)
{
	struct end *e = container_of((struct box *)data, struct end, box);

	e->box.c = NULL;
	e->box.removed = true;
	e->box.task->status->state = (Skein__TaskState)TASK_SHUTDOWN;
	move_exited(e->move);
}

static void changed(void *data)
{
	struct end *e = data;

	if (!e->move)
		return;
	switch (move_wants(e->move)) {
	case MOVE_RESTORE:
		if (e->restoring || e->box.task->status->state > TASK_READY)
			return;
		e->restoring = true;
		e->box.task->status->state = (Skein__TaskState)TASK_STARTING;
		move_restoring(e->move);
		container_restore(e->box.c, move_images(e->move), on_restored_here, e);
		break;
	case MOVE_DISCARD:
	case MOVE_KILL:
		if (e->removing || e->restoring || !e->box.c)
			return;
		e->removing = true;
		container_remove(e->box.c, on_removed_here);
		break;
	default:
		break;
	}
}

static void stand(void *data, bool still)
{
	((struct end *)data)->stood |= still;
}

/* ---------------------------------------------------------------- the leader */

static void order(struct end *e)
{
	pb_migration_order o = SKEIN__MIGRATION_ORDER__INIT;
	struct move_host host = {.task = task_of, .container = container_of_end, .save = save, .changed = changed, .stand = stand, .data = e};

	o.id = ID;
	o.target = e->is_target;
	o.phase = (Skein__MigrationPhase)e->w->phase;
	o.source_task = e->w->source.box.task->id;
	o.target_task = e->w->target.box.task->id;
	o.peer_node = e->is_target ? "source" : "target";
	o.peer_address = e->is_target ? "" : e->w->address;
	o.ticket = (ProtobufCBinaryData){FRAMES_TICKET_BYTES, e->w->ticket};
	if (e->move)
		move_order(e->move, &o);
	else
		e->move = move_new(e->migrate, &o, NULL, &host);
	move_task_changed(e->move);
}

static int step_of(const struct end *e)
{
	return e->report ? (int)e->report->step : 0;
}

static bool failed(const struct end *e)
{
	return e->report && e->report->err[0];
}

static int next_phase(struct world *w)
{
	int s = step_of(&w->source), t = step_of(&w->target);

	if (w->phase < MIGRATION_ABORT && (failed(&w->source) || failed(&w->target) || t == STEP_DISCARDED ||
					   (w->abort_at && s >= w->abort_at)))
		return MIGRATION_ABORT;
	if (w->phase == MIGRATION_PREPARE && s >= STEP_PREPARED && t >= STEP_PREPARED)
		return MIGRATION_COPY;
	if (w->phase == MIGRATION_COPY && s >= STEP_CONVERGED)
		return MIGRATION_FREEZE;
	if (w->phase == MIGRATION_FREEZE && s >= STEP_SENT && t >= STEP_RECEIVED)
		return MIGRATION_SWITCH;
	if (w->phase == MIGRATION_SWITCH && t == STEP_RESTORED)
		return MIGRATION_MOVED;
	if (w->phase == MIGRATION_ABORT && t == STEP_DISCARDED)
		return MIGRATION_RESUME;
	return w->phase;
}

/* The images are spoiled behind the target's back. */
static void spoil(struct world *w)
{
	_cleanup_free_ char *command = xasprintf("rm -f %s/run/migrate/*.target/*/core-1.img", w->target.dir);

	w->spoil_at = 0;
	assert_int_equal(system(command), 0);
}

static void lead(struct world *w)
{
	int phase = next_phase(w);

	if (phase == MIGRATION_SWITCH && w->spoil_at)
		spoil(w);
	if (phase == w->phase)
		return;
	w->phase = phase;
	order(&w->target);
	order(&w->source);
}

static void on_report(void *data, const pb_migration_report *report)
{
	struct end *e = data;

	pb_set_msg(&e->report, report);
}

#define until(w, condition)                                                                                                \
	do {                                                                                                               \
		uv_timer_t tick_;                                                                                          \
		uv_timer_init(&(w)->bed.loop, &tick_);                                                                     \
		uv_timer_start(&tick_, bed_on_tick, 5, 5);                                                                 \
		uv_timer_start(&(w)->bed.watchdog, bed_on_watchdog, BED_TIMEOUT_MS, 0);                                    \
		while (!(condition)) {                                                                                     \
			uv_run(&(w)->bed.loop, UV_RUN_ONCE);                                                               \
			lead(w);                                                                                           \
		}                                                                                                          \
		uv_timer_stop(&(w)->bed.watchdog);                                                                         \
		uv_close((uv_handle_t *)&tick_, NULL);                                                                     \
		uv_run(&(w)->bed.loop, UV_RUN_NOWAIT);                                                                     \
	} while (0)

/* ---------------------------------------------------------------- life */

static void flag(void *data)
{
	*(bool *)data = true;
}

static void open_end(struct world *w, struct end *e, const char *name)
{
	struct pki_cert cert = pki_node(&w->pki, name, "worker", 3600);
	struct migrate_options options = {.loop = &w->bed.loop, .rpc = w->rpc, .exec = w->bed.e, .report = on_report, .data = e};
	_cleanup_free_ char *run = NULL, *state = NULL;

	e->w = w;
	e->is_target = strcmp(name, "target") == 0;
	e->dir = xasprintf("%s/%s-agent", w->bed.dir, name);
	run = xasprintf("%s/run", e->dir);
	state = xasprintf("%s/state", e->dir);
	assert_int_equal(file_mkdirs(run, 0700, NULL), 0);
	assert_int_equal(file_mkdirs(state, 0700, NULL), 0);
	options.run_dir = run;
	options.state_dir = state;
	e->creds = rpc_creds_new(w->pki.root_pem, cert.cert_pem, cert.key_pem);
	pki_cert_fini(&cert);
	e->migrate = migrate_new(&options);
	migrate_set_node(e->migrate, name, e->creds);
	box_init(&e->box, &w->bed, counter);
	e->box.task->spec->live_migrate = true;
	e->box.task->status = pb_new(&skein__task_status__descriptor);
	space_open(&e->space, &w->bed, name);
	e->box.network = &e->space.network;
}

static int setup(void **state)
{
	struct world *w = xnew(struct world);
	int port = 0;

	bed_open(&w->bed);
	w->rpc = rpc_new(&w->bed.loop);
	pki_init(&w->pki, "cluster ca");
	memset(w->ticket, 9, sizeof(w->ticket));
	open_end(w, &w->source, "source");
	open_end(w, &w->target, "target");
	w->peer = peer_new(&(struct peer_options){.loop = &w->bed.loop, .migrate = w->target.migrate});
	w->server = rpc_server_new(w->rpc, w->target.creds);
	peer_add_service(w->peer, w->server);
	assert_int_equal(rpc_server_listen(w->server, "127.0.0.1:0", 0, &port, NULL), 0);
	rpc_server_start(w->server);
	snprintf(w->address, sizeof(w->address), "127.0.0.1:%d", port);
	*state = w;
	return 0;
}

static void close_end(struct world *w, struct end *e)
{
	bool closed = false;

	migrate_close(e->migrate, flag, &closed);
	bed_wait(&w->bed, closed);
	rpc_creds_unref(e->creds);
	space_close(&e->space);
	pb_free(e->saved);
	pb_free(e->report);
	box_fini(&e->box);
	free(e->dir);
}

static int teardown(void **state)
{
	struct world *w = *state;
	bool server = false, peer = false, rpc = false;

	move_free(TAKE_PTR(w->source.move));
	move_free(TAKE_PTR(w->target.move));
	if (w->source.box.c)
		box_remove(&w->source.box);
	if (w->target.box.c)
		box_remove(&w->target.box);
	rpc_server_close(w->server, flag, &server);
	bed_wait(&w->bed, server);
	peer_close(w->peer, flag, &peer);
	bed_wait(&w->bed, peer);
	close_end(w, &w->source);
	close_end(w, &w->target);
	rpc_close(w->rpc, flag, &rpc);
	bed_wait(&w->bed, rpc);
	pki_fini(&w->pki);
	bed_close(&w->bed);
	free(w);
	return 0;
}

/* ---------------------------------------------------------------- helpers */

static unsigned first_count(struct box *x)
{
	_cleanup_free_ char *text = box_log(x);
	unsigned n = 0;

	return text && strstr(text, "count ") && sscanf(strstr(text, "count "), "count %u", &n) == 1 ? n : 0;
}

static unsigned last_count(struct box *x)
{
	_cleanup_free_ char *text = box_log(x);
	unsigned n = 0;

	for (const char *p = text; p && (p = strstr(p, "count ")); p++)
		sscanf(p, "count %u", &n);
	return n;
}

static void begin(struct world *w)
{
	const char *why;

	if (!exec_can_checkpoint(w->bed.e, &why)) {
		print_message("needs a node that can checkpoint: %s\n", why);
		skip();
	}
	box_up(&w->source.box);
	w->source.box.task->status->state = (Skein__TaskState)TASK_RUNNING;
	box_create(&w->target.box);
	assert_string_equal(w->target.box.err.msg, "");
	w->target.box.task->status->state = (Skein__TaskState)TASK_READY;
	bed_poll(&w->bed, last_count(&w->source.box) >= 3);
	w->phase = MIGRATION_PREPARE;
	order(&w->target);
	order(&w->source);
}

static void expect_clean(struct end *e)
{
	_cleanup_free_ char *command = xasprintf("! ls %s/run/migrate/* %s/state/migrate/* 2>/dev/null | grep -q .", e->dir, e->dir);

	bed_poll(&e->w->bed, system(command) == 0);
}

static void goes_on(struct world *w, struct box *x)
{
	unsigned now = last_count(x);

	bed_poll(&w->bed, last_count(x) > now + 2);
}

/* ---------------------------------------------------------------- tests */

static void it_moves(void **state)
{
	struct world *w = *state;

	begin(w);
	until(w, w->phase == MIGRATION_MOVED || failed(&w->source) || failed(&w->target));
	assert_false(failed(&w->source) || failed(&w->target));
	until(w, w->source.box.removed);
	assert_true(w->source.report->n_rounds > 0 && w->source.report->rounds[0]->bytes > 0);
	assert_true(w->source.stood);
	goes_on(w, &w->target.box);
	/* Where it stood still it went on: no number is missing, none came twice. */
	assert_true(first_count(&w->target.box) > 3);
	print_message("memory %lu, sent %lu, files %lu, rounds %zu, dump %ld ms, transfer %ld ms, restore %ld ms, downtime %ld ms\n",
		      (unsigned long)w->source.report->memory_bytes, (unsigned long)w->source.report->bytes_sent,
		      (unsigned long)w->source.report->file_bytes, w->source.report->n_rounds, (long)(w->source.report->dump / 1000000),
		      (long)(w->source.report->transfer / 1000000), (long)(w->target.report->restore / 1000000),
		      (long)(w->source.report->downtime / 1000000));
	container_stop(w->target.box.c, 30 * NS_PER_SEC);
	until(w, w->target.box.exited);
	assert_int_equal(w->target.box.exit.exit_code, 7);
	expect_clean(&w->target);
}

static void back_from(struct world *w)
{
	until(w, step_of(&w->source) == STEP_RESUMED);
	assert_int_equal(step_of(&w->target), STEP_DISCARDED);
	goes_on(w, &w->source.box);
	until(w, w->target.box.removed);
	expect_clean(&w->target);
	expect_clean(&w->source);
	assert_false(container_frozen(w->source.box.c));
	container_stop(w->source.box.c, 30 * NS_PER_SEC);
	until(w, w->source.box.exited);
	assert_int_equal(w->source.box.exit.exit_code, 7);
}

static void aborted_while_it_copies(void **state)
{
	struct world *w = *state;

	w->abort_at = STEP_CONVERGED;
	begin(w);
	back_from(w);
}

static void aborted_when_frozen(void **state)
{
	struct world *w = *state;

	w->abort_at = STEP_FROZEN;
	begin(w);
	back_from(w);
}

static void aborted_when_sent(void **state)
{
	struct world *w = *state;

	w->abort_at = STEP_SENT;
	begin(w);
	back_from(w);
}

static void a_restore_that_fails(void **state)
{
	struct world *w = *state;

	w->spoil_at = STEP_SENT;
	begin(w);
	back_from(w);
	assert_true(strlen(w->target.report->err) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_moves, setup, teardown),
		cmocka_unit_test_setup_teardown(aborted_while_it_copies, setup, teardown),
		cmocka_unit_test_setup_teardown(aborted_when_frozen, setup, teardown),
		cmocka_unit_test_setup_teardown(aborted_when_sent, setup, teardown),
		cmocka_unit_test_setup_teardown(a_restore_that_fails, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
