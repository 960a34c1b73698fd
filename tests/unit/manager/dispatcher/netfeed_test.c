/* What an agent is told of networks, event by event. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/feed_world.h"

static void every_agent_knows_nodes_and_ingress(void **state)
{
	struct world *w = world_new();
	_cleanup_pb_ Skein__NetState *s = NULL, *more = NULL, *less = NULL;

	put_node(w, "n9", "192.0.2.9", 0); /* has no place yet */
	agent_start(w, 0);
	s = next(w, 0);
	assert_false(s->more);
	assert_int_equal(s->n_networks, 1);
	assert_string_equal(s->networks[0]->id, "ingress");
	assert_null(s->networks[0]->meta);
	assert_int_equal(s->n_nodes, NODES);
	assert_int_equal(all_of(s), NODES + 1);
	quiet(w, 0);
	w->agents[0].touched = 0;
	put_node(w, "n9", "192.0.2.9", 9);
	assert_int_equal(w->agents[0].touched, 1);
	more = next(w, 0);
	assert_int_equal(all_of(more), 1);
	assert_string_equal(more->nodes[0]->address, "192.0.2.9");
	assert_int_equal(more->nodes[0]->index, 9);
	gone(w, KIND_NODE, "n9");
	less = next(w, 0);
	assert_int_equal(all_of(less), 1);
	assert_string_equal(less->remove_nodes[0], "n9");
	world_free(w);
}

static void a_task_brings_its_network_with_all_in_it(void **state)
{
	struct world *w = world_new();
	_cleanup_pb_ Skein__NetState *s = NULL;

	change(w, KIND_SERVICE, new_service("web", "a"));
	change(w, KIND_SERVICE, new_service("db", "b"));
	put_task(w, "t1", "web", "n1", "a", TASK_RUNNING, TASK_RUNNING);
	put_task(w, "t2", "db", "n1", "b", TASK_RUNNING, TASK_RUNNING);
	agent_start(w, 0);
	catch_up(w, 0);
	put_task(w, "t3", "web", "n0", "a", TASK_ASSIGNED, TASK_RUNNING);
	s = next(w, 0);
	assert_int_equal(s->n_networks, 1);
	assert_string_equal(s->networks[0]->id, "a");
	assert_int_equal(s->networks[0]->n_keys, 1);
	assert_int_equal(s->n_services, 1);
	assert_string_equal(s->services[0]->name, "web");
	assert_string_equal(s->services[0]->vips[0]->ipv4, "10.0.1.2");
	assert_string_equal(s->services[0]->scheduler, "rr");
	assert_int_equal(s->n_endpoints, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_string_equal(s->endpoints[i]->networks[0]->ipv4, "10.0.1.9/24");
		assert_int_equal(s->endpoints[i]->ready, str_eq(s->endpoints[i]->task_id, "t1"));
		assert_int_equal(s->endpoints[i]->weight, 1);
		assert_string_equal(s->endpoints[i]->name, "web.1");
	}
	world_free(w);
}

static void the_last_task_takes_its_network_along(void **state)
{
	struct world *w = world_new();
	_cleanup_pb_ Skein__NetState *one = NULL, *last = NULL;

	change(w, KIND_SERVICE, new_service("web", "a"));
	put_task(w, "t1", "web", "n1", "a", TASK_RUNNING, TASK_RUNNING);
	put_task(w, "t2", "web", "n0", "a", TASK_RUNNING, TASK_RUNNING);
	put_task(w, "t3", "web", "n0", "a", TASK_RUNNING, TASK_RUNNING);
	agent_start(w, 0);
	catch_up(w, 0);
	set_task(w, "t2", TASK_SHUTDOWN, TASK_SHUTDOWN);
	one = next(w, 0);
	assert_int_equal(all_of(one), 1);
	assert_string_equal(one->remove_endpoints[0], "t2");
	/* Stopping, it still has its network. */
	set_task(w, "t3", TASK_RUNNING, TASK_SHUTDOWN);
	catch_up(w, 0);
	set_task(w, "t3", TASK_SHUTDOWN, TASK_SHUTDOWN);
	last = next(w, 0);
	assert_int_equal(last->n_remove_networks, 1);
	assert_string_equal(last->remove_networks[0], "a");
	assert_int_equal(last->n_remove_services, 1);
	assert_int_equal(last->n_remove_endpoints, 2);
	assert_int_equal(all_of(last), 4);
	/* What happens there is no longer its business. */
	w->agents[0].touched = 0;
	set_task(w, "t1", TASK_SHUTDOWN, TASK_SHUTDOWN);
	assert_int_equal(w->agents[0].touched, 0);
	quiet(w, 0);
	world_free(w);
}

