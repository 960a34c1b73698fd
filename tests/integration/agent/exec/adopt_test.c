/* An agent that stops and another that takes its containers over. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/exec_fixture.h"

#include <signal.h>

static struct bed bed;

static int setup(void **state)
{
	bed_open(&bed);
	assert_string_equal(bed.err.msg, "");
	return 0;
}

static int teardown(void **state)
{
	bed_close(&bed);
	return 0;
}

static void restart_agent(void)
{
	bed_stop_engine(&bed);
	bed_start_engine(&bed);
}

static bool is_listed(const char *id)
{
	char **ids = exec_list(bed.e);
	bool found = false;

	for (char **p = ids; *p; p++) {
		found = found || str_eq(*p, id);
		free(*p);
	}
	free(ids);
	return found;
}

static void running_goes_on(void **state)
{
	int64_t pid;
	struct box x;

	box_init(&x, &bed, "exec sleep 1000");
	box_up(&x);
	pid = container_pid(x.c);
	restart_agent();
	assert_true(is_listed(x.task->id));
	box_adopt(&x);
	assert_int_equal(x.found, CONTAINER_RUNNING);
	assert_int_equal(container_pid(x.c), pid);
	assert_int_equal(kill((pid_t)pid, 0), 0);

	container_kill(x.c, SIGINT); /* no handler: the first process of a namespace ignores it */
	container_stop(x.c, 0);
	bed_wait(&bed, x.exited);
	assert_int_equal(x.exit.exit_code, 128 + SIGKILL);
	assert_int_equal(x.exits, 1);
	box_remove(&x);
	assert_false(is_listed(x.task->id));
	box_fini(&x);
}

static bool is_gone(int64_t pid)
{
	return kill((pid_t)pid, 0) < 0;
}

static void ended_while_nobody_looked(void **state)
{
	_cleanup_free_ char *go = NULL;
	struct log_query all = {.tail = -1};
	struct reading r;
	int64_t pid, stopped_at;
	struct box x;

	box_init(&x, &bed,
		 "trap 'echo bye; exit 5' USR2; echo ready; while :; do sleep 0.05; done");
	pb_set_str(&x.task->spec->container->stop_signal, "USR2");
	box_up(&x);
	pid = container_pid(x.c);
	go = xasprintf("%s/tasks/%s/exit", bed.state, x.task->id);
	bed_stop_engine(&bed);
	stopped_at = clock_wall_ns();
	while (access(go, F_OK) < 0 || !is_gone(pid)) { /* until the handler stands and has run */
		kill((pid_t)pid, SIGUSR2);
		usleep(2000);
	}

	bed_start_engine(&bed);
	box_adopt(&x);
	assert_int_equal(x.found, CONTAINER_EXITED);
	assert_int_equal(x.exit.exit_code, 5);
	assert_true(x.exit.finished_at >= stopped_at - NS_PER_SEC &&
		    x.exit.finished_at <= clock_wall_ns());
	box_logs(&x, &all, &r);
	assert_non_null(strstr(r.text.p, "bye\n"));
	strbuf_fini(&r.text);
	box_remove(&x);
	assert_int_equal(x.exits, 0);
	box_fini(&x);
}

static void prepared_only(void **state)
{
	struct box x;

	box_init(&x, &bed, "true");
	box_create(&x);
	restart_agent();
	box_adopt(&x);
	assert_int_equal(x.found, CONTAINER_CREATED);
	box_remove(&x);
	assert_false(is_listed(x.task->id));
	box_fini(&x);
}

static void unknown_is_gone(void **state)
{
	struct box x;

	box_init(&x, &bed, "true");
	box_adopt(&x);
	assert_int_equal(x.found, CONTAINER_GONE);
	box_remove(&x);
	box_fini(&x);
}

/* The agent dies at any point of a start: whatever the next one finds, it can be removed or runs.
 */
static void agent_dies_during_start(void **state)
{
	for (int turns = 0; turns < 24; turns++) {
		struct box x;

		box_init(&x, &bed, "exec sleep 1000");
		box_create(&x);
		x.started = false;
		container_start(x.c, box_on_started);
		for (int i = 0; i < turns && !x.started; i++)
			uv_run(&bed.loop, UV_RUN_ONCE);
		restart_agent();
		box_adopt(&x);
		if (x.found == CONTAINER_RUNNING)
			assert_true(container_pid(x.c) > 1);
		else
			assert_int_equal(x.found, CONTAINER_CREATED);
		box_remove(&x);
		assert_false(is_listed(x.task->id));
		box_fini(&x);
	}
}

static void edit_state(struct box *x, const char *from, const char *to)
{
	_cleanup_free_ char *path = xasprintf("%s/tasks/%s/container.json", bed.state, x->task->id);
	_cleanup_free_ char *text = NULL;
	char *at;

	assert_int_equal(file_read(path, 8192, &text, NULL, NULL), 0);
	at = strstr(text, from);
	assert_non_null(at);
	assert_int_equal(strlen(from), strlen(to));
	memcpy(at, to, strlen(to));
	assert_int_equal(file_write(path, text, strlen(text), 0600, NULL), 0);
}

/* Another boot: no number of a process means anything any more. */
static void after_a_reboot_it_is_gone(void **state)
{
	_cleanup_free_ char *boot = NULL;
	struct box x;

	box_init(&x, &bed, "exec sleep 1000");
	box_up(&x);
	bed_stop_engine(&bed);
	assert_int_equal(file_read("/proc/sys/kernel/random/boot_id", 64, &boot, NULL, NULL), 0);
	boot[8] = '\0';
	edit_state(&x, boot, "notsoany");
	bed_start_engine(&bed);
	box_adopt(&x);
	assert_int_equal(x.found, CONTAINER_GONE);
	box_remove(&x);
	box_fini(&x);
}

static void damaged_state_is_gone(void **state)
{
	struct box x;

	box_init(&x, &bed, "exit 0");
	box_up(&x);
	bed_wait(&bed, x.exited);
	bed_stop_engine(&bed);
	edit_state(&x, "\"pid\":", "\"pid\"x");
	bed_start_engine(&bed);
	box_adopt(&x);
	assert_int_equal(x.found, CONTAINER_GONE);
	box_remove(&x);
	box_fini(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(running_goes_on),
		cmocka_unit_test(ended_while_nobody_looked),
		cmocka_unit_test(prepared_only),
		cmocka_unit_test(unknown_is_gone),
		cmocka_unit_test(agent_dies_during_start),
		cmocka_unit_test(after_a_reboot_it_is_gone),
		cmocka_unit_test(damaged_state_is_gone),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
