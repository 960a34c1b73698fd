/* Both ends of a migration: facts in, one action out; and the two together, under a leader and with everything that may go wrong. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/migrate/source_decide.h"
#include "agent/migrate/target_decide.h"
#include "common/mem.h"
#include "proto/pb.h"

#include <stdio.h>
#include <string.h>

#define COPIED .looked = true, .ready = true, .files = true, .rounds = true, .files_again = true, .connected = true
#define FROZEN COPIED, .frozen = true, .cut = true, .is_frozen = true, .is_cut = true

static const struct source_row {
	const char *name;
	struct source_facts f;
	enum source_action want;
} source_rows[] = {
	{"it looks at itself first", {.phase = MIGRATION_PREPARE}, SOURCE_LOOK},
	{"which takes time", {.phase = MIGRATION_PREPARE, .busy = true}, SOURCE_WAIT},
	{"then it asks the target", {.phase = MIGRATION_PREPARE, .looked = true}, SOURCE_CONNECT},
	{"which gets ready", {.phase = MIGRATION_PREPARE, .looked = true, .connected = true}, SOURCE_WAIT},
	{"and is", {.phase = MIGRATION_PREPARE, .looked = true, .connected = true, .ready = true}, SOURCE_PREPARED},
	{"nothing is copied before the leader's word",
	 {.phase = MIGRATION_PREPARE, .step = STEP_PREPARED, .looked = true, .connected = true, .ready = true}, SOURCE_WAIT},
	{"files first", {.phase = MIGRATION_COPY, .step = STEP_PREPARED, .connected = true}, SOURCE_FILES},
	{"then memory", {.phase = MIGRATION_COPY, .step = STEP_PREPARED, .connected = true, .files = true}, SOURCE_ROUND},
	{"one thing at a time", {.phase = MIGRATION_COPY, .step = STEP_PREPARED, .connected = true, .files = true, .busy = true}, SOURCE_WAIT},
	{"files again, as they have changed meanwhile",
	 {.phase = MIGRATION_COPY, .step = STEP_PREPARED, .connected = true, .files = true, .rounds = true}, SOURCE_FILES},
	{"that is it", {.phase = MIGRATION_COPY, .step = STEP_PREPARED, COPIED}, SOURCE_CONVERGED},
	{"it does not freeze by itself", {.phase = MIGRATION_COPY, .step = STEP_CONVERGED, COPIED}, SOURCE_WAIT},
	{"told to, it does", {.phase = MIGRATION_FREEZE, .step = STEP_CONVERGED, COPIED}, SOURCE_FREEZE},
	{"then it is cut off", {.phase = MIGRATION_FREEZE, .step = STEP_CONVERGED, COPIED, .frozen = true, .cut = true, .is_frozen = true}, SOURCE_CUT},
	{"files and", {.phase = MIGRATION_FREEZE, .step = STEP_FROZEN, FROZEN}, SOURCE_FILES_STILL},
	{"memory beside each other", {.phase = MIGRATION_FREEZE, .step = STEP_FROZEN, FROZEN, .files_busy = true}, SOURCE_DUMP},
	{"until both are there", {.phase = MIGRATION_FREEZE, .step = STEP_FROZEN, FROZEN, .dumped = true, .files_busy = true}, SOURCE_WAIT},
	{"then the images", {.phase = MIGRATION_FREEZE, .step = STEP_FROZEN, FROZEN, .dumped = true, .files_still = true}, SOURCE_IMAGES},
	{"and that it was all", {.phase = MIGRATION_FREEZE, .step = STEP_FROZEN, FROZEN, .dumped = true, .files_still = true, .images = true}, SOURCE_SAY},
	{"the target counts",
	 {.phase = MIGRATION_FREEZE, .step = STEP_FROZEN, FROZEN, .dumped = true, .files_still = true, .images = true, .said = true}, SOURCE_WAIT},
	{"and has it",
	 {.phase = MIGRATION_FREEZE, .step = STEP_FROZEN, FROZEN, .dumped = true, .files_still = true, .images = true, .said = true, .received = true},
	 SOURCE_SENT},
	{"it stands", {.phase = MIGRATION_FREEZE, .step = STEP_SENT, FROZEN, .received = true}, SOURCE_WAIT},
	{"and stands", {.phase = MIGRATION_SWITCH, .step = STEP_SENT, FROZEN}, SOURCE_WAIT},
	{"a lost connection does not thaw it", {.phase = MIGRATION_SWITCH, .step = STEP_SENT, .frozen = true, .cut = true, .is_frozen = true}, SOURCE_WAIT},
	{"after a while it asks", {.phase = MIGRATION_SWITCH, .step = STEP_SENT, .frozen = true, .cut = true, .ask_due = true}, SOURCE_ASK},
	{"and waits for the answer",
	 {.phase = MIGRATION_SWITCH, .step = STEP_SENT, .frozen = true, .cut = true, .ask_due = true, .connected = true, .asking = true}, SOURCE_WAIT},
	{"moved: it hangs up, its task ends it", {.phase = MIGRATION_MOVED, .step = STEP_SENT, FROZEN}, SOURCE_HANG_UP},
	{"that is all", {.phase = MIGRATION_MOVED, .step = STEP_SENT, .frozen = true, .cut = true}, SOURCE_WAIT},
	{"aborted while it copies: it stops doing so", {.phase = MIGRATION_ABORT, .step = STEP_PREPARED, .connected = true, .files_busy = true}, SOURCE_HANG_UP},
	{"and runs on", {.phase = MIGRATION_ABORT, .step = STEP_PREPARED}, SOURCE_WAIT},
	{"aborted while frozen: it stands still", {.phase = MIGRATION_ABORT, .step = STEP_SENT, .frozen = true, .cut = true}, SOURCE_WAIT},
	{"its own failure is no reason to thaw", {.phase = MIGRATION_FREEZE, .step = STEP_FROZEN, .failed = true, .frozen = true, .cut = true}, SOURCE_WAIT},
	{"the target's promise is", {.phase = MIGRATION_FREEZE, .step = STEP_FROZEN, .failed = true, .frozen = true, .cut = true, .promised = true}, SOURCE_OPEN},
	{"first the network", {.phase = MIGRATION_RESUME, .step = STEP_SENT, .frozen = true, .cut = true}, SOURCE_OPEN},
	{"then the processes", {.phase = MIGRATION_RESUME, .step = STEP_SENT, .frozen = true}, SOURCE_THAW},
	{"and it says so", {.phase = MIGRATION_RESUME, .step = STEP_SENT}, SOURCE_RESUMED},
	{"once", {.phase = MIGRATION_RESUME, .step = STEP_RESUMED}, SOURCE_WAIT},
	{"what is under way is waited for", {.phase = MIGRATION_RESUME, .step = STEP_FROZEN, .frozen = true, .cut = true, .busy = true}, SOURCE_WAIT},
	{"checked only: nothing was touched", {.phase = MIGRATION_CHECKED, .step = STEP_PREPARED, .connected = true}, SOURCE_HANG_UP},
	{"it has ended by itself", {.phase = MIGRATION_COPY, .step = STEP_PREPARED, .gone = true}, SOURCE_GONE},
	{"killed because it was moved is not gone", {.phase = MIGRATION_MOVED, .step = STEP_SENT, .gone = true}, SOURCE_WAIT},
};

static void source_table(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(source_rows); i++) {
		enum source_action got = source_decide(&source_rows[i].f);

		if (got != source_rows[i].want)
			fail_msg("%s: %s, wanted %s", source_rows[i].name, source_action_name(got), source_action_name(source_rows[i].want));
	}
}

#define READY .task_ready = true, .joined = true, .fits = true

static const struct target_row {
	const char *name;
	struct target_facts f;
	enum target_action want;
	enum move_want task;
} target_rows[] = {
	{"its task gets ready", {.phase = MIGRATION_PREPARE, .joined = true}, TARGET_WAIT, MOVE_HOLD},
	{"the source has to come", {.phase = MIGRATION_PREPARE, .task_ready = true}, TARGET_WAIT, MOVE_HOLD},
	{"then they are compared", {.phase = MIGRATION_PREPARE, .task_ready = true, .joined = true}, TARGET_COMPARE, MOVE_HOLD},
	{"and fit", {.phase = MIGRATION_PREPARE, READY}, TARGET_PREPARED, MOVE_HOLD},
	{"or not", {.phase = MIGRATION_PREPARE, .task_ready = true, .joined = true, .failed = true}, TARGET_PROMISE, MOVE_DISCARD},
	{"it takes what comes", {.phase = MIGRATION_COPY, .step = STEP_PREPARED, READY}, TARGET_WAIT, MOVE_HOLD},
	{"all is here", {.phase = MIGRATION_FREEZE, .step = STEP_PREPARED, READY, .received = true}, TARGET_RECEIVED, MOVE_HOLD},
	{"it does not run before the word", {.phase = MIGRATION_FREEZE, .step = STEP_RECEIVED, READY, .received = true}, TARGET_WAIT, MOVE_HOLD},
	{"which lets it run", {.phase = MIGRATION_SWITCH, .step = STEP_RECEIVED, READY, .received = true}, TARGET_WAIT, MOVE_RESTORE},
	{"that is written down", {.phase = MIGRATION_SWITCH, .step = STEP_RECEIVED, .received = true, .running = true, .restored = true}, TARGET_KEEP, MOVE_RESTORE},
	{"before its network opens",
	 {.phase = MIGRATION_SWITCH, .step = STEP_RECEIVED, .received = true, .running = true, .restored = true, .restored_kept = true}, TARGET_OPEN, MOVE_RESTORE},
	{"and then said",
	 {.phase = MIGRATION_SWITCH, .step = STEP_RECEIVED, .received = true, .running = true, .restored = true, .restored_kept = true, .opened = true},
	 TARGET_RESTORED, MOVE_NOTHING},
	{"that is all",
	 {.phase = MIGRATION_MOVED, .step = STEP_RESTORED, .received = true, .running = true, .restored = true, .restored_kept = true, .opened = true},
	 TARGET_WAIT, MOVE_NOTHING},
	{"an agent started anew goes on where it ran", {.phase = MIGRATION_SWITCH, .step = STEP_RECEIVED, .running = true, .restored = true, .restored_kept = true},
	 TARGET_OPEN, MOVE_HOLD},
	{"a word to run what is not whole is refused", {.phase = MIGRATION_SWITCH, .step = STEP_PREPARED}, TARGET_PROMISE, MOVE_DISCARD},
	{"a restore that failed", {.phase = MIGRATION_SWITCH, .step = STEP_RECEIVED, .received = true, .failed = true}, TARGET_PROMISE, MOVE_DISCARD},
	{"nothing is promised while something runs",
	 {.phase = MIGRATION_ABORT, .step = STEP_RECEIVED, .received = true, .running = true}, TARGET_WAIT, MOVE_DISCARD},
	{"then it is", {.phase = MIGRATION_ABORT, .step = STEP_RECEIVED, .received = true}, TARGET_PROMISE, MOVE_DISCARD},
	{"and said once it is on disk", {.phase = MIGRATION_ABORT, .step = STEP_RECEIVED, .promise_kept = true}, TARGET_DISCARDED, MOVE_DISCARD},
	{"a promise outlives the word to run", {.phase = MIGRATION_SWITCH, .step = STEP_DISCARDED, .received = true, .promise_kept = true}, TARGET_WAIT, MOVE_DISCARD},
	{"its task was refused", {.phase = MIGRATION_PREPARE, .task_over = true}, TARGET_PROMISE, MOVE_DISCARD},
};

static void target_table(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(target_rows); i++) {
		enum target_action got = target_decide(&target_rows[i].f);
		enum move_want task = target_wants(&target_rows[i].f);

		if (got != target_rows[i].want || task != target_rows[i].task)
			fail_msg("%s: %s and %d, wanted %s and %d", target_rows[i].name, target_action_name(got), (int)task,
				 target_action_name(target_rows[i].want), (int)target_rows[i].task);
	}
}

/* ---------------------------------------------------------------- both ends under a leader, at random */

