#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "manager/control/validate.h"
#include "support/build.h"

#include <math.h>

static int constraint_check(void *data, const char *expr, struct error *err)
{
	if (strstr(expr, "=="))
		return 0;
	return error_set(err, ERR_INVALID,
			 "constraint \"%s\": expected one operator from ==, !=", expr);
}

static const struct validate_ops ops = {NULL, constraint_check};

static pb_service_spec *good_spec(void)
{
	pb_service_spec *spec = pb_new(&skein__service_spec__descriptor);

	pb_set_str(&spec->name, "web");
	spec->task = pb_new(&skein__task_spec__descriptor);
	spec->task->container = pb_new(&skein__container_spec__descriptor);
	pb_set_str(&spec->task->container->image, "nginx");
	spec->task->container->stop_grace_period = 10 * SEC;
	validate_normalise_service(spec);
	return spec;
}

static void accepted(const pb_service_spec *spec)
{
	struct error err = ERROR_INIT;

	if (validate_service(spec, &ops, &err) < 0)
		fail_msg("refused: %s", err.msg);
}

/* Refused, and the message names field and value. */
static void refused(const pb_service_spec *spec, const char *field, const char *value)
{
	struct error err = ERROR_INIT;

	if (validate_service(spec, &ops, &err) == 0)
		fail_msg("accepted: %s %s", field, value);
	if (err.code != ERR_INVALID && err.code != ERR_EXHAUSTED)
		fail_msg("code %s", error_code_name(err.code));
	if (!strstr(err.msg, field) || !strstr(err.msg, value))
		fail_msg("message does not name %s and %s: %s", field, value, err.msg);
}

static void normalised_form(void **state)
{
	_cleanup_pb_ pb_service_spec *spec = good_spec();

	assert_string_equal(spec->task->container->image, "docker.io/library/nginx:latest");
	assert_string_equal(spec->task->network, "bridge");
	assert_int_equal(spec->replicated->replicas, 1);
	assert_int_equal(spec->task->restart->delay, 5 * SEC);
	pb_strs_add(&spec->task->container->n_cap_add, &spec->task->container->cap_add,
		    "net_admin");
	pb_strs_add(&spec->task->container->n_cap_drop, &spec->task->container->cap_drop, "all");
	validate_normalise_service(spec);
	assert_string_equal(spec->task->container->cap_add[0], "CAP_NET_ADMIN");
	assert_string_equal(spec->task->container->cap_drop[0], "ALL");
	accepted(spec);
}

static void names(void **state)
{
	static const char *const good[] = {"a", "web", "web-1", "a__b", "A9", "x--y"};
	static const char *const bad[] = {
		"",
		"-a",
		"a-",
		"_a",
		"a.b",
		"a b",
		"w\xc3\xa9"
		"b",
		"a/b",
		"a123456789012345678901234567890123456789012345678901234567890123"};
	_cleanup_pb_ pb_service_spec *spec = good_spec();

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		pb_set_str(&spec->name, good[i]);
		accepted(spec);
	}
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		pb_set_str(&spec->name, bad[i]);
		refused(spec, "name", bad[i]);
	}
}

static void modes_and_counts(void **state)
{
	_cleanup_pb_ pb_service_spec *spec = good_spec();

	spec->replicated->replicas = 0;
	accepted(spec);
	spec->replicated->replicas = VALIDATE_REPLICAS_MAX + 1;
	refused(spec, "replicas", "100001");
	spec->replicated->replicas = 1;
	spec->task->placement->max_replicas_per_node = 3;
	accepted(spec);
	pb_free(spec->replicated);
	spec->mode_case = SKEIN__SERVICE_SPEC__MODE_GLOBAL;
	spec->global = pb_new(&skein__global_mode__descriptor);
	refused(spec, "max_replicas_per_node", "3");
}

