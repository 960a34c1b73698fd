#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "manager/dispatcher/assign.h"
#include "manager/dispatcher/move.h"
#include "manager/dispatcher/peers.h"
#include "manager/store/txn.h"
#include "support/build.h"

#include <string.h>

static void set_peer_port(struct view *v, const char *id)
{
	pb_node *n = pb_dup(view_node(v, id));

	n->peer_port = 7946;
	pb_free(view_put(v, KIND_NODE, n));
}

static void set_migration(struct view *v, const char *task_id, const char *from)
{
	pb_task *t = pb_dup(view_task(v, task_id));

	pb_set_str(&t->migration_id, "m1");
	pb_set_str(&t->migrated_from, from);
	t->meta->revision = 7;
	pb_free(view_put(v, KIND_TASK, t));
}

static void put_migration(struct view *v, int phase)
{
	pb_migration *m = pb_new(&skein__migration__descriptor);

	pb_set_str(&m->id, "m1");
	pb_set_str(&m->source_task, "t1");
	pb_set_str(&m->target_task, "t2");
	pb_set_str(&m->source_node, "n1");
	pb_set_str(&m->target_node, "n2");
	m->phase = (Skein__MigrationPhase)phase;
	m->ticket.data = xmalloc(2);
	memcpy(m->ticket.data, "ab", 2);
	m->ticket.len = 2;
	pb_free(view_put(v, KIND_MIGRATION, m));
}

static struct view *moving(int phase)
{
	struct view *v = view_of(node("n1", .address = "10.0.0.1"), node("n2", .address = "fd00::2"), node("n3"), service("web"),
				 task("t1", .node = "n1"), task("t2", .node = "n2", .state = TASK_ASSIGNED), task("t3", .node = "n1", .slot = 2));

	set_peer_port(v, "n1");
	set_peer_port(v, "n2");
	set_migration(v, "t1", "");
	set_migration(v, "t2", "t1");
	put_migration(v, phase);
	return v;
}

/* ---- down */

static Skein__Assignments *next(struct assign *a, struct view *v)
{
	struct peers *peers = peers_new(v);
	Skein__Assignments *set = assign_next(a, v, peers);

	peers_free(peers);
	return set;
}

static void each_end_is_told_of_the_other(void **state)
{
	struct view *v = moving(MIGRATION_PREPARE);
	_cleanup_pb_ pb_migration_order *source = move_order(v, view_task(v, "t1"));
	_cleanup_pb_ pb_migration_order *target = move_order(v, view_task(v, "t2"));

	assert_false(source->target);
	assert_string_equal(source->peer_node, "n2");
	assert_string_equal(source->peer_address, "[fd00::2]:7946");
	assert_int_equal(source->phase, MIGRATION_PREPARE);
	assert_true(target->target);
	assert_string_equal(target->peer_node, "n1");
	assert_string_equal(target->peer_address, "10.0.0.1:7946");
	assert_string_equal(target->source_task, "t1");
	assert_string_equal(target->target_task, "t2");
	assert_int_equal(target->ticket.len, 2);
	assert_memory_equal(target->ticket.data, "ab", 2);
	assert_null(move_order(v, view_task(v, "t3")));
	view_free(v);
}

static void nothing_is_told_before_there_is_a_target(void **state)
{
	struct view *v = moving(MIGRATION_NEW);

	assert_null(move_order(v, view_task(v, "t1")));
	view_free(v);
}

static void each_phase_is_told_once(void **state)
{
	struct view *v = moving(MIGRATION_PREPARE);
	struct assign *a = assign_new("n1");
	_cleanup_pb_ Skein__Assignments *first = next(a, v), *none = next(a, v), *copy = NULL, *again = NULL, *over = NULL;

	assert_int_equal(first->n_update, 2);
	assert_int_equal(first->update[0]->migration->phase, MIGRATION_PREPARE);
	assert_null(first->update[1]->migration);
	assert_null(none);
	put_migration(v, MIGRATION_COPY); /* the task's own revision is what it was */
	copy = next(a, v);
	assert_int_equal(copy->n_update, 1);
	assert_string_equal(copy->update[0]->task->id, "t1");
	assert_int_equal(copy->update[0]->migration->phase, MIGRATION_COPY);
	put_migration(v, MIGRATION_COPY); /* a report was written */
	again = next(a, v);
	assert_null(again);
	pb_free(view_del(v, KIND_MIGRATION, "m1"));
	over = next(a, v);
	assert_int_equal(over->n_update, 1);
	assert_null(over->update[0]->migration);
	assert_null(next(a, v));
	assign_free(a);
	view_free(v);
}

static void progress_is_nothing_to_tell(void **state)
{
	struct view *v = moving(MIGRATION_COPY);
	_cleanup_pb_ pb_migration *m = pb_dup(view_migration(v, "m1"));

	m->source = pb_new(&skein__migration_report__descriptor);
	m->source->bytes_sent = 5;
	assert_true(move_same_orders(m, view_migration(v, "m1")));
	m->phase = MIGRATION_FREEZE;
	assert_false(move_same_orders(m, view_migration(v, "m1")));
	assert_false(move_same_orders(NULL, m));
	view_free(v);
}

/* ---- up */

