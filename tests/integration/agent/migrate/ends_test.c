/*
 * Who may send a container here: the agents' real service over mutual TLS, and a target's end with a task of the test's own.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/migrate/frames.h"
#include "agent/migrate/migrate.h"
#include "agent/migrate/outgoing.h"
#include "agent/peer.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/file.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/str.h"
#include "proto/pb.h"
#include "rpc/rpc.h"
#include "support/imagemaker.h"
#include "support/pki.h"

#define ID "0123456789abcdefghijklmno"
#define OTHER "0123456789abcdefghijklmnp"

const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "ignore_noninstrumented_modules=1";
}

struct fixture {
	char dir[64], address[32];
	uv_loop_t loop;
	struct rpc *rpc;
	struct pki pki;
	struct rpc_creds *target, *source, *stranger;
	struct rpc_server *server;
	struct peer *peer;
	struct migrate *migrate;
	/* the target's end */
	struct move *move;
	pb_task *task;
	Skein__MigrationState *saved;
	unsigned saves;
	pb_migration_report *report;
	bool discarded;
	/* the source's */
	struct outgoing *out;
	bool over, promised;
	struct error err;
};

/* ---------------------------------------------------------------- the target's task */

static const pb_task *task_of(void *data)
{
	return ((struct fixture *)data)->task;
}

static struct container *no_container(void *data)
{
	return NULL;
}

static void save(void *data, const Skein__MigrationState *state, void (*saved)(void *data, const struct error *err), void *saved_data)
{
	struct fixture *f = data;

	pb_set_msg(&f->saved, state);
	f->saves++;
	saved(saved_data, NULL);
}

static void changed(void *data)
{
}

static void stand(void *data, bool still)
{
	fail_msg("a target's task stands still");
}

static void on_report(void *data, const pb_migration_report *report)
{
	struct fixture *f = data;

	pb_set_msg(&f->report, report);
	f->discarded = report->step == STEP_DISCARDED;
}

static pb_migration_order *order(int phase)
{
	pb_migration_order *o = pb_new(&skein__migration_order__descriptor);

	pb_set_str(&o->id, ID);
	o->target = true;
	o->phase = (Skein__MigrationPhase)phase;
	pb_set_str(&o->peer_node, "source");
	o->ticket.len = FRAMES_TICKET_BYTES;
	o->ticket.data = xcalloc(1, FRAMES_TICKET_BYTES);
	o->ticket.data[7] = 42;
	return o;
}

static void give_order(struct fixture *f, int phase)
{
	struct move_host host = {.task = task_of, .container = no_container, .save = save, .changed = changed, .stand = stand, .data = f};
	_cleanup_pb_ pb_migration_order *o = order(phase);

	if (f->move)
		move_order(f->move, o);
	else
		f->move = move_new(f->migrate, o, f->saved, &host);
}

/* ---------------------------------------------------------------- the source */

static void on_ack(void *data, const Skein__MoveAck *ack)
{
	struct fixture *f = data;

	f->promised = f->promised || ack->body_case == SKEIN__MOVE_ACK__BODY_PROMISED;
}

static void on_end(void *data, const struct error *err)
{
	struct fixture *f = data;

	f->over = true;
	f->err = err ? *err : ERROR_INIT;
}

static void call(struct fixture *f, struct rpc_creds *creds, const char *id, uint8_t secret, bool ask)
{
	uint8_t ticket[FRAMES_TICKET_BYTES] = {[7] = secret};
	Skein__MoveChunk chunk = SKEIN__MOVE_CHUNK__INIT;
	Skein__MoveHello hello = SKEIN__MOVE_HELLO__INIT;
	Skein__MoveFacts facts = SKEIN__MOVE_FACTS__INIT;
	struct outgoing_options options = {
		.loop = &f->loop, .rpc = f->rpc, .creds = creds, .address = f->address, .on_ack = on_ack, .on_end = on_end, .data = f,
	};

	outgoing_close(f->out);
	f->over = f->promised = false;
	f->out = outgoing_open(&options);
	hello.migration_id = (char *)id;
	hello.ticket = (ProtobufCBinaryData){sizeof(ticket), ticket};
	hello.facts = ask ? NULL : &facts;
	hello.ask = ask;
	chunk.body_case = SKEIN__MOVE_CHUNK__BODY_HELLO;
	chunk.hello = &hello;
	assert_int_equal(outgoing_send(f->out, &chunk), 0);
}

