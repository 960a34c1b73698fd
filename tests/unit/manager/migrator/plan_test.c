/* Every phase with every event and failure: what the leader writes next. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "manager/migrator/plan.h"
#include "support/build.h"

#include <string.h>

enum node_is { UP, DOWN, REMOVED };

struct end_def {
	int step;
	const char *err;
	enum node_is node;
	int state; /* of its task; 0 = RUNNING, -1 = there is none */
};

struct row {
	const char *name;
	int phase, reached;
	struct end_def source, target;
	const char *stop;
	bool cancelled, dry_run;
	int64_t after; /* in the phase */
	int next;
	enum migration_fate source_fate, target_fate;
	const char *says; /* part of the message */
};

#define NEW MIGRATION_NEW
#define PREPARE MIGRATION_PREPARE
#define COPY MIGRATION_COPY
#define FREEZE MIGRATION_FREEZE
#define SWITCH MIGRATION_SWITCH
#define ABORT MIGRATION_ABORT
#define RESUME MIGRATION_RESUME
#define MINUTES(n) ((n) * 60 * SEC)

#define ENDS(phase_, source_, target_) .next = MIGRATION_##phase_, .source_fate = FATE_##source_, .target_fate = FATE_##target_

static const struct row rows[] = {
	/* What goes well. */
	{"nothing yet", PREPARE, .next = PREPARE},
	{"source ready", PREPARE, .source = {STEP_PREPARED}, .next = PREPARE},
	{"target ready", PREPARE, .target = {STEP_PREPARED}, .next = PREPARE},
	{"both ready", PREPARE, .source = {STEP_PREPARED}, .target = {STEP_PREPARED}, .next = COPY},
	{"both ready, dry run", PREPARE, .source = {STEP_PREPARED}, .target = {STEP_PREPARED}, .dry_run = true,
	 ENDS(CHECKED, RELEASE, REMOVE)},
	{"copying", COPY, .source = {STEP_PREPARED}, .target = {STEP_PREPARED}, .next = COPY},
	{"copied", COPY, .source = {STEP_CONVERGED}, .target = {STEP_PREPARED}, .next = FREEZE},
	{"frozen", FREEZE, .source = {STEP_FROZEN}, .target = {STEP_PREPARED}, .next = FREEZE},
	{"sent", FREEZE, .source = {STEP_SENT}, .target = {STEP_PREPARED}, .next = FREEZE},
	{"received, not yet heard that it was sent", FREEZE, .source = {STEP_FROZEN}, .target = {STEP_RECEIVED}, .next = FREEZE},
	{"received", FREEZE, .source = {STEP_SENT}, .target = {STEP_RECEIVED}, .next = SWITCH},
	{"restoring", SWITCH, .source = {STEP_SENT}, .target = {STEP_RECEIVED}, .next = SWITCH},
	{"restored", SWITCH, .source = {STEP_SENT}, .target = {STEP_RESTORED}, ENDS(MOVED, SHUTDOWN, STAY), .says = "moved to n2"},

	/* PREPARE: nothing was touched. */
	{"source refuses", PREPARE, .source = {.err = "a socket"}, .next = ABORT, .says = "source n1: a socket"},
	{"target refuses", PREPARE, .target = {.err = "no avx"}, .next = ABORT, .says = "target n2: no avx"},
	{"target's task rejected", PREPARE, .target = {.state = TASK_REJECTED}, .next = ABORT, .says = "target n2"},
	{"target gave up", PREPARE, .target = {STEP_DISCARDED}, .next = ABORT, .says = "gave up"},
	{"target down", PREPARE, .target = {.node = DOWN}, .next = ABORT, .says = "target node n2 is down"},
	{"target removed", PREPARE, .target = {.node = REMOVED}, .next = ABORT, .says = "target node n2 is removed"},
	{"target's task gone", PREPARE, .target = {.state = -1}, .next = ABORT},
	{"source down", PREPARE, .source = {.node = DOWN}, .next = ABORT, .says = "source node n1 is down"},
	{"source removed", PREPARE, .source = {.node = REMOVED}, .next = ABORT, .says = "removed"},
	{"source ended", PREPARE, .source = {STEP_GONE}, .next = ABORT, .says = "has ended"},
	{"source's task ended", PREPARE, .source = {.state = TASK_COMPLETE}, .next = ABORT, .says = "has ended"},
	{"source's task gone", PREPARE, .source = {.state = -1}, .next = ABORT, .says = "has ended"},
	{"service removed", PREPARE, .stop = "the service was removed", .next = ABORT, .says = "the service was removed"},
	{"cancelled", PREPARE, .cancelled = true, .next = ABORT, .says = "cancelled"},
	{"just in time", PREPARE, .after = MINUTES(10) - 1, .next = PREPARE},
	{"late", PREPARE, .after = MINUTES(10), .next = ABORT, .says = "PREPARE took longer"},
	{"ready in the last moment", PREPARE, .source = {STEP_PREPARED}, .target = {STEP_PREPARED}, .after = MINUTES(11), .next = COPY},

	/* COPY: the container runs at the source all the while. */
	{"source fails", COPY, .source = {STEP_PREPARED, "disk"}, .target = {STEP_PREPARED}, .next = ABORT, .says = "source n1: disk"},
	{"target fails", COPY, .source = {STEP_PREPARED}, .target = {STEP_PREPARED, "full"}, .next = ABORT, .says = "target n2: full"},
	{"converged, but the target fails", COPY, .source = {STEP_CONVERGED}, .target = {STEP_PREPARED, "full"}, .next = ABORT},
	{"target discards", COPY, .target = {STEP_DISCARDED}, .next = ABORT},
	{"target down", COPY, .target = {STEP_PREPARED, .node = DOWN}, .next = ABORT},
	{"source down", COPY, .source = {STEP_PREPARED, .node = DOWN}, .next = ABORT},
	{"source ended", COPY, .source = {STEP_GONE}, .next = ABORT},
	{"service updated", COPY, .stop = "updated", .next = ABORT, .says = "updated"},
	{"cancelled", COPY, .cancelled = true, .next = ABORT},
	{"late", COPY, .after = MINUTES(10), .next = ABORT, .says = "COPY took longer"},

	/* FREEZE: it stands still at the source; the target may not run it yet. */
	{"source fails", FREEZE, .source = {STEP_FROZEN, "dump"}, .next = ABORT, .says = "dump"},
	{"target fails", FREEZE, .source = {STEP_SENT}, .target = {STEP_PREPARED, "digest"}, .next = ABORT, .says = "digest"},
	{"received and failed", FREEZE, .source = {STEP_SENT}, .target = {STEP_RECEIVED, "fsync"}, .next = ABORT},
	{"target promised never to run it", FREEZE, .source = {STEP_SENT}, .target = {STEP_DISCARDED}, .next = ABORT},
	{"and the source went on", FREEZE, .source = {STEP_RESUMED}, .target = {STEP_RECEIVED}, .next = ABORT, .says = "went on"},
	{"the container was killed", FREEZE, .source = {STEP_GONE}, .target = {STEP_RECEIVED}, .next = ABORT},
	{"... and its task has ended", FREEZE, .source = {STEP_SENT, .state = TASK_FAILED}, .target = {STEP_PREPARED}, .next = ABORT},
	{"target down", FREEZE, .source = {STEP_SENT}, .target = {STEP_RECEIVED, .node = DOWN}, .next = ABORT},
	{"source down too early", FREEZE, .source = {STEP_FROZEN, .node = DOWN}, .target = {STEP_PREPARED}, .next = ABORT},
	{"source down, all is there", FREEZE, .source = {STEP_FROZEN, .node = DOWN}, .target = {STEP_RECEIVED}, .next = SWITCH},
	{"source down behind its word", FREEZE, .source = {STEP_SENT, .node = DOWN}, .target = {STEP_RECEIVED}, .next = SWITCH},
	{"both down", FREEZE, .source = {STEP_SENT, .node = DOWN}, .target = {STEP_RECEIVED, .node = DOWN}, .next = ABORT},
	{"service removed", FREEZE, .source = {STEP_SENT}, .target = {STEP_RECEIVED}, .stop = "removed", .next = ABORT},
	{"cancelled", FREEZE, .source = {STEP_SENT}, .target = {STEP_RECEIVED}, .cancelled = true, .next = ABORT},
	{"late", FREEZE, .source = {STEP_FROZEN}, .after = MINUTES(1), .next = ABORT, .says = "FREEZE took longer"},

	/* SWITCH: the slot is the target's. */
	{"target fails", SWITCH, .source = {STEP_SENT}, .target = {STEP_RECEIVED, "restore"}, .next = ABORT, .says = "restore"},
	{"target discards", SWITCH, .source = {STEP_SENT}, .target = {STEP_DISCARDED}, .next = ABORT},
	{"target down", SWITCH, .source = {STEP_SENT}, .target = {STEP_RECEIVED, .node = DOWN}, .next = ABORT},
	{"target down behind its word", SWITCH, .source = {STEP_SENT}, .target = {STEP_RESTORED, .node = DOWN},
	 ENDS(MOVED, SHUTDOWN, STAY)},
	{"target removed", SWITCH, .source = {STEP_SENT}, .target = {STEP_RECEIVED, .node = REMOVED}, .next = ABORT},
	{"target's task over, and no word of the container", SWITCH, .source = {STEP_SENT}, .target = {STEP_RECEIVED, .state = TASK_FAILED},
	 .next = SWITCH},
	{"it ran and has ended", SWITCH, .source = {STEP_SENT}, .target = {STEP_RESTORED, .state = TASK_COMPLETE},
	 ENDS(MOVED, SHUTDOWN, STAY)},
	{"source down", SWITCH, .source = {STEP_SENT, .node = DOWN}, .target = {STEP_RECEIVED}, .next = SWITCH},
	{"source ended", SWITCH, .source = {STEP_GONE}, .target = {STEP_RECEIVED}, .next = SWITCH},
	{"service removed", SWITCH, .source = {STEP_SENT}, .target = {STEP_RECEIVED}, .stop = "removed", .next = SWITCH},
	{"cancelled", SWITCH, .source = {STEP_SENT}, .target = {STEP_RECEIVED}, .cancelled = true, .next = SWITCH},
	{"late", SWITCH, .source = {STEP_SENT}, .target = {STEP_RECEIVED}, .after = MINUTES(1), .next = ABORT, .says = "SWITCH took longer"},

	/* ABORT: the source goes on once nothing can run at the target. */
	{"target silent", ABORT, .reached = SWITCH, .source = {STEP_SENT}, .target = {STEP_RECEIVED}, .after = MINUTES(600), .next = ABORT},
	{"target restored it meanwhile", ABORT, .reached = SWITCH, .source = {STEP_SENT}, .target = {STEP_RESTORED}, .next = ABORT},
	{"target's task over, no promise", ABORT, .reached = SWITCH, .source = {STEP_SENT}, .target = {STEP_RECEIVED, .state = TASK_FAILED},
	 .next = ABORT},
	{"promised", ABORT, .reached = SWITCH, .source = {STEP_SENT}, .target = {STEP_DISCARDED}, .next = RESUME},
	{"target down", ABORT, .reached = SWITCH, .source = {STEP_SENT}, .target = {STEP_RECEIVED, .node = DOWN}, .next = RESUME},
	{"target removed", ABORT, .reached = SWITCH, .source = {STEP_SENT}, .target = {STEP_RECEIVED, .node = REMOVED}, .next = RESUME},
	{"target's task gone", ABORT, .reached = SWITCH, .source = {STEP_SENT}, .target = {.state = -1}, .next = RESUME},
	{"target silent, was never allowed to", ABORT, .reached = FREEZE, .source = {STEP_SENT}, .target = {STEP_RECEIVED}, .next = RESUME},
	{"target silent, from COPY", ABORT, .reached = COPY, .source = {STEP_PREPARED}, .target = {STEP_PREPARED}, .next = RESUME},
	{"promised, from COPY", ABORT, .reached = COPY, .source = {STEP_PREPARED}, .target = {STEP_DISCARDED}, .next = RESUME},
	{"promised, from PREPARE", ABORT, .reached = PREPARE, .target = {STEP_DISCARDED}, ENDS(REFUSED, RELEASE, REMOVE)},
	{"target down, from PREPARE", ABORT, .reached = PREPARE, .target = {.node = DOWN}, ENDS(REFUSED, RELEASE, REMOVE)},
	{"target silent, from PREPARE", ABORT, .reached = PREPARE, ENDS(REFUSED, RELEASE, REMOVE)},
	{"promised, from PREPARE, the source is lost", ABORT, .reached = PREPARE, .source = {.node = DOWN}, .target = {STEP_DISCARDED},
	 .next = RESUME},
	{"promised, from PREPARE, the container ended", ABORT, .reached = PREPARE, .source = {.state = TASK_FAILED},
	 .target = {STEP_DISCARDED}, .next = RESUME},
	{"both down", ABORT, .reached = FREEZE, .source = {STEP_SENT, .node = DOWN}, .target = {.node = DOWN}, .next = RESUME},

	/* RESUME */
	{"source silent", RESUME, .source = {STEP_SENT}, .target = {STEP_DISCARDED}, .after = MINUTES(600), .next = RESUME},
	{"it goes on", RESUME, .source = {STEP_RESUMED}, .target = {STEP_DISCARDED}, ENDS(ROLLED_BACK, RELEASE, REMOVE)},
	{"it went on and its node is lost", RESUME, .source = {STEP_RESUMED, .node = DOWN}, ENDS(ROLLED_BACK, RELEASE, REMOVE)},
	{"it has ended", RESUME, .source = {STEP_GONE}, .target = {STEP_DISCARDED}, ENDS(LOST, RELEASE, REMOVE), .says = "has ended"},
	{"its task has ended", RESUME, .source = {STEP_SENT, .state = TASK_FAILED}, ENDS(LOST, RELEASE, REMOVE)},
	{"source down", RESUME, .source = {STEP_SENT, .node = DOWN}, ENDS(LOST, RELEASE, REMOVE), .says = "down"},
	{"source removed", RESUME, .source = {STEP_SENT, .node = REMOVED}, ENDS(LOST, RELEASE, REMOVE)},

	/* What is not its matter, or over. */
	{"waits for a place", NEW, .cancelled = true, .next = NEW},
	{"moved", MIGRATION_MOVED, .target = {.node = DOWN}, .next = MIGRATION_MOVED},
	{"checked", MIGRATION_CHECKED, .source = {.err = "x"}, .next = MIGRATION_CHECKED},
	{"refused", MIGRATION_REFUSED, .target = {STEP_RESTORED}, .next = MIGRATION_REFUSED},
	{"rolled back", MIGRATION_ROLLED_BACK, .source = {STEP_GONE}, .next = MIGRATION_ROLLED_BACK},
	{"lost", MIGRATION_LOST, .source = {STEP_RESUMED}, .next = MIGRATION_LOST},
};

