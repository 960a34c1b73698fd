/* Peers that die or hang, connections that idle, and closing in the middle of everything. */
#include "fixture.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

/* ---------------------------------------------------------------- servers in processes of their
 * own */

/*
 * Forked by main(), before this process had threads: gRPC does not survive a fork. Each waits for
 * the port on which it shall serve (0 = any) and tells the one that it got; it ends with us.
 */
static struct helper {
	pid_t pid;
	int command, answer;
} helpers[3];

static struct pki shared_pki;

static void helper_main(int command, int answer)
{
	struct fixture *f = xnew(struct fixture);
	struct rpc_creds *creds;
	char address[64];
	int port;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (read(command, &port, sizeof(port)) != sizeof(port))
		_exit(1);
	f->pki = shared_pki;
	f->echo = true;
	uv_loop_init(&f->loop);
	f->rpc = rpc_new(&f->loop);
	creds = node_creds(f, "m1", "manager");
	f->server = rpc_server_new(f->rpc, creds);
	offer(f->server, f);
	snprintf(address, sizeof(address), "127.0.0.1:%d", port);
	if (rpc_server_listen(f->server, address, 0, &port, NULL) < 0)
		_exit(1);
	rpc_server_start(f->server);
	if (write(answer, &port, sizeof(port)) != sizeof(port))
		_exit(1);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	_exit(0);
}

static void helper_fork(struct helper *h)
{
	int command[2], answer[2];

	if (pipe(command) < 0 || pipe(answer) < 0)
		abort();
	h->pid = fork();
	if (h->pid == 0)
		helper_main(command[0], answer[1]);
	close(command[0]);
	close(answer[1]);
	h->command = command[1];
	h->answer = answer[0];
}

static int helper_serve(struct helper *h, int port)
{
	assert_int_equal(write(h->command, &port, sizeof(port)), sizeof(port));
	assert_int_equal(read(h->answer, &port, sizeof(port)), sizeof(port));
	return port;
}

static void helper_kill(struct helper *h)
{
	kill(h->pid, SIGKILL);
	waitpid(h->pid, NULL, 0);
	close(h->command);
	close(h->answer);
	h->pid = 0;
}

/* A runtime that trusts the helpers; no server of its own. */
static int client_setup(void **state)
{
	struct fixture *f = xnew(struct fixture);

	*state = f;
	f->pki = shared_pki;
	X509_up_ref(f->pki.cert);
	EVP_PKEY_up_ref(f->pki.key);
	f->pki.root_pem = xstrdup(f->pki.root_pem);
	strcpy(f->dir, "/tmp/skein-rpc.XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	uv_loop_init(&f->loop);
	uv_timer_init(&f->loop, &f->guard);
	f->rpc = rpc_new(&f->loop);
	return 0;
}

static void a_killed_server_is_noticed_and_found_again(void **state)
{
	struct fixture *f = *state;
	int port = helper_serve(&helpers[0], 0);
	struct rpc_channel *c;
	uint64_t start;

	snprintf(f->target, sizeof(f->target), "127.0.0.1:%d", port);
	c = channel_as(f, "manager");
	start_session(f, c, 0, &f->a);
	send_beat(f->a.call, 1, NULL);
	run_until(f, f->a.messages == 1);

	start = uv_hrtime();
	helper_kill(&helpers[0]);
	run_until(f, f->a.done);
	assert_int_equal(f->a.code, ERR_UNAVAILABLE);
	assert_in_range((uv_hrtime() - start) / 1000000, 0, 5000);
	assert_int_equal(get_info(f, c).code, ERR_UNAVAILABLE);

	/* Calls wait for no connection, so the backoff grows; it stays below two seconds and a bit.
	 */
	for (int i = 0; i < 30; i++) {
		assert_int_equal(get_info(f, c).code, ERR_UNAVAILABLE);
		pass_ms(f, 100);
	}
	helper_serve(&helpers[1], port);
	start = uv_hrtime();
	while (get_info(f, c).code != ERR_OK)
		pass_ms(f, 20);
	assert_in_range((uv_hrtime() - start) / 1000000, 0, 8000);
	helper_kill(&helpers[1]);
}

static void a_frozen_server_is_noticed(void **state)
{
	struct fixture *f = *state;
	uint64_t start;

	snprintf(f->target, sizeof(f->target), "127.0.0.1:%d", helper_serve(&helpers[2], 0));
	start_session(f, channel_as(f, "worker"), 0, &f->a);
	send_beat(f->a.call, 1, NULL);
	run_until(f, f->a.messages == 1);

	/* Idle far longer than two pings: keepalive must not have fallen silent. */
	pass_ms(f, 4500);
	assert_int_equal(f->a.done, 0);
	start = uv_hrtime();
	kill(helpers[2].pid, SIGSTOP);
	run_until(f, f->a.done);
	assert_int_equal(f->a.code, ERR_UNAVAILABLE);
	assert_in_range((uv_hrtime() - start) / 1000000, 0, 8000);
	helper_kill(&helpers[2]);
}

/* ---------------------------------------------------------------- idle */

static void frequent_pings_are_accepted(void **state)
{
	struct fixture *f = *state;
	struct rpc_creds *creds = node_creds(f, "w1", "worker");
	struct rpc_channel *c = rpc_channel_new(f->rpc, &(struct rpc_channel_options){
								.target = f->target,
								.creds = creds,
								.keepalive_ms = 150,
								.keepalive_timeout_ms = 1000,
							});

	start_session(f, c, 0, &f->a);
	send_beat(f->a.call, 1, NULL);
	run_until(f, f->a.messages == 1);
	pass_ms(f, 3000);
	send_beat(f->a.call, 2, NULL);
	run_until(f, f->a.messages == 2 || f->a.done);
	assert_int_equal(f->a.done, 0); /* no GOAWAY for too many pings */
	rpc_creds_unref(creds);
}

/* ---------------------------------------------------------------- close under load */

#define N_SESSIONS 50
#define N_UNARY 50

struct load {
	struct fixture *f;
	struct rpc_channel *channels[10];
	int started, done, wrong;
	bool stop;
};

struct load_call {
	struct load *load;
	uint64_t sequence;
	bool done;
};

static void on_load_message(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	struct load_call *c = data;

	send_beat(call, ++c->sequence, NULL);
}

static void on_load_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct load_call *c = data;

	if (c->done || !err)
		c->load->wrong++;
	c->done = true;
	c->load->done++;
	free(c);
}

