#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/rounds.h"

#include "manager/allocator/allocator.h"
#include "manager/allocator/ports.h"

static void plan_all(struct plan *p)
{
	plan_scope(p);
	allocator_plan(p);
}

static size_t run(struct rounds *r)
{
	return rounds_commit(r, rounds_plan(r, plan_all), SIZE_MAX, NULL, NULL);
}

/* "tcp/8080:80 udp/30000:53h" - what a service was given, host mode with an h. */
static char *ports_of(struct rounds *r, const char *id)
{
	const pb_endpoint *e = view_service(r->view, id)->endpoint;
	struct strbuf out = {0};

	for (size_t i = 0; e && i < e->n_ports; i++)
		strbuf_printf(&out, "%s%s/%u:%u%s", i ? " " : "", e->ports[i]->protocol, e->ports[i]->published,
			      e->ports[i]->target, e->ports[i]->mode == PUBLISH_HOST ? "h" : "");
	return strbuf_take(&out);
}

static char *vips_of(struct rounds *r, const char *id)
{
	const pb_endpoint *e = view_service(r->view, id)->endpoint;
	struct strbuf out = {0};

	for (size_t i = 0; e && i < e->n_vips; i++)
		strbuf_printf(&out, "%s%s=%s,%s", i ? " " : "", e->vips[i]->network_id, e->vips[i]->ipv4,
			      e->vips[i]->ipv6);
	return strbuf_take(&out);
}

static void assert_ports(struct rounds *r, const char *id, const char *want)
{
	_cleanup_free_ char *got = ports_of(r, id);

	assert_string_equal(got, want);
}

static void assert_vips(struct rounds *r, const char *id, const char *want)
{
	_cleanup_free_ char *got = vips_of(r, id);

	assert_string_equal(got, want);
}

static void assert_err(struct rounds *r, const char *id, const char *want)
{
	const pb_endpoint *e = view_service(r->view, id)->endpoint;

	assert_string_equal(e ? e->err : "", want);
}

static void what_services_get(void **state)
{
	struct {
		struct built service, others[3];
		const char *ports, *vips, *err;
	} cases[] = {
		{service("web", .network = "host"), {{0}}, "", "", ""},
		{service("web", .networks = "front"), {{0}}, "", "front=10.0.3.2,fd00::1", ""},
		{service("web", .networks = "front;back;lan;gone"), {{0}}, "", "front=10.0.3.2,fd00::1 back=10.0.4.2,", ""},
		{service("web", .networks = "front", .dnsrr = true), {{0}}, "", "", ""},
		/* What it has stays; a second family comes to it. */
		{service("web", .networks = "front", .given_vips = "front=10.0.3.77"), {{0}}, "", "front=10.0.3.77,fd00::1", ""},
		/* A mode that changed. */
		{service("web", .networks = "front", .dnsrr = true, .given_vips = "front=10.0.3.77"), {{0}}, "", "", ""},
		/* A network that it left with its last task. */
		{service("web", .networks = "back", .given_vips = "front=10.0.3.77;back=10.0.4.9"), {{0}}, "", "back=10.0.4.9,", ""},
		{service("web", .networks = "back", .given_vips = "front=10.0.3.77;back=10.0.4.9"),
		 {task("t1", .slot = 1, .node = "n1", .desired = TASK_SHUTDOWN, .addresses = "front=10.0.3.5/24")}, "",
		 "back=10.0.4.9, front=10.0.3.77,", ""},
		{service("web", .networks = "full"), {{0}}, "", "", "network full: no free address in 10.0.5.0/31 (1 in use)"},
		{service("web", .ports = "8080:80/tcp;8080:80/udp;:53/udp;:53/udp;9000:9/tcp/host;:7/sctp"), {{0}},
		 "tcp/8080:80 udp/8080:80 udp/30000:53 udp/30001:53 tcp/9000:9h sctp/30000:7", "", ""},
		/* Chosen ones stay when others come and go. */
		{service("web", .ports = ":80/tcp;:81/tcp", .given_ports = "30007:81/tcp;30009:99/tcp"), {{0}},
		 "tcp/30000:80 tcp/30007:81", "", ""},
		/* What was named is no choice of ours. */
		{service("web", .ports = ":80/tcp", .given_ports = "8080:80/tcp"), {{0}}, "tcp/30000:80", "", ""},
		{service("web", .ports = ":80/tcp;30005:80/tcp", .given_ports = "30005:80/tcp"), {{0}},
		 "tcp/30000:80 tcp/30005:80", "", ""},
		/* Others' ports: of ingress mode they are taken, of host mode the scheduler cares. */
		{service("web", .ports = "8080:80/tcp;8081:81/tcp;:1/tcp"),
		 {service("db", .ports = "8080:1/tcp", .given_ports = "8080:1/tcp"),
		  service("dns", .ports = "8081:1/tcp/host;30000:9/tcp/host", .given_ports = "8081:1/tcp/host")},
		 "tcp/8081:81 tcp/30001:1", "", "port 8080/tcp is already in use by service 'db' (db) as an ingress port"},
		{service("web", .ports = "8080:80/tcp/host;8080:80/udp"),
		 {service("db", .ports = "8080:1/tcp", .given_ports = "8080:1/tcp")}, "tcp/8080:80h udp/8080:80", "", ""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rounds r;

		rounds_init(&r, view_of(network("front", .given = "10.0.3.0/24", .gateway = "10.0.3.1", .given6 = "fd00::/64"),
					network("back", .given = "10.0.4.0/24", .gateway = "10.0.4.1"),
					network("lan", .driver = "macvlan", .given = "192.168.1.0/24"),
					network("full", .given = "10.0.5.0/31", .gateway = "10.0.5.0"),
					service("other", .networks = "full", .given_vips = "full=10.0.5.1"),
					cases[i].service));
		for (size_t k = 0; k < 3 && cases[i].others[k].obj; k++)
			view_add(r.view, cases[i].others[k]);
		run(&r);
		assert_ports(&r, "web", cases[i].ports);
		assert_vips(&r, "web", cases[i].vips);
		assert_err(&r, "web", cases[i].err);
		/* It is final: for the same leader, and for the next one. */
		run(&r);
		assert_int_equal(run(&r), 0);
		rounds_new_leader(&r);
		assert_int_equal(run(&r), 0);
		assert_ports(&r, "web", cases[i].ports);
		rounds_fini(&r);
	}
}

/* Two ask for one port in the same round: one gets it, the other as soon as it is free. */
static void a_port_that_comes_free(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(service("a", .ports = "8080:80/tcp"), service("b", .ports = "8080:80/tcp")));
	run(&r);
	assert_ports(&r, "a", "tcp/8080:80");
	assert_ports(&r, "b", "");
	assert_err(&r, "b", "port 8080/tcp is already in use by service 'a' (a) as an ingress port");
	run(&r);
	rounds_put(&r, KIND_SERVICE, "a", NULL);
	run(&r);
	assert_ports(&r, "b", "tcp/8080:80");
	assert_err(&r, "b", "");
	rounds_fini(&r);
}