/* ready: RUNNING, and wanted so; nothing else about a task's way is told. */
static void ready_flips_with_running_and_desired(void **state)
{
	static const struct {
		int state, desired;
		bool told, ready;
	} steps[] = {
		{TASK_ACCEPTED, TASK_RUNNING, false, false},
		{TASK_PREPARING, TASK_RUNNING, false, false},
		{TASK_READY, TASK_READY, false, false},
		{TASK_STARTING, TASK_RUNNING, false, false},
		{TASK_RUNNING, TASK_RUNNING, true, true},
		{TASK_RUNNING, TASK_SHUTDOWN, true, false},
	};
	struct world *w = world_new();

	change(w, KIND_SERVICE, new_service("web", "a"));
	put_task(w, "t0", "web", "n0", "a", TASK_RUNNING, TASK_RUNNING);
	put_task(w, "t1", "web", "n1", "a", TASK_ASSIGNED, TASK_RUNNING);
	agent_start(w, 0);
	catch_up(w, 0);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		_cleanup_pb_ Skein__NetState *s = NULL;

		set_task(w, "t1", steps[i].state, steps[i].desired);
		s = next(w, 0);
		assert_int_equal(s != NULL, steps[i].told);
		if (!s)
			continue;
		assert_int_equal(all_of(s), 1);
		assert_string_equal(s->endpoints[0]->task_id, "t1");
		assert_int_equal(s->endpoints[0]->ready, steps[i].ready);
	}
	world_free(w);
}

/* Its agent says that it stops it: others need not wait for that. */
static void an_unhealthy_task_gets_nothing_more(void **state)
{
	struct world *w = world_new();
	_cleanup_pb_ Skein__NetState *s = NULL;
	pb_task *t;

	change(w, KIND_SERVICE, new_service("web", "a"));
	put_task(w, "t0", "web", "n0", "a", TASK_RUNNING, TASK_RUNNING);
	put_task(w, "t1", "web", "n1", "a", TASK_RUNNING, TASK_RUNNING);
	agent_start(w, 0);
	catch_up(w, 0);
	t = pb_dup(view_task(w->view, "t1"));
	t->status->health = pb_new(&skein__task_health__descriptor);
	t->status->health->state = HEALTH_HEALTHY;
	change(w, KIND_TASK, t);
	assert_null(next(w, 0));
	t = pb_dup(view_task(w->view, "t1"));
	t->status->health->state = HEALTH_UNHEALTHY;
	change(w, KIND_TASK, t);
	s = next(w, 0);
	assert_int_equal(all_of(s), 1);
	assert_string_equal(s->endpoints[0]->task_id, "t1");
	assert_false(s->endpoints[0]->ready);
	world_free(w);
}

