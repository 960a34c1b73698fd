// Namespaces, links and all that stands on them, on the real kernel: in namespaces that this test makes.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "integration/netoverlay/place.h"

static void applying_twice_changes_nothing(void **state)
{
	struct place host, net;

	place_open(&host, "host", NULL);
	underlay(&host, "", "u0", "u1", "10.77.0.1/24");
	apply(&host);
	place_open(&net, "net", host.ns);
	overlay(&net, "10.77.0.1", "10.0.1.1/24");
	neigh(&net, "vx0", "10.0.1.5", "02:42:0a:00:01:05");
	fdb(&net, "vx0", "02:42:0a:00:01:05", "10.77.0.2");
	addr(&net, "br0", "fd00::1/64");
	neigh(&net, "br0", "fd00::5", "02:42:0a:00:01:05");
	assert_int_equal(apply(&net), 11);
	assert_int_equal(apply(&net), 0);
	assert_int_equal(differences(&net, NULL), 0);
	assert_int_equal(differences(&host, NULL), 0);

	/* And everything once more, as after a restart. */
	struct netstate *none = netstate_new();
	struct netstate_ops ops;
	struct error err = ERROR_INIT;

	netstate_diff(net.want, none, RTNL_KINDS, &ops);
	ok(netns_apply(net.ns, ops.v, ops.n, NULL, &err), &err);
	netstate_ops_fini(&ops);
	netstate_free(none);
	assert_int_equal(differences(&net, NULL), 0);
	place_close(&net);
	place_close(&host);
}

static void what_somebody_deleted_is_found_and_mended(void **state)
{
	struct place host, net;
	struct netstate_ops ops;
	struct error err = ERROR_INIT;
	char command[300];

	place_open(&host, "host", NULL);
	underlay(&host, "", "u0", "u1", "10.77.0.1/24");
	apply(&host);
	place_open(&net, "net", host.ns);
	overlay(&net, "10.77.0.1", "10.0.1.1/24");
	fdb(&net, "vx0", "02:42:0a:00:01:05", "10.77.0.2");
	fdb(&net, "vx0", "02:42:0a:00:01:06", "10.77.0.3");
	apply(&net);
	snprintf(command, sizeof(command), "nsenter --net=%s sh -c 'bridge fdb del 02:42:0a:00:01:05 dev vx0 && "
		 "ip addr add 10.0.1.99/24 dev br0 && ip link set vx0 mtu 1400'", net.path);
	assert_int_equal(system(command), 0);
	assert_in_range(differences(&net, &ops), 3, 4); /* a bridge may follow the MTU of its port */
	ok(netns_apply(net.ns, ops.v, ops.n, NULL, &err), &err);
	netstate_ops_fini(&ops);
	assert_int_equal(differences(&net, NULL), 0);

	/* The device as a whole: it comes back with all that stood on it. */
	snprintf(command, sizeof(command), "nsenter --net=%s ip link del vx0", net.path);
	assert_int_equal(system(command), 0);
	assert_true(differences(&net, &ops) >= 3);
	ok(netns_apply(net.ns, ops.v, ops.n, NULL, &err), &err);
	netstate_ops_fini(&ops);
	assert_int_equal(differences(&net, NULL), 0);
	place_close(&net);
	place_close(&host);
}

static void taken_away_it_is_gone(void **state)
{
	struct place host, net;
	struct netstate_entry key = {.kind = NETSTATE_LINK, .link = {.name = "vx0", .kind = LINK_VXLAN}};

	place_open(&host, "host", NULL);
	underlay(&host, "", "u0", "u1", "10.77.0.1/24");
	apply(&host);
	place_open(&net, "net", host.ns);
	overlay(&net, "10.77.0.1", "10.0.1.1/24");
	apply(&net);
	assert_true(netstate_del(net.want, &key));
	key = (struct netstate_entry){.kind = NETSTATE_ROUTE, .route = {.dst = ip("10.0.1.77"), .local = true, .link = "lo"}};
	assert_true(netstate_del(net.want, &key));
	key = (struct netstate_entry){.kind = NETSTATE_RULE, .rule = {.family = AF_INET, .priority = 94, .table = 94,
								      .fwmark = 0x5e000000, .fwmask = 0xff000000}};
	assert_true(netstate_del(net.want, &key));
	assert_int_equal(apply(&net), 3);
	assert_int_equal(differences(&net, NULL), 0);
	place_close(&net);
	place_close(&host);
}

