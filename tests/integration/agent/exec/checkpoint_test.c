/*
 * Containers that are frozen, copied out and restored. CRIU of Debian 12 works on Debian's kernel (tests/vm/run tests
 * integration.agent.exec.checkpoint_test); where it does not, the refusals are tested.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/exec/cgroup.h"
#include "support/move_fixture.h"

#include <poll.h>
#include <signal.h>

static struct bed bed;
static struct space here, there;

/*
 * Several processes, pipes between them, a timer in each round, a file in a tmpfs, one in the writable layer, a trap. The numbers
 * in the log follow each other if nothing is lost and nothing comes twice.
 */
static const char counter[] =
	"echo in-tmpfs >/dev/shm/f; echo in-upper >/tmp/f; exec 9>>/tmp/open; "
	"trap 'cat /dev/shm/f /tmp/f; echo last >&9; cat /tmp/open; exit 7' TERM; "
	"i=0; while :; do i=$((i+1)); echo $i; sleep 0.05; done | while read n; do echo count $n; echo $n >&9; done & "
	"while :; do wait; done";

static int setup(void **state)
{
	bed_open(&bed);
	assert_string_equal(bed.err.msg, "");
	space_open(&here, &bed, "here");
	space_open(&there, &bed, "there");
	return 0;
}

static int teardown(void **state)
{
	space_close(&here);
	space_close(&there);
	bed_close(&bed);
	return 0;
}

static bool can(void)
{
	const char *why;

	return exec_can_checkpoint(bed.e, &why);
}

#define SKIP_UNLESS_CAN()                                                                                                  \
	do {                                                                                                               \
		const char *why_;                                                                                          \
		if (!exec_can_checkpoint(bed.e, &why_)) {                                                                  \
			print_message("needs a node that can checkpoint: %s\n", why_);                                     \
			skip();                                                                                            \
		}                                                                                                          \
	} while (0)

/* ---------------------------------------------------------------- helpers */

/* The highest number in the log; fails when one is missing or comes twice. */
static unsigned counted(struct box *x, unsigned from)
{
	_cleanup_free_ char *text = box_log(x);
	unsigned n, last = from;

	for (const char *p = text; p && *p; p = strchr(p, '\n'), p += !!p) {
		if (sscanf(p, "count %u", &n) != 1)
			continue;
		if (last)
			assert_int_equal(n, last + 1);
		last = n;
	}
	return last;
}

static bool is_frozen(struct box *x)
{
	_cleanup_free_ char *path = xasprintf("/sys/fs/cgroup/%s/%s/cgroup.events", bed.parent, x->task->id), *text = NULL;

	assert_int_equal(file_read(path, 256, &text, NULL, NULL), 0);
	return strstr(text, "frozen 1") != NULL;
}

static void assert_ok(const struct error *err)
{
	assert_string_equal(err->msg, "");
}

/* Ended by its own trap: what it had in memory and files is whole. */
static void assert_ends_well(struct box *x)
{
	_cleanup_free_ char *text = NULL;

	container_stop(x->c, 60 * NS_PER_SEC);
	bed_wait(&bed, x->exited);
	assert_int_equal(x->exit.exit_code, 7);
	text = box_log(x);
	/* The counter still writes between them. */
	assert_non_null(strstr(text, "in-tmpfs\n"));
	assert_non_null(strstr(text, "in-upper\n"));
	assert_non_null(strstr(text, "1\n2\n3\n"));
	assert_non_null(strstr(text, "\nlast\n"));
}

static void restart_agent(void)
{
	bed_stop_engine(&bed);
	bed_start_engine(&bed);
}

/* ---------------------------------------------------------------- what the node says */

static void features(void **state)
{
	_cleanup_pb_ pb_node_description *desc = pb_new(&skein__node_description__descriptor);
	const char *why, *said;

	exec_features(bed.e, desc);
	said = pb_kv_get(desc->features, desc->n_features, "checkpoint");
	if (exec_can_checkpoint(bed.e, &why)) {
		assert_string_equal(said, "runc");
		assert_null(why);
		assert_null(pb_kv_get(desc->features, desc->n_features, "checkpoint.error"));
		assert_string_equal(pb_kv_get(desc->features, desc->n_features, "mem-track"), "true");
		assert_string_not_equal(pb_kv_get(desc->features, desc->n_features, "criu"), "");
		return;
	}
	assert_string_equal(said, "");
	assert_string_equal(pb_kv_get(desc->features, desc->n_features, "checkpoint.error"), why);
	print_message("%s\n", why);
}

