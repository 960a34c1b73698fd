/* spec_build and spec_edit: command lines in, specs out. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "clusterctl/pb_json.h"
#include "clusterctl/service_flags.h"

#include "common/error.h"
#include "common/mem.h"

#include <string.h>

static char *no_env(const char *name)
{
	return NULL;
}

/* Words of a command line, divided by single blanks; "~" stands for a blank inside a word. */
static void split(const char *line, struct strv *argv)
{
	_cleanup_free_ char *copy = xstrdup(line);
	char *rest = copy, *word;

	while ((word = strsep(&rest, " "))) {
		for (char *p = word; *p; p++)
			*p = *p == '~' ? ' ' : *p;
		if (*word)
			strv_add(argv, word);
	}
}

static pb_service_spec *create(const char *line, struct error *err)
{
	_cleanup_strv_ struct strv argv = {0}, args = {0};
	struct spec_input input = {.getenv = no_env};
	struct service_flags flags = {0};
	struct option_seen seen = {0};
	pb_service_spec *spec = NULL;

	split(line, &argv);
	options_defaults(service_create_options, &flags);
	if (options_parse_args(service_create_options, &flags, (int)argv.n, argv.v, true, &args, &seen, err) == 0)
		spec = spec_build(&flags, &seen, &args, &input, err);
	options_fini(service_create_options, &flags);
	return spec;
}

static int edit(pb_service_spec *spec, const char *line, struct error *err)
{
	_cleanup_strv_ struct strv argv = {0}, args = {0};
	struct spec_input input = {.getenv = no_env};
	struct service_flags flags = {0};
	struct option_seen seen = {0};
	int r;

	split(line, &argv);
	options_defaults(service_update_options, &flags);
	r = options_parse_args(service_update_options, &flags, (int)argv.n, argv.v, false, &args, &seen, err);
	if (r == 0)
		r = spec_edit(spec, &flags, &seen, &input, err);
	options_fini(service_update_options, &flags);
	return r;
}

static void defaults_are_swarms(void **state)
{
	struct error err = ERROR_INIT;
	_cleanup_pb_ pb_service_spec *spec = create("nginx", &err), *same = create("nginx", &err);

	assert_non_null(spec);
	assert_string_equal(spec->task->container->image, "docker.io/library/nginx:latest");
	assert_int_equal(spec->mode_case, SKEIN__SERVICE_SPEC__MODE_REPLICATED);
	assert_int_equal(spec->replicated->replicas, 1);
	assert_int_equal(spec->task->container->stop_grace_period, INT64_C(10000000000));
	assert_int_equal(spec->task->restart->condition, RESTART_ANY);
	assert_int_equal(spec->task->restart->delay, INT64_C(5000000000));
	assert_int_equal(spec->update->parallelism, 1);
	assert_int_equal(spec->update->monitor, INT64_C(5000000000));
	assert_int_equal(spec->rollback->parallelism, 1);
	assert_string_equal(spec->task->network, "bridge");
	assert_null(spec->endpoint);
	/* complete: the manager's defaults would change nothing */
	pb_service_spec_defaults(same);
	assert_true(pb_equal(spec, same));
}

