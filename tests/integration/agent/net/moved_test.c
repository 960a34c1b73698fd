/*
 * A task moves from one node to another with its established connections (TCP_REPAIR in place of CRIU): direct ones, by virtual
 * address, by published port, in both directions, and what others do to it meanwhile.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/tcp_move.h"

#define WEB_VIP "10.0.1.2"
#define DB_VIP "10.0.1.3"
#define CLIENT4 "10.77.0.9"

/* The task is `web`, at a; it goes to b; c looks on, until it goes on to there. */
static struct node a, b, c;
static pid_t underlay, client;
static int client_ns, client_fd;
static char dir[] = "/tmp/skein-moved-XXXXXX";
static uint64_t sequence;

enum { WEB, MOVED, AGAIN, CLI_A, CLI_B, CLI_C, DB_A, DB_C, TASKS };
static struct {
	char id[32];
	const char *service, *ipv4, *ipv6;
	struct node *node;
} tasks[] = {
	[WEB] = {"webtask0", "web", "10.0.1.11", "fd00:1::11", &a},
	[MOVED] = {"webmoved0", "web", "10.0.1.11", "fd00:1::11", &b},
	[AGAIN] = {"webagain0", "web", "10.0.1.11", "fd00:1::11", &c},
	[CLI_A] = {"cliAtask", "cli", "10.0.1.21", "fd00:1::21", &a},
	[CLI_B] = {"cliBtask", "cli", "10.0.1.22", "fd00:1::22", &b},
	[CLI_C] = {"cliCtask", "cli", "10.0.1.23", "fd00:1::23", &c},
	[DB_A] = {"dbAtask", "db", "10.0.1.31", "fd00:1::31", &a},
	[DB_C] = {"dbCtask", "db", "10.0.1.32", "fd00:1::32", &c},
};
static int task_ns[TASKS];
static char *task_path[TASKS];

static pb_net_endpoint *add_endpoint(pb_net_state *s, int task)
{
	_cleanup_free_ char *ipv4 = xasprintf("%s/24", tasks[task].ipv4), *ipv6 = xasprintf("%s/64", tasks[task].ipv6);

	return net_endpoint(s, tasks[task].id, tasks[task].service, tasks[task].node->id, true, "front", ipv4, ipv6);
}

static pb_net_state *cluster(bool moved)
{
	pb_net_state *s = net_state(true, 0, sequence = 1);
	pb_net_service *web;

	net_network(s, "front", "overlay", 4097, "10.0.1.0/24", "fd00:1::/64");
	net_network(s, "ingress", "overlay", 4096, "10.255.0.0/16", NULL)->spec->ingress = true;
	net_network(s, "local", "bridge", 0, "10.5.0.0/24", NULL);
	net_node(s, "n1", "10.77.0.1", 1);
	net_node(s, "n2", "10.77.0.2", 2);
	net_node(s, "n3", "10.77.0.3", 3);
	web = net_service(s, "web", "front", WEB_VIP, "fd00:1::2");
	net_port(web, "tcp", 8080, 80, false);
	net_port(web, "udp", 8053, 5300, false);
	net_service(s, "cli", NULL, NULL, NULL);
	net_service(s, "db", "front", DB_VIP, "fd00:1::3");
	add_endpoint(s, moved ? MOVED : WEB);
	for (int i = CLI_A; i <= DB_C; i++)
		add_endpoint(s, i);
	return s;
}

static void send_all(pb_net_state *s)
{
	node_send_state(&a, s);
	node_send_state(&b, s);
	node_send_state(&c, s);
	pb_free(s);
}

/* The leader's word SWITCH, or ABORT behind it. */
static void switch_endpoint(int from, int to)
{
	pb_net_state *s = net_state(false, sequence, sequence + 1);
	pb_net_endpoint *e = add_endpoint(s, to);

	sequence++;
	if (to != WEB)
		pb_set_str(&e->migrated_from, tasks[from].id);
	pb_strs_add(&s->n_remove_endpoints, &s->remove_endpoints, tasks[from].id);
	send_all(s);
}

