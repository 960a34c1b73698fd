/*
 * attach_bench - what a task's networks cost its start: from the request to the namespace that has all of them.
 *
 * One node (the agent's net, in a namespace of its own) attaches tasks to one overlay network and the way out: one at a
 * time with a pause before each, as tasks usually come, and all together, one behind the other. Then they leave.
 *
 * usage: attach_bench [TASKS [PAUSE_MS]]      (root; default 60 300)
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/net_nodes.h"

#include <stdlib.h>

static unsigned tasks = 60, pause_ms = 300;
static char dir[] = "/tmp/skein-bench-XXXXXX";
static pid_t underlay;
static struct node node;

static int by_value(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

static pb_net_state *cluster(void)
{
	pb_net_state *s = net_state(true, 0, 1);

	net_network(s, "front", "overlay", 4097, "10.0.0.0/16", "fd00:1::/64");
	net_network(s, "ingress", "overlay", 4096, "10.255.0.0/16", NULL)->spec->ingress = true;
	net_node(s, "n1", "10.77.0.1", 1);
	net_service(s, "web", "front", "10.0.0.2", "fd00:1::2");
	return s;
}

static void id_of(char kind, unsigned i, char ret[static 16])
{
	snprintf(ret, 16, "%c%utask", kind, i);
}

static pb_task *task_of(char kind, unsigned i)
{
	pb_task *t = pb_new(&skein__task__descriptor);
	char id[16], ipv4[24], ipv6[32];
	unsigned nth = i + 10 + (kind == 'b' ? 10000 : 0);

	id_of(kind, i, id);
	snprintf(ipv4, sizeof(ipv4), "10.0.%u.%u/16", nth / 250, nth % 250 + 1);
	snprintf(ipv6, sizeof(ipv6), "fd00:1::%x/64", nth);
	pb_set_str(&t->id, id);
	pb_set_str(&t->service_id, "plain");
	t->spec = pb_new(&skein__task_spec__descriptor);
	t->spec->container = pb_new(&skein__container_spec__descriptor);
	pb_msgs_add(&t->n_networks, &t->networks, net_attachment_of("front", ipv4, ipv6));
	return t;
}

static double attach_ms(char kind, unsigned i)
{
	_cleanup_pb_ pb_task *t = task_of(kind, i);
	int64_t start = clock_mono_ns();
	_cleanup_free_ char *path = NULL;
	int code;

	path = node_task(&node, NODE_ATTACH, t, &code);
	if (code)
		fail_msg("attach: %s", path);
	return (double)(clock_mono_ns() - start) / 1e6;
}

static void print(const char *what, double *v)
{
	qsort(v, tasks, sizeof(*v), by_value);
	printf("%-28s %8.2f %8.2f %8.2f\n", what, v[tasks / 2], v[tasks / 10], v[tasks * 9 / 10]);
}

static void measure(void **state)
{
	double *alone = xcalloc(tasks, sizeof(*alone)), *together = xcalloc(tasks, sizeof(*together));
	pb_net_state *s = cluster();
	char id[16];

	(void)state;
	node_send_state(&node, s);
	pb_free(s);
	attach_ms('c', 0); /* it makes the network */
	for (unsigned i = 0; i < tasks; i++) {
		usleep(pause_ms * 1000);
		alone[i] = attach_ms('a', i);
	}
	for (unsigned i = 0; i < tasks; i++)
		together[i] = attach_ms('b', i);
	printf("%u tasks, ms per attachment%5s %8s %8s %8s\n", tasks, "", "median", "10 %", "90 %");
	print("one at a time", alone);
	print("one behind the other", together);
	for (const char *kind = "ab"; *kind; kind++) {
		for (unsigned i = 0; i < tasks; i++) {
			id_of(*kind, i, id);
			node_do(&node, NODE_DETACH, id, 0);
		}
	}
	free(alone);
	free(together);
}

static int setup(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_non_null(mkdtemp(dir));
	underlay = underlay_new(1500);
	node_start(&node, underlay, "n1", "10.77.0.1/24 fd77::1/64", dir, NULL);
	return 0;
}

static int teardown(void **state)
{
	int r;

	(void)state;
	node_do(&node, NODE_LEAVE, NULL, 0);
	r = node_quit(&node);
	kill(underlay, SIGKILL);
	waitpid(underlay, NULL, 0);
	nodes_clean(dir);
	return r;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests_[] = {cmocka_unit_test(measure)};

	if (argc > 1)
		tasks = (unsigned)strtoul(argv[1], NULL, 10);
	if (argc > 2)
		pause_ms = (unsigned)strtoul(argv[2], NULL, 10);
	if (tasks < 1 || tasks > 5000 || pause_ms > 10000) {
		fputs("usage: attach_bench [TASKS 1-5000 [PAUSE_MS 0-10000]]\n", stderr);
		return 2;
	}
	return cmocka_run_group_tests(tests_, setup, teardown);
}