/* Each operation of an end ends later, or never, as its agent or its connection is lost. */
struct world {
	struct source_facts s;
	struct target_facts t;
	int phase;                     /* in etcd */
	struct {
		int source, target;    /* last reports in etcd */
		bool source_err, target_err;
	} said;
	bool link;                     /* between the agents */
	bool s_runs, t_runs, t_open;   /* the truth */
	bool s_on_disk_frozen, t_on_disk_restored, t_on_disk_promise;
	enum source_action s_doing;
	enum target_action t_doing;
	bool t_restoring;
	unsigned seed;
	char log[8192];
	size_t len;
};

static unsigned dice(struct world *w, unsigned n)
{
	w->seed = w->seed * 1103515245u + 12345u;
	return (w->seed >> 16) % n;
}

static void note(struct world *w, const char *what, const char *more)
{
	if (w->len + 64 < sizeof(w->log))
		w->len += (size_t)snprintf(w->log + w->len, sizeof(w->log) - w->len, " %s%s", what, more);
}

static void check(struct world *w)
{
	/* The target's processes may run behind a shut network for a moment; what others see is one copy. */
	if (w->s_runs && w->t_open && w->t_runs)
		fail_msg("two copies run:%s", w->log);
	if (w->s_runs && w->t_runs && w->phase != MIGRATION_ABORT)
		fail_msg("the source runs beside a restored copy:%s", w->log);
}

