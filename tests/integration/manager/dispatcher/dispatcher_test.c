/* The dispatcher over TLS and etcd, with agents that the test plays. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/serve_fixture.h"

static pb_task *new_task(const char *id, const char *node_id)
{
	pb_task *t = pb_new(&skein__task__descriptor);

	pb_set_str(&t->id, id);
	pb_set_str(&t->service_id, "s1");
	pb_set_str(&t->service_name, "web");
	t->slot = 1;
	pb_set_str(&t->node_id, node_id);
	t->spec = pb_new(&skein__task_spec__descriptor);
	t->spec->container = pb_new(&skein__container_spec__descriptor);
	t->desired = (Skein__TaskState)TASK_RUNNING;
	t->status = pb_new(&skein__task_status__descriptor);
	t->status->state = (Skein__TaskState)TASK_ASSIGNED;
	return t;
}

static int task_state(struct serve *s, const char *id)
{
	const pb_task *t = view_task(store_view(s->store), id);

	return t ? (int)t->status->state : -1;
}

static void registering_makes_a_node_ready(void **state)
{
	struct serve *s = *state;
	struct agent *a;
	const pb_node *n;
	uint64_t revision;

	put_node(s, "n1");
	a = agent_start(s, "n1");
	n = view_node(store_view(s->store), "n1");
	assert_int_equal(n->status->state, NODE_READY);
	assert_string_equal(n->status->address, "127.0.0.1");
	assert_string_equal(n->status->manager_id, "m1");
	assert_string_equal(n->description->hostname, "n1");
	assert_int_equal(n->peer_port, 7946);
	assert_int_equal(a->beat_period, 100 * NS_PER_MS);
	assert_int_equal(a->node_updates, 1);
	assert_string_equal(a->node->root_cert_pem, "the root");
	assert_int_equal(a->updates, 0);
	wait_for(s, a->beat_acks >= 2);
	/* Nothing has changed: a second session writes nothing. */
	revision = n->meta->revision;
	agent_stop(a);
	a = agent_start(s, "n1");
	assert_int_equal(view_node(store_view(s->store), "n1")->meta->revision, revision);
	agent_stop(a);
}

static void tasks_go_down_and_statuses_come_up(void **state)
{
	struct serve *s = *state;
	struct agent *a;
	pb_task *t;

	put_node(s, "n1");
	put_node(s, "n2");
	put(s, KIND_TASK, new_task("t1", "n1"));
	a = agent_start(s, "n1");
	assert_int_equal(a->updates, 1);
	put(s, KIND_TASK, new_task("t2", "n1"));
	put(s, KIND_TASK, new_task("t3", "n2"));
	wait_for(s, a->updates == 2);
	assert_string_equal(a->last_task->id, "t2");
	agent_report(a, 1, "t1", TASK_RUNNING);
	wait_for(s, a->acked == 1);
	assert_int_equal(task_state(s, "t1"), TASK_RUNNING);
	/* Late, foreign and unknown ones are acknowledged, too: repeating them is no use. */
	agent_report(a, 2, "t1", TASK_STARTING);
	agent_report(a, 3, "t3", TASK_RUNNING);
	agent_report(a, 4, "t9", TASK_RUNNING);
	wait_for(s, a->acked == 4);
	assert_int_equal(task_state(s, "t1"), TASK_RUNNING);
	assert_int_equal(task_state(s, "t3"), TASK_ASSIGNED);
	assert_int_equal(dispatcher_stats(s->dispatcher)->reports_dropped, 3);
	/* What the agent said does not come back to it; what is wanted of it does. */
	t = pb_dup(view_task(store_view(s->store), "t1"));
	t->desired = (Skein__TaskState)TASK_SHUTDOWN;
	put(s, KIND_TASK, t);
	wait_for(s, a->updates == 3);
	assert_int_equal(a->last_task->desired, TASK_SHUTDOWN);
	del(s, KIND_TASK, "t2");
	wait_for(s, a->removals == 1);
	assert_int_equal(a->updates, 3);
	assert_false(a->broken_sequence);
	agent_stop(a);
}

static void put_network(struct serve *s, const char *id)
{
	pb_network *n = pb_new(&skein__network__descriptor);

	pb_set_str(&n->id, id);
	n->spec = pb_new(&skein__network_spec__descriptor);
	pb_set_str(&n->spec->name, id);
	put(s, KIND_NETWORK, n);
}

