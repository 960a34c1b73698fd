/* Two nodes and a client on one wire: services by address, by virtual address and by published port; what survives what. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/net_nodes.h"

#define VIP4 "10.0.1.2"
#define VIP6 "fd00:1::2"
#define CLIENT4 "10.77.0.9"
#define CLIENT6 "fd77::9"

static struct node a, b;
static pid_t underlay, client, servers[3];
static int client_ns, client_fd;
static char dir[] = "/tmp/skein-net-XXXXXX";
static uint64_t sequence;

static const struct {
	const char *id, *service;
	struct node *node;
	const char *ipv4, *ipv6;
} tasks[] = {
	{"web1task", "web", &a, "10.0.1.11", "fd00:1::11"},
	{"web2task", "web", &a, "10.0.1.12", "fd00:1::12"},
	{"web3task", "web", &b, "10.0.1.13", "fd00:1::13"},
	{"cli1task", "cli", &a, "10.0.1.21", "fd00:1::21"},
	{"cli2task", "cli", &b, "10.0.1.22", "fd00:1::22"},
};
static int task_ns[ARRAY_SIZE(tasks)];
static char *task_path[ARRAY_SIZE(tasks)];
static bool ready[ARRAY_SIZE(tasks)] = {true, true, true, true, true};

static void add_tasks(pb_net_state *s)
{
	for (size_t i = 0; i < ARRAY_SIZE(tasks); i++) {
		_cleanup_free_ char *ipv4 = xasprintf("%s/24", tasks[i].ipv4), *ipv6 = xasprintf("%s/64", tasks[i].ipv6);

		net_endpoint(s, tasks[i].id, tasks[i].service, tasks[i].node->id, ready[i], "front", ipv4, ipv6);
	}
}

static pb_net_state *cluster(void)
{
	pb_net_state *s = net_state(true, 0, sequence = 1);
	pb_net_service *web;

	net_network(s, "front", "overlay", 4097, "10.0.1.0/24", "fd00:1::/64");
	net_network(s, "ingress", "overlay", 4096, "10.255.0.0/16", NULL)->spec->ingress = true;
	net_node(s, "n1", "10.77.0.1", 1);
	net_node(s, "n2", "10.77.0.2", 2);
	web = net_service(s, "web", "front", VIP4, VIP6);
	net_port(web, "tcp", 8080, 80, false);
	net_port(web, "udp", 8053, 5300, false);
	net_port(net_service(s, "cli", NULL, NULL, NULL), "tcp", 9090, 80, true);
	add_tasks(s);
	return s;
}

static void send_both(pb_net_state *s)
{
	node_send_state(&a, s);
	node_send_state(&b, s);
	pb_free(s);
}

static void set_ready(size_t task, bool is)
{
	pb_net_state *s = net_state(false, sequence, sequence + 1);

	sequence++;
	ready[task] = is;
	add_tasks(s);
	send_both(s);
}

static pb_task *task_of(size_t i)
{
	_cleanup_free_ char *ipv4 = xasprintf("%s/24", tasks[i].ipv4), *ipv6 = xasprintf("%s/64", tasks[i].ipv6);
	pb_task *t = pb_new(&skein__task__descriptor);

	pb_set_str(&t->id, tasks[i].id);
	pb_set_str(&t->service_id, tasks[i].service);
	t->spec = pb_new(&skein__task_spec__descriptor);
	t->spec->container = pb_new(&skein__container_spec__descriptor);
	pb_msgs_add(&t->n_networks, &t->networks, net_attachment_of("front", ipv4, ipv6));
	return t;
}

static void attach(size_t i)
{
	_cleanup_pb_ pb_task *t = task_of(i);
	int code;

	task_path[i] = node_task(tasks[i].node, NODE_ATTACH, t, &code);
	if (code)
		fail_msg("attach %s: %s", tasks[i].id, task_path[i]);
	task_ns[i] = ns_of_path(task_path[i]);
}

static int setup(void **state)
{
	const char *balancer = getenv("SKEIN_TEST_BALANCER");

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
	node_start(&a, underlay, "n1", "10.77.0.1/24 fd77::1/64", dir, balancer);
	node_start(&b, underlay, "n2", "10.77.0.2/24 fd77::2/64", dir, balancer);
	send_both(cluster());
	for (size_t i = 0; i < ARRAY_SIZE(tasks); i++)
		attach(i);
	for (size_t i = 0; i < 3; i++)
		servers[i] = server_start(task_path[i], tasks[i].id);
	return 0;
}

/* ---- who answered */

