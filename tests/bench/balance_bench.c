/*
 * balance_bench - what it costs to program a node's balancing: many services at once, and one change among many.
 *
 * One node (the agent's net, in a namespace of its own) with a task in one overlay network is told of SERVICES services
 * with BACKENDS endpoints each, by the messages that a manager sends; timed is from the message to the moment in which
 * the kernel has it. Then one endpoint at a time leaves and comes back, with SERVICES and with 10 services. With IPVS,
 * ipvsadm(8) restores the same table in a fresh namespace, in the same rounds.
 *
 * usage: balance_bench [SERVICES [BACKENDS [ROUNDS [ipvs|nftables]]]]      (root; default 10000 3 5, what the kernel has)
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/net_nodes.h"

#include <stdlib.h>

#define CHANGES 21

static const char *balancer;
static unsigned services = 10000, backends = 3, rounds = 5;
static char dir[] = "/tmp/skein-bench-XXXXXX";
static pid_t underlay;
static bool has_ipvs;

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static double median(double *v, size_t n)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[n / 2];
}

static double ms_since(int64_t start)
{
	return (double)(clock_mono_ns() - start) / 1e6;
}

/* ---- what the node is told */

static void vip_of(unsigned i, char ret[static 32])
{
	snprintf(ret, 32, "10.1.%u.%u", i / 250, i % 250 + 1);
}

static void backend_of(unsigned i, unsigned k, char ret[static 32])
{
	snprintf(ret, 32, "10.%u.%u.%u", 2 + k, i / 250, i % 250 + 1);
}

static void put_endpoint(pb_net_state *s, unsigned i, unsigned k, bool ready)
{
	char address[32], task[32], service[32], cidr[40];

	backend_of(i, k, address);
	snprintf(cidr, sizeof(cidr), "%s/8", address);
	snprintf(task, sizeof(task), "t%u-%u", i, k);
	snprintf(service, sizeof(service), "s%u", i);
	net_endpoint(s, task, service, k % 2 ? "n2" : "n3", ready, "front", cidr, NULL);
}

/* With endpoints of n services; the services themselves only when they are wanted. */
static pb_net_state *cluster(unsigned n, bool balanced)
{
	pb_net_state *s = net_state(true, 0, 1);

	net_network(s, "front", "overlay", 4097, "10.0.0.0/8", NULL);
	for (unsigned i = 1; i <= 3; i++) {
		char id[8], address[16];

		snprintf(id, sizeof(id), "n%u", i);
		snprintf(address, sizeof(address), "10.77.0.%u", i);
		net_node(s, id, address, i);
	}
	net_endpoint(s, "client", "client", "n1", true, "front", "10.0.0.9/8", NULL);
	for (unsigned i = 0; i < n; i++) {
		char id[32], vip[32];

		snprintf(id, sizeof(id), "s%u", i);
		vip_of(i, vip);
		if (balanced)
			net_service(s, id, "front", vip, NULL);
		for (unsigned k = 0; k < backends; k++)
			put_endpoint(s, i, k, true);
	}
	return s;
}

static pb_task *client_task(void)
{
	pb_task *t = pb_new(&skein__task__descriptor);

	pb_set_str(&t->id, "client");
	pb_set_str(&t->service_id, "client");
	t->spec = pb_new(&skein__task_spec__descriptor);
	t->spec->container = pb_new(&skein__container_spec__descriptor);
	pb_msgs_add(&t->n_networks, &t->networks, net_attachment_of("front", "10.0.0.9/8", NULL));
	return t;
}

/* ---- one node */

/* All that was asked so far has been carried out: a check of a network that does not exist waits behind it. */
static void settle(struct node *n)
{
	node_do(n, NODE_CHECK, "nothing", 0);
}

static void node_up(struct node *n, const char *name)
{
	_cleanup_pb_ pb_task *t = client_task();
	_cleanup_free_ char *path = NULL, *mode = NULL;
	pb_net_state *s = cluster(0, true);
	int code;

	node_start(n, underlay, name, "10.77.0.1/24", dir, balancer);
	snprintf(n->id, sizeof(n->id), "n1");
	node_send_state(n, s);
	pb_free(s);
	path = node_task(n, NODE_ATTACH, t, &code);
	if (code)
		fail_msg("attach: %s", path);
	settle(n);
	mode = node_call(n, NODE_FEATURES, NULL, 0);
	has_ipvs = strstr(mode, "network.balancer=ipvs") != NULL;
}

static void node_down(struct node *n)
{
	node_do(n, NODE_DETACH, "client", 0);
	node_do(n, NODE_LEAVE, NULL, 0);
	assert_int_equal(node_quit(n), 0);
}

/* Message to kernel, for all at once. */
static double program_ms(struct node *n, pb_net_state *s)
{
	int64_t start;

	node_do(n, NODE_BEGIN, NULL, 0);
	start = clock_mono_ns();
	node_send_state(n, s);
	settle(n);
	return ms_since(start);
}