static void resources(void **state)
{
	_cleanup_pb_ pb_service_spec *spec = good_spec();
	pb_resources *limits = spec->task->resources->limits,
		     *reserved = spec->task->resources->reservations;

	limits->cpu_nano = 1000000;
	limits->mem_bytes = 4 * MIB;
	accepted(spec);
	limits->cpu_nano = 999999;
	refused(spec, "limits.cpu_nano", "999999");
	limits->cpu_nano = -1;
	refused(spec, "limits.cpu_nano", "-1");
	limits->cpu_nano = 0;
	limits->mem_bytes = 4 * MIB - 1;
	refused(spec, "limits.mem_bytes", "4194303");
	limits->mem_bytes = 8 * MIB;
	reserved->mem_bytes = 16 * MIB;
	refused(spec, "reservations.mem_bytes", "16777216");
	reserved->mem_bytes = 0;
	reserved->pids = 5;
	refused(spec, "reservations.pids", "5");
	reserved->pids = 0;
	limits->pids = -2;
	refused(spec, "limits.pids", "-2");
}

static void durations_and_enums(void **state)
{
	_cleanup_pb_ pb_service_spec *spec = good_spec();

	spec->task->restart->delay = -1;
	refused(spec, "task.restart.delay", "-1ns");
	spec->task->restart->delay = 0;
	spec->task->restart->condition = (Skein__RestartCondition)7;
	refused(spec, "task.restart.condition", "7");
	spec->task->restart->condition = (Skein__RestartCondition)RESTART_NONE;
	spec->update->max_failure_ratio = 1.5f;
	refused(spec, "update.max_failure_ratio", "1.5");
	spec->update->max_failure_ratio = NAN;
	refused(spec, "update.max_failure_ratio", "nan");
	spec->update->max_failure_ratio = 1;
	spec->update->failure_action = SKEIN__UPDATE_FAILURE_ACTION__FAILURE_ROLLBACK;
	accepted(spec);
	spec->rollback->failure_action = SKEIN__UPDATE_FAILURE_ACTION__FAILURE_ROLLBACK;
	refused(spec, "rollback.failure_action", "2");
	spec->rollback->failure_action = SKEIN__UPDATE_FAILURE_ACTION__FAILURE_PAUSE;
	spec->update->order = (Skein__UpdateOrder)9;
	refused(spec, "update.order", "9");
}

static pb_health_check *test_of(pb_service_spec *spec, const char *kind, const char *command)
{
	pb_health_check *h = pb_new(&skein__health_check__descriptor);

	if (kind)
		pb_strs_add(&h->n_test, &h->test, kind);
	if (command)
		pb_strs_add(&h->n_test, &h->test, command);
	pb_free(spec->task->container->health);
	return spec->task->container->health = h;
}

static void health_checks(void **state)
{
	_cleanup_pb_ pb_service_spec *spec = good_spec();
	pb_health_check *h;

	test_of(spec, NULL, NULL);
	accepted(spec);
	test_of(spec, "NONE", NULL);
	accepted(spec);
	test_of(spec, "CMD", "true");
	accepted(spec);
	test_of(spec, "HTTP", "/");
	refused(spec, "task.container.health.test[0]", "HTTP");
	test_of(spec, "CMD-SHELL", NULL);
	refused(spec, "task.container.health.test", "1 words");
	test_of(spec, "NONE", "x");
	refused(spec, "task.container.health.test", "2 words");
	test_of(spec, "CMD", "");
	refused(spec, "task.container.health.test[1]", "name a command");
	h = test_of(spec, "CMD-SHELL", "true");
	h->interval = 999999;
	refused(spec, "task.container.health.interval", "999999 ns");
	h->interval = 1000000;
	h->timeout = -1;
	refused(spec, "task.container.health.timeout", "-1");
	h->timeout = 0;
	h->retries = 4000000000u;
	refused(spec, "task.container.health.retries", "4000000000");
	h->retries = 3;
	accepted(spec);
	spec->task->container->ready_wait = -5;
	refused(spec, "task.container.ready_wait", "-5ns");
}

