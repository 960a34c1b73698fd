/* The stage in whole rounds: what becomes of tasks, slots and addresses while containers are moved. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "manager/migrator/migrator.h"
#include "support/rounds.h"

#include <string.h>

#define CAN "checkpoint=runc;criu=3.17.1"

static void put(struct rounds *r, struct built b)
{
	if (b.kind == KIND_SERVICE)
		((pb_service *)b.obj)->spec->task->live_migrate = true;
	rounds_put(r, b.kind, kind_info(b.kind)->id(b.obj), b.obj);
}

/* `replicas` tasks on n1, and two nodes to go to. */
static void begin(struct rounds *r, unsigned replicas)
{
	rounds_init(r, view_new());
	for (unsigned i = 1; i <= 3; i++) {
		char id[8];

		snprintf(id, sizeof(id), "n%u", i);
		put(r, node(id, .features = CAN, .index = i));
	}
	put(r, service("web", .replicas = replicas));
	for (unsigned i = 1; i <= replicas; i++) {
		char id[8];
		pb_task *t;

		snprintf(id, sizeof(id), "t%u", i);
		t = task(id, .slot = i, .node = "n1").obj;
		pb_set_msg(&t->spec, view_service(r->view, "web")->spec->task);
		rounds_put(r, KIND_TASK, id, t);
	}
	rounds_settle(r);
}

static void ask(struct rounds *r, const char *id, const char *task_id, const char *node_id)
{
	pb_migration *m = pb_new(&skein__migration__descriptor);

	pb_set_str(&m->id, id);
	m->meta = pb_new(&skein__meta__descriptor);
	m->meta->created_at = r->now + (int64_t)view_count(r->view, KIND_MIGRATION);
	m->phase_at = r->now;
	pb_set_str(&m->service_id, "web");
	m->slot = view_task(r->view, task_id)->slot;
	pb_set_str(&m->source_task, task_id);
	pb_set_str(&m->target_node, node_id);
	pb_set_str(&m->cause, "task migrate");
	rounds_put(r, KIND_MIGRATION, id, m);
	rounds_settle(r);
}

static void say(struct rounds *r, const char *id, bool target, int step, const char *err)
{
	pb_migration *m = pb_dup(view_migration(r->view, id));
	pb_migration_report **report = target ? &m->target : &m->source;

	if (!*report)
		*report = pb_new(&skein__migration_report__descriptor);
	(*report)->step = (Skein__MigrationStep)step;
	(*report)->target = target;
	pb_set_str(&(*report)->err, err);
	rounds_put(r, KIND_MIGRATION, id, m);
	rounds_settle(r);
}

static int phase(const struct rounds *r, const char *id)
{
	return (int)view_migration(r->view, id)->phase;
}

static const pb_task *target_of(const struct rounds *r, const char *id)
{
	return view_task(r->view, view_migration(r->view, id)->target_task);
}

static void go_to_switch(struct rounds *r, const char *id)
{
	say(r, id, true, STEP_PREPARED, NULL);
	say(r, id, false, STEP_PREPARED, NULL);
	assert_int_equal(phase(r, id), MIGRATION_COPY);
	say(r, id, false, STEP_CONVERGED, NULL);
	assert_int_equal(phase(r, id), MIGRATION_FREEZE);
	say(r, id, false, STEP_SENT, NULL);
	say(r, id, true, STEP_RECEIVED, NULL);
	assert_int_equal(phase(r, id), MIGRATION_SWITCH);
}