struct world_end {
	pb_task *task;
	pb_node *node;
	pb_migration_report *report;
};

static struct world_end make_end(const struct end_def *def, const char *task_id, const char *node_id)
{
	struct world_end w = {0};

	if (def->state >= 0)
		w.task = task(task_id, .node = node_id, .state = def->state ? def->state : TASK_RUNNING).obj;
	if (def->node != REMOVED)
		w.node = node(node_id, .state = def->node == UP ? NODE_READY : NODE_DOWN).obj;
	w.report = pb_new(&skein__migration_report__descriptor);
	w.report->step = (Skein__MigrationStep)def->step;
	pb_set_str(&w.report->err, def->err);
	return w;
}

static void free_end(struct world_end *w)
{
	pb_free(w->task);
	pb_free(w->node);
	pb_free(w->report);
}

static pb_migration *make_migration(const struct row *row)
{
	pb_migration *m = pb_new(&skein__migration__descriptor);

	pb_set_str(&m->id, "m1");
	pb_set_str(&m->source_node, "n1");
	pb_set_str(&m->target_node, "n2");
	m->phase = (Skein__MigrationPhase)row->phase;
	m->reached = (Skein__MigrationPhase)row->reached;
	m->phase_at = NOW - row->after;
	m->cancelled = row->cancelled;
	m->options = pb_new(&skein__migration_options__descriptor);
	m->options->dry_run = row->dry_run;
	return m;
}