static void placement(void **state)
{
	_cleanup_pb_ pb_service_spec *spec = good_spec();
	pb_placement *p = spec->task->placement;

	pb_strs_add(&p->n_constraints, &p->constraints, "node.role==worker");
	pb_strs_add(&p->n_spread, &p->spread, "node.labels.rack");
	accepted(spec);
	pb_strs_add(&p->n_constraints, &p->constraints, "node.role=worker");
	refused(spec, "task.placement.constraints[1]", "node.role=worker");
	pb_strs_del(&p->n_constraints, &p->constraints, 1);
	pb_strs_add(&p->n_spread, &p->spread, "node.id");
	refused(spec, "task.placement.spread[1]", "node.id");
}

static void network_and_sysctls(void **state)
{
	_cleanup_pb_ pb_service_spec *spec = good_spec();
	pb_container_spec *c = spec->task->container;

	pb_kv_set(&c->n_sysctls, &c->sysctls, "net.core.somaxconn", "1024");
	accepted(spec);
	pb_set_str(&spec->task->network, "host");
	refused(spec, "sysctls[0]", "net.core.somaxconn");
	pb_set_str(&spec->task->network, "front");
	refused(spec, "task.network", "front");
	pb_set_str(&spec->task->network, "none");
	pb_kv_set(&c->n_sysctls, &c->sysctls, "kernel.panic", "1");
	refused(spec, "sysctls[1]", "kernel.panic");
	pb_kv_del(&c->n_sysctls, &c->sysctls, "kernel.panic");
	pb_kv_set(&c->n_sysctls, &c->sysctls, "net.a b", "1");
	refused(spec, "sysctls[1]", "net.a b");
}

/* One string field at a time: accepted values, then refused ones. */
static void live_migration(void **state)
{
	_cleanup_pb_ pb_service_spec *spec = good_spec();

	spec->task->live_migrate = true;
	accepted(spec);
	spec->task->container->tty = true;
	refused(spec, "task.live_migrate", "tty");
	spec->task->container->tty = false;
	pb_set_str(&spec->task->network, "host");
	refused(spec, "task.live_migrate", "network host");
	spec->task->live_migrate = false;
	accepted(spec);
}