static void the_target_is_the_same_elsewhere(void **state)
{
	struct rounds r;
	const pb_task *target;

	begin(&r, 1);
	{
		pb_task *t = pb_dup(view_task(r.view, "t1"));
		pb_attachment *at = pb_new(&skein__network_attachment__descriptor);

		pb_set_str(&at->network_id, "front");
		pb_set_str(&at->ipv4, "10.0.3.7/24");
		pb_set_str(&at->mac, "02:42:0a:00:03:07");
		pb_msgs_add(&t->n_networks, &t->networks, at);
		rounds_put(&r, KIND_TASK, "t1", t);
	}
	ask(&r, "m1", "t1", "n2");
	assert_int_equal(phase(&r, "m1"), MIGRATION_PREPARE);
	target = target_of(&r, "m1");
	assert_non_null(target);
	assert_string_equal(target->node_id, "n2");
	assert_string_equal(target->migrated_from, "t1");
	assert_string_equal(target->migration_id, "m1");
	assert_string_equal(view_task(r.view, "t1")->migration_id, "m1");
	assert_int_equal(target->slot, 1);
	assert_int_equal(task_state(target), TASK_ASSIGNED);
	assert_true(pb_equal(target->spec, view_task(r.view, "t1")->spec));
	assert_true(pb_equal(target->networks[0], view_task(r.view, "t1")->networks[0]));
	assert_int_equal(view_migration(r.view, "m1")->ticket.len, MIGRATOR_TICKET_BYTES);
	assert_int_equal(view_count(r.view, KIND_TASK), 2);
	rounds_fini(&r);
}

static void what_moves_ends_at_the_target(void **state)
{
	struct rounds r;

	begin(&r, 1);
	ask(&r, "m1", "t1", "");
	go_to_switch(&r, "m1");
	assert_int_equal(view_task(r.view, "t1")->desired, TASK_RUNNING);
	say(&r, "m1", true, STEP_RESTORED, NULL);
	assert_int_equal(phase(&r, "m1"), MIGRATION_MOVED);
	assert_int_equal(view_task(r.view, "t1")->desired, TASK_SHUTDOWN);
	assert_true(strstr(view_task(r.view, "t1")->status->message, "moved to n") != NULL);
	assert_int_equal(target_of(&r, "m1")->desired, TASK_RUNNING);
	rounds_report(&r, target_of(&r, "m1")->id, TASK_RUNNING);
	rounds_report(&r, "t1", TASK_SHUTDOWN);
	rounds_settle(&r);
	assert_int_equal(rounds_count(&r, "web", TASK_RUNNING, TASK_RUNNING), 1);
	assert_int_equal(rounds_count(&r, "web", -1, -1), 2); /* nothing was put into the slot besides */
	rounds_fini(&r);
}

/* The slot is left alone in every phase, a leader change included. */
static void nobody_touches_the_slot(void **state)
{
	struct rounds r;

	begin(&r, 2);
	ask(&r, "m1", "t1", "n2");
	go_to_switch(&r, "m1");
	rounds_new_leader(&r);
	assert_int_equal(rounds_settle(&r), 0);
	rounds_node_state(&r, "n1", NODE_DOWN); /* the target has it all */
	rounds_settle(&r);
	assert_int_equal(phase(&r, "m1"), MIGRATION_SWITCH);
	assert_int_equal(view_task(r.view, "t1")->desired, TASK_RUNNING);
	assert_int_equal(view_task(r.view, "t2")->desired, TASK_SHUTDOWN); /* but the neighbour is replaced */
	say(&r, "m1", true, STEP_RESTORED, NULL);
	assert_int_equal(phase(&r, "m1"), MIGRATION_MOVED);
	rounds_fini(&r);
}

