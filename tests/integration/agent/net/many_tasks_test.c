/* More tasks on a node than a process has low descriptors. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/net_nodes.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/select.h>

#define TASKS 360 /* each with some descriptors */
#define LOW_MAX 64 /* of the node itself, however many tasks it has */

static char dir[] = "/tmp/skein-net-XXXXXX";
static pid_t underlay;
static struct node node;

static pb_net_state *cluster(void)
{
	pb_net_state *s = net_state(true, 0, 1);

	net_network(s, "front", "overlay", 4097, "10.0.0.0/16", NULL);
	net_node(s, "n1", "10.77.0.1", 1);
	net_service(s, "web", "front", "10.0.0.2", NULL);
	return s;
}

static void attach(unsigned i)
{
	_cleanup_pb_ pb_task *t = pb_new(&skein__task__descriptor);
	_cleanup_free_ char *path = NULL;
	char id[24], ipv4[24];
	int code;

	snprintf(id, sizeof(id), "t%utask", i);
	snprintf(ipv4, sizeof(ipv4), "10.0.%u.%u/16", 1 + i / 250, i % 250 + 1);
	pb_set_str(&t->id, id);
	pb_set_str(&t->service_id, "web");
	t->spec = pb_new(&skein__task_spec__descriptor);
	t->spec->container = pb_new(&skein__container_spec__descriptor);
	pb_msgs_add(&t->n_networks, &t->networks, net_attachment_of("front", ipv4, NULL));
	path = node_task(&node, NODE_ATTACH, t, &code);
	if (code)
		fail_msg("task %u: %s", i, path);
}

static unsigned low_descriptors(void)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/fd", node.pid);
	DIR *d = opendir(path);
	unsigned n = 0;

	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.' && atoi(e->d_name) < FD_SETSIZE;
	closedir(d);
	return n;
}

static void all_have_their_networks(void **state)
{
	_cleanup_free_ char *differences = NULL;
	pb_net_state *s = cluster();

	node_send_state(&node, s);
	pb_free(s);
	for (unsigned i = 0; i < TASKS; i++)
		attach(i);
	assert_in_range(low_descriptors(), 1, LOW_MAX);
	differences = node_call(&node, NODE_CHECK, NULL, 0);
	assert_string_equal(differences, "");
}

static int setup(void **state)
{
	struct rlimit files = {1 << 16, 1 << 16};

	setrlimit(RLIMIT_NOFILE, &files);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_non_null(mkdtemp(dir));
	underlay = underlay_new(1500);
	node_start(&node, underlay, "n1", "10.77.0.1/24", dir, NULL);
	return 0;
}

static int teardown(void **state)
{
	int status;

	node_do(&node, NODE_LEAVE, NULL, 0);
	status = node_quit(&node);
	kill(underlay, SIGKILL);
	waitpid(underlay, NULL, 0);
	nodes_clean(dir);
	return status;
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(all_have_their_networks)};

	return cmocka_run_group_tests_name("many tasks", tests, setup, teardown);
}
