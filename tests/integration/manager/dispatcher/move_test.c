/* A migration over TLS and etcd: phases go down to both ends, what they say comes up. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/serve_fixture.h"

static void put_task(struct serve *s, const char *id, const char *node_id, const char *from)
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
	pb_set_str(&t->migration_id, "move1");
	pb_set_str(&t->migrated_from, from);
	put(s, KIND_TASK, t);
}

static void put_phase(struct serve *s, int phase)
{
	const pb_migration *old = view_migration(store_view(s->store), "move1");
	pb_migration *m = old ? pb_dup(old) : pb_new(&skein__migration__descriptor);

	pb_set_str(&m->id, "move1");
	pb_set_str(&m->source_task, "t1");
	pb_set_str(&m->target_task, "t2");
	pb_set_str(&m->source_node, "n1");
	pb_set_str(&m->target_node, "n2");
	m->phase = (Skein__MigrationPhase)phase;
	put(s, KIND_MIGRATION, m);
}

static void say(struct agent *a, bool target, int step)
{
	Skein__AgentMessage msg = SKEIN__AGENT_MESSAGE__INIT;
	pb_migration_report report = SKEIN__MIGRATION_REPORT__INIT;

	report.migration_id = (char *)"move1";
	report.target = target;
	report.step = (Skein__MigrationStep)step;
	msg.body_case = SKEIN__AGENT_MESSAGE__BODY_MIGRATION;
	msg.migration = &report;
	agent_send(a, &msg);
}

static const pb_migration *migration(struct serve *s)
{
	return view_migration(store_view(s->store), "move1");
}

static void phases_go_down_and_words_come_up(void **state)
{
	struct serve *s = *state;
	struct agent *source, *target;

	put_node(s, "n1");
	put_node(s, "n2");
	put_phase(s, MIGRATION_PREPARE);
	put_task(s, "t1", "n1", "");
	put_task(s, "t2", "n2", "t1");
	source = agent_start(s, "n1");
	target = agent_start(s, "n2");
	/* n2 had no address when n1 was told first. */
	assert_non_null(target->last_order);
	assert_true(target->last_order->target);
	assert_string_equal(target->last_order->peer_address, "127.0.0.1:7946");
	assert_int_equal(target->last_order->phase, MIGRATION_PREPARE);
	say(source, false, STEP_PREPARED);
	say(target, true, STEP_PREPARED);
	wait_for(s, migration(s)->source && migration(s)->source->step == (Skein__MigrationStep)STEP_PREPARED &&
			    migration(s)->target && migration(s)->target->step == (Skein__MigrationStep)STEP_PREPARED);
	put_phase(s, MIGRATION_COPY);
	wait_for(s, source->last_order->phase == (Skein__MigrationPhase)MIGRATION_COPY &&
			    target->last_order->phase == (Skein__MigrationPhase)MIGRATION_COPY);
	assert_false(source->last_order->target);
	assert_string_equal(source->last_order->peer_node, "n2");
	assert_string_equal(source->last_order->peer_address, "127.0.0.1:7946");
	/* One end cannot speak for the other; what follows it is written, so it was judged. */
	say(target, false, STEP_CONVERGED);
	say(target, true, STEP_RECEIVED);
	wait_for(s, migration(s)->target->step == (Skein__MigrationStep)STEP_RECEIVED);
	assert_int_equal(migration(s)->source->step, STEP_PREPARED);
	agent_stop(source);
	agent_stop(target);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVE_TEST(phases_go_down_and_words_come_up),
	};

	return cmocka_run_group_tests(tests, serve_group_setup, serve_group_teardown);
}
