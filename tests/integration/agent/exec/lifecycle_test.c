/* Containers on the real runtime: start, exit codes, signals, limits, errors, cleaning up. */
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
	return 0;
}

static int teardown(void **state)
{
	bed_close(&bed);
	return 0;
}

/* ---------------------------------------------------------------- what must not be left behind */

static unsigned count_lines_with(const char *path, const char *needle)
{
	_cleanup_free_ char *text = NULL;
	unsigned n = 0;

	assert_int_equal(file_read(path, 16 << 20, &text, NULL, NULL), 0);
	for (const char *p = text; (p = strstr(p, needle)); p += strlen(needle))
		n++;
	return n;
}

static unsigned count_entries(const char *format, const char *a)
{
	_cleanup_free_ char *path = xasprintf(format, a);
	DIR *dir = opendir(path);
	struct dirent *entry;
	unsigned n = 0;

	while (dir && (entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return n;
}

static unsigned count_cgroups(void)
{
	DIR *root = opendir("/sys/fs/cgroup");
	struct dirent *entry;
	unsigned n = 0;

	while (root && (entry = readdir(root))) {
		_cleanup_free_ char *path =
			xasprintf("/sys/fs/cgroup/%s/%s", entry->d_name, bed.parent);
		DIR *dir = entry->d_name[0] == '.' ? NULL : opendir(path);
		struct dirent *child;

		while (dir && (child = readdir(dir)))
			n += child->d_type == DT_DIR && child->d_name[0] != '.';
		if (dir)
			closedir(dir);
	}
	if (root)
		closedir(root);
	return n;
}

/* Processes whose command line names our directory: conmon, runtime. */
static unsigned count_processes(void)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	unsigned n = 0;

	while (proc && (entry = readdir(proc))) {
		_cleanup_free_ char *path = xasprintf("/proc/%s/cmdline", entry->d_name),
				    *text = NULL;
		size_t len;

		if (entry->d_name[0] >= '0' && entry->d_name[0] <= '9' &&
		    file_read(path, 1 << 20, &text, &len, NULL) == 0 &&
		    memmem(text, len, bed.dir, strlen(bed.dir)))
			n++;
	}
	closedir(proc);
	return n;
}

static void assert_nothing_left(void)
{
	assert_int_equal(count_lines_with("/proc/self/mountinfo", bed.dir), 0);
	assert_int_equal(count_entries("%s/state/tasks", bed.dir), 0);
	assert_int_equal(count_entries("%s/run/exec", bed.dir), 0);
	assert_int_equal(count_entries("%s/run/exec/.runtime", bed.dir), 0);
	assert_int_equal(count_cgroups(), 0);
	bed_poll(&bed, count_processes() == 0);
}

/* ---------------------------------------------------------------- tests */

static void probe_says_what_works(void **state)
{
	_cleanup_pb_ pb_node_description *desc = pb_new(&skein__node_description__descriptor);

	assert_string_equal(bed.err.msg, "");
	exec_features(bed.e, desc);
	assert_non_null(pb_kv_get(desc->features, desc->n_features, "runtime"));
	assert_string_not_equal(pb_kv_get(desc->features, desc->n_features, "runtime"), "none");
	assert_string_not_equal(pb_kv_get(desc->features, desc->n_features, "runtime.version"), "");
	assert_string_equal(pb_kv_get(desc->features, desc->n_features, "overlayfs"), "true");
	for (size_t i = 0; i < desc->n_features; i++)
		print_message("%s=%s\n", desc->features[i]->key, desc->features[i]->value);
	assert_nothing_left();
}

static void output_and_exit_code(void **state)
{
	struct log_query all = {.tail = -1};
	struct reading r;
	struct box x;

	box_init(&x, &bed, "echo out; echo err >&2; exit 7");
	box_up(&x);
	bed_wait(&bed, x.exited);
	assert_int_equal(x.exit.exit_code, 7);
	assert_false(x.exit.oom_killed);
	assert_true(x.exit.finished_at > 0 && x.exit.finished_at <= clock_wall_ns());
	box_logs(&x, &all, &r);
	assert_non_null(strstr(r.text.p, "out\n"));
	assert_non_null(strstr(r.text.p, "E:err\n"));
	strbuf_fini(&r.text);
	box_remove(&x);
	assert_int_equal(x.exits, 1);
	assert_nothing_left();
	box_fini(&x);
}

static void killed_from_outside(void **state)
{
	struct box x;

	box_init(&x, &bed, "exec sleep 1000");
	box_up(&x);
	assert_true(container_pid(x.c) > 1);
	kill((pid_t)container_pid(x.c), SIGKILL);
	bed_wait(&bed, x.exited);
	assert_int_equal(x.exit.exit_code, 128 + SIGKILL);
	assert_false(x.exit.oom_killed);
	assert_int_equal(container_pid(x.c), 0);
	box_remove(&x);
	box_fini(&x);
}

static bool log_has(struct box *x, const char *needle)
{
	_cleanup_free_ char *path = xasprintf("%s/tasks/%s/logs/log", bed.state, x->task->id),
			    *text = NULL;

	return file_read(path, 16 << 20, &text, NULL, NULL) == 0 && strstr(text, needle);
}

static void stop_signal_is_sent(void **state)
{
	struct box x;

	box_init(&x, &bed, "trap 'exit 3' USR1; echo ready; while :; do sleep 0.05; done");
	pb_set_str(&x.task->spec->container->stop_signal, "SIGUSR1");
	box_up(&x);
	bed_poll(&bed, log_has(&x, "ready"));
	container_stop(x.c, 30 * NS_PER_SEC);
	bed_wait(&bed, x.exited);
	assert_int_equal(x.exit.exit_code, 3);
	box_remove(&x);
	box_fini(&x);
}

static void grace_then_kill(void **state)
{
	int64_t begin;
	struct box x;

	box_init(&x, &bed, "trap '' TERM; echo ready; while :; do sleep 0.05; done");
	box_up(&x);
	bed_poll(&bed, log_has(&x, "ready"));
	begin = clock_mono_ns();
	container_stop(x.c, 600 * NS_PER_SEC);
	container_stop(x.c, 200 * NS_PER_MS); /* the shorter one wins */
	container_stop(x.c, 900 * NS_PER_SEC);
	bed_wait(&bed, x.exited);
	assert_int_equal(x.exit.exit_code, 128 + SIGKILL);
	assert_true(clock_mono_ns() - begin >= 200 * NS_PER_MS);
	box_remove(&x);
	box_fini(&x);
}

static void limit(struct box *x, int64_t cpu_nano, int64_t mem_bytes, int64_t pids)
{
	Skein__ResourceRequirements *req = pb_new(&skein__resource_requirements__descriptor);

	req->limits = pb_new(&skein__resources__descriptor);
	req->limits->cpu_nano = cpu_nano;
	req->limits->mem_bytes = mem_bytes;
	req->limits->pids = pids;
	x->task->spec->resources = req;
}

static void memory_limit_kills(void **state)
{
	struct box x;

	box_init(&x, &bed, "exec dd if=/dev/zero of=/dev/null bs=64M count=1");
	limit(&x, 0, 16 << 20, 0);
	box_up(&x);
	bed_wait(&bed, x.exited);
	assert_int_equal(x.exit.exit_code, 128 + SIGKILL);
	assert_true(x.exit.oom_killed);
	box_remove(&x);
	assert_nothing_left();
	box_fini(&x);
}

static void pids_and_cpu_limits_are_set(void **state)
{
	struct box x;

	box_init(&x, &bed,
		 "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null;"
		 "cat /sys/fs/cgroup/cpu/cpu.cfs_quota_us 2>/dev/null || head -n1 "
		 "/sys/fs/cgroup/cpu.max;"
		 "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done 2>/dev/null; echo survived");
	limit(&x, 500000000, 0, 5);
	box_up(&x);
	bed_wait(&bed, x.exited);
	assert_true(log_has(&x, " F 5\n"));
	assert_true(log_has(&x, " F 50000"));
	assert_false(log_has(&x, "survived"));
	assert_int_not_equal(x.exit.exit_code, 0);
	box_remove(&x);
	box_fini(&x);
}

static void create_fails(struct box *x, const char *message)
{
	box_create(x);
	assert_int_equal(x->err.code, ERR_INVALID);
	assert_non_null(strstr(x->err.msg, message));
	assert_null(x->c);
	assert_nothing_left();
	box_fini(x);
}

static pb_mount *add_mount(struct box *x, int type, const char *source, const char *target)
{
	pb_mount *m = pb_new(&skein__mount__descriptor);

	m->type = (Skein__MountType)type;
	pb_set_str(&m->source, source);
	pb_set_str(&m->target, target);
	pb_msgs_add(&x->task->spec->container->n_mounts, &x->task->spec->container->mounts, m);
	return m;
}

static void add_sysctl(struct box *x, const char *key, const char *value)
{
	pb_kv_set(&x->task->spec->container->n_sysctls, &x->task->spec->container->sysctls, key,
		  value);
}

static void bad_specs_are_refused(void **state)
{
	struct box x;

	box_init(&x, &bed, "true");
	pb_set_str(&x.task->spec->container->user, "nobody-here");
	create_fails(&x, "unable to find user \"nobody-here\"");

	box_init(&x, &bed, "true");
	add_mount(&x, MOUNT_BIND, "/no/such/path", "/mnt");
	create_fails(&x, "bind source path does not exist: /no/such/path");

	box_init(&x, &bed, "true");
	pb_set_str(&x.task->spec->network, "host");
	add_sysctl(&x, "net.core.somaxconn", "10");
	create_fails(&x, "net.core.somaxconn");

	box_init(&x, &bed, "true");
	add_sysctl(&x, "kernel.panic", "1");
	create_fails(&x, "kernel.panic");
}

static void bad_program_is_the_runtimes_word(void **state)
{
	struct box x;

	box_init(&x, &bed, "true");
	pb_set_str(&x.task->spec->container->command[0], "/bin/nothing");
	box_create(&x);
	assert_string_equal(x.err.msg, "");
	box_start(&x);
	assert_non_null(strstr(x.err.msg, "/bin/nothing"));
	assert_null(strstr(x.err.msg, "level="));
	assert_null(strchr(x.err.msg, '\n'));
	assert_int_equal(x.exits, 0);
	box_remove(&x);
	assert_nothing_left();
	box_fini(&x);
}

static void removed_while_running(void **state)
{
	struct box x;

	box_init(&x, &bed, "exec sleep 1000");
	box_up(&x);
	box_remove(&x);
	assert_int_equal(x.exits, 1);
	assert_int_equal(x.exit.exit_code, 128 + SIGKILL);
	assert_nothing_left();
	box_fini(&x);
}

static void removed_without_start(void **state)
{
	struct box x;

	box_init(&x, &bed, "true");
	box_create(&x);
	assert_string_equal(x.err.msg, "");
	box_remove(&x);
	assert_int_equal(x.exits, 0);
	assert_nothing_left();
	box_fini(&x);
}

static void removed_while_starting(void **state)
{
	struct box x;

	box_init(&x, &bed, "exec sleep 1000");
	box_create(&x);
	container_start(x.c, box_on_started);
	container_remove(x.c, box_on_removed);
	bed_wait(&bed, x.removed);
	assert_true(x.started);
	assert_nothing_left();
	box_fini(&x);
}

/* The monitor is killed: the container's end is still seen, its code is not known. */
static void killed_monitor(void **state)
{
	_cleanup_free_ char *path = NULL, *text = NULL;
	int64_t pid;
	struct box x;

	box_init(&x, &bed, "exec sleep 1000");
	box_up(&x);
	path = xasprintf("%s/exec/%s/conmon.pid", bed.run, x.task->id);
	assert_int_equal(file_read(path, 32, &text, NULL, NULL), 0);
	assert_int_equal(str_parse_i64(text, &pid, NULL), 0);
	kill((pid_t)pid, SIGKILL);
	container_kill(x.c, SIGKILL);
	bed_wait(&bed, x.exited);
	assert_int_equal(x.exit.exit_code, 255);
	box_remove(&x);
	assert_nothing_left();
	box_fini(&x);
}

static void secrets_are_not_shown(void **state)
{
	struct box x;
	DIR *proc;
	struct dirent *entry;
	struct stat st;
	_cleanup_free_ char *config = NULL;

	box_init(&x, &bed, "exec sleep 1000");
	pb_strs_add(&x.task->spec->container->n_env, &x.task->spec->container->env,
		    "TOKEN=very-secret-value");
	box_up(&x);
	proc = opendir("/proc");
	while ((entry = readdir(proc))) {
		_cleanup_free_ char *path = xasprintf("/proc/%s/cmdline", entry->d_name),
				    *text = NULL;
		size_t len;

		if (entry->d_name[0] >= '1' && entry->d_name[0] <= '9' &&
		    file_read(path, 1 << 20, &text, &len, NULL) == 0)
			assert_null(memmem(text, len, "very-secret-value", 17));
	}
	closedir(proc);
	config = xasprintf("%s/tasks/%s/config.json", bed.state, x.task->id);
	assert_int_equal(stat(config, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	*strrchr(config, '/') = '\0';
	assert_int_equal(stat(config, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0700);
	box_remove(&x);
	box_fini(&x);
}

static unsigned count_fds(void)
{
	return count_entries("%s", "/proc/self/fd");
}

static void hundred_lifecycles_leak_nothing(void **state)
{
	unsigned fds = 0;

	for (int i = 0; i < 100; i++) {
		struct box x;

		box_init(&x, &bed, "exit 0");
		box_up(&x);
		bed_wait(&bed, x.exited);
		box_remove(&x);
		box_fini(&x);
		if (i == 0)
			fds = count_fds();
	}
	assert_int_equal(count_fds(), fds);
	assert_nothing_left();
}

#define MANY 30

static void thirty_at_once(void **state)
{
	static struct box x[MANY];
	int64_t begin = clock_mono_ns();

	for (int i = 0; i < MANY; i++) {
		box_init(&x[i], &bed, "exec sleep 1000");
		x[i].c = container_create(bed.e, x[i].task, &bed.entry.image, NULL, box_on_exit,
					  box_on_created, &x[i]);
	}
	for (int i = 0; i < MANY; i++) {
		bed_wait(&bed, x[i].created);
		assert_string_equal(x[i].err.msg, "");
		container_start(x[i].c, box_on_started);
	}
	for (int i = 0; i < MANY; i++) {
		bed_wait(&bed, x[i].started);
		assert_string_equal(x[i].err.msg, "");
	}
	print_message("%d containers running after %lld ms\n", MANY,
		      (long long)((clock_mono_ns() - begin) / NS_PER_MS));
	for (int i = 0; i < MANY; i++)
		container_remove(x[i].c, box_on_removed);
	for (int i = 0; i < MANY; i++) {
		bed_wait(&bed, x[i].removed);
		assert_string_equal(x[i].err.msg, "");
		assert_int_equal(x[i].exits, 1);
		box_fini(&x[i]);
	}
	assert_nothing_left();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(probe_says_what_works),
		cmocka_unit_test(output_and_exit_code),
		cmocka_unit_test(killed_from_outside),
		cmocka_unit_test(stop_signal_is_sent),
		cmocka_unit_test(grace_then_kill),
		cmocka_unit_test(memory_limit_kills),
		cmocka_unit_test(pids_and_cpu_limits_are_set),
		cmocka_unit_test(bad_specs_are_refused),
		cmocka_unit_test(bad_program_is_the_runtimes_word),
		cmocka_unit_test(removed_while_running),
		cmocka_unit_test(removed_without_start),
		cmocka_unit_test(removed_while_starting),
		cmocka_unit_test(killed_monitor),
		cmocka_unit_test(secrets_are_not_shown),
		cmocka_unit_test(hundred_lifecycles_leak_nothing),
		cmocka_unit_test(thirty_at_once),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