static pb_task *task_of(int i)
{
	_cleanup_free_ char *ipv4 = xasprintf("%s/24", tasks[i].ipv4), *ipv6 = xasprintf("%s/64", tasks[i].ipv6);
	pb_task *t = pb_new(&skein__task__descriptor);
	pb_kv *sysctl;

	pb_set_str(&t->id, tasks[i].id);
	pb_set_str(&t->service_id, tasks[i].service);
	if (i == MOVED || i == AGAIN)
		pb_set_str(&t->migrated_from, tasks[i - 1].id);
	t->spec = pb_new(&skein__task_spec__descriptor);
	t->spec->container = pb_new(&skein__container_spec__descriptor);
	sysctl = pb_new(&skein__key_value__descriptor);
	pb_set_str(&sysctl->key, "net.core.somaxconn");
	pb_set_str(&sysctl->value, "777");
	pb_msgs_add(&t->spec->container->n_sysctls, &t->spec->container->sysctls, sysctl);
	pb_msgs_add(&t->n_networks, &t->networks, net_attachment_of("front", ipv4, ipv6));
	return t;
}

static void attach_by(int i, enum node_op op)
{
	_cleanup_pb_ pb_task *t = task_of(i);
	int code;

	free(task_path[i]);
	task_path[i] = node_task(tasks[i].node, op, t, &code);
	if (code)
		fail_msg("attach %s: %s", tasks[i].id, task_path[i]);
	if (task_ns[i] > 0)
		close(task_ns[i]);
	task_ns[i] = ns_of_path(task_path[i]);
}

/* A task's id is used once: its namespace ends when the kernel comes to it. */
static void new_id(int i)
{
	static unsigned n;

	snprintf(tasks[i].id, sizeof(tasks[i].id), "%s%u", i == WEB ? "webtask" : i == MOVED ? "webmoved" : "webagain", ++n);
}

static void start_web(void)
{
	pb_net_state *s = net_state(false, sequence, sequence + 1);

	sequence++;
	pb_strs_add(&s->n_remove_endpoints, &s->remove_endpoints, tasks[WEB].id);
	new_id(WEB);
	add_endpoint(s, WEB);
	send_all(s);
	attach_by(WEB, NODE_ATTACH);
}

static void prepare(int i)
{
	new_id(i);
	attach_by(i, NODE_ATTACH_SHUT);
	run_ok("nsenter --net=%s sh -c 'test $(cat /proc/sys/net/core/somaxconn) = 777'", task_path[i]);
}

static void prepare_target(void)
{
	prepare(MOVED);
}

/* Cut first, as in a migration: what is left of it until the kernel has cleared it away has its addresses still. */
static void detach(int i)
{
	close(task_ns[i]);
	task_ns[i] = 0;
	node_do(tasks[i].node, NODE_CUT, tasks[i].id, 0);
	node_do(tasks[i].node, NODE_DETACH, tasks[i].id, 0);
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
	underlay_join(underlay, client, "c", CLIENT4 "/24", 1500);
	client_ns = node_open_ns(client);
	node_start(&a, underlay, "n1", "10.77.0.1/24", dir, balancer);
	node_start(&b, underlay, "n2", "10.77.0.2/24", dir, balancer);
	node_start(&c, underlay, "n3", "10.77.0.3/24", dir, balancer);
	send_all(cluster(false));
	for (int i = CLI_A; i <= DB_C; i++)
		attach_by(i, NODE_ATTACH);
	return 0;
}

/* ---------------------------------------------------------------- connections and their way */

struct pair {
	int client, server;
	struct tcp_image *image;
};

/* A listener on port 80 (TCP), as the task's program has it. */
static int listen_in(int ns)
{
	int fd = ns_socket(ns, AF_INET6, SOCK_STREAM), on = 1;
	struct sockaddr_in6 sa = {.sin6_family = AF_INET6, .sin6_port = htons(80)};

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 16) < 0)
		fail_msg("listen: %s", strerror(errno));
	set_timeout(fd, 5000);
	return fd;
}

static struct pair connect_to(int listener, int ns, const char *address, uint16_t port)
{
	struct pair p = {.client = ns_connect(ns, address, port, SOCK_STREAM)};

