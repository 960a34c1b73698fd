#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "common/mem.h"
#include "common/proc.h"
#include "common/str.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/wait.h>
#include <unistd.h>

struct seen {
	int exits, lines, err_lines;
	int exit_code, signal;
	bool timed_out;
	struct strbuf out, errout;
	size_t longest;
};

static uv_loop_t loop;
static int fds_before;

static int count_fds(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static int count_low_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < FD_SETSIZE; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

/* libuv keeps a few descriptors from the first loop on: they are no leak of a test. */
static int warm_up(void **state)
{
	return uv_loop_init(&loop) < 0 || uv_loop_close(&loop) < 0 ? -1 : 0;
}

static int setup(void **state)
{
	struct seen *seen = xnew(struct seen);

	*state = seen;
	fds_before = count_fds();
	return uv_loop_init(&loop);
}

static int teardown(void **state)
{
	struct seen *seen = *state;

	strbuf_fini(&seen->out);
	strbuf_fini(&seen->errout);
	free(seen);
	if (uv_loop_close(&loop) < 0)
		return -1;
	return count_fds() == fds_before ? 0 : -1; /* nothing leaked, in any test */
}

static void on_exit_seen(void *data, struct proc *proc, const struct proc_exit *exit)
{
	struct seen *seen = data;

	seen->exits++;
	seen->exit_code = exit->exit_code;
	seen->signal = exit->signal;
	seen->timed_out = exit->timed_out;
	assert_int_equal(strlen(exit->out), exit->out_len);
	strbuf_add(&seen->out, exit->out, exit->out_len);
	strbuf_add(&seen->errout, exit->errout, exit->errout_len);
}

static void on_line(void *data, const char *line, bool is_stderr)
{
	struct seen *seen = data;

	if (is_stderr)
		seen->err_lines++;
	else
		seen->lines++;
	seen->longest = MAX(seen->longest, strlen(line));
	strbuf_printf(is_stderr ? &seen->errout : &seen->out, "<%s>", line);
}

static const char *const *sh(const char *script)
{
	static const char *argv[4] = {"sh", "-c"};

	argv[2] = script;
	return argv;
}

static struct proc *spawn(struct proc_options *o, struct seen *seen)
{
	struct error err = ERROR_INIT;
	struct proc *p;

	o->on_exit = on_exit_seen;
	o->data = seen;
	p = proc_spawn(&loop, o, &err);
	if (!p)
		fail_msg("%s", err.msg);
	return p;
}

static void run(struct proc_options *o, struct seen *seen)
{
	spawn(o, seen);
	assert_int_equal(seen->exits, 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(seen->exits, 1);
}

static void output_and_code_come_back(void **state)
{
	struct seen *s = *state;

	run(&(struct proc_options){.argv = sh("echo hello; echo oops >&2; exit 3"),
				   .max_capture = 100},
	    s);
	assert_int_equal(s->exit_code, 3);
	assert_int_equal(s->signal, 0);
	assert_string_equal(s->out.p, "hello\n");
	assert_string_equal(s->errout.p, "oops\n");
}

static void a_signal_is_no_exit_code(void **state)
{
	struct seen *s = *state;

	run(&(struct proc_options){.argv = sh("kill -TERM $$")}, s);
	assert_int_equal(s->exit_code, -1);
	assert_int_equal(s->signal, SIGTERM);
}

static void stdin_reaches_the_child(void **state)
{
	struct seen *s = *state;
	size_t n = 3 << 20;
	char *big = xmalloc(n);

	memset(big, 'x', n);
	run(&(struct proc_options){.argv = (const char *[]){"wc", "-c", NULL},
				   .stdin_data = big,
				   .stdin_len = n,
				   .max_capture = 100},
	    s);
	assert_string_equal(s->out.p, "3145728\n");
	free(big);
}

static void stdin_is_empty_by_default(void **state)
{
	struct seen *s = *state;

	run(&(struct proc_options){.argv = (const char *[]){"cat", NULL}, .max_capture = 10}, s);
	assert_int_equal(s->exit_code, 0);
	assert_int_equal(s->out.len, 0);
}

static void stdout_keeps_the_beginning_stderr_the_end(void **state)
{
	struct seen *s = *state;

	run(&(struct proc_options){.argv = sh("seq 1 200000; seq 1 200000 >&2"), .max_capture = 7},
	    s);
	assert_string_equal(s->out.p, "1\n2\n3\n4");
	assert_string_equal(s->errout.p, "200000\n");
	assert_int_equal(s->exit_code, 0);
}

static void lines_are_cut_out_of_the_stream(void **state)
{
	struct seen *s = *state;

	run(&(struct proc_options){.argv = sh("printf 'a\\n\\nb'; printf 'e\\n' >&2"),
				   .on_line = on_line},
	    s);
	assert_string_equal(s->out.p, "<a><><b>");
	assert_string_equal(s->errout.p, "<e>");
}

static void long_lines_come_in_parts(void **state)
{
	struct seen *s = *state;

	run(&(struct proc_options){.argv = sh("head -c 10000 /dev/zero | tr '\\0' y"),
				   .on_line = on_line},
	    s);
	assert_int_equal(s->lines, 3);
	assert_int_equal(s->longest, 4096);
}

static void many_lines_all_arrive(void **state)
{
	struct seen *s = *state;

	run(&(struct proc_options){.argv = (const char *[]){"seq", "1", "100000", NULL},
				   .on_line = on_line},
	    s);
	assert_int_equal(s->lines, 100000);
}

static void environment_is_clean(void **state)
{
	struct seen *s = *state;

	setenv("SKEIN_LEAK", "1", 1);
	run(&(struct proc_options){.argv = (const char *[]){"/usr/bin/env", NULL},
				   .max_capture = 10000},
	    s);
	unsetenv("SKEIN_LEAK");
	assert_non_null(strstr(s->out.p, "PATH="));
	assert_non_null(strstr(s->out.p, "LANG=C.UTF-8\n"));
	assert_null(strstr(s->out.p, "SKEIN_LEAK"));
}

static void environment_and_directory_are_passed(void **state)
{
	struct seen *s = *state;

	run(&(struct proc_options){.argv = (const char *[]){"/bin/sh", "-c", "echo $A; pwd", NULL},
				   .env = (const char *[]){"A=b c", NULL},
				   .cwd = "/proc",
				   .max_capture = 100},
	    s);
	assert_string_equal(s->out.p, "b c\n/proc\n");
}

static void only_named_descriptors_are_inherited(void **state)
{
	struct seen *s = *state;
	int leaky = open("/dev/null", O_RDONLY); /* not close-on-exec, as a careless library does */
	int high = fcntl(leaky, F_DUPFD_CLOEXEC, 100);
	const int extra[] = {high, STDIN_FILENO};

	run(&(struct proc_options){.argv = sh("ls -1 /proc/self/fd; readlink /proc/self/fd/3"),
				   .extra_fds = extra,
				   .n_extra_fds = 2,
				   .max_capture = 1000},
	    s);
	/* ls opens the directory as 5. */
	assert_string_equal(s->out.p, "0\n1\n2\n3\n4\n5\n/dev/null\n");
	close(leaky);
	close(high);
}

static void signals_are_at_their_defaults(void **state)
{
	struct seen *s = *state;
	sigset_t set, before;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, &before);
	signal(SIGPIPE, SIG_IGN);
	run(&(struct proc_options){.argv = sh("grep -E 'SigBlk|SigIgn' /proc/self/status"),
				   .max_capture = 1000},
	    s);
	signal(SIGPIPE, SIG_DFL);
	sigprocmask(SIG_SETMASK, &before, NULL);
	assert_string_equal(s->out.p, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
}

static void a_missing_program_is_an_error(void **state)
{
	struct error err = ERROR_INIT;

	assert_null(proc_spawn(
		&loop, &(struct proc_options){.argv = (const char *[]){"no-such-program-x", NULL}},
		&err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_non_null(strstr(err.msg, "no-such-program-x"));

	err = ERROR_INIT;
	assert_null(proc_spawn(
		&loop, &(struct proc_options){.argv = (const char *[]){"/no/such", NULL}}, &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_non_null(strstr(err.msg, "execute /no/such"));

	err = ERROR_INIT;
	assert_null(proc_spawn(
		&loop, &(struct proc_options){.argv = (const char *[]){"/etc/passwd", NULL}},
		&err));
	assert_int_equal(err.code, ERR_DENIED);

	err = ERROR_INIT;
	assert_null(proc_spawn(&loop, &(struct proc_options){.argv = sh("true"), .cwd = "/no/dir"},
			       &err));
	assert_non_null(strstr(err.msg, "/no/dir"));

	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no zombie is left */
}

static void timeout_kills_the_whole_group(void **state)
{
	struct seen *s = *state;
	int pid = 0;

	run(&(struct proc_options){.argv = sh("sleep 1000 & echo $!; wait"),
				   .max_capture = 100,
				   .timeout_ms = 100},
	    s);
	assert_true(s->timed_out);
	assert_int_equal(s->signal, SIGKILL);
	assert_int_equal(sscanf(s->out.p, "%d", &pid), 1);
	/* Reparented and dying: gone or a zombie of init. */
	for (int i = 0; i < 1000 && kill(pid, 0) == 0; i++) {
		char path[64], stat[256] = "";
		int fd;

		snprintf(path, sizeof(path), "/proc/%d/stat", pid);
		fd = open(path, O_RDONLY);
		if (fd < 0)
			return;
		assert_true(read(fd, stat, sizeof(stat) - 1) > 0);
		close(fd);
		if (strstr(stat, ") Z"))
			return;
		usleep(1000);
	}
	assert_int_equal(kill(pid, 0), -1);
}

static void a_grandchild_with_the_pipe_does_not_hold_the_exit(void **state)
{
	struct seen *s = *state;
	uint64_t start = uv_hrtime();
	int pid = 0;

	run(&(struct proc_options){.argv = sh("sleep 1000 & echo $!"), .max_capture = 100}, s);
	assert_int_equal(s->exit_code, 0);
	assert_int_equal(sscanf(s->out.p, "%d", &pid), 1);
	assert_in_range((uv_hrtime() - start) / 1000000, 200, 20000);
	kill(pid, SIGKILL);
}

static void kill_reaches_the_child(void **state)
{
	struct seen *s = *state;
	struct proc *p =
		spawn(&(struct proc_options){.argv = (const char *[]){"sleep", "1000", NULL}}, s);

	assert_int_equal(getpgid(proc_pid(p)), proc_pid(p));
	proc_kill(p, SIGINT);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(s->signal, SIGINT);
}

static void new_session_is_one(void **state)
{
	struct seen *s = *state;
	struct proc *p =
		spawn(&(struct proc_options){.argv = (const char *[]){"sleep", "1000", NULL},
					     .new_session = true},
		      s);

	assert_int_equal(getsid(proc_pid(p)), proc_pid(p));
	proc_kill(p, SIGKILL);
	uv_run(&loop, UV_RUN_DEFAULT);
}

static void child_dies_with_its_parent(void **state)
{
	int fds[2], pid = 0;
	char c;

	/* The pipe's end in the grandchild is what we wait for: end of file means that it died. */
	assert_int_equal(pipe(fds), 0);
	if (fork() == 0) {
		uv_loop_t inner;
		const int extra[] = {fds[1]};

		uv_loop_init(&inner);
		if (!proc_spawn(
			    &inner,
			    &(struct proc_options){.argv = (const char *[]){"sleep", "1000", NULL},
						   .die_signal = SIGKILL,
						   .extra_fds = extra,
						   .n_extra_fds = 1},
			    NULL))
			_exit(1);
		_exit(0);
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], &c, 1), 0);
	close(fds[0]);
	wait(&pid);
	assert_int_equal(pid, 0);
}

static void forgotten_child_is_reaped_later(void **state)
{
	struct seen *s = *state, other = {0};
	struct proc *p =
		spawn(&(struct proc_options){.argv = (const char *[]){"sleep", "1000", NULL},
					     .max_capture = 10},
		      s);
	pid_t pid = proc_pid(p);
	siginfo_t info = {0};

	proc_detach(p);
	uv_run(&loop, UV_RUN_DEFAULT); /* ends: no handle is left */
	assert_int_equal(s->exits, 0);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT), 0);
	run(&(struct proc_options){.argv = sh("true")}, &other);
	assert_int_equal(kill(pid, 0), -1);
	strbuf_fini(&other.out);
	strbuf_fini(&other.errout);
}

static void detach_on_line(void *data, const char *line, bool is_stderr)
{
	struct proc **p = data;

	assert_non_null(*p);
	proc_detach(*p);
	*p = NULL; /* a second line would fail above */
}

static void detach_inside_a_callback_is_the_last_callback(void **state)
{
	struct seen *s = *state;
	siginfo_t info;
	struct proc *p;
	pid_t pid;

	p = proc_spawn(&loop,
		       &(struct proc_options){.argv = sh("echo a; echo b; echo c"),
					      .on_line = detach_on_line,
					      .data = &p},
		       NULL);
	assert_non_null(p);
	pid = proc_pid(p);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_null(p);
	/* It is left over as a zombie, or had ended before it was forgotten and is gone. */
	if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT) < 0)
		assert_int_equal(errno, ECHILD);
	run(&(struct proc_options){.argv = sh("true")}, s);
	assert_int_equal(kill(pid, 0), -1);
}