static void container_strings(void **state)
{
	_cleanup_pb_ pb_service_spec *spec = good_spec();
	pb_container_spec *c = spec->task->container;
	const struct {
		char **field;
		const char *name, *good[5], *bad[6];
	} cases[] = {
		{&c->image, "image", {"docker.io/library/a:1"}, {"a/B", "a b", ":x"}},
		{&c->hostname,
		 "hostname",
		 {"a", "web-1.example", "{{.Node.Hostname}}"},
		 {"-a", "a..b", "a_b", "a-"}},
		{&c->user, "user", {"root", "1000:1000", "a:b"}, {":b", "a:", "a:b:c", "a b"}},
		{&c->dir, "dir", {"/", "/srv/www"}, {"srv", "./a"}},
		{&c->stop_signal,
		 "stop_signal",
		 {"SIGTERM", "INT", "15", "SIGRTMIN+3"},
		 {"SIGFOO", "0", "65", "SIGRTMIN+31"}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *before = xstrdup(*cases[i].field);

		for (size_t k = 0; k < ARRAY_SIZE(cases[i].good) && cases[i].good[k]; k++) {
			pb_set_str(cases[i].field, cases[i].good[k]);
			accepted(spec);
		}
		for (size_t k = 0; k < ARRAY_SIZE(cases[i].bad) && cases[i].bad[k]; k++) {
			pb_set_str(cases[i].field, cases[i].bad[k]);
			refused(spec, cases[i].name, cases[i].bad[k]);
		}
		pb_set_str(cases[i].field, before);
	}
}

static void lists(void **state)
{
	_cleanup_pb_ pb_service_spec *spec = good_spec();
	pb_container_spec *c = spec->task->container;

	pb_strs_add(&c->n_env, &c->env, "A=b=c d");
	accepted(spec);
	pb_strs_add(&c->n_env, &c->env, "=x");
	refused(spec, "env[1]", "=x");
	pb_strs_del(&c->n_env, &c->env, 1);
	pb_strs_add(&c->n_env, &c->env, "NOVALUE");
	refused(spec, "env[1]", "NOVALUE");
	pb_strs_del(&c->n_env, &c->env, 1);
	pb_strs_add(&c->n_cap_add, &c->cap_add, "CAP_FLY");
	refused(spec, "cap_add[0]", "CAP_FLY");
	pb_strs_del(&c->n_cap_add, &c->cap_add, 0);
	pb_kv_set(&spec->n_labels, &spec->labels, "a=b", "x");
	refused(spec, "labels[0]", "a=b");
	pb_kv_del(&spec->n_labels, &spec->labels, "a=b");
	c->oom_score_adj = 1001;
	refused(spec, "oom_score_adj", "1001");
	c->oom_score_adj = 0;
	for (int i = 0; i < 1025; i++)
		pb_strs_add(&c->n_args, &c->args, "x");
	refused(spec, "args", "1025");
}

static void ulimits(void **state)
{
	_cleanup_pb_ pb_service_spec *spec = good_spec();
	pb_container_spec *c = spec->task->container;
	pb_ulimit *u = pb_new(&skein__ulimit__descriptor);

	pb_msgs_add(&c->n_ulimits, &c->ulimits, u);
	pb_set_str(&u->name, "nofile");
	u->soft = 10;
	u->hard = 20;
	accepted(spec);
	u->soft = -1;
	refused(spec, "ulimits[0]", "nofile=-1:20");
	u->hard = -1;
	accepted(spec);
	pb_msgs_add(&c->n_ulimits, &c->ulimits, pb_dup(u));
	refused(spec, "ulimits[1]", "nofile");
	pb_set_str(&u->name, "files");
	refused(spec, "ulimits[0]", "files");
}

static pb_mount *add_mount(pb_container_spec *c, int type, const char *source, const char *target)
{
	pb_mount *m = pb_new(&skein__mount__descriptor);

	m->type = (Skein__MountType)type;
	pb_set_str(&m->source, source);
	pb_set_str(&m->target, target);
	pb_msgs_add(&c->n_mounts, &c->mounts, m);
	return m;
}

static void mounts(void **state)
{
	static const struct {
		int type;
		const char *source, *target, *field, *value; /* field NULL: accepted */
	} cases[] = {
		{MOUNT_BIND, "/srv", "/data", NULL, NULL},
		{MOUNT_VOLUME, "cache", "/data", NULL, NULL},
		{MOUNT_VOLUME, "", "/data", NULL, NULL},
		{MOUNT_TMPFS, "", "/data", NULL, NULL},
		{MOUNT_BIND, "/a..b", "/data..", NULL, NULL},
		{MOUNT_BIND, "srv", "/data", "mounts[0].source", "srv"},
		{MOUNT_BIND, "/srv/../etc", "/data", "mounts[0].source", "/srv/../etc"},
		{MOUNT_BIND, "", "/data", "mounts[0].source", ""},
		{MOUNT_BIND, "/srv", "data", "mounts[0].target", "data"},
		{MOUNT_BIND, "/srv", "/", "mounts[0].target", "/"},
		{MOUNT_BIND, "/srv", "//./", "mounts[0].target", "//./"},
		{MOUNT_BIND, "/srv", "/a/..", "mounts[0].target", "/a/.."},
		{MOUNT_VOLUME, "/srv", "/data", "mounts[0].source", "/srv"},
		{MOUNT_VOLUME, "-x", "/data", "mounts[0].source", "-x"},
		{MOUNT_TMPFS, "x", "/data", "mounts[0].source", "x"},
		{9, "", "/data", "mounts[0].type", "9"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_pb_ pb_service_spec *spec = good_spec();

		add_mount(spec->task->container, cases[i].type, cases[i].source, cases[i].target);
		if (cases[i].field)
			refused(spec, cases[i].field, cases[i].value);
		else
			accepted(spec);
	}
}

static void mount_targets_are_unique(void **state)
{
	static const char *const same[] = {"/data", "/data/", "//data", "/./data/."};
	static const char *const other[] = {"/data/x", "/dat", "/data2", "/.data"};

	for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
		_cleanup_pb_ pb_service_spec *spec = good_spec();

		add_mount(spec->task->container, MOUNT_TMPFS, "", "/data");
		add_mount(spec->task->container, MOUNT_TMPFS, "", same[i]);
		refused(spec, "mounts[1].target", same[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(other); i++) {
		_cleanup_pb_ pb_service_spec *spec = good_spec();

		add_mount(spec->task->container, MOUNT_TMPFS, "", "/data");
		add_mount(spec->task->container, MOUNT_TMPFS, "", other[i]);
		accepted(spec);
	}
}

static void mount_options(void **state)
{
	_cleanup_pb_ pb_service_spec *spec = good_spec();
	pb_mount *m = add_mount(spec->task->container, MOUNT_BIND, "/a", "/b");

	pb_set_str(&m->propagation, "rslave");
	accepted(spec);
	pb_set_str(&m->propagation, "sideways");
	refused(spec, "propagation", "sideways");
	pb_set_str(&m->propagation, "");
	m->tmpfs_size_bytes = 1;
	refused(spec, "mounts[0]", "tmpfs");
	m->type = (Skein__MountType)MOUNT_TMPFS;
	pb_set_str(&m->source, "");
	m->tmpfs_mode = 010000;
	refused(spec, "tmpfs_mode", "010000");
	m->tmpfs_mode = 0700;
	m->volume_nocopy = true;
	refused(spec, "volume_nocopy", "");
}

static void total_size_is_bounded(void **state)
{
	_cleanup_pb_ pb_service_spec *spec = good_spec();
	_cleanup_free_ char *big = xcalloc(1, VALIDATE_SPEC_MAX_BYTES + 1);

	memset(big, 'x', VALIDATE_SPEC_MAX_BYTES);
	pb_strs_add(&spec->task->container->n_args, &spec->task->container->args, big);
	refused(spec, "spec has", "262144");
}

static void cluster_specs(void **state)
{
	struct error err = ERROR_INIT;
	pb_cluster_spec spec = SKEIN__CLUSTER_SPEC__INIT;

	assert_int_equal(validate_cluster_spec(&spec, &err), 0);
	assert_int_equal(validate_cluster_spec(NULL, &err), -1);
	spec.heartbeat_period = 10 * NS_PER_MS;
	assert_int_equal(validate_cluster_spec(&spec, &err), -1);
	assert_string_equal(err.msg, "spec.heartbeat_period 10ms: must be 50ms to 1m0s");
	spec.heartbeat_period = 0;
	spec.cert_expiry = SEC;
	assert_int_equal(validate_cluster_spec(&spec, &err), -1);
	assert_non_null(strstr(err.msg, "cert_expiry"));
	spec.cert_expiry = 0;
	spec.task_history_limit = 1001;
	assert_int_equal(validate_cluster_spec(&spec, &err), -1);
	assert_non_null(strstr(err.msg, "1001"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(normalised_form),
		cmocka_unit_test(names),
		cmocka_unit_test(modes_and_counts),
		cmocka_unit_test(resources),
		cmocka_unit_test(durations_and_enums),
		cmocka_unit_test(health_checks),
		cmocka_unit_test(placement),
		cmocka_unit_test(network_and_sysctls),
		cmocka_unit_test(live_migration),
		cmocka_unit_test(container_strings),
		cmocka_unit_test(lists),
		cmocka_unit_test(ulimits),
		cmocka_unit_test(mounts),
		cmocka_unit_test(mount_targets_are_unique),
		cmocka_unit_test(mount_options),
		cmocka_unit_test(total_size_is_bounded),
		cmocka_unit_test(cluster_specs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