	if (p.client < 0)
		fail_msg("connect to %s: %s", address, strerror(errno));
	p.server = accept(listener, NULL, NULL);
	if (p.server < 0)
		fail_msg("accept from %s: %s", address, strerror(errno));
	set_timeout(p.client, 10000);
	set_timeout(p.server, 10000);
	return p;
}

static void say(int from, const char *text)
{
	if (send(from, text, strlen(text), MSG_NOSIGNAL) != (ssize_t)strlen(text))
		fail_msg("send %s: %s", text, strerror(errno));
}

static void hear(int to, const char *text)
{
	char buf[64] = "";
	ssize_t n = recv(to, buf, strlen(text), MSG_WAITALL);

	if (n < 0)
		fail_msg("wait for %s: %s", text, strerror(errno));
	assert_string_equal(buf, text);
}

static void talk(const struct pair *p, const char *question, const char *answer)
{
	say(p->client, question);
	hear(p->server, question);
	say(p->server, answer);
	hear(p->client, answer);
}

static bool is_silent(int fd, int ms)
{
	return poll(&(struct pollfd){fd, POLLIN, 0}, 1, ms) == 0;
}

static void dump_server(struct pair *p)
{
	p->image = xnew(struct tcp_image);
	tcp_dump(p->server, p->image);
}

static void restore_server(struct pair *p, int ns)
{
	p->server = tcp_restore(ns, p->image);
	free(TAKE_PTR(p->image));
}

static void end(struct pair *p)
{
	close(p->client);
	close(p->server);
}

static void assert_clean(struct node *n)
{
	_cleanup_free_ char *text = node_call(n, NODE_CHECK, NULL, 0);

	assert_string_equal(text, "");
}

static void assert_all_clean(void)
{
	assert_clean(&a);
	assert_clean(&b);
	assert_clean(&c);
}

/* ---------------------------------------------------------------- tests */

/* Wherever the client is, and whatever it called. The task's first packet after it is the client's to wait for. */
static void connections_to_it_go_on(void **state)
{
	static const struct {
		int from;
		const char *to;
	} clients[] = {
		{CLI_A, "10.0.1.11"}, {CLI_B, "10.0.1.11"}, {CLI_C, "10.0.1.11"}, {CLI_A, "fd00:1::11"}, {CLI_B, "fd00:1::11"},
		{CLI_C, "fd00:1::11"}, {CLI_A, WEB_VIP},    {CLI_B, WEB_VIP},     {CLI_C, WEB_VIP},	 {CLI_C, "fd00:1::2"},
	};
	struct pair pairs[ARRAY_SIZE(clients)];
	int64_t opened;
	int listener;

	start_web();
	listener = listen_in(task_ns[WEB]);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		pairs[i] = connect_to(listener, task_ns[clients[i].from], clients[i].to, 80);
		talk(&pairs[i], "one", "ONE");
	}
	prepare_target();
	assert_all_clean();
	node_do(&a, NODE_CUT, tasks[WEB].id, 0);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		say(pairs[i].client, "two");
	assert_true(is_silent(pairs[0].server, 50));
	assert_all_clean();
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		dump_server(&pairs[i]);
	close(listener);
	switch_endpoint(WEB, MOVED);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		restore_server(&pairs[i], task_ns[MOVED]);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++)
		assert_true(is_silent(pairs[i].server, 20)); /* it is shut still */
	listener = listen_in(task_ns[MOVED]);
	opened = clock_mono_ns();
	node_do(&b, NODE_OPEN, tasks[MOVED].id, 0);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		hear(pairs[i].server, "two");
		say(pairs[i].server, "TWO");
		hear(pairs[i].client, "TWO");
	}
	print_message("opened; all are served after %lld ms\n", (long long)((clock_mono_ns() - opened) / NS_PER_MS));
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		talk(&pairs[i], "three", "THREE");
		end(&pairs[i]);
	}
	detach(WEB);
	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) { /* new ones find it, too */
		struct pair p = connect_to(listener, task_ns[clients[i].from], clients[i].to, 80);

		talk(&p, "four", "FOUR");
		end(&p);
	}
	assert_all_clean();
	close(listener);
	detach(MOVED);
	switch_endpoint(MOVED, WEB);
}

