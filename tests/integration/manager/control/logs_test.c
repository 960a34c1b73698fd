/* Logs: streams of several agents, played by the test's own Peer service, become one. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/serve_fixture.h"

/* One agent's port 7946: serves the same script for each of its tasks. */
struct peer {
	struct serve *s;
	struct rpc_server *server;
	int port;
	const int64_t *times; /* of lines, ends with 0 */
	bool follow_open;     /* keep the stream open behind the lines */
	size_t flood;	      /* lines of 1 KiB instead, as many as the call takes */
	unsigned calls;
	int64_t since, tail;
	uint64_t skip;
	size_t sent;
	struct rpc_call *open;
};

static int send_line(struct rpc_call *call, int64_t at, const char *text)
{
	Skein__TaskLogsResponse msg = SKEIN__TASK_LOGS_RESPONSE__INIT;
	pb_log_line line = SKEIN__LOG_LINE__INIT, *lines[] = {&line};

	line.at = at;
	line.data = (ProtobufCBinaryData){strlen(text), (uint8_t *)text};
	msg.lines = lines;
	msg.n_lines = 1;
	return rpc_call_send(call, &msg.base, NULL);
}

static void go_on_flooding(struct rpc_call *call, void *data)
{
	struct peer *p = data;
	char kib[1025];

	memset(kib, 'x', 1024);
	kib[1024] = '\0';
	while (p->sent < p->flood && rpc_call_unsent(call) < (64u << 10)) {
		p->sent++;
		assert_int_equal(send_line(call, (int64_t)p->sent, kib), 0);
	}
	if (p->flood && p->sent == p->flood)
		rpc_call_finish(call);
}

static void serve_logs(struct rpc_call *call, const ProtobufCMessage *raw, void *data)
{
	const Skein__TaskLogsRequest *request = (const Skein__TaskLogsRequest *)raw;
	struct peer *p = data;
	struct error err = ERROR_INIT;

	p->calls++;
	p->since = request->since;
	p->skip = request->skip;
	p->tail = request->tail;
	if (rpc_call_peer(call)->role != RPC_ROLE_MANAGER || str_eq(request->task_id, "nologs")) {
		error_set(&err, ERR_NOT_FOUND, "no logs of %s", request->task_id);
		rpc_call_fail(call, &err);
		return;
	}
	if (p->flood) {
		go_on_flooding(call, p);
		return;
	}
	for (const int64_t *t = p->times; t && *t; t++)
		assert_int_equal(send_line(call, *t, request->task_id), 0);
	if (p->follow_open && request->follow)
		p->open = call;
	else
		rpc_call_finish(call);
}

static void peer_done(struct rpc_call *call, void *data)
{
	struct peer *p = data;

	if (p->open == call)
		p->open = NULL;
}

static const struct rpc_method peer_methods[] = {
	{"TaskLogs", .allow = RPC_ROLE_MANAGER | RPC_ROLE_WORKER, .on_message = serve_logs,
	 .on_drain = go_on_flooding, .on_done = peer_done},
};

/* A node "id" whose agent answers; its Node object says where. */
static void peer_open(struct serve *s, struct peer *p, const char *id)
{
	p->s = s;
	p->server = serve_peer_open(s, id, peer_methods, ARRAY_SIZE(peer_methods), p, &p->port);
}

static void peer_close(struct peer *p)
{
	serve_peer_close(p->s, p->server);
}

static void put_service(struct serve *s)
{
	pb_service *service = pb_new(&skein__service__descriptor);

	pb_set_str(&service->id, "s1");
	service->spec = pb_new(&skein__service_spec__descriptor);
	pb_set_str(&service->spec->name, "web");
	pb_service_spec_defaults(service->spec);
	put(s, KIND_SERVICE, service);
}

static void put_task(struct serve *s, const char *id, uint64_t slot, const char *node_id, int state)
{
	pb_task *t = pb_new(&skein__task__descriptor);

	pb_set_str(&t->id, id);
	pb_set_str(&t->service_id, "s1");
	pb_set_str(&t->service_name, "web");
	t->slot = slot;
	pb_set_str(&t->node_id, node_id);
	t->status = pb_new(&skein__task_status__descriptor);
	t->status->state = (Skein__TaskState)state;
	put(s, KIND_TASK, t);
}

