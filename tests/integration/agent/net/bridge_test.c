/* Networks of one host: the way out by either interface, and ports that are published. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/net_nodes.h"

#define CLIENT4 "10.77.0.9"
#define CLIENT6 "fd77::9"

static char dir[] = "/tmp/skein-net-XXXXXX";
static pid_t underlay, client, outside, inside;
static struct node node;
static int client_ns, client_fd, open_ns, closed_ns;

static pb_net_state *cluster(void)
{
	pb_net_state *s = net_state(true, 0, 1);
	pb_net_service *web;

	net_network(s, "local", "bridge", 0, "10.5.0.0/24", "fd05::/64");
	net_network(s, "shut", "bridge", 0, "10.6.0.0/24", NULL)->spec->internal = true;
	net_network(s, "ingress", "overlay", 4096, "10.255.0.0/16", NULL)->spec->ingress = true;
	net_node(s, "n1", "10.77.0.1", 1);
	web = net_service(s, "web", "local", "10.5.0.2", "fd05::2");
	net_port(web, "tcp", 8080, 80, false);
	net_port(web, "tcp", 9090, 80, true);
	net_endpoint(s, "opentask", "web", "n1", true, "local", "10.5.0.11/24", "fd05::11/64");
	return s;
}

static int attach(const char *id, const char *network, const char *ipv4, const char *ipv6, char **ret_path)
{
	_cleanup_pb_ pb_task *t = pb_new(&skein__task__descriptor);
	int code;

	pb_set_str(&t->id, id);
	pb_set_str(&t->service_id, "web");
	t->spec = pb_new(&skein__task_spec__descriptor);
	t->spec->container = pb_new(&skein__container_spec__descriptor);
	pb_msgs_add(&t->n_networks, &t->networks, net_attachment_of(network, ipv4, ipv6));
	*ret_path = node_task(&node, NODE_ATTACH, t, &code);
	if (code)
		fail_msg("attach: %s", *ret_path);
	return ns_of_path(*ret_path);
}

/* As ask(), from one of several addresses. */
static void assert_seen_as(int ns, const char *from, const char *to, const char *wanted)
{
	struct sockaddr_storage own, there;
	socklen_t own_len = sockaddr_of(from, 0, &own), len = sockaddr_of(to, 80, &there);
	int fd = ns_socket(ns, own.ss_family, SOCK_STREAM);
	char buf[128], text[128];

	set_timeout(fd, 3000);
	assert_int_equal(bind(fd, (struct sockaddr *)&own, own_len), 0);
	if (connect(fd, (struct sockaddr *)&there, len) < 0)
		fail_msg("%s to %s: %s", from, to, strerror(errno));
	snprintf(text, sizeof(text), "outside %s", wanted);
	assert_string_equal(ask_on(fd, buf, sizeof(buf)), text);
	close(fd);
}

static void the_way_out(void **state)
{
	char buf[128];

	assert_string_equal(ask(open_ns, CLIENT4, 80, SOCK_STREAM, buf, sizeof(buf)), "outside 10.77.0.1");
	assert_string_equal(ask(open_ns, CLIENT6, 80, SOCK_STREAM, buf, sizeof(buf)), "outside fd77::1");
	/* programs that choose the address of their network */
	assert_seen_as(open_ns, "10.5.0.11", CLIENT4, "10.77.0.1");
	assert_seen_as(open_ns, "fd05::11", CLIENT6, "fd77::1");
}

static void none_of_an_internal_one(void **state)
{
	char buf[128];

	assert_int_equal(strncmp(ask(closed_ns, CLIENT4, 80, SOCK_STREAM, buf, sizeof(buf)), "error", 5), 0);
}

static void published_ports(void **state)
{
	char buf[128];

	assert_string_equal(ask(client_ns, "10.77.0.1", 8080, SOCK_STREAM, buf, sizeof(buf)), "inside " CLIENT4);
	assert_string_equal(ask(client_ns, "10.77.0.1", 9090, SOCK_STREAM, buf, sizeof(buf)), "inside " CLIENT4);
	assert_string_equal(ask(client_ns, "fd77::1", 8080, SOCK_STREAM, buf, sizeof(buf)), "inside " CLIENT6);
}

static void the_kernel_is_as_it_should_be(void **state)
{
	_cleanup_free_ char *text = node_call(&node, NODE_CHECK, NULL, 0);

	assert_string_equal(text, "");
	node_do(&node, NODE_DETACH, "opentask", 0);
	free(text);
	text = node_call(&node, NODE_CHECK, NULL, 0);
	assert_string_equal(text, "");
	run_ok("nsenter -t %d -n sh -c '! nft list table inet skein | grep -q 10.5.0.0/24'", node.pid);
}

static int setup(void **state)
{
	_cleanup_free_ char *path = NULL, *shut = NULL, *host = NULL;
	pb_net_state *s = cluster();

	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_non_null(mkdtemp(dir));
	underlay = underlay_new(1500);
	client = node_fork(&client_fd);
	if (client == 0) {
		for (;;)
			pause();
	}
	underlay_join(underlay, client, "c", CLIENT4 "/24 " CLIENT6 "/64", 1500);
	client_ns = node_open_ns(client);
	node_start(&node, underlay, "n1", "10.77.0.1/24 fd77::1/64", dir, NULL);
	node_send_state(&node, s);
	pb_free(s);
	open_ns = attach("opentask", "local", "10.5.0.11/24", "fd05::11/64", &path);
	closed_ns = attach("shuttask", "shut", "10.6.0.11/24", NULL, &shut);
	inside = server_start(path, "inside");
	host = xasprintf("/proc/%d/ns/net", client);
	outside = server_start(host, "outside");
	return 0;
}

static int teardown(void **state)
{
	const pid_t pids[] = {inside, outside, underlay, client};
	int status = node_quit(&node);

	for (size_t i = 0; i < ARRAY_SIZE(pids); i++) {
		kill(pids[i], SIGKILL);
		waitpid(pids[i], NULL, 0);
	}
	close(client_ns);
	close(client_fd);
	close(open_ns);
	close(closed_ns);
	nodes_clean(dir);
	return status;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_way_out),
		cmocka_unit_test(none_of_an_internal_one),
		cmocka_unit_test(published_ports),
		cmocka_unit_test(the_kernel_is_as_it_should_be),
	};

	return cmocka_run_group_tests_name("bridge", tests, setup, teardown);
}