static void hang_up(struct world *w)
{
	w->s.connected = w->s.asking = w->s.files_busy = false;
	if (w->t.joined) {
		w->t.joined = false;
		if (!w->t.received && w->t.phase < MIGRATION_SWITCH)
			w->t.failed = true;
	}
}

static void source_done(struct world *w)
{
	enum source_action a = w->s_doing;

	w->s_doing = SOURCE_WAIT;
	w->s.busy = w->s.files_busy = false;
	switch (a) {
	case SOURCE_LOOK:
		w->s.looked = true;
		break;
	case SOURCE_FILES:
		*(w->s.files ? &w->s.files_again : &w->s.files) = true;
		break;
	case SOURCE_ROUND:
		w->s.rounds = true;
		break;
	case SOURCE_FREEZE:
		w->s.is_frozen = true;
		w->s_runs = false;
		break;
	case SOURCE_CUT:
		w->s.is_cut = true;
		w->s.step = MAX(w->s.step, (int)STEP_FROZEN);
		break;
	case SOURCE_FILES_STILL:
		w->s.files_still = true;
		break;
	case SOURCE_DUMP:
		w->s.dumped = true;
		break;
	case SOURCE_IMAGES:
		w->s.images = true;
		break;
	default:
		break;
	}
}

static void source_step(struct world *w)
{
	enum source_action a;

	if (w->s_doing != SOURCE_WAIT) {
		if (dice(w, 3) == 0)
			source_done(w);
		return;
	}
	if (!w->s.failed && w->s.phase < MIGRATION_SWITCH && dice(w, 60) == 0) {
		w->s.failed = w->s.ask_due = true;
		note(w, "s:", "fails");
	}
	a = source_decide(&w->s);
	if (a == SOURCE_WAIT)
		return;
	note(w, "s:", source_action_name(a));
	switch (a) {
	case SOURCE_CONNECT:
	case SOURCE_ASK:
		w->s.connected = w->link;
		w->s.asking = a == SOURCE_ASK && w->link;
		w->t.joined = w->t.joined || (w->link && a == SOURCE_CONNECT);
		if (!w->link && a == SOURCE_CONNECT)
			w->s.failed = true;
		break;
	case SOURCE_PREPARED:
		w->s.step = STEP_PREPARED;
		break;
	case SOURCE_CONVERGED:
		w->s.step = STEP_CONVERGED;
		break;
	case SOURCE_SAY:
		w->s.said = true;
		break;
	case SOURCE_SENT:
		w->s.step = STEP_SENT;
		break;
	case SOURCE_HANG_UP:
		hang_up(w);
		break;
	case SOURCE_OPEN:
		w->s.cut = w->s.is_cut = false;
		break;
	case SOURCE_THAW:
		w->s.frozen = w->s.is_frozen = w->s_on_disk_frozen = false;
		w->s_runs = true;
		break;
	case SOURCE_RESUMED:
		w->s.step = STEP_RESUMED;
		break;
	case SOURCE_FREEZE:
		w->s.frozen = w->s.cut = w->s_on_disk_frozen = true;
		__attribute__((fallthrough));
	default:
		w->s_doing = a;
		w->s.busy = a != SOURCE_FILES && a != SOURCE_FILES_STILL && a != SOURCE_IMAGES;
		w->s.files_busy = !w->s.busy;
		break;
	}
}