static void check(const struct row *row)
{
	struct world_end source = make_end(&row->source, "t1", "n1"), target = make_end(&row->target, "t2", "n2");
	_cleanup_pb_ pb_migration *m = make_migration(row);
	struct migration_verdict v;

	migration_plan(m, &(struct migration_end){source.task, source.node, source.report},
		       &(struct migration_end){target.task, target.node, target.report}, row->stop, NOW, &v);
	if (v.phase != row->next || v.source != row->source_fate || v.target != row->target_fate)
		fail_msg("%s, %s: %s (%s), fates %d and %d", migration_phase_name(row->phase), row->name, migration_phase_name(v.phase),
			 v.message, (int)v.source, (int)v.target);
	if (row->says && !strstr(v.message, row->says))
		fail_msg("%s, %s: says \"%s\"", migration_phase_name(row->phase), row->name, v.message);
	/* Whoever gives up says why. */
	if (v.phase == ABORT && row->phase != ABORT)
		assert_true(*v.message);
	free_end(&source);
	free_end(&target);
}

static void every_phase_and_event(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		check(&rows[i]);
}

/* The rules of the ADR over all combinations: no run at the target before SWITCH, no thaw while it may run there. */
static void never_both(void **state)
{
	static const int phase_of[] = {PREPARE, COPY, FREEZE, SWITCH, ABORT, RESUME};
	static const int reached_of[] = {PREPARE, COPY, FREEZE, SWITCH};

	for (unsigned x = 0; x < ARRAY_SIZE(phase_of) * ARRAY_SIZE(reached_of) * 100 * 9; x++) {
		struct row row = {.name = "any", .phase = phase_of[x % 6], .reached = reached_of[x / 6 % 4]};
		struct world_end source, target;
		struct migration_verdict v;
		pb_migration *m;

		row.source.step = (int)(x / 24 % 10);
		row.target.step = (int)(x / 240 % 10);
		row.source.node = (enum node_is)(x / 2400 % 3);
		row.target.node = (enum node_is)(x / 7200 % 3);
		m = make_migration(&row);
		source = make_end(&row.source, "t1", "n1");
		target = make_end(&row.target, "t2", "n2");
		migration_plan(m, &(struct migration_end){source.task, source.node, source.report},
			       &(struct migration_end){target.task, target.node, target.report}, NULL, NOW, &v);
		if (v.phase == SWITCH && row.phase != SWITCH)
			assert_true(row.phase == FREEZE && row.target.step == STEP_RECEIVED && row.source.step < STEP_RESTORED);
		if (v.phase == RESUME && row.phase != RESUME)
			assert_true(row.phase == ABORT && (row.reached != SWITCH || row.target.step == STEP_DISCARDED || row.target.node != UP));
		if (v.phase == MIGRATION_MOVED)
			assert_true(row.phase == SWITCH && row.target.step == STEP_RESTORED);
		assert_true(v.phase >= row.phase);
		free_end(&source);
		free_end(&target);
		pb_free(m);
	}
}