struct reader {
	struct rpc_channel *channel;
	struct rpc_call *call;
	char lines[1024]; /* "t1@10 t2@20 " */
	char warnings[2048];
	size_t n;
	bool done;
	struct error err;
};

static void reader_on_message(struct rpc_call *call, const ProtobufCMessage *raw, void *data)
{
	const Skein__LogsResponse *msg = (const Skein__LogsResponse *)raw;
	struct reader *r = data;
	size_t len = strlen(r->lines);

	if (!str_empty(msg->warning))
		snprintf(r->warnings + strlen(r->warnings),
			 sizeof(r->warnings) - strlen(r->warnings), "%s;", msg->warning);
	for (size_t i = 0; i < msg->n_lines; i++) {
		r->n++;
		if (len < sizeof(r->lines) - 64)
			len += (size_t)snprintf(r->lines + len, sizeof(r->lines) - len,
						"%s@%" PRId64 " ", msg->task_id, msg->lines[i]->at);
	}
}

static void reader_on_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct reader *r = data;

	r->done = true;
	r->call = NULL;
	r->err = err ? *err : ERROR_INIT;
}

static void read_logs(struct serve *s, struct reader *r, const char *ref, bool follow)
{
	static const struct rpc_handlers handlers = {.on_message = reader_on_message,
						     .on_done = reader_on_done};
	Skein__LogsRequest request = SKEIN__LOGS_REQUEST__INIT;

	*r = (struct reader){.channel = channel_as(s, NULL, NULL)};
	r->call = rpc_stream(r->channel, &skein__control__descriptor, "Logs", 0, &handlers, r);
	request.ref = (char *)ref;
	request.follow = follow;
	request.tail = -1;
	rpc_call_send(r->call, &request.base, NULL);
	rpc_call_half_close(r->call);
}

static void stop_reading(struct serve *s, struct reader *r)
{
	if (r->call)
		rpc_call_cancel(r->call);
	wait_for(s, r->done);
	rpc_channel_close(r->channel);
}

static void lines_are_merged_by_time(void **state)
{
	static const int64_t odd[] = {10, 30, 50, 0}, even[] = {20, 21, 40, 60, 0};
	struct serve *s = *state;
	struct peer a = {.times = odd}, b = {.times = even};
	struct reader r;

	put_service(s);
	peer_open(s, &a, "n1");
	peer_open(s, &b, "n2");
	put_task(s, "t1", 1, "n1", TASK_RUNNING);
	put_task(s, "t2", 2, "n2", TASK_RUNNING);
	put_task(s, "t3", 3, "n2", TASK_PREPARING);
	put_task(s, "nologs", 4, "n2", TASK_REJECTED);
	read_logs(s, &r, "web", false);
	wait_for(s, r.done);
	assert_int_equal(r.err.code, ERR_OK);
	assert_string_equal(r.lines, "t1@10 t2@20 t2@21 t1@30 t2@40 t1@50 t2@60 ");
	assert_string_equal(r.warnings, "");
	assert_int_equal(a.tail, -1);
	stop_reading(s, &r);
	read_logs(s, &r, "t2", false);
	wait_for(s, r.done);
	assert_string_equal(r.lines, "t2@20 t2@21 t2@40 t2@60 ");
	stop_reading(s, &r);
	read_logs(s, &r, "nothing", false);
	wait_for(s, r.done);
	assert_int_equal(r.err.code, ERR_NOT_FOUND);
	assert_string_equal(r.err.msg, "no such service or task: nothing");
	stop_reading(s, &r);
	peer_close(&a);
	peer_close(&b);
}