/* What else is done between the last word of the source's kernel and the restore: `to` is prepared, `from` cut. */
static void carry_over(int from, int to)
{
	_cleanup_free_ char *flows = node_call(tasks[from].node, NODE_EXPORT, tasks[from].id, 0);
	_cleanup_free_ char *import = xasprintf("%s %s %s", tasks[to].id, tasks[from].node->id, flows);

	node_do(tasks[to].node, NODE_IMPORT, import, 0);
	switch_endpoint(from, to);
}

static void back_to_the_beginning(int from)
{
	detach(from);
	switch_endpoint(from, WEB);
}

/* It has chosen, by its balancer, and goes on with its choice. */
static void its_own_connections_go_on(void **state)
{
	static const char *const to[] = {DB_VIP, DB_VIP, DB_VIP, "fd00:1::3", "fd00:1::3", "fd00:1::3", "10.0.1.31", "10.0.1.23"};
	int listeners[] = {[0] = listen_in(task_ns[DB_A]), listen_in(task_ns[DB_C]), listen_in(task_ns[CLI_C])};
	struct pair pairs[ARRAY_SIZE(to)];

	start_web();
	for (size_t i = 0; i < ARRAY_SIZE(to); i++) {
		struct pollfd fds[3] = {{listeners[0], POLLIN, 0}, {listeners[1], POLLIN, 0}, {listeners[2], POLLIN, 0}};

		/* The task's end is called `server` here, since it is the one that moves. */
		pairs[i] = (struct pair){.server = ns_connect(task_ns[WEB], to[i], 80, SOCK_STREAM)};
		if (pairs[i].server < 0)
			fail_msg("connect to %s: %s", to[i], strerror(errno));
		assert_int_equal(poll(fds, 3, 5000), 1);
		for (int k = 0; k < 3; k++)
			if (fds[k].revents)
				pairs[i].client = accept(listeners[k], NULL, NULL);
		set_timeout(pairs[i].client, 10000);
		talk(&pairs[i], "one", "ONE");
	}
	node_do(&a, NODE_CUT, tasks[WEB].id, 0);
	for (size_t i = 0; i < ARRAY_SIZE(to); i++) {
		say(pairs[i].client, "two");
		say(pairs[i].server, "TWO");
		dump_server(&pairs[i]);
	}
	prepare_target();
	carry_over(WEB, MOVED);
	for (size_t i = 0; i < ARRAY_SIZE(to); i++)
		restore_server(&pairs[i], task_ns[MOVED]);
	node_do(&b, NODE_OPEN, tasks[MOVED].id, 0);
	for (size_t i = 0; i < ARRAY_SIZE(to); i++) {
		hear(pairs[i].server, "two");
		hear(pairs[i].client, "TWO");
		talk(&pairs[i], "three", "THREE");
		end(&pairs[i]);
	}
	for (int i = 0; i < 4; i++) { /* new ones are balanced as ever */
		int fd = ns_connect(task_ns[MOVED], DB_VIP, 80, SOCK_STREAM);

		assert_true(fd >= 0);
		close(fd);
	}
	for (int k = 0; k < 3; k++)
		close(listeners[k]);
	detach(WEB);
	assert_all_clean();
	back_to_the_beginning(MOVED);
}

static void gateway_of(int task, char ret[static 64])
{
	_cleanup_free_ char *command =
		xasprintf("nsenter --net=%s ip -4 -o addr show dev eth1 | sed 's/.*inet \\([0-9.]*\\).*/\\1/'", task_path[task]);
	FILE *f = popen(command, "r");

	ret[0] = 0;
	assert_non_null(f);
	if (fgets(ret, 64, f))
		ret[strcspn(ret, "\n")] = 0;
	pclose(f);
	assert_true(*ret);
}

static void adopt_by(int i, enum node_op op)
{
	_cleanup_pb_ pb_task *t = task_of(i);
	_cleanup_free_ char *path = NULL;
	int code;

	path = node_task(tasks[i].node, op, t, &code);
	if (code)
		fail_msg("adopt %s: %s", tasks[i].id, path);
}