static void target_done(struct world *w)
{
	enum target_action a = w->t_doing;

	w->t_doing = TARGET_WAIT;
	w->t.busy = false;
	if (a == TARGET_COMPARE)
		w->t.fits = true;
	else if (a == TARGET_KEEP)
		w->t.restored_kept = w->t_on_disk_restored = true;
	else if (a == TARGET_PROMISE)
		w->t.promise_kept = w->t_on_disk_promise = true;
	else if (a == TARGET_OPEN) {
		w->t.opened = true;
		w->t_open = w->t_runs; /* it may have been killed meanwhile */
	}
}

/* Its task does what the end wants of it. */
static void target_task(struct world *w)
{
	enum move_want want = target_wants(&w->t);

	if (w->t_restoring) {
		if (dice(w, 3))
			return;
		w->t_restoring = false;
		if (dice(w, 6) == 0) {
			w->t.running = false;
			w->t.failed = true;
		} else {
			w->t_runs = w->t.restored = true;
		}
		return;
	}
	if (want == MOVE_HOLD && !w->t.task_ready && !w->t.task_over && !w->t.restored)
		w->t.task_ready = dice(w, 3) == 0;
	if (want == MOVE_RESTORE && w->t.task_ready && !w->t.restored) {
		w->t_restoring = w->t.running = true;
		w->t.task_ready = false;
	}
	if (want == MOVE_DISCARD && !w->t.task_over) {
		w->t_runs = w->t.running = w->t_open = w->t.task_ready = false;
		w->t.task_over = true;
	}
}

