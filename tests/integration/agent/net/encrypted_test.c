/* An encrypted network between two nodes: nothing of it is on the wire in the clear; its keys change under traffic. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/net_nodes.h"

#include <linux/if_ether.h>
#include <linux/if_packet.h>

#define VNI 5000u

static struct node a, b;
static pid_t underlay;
static char dir[] = "/tmp/skein-esp-XXXXXX";
static uint64_t sequence;
static bool supported;

static void add_key(pb_network *n, uint32_t id)
{
	Skein__NetworkKey *key = pb_new(&skein__network_key__descriptor);

	key->id = id;
	key->key.len = 20;
	key->key.data = xcalloc(1, 20);
	memset(key->key.data, (int)(0x40 + id), 20);
	pb_msgs_add(&n->n_keys, &n->keys, key);
}

/* Newest first, at most three. */
static void add_network(pb_net_state *s, uint32_t newest_key)
{
	pb_network *n = net_network(s, "secret", "overlay", VNI, "10.0.5.0/24", NULL);
	pb_kv *option = pb_new(&skein__key_value__descriptor);

	pb_set_str(&option->key, "encrypted");
	pb_msgs_add(&n->spec->n_options, &n->spec->options, option);
	for (uint32_t id = newest_key; id > 0 && id + 3 > newest_key; id--)
		add_key(n, id);
}

static pb_net_state *cluster(void)
{
	pb_net_state *s = net_state(true, 0, sequence = 1);

	add_network(s, 1);
	net_network(s, "ingress", "overlay", 4096, "10.255.0.0/16", NULL)->spec->ingress = true;
	net_node(s, "n1", "10.77.0.1", 1);
	net_node(s, "n2", "10.77.0.2", 2);
	net_service(s, "web", "secret", "10.0.5.2", "");
	net_service(s, "cli", NULL, NULL, NULL);
	net_endpoint(s, "servertask", "web", "n2", true, "secret", "10.0.5.11/24", "");
	net_endpoint(s, "clienttask", "cli", "n1", true, "secret", "10.0.5.12/24", "");
	return s;
}

static char *attach(struct node *n, const char *id, const char *service, const char *address, int *ret_code)
{
	_cleanup_pb_ pb_task *t = pb_new(&skein__task__descriptor);

	pb_set_str(&t->id, id);
	pb_set_str(&t->service_id, service);
	t->spec = pb_new(&skein__task_spec__descriptor);
	t->spec->container = pb_new(&skein__container_spec__descriptor);
	pb_msgs_add(&t->n_networks, &t->networks, net_attachment_of("secret", address, ""));
	return node_task(n, NODE_ATTACH, t, ret_code);
}

static int setup(void **state)
{
	_cleanup_free_ char *features = NULL;
	pb_net_state *s = cluster();

	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	assert_non_null(mkdtemp(dir));
	underlay = underlay_new(1500);
	node_start(&a, underlay, "n1", "10.77.0.1/24", dir, NULL);
	node_start(&b, underlay, "n2", "10.77.0.2/24", dir, NULL);
	node_send_state(&a, s);
	node_send_state(&b, s);
	pb_free(s);
	features = node_call(&a, NODE_FEATURES, NULL, 0);
	supported = strstr(features, "network.esp=true") != NULL;
	return 0;
}

static void without_esp_the_task_is_refused_and_told_why(void **state)
{
	_cleanup_free_ char *text = NULL;
	int code;

	if (supported)
		skip();
	text = attach(&a, "clienttask", "cli", "10.0.5.12/24", &code);
	assert_int_equal(code, ERR_PRECONDITION);
	assert_string_equal(text, "network secret is encrypted: ESP is not supported by the kernel");
}

/* ---- what is on the wire */

struct seen {
	unsigned clear, esp;
};

static int sniff_open(void)
{
	int ns = node_open_ns(underlay), home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd;

	assert_int_equal(setns(ns, CLONE_NEWNET), 0);
	fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL));
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	close(ns);
	close(home);
	assert_true(fd >= 0);
	return fd;
}