static void foreign_process_is_watched(void **state)
{
	struct seen *s = *state;
	struct error err = ERROR_INIT;
	pid_t pid = fork();
	uint64_t start;

	if (pid == 0) {
		pause();
		_exit(0);
	}
	start = proc_start_time(pid);
	assert_true(start > 0);
	assert_int_equal(proc_start_time(getpid()) > 0, 1);

	assert_null(proc_watch(&loop, pid, start + 1, on_exit_seen, s, &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_non_null(proc_watch(&loop, pid, start, on_exit_seen, s, &err));
	assert_non_null(proc_watch(&loop, pid, 0, on_exit_seen, s, &err));
	kill(pid, SIGKILL);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(s->exits, 2);
	assert_int_equal(s->exit_code, -1);

	assert_int_equal(waitpid(pid, NULL, 0), pid);
	err = ERROR_INIT;
	assert_null(proc_watch(&loop, pid, 0, on_exit_seen, s, &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
	err = ERROR_INIT;
	assert_null(proc_watch(&loop, 0, 0, on_exit_seen, s, &err));
	assert_int_equal(err.code, ERR_INVALID);
	assert_int_equal(proc_start_time(pid), 0);
}

static void many_children_at_once(void **state)
{
	struct seen *s = *state;

	for (int i = 0; i < 100; i++)
		spawn(&(struct proc_options){.argv = sh("echo x"), .max_capture = 10}, s);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(s->exits, 100);
	assert_int_equal(s->out.len, 200);
}

/* Watches live as long as a container, and the low numbers are for libraries with select(2). */
static void no_low_descriptor_is_held(void **state)
{
	struct rlimit before, files;
	struct seen *s = *state;
	struct error err = ERROR_INIT;
	struct proc *watch, *child;
	int low = count_low_fds();

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	files = before;
	files.rlim_cur = MIN(files.rlim_max, 4 * FD_SETSIZE);
	assert_true(files.rlim_cur > FD_SETSIZE);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &files), 0);

	watch = proc_watch(&loop, getpid(), 0, on_exit_seen, s, &err);
	assert_non_null(watch);
	assert_int_equal(count_low_fds(), low);
	child = spawn(&(struct proc_options){.argv = sh("echo x; exit 3"), .max_capture = 10}, s);
	assert_int_equal(count_low_fds(), low);
	proc_detach(watch);
	assert_true(proc_pid(child) > 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(s->exits, 1);
	assert_int_equal(s->exit_code, 3);
	assert_string_equal(s->out.p, "x\n");
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
}

static void bounds_are_checked(void **state)
{
	struct error err = ERROR_INIT;

	assert_null(proc_spawn(&loop, &(struct proc_options){.argv = sh("true"), .n_extra_fds = 33},
			       &err));
	assert_int_equal(err.code, ERR_INVALID);
	err = ERROR_INIT;
	assert_null(proc_spawn(
		&loop, &(struct proc_options){.argv = sh("true"), .max_capture = SIZE_MAX}, &err));
	assert_int_equal(err.code, ERR_INVALID);
	err = ERROR_INIT;
	assert_null(proc_spawn(&loop, &(struct proc_options){.argv = (const char *[]){"", NULL}},
			       &err));
	assert_int_equal(err.code, ERR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(output_and_code_come_back),
		T(a_signal_is_no_exit_code),
		T(stdin_reaches_the_child),
		T(stdin_is_empty_by_default),
		T(stdout_keeps_the_beginning_stderr_the_end),
		T(lines_are_cut_out_of_the_stream),
		T(long_lines_come_in_parts),
		T(many_lines_all_arrive),
		T(environment_is_clean),
		T(environment_and_directory_are_passed),
		T(only_named_descriptors_are_inherited),
		T(signals_are_at_their_defaults),
		T(a_missing_program_is_an_error),
		T(timeout_kills_the_whole_group),
		T(a_grandchild_with_the_pipe_does_not_hold_the_exit),
		T(kill_reaches_the_child),
		T(new_session_is_one),
		T(child_dies_with_its_parent),
		T(forgotten_child_is_reaped_later),
		T(detach_inside_a_callback_is_the_last_callback),
		T(foreign_process_is_watched),
		T(many_children_at_once),
		T(no_low_descriptor_is_held),
		T(bounds_are_checked),
	};

	return cmocka_run_group_tests(tests, warm_up, NULL);
}