static void target_step(struct world *w)
{
	enum target_action a;

	target_task(w);
	if (w->t_doing != TARGET_WAIT) {
		if (dice(w, 3) == 0)
			target_done(w);
		return;
	}
	/* What comes over the connection. */
	if (w->link && w->s.connected && w->s.asking) {
		if (w->t.promise_kept && w->t.step == STEP_DISCARDED)
			w->s.promised = true;
		else if (target_may_promise(&w->t))
			w->t.failed = true;
		w->s.connected = w->s.asking = !w->s.promised && target_may_promise(&w->t);
	}
	if (w->s.connected && w->t.joined && w->s.said)
		w->t.received = true;
	a = target_decide(&w->t);
	if (a == TARGET_WAIT)
		return;
	note(w, "t:", target_action_name(a));
	switch (a) {
	case TARGET_PREPARED:
		w->t.step = STEP_PREPARED;
		w->s.ready = w->s.connected;
		break;
	case TARGET_RECEIVED:
		w->t.step = STEP_RECEIVED;
		w->s.received = w->s.connected && !w->s.asking;
		break;
	case TARGET_RESTORED:
		w->t.step = STEP_RESTORED;
		break;
	case TARGET_DISCARDED:
		w->t.step = STEP_DISCARDED;
		w->s.promised = w->s.promised || (w->s.connected && w->link);
		break;
	default:
		w->t_doing = a;
		w->t.busy = true;
		break;
	}
}

/* Reports reach etcd late; orders reach the ends late. */
static void leader(struct world *w)
{
	if (dice(w, 2)) {
		w->said.source = MAX(w->said.source, w->s.step);
		w->said.source_err = w->said.source_err || w->s.failed;
	}
	if (dice(w, 2)) {
		w->said.target = MAX(w->said.target, w->t.step);
		w->said.target_err = w->said.target_err || w->t.failed;
	}
	if (w->phase < MIGRATION_ABORT && (w->said.source_err || w->said.target_err || w->said.target == STEP_DISCARDED) &&
	    w->said.target != STEP_RESTORED)
		w->phase = MIGRATION_ABORT;
	if (w->phase < MIGRATION_SWITCH && dice(w, 150) == 0)
		w->phase = MIGRATION_ABORT; /* somebody changed the service */
	switch (w->phase) {
	case MIGRATION_PREPARE:
		if (w->said.source >= STEP_PREPARED && w->said.target >= STEP_PREPARED)
			w->phase = MIGRATION_COPY;
		break;
	case MIGRATION_COPY:
		if (w->said.source >= STEP_CONVERGED)
			w->phase = MIGRATION_FREEZE;
		break;
	case MIGRATION_FREEZE:
		if (w->said.source >= STEP_SENT && w->said.target >= STEP_RECEIVED)
			w->phase = MIGRATION_SWITCH;
		break;
	case MIGRATION_SWITCH:
		if (w->said.target == STEP_RESTORED)
			w->phase = MIGRATION_MOVED;
		break;
	case MIGRATION_ABORT:
		if (w->said.target == STEP_DISCARDED)
			w->phase = MIGRATION_RESUME;
		break;
	default:
		break;
	}
	if (dice(w, 2))
		w->s.phase = w->phase;
	if (dice(w, 2))
		w->t.phase = w->phase;
	if (w->s.phase == MIGRATION_MOVED)
		w->s.gone = true;
}