static struct seen sniff(int fd)
{
	struct seen seen = {0};
	uint8_t p[2048];
	ssize_t n;

	while ((n = recv(fd, p, sizeof(p), 0)) > 0) {
		size_t ip = (size_t)(p[0] & 15) * 4;

		if (p[0] >> 4 != 4 || n < 44)
			continue;
		seen.esp += p[9] == IPPROTO_ESP;
		if (p[9] == IPPROTO_UDP && (p[ip + 2] << 8 | p[ip + 3]) == 4789)
			seen.clear += (unsigned)(p[ip + 12] << 16 | p[ip + 13] << 8 | p[ip + 14]) == VNI;
	}
	return seen;
}

static void set_keys(struct node *n, uint32_t newest, uint64_t applies_to)
{
	pb_net_state *s = net_state(false, applies_to, applies_to + 1);

	add_network(s, newest);
	node_send_state(n, s);
	pb_free(s);
}

static void nothing_is_in_the_clear(void **state)
{
	_cleanup_free_ char *client = NULL, *server = NULL, *check_a = NULL, *check_b = NULL;
	struct seen seen;
	int code, wire, fd, ns;
	pid_t pid;
	char buf[128];

	if (!supported)
		skip();
	client = attach(&a, "clienttask", "cli", "10.0.5.12/24", &code);
	assert_int_equal(code, 0);
	server = attach(&b, "servertask", "web", "10.0.5.11/24", &code);
	assert_int_equal(code, 0);
	pid = server_start(server, "servertask");
	wire = sniff_open();
	ns = ns_of_path(client);
	assert_string_equal(ask(ns, "10.0.5.11", 80, SOCK_STREAM, buf, sizeof(buf)), "servertask 10.0.5.12");
	assert_string_equal(ask(ns, "10.0.5.2", 80, SOCK_STREAM, buf, sizeof(buf)), "servertask 10.0.5.12");
	fd = ns_connect(ns, "10.0.5.2", 80, SOCK_STREAM);
	assert_true(fd >= 0);
	/* One node hears of a new key long before the other one does, three times over. */
	for (uint32_t key = 2; key <= 4; key++) {
		set_keys(&a, key, sequence);
		assert_string_equal(ask_on(fd, buf, sizeof(buf)), "servertask 10.0.5.12");
		set_keys(&b, key, sequence++);
		assert_string_equal(ask_on(fd, buf, sizeof(buf)), "servertask 10.0.5.12");
	}
	close(fd);
	seen = sniff(wire);
	assert_int_equal(seen.clear, 0);
	assert_true(seen.esp > 20);
	check_a = node_call(&a, NODE_CHECK, NULL, 0);
	assert_string_equal(check_a, "");
	/* What comes in the clear, from whomever, is dropped. */
	run_ok("nsenter -t %d -n ip xfrm policy flush", a.pid);
	fd = ns_connect(ns, "10.0.5.11", 80, SOCK_STREAM);
	assert_int_equal(fd, -1);
	check_b = node_call(&a, NODE_REPAIR, NULL, 0);
	assert_non_null(strstr(check_b, "xfrm policy"));
	assert_string_equal(ask(ns, "10.0.5.11", 80, SOCK_STREAM, buf, sizeof(buf)), "servertask 10.0.5.12");
	close(wire);
	close(ns);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	node_do(&a, NODE_DETACH, "clienttask", 0);
	node_do(&b, NODE_DETACH, "servertask", 0);
}

static int teardown(void **state)
{
	int status = node_quit(&a) | node_quit(&b);

	kill(underlay, SIGKILL);
	waitpid(underlay, NULL, 0);
	nodes_clean(dir);
	return status;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_esp_the_task_is_refused_and_told_why),
		cmocka_unit_test(nothing_is_in_the_clear),
	};

	return cmocka_run_group_tests_name("encrypted network", tests, setup, teardown);
}