static pb_task *attached_task(const char *id, const char *node_id, const char *network_id)
{
	pb_task *t = new_task(id, node_id);
	pb_attachment *a = pb_new(&skein__network_attachment__descriptor);

	pb_set_str(&a->network_id, network_id);
	pb_set_str(&a->ipv4, "10.0.1.5/24");
	pb_msgs_add(&t->n_networks, &t->networks, a);
	return t;
}

/* An agent hears of a network before the task that needs it, and of its end when its last task has ended. */
static void networks_come_before_their_tasks(void **state)
{
	struct serve *s = *state;
	struct agent *a, *other;

	put_node(s, "n1");
	put_node(s, "n2");
	put_network(s, "ingress");
	put_network(s, "front");
	put_network(s, "back");
	put(s, KIND_TASK, attached_task("t1", "n1", "front"));
	a = agent_start(s, "n1");
	other = agent_start(s, "n2");
	assert_string_equal(a->order, "NA");
	assert_true(a->net->complete);
	assert_int_equal(a->net->n_networks, 2);
	assert_int_equal(a->net->n_endpoints, 1);
	assert_int_equal(other->net->n_networks, 1);
	put(s, KIND_TASK, attached_task("t2", "n1", "back"));
	wait_for(s, a->updates == 2);
	assert_string_equal(a->order, "NANA");
	assert_false(a->net->complete);
	assert_string_equal(a->net->networks[0]->id, "back");
	assert_true(a->net->revision > 0);
	/* RUNNING is for its neighbours: no assignment goes out. */
	agent_report(a, 1, "t2", TASK_RUNNING);
	wait_for(s, strlen(a->order) == 5);
	assert_string_equal(a->order, "NANAN");
	assert_true(a->net->endpoints[0]->ready);
	agent_report(a, 2, "t2", TASK_FAILED);
	wait_for(s, a->net->n_remove_networks == 1);
	assert_string_equal(a->net->remove_networks[0], "back");
	assert_string_equal(a->net->remove_endpoints[0], "t2");
	/* What other agents have nothing to do with does not reach them. */
	assert_string_equal(other->order, "NA");
	assert_false(a->broken_sequence || other->broken_sequence);
	agent_stop(a);
	agent_stop(other);
}

static void many_statuses_are_few_transactions(void **state)
{
	struct serve *s = *state;
	struct agent *a;
	uint64_t commits;
	char id[16];

	put_node(s, "n1");
	for (int i = 0; i < 100; i++) {
		snprintf(id, sizeof(id), "t%d", i);
		put(s, KIND_TASK, new_task(id, "n1"));
	}
	a = agent_start(s, "n1");
	assert_int_equal(a->updates, 100);
	commits = store_stats(s->store)->commits;
	for (int i = 0; i < 100; i++) {
		snprintf(id, sizeof(id), "t%d", i);
		agent_report(a, (uint64_t)i + 1, id, TASK_RUNNING);
	}
	wait_for(s, a->acked == 100);
	for (int i = 0; i < 100; i++) {
		snprintf(id, sizeof(id), "t%d", i);
		assert_int_equal(task_state(s, id), TASK_RUNNING);
	}
	/* One by one they would be a hundred; messages wait while a transaction is on its way. */
	assert_in_range(store_stats(s->store)->commits - commits, 1, 60);
	agent_stop(a);
}

static void a_newer_session_replaces_the_older(void **state)
{
	struct serve *s = *state;
	struct agent *a, *b;

	put_node(s, "n1");
	a = agent_start(s, "n1");
	b = agent_start(s, "n1");
	wait_for(s, a->done);
	assert_int_equal(a->err.code, ERR_CONFLICT);
	assert_false(b->done);
	assert_int_equal(dispatcher_stats(s->dispatcher)->sessions, 1);
	pass_ms(s, 2000);
	assert_int_equal(node_state(s, "n1"), NODE_READY);
	agent_stop(a);
	agent_stop(b);
}

static void silence_is_down_and_return_is_ready(void **state)
{
	struct serve *s = *state;
	struct agent *a;
	int64_t since;

	put_node(s, "n1");
	a = agent_start(s, "n1");
	pass_ms(s, 1200);
	assert_int_equal(node_state(s, "n1"), NODE_READY);
	a->beating = false;
	since = clock_mono_ns();
	/* Its host answers (we are that host): the agent may just be slow, for a while. */
	wait_for(s, node_state(s, "n1") == NODE_DOWN);
	assert_in_range(clock_mono_ns() - since, 2000 * NS_PER_MS, 8000 * NS_PER_MS);
	assert_non_null(
		strstr(view_node(store_view(s->store), "n1")->status->message, "no sign of life"));
	wait_for(s, a->done);
	assert_int_equal(a->err.code, ERR_UNAVAILABLE);
	agent_stop(a);
	a = agent_start(s, "n1");
	assert_int_equal(node_state(s, "n1"), NODE_READY);
	assert_string_equal(view_node(store_view(s->store), "n1")->status->message, "");
	agent_stop(a);
}