static void rolled_back_it_is_as_before(void **state)
{
	struct rounds r;
	char id[ID_LEN + 1];

	begin(&r, 1);
	ask(&r, "m1", "t1", "n2");
	go_to_switch(&r, "m1");
	snprintf(id, sizeof(id), "%s", target_of(&r, "m1")->id);
	say(&r, "m1", true, STEP_RECEIVED, "restore failed");
	assert_int_equal(phase(&r, "m1"), MIGRATION_ABORT);
	assert_int_equal(view_migration(r.view, "m1")->reached, MIGRATION_SWITCH);
	say(&r, "m1", true, STEP_DISCARDED, "restore failed");
	assert_int_equal(phase(&r, "m1"), MIGRATION_RESUME);
	say(&r, "m1", false, STEP_RESUMED, NULL);
	assert_int_equal(phase(&r, "m1"), MIGRATION_ROLLED_BACK);
	assert_string_equal(view_migration(r.view, "m1")->message, "target n2: restore failed");
	assert_string_equal(view_task(r.view, "t1")->migration_id, "");
	assert_int_equal(view_task(r.view, "t1")->desired, TASK_RUNNING);
	assert_int_equal(view_task(r.view, id)->desired, TASK_REMOVE);
	rounds_report(&r, id, TASK_SHUTDOWN);
	rounds_settle(&r);
	assert_null(view_task(r.view, id));
	assert_int_equal(rounds_count(&r, "web", -1, -1), 1);
	rounds_fini(&r);
}

static void refusals_name_the_cause(void **state)
{
	static const struct {
		const char *node, *says;
	} cases[] = {
		{"n1", "node n1: it runs there already"},
		{"n4", "node n4: containers cannot be checkpointed there"},
		{"n5", "node n5: other version of criu (4.0, the source has 3.17.1)"},
		{"n6", "node n6: other architecture (aarch64, the source has x86_64)"},
		{"n7", "node n7: node is down"},
		{"n8", "node n8: insufficient memory"},
		{"n9", "node n9 is not there"},
	};
	struct rounds r;

	begin(&r, 1);
	{
		pb_task *t = pb_dup(view_task(r.view, "t1"));

		t->spec->resources->reservations->mem_bytes = GIB;
		rounds_put(&r, KIND_TASK, "t1", t);
	}
	put(&r, node("n4"));
	put(&r, node("n5", .features = "checkpoint=runc;criu=4.0"));
	put(&r, node("n6", .features = CAN, .arch = "aarch64"));
	put(&r, node("n7", .features = CAN, .state = NODE_DOWN));
	put(&r, node("n8", .features = CAN, .mem_bytes = MIB));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char id[8];

		snprintf(id, sizeof(id), "m%zu", i);
		ask(&r, id, "t1", cases[i].node);
		assert_int_equal(phase(&r, id), MIGRATION_REFUSED);
		if (!strstr(view_migration(r.view, id)->message, cases[i].says))
			fail_msg("%s: %s", cases[i].node, view_migration(r.view, id)->message);
		assert_string_equal(view_task(r.view, "t1")->migration_id, "");
	}
	assert_int_equal(view_count(r.view, KIND_TASK), 1);
	/* ... and only the last ones are kept. */
	assert_int_equal(view_count(r.view, KIND_MIGRATION), MIGRATOR_KEPT_PER_SLOT);
	rounds_fini(&r);
}

static void limits_make_others_wait(void **state)
{
	struct rounds r;
	char id[8], task_id[8];
	unsigned begun = 0;

	begin(&r, 4);
	for (unsigned i = 1; i <= 4; i++) {
		snprintf(id, sizeof(id), "m%u", i);
		snprintf(task_id, sizeof(task_id), "t%u", i);
		ask(&r, id, task_id, "");
		begun += phase(&r, id) == MIGRATION_PREPARE;
	}
	assert_int_equal(begun, MIGRATOR_PER_NODE);
	assert_int_equal(phase(&r, "m3"), MIGRATION_NEW);
	say(&r, "m1", true, STEP_DISCARDED, "full");
	assert_int_equal(phase(&r, "m1"), MIGRATION_REFUSED);
	assert_int_equal(phase(&r, "m3"), MIGRATION_PREPARE); /* the next in turn */
	assert_int_equal(phase(&r, "m4"), MIGRATION_NEW);
	rounds_fini(&r);
}

static void deadlines_wake(void **state)
{
	struct rounds r;

	begin(&r, 1);
	ask(&r, "m1", "t1", "n2");
	assert_int_equal(wakes_next(&r.wakes), r.now + 600 * SEC);
	r.now += 600 * SEC;
	rounds_settle(&r);
	/* The target does not answer; but it was never allowed to run it. */
	assert_int_equal(phase(&r, "m1"), MIGRATION_REFUSED);
	rounds_fini(&r);
}