struct udp {
	int fd;
	const char *bind, *to;
};

static void open_udp(void *data)
{
	struct udp *u = data;
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_port = htons(5000)};

	inet_pton(AF_INET, u->bind, &sa.sin_addr);
	u->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(u->fd, (void *)&sa, sizeof(sa)), 0);
}

/* Two hosts, each with an overlay namespace and a task's namespace: a datagram from task to task. */
static void vxlan_carries_a_packet(void **state)
{
	struct place host[2], net[2], task[2];
	char text[128];
	struct udp u[2] = {{.bind = "10.0.1.10"}, {.bind = "10.0.1.11"}};
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(5000)};
	struct error err = ERROR_INIT;

	place_open(&host[0], "h0", NULL);
	place_open(&host[1], "h1", NULL);
	underlay(&host[0], host[1].path, "u0", "u0", "10.77.0.1/24");
	apply(&host[0]);
	link_(&host[1], (struct netstate_link){.name = "u0", .kind = LINK_OTHER, .up = true});
	addr(&host[1], "u0", "10.77.0.2/24");
	apply(&host[1]);
	for (int i = 0; i < 2; i++) {
		struct netstate_link l = {.name = "t0", .kind = LINK_VETH, .peer = "eth0", .mtu = 1450, .master = "br0", .up = true};
		char m[20], a[24];

		snprintf(text, sizeof(text), "n%d", i);
		place_open(&net[i], text, host[i].ns);
		snprintf(text, sizeof(text), "t%d", i);
		place_open(&task[i], text, host[i].ns);
		overlay(&net[i], i ? "10.77.0.2" : "10.77.0.1", "10.0.1.1/24");
		strcpy(l.peer_ns, task[i].path);
		snprintf(m, sizeof(m), "02:42:0a:00:01:%02x", 10 + i);
		l.peer_mac = mac(m);
		link_(&net[i], l);
		snprintf(m, sizeof(m), "02:42:0a:00:01:%02x", 11 - i);
		snprintf(a, sizeof(a), "10.0.1.%d", 11 - i);
		neigh(&net[i], "vx0", a, m);
		fdb(&net[i], "vx0", m, i ? "10.77.0.1" : "10.77.0.2");
		apply(&net[i]);
		link_(&task[i], (struct netstate_link){.name = "eth0", .kind = LINK_OTHER, .up = true});
		snprintf(a, sizeof(a), "10.0.1.%d/24", 10 + i);
		addr(&task[i], "eth0", a);
		apply(&task[i]);
		assert_int_equal(differences(&task[i], NULL), 0);
		assert_int_equal(differences(&net[i], NULL), 0);
		ok(netns_run(task[i].ns, open_udp, &u[i], &err), &err);
	}
	inet_pton(AF_INET, u[1].bind, &to.sin_addr);
	struct pollfd pfd = {.fd = u[1].fd, .events = POLLIN};
	int got = 0;

	/* A bridge's port takes a moment until its carrier is seen. */
	for (int i = 0; i < 50 && !got; i++) {
		sendto(u[0].fd, "hello", 5, 0, (void *)&to, sizeof(to));
		got = poll(&pfd, 1, 100);
	}
	assert_int_equal(got, 1);
	assert_int_equal(recv(u[1].fd, text, sizeof(text), 0), 5);
	close(u[0].fd);
	close(u[1].fd);
	for (int i = 0; i < 2; i++) {
		place_close(&task[i]);
		place_close(&net[i]);
		place_close(&host[i]);
	}
}

static void many_entries_in_one_call(void **state)
{
	struct place host, net;
	int64_t began;

	place_open(&host, "host", NULL);
	underlay(&host, "", "u0", "u1", "10.77.0.1/24");
	apply(&host);
	place_open(&net, "net", host.ns);
	overlay(&net, "10.77.0.1", "10.0.0.1/16");
	apply(&net);
	for (int i = 0; i < 1000; i++) {
		char a[24], m[20];

		snprintf(a, sizeof(a), "10.0.%d.%d", 2 + i / 250, 1 + i % 250);
		snprintf(m, sizeof(m), "02:42:0a:00:%02x:%02x", 2 + i / 250, 1 + i % 250);
		neigh(&net, "vx0", a, m);
		fdb(&net, "vx0", m, "10.77.0.2");
	}
	began = clock_mono_ns();
	assert_int_equal(apply(&net), 2000);
	print_message("2000 entries in %.1f ms\n", (clock_mono_ns() - began) / 1e6);
	began = clock_mono_ns();
	assert_int_equal(differences(&net, NULL), 0);
	print_message("compared in %.1f ms\n", (clock_mono_ns() - began) / 1e6);
	place_close(&net);
	place_close(&host);
}

