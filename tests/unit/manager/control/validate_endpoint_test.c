/* Networks, ports and names in a service spec, looked at alone. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "manager/control/validate.h"
#include "support/build.h"

static int constraint_check(void *data, const char *expr, struct error *err)
{
	return 0;
}

static const struct validate_ops ops = {NULL, constraint_check};

static pb_service_spec *good_spec(void)
{
	pb_service_spec *spec = pb_new(&skein__service_spec__descriptor);

	pb_set_str(&spec->name, "web");
	spec->task = pb_new(&skein__task_spec__descriptor);
	spec->task->container = pb_new(&skein__container_spec__descriptor);
	pb_set_str(&spec->task->container->image, "nginx");
	spec->endpoint = pb_new(&skein__endpoint_spec__descriptor);
	return spec;
}

static pb_attachment_config *join(pb_service_spec *spec, const char *network)
{
	pb_attachment_config *c = pb_new(&skein__network_attachment_config__descriptor);

	pb_set_str(&c->network_id, network);
	pb_msgs_add(&spec->task->n_networks, &spec->task->networks, c);
	return c;
}

static pb_port *publish(pb_service_spec *spec, uint32_t published, uint32_t target, int mode)
{
	pb_port *p = pb_new(&skein__port_config__descriptor);

	p->published = published;
	p->target = target;
	p->mode = (Skein__PublishMode)mode;
	pb_msgs_add(&spec->endpoint->n_ports, &spec->endpoint->ports, p);
	return p;
}

static void accepted(pb_service_spec *spec)
{
	struct error err = ERROR_INIT;

	validate_normalise_service(spec);
	if (validate_service(spec, &ops, &err) < 0)
		fail_msg("refused: %s", err.msg);
}

static void refused(pb_service_spec *spec, const char *field, const char *text)
{
	struct error err = ERROR_INIT;

	validate_normalise_service(spec);
	if (validate_service(spec, &ops, &err) == 0)
		fail_msg("accepted: %s %s", field, text);
	if (err.code != ERR_INVALID && err.code != ERR_EXHAUSTED)
		fail_msg("code %s", error_code_name(err.code));
	if (!str_starts(err.msg, field) || !strstr(err.msg, text))
		fail_msg("not %s and %s: %s", field, text, err.msg);
}

static void kinds_of_network(void **state)
{
	_cleanup_pb_ pb_service_spec *spec = good_spec();

	accepted(spec);
	assert_string_equal(spec->task->network, "bridge");
	join(spec, "n1");
	accepted(spec);
	pb_set_str(&spec->task->network, "host");
	refused(spec, "task.network", "goes with no other");
	pb_set_str(&spec->task->network, "none");
	refused(spec, "task.network", "goes with no other");
	pb_set_str(&spec->task->network, "front");
	refused(spec, "task.network", "bridge, host or none");
}

static void aliases(void **state)
{
	_cleanup_pb_ pb_service_spec *spec = good_spec();
	pb_attachment_config *c = join(spec, "n1");

	pb_strs_add(&c->n_aliases, &c->aliases, "api");
	pb_strs_add(&c->n_aliases, &c->aliases, "api.internal");
	accepted(spec);
	pb_strs_add(&c->n_aliases, &c->aliases, "API");
	refused(spec, "task.networks[0].aliases", "twice");
	pb_set_str(&c->aliases[2], "a_b");
	refused(spec, "task.networks[0].aliases", "a_b");
	pb_set_str(&c->aliases[2], "");
	refused(spec, "task.networks[0].aliases", "labels of letters");
	pb_set_str(&c->aliases[2], "ok");
	for (int i = 0; i < 32; i++)
		pb_strs_add(&c->n_aliases, &c->aliases, "x");
	refused(spec, "task.networks[0].aliases", "at most 32");
}

static void wanted_addresses(void **state)
{
	_cleanup_pb_ pb_service_spec *spec = good_spec();
	pb_attachment_config *c = join(spec, "n1");

	pb_set_str(&c->ipv4, "10.1.0.9");
	pb_set_str(&c->ipv6, "fd00::9");
	accepted(spec);
	spec->replicated->replicas = 2;
	refused(spec, "task.networks[0].ipv4", "one task");
	spec->replicated->replicas = 1;
	spec->update->order = SKEIN__UPDATE_ORDER__START_FIRST;
	refused(spec, "task.networks[0].ipv4", "stop-first");
	spec->update->order = SKEIN__UPDATE_ORDER__STOP_FIRST;
	spec->rollback->order = SKEIN__UPDATE_ORDER__START_FIRST;
	refused(spec, "task.networks[0].ipv4", "a rollback with order start-first");
	spec->rollback->order = SKEIN__UPDATE_ORDER__STOP_FIRST;
	accepted(spec);
	pb_set_str(&c->ipv4, "10.1.0.9/24");
	refused(spec, "task.networks[0].ipv4", "10.1.0.9/24");
	pb_set_str(&c->ipv4, "fd00::9");
	refused(spec, "task.networks[0].ipv4", "must be an IPv4 address");
	pb_set_str(&c->ipv4, "");
	pb_set_str(&c->ipv6, "10.1.0.9");
	refused(spec, "task.networks[0].ipv6", "must be an IPv6 address");
	pb_set_str(&c->ipv6, "");
	pb_set_str(&c->network_id, "");
	refused(spec, "task.networks[0]", "must name a network");
}

static void ports(void **state)
{
	static const struct {
		uint32_t published, target;
		const char *protocol, *host_ip;
		int mode;
		const char *error; /* NULL: accepted */
	} cases[] = {
		{8080, 80, "", "", PUBLISH_INGRESS, NULL},
		{0, 80, "udp", "", PUBLISH_INGRESS, NULL},
		{65535, 65535, "sctp", "", PUBLISH_HOST, NULL},
		{8080, 80, "tcp", "10.0.0.1", PUBLISH_HOST, NULL},
		{8080, 80, "tcp", "::1", PUBLISH_HOST, NULL},
		{8080, 80, "icmp", "", PUBLISH_INGRESS, "8080:80/icmp\": the protocol must be tcp"},
		{8080, 0, "tcp", "", PUBLISH_INGRESS, "target port must be 1 to 65535"},
		{8080, 65536, "tcp", "", PUBLISH_INGRESS, "8080:65536/tcp"},
		{65536, 80, "tcp", "", PUBLISH_INGRESS, "published port must be"},
		{8080, 80, "tcp", "10.0.0.1", PUBLISH_INGRESS, "10.0.0.1:8080:80/tcp"},
		{8080, 80, "tcp", "lo", PUBLISH_HOST, "must be an IP address"},
		{8080, 80, "tcp", "10.0.0.1/8", PUBLISH_HOST, "must be an IP address"},
		{8080, 80, "tcp", "", 2, "mode 2: must be ingress or host"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_pb_ pb_service_spec *spec = good_spec();
		pb_port *p = publish(spec, cases[i].published, cases[i].target, cases[i].mode);

		pb_set_str(&p->protocol, cases[i].protocol);
		pb_set_str(&p->host_ip, cases[i].host_ip);
		if (cases[i].error) {
			refused(spec, "endpoint.ports[0]", cases[i].error);
			continue;
		}
		accepted(spec);
		assert_string_equal(p->protocol, *cases[i].protocol ? cases[i].protocol : "tcp");
	}
}