struct tally {
	unsigned n[3], other;
	char last[128];
};

static void count(struct tally *t, const char *answer, const char *wanted_client)
{
	char name[64] = "", from[64] = "";

	snprintf(t->last, sizeof(t->last), "%s", answer);
	sscanf(answer, "%63s %63s", name, from);
	for (size_t i = 0; i < 3; i++) {
		if (strcmp(name, tasks[i].id) == 0 && (!wanted_client || strcmp(from, wanted_client) == 0)) {
			t->n[i]++;
			return;
		}
	}
	t->other++;
}

static struct tally ask_many(unsigned times, int ns, const char *address, uint16_t port, int type, const char *wanted_client)
{
	struct tally t = {.other = 0};
	char buf[128];

	for (unsigned i = 0; i < times; i++)
		count(&t, ask(ns, address, port, type, buf, sizeof(buf)), wanted_client);
	return t;
}

#define assert_tally(t, n0, n1, n2)                                                                \
	do {                                                                                       \
		if ((t).n[0] != (n0) || (t).n[1] != (n1) || (t).n[2] != (n2) || (t).other)         \
			fail_msg("answers %u/%u/%u, other %u (last: %s)", (t).n[0], (t).n[1],      \
				 (t).n[2], (t).other, (t).last);                                   \
	} while (0)

/* Datagrams from a port that was used a moment ago still belong to the old flow: not quite even. */
#define assert_about_even(t, sum)                                                                  \
	do {                                                                                       \
		for (size_t i_ = 0; i_ < 3; i_++)                                                  \
			if ((t).n[i_] < (sum) / 3 - 3 || (t).n[i_] > (sum) / 3 + 3 || (t).other)   \
				fail_msg("answers %u/%u/%u, other %u (last: %s)", (t).n[0],        \
					 (t).n[1], (t).n[2], (t).other, (t).last);                 \
	} while (0)

#define HOST_A "/proc/%d/ns/net"

static int host_ns(const struct node *n)
{
	return node_open_ns(n->pid);
}

/* ---------------------------------------------------------------- tests */

static void tasks_reach_each_other(void **state)
{
	struct tally t;

	for (size_t from = 3; from <= 4; from++) {
		t = ask_many(3, task_ns[from], "10.0.1.11", 80, SOCK_STREAM, tasks[from].ipv4);
		assert_tally(t, 3, 0, 0);
		t = ask_many(3, task_ns[from], "10.0.1.13", 80, SOCK_STREAM, tasks[from].ipv4);
		assert_tally(t, 0, 0, 3);
		t = ask_many(3, task_ns[from], "fd00:1::11", 80, SOCK_STREAM, tasks[from].ipv6);
		assert_tally(t, 3, 0, 0);
		t = ask_many(3, task_ns[from], "fd00:1::13", 5300, SOCK_DGRAM, tasks[from].ipv6);
		assert_tally(t, 0, 0, 3);
	}
}

static void virtual_addresses_spread_evenly(void **state)
{
	struct tally t;

	for (size_t from = 3; from <= 4; from++) {
		t = ask_many(30, task_ns[from], VIP4, 80, SOCK_STREAM, tasks[from].ipv4);
		assert_tally(t, 10, 10, 10);
		t = ask_many(30, task_ns[from], VIP6, 80, SOCK_STREAM, tasks[from].ipv6);
		assert_tally(t, 10, 10, 10);
		t = ask_many(30, task_ns[from], VIP4, 5300, SOCK_DGRAM, tasks[from].ipv4);
		assert_about_even(t, 30);
		t = ask_many(30, task_ns[from], VIP6, 5300, SOCK_DGRAM, tasks[from].ipv6);
		assert_about_even(t, 30);
	}
}