/* Where a flag lands: a path into the spec's JSON, and the value there. */
/* What is typed -> a field of the spec, and its value; NULL: it is there. '~' in a word is a blank. */
static const struct created {
	const char *line, *path, *want;
} created[] = {
	{"--name web i", "name", "web"},
	{"--replicas 5 i", "replicated.replicas", "5"},
	{"--mode global i", "global", "{}"},
	{"i sh -c x~--name~y", "task.container.args", "[\"sh\", \"-c\", \"x --name y\"]"},
	{"-e A=1 --env B=2 -e A=3 i", "task.container.env", "[\"A=3\", \"B=2\"]"},
	{"-l a=b --label c i", "labels", "{\"a\": \"b\", \"c\": \"\"}"},
	{"--container-label a=b i", "task.container.labels", "{\"a\": \"b\"}"},
	{"--hostname h i", "task.container.hostname", "h"},
	{"-u 1:2 i", "task.container.user", "1:2"},
	{"--group wheel --group wheel i", "task.container.groups", "[\"wheel\"]"},
	{"-w /srv i", "task.container.dir", "/srv"},
	{"--entrypoint sh~-c~'a~b' i", "task.container.command", "[\"sh\", \"-c\", \"a b\"]"},
	{"-t i", "task.container.tty", "true"},
	{"--init i", "task.container.init", "true"},
	{"--read-only i", "task.container.read_only", "true"},
	{"--stop-signal SIGINT i", "task.container.stop_signal", "SIGINT"},
	{"--stop-grace-period 0s i", "task.container.stop_grace_period", "0"},
	{"--health-cmd 'nc~-z~localhost~80' i", "task.container.health.test", "[\"CMD-SHELL\", \"'nc -z localhost 80'\"]"},
	{"--health-interval 5s i", "task.container.health.interval", "5000000000"},
	{"--health-interval 5s i", "task.container.health.test", "[]"},
	{"--health-timeout 500ms i", "task.container.health.timeout_text", "500ms"},
	{"--health-retries 5 i", "task.container.health.retries", "5"},
	{"--health-start-period 1m i", "task.container.health.start_period_text", "1m0s"},
	{"--health-start-interval 1s i", "task.container.health.start_interval", "1000000000"},
	{"--no-healthcheck i", "task.container.health.test", "[\"NONE\"]"},
	{"--ready-wait 0s i", "task.container.ready_wait", "0"},
	{"--ulimit nofile=1:2 i", "task.container.ulimits", "[{\"name\": \"nofile\", \"soft\": 1, \"hard\": 2}]"},
	{"--sysctl net.x=1 i", "task.container.sysctls", "{\"net.x\": \"1\"}"},
	{"--cap-add net_admin i", "task.container.cap_add", "[\"CAP_NET_ADMIN\"]"},
	{"--cap-drop ALL i", "task.container.cap_drop", "[\"ALL\"]"},
	{"--oom-score-adj -500 i", "task.container.oom_score_adj", "-500"},
	{"--limit-cpu 1.5 i", "task.resources.limits.cpu_nano", "1500000000"},
	{"--limit-memory 64m i", "task.resources.limits.mem_bytes", "67108864"},
	{"--limit-pids 10 i", "task.resources.limits.pids", "10"},
	{"--reserve-cpu .5 i", "task.resources.reservations.cpu_nano", "500000000"},
	{"--reserve-memory 1g i", "task.resources.reservations.mem_bytes", "1073741824"},
	{"--constraint node.role==worker i", "task.placement.constraints", "[\"node.role==worker\"]"},
	{"--placement-pref spread=node.labels.r i", "task.placement.spread", "[\"node.labels.r\"]"},
	{"--replicas-max-per-node 2 i", "task.placement.max_replicas_per_node", "2"},
	{"--restart-condition on-failure i", "task.restart.condition", "on-failure"},
	{"--restart-delay 0s i", "task.restart.delay", "0"},
	{"--restart-max-attempts 3 i", "task.restart.max_attempts", "3"},
	{"--restart-window 1m i", "task.restart.window_text", "1m0s"},
	{"--network host i", "task.network", "host"},
	{"--network none i", "task.network", "none"},
	{"--network bridge i", "task.network", "bridge"},
	{"--network front --network name=back,alias=db i", "task.networks",
	 "[{\"network_id\": \"front\", \"network_name\": \"\", \"aliases\": [], \"ipv4\": \"\", \"ipv6\": \"\"}, "
	 "{\"network_id\": \"back\", \"network_name\": \"\", \"aliases\": [\"db\"], \"ipv4\": \"\", \"ipv6\": \"\"}]"},
	{"--network front i", "task.network", ""},
	{"--live-migrate i", "task.live_migrate", "true"},
	{"--endpoint-mode dnsrr i", "endpoint.mode", "dnsrr"},
	{"-p 8080:80 i", "endpoint.ports",
	 "[{\"protocol\": \"tcp\", \"target\": 80, \"published\": 8080, \"mode\": \"ingress\", \"host_ip\": \"\"}]"},
	{"--dns 10.0.0.53 --dns FD00::53 i", "task.container.dns_servers", "[\"10.0.0.53\", \"fd00::53\"]"},
	{"--dns-search example.com i", "task.container.dns_search", "[\"example.com\"]"},
	{"--dns-option ndots:2 i", "task.container.dns_options", "[\"ndots:2\"]"},
	{"--host db:10.0.0.5 i", "task.container.hosts", "[\"10.0.0.5 db\"]"},
	{"--update-parallelism 0 i", "update.parallelism", "0"},
	{"--update-delay 2s i", "update.delay_text", "2s"},
	{"--update-order start-first i", "update.order", "start-first"},
	{"--update-monitor 0s i", "update.monitor", "0"},
	{"--update-failure-action rollback i", "update.failure_action", "rollback"},
	{"--update-max-failure-ratio 0.5 i", "update.max_failure_ratio", "0.5"},
	{"--rollback-parallelism 4 i", "rollback.parallelism", "4"},
	{"--rollback-failure-action continue i", "rollback.failure_action", "continue"},
	{"--mount type=tmpfs,target=/t i", "task.container.mounts", NULL},
	{"r.example:5000/a/b@sha256:0123456789012345678901234567890123456789012345678901234567890123", "task.container.image_digest",
	 "sha256:0123456789012345678901234567890123456789012345678901234567890123"},
};