static void unary_again(struct load *load);

static void on_load_reply(void *data, const ProtobufCMessage *reply, const struct error *err)
{
	struct load *load = data;

	load->done++;
	if (!load->stop)
		unary_again(load);
}

static void unary_again(struct load *load)
{
	Skein__GetInfoRequest request = SKEIN__GET_INFO_REQUEST__INIT;

	load->started++;
	rpc_unary(load->channels[load->started % 10], &skein__control__descriptor, "GetInfo",
		  &request.base, 10000, on_load_reply, load);
}

static void load_start(struct load *load, struct fixture *f)
{
	static const struct rpc_handlers handlers = {.on_message = on_load_message,
						     .on_done = on_load_done};

	*load = (struct load){.f = f};
	for (size_t i = 0; i < ARRAY_SIZE(load->channels); i++)
		load->channels[i] = channel_as(f, "manager");
	for (int i = 0; i < N_SESSIONS; i++) {
		struct load_call *c = xnew(struct load_call);
		struct rpc_call *call;

		c->load = load;
		load->started++;
		call = rpc_stream(load->channels[i % 10], &skein__dispatcher__descriptor, "Session",
				  0, &handlers, c);
		for (int k = 0; k < 8; k++)
			send_beat(call, ++c->sequence, NULL);
	}
	for (int i = 0; i < N_UNARY; i++)
		unary_again(load);
	run_until(f, f->messages > 2000 && f->calls > 200);
}

static void the_runtime_closes_under_load(void **state)
{
	struct fixture *f = *state;
	struct load load;

	load_start(&load, f);
	load.stop = true;
	rpc_close(f->rpc, on_flag, &f->closed);
	run_until(f, f->closed);
	assert_int_equal(load.done, load.started);
	assert_int_equal(load.wrong, 0);
	f->closed = false;
	f->rpc = rpc_new(&f->loop); /* and a new one in the same process works */
	server_start(f);
	assert_int_equal(get_info(f, channel_as(f, "manager")).code, ERR_OK);
}

static void a_server_closes_under_load(void **state)
{
	struct fixture *f = *state;
	struct error err = ERROR_INIT;
	bool closed = false;
	struct load load;

	load_start(&load, f);
	load.stop = true;
	rpc_server_close(f->server, on_flag, &closed);
	run_until(f, closed);
	run_until(f, load.done == load.started);
	assert_int_equal(load.wrong, 0);
	assert_int_equal(f->dones, f->calls + N_SESSIONS);

	/* The port is free again, and the channels come back by themselves. */
	f->server = rpc_server_new(f->rpc, f->server_creds);
	offer(f->server, f);
	if (rpc_server_listen(f->server, f->target, 0, NULL, &err) < 0)
		fail_msg("%s", err.msg);
	rpc_server_start(f->server);
	while (get_info(f, load.channels[0]).code != ERR_OK)
		pass_ms(f, 10);
}