static void failures_are_counted_and_named(void **state)
{
	struct place p;
	struct error err = ERROR_INIT;
	struct netstate_ops ops;
	size_t failed;

	place_open(&p, "host", NULL);
	addr(&p, "absent0", "10.0.0.1/24");
	link_(&p, (struct netstate_link){.name = "b0", .kind = LINK_BRIDGE, .up = true});
	addr(&p, "b0", "10.0.2.1/24");
	netstate_take_changes(p.want, &ops);
	assert_int_equal(netns_apply(p.ns, ops.v, ops.n, &failed, &err), -1);
	assert_int_equal(failed, 1);
	assert_non_null(strstr(err.msg, "absent0"));
	netstate_ops_fini(&ops);
	assert_int_equal(differences(&p, NULL), 1); /* the rest was done */
	place_close(&p);
}

static void rulesets_are_transactions_and_listed(void **state)
{
	struct place p;
	struct error err = ERROR_INIT;
	_cleanup_free_ char *first = NULL, *second = NULL, *none = NULL;

	place_open(&p, "host", NULL);
	ok(netns_nft_list(p.ns, "inet skein", &none, &err), &err);
	assert_string_equal(none, "");
	ok(netns_nft(p.ns, "add table inet skein\nadd chain inet skein a\nadd rule inet skein a tcp dport 80 counter accept\n", NULL, &err), &err);
	ok(netns_nft_list(p.ns, "inet skein", &first, &err), &err);
	assert_non_null(strstr(first, "dport 80"));
	/* The second line is wrong: nothing of the first stays. */
	assert_int_equal(netns_nft(p.ns, "add chain inet skein b\nadd rule inet skein absent accept\n", NULL, &err), -1);
	ok(netns_nft_list(p.ns, "inet skein", &second, &err), &err);
	assert_string_equal(first, second);
	place_close(&p);
}

/* Elements of sets and maps come in one order, in whatever order they were put. */
static void rulesets_look_the_same_when_they_are(void **state)
{
	static const char *const maps[] = {"10.0.1.1 : 1, 10.0.1.2 : 2, 10.0.1.200 : 3, 10.0.1.7 : 4",
					   "10.0.1.200 : 3, 10.0.1.7 : 4, 10.0.1.2 : 2, 10.0.1.1 : 1"};
	char *listing[ARRAY_SIZE(maps)];
	struct error err = ERROR_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(maps); i++) {
		_cleanup_free_ char *text = NULL;
		struct place p;

		place_open(&p, "host", NULL);
		text = xasprintf("add table inet skein\n"
				 "add map inet skein vips { type ipv4_addr : mark; elements = { %s } }\n"
				 "add chain inet skein c { type filter hook prerouting priority mangle; }\n"
				 "add rule inet skein c meta mark set ip daddr map @vips counter\n",
				 maps[i]);
		ok(netns_nft(p.ns, text, NULL, &err), &err);
		ok(netns_nft_list(p.ns, "inet skein", &listing[i], &err), &err);
		place_close(&p);
	}
	assert_string_equal(listing[0], listing[1]);
	assert_null(strstr(listing[0], "packets")); /* counters' values are no part of it */
	free(listing[0]);
	free(listing[1]);
}

