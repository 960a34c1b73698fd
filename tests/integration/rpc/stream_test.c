/* Messages both ways: order, flow control, bounds, and all the ways in which a call ends. */
#include "fixture.h"

#define MIB (1u << 20)
#define CHUNK (256u << 10)

static struct rpc_channel *worker(struct fixture *f)
{
	return channel_as(f, "worker");
}

/* A session whose server side is known. */
static void open_session(struct fixture *f, struct outcome *o)
{
	int before = f->messages;

	start_session(f, worker(f), 0, o);
	assert_int_equal(send_beat(o->call, 1, NULL), 0);
	run_until(f, f->messages == before + 1);
}

static void messages_keep_their_order_both_ways(void **state)
{
	struct fixture *f = *state;

	start_session(f, worker(f), 0, &f->a);
	for (uint64_t i = 1; i <= 5000; i++)
		assert_int_equal(send_beat(f->a.call, i, NULL), 0);
	rpc_call_half_close(f->a.call);
	run_until(f, f->a.done);
	assert_int_equal(f->a.code, ERR_OK);
	assert_int_equal(f->a.messages, 5000);
	assert_true(f->a.in_order);
	assert_int_equal(f->messages, 5000);
	assert_int_equal(f->half_closes, 1);
	run_until(f, f->dones == 1);
}

static void a_server_streams_and_finishes(void **state)
{
	struct fixture *f = *state;

	start_watch(f, channel_as(f, "manager"), "3000", &f->a);
	run_until(f, f->a.done);
	assert_int_equal(f->a.code, ERR_OK);
	assert_int_equal(f->a.messages, 3000);
	assert_true(f->a.in_order);
}

static void an_error_reaches_the_caller(void **state)
{
	struct fixture *f = *state;

	start_watch(f, channel_as(f, "manager"), "fail", &f->a);
	run_until(f, f->a.done && f->dones == 1);
	assert_int_equal(f->a.code, ERR_NOT_FOUND);
	assert_string_equal(f->a.msg, "no service fail\nhere, grüße");
}

static void a_server_that_nobody_reads_is_bounded(void **state)
{
	struct fixture *f = *state;
	struct error err = ERROR_INIT;
	uint64_t sent = 0;

	open_session(f, &f->a);
	run_until(f, f->a.last == 1 && f->drains == 1);
	rpc_call_pause(f->a.call);

	/* It sends whenever there is room, until nothing moves any more. */
	for (int quiet = 0; quiet < 20; quiet++) {
		while (send_big_down(f->session, sent + 2, CHUNK, &err) == 0) {
			sent++;
			quiet = 0;
		}
		assert_int_equal(err.code, ERR_EXHAUSTED);
		pass_ms(f, 20);
	}
	assert_in_range(rpc_call_unsent(f->session), 1, 8 * MIB);
	/* 8 MiB unsent, 2 MiB received; the rest is windows and socket buffers. */
	assert_in_range(sent * CHUNK / MIB, 8, 24);
	assert_int_equal(f->a.messages, 1);
	assert_int_equal(f->drains, 1); /* the echo's */

	/* Nothing is lost: it goes on where it stopped. */
	rpc_call_resume(f->a.call);
	run_until(f, f->a.last == sent + 1);
	assert_true(f->a.in_order);
	run_until(f, f->drains == 2);
	assert_int_equal(rpc_call_unsent(f->session), 0);
}

static void a_client_that_nobody_reads_is_bounded(void **state)
{
	struct fixture *f = *state;
	struct error err = ERROR_INIT;
	int sent = 0;

	f->pause = true;
	open_session(f, &f->a);
	for (int quiet = 0; quiet < 20; quiet++) {
		while (send_big(f->a.call, CHUNK, &err) == 0) {
			sent++;
			quiet = 0;
		}
		assert_int_equal(err.code, ERR_EXHAUSTED);
		pass_ms(f, 20);
	}
	assert_int_equal(f->messages, 1);
	assert_in_range((unsigned)sent * CHUNK / MIB, 8, 24);

	rpc_call_resume(f->session);
	run_until(f, f->messages == sent + 1);
	run_until(f, f->a.drains > 0 && rpc_call_unsent(f->a.call) == 0);
}

/* Many small messages at once: the inbox fills, reads stop and go on. */
static void a_slow_loop_loses_nothing(void **state)
{
	struct fixture *f = *state;

	f->pause = true;
	f->echo = false;
	open_session(f, &f->a);
	for (uint64_t i = 2; i <= 20000; i++)
		assert_int_equal(send_beat(f->a.call, i, NULL), 0);
	rpc_call_half_close(f->a.call);
	pass_ms(f, 50);
	assert_int_equal(f->messages, 1);
	assert_int_equal(f->half_closes, 0); /* stands behind the messages */
	rpc_call_resume(f->session);
	run_until(f, f->a.done);
	assert_int_equal(f->a.code, ERR_OK);
	assert_int_equal(f->messages, 20000);
	assert_int_equal(f->half_closes, 1);
}