static void expect_refused(struct fixture *f)
{
	loop_until(&f->loop, &f->over);
	assert_int_equal(f->err.code, ERR_DENIED);
	assert_false(f->promised);
}

/* ---------------------------------------------------------------- life */

static struct rpc_creds *creds_of(struct fixture *f, const char *node)
{
	struct pki_cert cert = pki_node(&f->pki, node, "worker", 3600);
	struct rpc_creds *creds = rpc_creds_new(f->pki.root_pem, cert.cert_pem, cert.key_pem);

	pki_cert_fini(&cert);
	return creds;
}

static int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);
	struct migrate_options options = {.loop = &f->loop, .report = on_report, .data = f};
	int port = 0;

	strcpy(f->dir, "/tmp/ends-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	uv_loop_init(&f->loop);
	f->rpc = rpc_new(&f->loop);
	pki_init(&f->pki, "cluster ca");
	f->target = creds_of(f, "target");
	f->source = creds_of(f, "source");
	f->stranger = creds_of(f, "stranger");
	options.rpc = f->rpc;
	options.state_dir = options.run_dir = f->dir;
	f->migrate = migrate_new(&options);
	migrate_set_node(f->migrate, "target", f->target);
	f->peer = peer_new(&(struct peer_options){.loop = &f->loop, .migrate = f->migrate});
	f->server = rpc_server_new(f->rpc, f->target);
	peer_add_service(f->peer, f->server);
	assert_int_equal(rpc_server_listen(f->server, "127.0.0.1:0", 0, &port, NULL), 0);
	rpc_server_start(f->server);
	snprintf(f->address, sizeof(f->address), "127.0.0.1:%d", port);
	f->task = pb_new(&skein__task__descriptor);
	f->task->spec = pb_new(&skein__task_spec__descriptor);
	f->task->spec->container = pb_new(&skein__container_spec__descriptor);
	f->task->status = pb_new(&skein__task_status__descriptor);
	f->task->status->state = (Skein__TaskState)TASK_PREPARING;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	bool closed = false, peer_closed = false, server_closed = false, migrate_closed = false;

	outgoing_close(f->out);
	rpc_server_close(f->server, flag_set, &server_closed);
	loop_until(&f->loop, &server_closed);
	peer_close(f->peer, flag_set, &peer_closed);
	loop_until(&f->loop, &peer_closed);
	move_free(f->move);
	migrate_close(f->migrate, flag_set, &migrate_closed);
	loop_until(&f->loop, &migrate_closed);
	rpc_close(f->rpc, flag_set, &closed);
	loop_until(&f->loop, &closed);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	rpc_creds_unref(f->target);
	rpc_creds_unref(f->source);
	rpc_creds_unref(f->stranger);
	pki_fini(&f->pki);
	pb_free(f->task);
	pb_free(f->saved);
	pb_free(f->report);
	file_remove_tree(f->dir, NULL);
	free(f);
	return 0;
}

/* ---------------------------------------------------------------- tests */

static void wrong_ticket(void **state)
{
	struct fixture *f = *state;

	give_order(f, MIGRATION_PREPARE);
	call(f, f->source, ID, 41, false);
	expect_refused(f);
	call(f, f->source, ID, 41, true);
	expect_refused(f);
	assert_false(f->saved->promised);
}

static void wrong_node(void **state)
{
	struct fixture *f = *state;

	give_order(f, MIGRATION_PREPARE);
	call(f, f->stranger, ID, 42, false);
	expect_refused(f);
	call(f, f->stranger, ID, 42, true);
	expect_refused(f);
	assert_false(f->saved->promised);
}