#define N_WORLD 4
/* By each node's published port, and one that the task began towards the world. */
static void connect_world(struct pair *pairs, int listener, int world)
{
	static const char *const hosts[] = {"10.77.0.1", "10.77.0.2", "10.77.0.3"};

	for (size_t i = 0; i < 3; i++)
		pairs[i] = connect_to(listener, client_ns, hosts[i], 8080);
	pairs[3] = (struct pair){.server = ns_connect(task_ns[WEB], CLIENT4, 80, SOCK_STREAM)};
	assert_true(pairs[3].server >= 0);
	pairs[3].client = accept(world, NULL, NULL);
	set_timeout(pairs[3].client, 10000);
}

static void talk_all(const struct pair *pairs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		talk(&pairs[i], "question", "answer");
}

/* With something under way in both directions. */
static void move_world(struct pair *pairs, size_t n, int from, int to)
{
	node_do(tasks[from].node, NODE_CUT, tasks[from].id, 0);
	for (size_t i = 0; i < n; i++) {
		say(pairs[i].client, "under way");
		say(pairs[i].server, "back");
		dump_server(&pairs[i]);
	}
	carry_over(from, to);
	for (size_t i = 0; i < n; i++)
		restore_server(&pairs[i], task_ns[to]);
	node_do(tasks[to].node, NODE_OPEN, tasks[to].id, 0);
	for (size_t i = 0; i < n; i++) {
		hear(pairs[i].server, "under way");
		hear(pairs[i].client, "back");
	}
	talk_all(pairs, n);
}

/* Its sources' hosts send it on. New agents there know of it, too. */
static void the_world_goes_on_speaking_to_it(void **state)
{
	static const char *const hosts[] = {"10.77.0.1", "10.77.0.2", "10.77.0.3"};
	struct pair pairs[N_WORLD];
	char before[64], after[64];
	int listener, world = listen_in(client_ns);

	start_web();
	listener = listen_in(task_ns[WEB]);
	assert_all_clean(); /* jobs run in order: the ports are open */
	connect_world(pairs, listener, world);
	talk_all(pairs, N_WORLD);
	gateway_of(WEB, before);
	prepare_target();
	gateway_of(MOVED, after);
	if (strcmp(before, after) == 0) { /* the harder case is the other one */
		detach(MOVED);
		prepare_target();
		gateway_of(MOVED, after);
	}
	assert_string_not_equal(before, after);
	move_world(pairs, N_WORLD, WEB, MOVED);
	close(listener);
	detach(WEB);
	talk_all(pairs, N_WORLD);
	assert_all_clean();
	for (struct node *n = &a; n; n = n == &a ? &b : NULL) {
		node_do(n, NODE_RESTART, NULL, 0);
		for (int i = MOVED; i < TASKS; i++)
			if (tasks[i].node == n && i != AGAIN)
				adopt_by(i, NODE_ADOPT);
		talk_all(pairs, N_WORLD);
	}
	send_all(cluster(true));
	assert_all_clean();
	talk_all(pairs, N_WORLD);
	listener = listen_in(task_ns[MOVED]);
	for (size_t i = 0; i < 3; i++) { /* new ones, by every node */
		struct pair p = connect_to(listener, client_ns, hosts[i], 8080);

		talk_all(&p, 1);
		end(&p);
	}
	close(listener);
	prepare(AGAIN);
	move_world(pairs, N_WORLD, MOVED, AGAIN);
	detach(MOVED);
	talk_all(pairs, N_WORLD);
	assert_all_clean();
	for (size_t i = 0; i < N_WORLD; i++)
		end(&pairs[i]);
	close(world);
	back_to_the_beginning(AGAIN);
}

static int datagrams_in(int ns)
{
	struct sockaddr_in6 sa = {.sin6_family = AF_INET6, .sin6_port = htons(5300)};
	int fd = ns_socket(ns, AF_INET6, SOCK_DGRAM);

	assert_int_equal(bind(fd, (struct sockaddr *)&sa, sizeof(sa)), 0);
	set_timeout(fd, 500);
	return fd;
}