static void a_paused_client_is_done_behind_its_messages(void **state)
{
	struct fixture *f = *state;

	start_watch(f, channel_as(f, "manager"), "500", &f->a);
	rpc_call_pause(f->a.call);
	run_until(f, f->calls == 1);
	pass_ms(f, 50);
	assert_int_equal(f->a.messages, 0);
	assert_int_equal(f->a.done, 0);
	rpc_call_resume(f->a.call);
	run_until(f, f->a.done);
	assert_int_equal(f->a.messages, 500);
	assert_int_equal(f->a.code, ERR_OK);
}

static void a_client_cancels(void **state)
{
	struct fixture *f = *state;
	struct rpc_call *call;

	open_session(f, &f->a);
	call = f->a.call;
	rpc_call_cancel(call);
	rpc_call_cancel(call); /* again: nothing */
	assert_int_equal(f->a.done, 0);
	assert_int_equal(send_beat(call, 2, NULL), -1);
	run_until(f, f->a.done && f->dones);
	assert_int_equal(f->a.code, ERR_CANCELLED);
	assert_int_equal(f->a.done, 1);
	assert_int_equal(f->dones, 1);
}

static void a_paused_call_can_be_cancelled(void **state)
{
	struct fixture *f = *state;

	start_watch(f, channel_as(f, "manager"), "500", &f->a);
	rpc_call_pause(f->a.call);
	run_until(f, f->calls == 1);
	rpc_call_cancel(f->a.call);
	run_until(f, f->a.done);
	assert_int_equal(f->a.code, ERR_CANCELLED);
	assert_int_equal(f->a.messages, 0);
}

static void a_server_cancels(void **state)
{
	struct fixture *f = *state;

	open_session(f, &f->a);
	rpc_call_cancel(f->session);
	run_until(f, f->a.done && f->dones);
	assert_int_equal(f->a.code, ERR_CANCELLED);
}

static void on_message_cancel(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	struct outcome *o = data;

	o->messages++;
	rpc_call_cancel(call);
}

static void on_done_misuse(struct rpc_call *call, const struct error *err, void *data)
{
	/* What an owner's clean-up may do without looking: all of it is harmless. */
	rpc_call_cancel(call);
	rpc_call_pause(call);
	rpc_call_resume(call);
	rpc_call_half_close(call);
	assert_int_equal(send_beat(call, 1, NULL), -1);
	on_stream_done(call, err, data);
}

static void cancel_inside_a_callback_is_the_last_message(void **state)
{
	struct fixture *f = *state;
	const struct rpc_handlers handlers = {.on_message = on_message_cancel,
					      .on_done = on_done_misuse};

	f->a.call = rpc_stream(worker(f), &skein__dispatcher__descriptor, "Session", 0, &handlers,
			       &f->a);
	for (uint64_t i = 1; i <= 100; i++)
		send_beat(f->a.call, i, NULL);
	run_until(f, f->a.done);
	assert_int_equal(f->a.messages, 1);
	assert_int_equal(f->a.code, ERR_CANCELLED);
	run_until(f, f->dones == 1);
}

static void a_deadline_ends_both_sides(void **state)
{
	struct fixture *f = *state;
	uint64_t start = uv_hrtime();

	f->hold = true;
	start_session(f, worker(f), 300, &f->a);
	send_beat(f->a.call, 1, NULL);
	run_until(f, f->a.done && f->dones);
	assert_int_equal(f->a.code, ERR_TIMEOUT);
	assert_in_range((uv_hrtime() - start) / 1000000, 290, 10000);
}

static void the_server_hears_when_a_caller_goes(void **state)
{
	struct fixture *f = *state;
	struct rpc_channel *c = worker(f);

	start_session(f, c, 0, &f->a);
	send_beat(f->a.call, 1, NULL);
	run_until(f, f->messages == 1);
	rpc_channel_close(c);
	run_until(f, f->a.done && f->dones);
	assert_int_equal(f->a.code, ERR_CANCELLED);
}

static void half_close_leaves_the_other_direction_open(void **state)
{
	struct fixture *f = *state;
	struct error err = ERROR_INIT;

	f->hold = true;
	open_session(f, &f->a);
	rpc_call_half_close(f->a.call);
	assert_int_equal(send_beat(f->a.call, 9, &err), -1);
	assert_int_equal(err.code, ERR_CANCELLED);
	run_until(f, f->half_closes == 1);
	for (uint64_t i = 2; i <= 100; i++)
		assert_int_equal(send_big_down(f->session, i, 10, NULL), 0);
	rpc_call_finish(f->session);
	assert_int_equal(send_big_down(f->session, 101, 10, NULL), -1);
	rpc_call_finish(f->session); /* again: nothing */
	run_until(f, f->a.done);
	assert_int_equal(f->a.code, ERR_OK);
	assert_int_equal(f->a.messages, 100);
	assert_true(f->a.in_order);
}