static void a_task_may_call_its_own_service(void **state)
{
	struct tally t = ask_many(30, task_ns[0], VIP4, 80, SOCK_STREAM, tasks[0].ipv4);

	assert_tally(t, 10, 10, 10);
	t = ask_many(30, task_ns[2], VIP6, 80, SOCK_STREAM, tasks[2].ipv6);
	assert_tally(t, 10, 10, 10);
	t = ask_many(30, task_ns[1], VIP4, 5300, SOCK_DGRAM, tasks[1].ipv4);
	assert_about_even(t, 30);
}

static void published_ports_keep_the_client(void **state)
{
	static const char *const hosts4[] = {"10.77.0.1", "10.77.0.2"}, *const hosts6[] = {"fd77::1", "fd77::2"};
	struct tally t;

	for (size_t h = 0; h < 2; h++) {
		t = ask_many(30, client_ns, hosts4[h], 8080, SOCK_STREAM, CLIENT4);
		assert_tally(t, 10, 10, 10);
		t = ask_many(30, client_ns, hosts4[h], 8053, SOCK_DGRAM, CLIENT4);
		assert_about_even(t, 30);
		t = ask_many(30, client_ns, hosts6[h], 8080, SOCK_STREAM, CLIENT6);
		assert_tally(t, 10, 10, 10);
		t = ask_many(30, client_ns, hosts6[h], 8053, SOCK_DGRAM, CLIENT6);
		assert_about_even(t, 30);
	}
}

static void published_ports_from_inside(void **state)
{
	int ns_a = host_ns(&a), ns_b = host_ns(&b);
	struct tally t;

	t = ask_many(30, ns_a, "10.77.0.1", 8080, SOCK_STREAM, NULL); /* a host its own */
	assert_tally(t, 10, 10, 10);
	t = ask_many(30, ns_a, "127.0.0.1", 8080, SOCK_STREAM, NULL);
	assert_tally(t, 10, 10, 10);
	t = ask_many(30, ns_b, "10.77.0.1", 8080, SOCK_STREAM, NULL); /* one host another's: some come back to it */
	assert_tally(t, 10, 10, 10);
	t = ask_many(30, task_ns[3], "10.77.0.1", 8080, SOCK_STREAM, NULL); /* a task those of its host */
	assert_tally(t, 10, 10, 10);
	t = ask_many(30, task_ns[4], "10.77.0.1", 8080, SOCK_STREAM, NULL); /* and of another one */
	assert_tally(t, 10, 10, 10);
	close(ns_a);
	close(ns_b);
}

static void a_port_of_one_host(void **state)
{
	pid_t server = server_start(task_path[3], tasks[0].id);
	struct tally t = ask_many(3, client_ns, "10.77.0.1", 9090, SOCK_STREAM, CLIENT4);

	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	assert_tally(t, 3, 0, 0);
}

static void tasks_reach_the_world_and_not_each_other_there(void **state)
{
	pid_t server;
	struct tally t;
	char path[64], buf[128];

	snprintf(path, sizeof(path), HOST_A, client);
	server = server_start(path, tasks[0].id);
	t = ask_many(2, task_ns[3], CLIENT4, 80, SOCK_STREAM, "10.77.0.1"); /* masqueraded */
	assert_tally(t, 2, 0, 0);
	t = ask_many(2, task_ns[3], CLIENT6, 80, SOCK_STREAM, "fd77::1");
	assert_tally(t, 2, 0, 0);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	assert_true(strncmp(ask(task_ns[3], "172.30.0.2", 80, SOCK_STREAM, buf, sizeof(buf)), "error", 5) == 0);
}