static void deadlines(void **state)
{
	pb_migration_options options = SKEIN__MIGRATION_OPTIONS__INIT;
	pb_migration m = SKEIN__MIGRATION__INIT;

	m.options = &options;
	m.phase_at = NOW;
	m.phase = (Skein__MigrationPhase)COPY;
	assert_int_equal(migration_deadline(&m), NOW + MINUTES(10));
	options.timeout = 30 * SEC;
	assert_int_equal(migration_deadline(&m), NOW + 30 * SEC);
	options.timeout = INT64_MAX;
	assert_int_equal(migration_deadline(&m), INT64_MAX);
	m.phase = (Skein__MigrationPhase)NEW;
	assert_int_equal(migration_deadline(&m), INT64_MAX);
	options.timeout = 30 * SEC;
	assert_int_equal(migration_deadline(&m), NOW + 30 * SEC);
	m.phase = (Skein__MigrationPhase)PREPARE;
	assert_int_equal(migration_deadline(&m), NOW + MINUTES(10));
	m.phase = (Skein__MigrationPhase)FREEZE;
	assert_int_equal(migration_deadline(&m), NOW + MINUTES(1));
	m.phase = (Skein__MigrationPhase)SWITCH;
	assert_int_equal(migration_deadline(&m), NOW + MINUTES(1));
	m.phase = (Skein__MigrationPhase)ABORT;
	assert_int_equal(migration_deadline(&m), INT64_MAX);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_phase_and_event),
		cmocka_unit_test(never_both),
		cmocka_unit_test(deadlines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