/* One that nobody takes is lost: asked again. */
static void exchange_datagrams(const char *by, int client_socket, int server)
{
	for (int tries = 0; tries < 20; tries++) {
		struct sockaddr_storage from;
		socklen_t len = sizeof(from);
		char buf[16];

		say(client_socket, "datagram");
		if (recvfrom(server, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len) != 8)
			continue;
		assert_int_equal(sendto(server, "answer", 6, 0, (struct sockaddr *)&from, len), 6);
		if (recv(client_socket, buf, sizeof(buf), 0) == 6)
			return;
	}
	fail_msg("no answer by %s", by);
}

/* From one port of the client, so that it is one flow for everybody on the way. */
static void datagrams_go_on(void **state)
{
	int clients[4], server;

	start_web();
	server = datagrams_in(task_ns[WEB]);
	assert_all_clean();
	clients[0] = ns_connect(task_ns[CLI_C], "10.0.1.11", 5300, SOCK_DGRAM);
	clients[1] = ns_connect(task_ns[CLI_C], WEB_VIP, 5300, SOCK_DGRAM);
	clients[2] = ns_connect(client_ns, "10.77.0.3", 8053, SOCK_DGRAM);
	clients[3] = ns_connect(client_ns, "10.77.0.1", 8053, SOCK_DGRAM);
	for (size_t i = 0; i < 4; i++) {
		set_timeout(clients[i], 500);
		exchange_datagrams("the source", clients[i], server);
	}
	prepare_target();
	node_do(&a, NODE_CUT, tasks[WEB].id, 0);
	close(server);
	carry_over(WEB, MOVED);
	server = datagrams_in(task_ns[MOVED]);
	node_do(&b, NODE_OPEN, tasks[MOVED].id, 0);
	detach(WEB);
	for (size_t i = 0; i < 4; i++) {
		exchange_datagrams(i == 0 ? "its address" : i == 1 ? "its service's" : i == 2 ? "n3" : "n1", clients[i], server);
		close(clients[i]);
	}
	close(server);
	assert_all_clean();
	back_to_the_beginning(MOVED);
}

/* Given up before and behind SWITCH: the source goes on as if nothing had been. */
static void given_up_it_goes_on_where_it_was(void **state)
{
	struct pair pairs[3];
	int listener;

	start_web();
	listener = listen_in(task_ns[WEB]);
	for (int i = 0; i < 3; i++)
		pairs[i] = connect_to(listener, task_ns[CLI_A + i], i == 1 ? "10.0.1.11" : WEB_VIP, 80);
	for (int behind = 0; behind <= 1; behind++) {
		prepare_target();
		node_do(&a, NODE_CUT, tasks[WEB].id, 0);
		node_do(&a, NODE_CUT, tasks[WEB].id, 0); /* again: fine */
		if (behind)
			switch_endpoint(WEB, MOVED);
		for (int i = 0; i < 3; i++) {
			say(pairs[i].client, "still");
			say(pairs[i].server, "here");
		}
		assert_true(is_silent(pairs[0].server, 50));
		if (behind)
			switch_endpoint(MOVED, WEB);
		detach(MOVED);
		node_do(&a, NODE_OPEN, tasks[WEB].id, 0);
		node_do(&a, NODE_OPEN, tasks[WEB].id, 0);
		for (int i = 0; i < 3; i++) {
			hear(pairs[i].server, "still");
			hear(pairs[i].client, "here");
			talk(&pairs[i], "and", "on");
		}
		assert_all_clean();
	}
	for (int i = 0; i < 3; i++)
		end(&pairs[i]);
	close(listener);
	detach(WEB);
}

static void send_one(struct node *n, pb_net_state *s)
{
	node_send_state(n, s);
	pb_free(s);
}

