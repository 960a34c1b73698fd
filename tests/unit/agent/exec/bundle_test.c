#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "bundle_fixture.h"

static void defaults(void **state)
{
	struct fixture f;

	fixture_init(&f);
	assert_non_null(fixture_build(&f));
	assert_string_equal(json_string_value(at(f.config, "process.args.0")), "/entry");
	assert_string_equal(json_string_value(at(f.config, "process.args.1")), "cmd");
	assert_true(json_is_true(at(f.config, "process.noNewPrivileges")));
	assert_true(json_is_false(at(f.config, "process.terminal")));
	assert_string_equal(json_string_value(at(f.config, "process.cwd")), "/");
	assert_int_equal(json_array_size(at(f.config, "process.capabilities.bounding")), 14);
	assert_null(at(f.config, "process.capabilities.ambient"));
	assert_null(at(f.config, "process.capabilities.inheritable"));
	assert_true(json_is_false(at(f.config, "root.readonly")));
	assert_string_equal(json_string_value(at(f.config, "linux.cgroupsPath")), "/skein/abc");
	assert_true(list_has(at(f.config, "linux.maskedPaths"), "/proc/kcore"));
	assert_true(list_has(at(f.config, "linux.readonlyPaths"), "/proc/sys"));
	assert_int_equal(json_array_size(at(f.config, "linux.namespaces")),
			 5); /* v1: no cgroup namespace */
	assert_string_equal(json_string_value(at(f.config, "linux.seccomp.defaultAction")),
			    "SCMP_ACT_ERRNO");
	assert_null(at(f.config, "linux.resources.memory"));
	assert_true(list_has(json_object_get(mount_at(f.config, "/dev/shm"), "options"),
			     "size=67108864"));
	assert_true(list_has(json_object_get(mount_at(f.config, "/sys"), "options"), "ro"));
	assert_string_equal(
		json_string_value(json_object_get(mount_at(f.config, "/etc/hosts"), "source")),
		"/state/etc/hosts");
	fixture_fini(&f);
}