/* The agent is killed and started anew: what it knows is what it had written down. */
static void source_restarts(struct world *w)
{
	struct source_facts old = w->s;

	note(w, "s:", "restarts");
	hang_up(w);
	if (w->s_doing == SOURCE_FREEZE && dice(w, 2))
		w->s_runs = false;
	w->s_doing = SOURCE_WAIT;
	w->s = (struct source_facts){.phase = old.phase, .step = old.step, .gone = old.gone, .frozen = w->s_on_disk_frozen,
				     .cut = w->s_on_disk_frozen, .ask_due = true};
	w->s.failed = old.failed || (old.step < STEP_SENT && old.phase < MIGRATION_SWITCH && (old.step > STEP_NONE || w->s.frozen));
}

static void target_restarts(struct world *w)
{
	struct target_facts old = w->t;

	note(w, "t:", "restarts");
	if (w->s.connected && !w->s.asking && old.step < STEP_RECEIVED && w->s.step < STEP_SENT)
		w->s.failed = w->s.ask_due = true;
	w->s.connected = w->s.asking = false;
	if (w->t_restoring && dice(w, 2))
		w->t_runs = true; /* it came up, nobody has heard of it */
	w->t_restoring = false;
	w->t_doing = TARGET_WAIT;
	w->t = (struct target_facts){.phase = old.phase, .step = old.step, .promise_kept = w->t_on_disk_promise,
				     .restored = w->t_on_disk_restored, .restored_kept = w->t_on_disk_restored, .running = w->t_runs,
				     .task_over = old.task_over};
	w->t.failed = old.failed || (!w->t.restored && (old.step > STEP_NONE || w->t_runs));
}

static void trouble(struct world *w)
{
	switch (dice(w, 90)) {
	case 0:
		source_restarts(w);
		break;
	case 1:
		target_restarts(w);
		break;
	case 2:
		w->link = false;
		if (w->s.connected && !w->s.asking && w->s.step < STEP_SENT)
			w->s.failed = w->s.ask_due = true;
		hang_up(w);
		note(w, "link", "-");
		break;
	case 3:
	case 4:
		w->link = true;
		break;
	case 5:
	case 6:
		w->s.ask_due = true;
		break;
	default:
		break;
	}
}

static void one_copy_whatever_happens(void **state)
{
	unsigned moved = 0, back = 0, switched = 0;

	for (unsigned seed = 1; seed <= 20000; seed++) {
		struct world w = {.seed = seed * 2654435761u, .phase = MIGRATION_PREPARE, .link = true, .s_runs = true};
		bool calm_run = seed % 4 == 0;

		w.s.phase = w.t.phase = MIGRATION_PREPARE;
		for (unsigned i = 0; i < 1500; i++) {
			if (i < 400 && !calm_run)
				trouble(&w);
			else if (i >= 400)
				w.link = w.s.ask_due = true;
			if (i < 1200 || !w.s.promised)
				leader(&w);
			source_step(&w);
			target_step(&w);
			check(&w);
		}
		switched += w.phase >= MIGRATION_SWITCH;
		moved += w.t_open;
		back += w.s_runs;
		if (w.s_runs == w.t_open)
			fail_msg("seed %u: %s, phase %d:%s", seed, w.s_runs ? "two copies" : "no copy", w.phase, w.log);
	}
	/* Not a world in which nothing ever works, or nothing ever fails. */
	assert_true(moved > 2000 && back > 2000 && switched > 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(source_table),
		cmocka_unit_test(target_table),
		cmocka_unit_test(one_copy_whatever_happens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
