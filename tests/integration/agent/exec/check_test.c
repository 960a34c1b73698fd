/* Health checks inside real containers: what they see, how they end, and that nothing of them stays. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/exec/health.h"
#include "agent/exec/internal.h"
#include "support/exec_fixture.h"

#include <inttypes.h>
#include <signal.h>

struct result {
	unsigned calls;
	int exit_code;
	bool timed_out, gone;
	char *output;
};

static void on_checked(void *data, const struct check_end *end)
{
	struct result *r = data;

	r->calls++;
	r->exit_code = end->exit_code;
	r->timed_out = end->timed_out;
	r->gone = end->gone;
	free(r->output);
	r->output = xstrdup(end->output);
}

static void set_check(struct box *x, const char *kind, const char *command)
{
	pb_health_check *h = pb_new(&skein__health_check__descriptor);

	pb_strs_add(&h->n_test, &h->test, kind);
	pb_strs_add(&h->n_test, &h->test, command);
	pb_free(x->task->spec->container->health);
	x->task->spec->container->health = h;
}

static void check_once(struct box *x, int64_t timeout_ns, struct result *r)
{
	unsigned calls = r->calls;

	container_check(x->c, timeout_ns, on_checked, r);
	assert_int_equal(r->calls, calls); /* never from inside */
	bed_wait(x->bed, r->calls == calls + 1);
}

static void box_with_check(struct box *x, struct bed *b, const char *script, const char *check)
{
	box_init(x, b, script);
	set_check(x, "CMD-SHELL", check);
}

/* Processes of the container, those in groups below its own as well, whose command line holds a word. */
static unsigned processes(const struct box *x, const char *word)
{
	_cleanup_free_ char *command =
		xasprintf("for p in $(find /sys/fs/cgroup/pids/%1$s/%2$s /sys/fs/cgroup/%1$s/%2$s -name cgroup.procs -exec cat {} + "
			  "2>/dev/null); do tr '\\0' ' ' </proc/$p/cmdline; echo; done | grep -c -- '%3$s'",
			  x->bed->parent, x->task->id, word);
	FILE *f = popen(command, "r");
	unsigned n = 0;

	assert_non_null(f);
	if (fscanf(f, "%u", &n) != 1)
		n = 0;
	pclose(f);
	return n;
}

static int setup(void **state)
{
	struct bed *b = xnew(struct bed);

	bed_open(b);
	if (error_is_set(&b->err))
		fail_msg("%s", b->err.msg);
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	bed_close(*state);
	free(*state);
	return 0;
}

static void it_sees_what_the_container_sees(void **state)
{
	struct box x;
	struct result r = {0};

	box_with_check(&x, *state, "echo here >/tmp/mark; sleep 1000",
		       "cat /tmp/mark && echo \"$GREETING as $(id -u) in $(pwd)\" && echo aside >&2");
	pb_set_str(&x.task->spec->container->user, "web");
	pb_set_str(&x.task->spec->container->dir, "/tmp");
	pb_strs_add(&x.task->spec->container->n_env, &x.task->spec->container->env, "GREETING=hello");
	box_up(&x);
	do
		check_once(&x, 30 * NS_PER_SEC, &r);
	while (r.exit_code != 0); /* its first line is written in a moment */
	assert_string_equal(r.output, "here\nhello as 33 in /tmp\naside");
	assert_false(r.gone);
	free(r.output);
	box_remove(&x);
	box_fini(&x);
}

static void a_program_without_a_shell(void **state)
{
	struct box x;
	struct result r = {0};

	box_init(&x, *state, "sleep 1000");
	set_check(&x, "CMD", "/bin/hostname");
	box_up(&x);
	check_once(&x, 30 * NS_PER_SEC, &r);
	assert_int_equal(r.exit_code, 0);
	assert_int_equal(strlen(r.output), 12);
	free(r.output);
	box_remove(&x);
	box_fini(&x);
}