static void unknown_migration(void **state)
{
	struct fixture *f = *state;
	int64_t began = clock_mono_ns();

	give_order(f, MIGRATION_PREPARE);
	call(f, f->source, OTHER, 42, false);
	expect_refused(f);
	/* It was waited for: its order might have been on the way. */
	assert_true(clock_mono_ns() - began > 5 * NS_PER_SEC);
}

/* The source is faster than the manager: it is kept until the order has come. */
static void before_the_order(void **state)
{
	struct fixture *f = *state;

	call(f, f->source, ID, 42, true);
	for (int i = 0; i < 50; i++)
		uv_run(&f->loop, UV_RUN_NOWAIT), usleep(2000);
	assert_false(f->over);
	give_order(f, MIGRATION_PREPARE);
	loop_until(&f->loop, &f->over);
	assert_true(f->promised);
	assert_true(f->discarded && f->saved->promised);
}

static void a_promise_is_kept(void **state)
{
	struct fixture *f = *state;

	give_order(f, MIGRATION_FREEZE);
	call(f, f->source, ID, 42, true);
	loop_until(&f->loop, &f->over);
	assert_true(f->promised && !error_is_set(&f->err));
	assert_true(f->saved->promised);
	assert_int_equal(move_wants(f->move), MOVE_DISCARD);
	/* The leader did not know: its word to run it comes too late. */
	give_order(f, MIGRATION_SWITCH);
	assert_int_equal(move_wants(f->move), MOVE_DISCARD);
	assert_int_equal(f->report->step, STEP_DISCARDED);
	/* An agent that is started anew has it in its database. */
	move_free(TAKE_PTR(f->move));
	give_order(f, MIGRATION_SWITCH);
	assert_int_equal(move_wants(f->move), MOVE_DISCARD);
	assert_int_equal(f->report->step, STEP_DISCARDED);
	call(f, f->source, ID, 42, true);
	loop_until(&f->loop, &f->over);
	assert_true(f->promised);
}

static void no_promise_behind_the_word(void **state)
{
	struct fixture *f = *state;

	f->saved = pb_new(&skein__migration_state__descriptor);
	f->saved->restored = true;
	f->saved->report = pb_new(&skein__migration_report__descriptor);
	f->saved->report->step = STEP_RECEIVED;
	give_order(f, MIGRATION_SWITCH);
	call(f, f->source, ID, 42, true);
	loop_until(&f->loop, &f->over);
	assert_false(f->promised);
	assert_int_equal(f->err.code, ERR_PRECONDITION);
	assert_false(f->saved->promised);
}

/* Its source was lost while it sent. */
static void a_cut_link(void **state)
{
	struct fixture *f = *state;

	give_order(f, MIGRATION_PREPARE);
	call(f, f->source, ID, 42, false);
	for (int i = 0; i < 200 && f->saves < 2; i++)
		uv_run(&f->loop, UV_RUN_NOWAIT), usleep(1000);
	outgoing_close(TAKE_PTR(f->out));
	loop_until(&f->loop, &f->discarded);
	assert_true(f->saved->promised);
	assert_true(strlen(f->report->err) > 0);
}

static void aborted(void **state)
{
	struct fixture *f = *state;

	give_order(f, MIGRATION_PREPARE);
	assert_int_equal(move_wants(f->move), MOVE_HOLD);
	give_order(f, MIGRATION_ABORT);
	assert_int_equal(move_wants(f->move), MOVE_DISCARD);
	assert_int_equal(f->report->step, STEP_DISCARDED);
	assert_true(f->saved->promised);
	/* An older word, of a manager that lags. */
	give_order(f, MIGRATION_COPY);
	assert_int_equal(move_wants(f->move), MOVE_DISCARD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(wrong_ticket, setup, teardown),
		cmocka_unit_test_setup_teardown(wrong_node, setup, teardown),
		cmocka_unit_test_setup_teardown(unknown_migration, setup, teardown),
		cmocka_unit_test_setup_teardown(before_the_order, setup, teardown),
		cmocka_unit_test_setup_teardown(a_promise_is_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(no_promise_behind_the_word, setup, teardown),
		cmocka_unit_test_setup_teardown(a_cut_link, setup, teardown),
		cmocka_unit_test_setup_teardown(aborted, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