static void one_that_drains_keeps_its_connections(void **state)
{
	char buf[128], buf2[128];
	int held = -1, published = -1;
	struct tally t;
	struct node_message m;
	int64_t begin;

	/* One connection each of both kinds to the task that is about to stop. */
	while (held < 0 || strncmp(ask_on(held, buf, sizeof(buf)), "web1task", 8) != 0) {
		close(held);
		held = ns_connect(task_ns[4], VIP4, 80, SOCK_STREAM);
		assert_true(held >= 0);
	}
	while (published < 0 || strncmp(ask_on(published, buf, sizeof(buf)), "web1task", 8) != 0) {
		close(published);
		published = ns_connect(client_ns, "10.77.0.2", 8080, SOCK_STREAM);
		assert_true(published >= 0);
	}
	m = (struct node_message){.op = NODE_DRAIN, .len = sizeof("web1task"), .value = 20 * NS_PER_SEC};
	begin = clock_mono_ns();
	assert_int_equal(write(a.fd, &m, sizeof(m)), sizeof(m));
	assert_int_equal(write(a.fd, "web1task", m.len), m.len);
	/* What others still send before they know of it is answered. */
	t = ask_many(9, client_ns, "10.77.0.2", 8080, SOCK_STREAM, CLIENT4);
	assert_int_equal(t.other, 0);
	sequence++;
	ready[0] = false;
	for (struct node *n = &a; n; n = n == &a ? &b : NULL) {
		pb_net_state *s = net_state(false, sequence - 1, sequence);
		size_t len;
		uint8_t *bytes;

		add_tasks(s);
		len = protobuf_c_message_get_packed_size(&s->base);
		bytes = xmalloc(len);
		protobuf_c_message_pack(&s->base, bytes);
		m = (struct node_message){.op = NODE_STATE, .len = (uint32_t)len};
		assert_int_equal(write(n->fd, &m, sizeof(m)), sizeof(m));
		assert_int_equal(write(n->fd, bytes, len), len);
		assert_true(node_read_all(n->fd, &m, sizeof(m))); /* a's drain has not answered yet */
		assert_int_equal(m.op, 0);
		assert_true(node_read_all(n->fd, buf, m.len));
		free(bytes);
		pb_free(s);
	}
	do { /* from the moment on at which both have carried it out */
		t = ask_many(20, client_ns, "10.77.0.1", 8080, SOCK_STREAM, CLIENT4);
		assert_int_equal(t.other, 0);
	} while (t.n[0] && clock_mono_ns() < begin + 10 * NS_PER_SEC);
	t = ask_many(20, client_ns, "10.77.0.2", 8080, SOCK_STREAM, CLIENT4);
	assert_tally(t, 0, 10, 10);
	t = ask_many(20, task_ns[4], VIP4, 80, SOCK_STREAM, tasks[4].ipv4);
	assert_tally(t, 0, 10, 10);
	t = ask_many(20, task_ns[3], VIP6, 80, SOCK_STREAM, tasks[3].ipv6);
	assert_tally(t, 0, 10, 10);
	/* The old ones go on; the drain ends with the last of them. */
	assert_string_equal(ask_on(held, buf, sizeof(buf)), "web1task 10.0.1.22");
	assert_string_equal(ask_on(published, buf2, sizeof(buf2)), "web1task " CLIENT4);
	assert_int_equal(poll(&(struct pollfd){a.fd, POLLIN, 0}, 1, 300), 0);
	close(held);
	close(published);
	assert_true(node_read_all(a.fd, &m, sizeof(m)));
	assert_int_equal(m.op, 0);
	assert_true(node_read_all(a.fd, buf, m.len));
	assert_true(clock_mono_ns() < begin + 15 * NS_PER_SEC);
	/* Who is late is not refused: there is no answer. */
	assert_int_equal(ns_connect(task_ns[4], tasks[0].ipv4, 80, SOCK_STREAM), -1);
	assert_int_not_equal(errno, ECONNREFUSED);
}

static void a_start_waits_for_who_listens(void **state)
{
	char *served = node_call(&a, NODE_AWAIT, "web2task", 10 * NS_PER_SEC);
	char *missing = node_call(&a, NODE_AWAIT, "cli1task", 300 * NS_PER_MS);
	char *unknown = node_call(&a, NODE_AWAIT, "absent", 10 * NS_PER_SEC), *off = node_call(&a, NODE_AWAIT, "web2task", 0);

	assert_string_equal(served, "served");
	assert_string_equal(missing, "80/tcp");
	assert_string_equal(unknown, "nothing");
	assert_string_equal(off, "nothing");
	free(served);
	free(missing);
	free(unknown);
	free(off);
}