/* On a node that cannot, the task is refused before anything is made; what runs there cannot be copied. */
static void refusals_of_a_node_that_cannot(void **state)
{
	struct answer a;
	const char *why;
	struct box x;

	if (can())
		skip();
	exec_can_checkpoint(bed.e, &why);
	box_movable(&x, &bed, "sleep 1000", &here);
	box_create(&x);
	assert_int_equal(x.err.code, ERR_INVALID);
	assert_non_null(strstr(x.err.msg, "live migration: not possible on this node: "));
	assert_non_null(strstr(x.err.msg, why));

	x.task->spec->live_migrate = false;
	box_up(&x);
	a = box_trial(&x);
	assert_int_equal(a.err.code, ERR_UNAVAILABLE);
	assert_non_null(strstr(a.err.msg, why));
	a = box_round(&x, 1, false);
	assert_int_equal(a.err.code, ERR_UNAVAILABLE);
	box_remove(&x);
	box_fini(&x);
}

static void a_terminal_and_the_hosts_network_are_refused(void **state)
{
	struct box x;

	SKIP_UNLESS_CAN();
	box_movable(&x, &bed, "sleep 1000", &here);
	x.task->spec->container->tty = true;
	box_create(&x);
	assert_int_equal(x.err.code, ERR_INVALID);
	assert_non_null(strstr(x.err.msg, "terminal"));
	x.task->spec->container->tty = false;
	pb_set_str(&x.task->spec->network, "host");
	box_create(&x);
	assert_int_equal(x.err.code, ERR_INVALID);
	assert_non_null(strstr(x.err.msg, "host's network"));
	box_fini(&x);
}

/* ---------------------------------------------------------------- freeze */

static void freeze_and_thaw(void **state)
{
	struct error err;
	unsigned before;
	struct box x;

	box_init(&x, &bed, "i=0; while :; do i=$((i+1)); echo count $i; sleep 0.02; done");
	box_up(&x);
	bed_poll(&bed, counted(&x, 0) >= 3);
	err = box_freeze(&x);
	if (cgroup_mode() != CGROUP_V2) {
		assert_int_equal(err.code, ERR_PRECONDITION);
		assert_non_null(strstr(err.msg, "cgroup v2 only"));
		box_remove(&x);
		box_fini(&x);
		return;
	}
	assert_ok(&err);
	assert_true(container_frozen(x.c));
	assert_true(is_frozen(&x));
	err = box_freeze(&x); /* again: no matter */
	assert_ok(&err);
	before = counted(&x, 0);

	restart_agent();
	box_adopt(&x);
	assert_int_equal(x.found, CONTAINER_RUNNING);
	assert_true(container_frozen(x.c));
	assert_true(is_frozen(&x));
	assert_int_equal(counted(&x, 0), before);

	err = box_thaw(&x);
	assert_ok(&err);
	assert_false(container_frozen(x.c));
	bed_poll(&bed, counted(&x, 0) > before);
	restart_agent();
	box_adopt(&x);
	assert_false(container_frozen(x.c));
	box_remove(&x);
	box_fini(&x);
}

/* The trap must not run: none of its code does. */
static void a_frozen_one_ends_for_good(void **state)
{
	_cleanup_free_ char *text = NULL;
	struct error err;
	struct box x;

	if (cgroup_mode() != CGROUP_V2)
		skip();
	for (unsigned way = 0; way < 3; way++) {
		box_init(&x, &bed, "trap 'echo trapped; exit 1' TERM; echo up; while :; do sleep 0.02; done");
		box_up(&x);
		bed_poll(&bed, strstr((free(text), text = box_log(&x)), "up"));
		err = box_freeze(&x);
		assert_ok(&err);
		if (way == 0)
			container_stop(x.c, 60 * NS_PER_SEC);
		else if (way == 1)
			container_kill(x.c, SIGKILL);
		if (way < 2) {
			bed_wait(&bed, x.exited);
			assert_int_equal(x.exit.exit_code, 128 + SIGKILL);
			free(text);
			text = box_log(&x);
			assert_string_equal(text, "up\n");
		}
		box_remove(&x);
		box_fini(&x);
	}
}