static void bad_text_ends_the_call(void **state)
{
	struct fixture *f = *state;
	Skein__AgentMessage msg = SKEIN__AGENT_MESSAGE__INIT;
	Skein__Register reg = SKEIN__REGISTER__INIT;

	open_session(f, &f->a);
	reg.address = "10.0.0.1\xff";
	msg.body_case = SKEIN__AGENT_MESSAGE__BODY_REGISTER;
	msg.register_ = &reg;
	assert_int_equal(rpc_call_send(f->a.call, &msg.base, NULL), 0);
	run_until(f, f->a.done && f->dones);
	assert_int_equal(f->a.code, ERR_INVALID);
	assert_non_null(strstr(f->a.msg, "skein.Register.address"));
	assert_int_equal(f->messages, 1);
}

static void bad_text_of_a_server_ends_the_call(void **state)
{
	struct fixture *f = *state;
	Skein__DispatcherMessage msg = SKEIN__DISPATCHER_MESSAGE__INIT;
	Skein__NodeUpdate node = SKEIN__NODE_UPDATE__INIT;

	open_session(f, &f->a);
	run_until(f, f->a.messages == 1);
	node.root_cert_pem = "\xfe";
	msg.body_case = SKEIN__DISPATCHER_MESSAGE__BODY_NODE;
	msg.node = &node;
	rpc_call_send(f->session, &msg.base, NULL);
	run_until(f, f->a.done && f->dones);
	assert_int_equal(f->a.code, ERR_INVALID);
	assert_int_equal(f->a.messages, 1);
}

static void too_large_is_not_sent(void **state)
{
	struct fixture *f = *state;
	struct error err = ERROR_INIT;

	open_session(f, &f->a);
	assert_int_equal(send_big(f->a.call, RPC_MAX_MESSAGE_BYTES, &err), -1);
	assert_int_equal(err.code, ERR_EXHAUSTED);
	assert_int_equal(send_big(f->a.call, RPC_MAX_MESSAGE_BYTES - 64, &err), 0);
	run_until(f, f->messages == 2);
}

static void a_unary_method_takes_one_message(void **state)
{
	struct fixture *f = *state;
	struct rpc_channel *c = channel_as(f, "manager");
	Skein__RefRequest ref = SKEIN__REF_REQUEST__INIT;

	ref.ref = "wait";
	f->a.call = rpc_stream(c, &skein__control__descriptor, "WatchService", 0, &stream_handlers,
			       &f->a);
	rpc_call_send(f->a.call, &ref.base, NULL);
	rpc_call_send(f->a.call, &ref.base, NULL);
	run_until(f, f->session);
	/* A whole other call on the same connection later, the second is still not there. */
	start_watch(f, c, "3", &f->b);
	run_until(f, f->b.done);
	assert_int_equal(f->calls, 2);
	rpc_call_finish(f->session);
	run_until(f, f->a.done);
	assert_int_equal(f->a.code, ERR_OK);
	assert_int_equal(f->calls, 2);
}

static void a_unary_call_without_a_message_is_refused(void **state)
{
	struct fixture *f = *state;

	f->a.call = rpc_stream(channel_as(f, "manager"), &skein__control__descriptor, "GetInfo", 0,
			       &stream_handlers, &f->a);
	rpc_call_half_close(f->a.call);
	run_until(f, f->a.done);
	assert_int_equal(f->a.code, ERR_INVALID);
	assert_int_equal(f->calls, 0);
	assert_int_equal(f->dones, 0);
}

static void the_owners_pointer_stays(void **state)
{
	struct fixture *f = *state;

	open_session(f, &f->a);
	assert_null(rpc_call_data(f->session));
	rpc_call_set_data(f->session, f);
	rpc_call_set_data(f->a.call, &f->a);
	send_beat(f->a.call, 2, NULL);
	run_until(f, f->messages == 2);
	assert_ptr_equal(rpc_call_data(f->session), f);
	assert_ptr_equal(rpc_call_data(f->a.call), &f->a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(messages_keep_their_order_both_ways),
		TEST(a_server_streams_and_finishes),
		TEST(an_error_reaches_the_caller),
		TEST(a_server_that_nobody_reads_is_bounded),
		TEST(a_client_that_nobody_reads_is_bounded),
		TEST(a_slow_loop_loses_nothing),
		TEST(a_paused_client_is_done_behind_its_messages),
		TEST(a_client_cancels),
		TEST(a_paused_call_can_be_cancelled),
		TEST(a_server_cancels),
		TEST(cancel_inside_a_callback_is_the_last_message),
		TEST(a_deadline_ends_both_sides),
		TEST(the_server_hears_when_a_caller_goes),
		TEST(half_close_leaves_the_other_direction_open),
		TEST(bad_text_ends_the_call),
		TEST(bad_text_of_a_server_ends_the_call),
		TEST(too_large_is_not_sent),
		TEST(a_unary_method_takes_one_message),
		TEST(a_unary_call_without_a_message_is_refused),
		TEST(the_owners_pointer_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