static void channels_close_under_load(void **state)
{
	struct fixture *f = *state;
	struct load load;

	load_start(&load, f);
	load.stop = true;
	for (size_t i = 0; i < ARRAY_SIZE(load.channels); i++)
		rpc_channel_close(load.channels[i]);
	run_until(f, load.done == load.started);
	run_until(f, f->dones == f->calls + N_SESSIONS);
	assert_int_equal(load.wrong, 0);
	assert_int_equal(get_info(f, channel_as(f, "manager")).code, ERR_OK);
}

static void a_server_closes_before_it_started(void **state)
{
	struct fixture *f = *state;
	struct rpc_server *never = rpc_server_new(f->rpc, f->server_creds);
	struct rpc_server *listening = rpc_server_new(f->rpc, f->server_creds);
	bool closed[2] = {false, false};

	assert_int_equal(rpc_server_listen(listening, "127.0.0.1:0", 0, NULL, NULL), 0);
	rpc_server_close(never, on_flag, &closed[0]);
	rpc_server_close(listening, on_flag, &closed[1]);
	run_until(f, closed[0] && closed[1]);
}

/* An owner that closes in its own order, after the runtime began to close. */
static void late_closes_and_calls_are_harmless(void **state)
{
	struct fixture *f = *state;
	struct rpc_channel *c = channel_as(f, "manager");
	Skein__GetInfoRequest request = SKEIN__GET_INFO_REQUEST__INIT;
	bool server_closed = false;

	start_session(f, c, 0, &f->a);
	send_beat(f->a.call, 1, NULL);
	run_until(f, f->a.messages == 1);

	rpc_close(f->rpc, on_flag, &f->closed);
	rpc_unary(c, &skein__control__descriptor, "GetInfo", &request.base, 1000, on_reply, &f->b);
	assert_int_equal(f->b.done, 0);
	rpc_server_close(f->server, on_flag, &server_closed);
	rpc_channel_close(c);
	run_until(f, f->closed);
	assert_true(server_closed);
	assert_int_equal(f->a.done, 1);
	assert_int_equal(f->b.done, 1);
	assert_int_equal(f->b.code, ERR_CANCELLED);

	f->closed = false;
	f->rpc = rpc_new(&f->loop);
}

static void on_message_close(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	struct fixture *f = data;

	rpc_close(f->rpc, on_flag, &f->closed);
}

static void on_done_count(struct rpc_call *call, const struct error *err, void *data)
{
	struct fixture *f = data;

	f->b.done++;
	f->b.code = err->code;
}

static void the_runtime_closes_inside_a_callback(void **state)
{
	struct fixture *f = *state;
	const struct rpc_handlers handlers = {.on_message = on_message_close,
					      .on_done = on_done_count};
	struct rpc_call *call;

	call = rpc_stream(channel_as(f, "worker"), &skein__dispatcher__descriptor, "Session", 0,
			  &handlers, f);
	send_beat(call, 1, NULL);
	send_beat(call, 2, NULL);
	run_until(f, f->closed);
	assert_int_equal(f->b.done, 1);
	assert_int_equal(f->b.code, ERR_CANCELLED);
	f->closed = false;
	f->rpc = rpc_new(&f->loop);
}

static void an_unused_runtime_closes(void **state)
{
	struct fixture *f = *state;
	struct rpc *other = rpc_new(&f->loop);
	bool closed = false;

	rpc_close(other, on_flag, &closed);
	run_until(f, closed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_killed_server_is_noticed_and_found_again,
						client_setup, fixture_teardown),
		cmocka_unit_test_setup_teardown(a_frozen_server_is_noticed, client_setup,
						fixture_teardown),
		TEST(frequent_pings_are_accepted),
		TEST(the_runtime_closes_under_load),
		TEST(a_server_closes_under_load),
		TEST(channels_close_under_load),
		TEST(a_server_closes_before_it_started),
		TEST(late_closes_and_calls_are_harmless),
		TEST(the_runtime_closes_inside_a_callback),
		TEST(an_unused_runtime_closes),
	};

	int failed;

	pki_init(&shared_pki, "shared ca");
	for (size_t i = 0; i < ARRAY_SIZE(helpers); i++)
		helper_fork(&helpers[i]);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(helpers); i++) {
		if (helpers[i].pid)
			helper_kill(&helpers[i]);
	}
	pki_fini(&shared_pki);
	return failed;
}