/* Neither repairing, nor a new agent that is told so, nor its first message from a manager opens what is cut or shut. */
static void it_stays_cut(void **state)
{
	_cleanup_free_ char *down = NULL;
	struct pair p;
	int listener;

	start_web();
	prepare_target();
	listener = listen_in(task_ns[WEB]);
	p = connect_to(listener, task_ns[CLI_C], WEB_VIP, 80);
	node_do(&a, NODE_CUT, tasks[WEB].id, 0);
	say(p.client, "one");
	node_do(&a, NODE_REPAIR, NULL, 0);
	node_do(&b, NODE_REPAIR, NULL, 0);
	assert_true(is_silent(p.server, 500)); /* the healer has looked, too */
	run_ok("nsenter --net=%s/net/front ip link set v0-%s up", a.dir, tasks[WEB].id);
	down = xasprintf("nsenter --net=%s/net/front ip link show v0-%s | grep -q 'state DOWN'", a.dir, tasks[WEB].id);
	for (int64_t until = clock_mono_ns() + 10 * NS_PER_SEC; system(down) != 0 && clock_mono_ns() < until;)
		poll(NULL, 0, 20);
	run_ok("nsenter --net=%s/net/front ip link show v0-%s | grep -q 'state DOWN'", a.dir, tasks[WEB].id);
	node_do(&a, NODE_RESTART, NULL, 0);
	adopt_by(CLI_A, NODE_ADOPT);
	adopt_by(DB_A, NODE_ADOPT);
	adopt_by(WEB, NODE_ADOPT_CUT);
	node_do(&b, NODE_RESTART, NULL, 0);
	adopt_by(CLI_B, NODE_ADOPT);
	adopt_by(MOVED, NODE_ADOPT_SHUT);
	run_ok("nsenter --net=%s/net/front ip link show v0-%s | grep -q 'state DOWN'", a.dir, tasks[WEB].id);
	node_do(&a, NODE_CUT, tasks[WEB].id, 0); /* before any manager was heard */
	send_all(cluster(false));
	assert_all_clean();
	run_ok("nsenter --net=%s/net/front ip link show v0-%s | grep -q 'state DOWN'", a.dir, tasks[WEB].id);
	run_ok("nsenter --net=%s/net/front ip link show v0-%s | grep -q 'state DOWN'", b.dir, tasks[MOVED].id);
	/* An agent that starts while it is cut, and hears that it goes on before it hears of any manager. */
	node_do(&a, NODE_RESTART, NULL, 0);
	adopt_by(CLI_A, NODE_ADOPT);
	adopt_by(DB_A, NODE_ADOPT);
	adopt_by(WEB, NODE_ADOPT_CUT);
	node_do(&a, NODE_OPEN, tasks[WEB].id, 0);
	set_timeout(p.server, 20000);
	hear(p.server, "one");
	send_one(&a, cluster(false));
	talk(&p, "two", "TWO");
	assert_all_clean();
	end(&p);
	close(listener);
	detach(WEB);
	detach(MOVED);
}

static void others_cannot_move(void **state)
{
	int code;
	_cleanup_pb_ pb_task *t = task_of(WEB);
	_cleanup_free_ char *can = node_task(&a, NODE_CAN_MOVE, t, &code), *cannot = NULL;

	assert_int_equal(code, 0);
	pb_msgs_add(&t->n_networks, &t->networks, net_attachment_of("local", "10.5.0.9/24", NULL));
	cannot = node_task(&a, NODE_CAN_MOVE, t, &code);
	assert_int_equal(code, ERR_PRECONDITION);
	assert_non_null(strstr(cannot, "network local (driver bridge)"));
}

static int teardown(void **state)
{
	int status;

	for (int i = CLI_A; i <= DB_C; i++)
		detach(i);
	status = node_quit(&a) | node_quit(&b) | node_quit(&c);
	kill(underlay, SIGKILL);
	kill(client, SIGKILL);
	waitpid(underlay, NULL, 0);
	waitpid(client, NULL, 0);
	close(client_ns);
	close(client_fd);
	for (int i = 0; i < TASKS; i++)
		free(task_path[i]);
	nodes_clean(dir);
	return status;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(connections_to_it_go_on),
		cmocka_unit_test(its_own_connections_go_on),
		cmocka_unit_test(the_world_goes_on_speaking_to_it),
		cmocka_unit_test(datagrams_go_on),
		cmocka_unit_test(given_up_it_goes_on_where_it_was),
		cmocka_unit_test(it_stays_cut),
		cmocka_unit_test(others_cannot_move),
	};

	return cmocka_run_group_tests_name("a task that moves", tests, setup, teardown);
}