static void a_slow_agent_of_a_living_host_is_not_down(void **state)
{
	struct serve *s = *state;
	uint64_t before = dispatcher_stats(s->dispatcher)->nodes_down;
	struct agent *a;

	put_node(s, "n1");
	a = agent_start(s, "n1");
	for (int i = 0; i < 3; i++) {
		a->beating = false;
		pass_ms(s, 1400); /* more than twice the limit of silence */
		assert_int_equal(node_state(s, "n1"), NODE_READY);
		a->beating = true;
		pass_ms(s, 300);
	}
	assert_false(a->done);
	assert_int_equal(dispatcher_stats(s->dispatcher)->nodes_down, before);
	agent_stop(a);
}

static void a_broken_stream_has_a_grace(void **state)
{
	struct serve *s = *state;
	struct agent *a;
	int64_t since;

	put_node(s, "n1");
	agent_stop(agent_start(s, "n1"));
	pass_ms(s, 900);
	assert_int_equal(node_state(s, "n1"), NODE_READY);
	a = agent_start(s, "n1");
	pass_ms(s, 1000);
	assert_int_equal(node_state(s, "n1"), NODE_READY);
	since = clock_mono_ns();
	agent_stop(a);
	wait_for(s, node_state(s, "n1") == NODE_DOWN);
	assert_in_range(clock_mono_ns() - since, 1400 * NS_PER_MS, 6000 * NS_PER_MS);
	assert_non_null(
		strstr(view_node(store_view(s->store), "n1")->status->message, "session lost"));
}

/* A cloned machine: both agents come back at once whenever the other one took over. */
static void one_identity_in_use_twice_is_slowed_down(void **state)
{
	struct serve *s = *state;
	pb_node_description description = SKEIN__NODE_DESCRIPTION__INIT;
	struct agent *agents[8];
	unsigned refused = 0;

	put_node(s, "n1");
	for (size_t i = 0; i < ARRAY_SIZE(agents); i++) {
		agents[i] = agent_open(s, "n1", "worker");
		agent_register(agents[i], &description);
		wait_for(s, agents[i]->registered || agents[i]->done);
		refused += agents[i]->done && agents[i]->err.code == ERR_EXHAUSTED;
	}
	assert_true(refused >= 1);
	assert_int_equal(dispatcher_stats(s->dispatcher)->sessions, 1);
	for (size_t i = 0; i < ARRAY_SIZE(agents); i++)
		agent_stop(agents[i]);
}

static void put_elsewhere(struct serve *s, const char *id, const char *manager_id)
{
	pb_node *n = new_node(id);

	n->status->state = (Skein__NodeState)NODE_READY;
	pb_set_str(&n->status->manager_id, manager_id);
	put(s, KIND_NODE, n);
}

static void nodes_of_a_lost_manager_are_the_leaders(void **state)
{
	struct serve *s = *state;

	put_elsewhere(s, "m2", "");
	put_elsewhere(s, "n2", "m2");
	dispatcher_manager_alive(s->dispatcher, "m2", true);
	dispatcher_set_leader(s->dispatcher, true);
	pass_ms(s, 2500);
	assert_int_equal(node_state(s, "n2"), NODE_READY);
	dispatcher_manager_alive(s->dispatcher, "m2", false);
	wait_for(s, node_state(s, "n2") == NODE_DOWN);
	assert_non_null(strstr(view_node(store_view(s->store), "n2")->status->message,
			       "manager m2 is gone"));
}

static void moving_to_another_manager_ends_the_session_here(void **state)
{
	struct serve *s = *state;
	struct agent *a;
	pb_node *n;

	put_node(s, "n1");
	a = agent_start(s, "n1");
	n = pb_dup(view_node(store_view(s->store), "n1"));
	pb_set_str(&n->status->manager_id, "m2");
	put(s, KIND_NODE, n);
	wait_for(s, a->done);
	assert_int_equal(a->err.code, ERR_CONFLICT);
	agent_stop(a);
	pass_ms(s, 1800);
	assert_int_equal(node_state(s, "n1"), NODE_READY);
}

