/* The task state machine as a table: facts in, one action out. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/task.h"
#include "common/clock.h"

#include <stdio.h>

struct row {
	const char *name;
	struct task_facts facts;
	enum task_action action;
};

#define RUN .desired = TASK_RUNNING, .assigned = true

static const struct row rows[] = {
	{"a new task is accepted", {.state = TASK_ASSIGNED, RUN}, ACT_ACCEPT},
	{"nothing happens before it is saved", {.state = TASK_ACCEPTED, RUN}, ACT_NONE},
	{"while it is being saved", {.state = TASK_ACCEPTED, RUN, .op = OP_SAVE}, ACT_NONE},
	{"nor before a runtime was found", {.state = TASK_ACCEPTED, RUN, .saved = true, .probing = true}, ACT_NONE},
	{"nothing is created before that", {.state = TASK_PREPARING, RUN, .saved = true, .has_image = true, .probing = true}, ACT_NONE},
	{"nor started", {.state = TASK_READY, RUN, .saved = true, .has_container = true, .probing = true}, ACT_NONE},
	{"stopping needs no runtime",
	 {.state = TASK_RUNNING, .desired = TASK_SHUTDOWN, .assigned = true, .has_container = true, .running = true, .probing = true},
	 ACT_STOP},
	{"then its image is fetched", {.state = TASK_ACCEPTED, RUN, .saved = true}, ACT_PREPARE},
	{"the image is on its way", {.state = TASK_PREPARING, RUN, .saved = true, .op = OP_IMAGE}, ACT_NONE},
	{"with the image comes the container", {.state = TASK_PREPARING, RUN, .saved = true, .has_image = true}, ACT_CREATE},
	{"but first its network", {.state = TASK_PREPARING, RUN, .saved = true, .has_image = true, .wants_network = true}, ACT_ATTACH},
	{"which takes its time",
	 {.state = TASK_PREPARING, RUN, .saved = true, .has_image = true, .wants_network = true, .op = OP_NETWORK}, ACT_NONE},
	{"nothing is attached before it is known what this kernel can do",
	 {.state = TASK_PREPARING, RUN, .saved = true, .has_image = true, .wants_network = true, .probing = true}, ACT_NONE},
	{"with the network comes the container",
	 {.state = TASK_PREPARING, RUN, .saved = true, .has_image = true, .wants_network = true, .has_network = true, .attached = true},
	 ACT_CREATE},
	{"a task that was adopted half-made is attached anew",
	 {.state = TASK_PREPARING, RUN, .saved = true, .has_image = true, .wants_network = true, .attached = true}, ACT_ATTACH},
	{"a created container makes it ready",
	 {.state = TASK_PREPARING, RUN, .saved = true, .has_image = true, .has_container = true}, ACT_READY},
	{"a ready task waits when only READY is wanted",
	 {.state = TASK_READY, .desired = TASK_READY, .assigned = true, .saved = true, .has_container = true}, ACT_NONE},
	{"and starts when RUNNING is", {.state = TASK_READY, RUN, .saved = true, .has_container = true}, ACT_START},
	{"what comes from another node waits for the word to run it",
	 {.state = TASK_READY, RUN, .saved = true, .has_container = true, .move = MOVE_HOLD}, ACT_NONE},
	{"then it is restored, not started",
	 {.state = TASK_READY, RUN, .saved = true, .has_container = true, .move = MOVE_RESTORE}, ACT_RESTORE},
	{"once", {.state = TASK_STARTING, RUN, .saved = true, .has_container = true, .move = MOVE_RESTORE, .op = OP_RESTORE}, ACT_NONE},
	{"it is not RUNNING before its network is open",
	 {.state = TASK_STARTING, RUN, .saved = true, .has_container = true, .running = true, .move = MOVE_RESTORE}, ACT_NONE},
	{"given up before it ran: it ends",
	 {.state = TASK_READY, RUN, .saved = true, .has_container = true, .attached = true, .move = MOVE_DISCARD}, ACT_SHUTDOWN},
	{"half restored: none of it may run, and nobody is drained",
	 {.state = TASK_STARTING, RUN, .saved = true, .has_container = true, .running = true, .wants_network = true, .move = MOVE_DISCARD}, ACT_STOP},
	{"while it is being restored that has to end first",
	 {.state = TASK_STARTING, RUN, .saved = true, .has_container = true, .move = MOVE_DISCARD, .op = OP_RESTORE}, ACT_NONE},
	{"its addresses go", {.state = TASK_SHUTDOWN, RUN, .has_container = true, .attached = true, .move = MOVE_DISCARD}, ACT_DETACH},
	{"and its files, though the manager still knows it", {.state = TASK_SHUTDOWN, RUN, .has_container = true, .move = MOVE_DISCARD}, ACT_REMOVE},
	{"the task itself stays", {.state = TASK_SHUTDOWN, RUN, .move = MOVE_DISCARD}, ACT_NONE},
	{"what stands still is not stopped",
	 {.state = TASK_RUNNING, .desired = TASK_SHUTDOWN, .assigned = true, .has_container = true, .running = true, .move = MOVE_STAND}, ACT_NONE},
	{"nor is it unhealthy", {.state = TASK_RUNNING, RUN, .has_container = true, .running = true, .unhealthy = true, .move = MOVE_STAND}, ACT_NONE},
	{"unless nobody knows it any more: then it ends as it stands",
	 {.state = TASK_RUNNING, .desired = TASK_RUNNING, .has_container = true, .running = true, .wants_network = true, .attached = true,
	  .move = MOVE_STAND}, ACT_STOP},
	{"moved: it ends as it stands, whatever is wanted",
	 {.state = TASK_RUNNING, RUN, .has_container = true, .running = true, .wants_network = true, .attached = true, .move = MOVE_KILL}, ACT_STOP},
	{"a task whose process runs is not RUNNING before it serves",
	 {.state = TASK_STARTING, RUN, .saved = true, .has_container = true, .running = true}, ACT_NONE},
	{"nor before its start is over",
	 {.state = TASK_STARTING, RUN, .saved = true, .has_container = true, .ready = true, .op = OP_START}, ACT_NONE},
	{"then it is",
	 {.state = TASK_STARTING, RUN, .saved = true, .has_container = true, .running = true, .ready = true}, ACT_RUNNING},
	{"what has never served need not leave balancing",
	 {.state = TASK_STARTING, .desired = TASK_SHUTDOWN, .assigned = true, .has_container = true, .running = true,
	  .wants_network = true, .attached = true}, ACT_STOP},
	{"an unhealthy task leaves balancing",
	 {.state = TASK_RUNNING, RUN, .saved = true, .has_container = true, .running = true, .wants_network = true,
	  .attached = true, .unhealthy = true}, ACT_DRAIN},
	{"and is stopped",
	 {.state = TASK_RUNNING, RUN, .saved = true, .has_container = true, .running = true, .wants_network = true,
	  .attached = true, .drained = true, .unhealthy = true}, ACT_STOP},
	{"at once when it has never been healthy",
	 {.state = TASK_STARTING, RUN, .saved = true, .has_container = true, .running = true, .wants_network = true,
	  .attached = true, .unhealthy = true}, ACT_STOP},
	{"a running task is left alone",
	 {.state = TASK_RUNNING, RUN, .saved = true, .has_container = true, .running = true}, ACT_NONE},
	{"shutdown stops a running one",
	 {.state = TASK_RUNNING, .desired = TASK_SHUTDOWN, .assigned = true, .has_container = true, .running = true}, ACT_STOP},
	{"once", {.state = TASK_RUNNING, .desired = TASK_SHUTDOWN, .assigned = true, .has_container = true, .running = true,
		  .stopping = true}, ACT_NONE},
	{"a task with a network leaves balancing first",
	 {.state = TASK_RUNNING, .desired = TASK_SHUTDOWN, .assigned = true, .has_container = true, .running = true,
	  .wants_network = true, .attached = true}, ACT_DRAIN},
	{"which takes its time",
	 {.state = TASK_RUNNING, .desired = TASK_SHUTDOWN, .assigned = true, .has_container = true, .running = true,
	  .wants_network = true, .attached = true, .draining = true}, ACT_NONE},
	{"then it is stopped",
	 {.state = TASK_RUNNING, .desired = TASK_SHUTDOWN, .assigned = true, .has_container = true, .running = true,
	  .wants_network = true, .attached = true, .drained = true}, ACT_STOP},
	{"and that once",
	 {.state = TASK_RUNNING, .desired = TASK_SHUTDOWN, .assigned = true, .has_container = true, .running = true,
	  .wants_network = true, .attached = true, .drained = true, .stopping = true}, ACT_NONE},
	{"a container whose namespace was removed is stopped at once",
	 {.state = TASK_RUNNING, RUN, .saved = true, .has_container = true, .running = true, .wants_network = true,
	  .network_lost = true}, ACT_STOP},
	{"and that once",
	 {.state = TASK_RUNNING, RUN, .saved = true, .has_container = true, .running = true, .wants_network = true,
	  .network_lost = true, .stopping = true}, ACT_NONE},
	{"unassigning stops it too", {.state = TASK_RUNNING, .desired = TASK_RUNNING, .has_container = true, .running = true},
	 ACT_STOP},
	{"shutdown while the image is fetched cancels that",
	 {.state = TASK_PREPARING, .desired = TASK_SHUTDOWN, .assigned = true, .saved = true, .op = OP_IMAGE}, ACT_CANCEL},
	{"and while a network is waited for gives that up",
	 {.state = TASK_PREPARING, .desired = TASK_SHUTDOWN, .assigned = true, .saved = true, .wants_network = true, .op = OP_NETWORK},
	 ACT_CANCEL},
	{"and is told when that is done",
	 {.state = TASK_PREPARING, .desired = TASK_SHUTDOWN, .assigned = true, .saved = true, .wants_network = true, .op = OP_DETACH},
	 ACT_NONE},
	{"shutdown waits for a start under way",
	 {.state = TASK_STARTING, .desired = TASK_SHUTDOWN, .assigned = true, .has_container = true, .op = OP_START}, ACT_NONE},
	{"a task that never ran is shut down at once",
	 {.state = TASK_READY, .desired = TASK_SHUTDOWN, .assigned = true, .has_container = true}, ACT_SHUTDOWN},
	{"an assigned one as well", {.state = TASK_ASSIGNED, .desired = TASK_REMOVE, .assigned = true}, ACT_SHUTDOWN},
	{"an ended task is kept for its logs",
	 {.state = TASK_COMPLETE, .desired = TASK_SHUTDOWN, .assigned = true, .has_container = true}, ACT_NONE},
	{"its addresses are for others",
	 {.state = TASK_COMPLETE, RUN, .has_container = true, .wants_network = true, .attached = true}, ACT_DETACH},
	{"but not while it is still being drained",
	 {.state = TASK_COMPLETE, RUN, .has_container = true, .wants_network = true, .attached = true, .draining = true}, ACT_NONE},
	{"nor while its process runs",
	 {.state = TASK_FAILED, RUN, .has_container = true, .wants_network = true, .attached = true, .running = true}, ACT_NONE},
	{"nothing is forgotten while it is being drained", {.state = TASK_FAILED, .desired = TASK_SHUTDOWN, .draining = true}, ACT_NONE},
	{"until the manager drops it", {.state = TASK_FAILED, .desired = TASK_SHUTDOWN, .has_container = true}, ACT_REMOVE},
	{"removal takes its time", {.state = TASK_FAILED, .desired = TASK_SHUTDOWN, .has_container = true, .op = OP_REMOVE},
	 ACT_NONE},
	{"then it is forgotten", {.state = TASK_FAILED, .desired = TASK_SHUTDOWN}, ACT_FORGET},
	{"a rejected one without container is forgotten", {.state = TASK_REJECTED, .desired = TASK_RUNNING}, ACT_FORGET},
	{"an adopted task waits for its container", {.state = TASK_RUNNING, RUN, .saved = true, .op = OP_ADOPT}, ACT_NONE},
};

static void every_row(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		enum task_action got = task_decide(&rows[i].facts);

		if (got != rows[i].action)
			print_error("%s: action %d, want %d\n", rows[i].name, got, rows[i].action);
		assert_int_equal(got, rows[i].action);
	}
}

static void exit_codes(void **state)
{
	(void)state;
	assert_int_equal(task_state_of_exit(0, false), TASK_COMPLETE);
	assert_int_equal(task_state_of_exit(3, false), TASK_FAILED);
	assert_int_equal(task_state_of_exit(143, true), TASK_SHUTDOWN);
	assert_int_equal(task_state_of_exit(0, true), TASK_SHUTDOWN);
}

static void drains_are_bounded(void **state)
{
	(void)state;
	assert_int_equal(task_drain_ns(10 * NS_PER_SEC, false), 5 * NS_PER_SEC);
	assert_int_equal(task_drain_ns(2 * NS_PER_SEC, false), 2 * NS_PER_SEC);
	assert_int_equal(task_drain_ns(0, false), 0);
	assert_int_equal(task_drain_ns(-1, false), 0);
	assert_int_equal(task_drain_ns(10 * NS_PER_SEC, true), NS_PER_SEC);
	assert_int_equal(task_drain_ns(NS_PER_SEC / 2, true), NS_PER_SEC / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row),
		cmocka_unit_test(drains_are_bounded),
		cmocka_unit_test(exit_codes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
