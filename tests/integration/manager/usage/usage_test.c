/* Usage of nodes: one stream per agent however many look, none when nobody does; agents are played by the test. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/serve_fixture.h"

#include "manager/usage/usage.h"

struct player {
	struct rpc_server *server;
	struct rpc_call *stream;
	unsigned opened;
};

static void on_usage(struct rpc_call *call, const ProtobufCMessage *raw, void *data)
{
	struct player *p = data;

	p->stream = call;
	p->opened++;
}

static void on_usage_done(struct rpc_call *call, void *data)
{
	struct player *p = data;

	if (p->stream == call)
		p->stream = NULL;
}

static const struct rpc_method methods[] = {
	{"Usage", .allow = RPC_ROLE_MANAGER, .on_message = on_usage, .on_done = on_usage_done},
};

static void play(struct serve *s, struct player *p, const char *id)
{
	p->server = serve_peer_open(s, id, methods, ARRAY_SIZE(methods), p, NULL);
}

static void leave(struct serve *s, struct player *p)
{
	serve_peer_close(s, p->server);
}

/* A sample with a task of the node's own, told twice, and one of another's; it claims to be somebody else. */
static void say(struct player *p, uint64_t cpu_nano)
{
	_cleanup_pb_ pb_node_usage *sample = pb_new(&skein__node_usage__descriptor);
	const char *tasks[] = {"own", "others", "nobodys", "own"};

	pb_set_str(&sample->node_id, "forged");
	sample->cpu_nano = cpu_nano;
	for (size_t i = 0; i < ARRAY_SIZE(tasks); i++) {
		pb_task_usage *t = pb_new(&skein__task_usage__descriptor);

		pb_set_str(&t->task_id, tasks[i]);
		t->mem_bytes = 4096 + i;
		pb_msgs_add(&sample->n_tasks, &sample->tasks, t);
	}
	assert_int_equal(rpc_call_send(p->stream, &sample->base, NULL), 0);
}

static void put_task(struct serve *s, const char *id, const char *node)
{
	pb_task *task = pb_new(&skein__task__descriptor);

	pb_set_str(&task->id, id);
	pb_set_str(&task->service_id, "s1");
	pb_set_str(&task->node_id, node);
	put(s, KIND_TASK, task);
}

struct viewer {
	struct rpc_channel *channel;
	struct rpc_call *call;
	pb_node_usage *last; /* sample */
	unsigned n;
	bool done;
	struct error err;
};

static void viewer_on_message(struct rpc_call *call, const ProtobufCMessage *raw, void *data)
{
	struct viewer *w = data;

	pb_free(w->last);
	w->last = pb_dup(((const Skein__UsageResponse *)raw)->usage);
	w->n++;
}

static void viewer_on_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct viewer *w = data;

	w->done = true;
	w->err = err ? *err : ERROR_INIT;
}

static void look(struct serve *s, struct viewer *w, const char *node)
{
	static const struct rpc_handlers handlers = {.on_message = viewer_on_message, .on_done = viewer_on_done};
	Skein__UsageRequest request = SKEIN__USAGE_REQUEST__INIT;
	char *nodes[] = {(char *)node};

	request.nodes = nodes;
	request.n_nodes = node ? 1 : 0;
	*w = (struct viewer){.channel = channel_as(s, NULL, NULL)};
	w->call = rpc_stream(w->channel, &skein__control__descriptor, "Usage", 0, &handlers, w);
	rpc_call_send(w->call, &request.base, NULL);
	rpc_call_half_close(w->call);
}

static void look_away(struct serve *s, struct viewer *w)
{
	if (!w->done)
		rpc_call_cancel(w->call);
	wait_for(s, w->done);
	rpc_channel_close(w->channel);
	pb_free(w->last);
}

static void samples_reach_all_who_look_by_one_stream(void **state)
{
	struct serve *s = *state;
	struct player p = {0};
	struct viewer first, second;

	play(s, &p, "n1");
	put_task(s, "own", "n1");
	put_task(s, "others", "n2");
	assert_int_equal(p.opened, 0);
	look(s, &first, NULL);
	wait_for(s, p.stream);
	say(&p, 5);
	wait_for(s, first.n == 1);
	assert_string_equal(first.last->node_id, "n1");
	assert_int_equal(first.last->cpu_nano, 5);
	assert_int_equal(first.last->n_tasks, 1);
	assert_string_equal(first.last->tasks[0]->task_id, "own");
	assert_int_equal(first.last->tasks[0]->mem_bytes, 4096);
	/* Who comes later is told what is known, and opens nothing. */
	look(s, &second, NULL);
	wait_for(s, second.n == 1);
	assert_int_equal(second.last->cpu_nano, 5);
	say(&p, 6);
	wait_for(s, first.n == 2 && second.n == 2);
	assert_int_equal(p.opened, 1);
	/* The last one that goes ends it. */
	look_away(s, &first);
	say(&p, 7);
	wait_for(s, second.n == 3);
	look_away(s, &second);
	wait_for(s, !p.stream);
	leave(s, &p);
}

static void what_cannot_be_asked_is_told_once(void **state)
{
	struct serve *s = *state;
	struct player p = {0};
	struct viewer v, one, wrong;
	pb_node *down = new_node("n2");

	play(s, &p, "n1");
	down->status->state = (Skein__NodeState)NODE_DOWN;
	pb_set_str(&down->status->address, "127.0.0.1");
	down->peer_port = 9;
	put(s, KIND_NODE, down);
	look(s, &v, "n2");
	wait_for(s, v.n == 1);
	assert_string_equal(v.last->error, "the node is down");
	wait_for(s, p.stream);
	look(s, &one, "n1");
	say(&p, 1);
	wait_for(s, one.n == 1);
	/* The agent goes: that is told as well. */
	leave(s, &p);
	wait_for(s, one.n == 2);
	assert_true(one.last->error[0]);
	assert_int_equal(v.n, 1);
	look(s, &wrong, "nowhere");
	wait_for(s, wrong.done);
	assert_int_equal(wrong.err.code, ERR_NOT_FOUND);
	look_away(s, &v);
	look_away(s, &one);
	look_away(s, &wrong);
}

/* Removed while somebody looks: its stream ends. */
static void a_node_that_is_removed_is_let_go(void **state)
{
	struct serve *s = *state;
	struct player p = {0};
	struct viewer v;

	play(s, &p, "n1");
	look(s, &v, NULL);
	wait_for(s, p.stream);
	del(s, KIND_NODE, "n1");
	wait_for(s, !p.stream);
	assert_false(v.done);
	look_away(s, &v);
	leave(s, &p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVE_TEST(samples_reach_all_who_look_by_one_stream),
		SERVE_TEST(what_cannot_be_asked_is_told_once),
		SERVE_TEST(a_node_that_is_removed_is_let_go),
	};

	return cmocka_run_group_tests(tests, serve_group_setup, serve_group_teardown);
}