static void ports_of_one_service_do_not_collide(void **state)
{
	static const struct {
		int mode1, mode2;
		const char *protocol1, *protocol2, *ip1, *ip2;
		bool ok;
	} cases[] = {
		{PUBLISH_INGRESS, PUBLISH_INGRESS, "tcp", "tcp", "", "", false},
		{PUBLISH_INGRESS, PUBLISH_INGRESS, "tcp", "udp", "", "", true},
		{PUBLISH_INGRESS, PUBLISH_HOST, "tcp", "tcp", "", "", false},
		{PUBLISH_HOST, PUBLISH_HOST, "tcp", "tcp", "", "", false},
		{PUBLISH_HOST, PUBLISH_HOST, "tcp", "tcp", "10.0.0.1", "10.0.0.2", true},
		{PUBLISH_HOST, PUBLISH_HOST, "tcp", "tcp", "10.0.0.1", "", false},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_pb_ pb_service_spec *spec = good_spec();
		pb_port *a = publish(spec, 8080, 80, cases[i].mode1),
			*b = publish(spec, 8080, 81, cases[i].mode2);

		pb_set_str(&a->protocol, cases[i].protocol1);
		pb_set_str(&b->protocol, cases[i].protocol2);
		pb_set_str(&a->host_ip, cases[i].ip1);
		pb_set_str(&b->host_ip, cases[i].ip2);
		if (cases[i].ok)
			accepted(spec);
		else
			refused(spec, "endpoint.ports[1]", "published twice");
	}
}