static void environment(void **state)
{
	struct fixture f;
	json_t *env;

	fixture_init(&f);
	pb_strs_add(&f.spec->n_env, &f.spec->env, "B=spec {{.Task.Slot}}");
	pb_strs_add(&f.spec->n_env, &f.spec->env, "A");
	pb_strs_add(&f.spec->n_env, &f.spec->env, "=nameless");
	f.spec->tty = true;
	env = at(fixture_build(&f), "process.env");
	assert_int_equal(json_array_size(env), 5);
	assert_true(
		list_has(env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"));
	assert_true(list_has(env, "HOSTNAME=h"));
	assert_true(list_has(env, "TERM=xterm"));
	assert_true(list_has(env, "HOME=/root"));
	assert_true(list_has(env, "B=spec 2"));
	pb_strs_add(&f.spec->n_env, &f.spec->env, "X={{.Bad}}");
	assert_null(fixture_build(&f));
	assert_non_null(strstr(f.err.msg, ".Bad"));
	fixture_fini(&f);
}

static void command_replaces_entrypoint_and_cmd(void **state)
{
	struct fixture f;

	fixture_init(&f);
	pb_strs_add(&f.spec->n_command, &f.spec->command, "/mine");
	assert_int_equal(json_array_size(at(fixture_build(&f), "process.args")), 1);
	f.spec->init = true;
	assert_string_equal(json_string_value(at(fixture_build(&f), "process.args.0")),
			    "/sbin/docker-init");
	assert_string_equal(json_string_value(at(f.config, "process.args.2")), "/mine");
	assert_non_null(mount_at(f.config, "/sbin/docker-init"));
	f.in.init_path = NULL;
	assert_null(fixture_build(&f));
	f.spec->init = false;
	pb_strs_del(&f.spec->n_command, &f.spec->command, 0);
	f.image.entrypoint = f.image.cmd = NULL;
	assert_null(fixture_build(&f));
	assert_int_equal(f.err.code, ERR_INVALID);
	fixture_fini(&f);
}

static void limits(void **state)
{
	Skein__ResourceRequirements *req = pb_new(&skein__resource_requirements__descriptor);
	struct fixture f;

	fixture_init(&f);
	f.task->spec->resources = req;
	req->limits = pb_new(&skein__resources__descriptor);
	req->limits->cpu_nano = 1500000000;
	req->limits->mem_bytes = 64 << 20;
	req->limits->pids = 33;
	f.in.limit_swap = true;
	fixture_build(&f);
	assert_int_equal(json_integer_value(at(f.config, "linux.resources.cpu.quota")), 150000);
	assert_int_equal(json_integer_value(at(f.config, "linux.resources.cpu.period")), 100000);
	assert_int_equal(json_integer_value(at(f.config, "linux.resources.memory.limit")),
			 64 << 20);
	assert_int_equal(json_integer_value(at(f.config, "linux.resources.memory.swap")),
			 128 << 20);
	assert_int_equal(json_integer_value(at(f.config, "linux.resources.pids.limit")), 33);
	req->limits->mem_bytes = 100;
	assert_null(fixture_build(&f));
	assert_non_null(strstr(f.err.msg, "100"));
	fixture_fini(&f);
}

static void network_and_sysctls(void **state)
{
	static const struct {
		const char *network, *key;
		bool ok;
	} rows[] = {{"none", "net.ipv4.ip_forward", true}, {"host", "net.ipv4.ip_forward", false},
		    {"host", "kernel.shmmax", true},	   {"none", "fs.mqueue.msg_max", true},
		    {"none", "vm.swappiness", false},	   {"none", "kernel.hostname", false},
		    {"bridge", "kernel.sem", true},	   {"", "kernel.sem", true},
		    {"br0", "kernel.sem", false}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct fixture f;

		fixture_init(&f);
		pb_set_str(&f.task->spec->network, rows[i].network);
		pb_kv_set(&f.spec->n_sysctls, &f.spec->sysctls, rows[i].key, "1");
		assert_int_equal(fixture_build(&f) != NULL, rows[i].ok);
		if (!rows[i].ok)
			assert_non_null(strstr(f.err.msg, str_eq(rows[i].network, "br0")
								  ? "br0"
								  : rows[i].key));
		fixture_fini(&f);
	}
}

static json_t *network_namespace(json_t *config)
{
	size_t i;
	json_t *n;

	json_array_foreach(at(config, "linux.namespaces"), i, n) if (str_eq(
		json_string_value(json_object_get(n, "type")), "network")) return n;
	return NULL;
}

static void network_namespace_by_path(void **state)
{
	struct fixture f;
	json_t *n;

	fixture_init(&f);
	f.in.netns = "/run/skein/net/task-1";
	n = network_namespace(fixture_build(&f));
	assert_string_equal(json_string_value(json_object_get(n, "path")), f.in.netns);
	f.in.netns = "";
	n = network_namespace(fixture_build(&f));
	assert_non_null(n);
	assert_null(json_object_get(n, "path"));
	/* with one of its own, its sysctls still apply */
	f.in.netns = "/run/skein/net/task-1";
	pb_set_str(&f.task->spec->network, "");
	pb_kv_set(&f.spec->n_sysctls, &f.spec->sysctls, "net.ipv4.ip_forward", "1");
	assert_string_equal(json_string_value(json_object_get(at(fixture_build(&f), "linux.sysctl"),
							      "net.ipv4.ip_forward")),
			    "1");
	fixture_fini(&f);
}

static void host_network_has_no_namespace(void **state)
{
	struct fixture f;
	size_t i;
	json_t *n;

	fixture_init(&f);
	pb_set_str(&f.task->spec->network, "host");
	fixture_build(&f);
	json_array_foreach(at(f.config, "linux.namespaces"), i, n)
		assert_string_not_equal(json_string_value(json_object_get(n, "type")), "network");
	assert_int_equal(json_object_size(at(f.config, "linux.sysctl")), 0);
	fixture_fini(&f);
}

static void hostname(void **state)
{
	struct fixture f;
	_cleanup_free_ char *id = NULL, *spec = NULL, *host = NULL;

	fixture_init(&f);
	id = bundle_hostname(f.task, &f.values, "myhost", NULL);
	assert_string_equal(id, "abcdefghijkl");
	pb_set_str(&f.task->spec->network, "host");
	host = bundle_hostname(f.task, &f.values, "myhost", NULL);
	assert_string_equal(host, "myhost");
	pb_set_str(&f.spec->hostname, "{{.Service.Name}}-{{.Task.Slot}}");
	spec = bundle_hostname(f.task, &f.values, "myhost", NULL);
	assert_string_equal(spec, "web-2");
	pb_set_str(&f.spec->hostname, "not a name");
	assert_null(bundle_hostname(f.task, &f.values, "myhost", &f.err));
	assert_int_equal(f.err.code, ERR_INVALID);
	fixture_fini(&f);
}

static void ulimits(void **state)
{
	struct fixture f;
	pb_ulimit *u = pb_new(&skein__ulimit__descriptor);
	_cleanup_free_ char *text = NULL;

	fixture_init(&f);
	pb_set_str(&u->name, "nofile");
	u->soft = 10;
	u->hard = -1;
	pb_msgs_add(&f.spec->n_ulimits, &f.spec->ulimits, u);
	pb_strs_add(&f.spec->n_env, &f.spec->env, "TEXT=\"hard\":-1");
	assert_string_equal(json_string_value(at(fixture_build(&f), "process.rlimits.0.type")),
			    "RLIMIT_NOFILE");
	text = bundle_text(f.config);
	assert_non_null(strstr(text, "\"hard\":18446744073709551615"));
	assert_non_null(strstr(text, "TEXT=\\\"hard\\\":-1"));
	f.spec->ulimits[0]->hard = 5;
	assert_null(fixture_build(&f));
	pb_set_str(&f.spec->ulimits[0]->name, "nothing");
	assert_null(fixture_build(&f));
	assert_non_null(strstr(f.err.msg, "\"nothing\""));
	fixture_fini(&f);
}

static void seccomp_follows_capabilities(void **state)
{
	struct fixture f;
	_cleanup_free_ char *without = NULL, *with = NULL;

	fixture_init(&f);
	without = json_dumps(at(fixture_build(&f), "linux.seccomp"), JSON_COMPACT);
	assert_non_null(strstr(without, "\"clone3\"],\"action\":\"SCMP_ACT_ERRNO\""));
	assert_null(strstr(without, "\"mount\""));
	assert_null(strstr(without, "io_uring"));
	pb_strs_add(&f.spec->n_cap_add, &f.spec->cap_add, "SYS_ADMIN");
	with = json_dumps(at(fixture_build(&f), "linux.seccomp"), JSON_COMPACT);
	assert_non_null(strstr(with, "\"mount\""));
	assert_null(strstr(with, "SCMP_CMP_MASKED_EQ"));
	f.in.seccomp = false;
	assert_null(at(fixture_build(&f), "linux.seccomp"));
	fixture_fini(&f);
}

static void user_mount_replaces_a_default(void **state)
{
	struct fixture f;
	pb_mount *m = pb_new(&skein__mount__descriptor);

	fixture_init(&f);
	m->type = (Skein__MountType)MOUNT_TMPFS;
	pb_set_str(&m->target, "/dev/shm/");
	m->tmpfs_size_bytes = 5;
	pb_msgs_add(&f.spec->n_mounts, &f.spec->mounts, m);
	assert_int_equal(mounts_plan(f.spec, NULL, &f.values, "/v", "/a", &f.plan, NULL), 0);
	fixture_build(&f);
	assert_true(list_has(json_object_get(mount_at(f.config, "/dev/shm"), "options"), "size=5"));
	assert_false(list_has(json_object_get(mount_at(f.config, "/dev/shm"), "options"),
			      "size=67108864"));
	fixture_fini(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults),
		cmocka_unit_test(environment),
		cmocka_unit_test(command_replaces_entrypoint_and_cmd),
		cmocka_unit_test(limits),
		cmocka_unit_test(network_and_sysctls),
		cmocka_unit_test(network_namespace_by_path),
		cmocka_unit_test(host_network_has_no_namespace),
		cmocka_unit_test(hostname),
		cmocka_unit_test(ulimits),
		cmocka_unit_test(seccomp_follows_capabilities),
		cmocka_unit_test(user_mount_replaces_a_default),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