static void ten_thousand_are_read(void **state)
{
	struct place host, net;
	int64_t began;

	place_open(&host, "host", NULL);
	place_open(&net, "net", host.ns);
	overlay(&net, "10.77.0.1", "10.0.0.1/16");
	apply(&net);
	for (unsigned i = 0; i < 5000; i++) {
		char a[24], m[20];

		snprintf(a, sizeof(a), "10.0.%u.%u", 2 + i / 250, 1 + i % 250);
		snprintf(m, sizeof(m), "02:42:0a:00:%02x:%02x", 2 + i / 250, 1 + i % 250);
		neigh(&net, "vx0", a, m);
		fdb(&net, "vx0", m, "10.77.0.2");
	}
	began = clock_mono_ns();
	assert_int_equal(apply(&net), 10000);
	print_message("10000 entries in %.1f ms\n", (clock_mono_ns() - began) / 1e6);
	began = clock_mono_ns();
	assert_int_equal(differences(&net, NULL), 0);
	print_message("compared in %.1f ms\n", (clock_mono_ns() - began) / 1e6);
	inside(&net, "bridge fdb show dev vx0 | grep -c 10.77.0.2 | grep -qx 5000");
	place_close(&net);
	place_close(&host);
}

static ino_t own_namespace(void)
{
	struct stat st;

	assert_int_equal(stat("/proc/thread-self/ns/net", &st), 0);
	return st.st_ino;
}

static void note_namespace(void *data)
{
	*(ino_t *)data = own_namespace();
}

static void threads_come_back(void **state)
{
	struct netns_features f;
	struct error err = ERROR_INIT;
	ino_t before = own_namespace(), in = 0, again = 0;
	struct place p;

	place_open(&p, "host", NULL);
	assert_int_equal(own_namespace(), before);
	ok(netns_run(p.ns, note_namespace, &in, &err), &err);
	assert_true(in != before);
	assert_int_equal(own_namespace(), before);
	ok(netns_create(p.path, &err), &err); /* it is there: stays as it is */
	ok(netns_run(p.ns, note_namespace, &again, &err), &err);
	assert_int_equal(again, in);
	inside(&p, "ip link show lo | grep -q UP");
	ok(netns_probe(&f, &err), &err);
	assert_int_equal(own_namespace(), before);
	place_close(&p);
}

static void files_that_are_no_namespaces(void **state)
{
	struct error err = ERROR_INIT;
	char path[128];
	int fd;

	snprintf(path, sizeof(path), "%s/absent", dir);
	assert_null(netns_open(path, NULL, &err));
	assert_non_null(strstr(err.msg, path));
	ok(netns_destroy(path, &err), &err);
	snprintf(path, sizeof(path), "%s/absent/x", dir);
	assert_int_equal(netns_create(path, &err), -1);
	/* Left by a crash, or by a boot. */
	snprintf(path, sizeof(path), "%s/left", dir);
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_null(netns_open(path, NULL, &err));
	ok(netns_create(path, &err), &err);
	ok(netns_create(path, &err), &err);
	ok(netns_destroy(path, &err), &err);
	assert_int_equal(access(path, F_OK), -1);
}

static void the_link_of_an_address(void **state)
{
	struct error err = ERROR_INIT;
	struct ipaddr a = ip("10.77.0.1"), other = ip("10.77.0.9");
	char name[IFNAMSIZ];
	uint32_t mtu;
	struct place p;

	place_open(&p, "host", NULL);
	link_(&p, (struct netstate_link){.name = "u0", .kind = LINK_BRIDGE, .mtu = 1400, .up = true});
	addr(&p, "u0", "10.77.0.1/24");
	apply(&p);
	ok(netns_link_of_address(p.ns, &a, name, &mtu, &err), &err);
	assert_string_equal(name, "u0");
	assert_int_equal(mtu, 1400);
	assert_int_equal(netns_link_of_address(p.ns, &other, name, &mtu, &err), -1);
	assert_int_equal(err.code, ERR_NOT_FOUND);
	place_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(applying_twice_changes_nothing),
		cmocka_unit_test(what_somebody_deleted_is_found_and_mended),
		cmocka_unit_test(taken_away_it_is_gone),
		cmocka_unit_test(vxlan_carries_a_packet),
		cmocka_unit_test(many_entries_in_one_call),
		cmocka_unit_test(failures_are_counted_and_named),
		cmocka_unit_test(rulesets_are_transactions_and_listed),
		cmocka_unit_test(rulesets_look_the_same_when_they_are),
		cmocka_unit_test(ten_thousand_are_read),
		cmocka_unit_test(threads_come_back),
		cmocka_unit_test(files_that_are_no_namespaces),
		cmocka_unit_test(the_link_of_an_address),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