static void modes_and_networks_of_ports(void **state)
{
	_cleanup_pb_ pb_service_spec *spec = good_spec();
	pb_port *p = publish(spec, 0, 80, PUBLISH_INGRESS);

	publish(spec, 0, 81, PUBLISH_INGRESS); /* both get one of their own */
	accepted(spec);
	spec->endpoint->mode = (Skein__EndpointMode)ENDPOINT_DNSRR;
	refused(spec, "endpoint.ports[0]", "endpoint mode vip");
	p->mode = spec->endpoint->ports[1]->mode = (Skein__PublishMode)PUBLISH_HOST;
	accepted(spec);
	pb_set_str(&spec->task->network, "host");
	refused(spec, "endpoint.ports[0]", "network host");
	pb_set_str(&spec->task->network, "none");
	refused(spec, "endpoint.ports[0]", "network none");
	pb_set_str(&spec->task->network, "");
	spec->endpoint->mode = (Skein__EndpointMode)2;
	refused(spec, "endpoint.mode", "vip or dnsrr");
	spec->endpoint->mode = (Skein__EndpointMode)ENDPOINT_VIP;
	while (spec->endpoint->n_ports <= 1000)
		publish(spec, 0, 80, PUBLISH_INGRESS);
	refused(spec, "endpoint.ports", "at most 1000");
}

static void balancing_labels(void **state)
{
	_cleanup_pb_ pb_service_spec *spec = good_spec();

	pb_kv_set(&spec->n_labels, &spec->labels, "skein.lb.scheduler", "mh");
	pb_kv_set(&spec->n_labels, &spec->labels, "skein.lb.weight", "256");
	accepted(spec);
	pb_kv_set(&spec->n_labels, &spec->labels, "skein.lb.weight", "257");
	refused(spec, "labels skein.lb.weight", "1 to 256");
	pb_kv_set(&spec->n_labels, &spec->labels, "skein.lb.weight", "1");
	pb_kv_set(&spec->n_labels, &spec->labels, "skein.lb.scheduler", "best");
	refused(spec, "labels skein.lb.scheduler", "best");
}

static void names(void **state)
{
	static const char *const good_hosts[] = {"10.0.0.1 db", "10.0.0.1\tdb db.example.com a_b",
						 "fd00::1 db"};
	static const char *const bad_hosts[] = {"", "db", "10.0.0.1", "10.0.0.1 ", "db 10.0.0.1",
						"10.0.0.1/8 db", "10.0.0.1 -db"};
	static const char *const good_options[] = {"ndots:2", "rotate", "use-vc", "timeout:10"};
	static const char *const bad_options[] = {"", ":", "ndots:", "ndots:x", "a b", ":2"};
	static const char *const good_search[] = {".", "example.com", "example.com.", "_srv.a"};
	static const char *const bad_search[] = {"", "a..b", "-a", "a b"};
	_cleanup_pb_ pb_service_spec *spec = good_spec();
	pb_container_spec *c = spec->task->container;

	pb_strs_add(&c->n_hosts, &c->hosts, "10.0.0.1 db");
	pb_strs_add(&c->n_dns_options, &c->dns_options, "rotate");
	pb_strs_add(&c->n_dns_search, &c->dns_search, ".");
	pb_strs_add(&c->n_dns_servers, &c->dns_servers, "192.0.2.53");
	pb_strs_add(&c->n_dns_servers, &c->dns_servers, "2001:db8::53");
#define EACH(list, field, check, ...)                                                              \
	for (size_t i = 0; i < ARRAY_SIZE(list); i++) {                                            \
		pb_set_str(&c->field[0], list[i]);                                                 \
		check(spec, ##__VA_ARGS__);                                                        \
	}
	EACH(good_hosts, hosts, accepted)
	EACH(bad_hosts, hosts, refused, "task.container.hosts[0]", bad_hosts[i])
	EACH(good_hosts, hosts, accepted)
	EACH(good_options, dns_options, accepted)
	EACH(bad_options, dns_options, refused, "task.container.dns_options[0]", bad_options[i])
	EACH(good_options, dns_options, accepted)
	EACH(good_search, dns_search, accepted)
	EACH(bad_search, dns_search, refused, "task.container.dns_search[0]", bad_search[i])
	EACH(good_search, dns_search, accepted)
	pb_set_str(&c->dns_servers[1], "dns.example.com");
	refused(spec, "task.container.dns_servers[1]", "dns.example.com");
	pb_set_str(&c->dns_servers[1], "10.0.0.0/8");
	refused(spec, "task.container.dns_servers[1]", "10.0.0.0/8");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(kinds_of_network),
		cmocka_unit_test(aliases),
		cmocka_unit_test(wanted_addresses),
		cmocka_unit_test(ports),
		cmocka_unit_test(ports_of_one_service_do_not_collide),
		cmocka_unit_test(modes_and_networks_of_ports),
		cmocka_unit_test(balancing_labels),
		cmocka_unit_test(names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