static void freezing_what_does_not_run(void **state)
{
	struct error err;
	struct box x;

	box_init(&x, &bed, "exit 0");
	box_up(&x);
	bed_wait(&bed, x.exited);
	err = box_freeze(&x);
	assert_int_equal(err.code, ERR_PRECONDITION);
	box_remove(&x);
	box_fini(&x);
}

/* ---------------------------------------------------------------- there and back */

static void dump_after_two_rounds(struct box *x)
{
	struct answer one, two, last;
	struct error err;

	bed_poll(&bed, counted(x, 0) >= 5);
	one = box_round(x, 1, false);
	assert_ok(&one.err);
	assert_true(one.stats.pages_written > 0 && one.stats.frozen_ns > 0 && one.stats.took_ns > one.stats.frozen_ns);
	two = box_round(x, 2, false);
	assert_ok(&two.err);
	assert_true(two.stats.pages_unchanged > 0);
	assert_true(two.stats.pages_written < one.stats.pages_written);

	last = box_round(x, 3, true); /* it runs: refused, and runs on */
	assert_int_equal(last.err.code, ERR_PRECONDITION);
	err = box_freeze(x);
	assert_ok(&err);
	last = box_round(x, 3, true);
	assert_ok(&last.err);
	assert_true(last.stats.pages_unchanged > 0);
	assert_true(is_frozen(x));
	assert_true(container_frozen(x->c));
}

static void it_goes_on_under_another_task(void **state)
{
	struct box x, y;
	struct answer a;
	unsigned at;

	SKIP_UNLESS_CAN();
	box_movable(&x, &bed, counter, &here);
	box_movable(&y, &bed, counter, &there);
	box_up(&x);
	box_create(&y);
	assert_ok(&y.err);
	dump_after_two_rounds(&x);
	at = counted(&x, 0);
	box_copy_upper(&x, &y);
	a = box_restore(&y, 3);
	assert_ok(&a.err);
	assert_true(a.restored.restore_ns > 0 && a.restored.took_ns > a.restored.restore_ns);
	assert_true(a.restored.pages_restored > 0);
	bed_poll(&bed, counted(&y, at) > at + 5);
	assert_true(is_frozen(&x)); /* the other one stands still all the time */
	assert_int_equal(counted(&x, 0), at);

	restart_agent(); /* both are found again */
	box_adopt(&x);
	box_adopt(&y);
	assert_int_equal(x.found, CONTAINER_RUNNING);
	assert_int_equal(y.found, CONTAINER_RUNNING);
	assert_true(container_frozen(x.c));
	assert_false(container_frozen(y.c));
	box_remove(&x);
	assert_int_equal(x.exit.exit_code, 128 + SIGKILL);
	assert_ends_well(&y);
	box_remove(&y);
	box_fini(&x);
	box_fini(&y);
}

/* And from there on once more: what was restored can be dumped. */
static void it_moves_twice(void **state)
{
	struct box x, y, z;
	struct error err;
	struct answer a;
	unsigned at;

	SKIP_UNLESS_CAN();
	box_movable(&x, &bed, counter, &here);
	box_movable(&y, &bed, counter, &there);
	box_movable(&z, &bed, counter, &here);
	box_up(&x);
	box_create(&y);
	dump_after_two_rounds(&x);
	at = counted(&x, 0);
	box_copy_upper(&x, &y);
	a = box_restore(&y, 3);
	assert_ok(&a.err);
	box_remove(&x);
	bed_poll(&bed, counted(&y, at) > at + 3);

	box_create(&z);
	err = box_freeze(&y);
	assert_ok(&err);
	a = box_copy(&y, 4, 0, true);
	assert_ok(&a.err);
	at = counted(&y, at);
	box_copy_upper(&y, &z);
	a = box_restore(&z, 4);
	assert_ok(&a.err);
	box_remove(&y);
	bed_poll(&bed, counted(&z, at) > at + 3);
	assert_ends_well(&z);
	box_remove(&z);
	box_fini(&x);
	box_fini(&y);
	box_fini(&z);
}

static void the_source_goes_on_after_a_thaw(void **state)
{
	struct error err;
	unsigned at;
	struct box x;

	SKIP_UNLESS_CAN();
	box_movable(&x, &bed, counter, &here);
	box_up(&x);
	dump_after_two_rounds(&x);
	at = counted(&x, 0);
	err = box_thaw(&x);
	assert_ok(&err);
	bed_poll(&bed, counted(&x, 0) > at + 5);
	assert_ends_well(&x);
	box_remove(&x);
	box_fini(&x);
}