static void failures_carry_their_words(void **state)
{
	struct box x;
	struct result r = {0};

	box_with_check(&x, *state, "sleep 1000", "echo no connection; exit 3");
	box_up(&x);
	for (int i = 0; i < 3; i++) {
		check_once(&x, 30 * NS_PER_SEC, &r);
		assert_int_equal(r.exit_code, 3);
		assert_false(r.timed_out);
		assert_string_equal(r.output, "no connection");
	}
	free(r.output);
	box_remove(&x);
	box_fini(&x);
}

static void a_missing_program_is_named(void **state)
{
	struct box x;
	struct result r = {0};

	box_init(&x, *state, "sleep 1000");
	set_check(&x, "CMD", "/bin/absent");
	box_up(&x);
	check_once(&x, 30 * NS_PER_SEC, &r);
	assert_int_not_equal(r.exit_code, 0);
	assert_non_null(strstr(r.output, "/bin/absent"));
	assert_null(strchr(r.output, '{'));
	free(r.output);
	box_remove(&x);
	box_fini(&x);
}

static void output_is_bounded(void **state)
{
	struct box x;
	struct result r = {0};

	box_with_check(&x, *state, "sleep 1000", "yes out | head -n 100000; yes err | head -n 100000 >&2; exit 1");
	box_up(&x);
	check_once(&x, 30 * NS_PER_SEC, &r);
	assert_int_equal(r.exit_code, 1);
	assert_true(strlen(r.output) <= HEALTH_OUTPUT_MAX);
	assert_true(strlen(r.output) > HEALTH_OUTPUT_MAX / 2);
	free(r.output);
	box_remove(&x);
	box_fini(&x);
}

static void what_takes_too_long_is_killed_with_its_children(void **state)
{
	struct box x;
	struct result r = {0};

	box_with_check(&x, *state, "sleep 1000", "echo begun; sleep 5555 & sleep 5555");
	box_up(&x);
	check_once(&x, 3 * NS_PER_SEC, &r);
	assert_true(r.timed_out);
	assert_int_equal(r.exit_code, -1);
	assert_string_equal(r.output, "begun");
	bed_poll(x.bed, processes(&x, "5555") == 0);
	assert_int_equal(processes(&x, "sleep 1000"), 1); /* the container itself goes on */
	assert_false(x.exited);
	/* and the next one is not held up */
	check_once(&x, 3 * NS_PER_SEC, &r);
	assert_true(r.timed_out);
	free(r.output);
	box_remove(&x);
	box_fini(&x);
}

/* Whatever session it moves to, and whoever has become its parent. */
static void what_left_the_session_is_killed_as_well(void **state)
{
	struct box x;
	struct result r = {0};

	box_with_check(&x, *state, "sleep 1000", "setsid sleep 5557 & (setsid sh -c 'sleep 5557; true' &); sleep 5557");
	box_up(&x);
	check_once(&x, 3 * NS_PER_SEC, &r);
	assert_true(r.timed_out);
	assert_int_equal(processes(&x, "5557"), 0);
	assert_int_equal(processes(&x, "sleep 1000"), 1);
	assert_false(x.exited);
	free(r.output);
	box_remove(&x);
	box_fini(&x);
}

static void what_a_check_leaves_behind_ends_with_it(void **state)
{
	struct box x;
	struct result r = {0};

	box_with_check(&x, *state, "sleep 1000", "setsid sleep 5558 >/dev/null 2>&1 & echo fine");
	box_up(&x);
	for (int i = 0; i < 3; i++) {
		check_once(&x, 30 * NS_PER_SEC, &r);
		assert_int_equal(r.exit_code, 0);
		assert_string_equal(r.output, "fine");
		assert_int_equal(processes(&x, "5558"), 0);
	}
	free(r.output);
	box_remove(&x);
	box_fini(&x);
}