static void strangers_and_removed_nodes(void **state)
{
	struct serve *s = *state;
	pb_node_description description = SKEIN__NODE_DESCRIPTION__INIT;
	struct agent *a = agent_open(s, "n9", "worker");

	agent_register(a, &description);
	wait_for(s, a->done);
	assert_int_equal(a->err.code, ERR_DENIED);
	assert_non_null(strstr(a->err.msg, "removed"));
	agent_stop(a);

	put_node(s, "n1");
	a = agent_start(s, "n1");
	del(s, KIND_NODE, "n1");
	wait_for(s, a->done);
	assert_int_equal(a->err.code, ERR_DENIED);
	assert_string_equal(a->err.msg, "node was removed from the cluster");
	agent_stop(a);
}

/* Joined a moment ago through another manager, whose write comes only now. */
static void a_node_that_appears_late_is_served(void **state)
{
	struct serve *s = *state;
	pb_node_description description = SKEIN__NODE_DESCRIPTION__INIT;
	struct agent *a = agent_open(s, "n1", "worker");

	agent_register(a, &description);
	pass_ms(s, 300);
	assert_false(a->registered || a->done);
	put_node(s, "n1");
	wait_for(s, a->registered);
	assert_int_equal(node_state(s, "n1"), NODE_READY);
	agent_stop(a);
}

static void only_nodes_may_have_sessions(void **state)
{
	struct serve *s = *state;
	pb_node_description description = SKEIN__NODE_DESCRIPTION__INIT;
	struct agent *a = agent_open(s, "n1", NULL);

	agent_register(a, &description);
	wait_for(s, a->done);
	assert_int_equal(a->err.code, ERR_UNAUTHENTICATED);
	agent_stop(a);
}

static void hostile_messages_end_the_session(void **state)
{
	struct serve *s = *state;
	_cleanup_pb_ pb_node_description *many = pb_new(&skein__node_description__descriptor);
	_cleanup_free_ char *big = xcalloc(1, (2u << 20) + 1);
	pb_node_description huge = SKEIN__NODE_DESCRIPTION__INIT;
	struct agent *a;

	put_node(s, "n1");
	a = agent_open(s, "n1", "worker");
	agent_beat(a);
	wait_for(s, a->done);
	assert_int_equal(a->err.code, ERR_INVALID);
	agent_stop(a);

	for (int i = 0; i <= 1000; i++) {
		pb_image_info *image = pb_new(&skein__image_info__descriptor);

		pb_set_str(
			&image->digest,
			"sha256:0000000000000000000000000000000000000000000000000000000000000001");
		pb_msgs_add(&many->n_images, &many->images, image);
	}
	a = agent_open(s, "n1", "worker");
	agent_register(a, many);
	wait_for(s, a->done);
	assert_int_equal(a->err.code, ERR_EXHAUSTED);
	assert_non_null(strstr(a->err.msg, "1001 images"));
	agent_stop(a);

	memset(big, 'x', 2u << 20);
	huge.hostname = big;
	a = agent_start(s, "n1");
	agent_describe(a, &huge);
	wait_for(s, a->done);
	assert_int_equal(a->err.code, ERR_EXHAUSTED);
	agent_stop(a);

	a = agent_start(s, "n1");
	agent_register(a, many);
	wait_for(s, a->done);
	assert_int_equal(a->err.code, ERR_INVALID);
	agent_stop(a);
	assert_int_equal(node_state(s, "n1"), NODE_READY);
}

static void descriptions_and_roles_travel(void **state)
{
	struct serve *s = *state;
	pb_node_description description = SKEIN__NODE_DESCRIPTION__INIT;
	struct agent *a;
	pb_node *n;

	put_node(s, "n1");
	a = agent_start(s, "n1");
	description.kernel = "6.1";
	agent_describe(a, &description);
	wait_for(s, str_eq(view_node(store_view(s->store), "n1")->description->kernel, "6.1"));
	assert_string_equal(view_node(store_view(s->store), "n1")->description->hostname, "n1");
	assert_int_equal(a->node_updates, 1);
	n = pb_dup(view_node(store_view(s->store), "n1"));
	n->spec->role = (Skein__NodeRole)NODE_ROLE_MANAGER;
	put(s, KIND_NODE, n);
	wait_for(s, a->node_updates == 2);
	assert_int_equal(a->node->role, NODE_ROLE_MANAGER);
	n = new_node("m1");
	n->manager = pb_new(&skein__manager_status__descriptor);
	pb_set_str(&n->manager->address, "10.0.0.1:2377");
	put(s, KIND_NODE, n);
	wait_for(s, a->node_updates == 3);
	assert_int_equal(a->node->n_managers, 1);
	assert_string_equal(a->node->managers[0], "10.0.0.1:2377");
	agent_stop(a);
}