static void events_touch_only_who_knows(void **state)
{
	struct world *w = world_new();

	change(w, KIND_SERVICE, new_service("web", "a"));
	put_task(w, "t0", "web", "n0", "a", TASK_RUNNING, TASK_RUNNING);
	put_task(w, "t1", "web", "n1", "a", TASK_RUNNING, TASK_RUNNING);
	put_task(w, "t2", "web", "n2", NULL, TASK_RUNNING, TASK_RUNNING);
	for (unsigned i = 0; i < NODES; i++) {
		agent_start(w, i);
		catch_up(w, i);
	}
	set_task(w, "t1", TASK_RUNNING, TASK_SHUTDOWN);
	assert_true(w->agents[0].touched && w->agents[1].touched);
	assert_false(w->agents[2].touched || w->agents[3].touched);
	catch_up(w, 0);
	catch_up(w, 1);
	/* Neither a network nor a port. */
	set_task(w, "t2", TASK_RUNNING, TASK_SHUTDOWN);
	for (unsigned i = 0; i < NODES; i++)
		assert_false(w->agents[i].touched);
	/* The orchestrator writes to services all the time. */
	{
		pb_service *s = pb_dup(view_service(w->view, "web"));

		s->update = pb_new(&skein__update_status__descriptor);
		s->spec->replicated->replicas = 7;
		change(w, KIND_SERVICE, s);
	}
	for (unsigned i = 0; i < NODES; i++)
		assert_false(w->agents[i].touched);
	world_free(w);
}

static void ingress_services_are_known_everywhere(void **state)
{
	struct world *w = world_new();
	_cleanup_pb_ Skein__NetState *s = NULL, *closed = NULL, *again = NULL;
	pb_service *web = new_service("web", "a");

	publish(web, 8080, PUBLISH_INGRESS);
	change(w, KIND_SERVICE, web);
	put_task(w, "t1", "web", "n1", "a", TASK_RUNNING, TASK_RUNNING);
	agent_start(w, 0);
	s = next(w, 0);
	assert_int_equal(s->n_services, 1);
	assert_int_equal(s->services[0]->ports[0]->published, 8080);
	assert_int_equal(s->services[0]->n_vips, 0); /* it is not in that network */
	assert_int_equal(s->n_endpoints, 1);
	assert_int_equal(s->endpoints[0]->n_networks, 0);
	assert_true(s->endpoints[0]->ready);
	assert_string_equal(s->endpoints[0]->node_id, "n1");
	/* The port is closed: the service is of no interest here any more. */
	change(w, KIND_SERVICE, new_service("web", "a"));
	closed = next(w, 0);
	assert_int_equal(all_of(closed), 2);
	assert_int_equal(closed->n_remove_services, 1);
	assert_int_equal(closed->n_remove_endpoints, 1);
	web = new_service("web", "a");
	publish(web, 8081, PUBLISH_INGRESS);
	change(w, KIND_SERVICE, web);
	again = next(w, 0);
	assert_int_equal(again->n_services, 1);
	assert_int_equal(again->n_endpoints, 1);
	world_free(w);
}

static void services_and_tasks_go_in_any_order(void **state)
{
	for (int service_first = 0; service_first < 2; service_first++) {
		struct world *w = world_new();
		_cleanup_pb_ Skein__NetState *s = NULL;
		pb_service *web = new_service("web", NULL);

		publish(web, 8080, PUBLISH_INGRESS);
		change(w, KIND_SERVICE, web);
		put_task(w, "t1", "web", "n1", NULL, TASK_RUNNING, TASK_RUNNING);
		put_task(w, "t2", "web", "n2", NULL, TASK_RUNNING, TASK_RUNNING);
		agent_start(w, 0);
		catch_up(w, 0);
		if (service_first)
			gone(w, KIND_SERVICE, "web");
		gone(w, KIND_TASK, "t1");
		gone(w, KIND_TASK, "t2");
		if (!service_first)
			gone(w, KIND_SERVICE, "web");
		s = next(w, 0);
		assert_int_equal(all_of(s), 3);
		assert_int_equal(s->n_remove_services, 1);
		assert_int_equal(s->n_remove_endpoints, 2);
		quiet(w, 0);
		world_free(w);
	}
}