/* The agent was killed during a check, the check has ended since, and its pid is another process's now. */
static void an_old_pid_is_nobodys(void **state)
{
	struct box x;
	struct result r = {0};
	_cleanup_free_ char *path = NULL;
	FILE *f;

	box_with_check(&x, *state, "sleep 1000 & sleep 1000", "echo fine");
	box_up(&x);
	path = xasprintf("%s/check.pid", x.c->paths.run_dir);
	f = fopen(path, "w");
	assert_non_null(f);
	fprintf(f, "%" PRId64, container_pid(x.c));
	fclose(f);
	bed_poll(x.bed, processes(&x, "sleep 1000") >= 2);
	check_once(&x, 30 * NS_PER_SEC, &r);
	assert_int_equal(r.exit_code, 0);
	assert_false(r.gone);
	assert_false(x.exited);
	free(r.output);
	box_remove(&x);
	box_fini(&x);
}

static void cancelling_kills_it(void **state)
{
	struct box x;
	struct result r = {0};
	struct container_check *k;

	box_with_check(&x, *state, "sleep 1000", "setsid sleep 6666 & sleep 6666");
	box_up(&x);
	k = container_check(x.c, 30 * NS_PER_SEC, on_checked, &r);
	bed_poll(x.bed, processes(&x, "6666") > 0);
	container_check_cancel(k);
	bed_poll(x.bed, processes(&x, "6666") == 0);
	k = container_check(x.c, 30 * NS_PER_SEC, on_checked, &r);
	container_check_cancel(k); /* before it has begun */
	assert_int_equal(r.calls, 0);
	box_remove(&x);
	box_fini(&x);
}

static void it_works_after_a_restart_of_the_agent(void **state)
{
	struct box x;
	struct result r = {0};

	box_with_check(&x, *state, "sleep 1000", "echo again");
	box_up(&x);
	bed_stop_engine(x.bed);
	bed_start_engine(x.bed);
	box_adopt(&x);
	assert_int_equal(x.found, CONTAINER_RUNNING);
	check_once(&x, 30 * NS_PER_SEC, &r);
	assert_int_equal(r.exit_code, 0);
	assert_string_equal(r.output, "again");
	free(r.output);
	box_remove(&x);
	box_fini(&x);
}

/* The runtime says why; the container's end is told by the container. */
static void a_container_that_is_gone_fails_its_check(void **state)
{
	struct box x;
	struct result r = {0};

	box_with_check(&x, *state, "sleep 1000", "true");
	box_up(&x);
	kill((pid_t)container_pid(x.c), SIGKILL);
	container_check(x.c, 30 * NS_PER_SEC, on_checked, &r);
	bed_wait(x.bed, r.calls == 1 && x.exited);
	assert_int_not_equal(r.exit_code, 0);
	assert_true(r.gone); /* no verdict on its health */
	free(r.output);
	box_remove(&x);
	box_fini(&x);
}

static void many_at_once_take_turns(void **state)
{
	enum { N = 40 };
	static struct result r[N];
	struct box x[4];
	unsigned done = 0;

	memset(r, 0, sizeof(r));
	for (int i = 0; i < 4; i++) {
		box_with_check(&x[i], *state, "sleep 1000", "echo $$");
		box_up(&x[i]);
	}
	/* one at a time for each container, as its owner does it */
	for (int round = 0; round < N / 4; round++) {
		for (int i = 0; i < 4; i++)
			container_check(x[i].c, 30 * NS_PER_SEC, on_checked, &r[4 * round + i]);
		for (int i = 0; i < 4; i++)
			bed_wait(x[i].bed, r[4 * round + i].calls == 1);
	}
	for (int i = 0; i < N; i++) {
		done += r[i].exit_code == 0;
		free(r[i].output);
	}
	assert_int_equal(done, N);
	for (int i = 0; i < 4; i++) {
		box_remove(&x[i]);
		box_fini(&x[i]);
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(it_sees_what_the_container_sees),
		T(a_program_without_a_shell),
		T(failures_carry_their_words),
		T(a_missing_program_is_named),
		T(output_is_bounded),
		T(what_takes_too_long_is_killed_with_its_children),
		T(what_left_the_session_is_killed_as_well),
		T(what_a_check_leaves_behind_ends_with_it),
		T(an_old_pid_is_nobodys),
		T(cancelling_kills_it),
		T(it_works_after_a_restart_of_the_agent),
		T(a_container_that_is_gone_fails_its_check),
		T(many_at_once_take_turns),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
