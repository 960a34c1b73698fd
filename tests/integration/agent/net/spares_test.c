/* Namespaces that are made ahead of tasks: taken, made again, and gone with everything else. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/net_nodes.h"

#include <dirent.h>

#define SPARES 4
#define HELD_MAX 64
#define WAIT_NS (20 * NS_PER_SEC)

static char dir[] = "/tmp/skein-net-XXXXXX";
static pid_t underlay;
static struct node node;

/* Namespaces that the node's process has open. */
struct held {
	ino_t v[HELD_MAX];
	size_t n;
};

static bool has(const struct held *h, ino_t inode)
{
	for (size_t i = 0; i < h->n; i++)
		if (h->v[i] == inode)
			return true;
	return false;
}

static struct held look(void)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/fd", node.pid);
	struct held h = {.n = 0};
	DIR *fds = opendir(path);
	struct dirent *entry;
	struct stat own, st;

	assert_non_null(fds);
	assert_int_equal(stat("/proc/self/ns/net", &own), 0);
	while ((entry = readdir(fds))) {
		_cleanup_free_ char *fd = xasprintf("%s/%s", path, entry->d_name);

		if (stat(fd, &st) == 0 && st.st_dev == own.st_dev && !has(&h, st.st_ino) && h.n < HELD_MAX)
			h.v[h.n++] = st.st_ino;
	}
	closedir(fds);
	return h;
}

/* Until it has so many open. */
static struct held settled(size_t n)
{
	int64_t end = clock_mono_ns() + WAIT_NS;
	struct held h;

	while ((h = look()).n != n) {
		if (clock_mono_ns() > end)
			fail_msg("%zu namespaces are open, %zu should be", h.n, n);
		usleep(10000);
	}
	return h;
}

static char *attach(unsigned i)
{
	_cleanup_pb_ pb_task *t = pb_new(&skein__task__descriptor);
	char id[24], ipv4[24], *path;
	int code;

	snprintf(id, sizeof(id), "t%utask", i);
	snprintf(ipv4, sizeof(ipv4), "10.0.0.%u/24", 10 + i);
	pb_set_str(&t->id, id);
	pb_set_str(&t->service_id, "web");
	t->spec = pb_new(&skein__task_spec__descriptor);
	t->spec->container = pb_new(&skein__container_spec__descriptor);
	pb_msgs_add(&t->n_networks, &t->networks, net_attachment_of("front", ipv4, NULL));
	path = node_task(&node, NODE_ATTACH, t, &code);
	if (code)
		fail_msg("task %u: %s", i, path);
	return path;
}

static ino_t inode_of(const char *path)
{
	struct stat st;

	assert_int_equal(stat(path, &st), 0);
	return st.st_ino;
}

static void a_task_gets_a_prepared_one(void **state)
{
	struct held before = settled(1 + SPARES); /* the host's */
	_cleanup_free_ char *first = attach(0), *second = NULL, *differences = NULL;

	assert_true(has(&before, inode_of(first)));
	settled(1 + SPARES + 2); /* with the network's and the task's: made again */
	second = attach(1);
	assert_true(inode_of(first) != inode_of(second));
	differences = node_call(&node, NODE_CHECK, NULL, 0);
	assert_string_equal(differences, "");
}

static void more_than_there_are_wait_a_little(void **state)
{
	_cleanup_free_ char *differences = NULL;

	settled(1 + SPARES + 3);
	for (unsigned i = 2; i < 2 + 3 * SPARES; i++)
		free(attach(i));
	differences = node_call(&node, NODE_CHECK, NULL, 0);
	assert_string_equal(differences, "");
	settled(1 + SPARES + 3 + 3 * SPARES);
}

static void leaving_leaves_none(void **state)
{
	for (unsigned i = 0; i < 2 + 3 * SPARES; i++) {
		char id[24];

		snprintf(id, sizeof(id), "t%utask", i);
		node_do(&node, NODE_DETACH, id, 0);
	}
	node_do(&node, NODE_LEAVE, NULL, 0);
	settled(1);
}

static int setup(void **state)
{
	pb_net_state *s = net_state(true, 0, 1);

	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_non_null(mkdtemp(dir));
	underlay = underlay_new(1500);
	node_start(&node, underlay, "n1", "10.77.0.1/24", dir, NULL);
	net_network(s, "front", "overlay", 4097, "10.0.0.0/24", NULL);
	net_node(s, "n1", "10.77.0.1", 1);
	net_service(s, "web", NULL, NULL, NULL);
	node_send_state(&node, s);
	pb_free(s);
	return 0;
}

static int teardown(void **state)
{
	int status = node_quit(&node);

	kill(underlay, SIGKILL);
	waitpid(underlay, NULL, 0);
	nodes_clean(dir);
	return status;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_task_gets_a_prepared_one),
		cmocka_unit_test(more_than_there_are_wait_a_little),
		cmocka_unit_test(leaving_leaves_none),
	};

	return cmocka_run_group_tests_name("spares", tests, setup, teardown);
}