/* What was asked for is not waited for without end, and the reason is said. */
static void waiting_has_an_end(void **state)
{
	struct rounds r;

	begin(&r, 3);
	ask(&r, "m1", "t1", "");
	ask(&r, "m2", "t2", "");
	r.now += SEC; /* its time runs from when it was asked for */
	ask(&r, "m3", "t3", "");
	assert_int_equal(phase(&r, "m3"), MIGRATION_NEW);
	r.now += 300 * SEC;
	for (unsigned i = 1; i <= 2; i++) {
		char id[8];

		snprintf(id, sizeof(id), "m%u", i);
		say(&r, id, false, STEP_PREPARED, NULL);
		say(&r, id, true, STEP_PREPARED, NULL);
		assert_int_equal(phase(&r, id), MIGRATION_COPY);
	}
	assert_int_equal(phase(&r, "m3"), MIGRATION_NEW);
	r.now += 300 * SEC;
	rounds_settle(&r);
	assert_int_equal(phase(&r, "m3"), MIGRATION_REFUSED);
	assert_non_null(strstr(view_migration(r.view, "m3")->message, "too many others are being moved"));
	assert_int_equal(view_task(r.view, "t3")->desired, TASK_RUNNING);
	rounds_fini(&r);
}

/* Nor for a slot that does not come to rest; nobody else has to change for it. */
static void a_slot_that_never_settles(void **state)
{
	struct rounds r;
	pb_task *t;

	begin(&r, 1);
	t = pb_dup(view_task(r.view, "t1"));
	t->status->state = (Skein__TaskState)TASK_STARTING;
	rounds_put(&r, KIND_TASK, "t1", t);
	ask(&r, "m1", "t1", "n2");
	assert_int_equal(phase(&r, "m1"), MIGRATION_NEW);
	assert_int_equal(wakes_next(&r.wakes), r.now + 600 * SEC);
	r.now += 600 * SEC;
	rounds_settle(&r);
	assert_int_equal(phase(&r, "m1"), MIGRATION_REFUSED);
	assert_non_null(strstr(view_migration(r.view, "m1")->message, "of its slot is under way"));
	rounds_fini(&r);
}

/* A node that is drained: the last ones wait as long as the first ones take. */
static void the_drained_wait_their_turn(void **state)
{
	struct rounds r;
	const pb_migration **list;
	size_t n;

	begin(&r, 3);
	rounds_availability(&r, "n1", AVAILABILITY_DRAIN);
	rounds_settle(&r);
	list = view_migrations_active(r.view, &n);
	assert_int_equal(n, 3);
	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *id = xstrdup(list[i]->id);

		if (phase(&r, id) != MIGRATION_NEW) {
			say(&r, id, false, STEP_PREPARED, NULL);
			say(&r, id, true, STEP_PREPARED, NULL);
		}
	}
	free(list);
	r.now += 599 * SEC;
	rounds_new_leader(&r);
	rounds_settle(&r);
	r.now += SEC;
	wakes_due(&r.wakes, r.now, &r.dirty);
	list = view_migrations_active(r.view, &n);
	for (size_t i = 0; i < n; i++)
		assert_int_not_equal(list[i]->phase, MIGRATION_REFUSED);
	free(list);
	rounds_fini(&r);
}

/* Removed, scaled down, updated: given up first, then what was wished. */
static void wishes_for_the_slot_come_first(void **state)
{
	for (int wish = 0; wish < 3; wish++) {
		struct rounds r;
		pb_service *s;

		begin(&r, 1);
		ask(&r, "m1", "t1", "n2");
		s = pb_dup(view_service(r.view, "web"));
		if (wish == 1)
			s->spec->replicated->replicas = 0;
		if (wish == 2) {
			pb_strs_add(&s->spec->task->container->n_env, &s->spec->task->container->env, "A=2");
			s->spec_version++;
		}
		if (!wish)
			pb_free(s);
		rounds_put(&r, KIND_SERVICE, "web", wish ? s : NULL);
		rounds_settle(&r);
		assert_int_equal(phase(&r, "m1"), MIGRATION_REFUSED);
		assert_true(view_task(r.view, "t1")->desired > (Skein__TaskState)TASK_RUNNING);
		rounds_fini(&r);
	}
}