/* Message to kernel, for one endpoint that leaves or comes back. */
static double change_ms(struct node *n)
{
	double v[CHANGES];

	for (unsigned i = 0; i < CHANGES; i++) {
		pb_net_state *s = net_state(false, 1 + i, 2 + i);
		int64_t start;

		put_endpoint(s, 3, 1, i % 2);
		start = clock_mono_ns();
		node_send_state(n, s);
		settle(n);
		v[i] = ms_since(start);
		pb_free(s);
	}
	return median(v, CHANGES);
}

/* ---- the peer */

static void write_ipvsadm(const char *path)
{
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	for (unsigned i = 0; i < services; i++) {
		char address[32];

		vip_of(i, address);
		fprintf(f, "-A -t %s:80 -s rr\n", address);
		for (unsigned k = 0; k < backends; k++) {
			char to[32];

			backend_of(i, k, to);
			fprintf(f, "-a -t %s:80 -r %s:80 -g -w 1\n", address, to);
		}
	}
	assert_int_equal(fclose(f), 0);
}

static double ipvsadm_ms(const char *path)
{
	int64_t start = clock_mono_ns();

	/* A destination must have a route. */
	run_ok("unshare -n sh -c 'ip link set lo up && ip route add 10.0.0.0/8 dev lo && ipvsadm -R <%s && [ \"$(ipvsadm -Sn | wc -l)\" = %u ]'", path, services * (backends + 1));
	return ms_since(start);
}

/* Entering and listing, which are not what is compared. */
static double ipvsadm_floor_ms(void)
{
	int64_t start = clock_mono_ns();

	run_ok("unshare -n sh -c 'ipvsadm -R </dev/null; [ \"$(ipvsadm -Sn | wc -l)\" = 0 ]'");
	return ms_since(start);
}

/* ---- */

struct round {
	double peers, balance, ipvsadm, among_all, among_ten;
};

/* First the way to all endpoints (forwarding and neighbour entries), then, in a message of its own, their balancing: this is
 * what ipvsadm does. */
static void one_round(unsigned round, const char *file, struct round *ret)
{
	struct node n;
	char name[16];
	pb_net_state *peers = cluster(services, false), *s = cluster(services, true), *ten = cluster(10, true);

	snprintf(name, sizeof(name), "r%u", round);
	node_up(&n, name);
	ret->peers = program_ms(&n, peers);
	ret->balance = program_ms(&n, s);
	ret->among_all = change_ms(&n);
	program_ms(&n, ten);
	ret->among_ten = change_ms(&n);
	node_down(&n);
	pb_free(peers);
	pb_free(s);
	pb_free(ten);
	ret->ipvsadm = has_ipvs ? ipvsadm_ms(file) - ipvsadm_floor_ms() : 0;
}

static double median_of(const struct round *v, size_t field)
{
	_cleanup_free_ double *values = xcalloc(rounds, sizeof(*values));

	for (unsigned r = 0; r < rounds; r++)
		values[r] = *(const double *)((const char *)&v[r] + field);
	return median(values, rounds);
}

static void measure(void **state)
{
	_cleanup_free_ struct round *v = xcalloc(rounds, sizeof(*v));
	_cleanup_free_ char *file = xasprintf("%s/rules", dir);
	double balance, all, ten;

	(void)state;
	write_ipvsadm(file);
	for (unsigned r = 0; r < rounds; r++)
		one_round(r, file, v + r);
	balance = median_of(v, offsetof(struct round, balance));
	all = median_of(v, offsetof(struct round, among_all));
	ten = median_of(v, offsetof(struct round, among_ten));
	printf("balancer %s, %u services x %u, %u rounds, medians\n", has_ipvs ? "ipvs" : "nftables", services, backends, rounds);
	printf("%-44s %10.1f ms\n", "the way to all endpoints", median_of(v, offsetof(struct round, peers)));
	printf("%-44s %10.1f ms\n", "balancing of all services", balance);
	if (has_ipvs) {
		double peer = median_of(v, offsetof(struct round, ipvsadm));

		printf("%-44s %10.1f ms\n", "ipvsadm -R of the same", peer);
		printf("%-44s %10.2f\n", "times faster than ipvsadm", peer / balance);
	}
	printf("%-44s %10.3f ms\n", "one change among all", all);
	printf("%-44s %10.3f ms\n", "one change among 10", ten);
	printf("%-44s %10.2f\n", "ratio", all / ten);
}

static int setup(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_non_null(mkdtemp(dir));
	underlay = underlay_new(1500);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	kill(underlay, SIGKILL);
	waitpid(underlay, NULL, 0);
	nodes_clean(dir);
	return 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(measure)};

	if (argc > 1)
		services = (unsigned)strtoul(argv[1], NULL, 10);
	if (argc > 2)
		backends = (unsigned)strtoul(argv[2], NULL, 10);
	if (argc > 3)
		rounds = (unsigned)strtoul(argv[3], NULL, 10);
	balancer = argc > 4 ? argv[4] : NULL;
	if (services < 10 || services > 60000 || backends < 2 || backends > 8 || rounds < 1 || rounds > 100) {
		fputs("usage: balance_bench [SERVICES 10-60000 [BACKENDS 2-8 [ROUNDS 1-100 [ipvs|nftables]]]]\n", stderr);
		return 2;
	}
	return cmocka_run_group_tests(tests, setup, teardown);
}