static void host_ports_are_for_their_node(void **state)
{
	struct world *w = world_new();
	_cleanup_pb_ Skein__NetState *mine = NULL, *gone_again = NULL;
	pb_service *web = new_service("web", NULL);

	publish(web, 8080, PUBLISH_HOST);
	change(w, KIND_SERVICE, web);
	agent_start(w, 0);
	agent_start(w, 1);
	catch_up(w, 0);
	catch_up(w, 1);
	put_task(w, "t1", "web", "n1", NULL, TASK_ASSIGNED, TASK_RUNNING);
	assert_int_equal(w->agents[0].touched, 0);
	mine = next(w, 1);
	assert_int_equal(mine->n_services, 1);
	assert_int_equal(mine->services[0]->ports[0]->mode, PUBLISH_HOST);
	assert_int_equal(mine->n_endpoints, 1);
	set_task(w, "t1", TASK_FAILED, TASK_RUNNING);
	gone_again = next(w, 1);
	assert_int_equal(all_of(gone_again), 2);
	assert_int_equal(gone_again->n_remove_services, 1);
	world_free(w);
}

static void labels_choose_scheduler_and_weight(void **state)
{
	static const struct {
		const char *weight;
		unsigned result;
	} cases[] = {{"3", 3}, {"0", 1}, {"256", 256}, {"257", 1}, {"x", 1}, {"", 1}};
	struct world *w = world_new();

	change(w, KIND_SERVICE, new_service("web", "a"));
	put_task(w, "t0", "web", "n0", "a", TASK_RUNNING, TASK_RUNNING);
	agent_start(w, 0);
	catch_up(w, 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		pb_service *s = pb_dup(view_service(w->view, "web"));

		pb_kv_set(&s->spec->n_labels, &s->spec->labels, "skein.lb.scheduler", "wrr");
		pb_kv_set(&s->spec->n_labels, &s->spec->labels, "skein.lb.weight", cases[i].weight);
		assert_int_equal(netobj_service_weight(s), cases[i].result);
		change(w, KIND_SERVICE, s);
		if (i == 0) {
			_cleanup_pb_ Skein__NetState *state_ = next(w, 0);

			assert_int_equal(all_of(state_), 2);
			assert_string_equal(state_->services[0]->scheduler, "wrr");
			assert_int_equal(state_->endpoints[0]->weight, 3);
		}
	}
	world_free(w);
}

/* What happened and was undone before the agent was asked is not told. */
static void there_and_back_is_nothing(void **state)
{
	struct world *w = world_new();

	change(w, KIND_SERVICE, new_service("web", "a"));
	put_task(w, "t0", "web", "n0", "a", TASK_RUNNING, TASK_RUNNING);
	agent_start(w, 0);
	catch_up(w, 0);
	put_task(w, "t9", "web", "n1", "a", TASK_RUNNING, TASK_RUNNING);
	gone(w, KIND_TASK, "t9");
	set_task(w, "t0", TASK_RUNNING, TASK_SHUTDOWN);
	set_task(w, "t0", TASK_RUNNING, TASK_RUNNING);
	quiet(w, 0);
	world_free(w);
}

static void put_migration(struct world *w, int phase)
{
	pb_migration *m = pb_new(&skein__migration__descriptor);

	pb_set_str(&m->id, "m1");
	pb_set_str(&m->source_task, "t1");
	pb_set_str(&m->target_task, "t2");
	m->phase = (Skein__MigrationPhase)phase;
	change(w, KIND_MIGRATION, m);
}

static void set_end(struct world *w, const char *id, const char *from)
{
	pb_task *t = pb_dup(view_task(w->view, id));

	pb_set_str(&t->migration_id, "m1");
	pb_set_str(&t->migrated_from, from);
	change(w, KIND_TASK, t);
}

/* t1 at n1 moves to n2 as t2; n0 looks on. */
static struct world *moving_world(void)
{
	struct world *w = world_new();

	change(w, KIND_SERVICE, new_service("web", "a"));
	put_task(w, "t0", "web", "n0", "a", TASK_RUNNING, TASK_RUNNING);
	put_task(w, "t1", "web", "n1", "a", TASK_RUNNING, TASK_RUNNING);
	agent_start(w, 0);
	agent_start(w, 2);
	catch_up(w, 0);
	catch_up(w, 2);
	put_migration(w, MIGRATION_PREPARE);
	set_end(w, "t1", "");
	put_task(w, "t2", "web", "n2", "a", TASK_ASSIGNED, TASK_RUNNING);
	set_end(w, "t2", "t1");
	return w;
}