/* ---------------------------------------------------------------- connections */

static void wait_for_listener(uint16_t port, int *ret_fd)
{
	bed_poll(&bed, (*ret_fd = space_connect(&here, port)) >= 0);
}

static void assert_echo(int fd, const char *text)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char got[64] = "";
	size_t have = 0;

	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	while (have < strlen(text)) {
		ssize_t n;

		assert_int_equal(poll(&p, 1, BED_TIMEOUT_MS), 1);
		n = read(fd, got + have, sizeof(got) - 1 - have);
		assert_true(n > 0);
		have += (size_t)n;
	}
	assert_string_equal(got, text);
}

/* The trial takes the queues out and puts them back; a dump and a thaw do, too. */
static void established_connections_go_on(void **state)
{
	_cleanup_close_ int fd = -1;
	struct answer a;
	struct error err;
	struct box x;

	SKIP_UNLESS_CAN();
	box_movable(&x, &bed, "exec /bin/busybox nc -l -p 7000 -e /bin/cat", &here);
	box_up(&x);
	wait_for_listener(7000, &fd);
	assert_echo(fd, "before\n");
	a = box_trial(&x);
	assert_ok(&a.err);
	assert_echo(fd, "after the trial\n");
	err = box_freeze(&x);
	assert_ok(&err);
	a = box_round(&x, 1, true);
	assert_ok(&a.err);
	err = box_thaw(&x);
	assert_ok(&err);
	assert_echo(fd, "after the thaw\n");
	box_remove(&x);
	box_fini(&x);
}

/* A connection that nobody has accepted cannot be dumped. */
static void what_cannot_be_dumped_is_named_and_runs_on(void **state)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *text = NULL;
	struct error err;
	struct answer a;
	struct box x;
	unsigned at;

	SKIP_UNLESS_CAN();
	box_movable(&x, &bed,
		    "/bin/busybox nc -l -p 7001 -e /bin/cat & p=$!; while ! grep -q ':1B59 ' /proc/net/tcp /proc/net/tcp6; do sleep 0.05; done; "
		    "kill -STOP $p; echo up; "
		    "i=0; while :; do i=$((i+1)); echo count $i; sleep 0.05; done",
		    &here);
	box_up(&x);
	bed_poll(&bed, strstr((free(text), text = box_log(&x)), "up"));
	fd = space_connect(&here, 7001);
	assert_true(fd >= 0);
	a = box_trial(&x);
	assert_int_equal(a.err.code, ERR_PRECONDITION);
	assert_non_null(strstr(a.err.msg, "waits to be accepted"));
	assert_non_null(strstr(a.err.msg, "criu: "));
	at = counted(&x, 0);
	bed_poll(&bed, counted(&x, 0) > at);

	err = box_freeze(&x);
	assert_ok(&err);
	a = box_round(&x, 1, true);
	assert_int_equal(a.err.code, ERR_PRECONDITION);
	assert_true(is_frozen(&x)); /* whatever comes */
	at = counted(&x, 0);
	err = box_thaw(&x);
	assert_ok(&err);
	bed_poll(&bed, counted(&x, 0) > at);
	box_remove(&x);
	box_fini(&x);
}

/* ---------------------------------------------------------------- pages through a socket */

static void pages_go_to_a_page_server(void **state)
{
	_cleanup_free_ char *from = NULL, *to = NULL;
	struct checkpoint_options o = {0};
	struct answer sent = {0}, received = {0};
	struct error err = ERROR_INIT;
	struct page_server *p;
	int fds[2];
	struct box x;

	SKIP_UNLESS_CAN();
	o.images = from = xasprintf("%s/from", bed.dir);
	to = xasprintf("%s/to", bed.dir);
	assert_int_equal(file_mkdirs(from, 0700, NULL), 0);
	assert_int_equal(file_mkdirs(to, 0700, NULL), 0);
	box_movable(&x, &bed, counter, &here);
	box_up(&x);
	assert_int_equal(page_socket_pair(fds, &err), 0);
	p = page_server_open(bed.e, to, NULL, fds[1], on_received, &received, &err);
	assert_ok(&err);
	assert_non_null(p);
	o.pages_fd = fds[0];
	container_predump(x.c, &o, on_dumped, &sent);
	bed_wait(&bed, sent.done && received.done);
	assert_ok(&sent.err);
	assert_ok(&received.err);
	assert_true(sent.stats.pages_written > 0);

	/* A connection that breaks: both ends say so, the container runs on. */
	sent = received = (struct answer){0};
	assert_int_equal(page_socket_pair(fds, &err), 0);
	p = page_server_open(bed.e, to, NULL, fds[1], on_received, &received, &err);
	assert_non_null(p);
	close(fds[0]);
	bed_wait(&bed, received.done);
	assert_int_equal(received.err.code, ERR_UNAVAILABLE);
	assert_int_equal(page_socket_pair(fds, &err), 0);
	close(fds[1]);
	o.pages_fd = fds[0];
	container_predump(x.c, &o, on_dumped, &sent);
	bed_wait(&bed, sent.done);
	assert_int_equal(sent.err.code, ERR_PRECONDITION);
	assert_non_null(strstr(sent.err.msg, "connection to the other host"));
	assert_false(is_frozen(&x));
	bed_poll(&bed, counted(&x, 0) >= 5);
	assert_ends_well(&x);
	box_remove(&x);
	box_fini(&x);
}