static void adopt_all(struct node *n, size_t except)
{
	for (size_t i = 0; i < ARRAY_SIZE(tasks); i++) {
		_cleanup_pb_ pb_task *t = task_of(i);
		_cleanup_free_ char *path = NULL;
		int code;

		if (tasks[i].node != n || i == except)
			continue;
		path = node_task(n, NODE_ADOPT, t, &code);
		if (code)
			fail_msg("adopt %s: %s", tasks[i].id, path);
		assert_string_equal(path, task_path[i]);
	}
}

static void assert_clean(struct node *n)
{
	_cleanup_free_ char *text = node_call(n, NODE_CHECK, NULL, 0);

	assert_string_equal(text, "");
}

static char *output_of(const char *command)
{
	FILE *f = popen(command, "r");
	struct strbuf out = {0};
	char buf[4096];
	size_t got;

	while ((got = fread(buf, 1, sizeof(buf), f)) > 0)
		strbuf_add(&out, buf, got);
	pclose(f);
	strbuf_puts(&out, "");
	return strbuf_take(&out);
}

static void a_host_that_forwards_still_hears_routers(void **state)
{
	run_ok("nsenter -t %d -n sh -c 'test $(cat /proc/sys/net/ipv6/conf/all/forwarding) = 1'", a.pid);
	run_ok("nsenter -t %d -n sh -c 'test $(cat /proc/sys/net/ipv6/conf/eth0/accept_ra) = 2'", a.pid);
}

static void the_kernel_is_as_it_should_be(void **state)
{
	assert_clean(&a);
	assert_clean(&b);
}

static void a_new_agent_takes_over_without_a_gap(void **state)
{
	char buf[128];
	int vip = -1, published = -1;
	struct tally t;
	_cleanup_free_ char *list = xasprintf("nsenter -t %d -n nft list chain inet skein skein-user", b.pid);
	_cleanup_free_ char *foreign = xasprintf("nsenter -t %d -n nft list table ip other", b.pid);
	_cleanup_free_ char *user_before = NULL, *user_after = NULL, *foreign_before = NULL, *foreign_after = NULL;

	run_ok("nsenter -t %d -n nft 'add rule inet skein skein-user ip saddr 192.0.2.7 counter drop'", b.pid);
	run_ok("nsenter -t %d -n nft 'add table ip other; add chain ip other x { type filter hook forward priority 5; policy "
	       "accept; }; add rule ip other x ip saddr 198.51.100.1 drop'",
	       b.pid);
	user_before = output_of(list);
	foreign_before = output_of(foreign);
	while (vip < 0 || strncmp(ask_on(vip, buf, sizeof(buf)), "web3task", 8) != 0) {
		close(vip);
		vip = ns_connect(task_ns[3], VIP4, 80, SOCK_STREAM);
		assert_true(vip >= 0);
	}
	while (published < 0 || strncmp(ask_on(published, buf, sizeof(buf)), "web3task", 8) != 0) {
		close(published);
		published = ns_connect(client_ns, "10.77.0.1", 8080, SOCK_STREAM);
		assert_true(published >= 0);
	}
	for (struct node *n = &a; n; n = n == &a ? &b : NULL) {
		node_do(n, NODE_RESTART, NULL, 0);
		adopt_all(n, SIZE_MAX);
		/* Before any manager was heard everything goes on. */
		assert_string_equal(ask_on(vip, buf, sizeof(buf)), "web3task 10.0.1.21");
		assert_string_equal(ask_on(published, buf, sizeof(buf)), "web3task " CLIENT4);
		t = ask_many(20, client_ns, "10.77.0.1", 8080, SOCK_STREAM, CLIENT4);
		assert_tally(t, 0, 10, 10);
	}
	send_both(cluster());
	assert_clean(&a); /* jobs run in order: the take-over is done */
	assert_clean(&b);
	assert_string_equal(ask_on(vip, buf, sizeof(buf)), "web3task 10.0.1.21");
	assert_string_equal(ask_on(published, buf, sizeof(buf)), "web3task " CLIENT4);
	t = ask_many(20, task_ns[3], VIP4, 80, SOCK_STREAM, tasks[3].ipv4);
	assert_tally(t, 0, 10, 10);
	close(vip);
	close(published);
	user_after = output_of(list);
	foreign_after = output_of(foreign);
	assert_non_null(strstr(user_before, "192.0.2.7"));
	assert_string_equal(user_before, user_after);
	assert_non_null(strstr(foreign_before, "198.51.100.1"));
	assert_string_equal(foreign_before, foreign_after);
}

