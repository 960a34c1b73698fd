/* What names leave to the container, and resolvers that only it can reach. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/dns_world.h"

#include "agent/net/dns_internal.h"

#define INSIDE "10.0.1.53"

/* ---------------------------------------------------------------- port 53 */

struct server {
	int family, type, fd;
};

/* A name server of the container's own, at all its addresses. */
static void open_server(void *data)
{
	struct server *s = data;
	struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons(53)};
	struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(53)};
	bool v4 = s->family == AF_INET;

	s->fd = socket(s->family, s->type | SOCK_CLOEXEC, 0);
	assert_true(s->fd >= 0);
	if (bind(s->fd, v4 ? (struct sockaddr *)&any4 : (struct sockaddr *)&any6, v4 ? sizeof(any4) : sizeof(any6)) < 0)
		fail_msg("bind port 53: %s", strerror(errno));
	if (s->type == SOCK_STREAM)
		assert_int_equal(listen(s->fd, 4), 0);
}

static void port_53_is_the_containers(void **state)
{
	static const int families[] = {AF_INET, AF_INET6}, types[] = {SOCK_DGRAM, SOCK_STREAM};

	for (size_t f = 0; f < ARRAY_SIZE(families); f++) {
		struct server servers[ARRAY_SIZE(types)];

		for (size_t t = 0; t < ARRAY_SIZE(types); t++) {
			servers[t] = (struct server){families[f], types[t], -1};
			inside(open_server, &servers[t]);
		}
		/* ours are still found where resolv.conf says */
		says("+short web", "10.0.1.2\n");
		says("+short +tcp web", "10.0.1.2\n");
		for (size_t t = 0; t < ARRAY_SIZE(types); t++)
			close(servers[t].fd);
	}
}

static void ask_own(void *data)
{
	struct sockaddr_in own = {.sin_family = AF_INET, .sin_port = htons(53)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	inet_pton(AF_INET, "127.0.0.1", &own.sin_addr);
	assert_int_equal(sendto(fd, "mine", 4, 0, (struct sockaddr *)&own, sizeof(own)), 4);
	close(fd);
}

static void questions_to_it_are_its_own(void **state)
{
	struct server server = {AF_INET, SOCK_DGRAM, -1};
	char buf[16];

	inside(open_server, &server);
	inside(ask_own, NULL);
	assert_int_equal(recv(server.fd, buf, sizeof(buf), 0), 4);
	assert_memory_equal(buf, "mine", 4);
	close(server.fd);
}

/* ---------------------------------------------------------------- resolvers in its networks */

static struct upstream there;

static void add_address(void)
{
	_cleanup_free_ char *cmd =
		xasprintf("nsenter --net=/proc/%d/fd/%d ip addr add " INSIDE "/32 dev lo", (int)getpid(), w.ns);

	assert_int_equal(system(cmd), 0);
}

static void open_there(void *data)
{
	struct sockaddr_in a;
	int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	uv_ip4_addr(INSIDE, w.port, &a);
	assert_int_equal(bind(udp, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(bind(tcp, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(uv_udp_open(&there.udp, udp), 0);
	assert_int_equal(uv_tcp_open(&there.tcp, tcp), 0);
}

static int setup_inside(void **state)
{
	pb_container_spec *spec;

	assert_int_equal(setup(state), 0);
	memset(&there, 0, sizeof(there));
	there.udp.data = there.tcp.data = &there;
	there.last = 77;
	uv_udp_init(&w.loop, &there.udp);
	uv_tcp_init(&w.loop, &there.tcp);
	add_address();
	inside(open_there, NULL);
	assert_int_equal(uv_listen((uv_stream_t *)&there.tcp, 16, on_tcp_client), 0);
	assert_int_equal(uv_udp_recv_start(&there.udp, on_buffer, on_question), 0);
	spec = w.task->spec->container;
	pb_strs_add(&spec->n_dns_servers, &spec->dns_servers, INSIDE);
	attach_again();
	return 0;
}

static int teardown_inside(void **state)
{
	uv_close((uv_handle_t *)&there.udp, NULL);
	uv_close((uv_handle_t *)&there.tcp, NULL);
	return teardown(state);
}

static void they_are_asked_from_there(void **state)
{
	says("+short www.example.com", "192.0.2.77\n");
	assert_int_equal(w.opened, 1);
	assert_int_equal(there.by_udp, 1);
	assert_int_equal(w.upstreams[0].by_udp, 0);
}

static void by_tcp_as_well(void **state)
{
	there.behaviour = TRUNCATE;
	contains("+tcp www.example.com", "ANSWER: 40,");
	assert_int_equal(there.by_tcp, 1);
	assert_int_equal(w.opened, 2);
}

static void others_of_the_spec_from_the_host(void **state)
{
	pb_container_spec *spec = w.task->spec->container;

	pb_strs_add(&spec->n_dns_servers, &spec->dns_servers, "127.0.7.3");
	attach_again();
	there.behaviour = SILENT;
	says("+short www.example.com", "192.0.2.3\n"); /* perhaps before the other one's socket was open */
	assert_int_equal(w.upstreams[2].by_udp, 1);
	assert_int_equal(w.opened, 1);
}

static void internal_networks_have_theirs_alone(void **state)
{
	pb_container_spec *spec = w.task->spec->container;

	pb_strs_add(&spec->n_dns_servers, &spec->dns_servers, "127.0.7.3");
	pb_set_str(&w.task->networks[0]->network_id, "back-id");
	attach_again();
	says("+short www.example.com", "192.0.2.77\n");
	there.behaviour = SILENT;
	contains("www.example.com", "status: SERVFAIL");
	assert_int_equal(w.upstreams[2].by_udp, 0);
}

static void one_that_leaves_meanwhile(void **state)
{
	uint8_t query[600];
	size_t len = dns_question(query, "www.example.com", 1, 0);
	struct sockaddr_in from = {.sin_family = AF_INET};
	struct dns_task *t;

	HASH_FIND_STR(w.dns->tasks, w.task->id, t);
	dns_take(t, NULL, &from, query, len);
	until(w.opened == 1); /* its socket is under way */
	dns_detach(w.dns, w.task->id);
	assert_false(dns_serves(w.dns, w.task->id));
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TI(name) cmocka_unit_test_setup_teardown(name, setup_inside, teardown_inside)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(port_53_is_the_containers),
		T(questions_to_it_are_its_own),
		TI(they_are_asked_from_there),
		TI(by_tcp_as_well),
		TI(others_of_the_spec_from_the_host),
		TI(internal_networks_have_theirs_alone),
		TI(one_that_leaves_meanwhile),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
