/* The file that the agent writes is one that the manager reads, and nothing can be smuggled into it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/manager_conf.h"
#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <string.h>

static struct agent_config agent = {
	.state_dir = (char *)"/var/lib/skein",
	.run_dir = (char *)"/run/skein",
	.auth_file = (char *)"/etc/skein/auth.json",
	.certs_dir = (char *)"/etc/containers/certs.d",
	.etcd_client_port = 2379,
	.etcd_peer_port = 12380,
};

static bool has_line(const char *text, const char *line)
{
	_cleanup_free_ char *whole = xasprintf("\n%s\n", line);

	return strstr(text, whole) != NULL;
}

static void embedded_etcd(void **state)
{
	char *const join[] = {(char *)"10.0.0.2:2377", (char *)"10.0.0.3:2377", NULL};
	struct manager_conf conf = {
		.agent = &agent, .listen = "0.0.0.0:2377", .advertise = "10.0.0.1:2377", .join = join,
	};
	struct error err = ERROR_INIT;
	_cleanup_free_ char *text = manager_conf_text(&conf, &err);

	(void)state;
	assert_non_null(text);
	assert_true(has_line(text, "state-dir = /var/lib/skein"));
	assert_true(has_line(text, "listen = 0.0.0.0:2377"));
	assert_true(has_line(text, "advertise-address = 10.0.0.1:2377"));
	assert_true(has_line(text, "join = 10.0.0.2:2377"));
	assert_true(has_line(text, "join = 10.0.0.3:2377"));
	assert_true(has_line(text, "etcd-peer-port = 12380"));
	assert_null(strstr(text, "etcd-endpoint"));
	assert_null(strstr(text, "etcd-ca"));
	assert_null(strstr(text, "force-new-cluster"));
}

static void external_etcd_and_force(void **state)
{
	char *const endpoints[] = {(char *)"https://10.0.0.9:2379", NULL};
	struct manager_conf conf = {
		.agent = &agent, .listen = "[::]:2377", .advertise = "[fd00::1]:2377", .etcd_endpoints = endpoints,
		.etcd_ca = "/etc/etcd/ca.crt", .etcd_cert = "/etc/etcd/c.crt", .etcd_key = "/etc/etcd/c.key",
		.force_new_cluster = true,
	};
	struct error err = ERROR_INIT;
	_cleanup_free_ char *text = manager_conf_text(&conf, &err);

	(void)state;
	assert_non_null(text);
	assert_true(has_line(text, "etcd-endpoint = https://10.0.0.9:2379"));
	assert_true(has_line(text, "etcd-ca = /etc/etcd/ca.crt"));
	assert_true(has_line(text, "etcd-key = /etc/etcd/c.key"));
	assert_true(has_line(text, "force-new-cluster = true"));
	assert_true(has_line(text, "listen = [::]:2377"));
}

static void values_stay_on_their_line(void **state)
{
	static const char *const bad[] = {"10.0.0.1:2377\netcd-endpoint = http://evil", "a\rb", "10.0.0.1:2377 # no"};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct manager_conf conf = {.agent = &agent, .listen = "0.0.0.0:2377", .advertise = bad[i]};
		struct error err = ERROR_INIT;

		assert_null(manager_conf_text(&conf, &err));
		assert_int_equal(err.code, ERR_INVALID);
		assert_non_null(strstr(err.msg, "advertise-address"));
	}
}

static void flags_of_what_may_change(void **state)
{
	struct agent_config config = {.manager_http_listen = (char *)"0.0.0.0:9641", .manager_http_tls = true};
	_cleanup_strv_ struct strv flags = {0};
	char where[MANAGER_CONF_WHERE_MAX];

	(void)state;
	manager_conf_http_flags(&config, &flags);
	assert_int_equal(flags.n, 2);
	assert_true(strv_has(&flags, "--http-listen=0.0.0.0:9641"));
	assert_true(strv_has(&flags, "--http-tls=true"));
	assert_string_equal(manager_conf_http_where(&config, where), "https:9641");
	config.manager_http_tls = false;
	config.manager_http_listen = (char *)"[::]:80";
	assert_string_equal(manager_conf_http_where(&config, where), "http:80");
	config.manager_http_listen = (char *)"off";
	assert_string_equal(manager_conf_http_where(&config, where), "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(embedded_etcd),
		cmocka_unit_test(external_etcd_and_force),
		cmocka_unit_test(flags_of_what_may_change),
		cmocka_unit_test(values_stay_on_their_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