static void one_that_is_ready_again_gets_connections(void **state)
{
	struct tally t;

	/* Draining ended with the agent that did it. */
	set_ready(0, true);
	/* Both nodes, since each chooses: jobs run in order, so that both have carried it out. */
	assert_clean(&a);
	assert_clean(&b);
	t = ask_many(30, client_ns, "10.77.0.2", 8080, SOCK_STREAM, CLIENT4);
	assert_tally(t, 10, 10, 10);
	t = ask_many(30, task_ns[4], VIP4, 80, SOCK_STREAM, tasks[4].ipv4);
	assert_tally(t, 10, 10, 10);
}

/* One socket each, as clients have that keep sending from one port. */
static int datagrams_to(int ns, const char *address, uint16_t port, const char *name)
{
	char buf[128];
	int fd = -1;

	for (int tries = 0; tries < 30; tries++) {
		fd = ns_connect(ns, address, port, SOCK_DGRAM);
		assert_true(fd >= 0);
		if (strncmp(ask_on(fd, buf, sizeof(buf)), name, strlen(name)) == 0)
			return fd;
		close(fd);
	}
	fail_msg("%s never answered", name);
	return -1;
}

static void assert_others_answer(int fd, const char *name)
{
	int64_t until = clock_mono_ns() + 10 * NS_PER_SEC;
	char buf[128];

	set_timeout(fd, 200);
	do
		ask_on(fd, buf, sizeof(buf));
	while ((!*buf || strncmp(buf, name, strlen(name)) == 0) && clock_mono_ns() < until);
	assert_int_equal(strncmp(buf, "web", 3), 0);
	assert_int_not_equal(strncmp(buf, name, strlen(name)), 0);
}

static void datagrams_find_another_one(void **state)
{
	int vip = datagrams_to(task_ns[3], VIP4, 5300, "web3task");
	int vip6 = datagrams_to(task_ns[3], VIP6, 5300, "web3task");
	int published = datagrams_to(client_ns, "10.77.0.1", 8053, "web3task");
	pb_net_state *s;

	set_ready(2, false);
	assert_others_answer(published, "web3task");
	s = net_state(false, sequence, sequence + 1);
	sequence++;
	pb_strs_add(&s->n_remove_endpoints, &s->remove_endpoints, "web3task");
	send_both(s);
	assert_others_answer(vip, "web3task");
	assert_others_answer(vip6, "web3task");
	close(vip);
	close(vip6);
	close(published);
	set_ready(2, true);
}

/* ---- what others take away comes back by itself */

static void wait_for(const char *what, const char *command)
{
	int64_t until = clock_mono_ns() + 10 * NS_PER_SEC;

	while (system(command) != 0) {
		if (clock_mono_ns() > until)
			fail_msg("%s: it did not come back", what);
		poll(NULL, 0, 50);
	}
}

static void what_is_taken_away_comes_back(void **state)
{
	_cleanup_free_ char *fdb = xasprintf("nsenter --net=%s/net/front bridge fdb show dev vx0 | grep -q '02:42:0a:00:01:0d dst'", a.dir);
	_cleanup_free_ char *addr = xasprintf("nsenter -t %d -n ip addr show dev skein0 | grep -q 172.30.0.1/16", a.pid);
	_cleanup_free_ char *link = xasprintf("nsenter -t %d -n ip -d link show dev skein-in 2>/dev/null | grep -q 'vxlan id 4096'",
					      a.pid);
	struct tally t;

	wait_for("forwarding entry", fdb); /* the task has just come back */
	run_ok("nsenter --net=%s/net/front bridge fdb del 02:42:0a:00:01:0d dev vx0", a.dir);
	wait_for("forwarding entry", fdb);
	run_ok("nsenter -t %d -n ip addr del 172.30.0.1/16 dev skein0", a.pid);
	wait_for("address", addr);
	run_ok("nsenter -t %d -n ip link del skein-in", a.pid);
	wait_for("link", link);
	for (int64_t until = clock_mono_ns() + 10 * NS_PER_SEC; clock_mono_ns() < until;) {
		_cleanup_free_ char *text = node_call(&a, NODE_CHECK, NULL, 0);

		if (!*text)
			break;
	}
	assert_clean(&a);
	t = ask_many(30, client_ns, "10.77.0.1", 8080, SOCK_STREAM, CLIENT4);
	assert_tally(t, 10, 10, 10);
}