/* etcd away: agents are sent elsewhere; back: nobody is called down for the time in between. */
static void an_outage_of_etcd_takes_no_node_down(void **state)
{
	struct serve *s = *state;
	struct agent *a;
	uint64_t down;

	put_node(s, "n1");
	put(s, KIND_TASK, new_task("t1", "n1"));
	a = agent_start(s, "n1");
	etcd_fixture_kill(&serve_etcd);
	agent_report(a, 1, "t1", TASK_RUNNING);
	wait_for(s, a->done);
	assert_int_equal(a->err.code, ERR_UNAVAILABLE);
	agent_stop(a);
	down = dispatcher_stats(s->dispatcher)->nodes_down;
	pass_ms(s, 2500);
	etcd_fixture_run(&serve_etcd);
	/* The report that was never acknowledged is written after all. */
	wait_for(s, task_state(s, "t1") == TASK_RUNNING);
	a = agent_start(s, "n1");
	assert_int_equal(dispatcher_stats(s->dispatcher)->nodes_down, down);
	assert_int_equal(node_state(s, "n1"), NODE_READY);
	agent_stop(a);
}

/* No status is to be written, so nothing fails by itself; but the other managers are out of sight.
 */
static void an_isolated_manager_sends_agents_away(void **state)
{
	struct serve *s = *state;
	static const char *const managers[] = {"m1", "m2", "m3"};
	pb_node_description description = SKEIN__NODE_DESCRIPTION__INIT;
	struct agent *a;

	for (size_t i = 0; i < ARRAY_SIZE(managers); i++) {
		pb_node *n = new_node(managers[i]);

		n->manager = pb_new(&skein__manager_status__descriptor);
		put(s, KIND_NODE, n);
	}
	put_node(s, "n1");
	a = agent_start(s, "n1");
	/* Out of sight is not enough: etcd answers. */
	pass_ms(s, 4500);
	assert_false(a->done);
	etcd_fixture_kill(&serve_etcd);
	wait_for(s, a->done);
	assert_int_equal(a->err.code, ERR_UNAVAILABLE);
	assert_string_equal(a->err.msg, "this manager cannot write to etcd");
	agent_stop(a);
	etcd_fixture_run(&serve_etcd);
	wait_for(s, store_connected(s->store));
	/* It may take a moment until a probe has seen it, too. */
	for (;;) {
		a = agent_open(s, "n1", "worker");
		agent_register(a, &description);
		wait_for(s, a->done || a->registered);
		if (a->registered)
			break;
		agent_stop(a);
		pass_ms(s, 50);
	}
	assert_int_equal(node_state(s, "n1"), NODE_READY);
	agent_stop(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVE_TEST(registering_makes_a_node_ready),
		SERVE_TEST(tasks_go_down_and_statuses_come_up),
		SERVE_TEST(networks_come_before_their_tasks),
		SERVE_TEST(many_statuses_are_few_transactions),
		SERVE_TEST(a_newer_session_replaces_the_older),
		SERVE_TEST(one_identity_in_use_twice_is_slowed_down),
		SERVE_TEST(silence_is_down_and_return_is_ready),
		SERVE_TEST(a_slow_agent_of_a_living_host_is_not_down),
		SERVE_TEST(a_broken_stream_has_a_grace),
		SERVE_TEST(nodes_of_a_lost_manager_are_the_leaders),
		SERVE_TEST(moving_to_another_manager_ends_the_session_here),
		SERVE_TEST(strangers_and_removed_nodes),
		SERVE_TEST(a_node_that_appears_late_is_served),
		SERVE_TEST(only_nodes_may_have_sessions),
		SERVE_TEST(hostile_messages_end_the_session),
		SERVE_TEST(descriptions_and_roles_travel),
		SERVE_TEST(an_isolated_manager_sends_agents_away),
		SERVE_TEST(an_outage_of_etcd_takes_no_node_down),
	};

	return cmocka_run_group_tests(tests, serve_group_setup, serve_group_teardown);
}