/* ---------------------------------------------------------------- an agent that ends meanwhile */

static void a_dump_under_way_is_waited_for(void **state)
{
	_cleanup_free_ char *images = NULL;
	struct checkpoint_options o = {.pages_fd = -1};
	struct answer lost = {0}, a;
	struct error err;
	struct box x;

	SKIP_UNLESS_CAN();
	o.images = images = xasprintf("%s/images/1", bed.dir);
	box_movable(&x, &bed, counter, &here);
	box_up(&x);
	bed_poll(&bed, counted(&x, 0) >= 5);
	err = box_freeze(&x);
	assert_ok(&err);
	assert_int_equal(file_mkdirs(images, 0700, NULL), 0);
	container_dump(x.c, &o, on_dumped, &lost);
	for (int turn = 0; turn < 3; turn++) /* as far as the child */
		uv_run(&bed.loop, UV_RUN_ONCE);
	restart_agent();
	assert_false(lost.done);
	box_adopt(&x);
	assert_int_equal(x.found, CONTAINER_RUNNING);
	assert_true(container_frozen(x.c));
	assert_true(is_frozen(&x));
	file_remove_tree(images, NULL);
	a = box_round(&x, 1, true); /* nobody is in the way any more */
	assert_ok(&a.err);
	err = box_thaw(&x);
	assert_ok(&err);
	assert_ends_well(&x);
	box_remove(&x);
	box_fini(&x);
}

static void a_restore_that_cannot_be_says_why(void **state)
{
	struct answer a;
	struct box x, y;

	SKIP_UNLESS_CAN();
	box_movable(&x, &bed, counter, &here);
	box_movable(&y, &bed, counter, &there);
	box_up(&x);
	box_create(&y);
	dump_after_two_rounds(&x);
	a = box_restore(&y, 3); /* the writable layer has not come along: an open file is missing */
	assert_int_equal(a.err.code, ERR_PRECONDITION);
	assert_non_null(strstr(a.err.msg, "criu: "));
	box_remove(&y);
	assert_int_equal(y.exits, 0);
	box_remove(&x);
	box_fini(&x);
	box_fini(&y);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(features, setup, teardown),
		cmocka_unit_test_setup_teardown(refusals_of_a_node_that_cannot, setup, teardown),
		cmocka_unit_test_setup_teardown(a_terminal_and_the_hosts_network_are_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(freeze_and_thaw, setup, teardown),
		cmocka_unit_test_setup_teardown(a_frozen_one_ends_for_good, setup, teardown),
		cmocka_unit_test_setup_teardown(freezing_what_does_not_run, setup, teardown),
		cmocka_unit_test_setup_teardown(it_goes_on_under_another_task, setup, teardown),
		cmocka_unit_test_setup_teardown(it_moves_twice, setup, teardown),
		cmocka_unit_test_setup_teardown(the_source_goes_on_after_a_thaw, setup, teardown),
		cmocka_unit_test_setup_teardown(established_connections_go_on, setup, teardown),
		cmocka_unit_test_setup_teardown(what_cannot_be_dumped_is_named_and_runs_on, setup, teardown),
		cmocka_unit_test_setup_teardown(pages_go_to_a_page_server, setup, teardown),
		cmocka_unit_test_setup_teardown(a_dump_under_way_is_waited_for, setup, teardown),
		cmocka_unit_test_setup_teardown(a_restore_that_cannot_be_says_why, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