static void unreachable_nodes_are_warnings(void **state)
{
	static const int64_t times[] = {10, 0};
	struct serve *s = *state;
	struct peer a = {.times = times}, dead = {0};
	struct reader r;
	pb_node *down = new_node("n3");

	put_service(s);
	peer_open(s, &a, "n1");
	peer_open(s, &dead, "n2");
	peer_close(&dead);
	down->status->state = (Skein__NodeState)NODE_DOWN;
	pb_set_str(&down->status->address, "127.0.0.1");
	down->peer_port = 1;
	put(s, KIND_NODE, down);
	put_task(s, "t1", 1, "n1", TASK_RUNNING);
	put_task(s, "t2", 2, "n2", TASK_RUNNING);
	put_task(s, "t3", 3, "n3", TASK_RUNNING);
	put_task(s, "t4", 4, "gone", TASK_RUNNING);
	read_logs(s, &r, "web", false);
	wait_for(s, r.done);
	assert_int_equal(r.err.code, ERR_OK);
	assert_string_equal(r.lines, "t1@10 ");
	assert_non_null(strstr(r.warnings, "logs of web.2: "));
	assert_non_null(strstr(r.warnings, "logs of web.3: its node is down;"));
	assert_non_null(strstr(r.warnings, "logs of web.4: its node was removed;"));
	stop_reading(s, &r);
	peer_close(&a);
}

static void following_joins_new_tasks_and_survives_breaks(void **state)
{
	static const int64_t times[] = {10, 0};
	struct serve *s = *state;
	struct peer a = {.times = times, .follow_open = true}, b = {.times = times};
	struct error err = ERROR_INIT;
	struct reader r;

	put_service(s);
	peer_open(s, &a, "n1");
	peer_open(s, &b, "n2");
	put_task(s, "t1", 1, "n1", TASK_RUNNING);
	read_logs(s, &r, "web", true);
	wait_for(s, r.n == 1 && a.open);
	assert_int_equal(send_line(a.open, 20, ""), 0);
	assert_int_equal(send_line(a.open, 20, ""), 0); /* written together with the one before */
	wait_for(s, r.n == 3);
	put_task(s, "t2", 2, "n2", TASK_ASSIGNED);
	pass_ms(s, 50);
	assert_int_equal(b.calls, 0);
	del(s, KIND_TASK, "t2");
	put_task(s, "t2", 2, "n2", TASK_STARTING);
	wait_for(s, r.n == 4);
	assert_string_equal(r.lines, "t1@10 t1@20 t1@20 t2@10 ");
	/* The agent restarts: the stream is taken up behind the newest line. */
	error_set(&err, ERR_UNAVAILABLE, "agent stops");
	rpc_call_fail(a.open, &err);
	a.open = NULL;
	a.times = NULL;
	wait_for(s, a.open);
	assert_int_equal(a.since, 20);
	assert_int_equal(a.skip, 2);
	assert_non_null(strstr(r.warnings, "logs of web.1: agent stops;"));
	assert_false(r.done);
	stop_reading(s, &r);
	wait_for(s, !a.open);
	peer_close(&a);
	peer_close(&b);
}

static void following_a_task_ends_with_it(void **state)
{
	static const int64_t times[] = {10, 0};
	struct serve *s = *state;
	struct peer a = {.times = times};
	struct reader r;

	put_service(s);
	peer_open(s, &a, "n1");
	put_task(s, "t1", 1, "n1", TASK_RUNNING);
	read_logs(s, &r, "web.1", true);
	wait_for(s, r.done);
	assert_int_equal(r.err.code, ERR_OK);
	assert_string_equal(r.lines, "t1@10 ");
	stop_reading(s, &r);
	peer_close(&a);
}

/* 64 MiB of log and a client that does not read: the agent is slowed down, nothing piles up here.
 */
static void the_client_sets_the_pace(void **state)
{
	struct serve *s = *state;
	struct peer a = {.flood = 64 << 10};
	struct reader r;

	put_service(s);
	peer_open(s, &a, "n1");
	put_task(s, "t1", 1, "n1", TASK_RUNNING);
	read_logs(s, &r, "web", false);
	wait_for(s, r.n > 0);
	rpc_call_pause(r.call);
	pass_ms(s, 1000);
	assert_true(a.sent < a.flood / 2);
	rpc_call_resume(r.call);
	wait_for(s, r.done);
	assert_int_equal(r.err.code, ERR_OK);
	assert_int_equal(r.n, a.flood);
	stop_reading(s, &r);
	peer_close(&a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVE_TEST(lines_are_merged_by_time),
		SERVE_TEST(unreachable_nodes_are_warnings),
		SERVE_TEST(following_joins_new_tasks_and_survives_breaks),
		SERVE_TEST(following_a_task_ends_with_it),
		SERVE_TEST(the_client_sets_the_pace),
	};

	return cmocka_run_group_tests(tests, serve_group_setup, serve_group_teardown);
}