static void verdicts(void **state)
{
	static const struct {
		const char *node, *id;
		bool target;
		int phase, has, said; /* has: step of that end, -1 = nothing was heard */
		enum move_verdict verdict;
	} cases[] = {
		{"n1", "m1", false, MIGRATION_PREPARE, -1, STEP_PREPARED, MOVE_TAKEN},
		{"n1", "m1", false, MIGRATION_COPY, STEP_PREPARED, STEP_CONVERGED, MOVE_TAKEN},
		{"n2", "m1", true, MIGRATION_SWITCH, STEP_RECEIVED, STEP_RESTORED, MOVE_TAKEN},
		{"n2", "m1", true, MIGRATION_ABORT, STEP_RECEIVED, STEP_DISCARDED, MOVE_TAKEN},
		{"n1", "m1", false, MIGRATION_MOVED, STEP_SENT, STEP_SENT, MOVE_SAME},
		{"n1", "m1", false, MIGRATION_COPY, STEP_CONVERGED, STEP_PREPARED, MOVE_STALE},
		{"n2", "m1", true, MIGRATION_ABORT, STEP_DISCARDED, STEP_RESTORED, MOVE_STALE},
		/* Each end speaks for itself. */
		{"n2", "m1", false, MIGRATION_FREEZE, STEP_FROZEN, STEP_SENT, MOVE_FOREIGN},
		{"n1", "m1", true, MIGRATION_FREEZE, -1, STEP_RECEIVED, MOVE_FOREIGN},
		{"n3", "m1", true, MIGRATION_FREEZE, -1, STEP_RECEIVED, MOVE_FOREIGN},
		{"n1", "m9", false, MIGRATION_COPY, -1, STEP_PREPARED, MOVE_UNKNOWN},
		{"n1", "", false, MIGRATION_COPY, -1, STEP_PREPARED, MOVE_UNKNOWN},
		{"n1", "m1", false, MIGRATION_NEW, -1, STEP_PREPARED, MOVE_UNKNOWN},
		/* ... in words of its own. */
		{"n1", "m1", false, MIGRATION_SWITCH, STEP_SENT, STEP_RESTORED, MOVE_INVALID},
		{"n1", "m1", false, MIGRATION_ABORT, STEP_SENT, STEP_DISCARDED, MOVE_INVALID},
		{"n2", "m1", true, MIGRATION_RESUME, -1, STEP_RESUMED, MOVE_INVALID},
		{"n2", "m1", true, MIGRATION_PREPARE, -1, 10, MOVE_INVALID},
		{"n2", "m1", true, MIGRATION_PREPARE, -1, -1, MOVE_INVALID},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct view *v = moving(cases[i].phase);
		pb_migration_report report = SKEIN__MIGRATION_REPORT__INIT;
		enum move_verdict verdict;

		if (cases[i].has >= 0) {
			pb_migration *m = pb_dup(view_migration(v, "m1"));
			pb_migration_report **has = cases[i].target ? &m->target : &m->source;

			*has = pb_new(&skein__migration_report__descriptor);
			pb_set_str(&(*has)->migration_id, "m1");
			(*has)->target = cases[i].target;
			(*has)->step = (Skein__MigrationStep)cases[i].has;
			pb_free(view_put(v, KIND_MIGRATION, m));
		}
		report.migration_id = (char *)cases[i].id;
		report.target = cases[i].target;
		report.step = (Skein__MigrationStep)cases[i].said;
		verdict = move_judge(v, cases[i].node, &report);
		if (verdict != cases[i].verdict)
			fail_msg("case %zu: verdict %d", i, (int)verdict);
		view_free(v);
	}
}

static void what_is_said_is_bounded(void **state)
{
	struct view *v = moving(MIGRATION_COPY);
	_cleanup_pb_ pb_migration_report *report = pb_new(&skein__migration_report__descriptor);
	_cleanup_free_ char *longest = xcalloc(1, 3 * MOVE_TEXT_MAX + 1);
	struct txn *t = txn_begin(v);
	const pb_migration *m;

	memset(longest, 'x', 3 * MOVE_TEXT_MAX);
	pb_set_str(&report->migration_id, "m1");
	pb_set_str(&report->err, longest);
	pb_set_str(&report->doing, longest);
	report->downtime = -5;
	for (unsigned i = 0; i < 3 * MOVE_ROUNDS_MAX; i++) {
		pb_migration_round *round = pb_new(&skein__migration_round__descriptor);

		round->bytes = i;
		round->took = -1;
		pb_msgs_add(&report->n_rounds, &report->rounds, round);
	}
	assert_int_equal(move_stage(t, v, "n1", report), MOVE_TAKEN);
	m = view_migration(v, "m1");
	assert_int_equal(strlen(m->source->err), MOVE_TEXT_MAX);
	assert_int_equal(strlen(m->source->doing), MOVE_TEXT_MAX);
	assert_int_equal(m->source->n_rounds, MOVE_ROUNDS_MAX);
	assert_int_equal(m->source->rounds[MOVE_ROUNDS_MAX - 1]->bytes, 3 * MOVE_ROUNDS_MAX - 1);
	assert_int_equal(m->source->rounds[0]->took, 0);
	assert_int_equal(m->source->downtime, 0);
	assert_null(m->target);
	assert_int_equal(move_stage(t, v, "n1", report), MOVE_SAME);
	txn_free(t);
	view_free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_end_is_told_of_the_other),
		cmocka_unit_test(nothing_is_told_before_there_is_a_target),
		cmocka_unit_test(each_phase_is_told_once),
		cmocka_unit_test(progress_is_nothing_to_tell),
		cmocka_unit_test(verdicts),
		cmocka_unit_test(what_is_said_is_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