/* One endpoint, which changes its node in one message, and is ready all the while. */
static void assert_endpoint(struct world *w, unsigned agent, const char *task, const char *node, const char *removed)
{
	_cleanup_pb_ Skein__NetState *s = next(w, agent);

	assert_non_null(s);
	assert_int_equal(all_of(s), 2);
	assert_string_equal(s->endpoints[0]->task_id, task);
	assert_string_equal(s->endpoints[0]->node_id, node);
	assert_true(s->endpoints[0]->ready);
	assert_string_equal(s->endpoints[0]->migrated_from, str_eq(task, "t2") ? "t1" : "");
	assert_string_equal(s->remove_endpoints[0], removed);
	quiet(w, agent);
}

static void one_that_moves_has_one_endpoint(void **state)
{
	struct world *w = moving_world();
	_cleanup_pb_ Skein__NetState *target = next(w, 2);

	assert_int_equal(target->n_networks, 1); /* its node has the network from the beginning */
	assert_int_equal(target->n_endpoints, 2);
	quiet(w, 0);
	put_migration(w, MIGRATION_COPY);
	put_migration(w, MIGRATION_FREEZE);
	set_task(w, "t2", TASK_STARTING, TASK_RUNNING);
	quiet(w, 0);
	quiet(w, 2);
	put_migration(w, MIGRATION_SWITCH);
	assert_endpoint(w, 0, "t2", "n2", "t1");
	assert_endpoint(w, 2, "t2", "n2", "t1");
	set_task(w, "t2", TASK_RUNNING, TASK_RUNNING);
	put_migration(w, MIGRATION_MOVED);
	set_task(w, "t1", TASK_SHUTDOWN, TASK_SHUTDOWN);
	quiet(w, 0);
	quiet(w, 2);
	gone(w, KIND_TASK, "t1"); /* ... and its history is cleared away */
	gone(w, KIND_MIGRATION, "m1");
	quiet(w, 0);
	quiet(w, 2);
	world_free(w);
}

static void given_up_behind_the_switch_it_goes_back(void **state)
{
	struct world *w = moving_world();

	catch_up(w, 0);
	put_migration(w, MIGRATION_SWITCH);
	assert_endpoint(w, 0, "t2", "n2", "t1");
	put_migration(w, MIGRATION_ABORT);
	assert_endpoint(w, 0, "t1", "n1", "t2");
	put_migration(w, MIGRATION_RESUME);
	put_migration(w, MIGRATION_ROLLED_BACK);
	set_task(w, "t2", TASK_FAILED, TASK_SHUTDOWN);
	quiet(w, 0);
	world_free(w);
}

/* Reports are written many times a second; nobody is to look because of them. */
static void its_progress_touches_nobody(void **state)
{
	struct world *w = moving_world();

	catch_up(w, 0);
	put_migration(w, MIGRATION_PREPARE);
	put_migration(w, MIGRATION_COPY);
	put_migration(w, MIGRATION_COPY);
	assert_int_equal(w->agents[0].touched, 0);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_agent_knows_nodes_and_ingress),
		cmocka_unit_test(a_task_brings_its_network_with_all_in_it),
		cmocka_unit_test(the_last_task_takes_its_network_along),
		cmocka_unit_test(ready_flips_with_running_and_desired),
		cmocka_unit_test(an_unhealthy_task_gets_nothing_more),
		cmocka_unit_test(events_touch_only_who_knows),
		cmocka_unit_test(ingress_services_are_known_everywhere),
		cmocka_unit_test(services_and_tasks_go_in_any_order),
		cmocka_unit_test(host_ports_are_for_their_node),
		cmocka_unit_test(labels_choose_scheduler_and_weight),
		cmocka_unit_test(there_and_back_is_nothing),
		cmocka_unit_test(one_that_moves_has_one_endpoint),
		cmocka_unit_test(given_up_behind_the_switch_it_goes_back),
		cmocka_unit_test(its_progress_touches_nobody),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