static void drained_nodes_are_left_by_moving(void **state)
{
	struct rounds r;
	const pb_migration **list;
	size_t n, begun = 0;

	begin(&r, 3);
	rounds_availability(&r, "n1", AVAILABILITY_DRAIN);
	rounds_settle(&r);
	assert_int_equal(rounds_count(&r, "web", TASK_SHUTDOWN, -1), 0);
	list = view_migrations_active(r.view, &n);
	assert_int_equal(n, 3);
	for (size_t i = 0; i < n; i++) {
		assert_string_equal(list[i]->cause, "drain");
		begun += (int)list[i]->phase == MIGRATION_PREPARE;
	}
	assert_int_equal(begun, MIGRATOR_PER_NODE);
	{
		_cleanup_free_ char *id = NULL, *task_id = NULL;

		for (size_t i = 0; i < n && !id; i++)
			if ((int)list[i]->phase == MIGRATION_PREPARE) {
				id = xstrdup(list[i]->id);
				task_id = xstrdup(list[i]->source_task);
			}
		say(&r, id, true, STEP_DISCARDED, "cannot");
		assert_int_equal(phase(&r, id), MIGRATION_REFUSED);
		/* It is handled as ever: stopped, and a new one elsewhere. */
		assert_int_equal(view_task(r.view, task_id)->desired, TASK_SHUTDOWN);
	}
	free(list);
	rounds_fini(&r);
}

/* Whatever part of a plan is committed, the next leader ends where it would have ended. */
static void parts_of_plans_are_made_up_for(void **state)
{
	for (size_t most = 0; most < 4; most++) {
		struct rounds r;

		begin(&r, 1);
		{
			pb_migration *m = pb_new(&skein__migration__descriptor);

			pb_set_str(&m->id, "m1");
			pb_set_str(&m->service_id, "web");
			m->phase_at = r.now;
			m->slot = 1;
			pb_set_str(&m->source_task, "t1");
			rounds_put(&r, KIND_MIGRATION, "m1", m);
		}
		rounds_commit(&r, rounds_plan(&r, round_plan), most, NULL, NULL);
		rounds_new_leader(&r);
		rounds_settle(&r);
		if (most == 1) {
			/* The target task is missing: nothing was touched. */
			assert_int_equal(phase(&r, "m1"), MIGRATION_REFUSED);
			assert_int_equal(view_count(r.view, KIND_TASK), 1);
		} else {
			assert_int_equal(phase(&r, "m1"), MIGRATION_PREPARE);
			assert_int_equal(view_count(r.view, KIND_TASK), 2);
			assert_string_equal(view_task(r.view, "t1")->migration_id, "m1");
		}
		rounds_fini(&r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_target_is_the_same_elsewhere),
		cmocka_unit_test(what_moves_ends_at_the_target),
		cmocka_unit_test(nobody_touches_the_slot),
		cmocka_unit_test(rolled_back_it_is_as_before),
		cmocka_unit_test(refusals_name_the_cause),
		cmocka_unit_test(limits_make_others_wait),
		cmocka_unit_test(deadlines_wake),
		cmocka_unit_test(waiting_has_an_end),
		cmocka_unit_test(a_slot_that_never_settles),
		cmocka_unit_test(the_drained_wait_their_turn),
		cmocka_unit_test(wishes_for_the_slot_come_first),
		cmocka_unit_test(drained_nodes_are_left_by_moving),
		cmocka_unit_test(parts_of_plans_are_made_up_for),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