static void all_dynamic_ports(void **state)
{
	struct rounds r;
	struct strbuf ports = {0};
	const pb_service *web;

	for (unsigned i = PORTS_FIRST; i <= PORTS_LAST; i++)
		strbuf_puts(&ports, i == PORTS_FIRST ? ":80/tcp" : ";:80/tcp");
	rounds_init(&r, view_of(service("web", .ports = ports.p), service("zz", .ports = ":9/tcp;:9/udp")));
	run(&r);
	web = view_service(r.view, "web");
	assert_int_equal(web->endpoint->n_ports, PORTS_LAST - PORTS_FIRST + 1);
	assert_err(&r, "web", "");
	assert_ports(&r, "zz", "udp/30000:9");
	assert_err(&r, "zz", "no free port for 9/tcp (all of 30000 to 32767 are in use)");
	run(&r);
	rounds_put(&r, KIND_SERVICE, "web", service("web").obj);
	run(&r); /* it gives its ports back */
	run(&r);
	assert_ports(&r, "zz", "tcp/30000:9 udp/30000:9");
	assert_err(&r, "zz", "");
	strbuf_fini(&ports);
	rounds_fini(&r);
}

static void an_address_that_comes_free(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(network("full", .given = "10.0.5.0/31", .gateway = "10.0.5.0"),
				service("a", .networks = "full", .given_vips = "full=10.0.5.1"),
				service("b", .networks = "full")));
	run(&r);
	assert_err(&r, "b", "network full: no free address in 10.0.5.0/31 (1 in use)");
	run(&r);
	assert_int_equal(run(&r), 0);
	rounds_put(&r, KIND_SERVICE, "a", NULL);
	run(&r);
	assert_vips(&r, "b", "full=10.0.5.1,");
	assert_err(&r, "b", "");
	rounds_fini(&r);
}

/* The address in a network that is left goes with the last task there. */
static void leaving_a_network(void **state)
{
	struct rounds r;

	rounds_init(&r, view_of(network("front", .given = "10.0.3.0/24", .gateway = "10.0.3.1"), node("n1"),
				service("web", .networks = "front"),
				task("t1", .slot = 1, .node = "n1", .addresses = "front=10.0.3.5/24")));
	run(&r);
	assert_vips(&r, "web", "front=10.0.3.6,");
	rounds_put(&r, KIND_SERVICE, "web", service("web", .network = "host", .given_vips = "front=10.0.3.6").obj);
	run(&r);
	assert_vips(&r, "web", "front=10.0.3.6,");
	rounds_report(&r, "t1", TASK_SHUTDOWN);
	run(&r);
	assert_vips(&r, "web", "");
	rounds_fini(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_services_get),	      cmocka_unit_test(a_port_that_comes_free),
		cmocka_unit_test(all_dynamic_ports),	      cmocka_unit_test(an_address_that_comes_free),
		cmocka_unit_test(leaving_a_network),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