static void a_check_names_each_difference_and_repairs(void **state)
{
	_cleanup_free_ char *text = NULL, *repaired = NULL;

	run_ok("nsenter -t %d -n nft flush chain inet skein prerouting", b.pid);
	run_ok("nsenter --net=%s nft flush chain inet skein out", task_path[2]);
	text = node_call(&b, NODE_CHECK, NULL, 0);
	assert_non_null(strstr(text, "nftables: wanted chain prerouting"));
	assert_non_null(strstr(text, "nftables: wanted chain out"));
	repaired = node_call(&b, NODE_REPAIR, NULL, 0);
	assert_non_null(strstr(repaired, ", repaired"));
	assert_clean(&b);
}

/* ---- the end */

static void tasks_and_networks_go(void **state)
{
	_cleanup_free_ char *front = xasprintf("test ! -e %s/net/front", a.dir), *none = NULL;

	for (size_t i = 0; i < 3; i++) {
		kill(servers[i], SIGKILL);
		waitpid(servers[i], NULL, 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(tasks); i++) {
		close(task_ns[i]);
		node_do(tasks[i].node, NODE_DETACH, tasks[i].id, 0);
		assert_int_equal(access(task_path[i], F_OK), -1);
		free(task_path[i]);
	}
	node_do(&a, NODE_DETACH, "never-attached", 0);
	wait_for("the network's namespace is gone", front);
	node_do(&a, NODE_LEAVE, NULL, 0);
	none = xasprintf("test -z \"$(ls %s/net)\"", a.dir);
	run_ok("%s", none);
	run_ok("nsenter -t %d -n sh -c '! ip link show dev skein0 2>/dev/null; ! ip link show dev skein-in 2>/dev/null'", a.pid);
	run_ok("nsenter -t %d -n sh -c 'test -z \"$(nft list tables | grep skein)\"'", a.pid);
	run_ok("nsenter -t %d -n sh -c 'test -z \"$(ip rule | grep 0x5e)\"'", a.pid);
}

static int teardown(void **state)
{
	int status = node_quit(&a) | node_quit(&b);

	kill(underlay, SIGKILL);
	kill(client, SIGKILL);
	waitpid(underlay, NULL, 0);
	waitpid(client, NULL, 0);
	close(client_ns);
	close(client_fd);
	nodes_clean(dir);
	return status;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tasks_reach_each_other),
		cmocka_unit_test(virtual_addresses_spread_evenly),
		cmocka_unit_test(a_task_may_call_its_own_service),
		cmocka_unit_test(published_ports_keep_the_client),
		cmocka_unit_test(published_ports_from_inside),
		cmocka_unit_test(a_port_of_one_host),
		cmocka_unit_test(tasks_reach_the_world_and_not_each_other_there),
		cmocka_unit_test(a_host_that_forwards_still_hears_routers),
		cmocka_unit_test(the_kernel_is_as_it_should_be),
		cmocka_unit_test(a_start_waits_for_who_listens),
		cmocka_unit_test(one_that_drains_keeps_its_connections),
		cmocka_unit_test(a_new_agent_takes_over_without_a_gap),
		cmocka_unit_test(one_that_is_ready_again_gets_connections),
		cmocka_unit_test(datagrams_find_another_one),
		cmocka_unit_test(what_is_taken_away_comes_back),
		cmocka_unit_test(a_check_names_each_difference_and_repairs),
		cmocka_unit_test(tasks_and_networks_go),
	};

	return cmocka_run_group_tests_name("two nodes", tests, setup, teardown);
}