static void flags_of_create(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(created); i++) {
		struct error err = ERROR_INIT;
		_cleanup_pb_ pb_service_spec *spec = create(created[i].line, &err);
		_cleanup_free_ char *text = NULL;
		json_t *json, *at, *value;

		if (!spec)
			fail_msg("%s: %s", created[i].line, err.msg);
		json = pb_json(&spec->base);
		value = pb_json_path(json, created[i].path, &at);
		assert_non_null(value);
		text = pb_json_text(value);
		if (created[i].want && strcmp(text, created[i].want) != 0)
			fail_msg("%s: %s is %s, not %s", created[i].line, created[i].path, text, created[i].want);
		json_decref(json);
	}
}

static void mistakes_name_the_flag(void **state)
{
	static const struct {
		const char *line, *want;
	} cases[] = {
		{"Bad@Image", "IMAGE: "},
		{"--mode global --replicas 2 i", "--replicas goes only with --mode replicated"},
		{"--mount type=x,target=/x i", "--mount: type=\"x\""},
		{"--mount target=/x --mount target=/x i", "--mount: two mounts have the target /x"},
		{"--env =x i", "--env: \"=x\""},
		{"--label =x i", "--label: \"=x\""},
		{"--sysctl x i", "--sysctl: \"x\": expected KEY=VALUE"},
		{"--ulimit x=1 i", "--ulimit: \"x=1\""},
		{"--cap-add 1 i", "--cap-add: \"1\""},
		{"--constraint rack i", "--constraint: \"rack\""},
		{"--placement-pref rack i", "--placement-pref: \"rack\""},
		{"--entrypoint 'x i", "--entrypoint: \"'x\""},
		{"--limit-memory 1m --reserve-memory 2m i", "--reserve-memory 2MiB is above --limit-memory 1MiB"},
		{"--limit-cpu 1 --reserve-cpu 2 i", "--reserve-cpu 2 is above --limit-cpu 1"},
		{"--network name= i", "--network: \"name=\": expected the name of a network"},
		{"--network host --network none i", "--network: host and none exclude each other"},
		{"--network host --network front i", "--network: host goes with no other network"},
		{"--network name=host,alias=x i", "--network: \"name=host,alias=x\": network host has no aliases"},
		{"-p x i", "--publish: \"x\": expected a port"},
		{"--endpoint-mode x i", "--endpoint-mode: invalid value \"x\": expected one of vip, dnsrr"},
		{"--dns x i", "--dns: \"x\""},
		{"--dns-search a..b i", "--dns-search: \"a..b\""},
		{"--dns-option= i", "--dns-option: \"\""},
		{"--host x i", "--host: \"x\": expected NAME:IP"},
		{"--no-healthcheck --health-retries 2 i", "--no-healthcheck and --health-retries exclude each other"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = ERROR_INIT;

		assert_null(create(cases[i].line, &err));
		assert_int_equal(err.code, ERR_INVALID);
		if (!strstr(err.msg, cases[i].want))
			fail_msg("%s: \"%s\" lacks \"%s\"", cases[i].line, err.msg, cases[i].want);
	}
}

/* Members that are not the same; an array counts as one. */
static unsigned differences(json_t *a, json_t *b)
{
	unsigned n = 0;
	const char *key;
	json_t *value;

	if (!json_is_object(a) || !json_is_object(b))
		return !json_equal(a, b);
	json_object_foreach(a, key, value)
		n += differences(value, json_object_get(b, key));
	json_object_foreach(b, key, value)
		n += json_object_get(a, key) == NULL;
	return n;
}

static void update_changes_only_what_is_given(void **state)
{
	static const char rich[] =
		"--name web --replicas 3 -e A=1 -e B=2 -l x=1 --mount target=/a --mount target=/b --ulimit core=0 --cap-add NET_RAW "
		"--constraint node.role==worker --placement-pref spread=node.labels.r --restart-delay 1s --group g --sysctl s=1 "
		"--network front --network name=back,alias=b -p 8080:80 -p 53:53/udp --dns 10.0.0.53 --dns-search a.b --dns-option x "
		"--host db:10.0.0.5 --health-cmd check --health-interval 7s i:1 run";
	static const struct {
		const char *line, *path, *want;
		unsigned differ;
	} cases[] = {
		{"--replicas 7", "replicated.replicas", "7", 1},
		{"--image i:2", "task.container.image", "docker.io/library/i:2", 1},
		{"--args a~'b~c'", "task.container.args", "[\"a\", \"b c\"]", 1},
		{"--args=", "task.container.args", "[]", 1},
		{"--force", "task.force_update", "1", 1},
		{"--env-add B=3 --env-add C=4 --env-rm A", "task.container.env", "[\"B=3\", \"C=4\"]", 1},
		{"--env-rm A --env-add A=9", "task.container.env", "[\"B=2\", \"A=9\"]", 1},
		{"--label-add y=2 --label-rm x", "labels", "{\"y\": \"2\"}", 2},
		{"--mount-rm /a", "task.container.mounts", NULL, 1},
		{"--ulimit-add core=5", "task.container.ulimits", "[{\"name\": \"core\", \"soft\": 5, \"hard\": 5}]", 1},
		{"--ulimit-rm core", "task.container.ulimits", "[]", 1},
		{"--cap-drop NET_RAW", "task.container.cap_add", "[]", 2},
		{"--constraint-rm node.role==worker", "task.placement.constraints", "[]", 1},
		{"--placement-pref-rm spread=node.labels.r", "task.placement.spread", "[]", 1},
		{"--group-rm g --group-add h", "task.container.groups", "[\"h\"]", 1},
		{"--sysctl-rm s", "task.container.sysctls", "{}", 1},
		{"--restart-delay 9s", "task.restart.delay_text", "9s", 2},
		{"--update-parallelism 2", "update.parallelism", "2", 1},
		{"--network-rm front --network-rm back", "task.networks", "[]", 1},
		{"--network-rm front --network-add host --network-rm back", "task.network", "host", 2},
		{"--network-add back --network-rm front", "task.networks",
		 "[{\"network_id\": \"back\", \"network_name\": \"\", \"aliases\": [], \"ipv4\": \"\", \"ipv6\": \"\"}]", 1},
		{"--network-rm nosuch", "task.networks", NULL, 0},
		{"--publish-rm 80 --publish-rm 53/udp --publish-add 90:90", "endpoint.ports",
		 "[{\"protocol\": \"tcp\", \"target\": 90, \"published\": 90, \"mode\": \"ingress\", \"host_ip\": \"\"}]", 1},
		{"--publish-add 8080:80", "endpoint.ports", NULL, 0},
		{"--endpoint-mode dnsrr", "endpoint.mode", "dnsrr", 1},
		{"--dns-rm 10.0.0.53 --dns-add 10.0.0.54", "task.container.dns_servers", "[\"10.0.0.54\"]", 1},
		{"--dns-search-rm a.b --dns-search-add c", "task.container.dns_search", "[\"c\"]", 1},
		{"--dns-option-rm x", "task.container.dns_options", "[]", 1},
		{"--host-rm db --host-add db:10.0.0.6", "task.container.hosts", "[\"10.0.0.6 db\"]", 1},
		{"--limit-memory 0", "task.resources.limits.mem_bytes", "0", 0},
		{"--health-cmd other", "task.container.health.test", "[\"CMD-SHELL\", \"other\"]", 1},
		{"--health-cmd=", "task.container.health.test", "[]", 1},
		{"--health-interval 9s", "task.container.health.interval", "9000000000", 2},
		{"--health-interval 0s", "task.container.health.interval", "0", 2},
		{"--no-healthcheck", "task.container.health.test", "[\"NONE\"]", 1},
		{"--ready-wait 3s", "task.container.ready_wait_text", "3s", 2},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = ERROR_INIT;
		_cleanup_pb_ pb_service_spec *spec = create(rich, &err), *before = pb_dup(spec);
		_cleanup_free_ char *text = NULL;
		json_t *json, *was, *at, *value;

		assert_int_equal(edit(spec, cases[i].line, &err), 0);
		json = pb_json(&spec->base);
		was = pb_json(&before->base);
		value = pb_json_path(json, cases[i].path, &at);
		text = pb_json_text(value);
		if (cases[i].want && strcmp(text, cases[i].want) != 0)
			fail_msg("%s: %s is %s, not %s", cases[i].line, cases[i].path, text, cases[i].want);
		if (differences(json, was) != cases[i].differ)
			fail_msg("%s: %u fields changed, not %u", cases[i].line, differences(json, was), cases[i].differ);
		json_decref(json);
		json_decref(was);
	}
}

static void an_update_without_flags_changes_nothing(void **state)
{
	struct error err = ERROR_INIT;
	_cleanup_pb_ pb_service_spec *spec = create("--name web -e A=1 --restart-delay 1s i", &err), *before = pb_dup(spec);

	assert_int_equal(edit(spec, "--detach", &err), 0);
	assert_true(pb_equal(spec, before));
}

static void a_check_that_was_switched_off_comes_back(void **state)
{
	struct error err = ERROR_INIT;
	_cleanup_pb_ pb_service_spec *spec = create("--no-healthcheck i", &err);

	assert_int_equal(edit(spec, "--health-retries 2", &err), 0);
	assert_int_equal(spec->task->container->health->n_test, 0); /* the image's */
	assert_int_equal(edit(spec, "--no-healthcheck", &err), 0);
	assert_int_equal(edit(spec, "--health-cmd true", &err), 0);
	assert_string_equal(spec->task->container->health->test[1], "true");
	assert_int_equal(edit(spec, "--no-healthcheck --health-cmd true", &err), -1);
}

static void update_mistakes(void **state)
{
	struct error err = ERROR_INIT;
	_cleanup_pb_ pb_service_spec *global = create("--mode global i", &err), *spec = create("i", &err);

	assert_int_equal(edit(global, "--replicas 2", &err), -1);
	assert_non_null(strstr(err.msg, "--replicas"));
	assert_int_equal(edit(spec, "--mount-add x", &err), -1);
	assert_non_null(strstr(err.msg, "--mount-add: "));
	assert_int_equal(edit(spec, "--placement-pref-rm x", &err), -1);
	assert_non_null(strstr(err.msg, "--placement-pref-rm: "));
	assert_int_equal(edit(spec, "--publish-rm 80:80", &err), -1);
	assert_non_null(strstr(err.msg, "--publish-rm: \"80:80\": expected the container's port"));
	assert_int_equal(edit(spec, "--network-add front --network-add host", &err), -1);
	assert_non_null(strstr(err.msg, "--network-add: host goes with no other network"));
	assert_int_equal(edit(spec, "--host-rm a~b", &err), -1);
	assert_non_null(strstr(err.msg, "--host-rm: \"a b\""));
	assert_int_equal(edit(spec, "--image Bad@", &err), -1);
	assert_non_null(strstr(err.msg, "--image: "));
}

static void a_new_image_forgets_the_old_digest(void **state)
{
	struct error err = ERROR_INIT;
	_cleanup_pb_ pb_service_spec *spec = create("i:1", &err);

	pb_set_str(&spec->task->container->image_digest, "sha256:abc");
	assert_int_equal(edit(spec, "--image i:2", &err), 0);
	assert_string_equal(spec->task->container->image_digest, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_swarms),
		cmocka_unit_test(flags_of_create),
		cmocka_unit_test(mistakes_name_the_flag),
		cmocka_unit_test(update_changes_only_what_is_given),
		cmocka_unit_test(an_update_without_flags_changes_nothing),
		cmocka_unit_test(a_check_that_was_switched_off_comes_back),
		cmocka_unit_test(update_mistakes),
		cmocka_unit_test(a_new_image_forgets_the_old_digest),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
