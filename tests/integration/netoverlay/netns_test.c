// Namespaces, links and all that stands on them, on the real kernel: in namespaces that this test makes.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "netoverlay/netns.h"
#include "netoverlay/netstate.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define RTNL_KINDS                                                                                                   \
	(1u << NETSTATE_LINK | 1u << NETSTATE_ADDR | 1u << NETSTATE_ROUTE | 1u << NETSTATE_RULE | 1u << NETSTATE_NEIGH | \
	 1u << NETSTATE_FDB | 1u << NETSTATE_SYSCTL)

static char dir[64];

static void ok(int r, const struct error *err)
{
	if (r < 0)
		print_error("%s\n", err->msg);
	assert_int_equal(r, 0);
}

static struct ipaddr ip(const char *s)
{
	struct ipaddr a;
	struct error err = ERROR_INIT;

	ok(ipaddr_parse(s, &a, &err), &err);
	return a;
}

static struct mac mac(const char *s)
{
	struct mac m;
	struct error err = ERROR_INIT;

	ok(mac_parse(s, &m, &err), &err);
	return m;
}

/* ---- a namespace of the test with its wishes */

struct place {
	char path[128];
	struct netns *ns;
	struct netstate *want;
};

static void place_open(struct place *p, const char *name, struct netns *outer)
{
	struct error err = ERROR_INIT;

	snprintf(p->path, sizeof(p->path), "%s/%s", dir, name);
	ok(netns_create(p->path, &err), &err);
	p->ns = netns_open(p->path, outer, &err);
	ok(p->ns ? 0 : -1, &err);
	p->want = netstate_new();
}

static void place_close(struct place *p)
{
	struct error err = ERROR_INIT;

	netns_close(p->ns);
	netstate_free(p->want);
	ok(netns_destroy(p->path, &err), &err);
	ok(netns_destroy(p->path, &err), &err); /* again: fine */
}

static void want(struct place *p, struct netstate_entry e)
{
	netstate_put(p->want, &e);
}

static void link_(struct place *p, struct netstate_link l)
{
	want(p, (struct netstate_entry){.kind = NETSTATE_LINK, .link = l});
}

static void addr(struct place *p, const char *link, const char *a)
{
	struct netstate_entry e = {.kind = NETSTATE_ADDR, .addr.addr = ip(a)};

	strcpy(e.addr.link, link);
	want(p, e);
}

static void neigh(struct place *p, const char *link, const char *a, const char *m)
{
	struct netstate_entry e = {.kind = NETSTATE_NEIGH, .neigh = {.addr = ip(a), .mac = mac(m)}};

	strcpy(e.neigh.link, link);
	want(p, e);
}

static void fdb(struct place *p, const char *link, const char *m, const char *dst)
{
	struct netstate_entry e = {.kind = NETSTATE_FDB, .fdb = {.mac = mac(m), .dst = ip(dst)}};

	strcpy(e.fdb.link, link);
	want(p, e);
}

static void route(struct place *p, struct netstate_route r)
{
	want(p, (struct netstate_entry){.kind = NETSTATE_ROUTE, .route = r});
}

static size_t apply(struct place *p)
{
	struct netstate_ops ops;
	struct error err = ERROR_INIT;
	size_t n;

	netstate_take_changes(p->want, &ops);
	ok(netns_apply(p->ns, ops.v, ops.n, NULL, &err), &err);
	n = ops.n;
	netstate_ops_fini(&ops);
	return n;
}

/* What differs between wishes and the kernel. */
static size_t differences(struct place *p, struct netstate_ops *ret)
{
	struct netstate *have = netstate_new();
	struct netstate_ops ops;
	struct error err = ERROR_INIT;

	ok(netns_dump(p->ns, RTNL_KINDS, p->want, have, &err), &err);
	netstate_diff(p->want, have, RTNL_KINDS, &ops);
	netstate_free(have);
	for (size_t i = 0; i < ops.n && !ret; i++) {
		char text[NETSTATE_ENTRY_TEXT_MAX];

		print_message("%s %s %s\n", ops.v[i].del ? "extra" : "missing", netstate_kind_name(ops.v[i].entry.kind),
			      netstate_entry_text(&ops.v[i].entry, text));
	}
	size_t n = ops.n;

	if (ret)
		*ret = ops;
	else
		netstate_ops_fini(&ops);
	return n;
}

/* ---- cases */

/* The host's part: an underlay device. */
static void underlay(struct place *p, const char *peer_ns, const char *name, const char *peer, const char *address)
{
	struct netstate_link l = {.kind = LINK_VETH, .mtu = 1500, .up = true};

	if (!*peer_ns) { /* one host alone: any device does */
		l.kind = LINK_BRIDGE;
		peer = "";
	}
	strcpy(l.name, name);
	strcpy(l.peer, peer);
	strcpy(l.peer_ns, peer_ns);
	link_(p, l);
	addr(p, name, address);
}

static void overlay(struct place *p, const char *local, const char *gateway)
{
	link_(p, (struct netstate_link){.name = "br0", .kind = LINK_BRIDGE, .mtu = 1450, .mac = mac("02:42:0a:00:01:01"), .up = true});
	link_(p, (struct netstate_link){.name = "vx0", .kind = LINK_VXLAN, .vni = 4100, .port = 4789, .local = ip(local),
					.mtu = 1450, .master = "br0", .up = true});
	addr(p, "br0", gateway);
	want(p, (struct netstate_entry){.kind = NETSTATE_SYSCTL, .sysctl = {.name = "net/ipv4/conf/br0/rp_filter", .value = "0"}});
	want(p, (struct netstate_entry){.kind = NETSTATE_RULE, .rule = {.family = AF_INET, .priority = 94, .table = 94,
									   .fwmark = 0x5e000000, .fwmask = 0xff000000}});
	route(p, (struct netstate_route){.table = 94, .dst = {.family = AF_INET}, .link = "br0", .via = ip("10.0.1.200"), .onlink = true});
	route(p, (struct netstate_route){.dst = ip("10.0.1.77"), .local = true, .link = "lo", .src = ip(gateway)});
}

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

static void changes_by_others_are_noticed(void **state)
{
	struct place p;
	struct error err = ERROR_INIT;
	char command[300];
	struct pollfd pfd = {.events = POLLIN};

	place_open(&p, "host", NULL);
	pfd.fd = netns_watch_open(p.ns, &err);
	assert_true(pfd.fd >= 0);
	link_(&p, (struct netstate_link){.name = "b0", .kind = LINK_BRIDGE, .mac = mac("02:42:0a:00:01:01")});
	addr(&p, "b0", "10.0.2.1/24");
	apply(&p);
	/* The kernel's own doing behind it: addresses of IPv6, the carrier. */
	while (poll(&pfd, 1, 300) == 1)
		netns_watch_read(p.ns);
	neigh(&p, "b0", "10.0.2.5", "02:42:0a:00:02:05");
	apply(&p);
	assert_false(netns_watch_read(p.ns));
	snprintf(command, sizeof(command), "nsenter --net=%s ip neigh del 10.0.2.5 dev b0", p.path);
	assert_int_equal(system(command), 0);
	assert_int_equal(poll(&pfd, 1, 5000), 1);
	assert_true(netns_watch_read(p.ns));
	assert_false(netns_watch_read(p.ns));
	place_close(&p);
}

static void connections_are_counted(void **state)
{
	struct place p;
	struct error err = ERROR_INIT;
	unsigned n = 99;
	int server, client;
	struct sockaddr_in sa = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sa);
	int back = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), fd;

	place_open(&p, "host", NULL);
	ok(netns_tcp_connections(p.ns, NULL, 0, &n, &err), &err);
	assert_int_equal(n, 0);
	fd = open(p.path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(setns(fd, CLONE_NEWNET), 0);
	server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(server, (void *)&sa, sizeof(sa)), 0);
	assert_int_equal(listen(server, 5), 0);
	getsockname(server, (void *)&sa, &len);
	assert_int_equal(connect(client, (void *)&sa, len), 0);
	assert_int_equal(setns(back, CLONE_NEWNET), 0);
	ok(netns_tcp_connections(p.ns, NULL, 0, &n, &err), &err);
	assert_int_equal(n, 1); /* the client's end has another port */
	ok(netns_tcp_connections(p.ns, (uint16_t[]){9}, 1, &n, &err), &err);
	assert_int_equal(n, 0);
	close(fd);
	close(back);
	close(server);
	close(client);
	place_close(&p);
}

static void kinds_of_links(void **state)
{
	struct netns_features f;
	struct error err = ERROR_INIT;
	struct place host, task;

	ok(netns_probe(&f, &err), &err);
	print_message("vxlan %d macvlan %d ipvlan %d vlan %d ipvs %d nftables %d egress %d esp %d\n", f.vxlan, f.macvlan, f.ipvlan,
		      f.vlan, f.ipvs, f.nftables, f.nft_egress, f.esp);
	assert_true(f.vxlan && f.nftables);
	place_open(&host, "host", NULL);
	underlay(&host, "", "u0", "", "10.77.0.1/24");
	underlay(&host, "", "u1", "", "10.78.0.1/24");
	apply(&host);
	place_open(&task, "task", host.ns);
	if (f.macvlan)
		link_(&task, (struct netstate_link){.name = "m0", .kind = LINK_MACVLAN, .parent = "u0", .mode = "bridge", .up = true});
	if (f.ipvlan)
		link_(&task, (struct netstate_link){.name = "i0", .kind = LINK_IPVLAN, .parent = "u1", .mode = "l2", .up = true});
	if (f.vlan)
		link_(&host, (struct netstate_link){.name = "v0", .kind = LINK_VLAN, .parent = "u0", .vlan_id = 7, .up = true});
	apply(&host);
	apply(&task);
	assert_int_equal(differences(&host, NULL), 0);
	assert_int_equal(differences(&task, NULL), 0);
	place_close(&task);
	place_close(&host);
}

static void balancer_entries(void **state)
{
	const unsigned kinds = 1u << NETSTATE_IPVS_SERVICE | 1u << NETSTATE_IPVS_DEST;
	struct netns_features f;
	struct error err = ERROR_INIT;
	struct netstate_ops ops;
	struct netstate *have = netstate_new();
	struct place p;

	ok(netns_probe(&f, &err), &err);
	if (!f.ipvs)
		skip();
	place_open(&p, "host", NULL);
	want(&p, (struct netstate_entry){.kind = NETSTATE_IPVS_SERVICE, .ipvs_service = {.fwmark = 7, .scheduler = "rr", .addr.family = AF_INET}});
	for (int i = 0; i < 3; i++) {
		char a[24];

		snprintf(a, sizeof(a), "10.0.1.%d", 5 + i);
		want(&p, (struct netstate_entry){.kind = NETSTATE_IPVS_DEST,
						 .ipvs_dest = {.fwmark = 7, .service.family = AF_INET, .addr = ip(a), .weight = 1}});
	}
	assert_int_equal(apply(&p), 4);
	want(&p, (struct netstate_entry){.kind = NETSTATE_IPVS_DEST,
					 .ipvs_dest = {.fwmark = 7, .service.family = AF_INET, .addr = ip("10.0.1.5"), .weight = 0}});
	assert_int_equal(apply(&p), 1);
	ok(netns_dump(p.ns, kinds, p.want, have, &err), &err);
	assert_int_equal(netstate_count(have), 4);
	netstate_diff(p.want, have, kinds, &ops);
	assert_int_equal(ops.n, 0);
	netstate_ops_fini(&ops);
	netstate_free(have);
	place_close(&p);
}

static void esp_entries(void **state)
{
	const unsigned kinds = 1u << NETSTATE_XFRM_STATE | 1u << NETSTATE_XFRM_POLICY;
	struct netns_features f;
	struct error err = ERROR_INIT;
	struct netstate_ops ops;
	struct netstate *have = netstate_new();
	struct place p;

	ok(netns_probe(&f, &err), &err);
	if (!f.esp)
		skip();
	place_open(&p, "host", NULL);
	want(&p, (struct netstate_entry){.kind = NETSTATE_XFRM_STATE,
					 .xfrm_state = {.src = ip("10.77.0.1"), .dst = ip("10.77.0.2"), .spi = 4097, .reqid = 5, .key = {1, 2, 3}}});
	want(&p, (struct netstate_entry){.kind = NETSTATE_XFRM_POLICY,
					 .xfrm_policy = {.out = true, .src = ip("10.77.0.1"), .dst = ip("10.77.0.2"), .port = 4789,
							 .mark = 0xd0c4, .mask = 0xffff, .spi = 4097, .reqid = 5, .required = true}});
	assert_int_equal(apply(&p), 2);
	ok(netns_dump(p.ns, kinds, p.want, have, &err), &err);
	netstate_diff(p.want, have, kinds, &ops);
	assert_int_equal(ops.n, 0);
	netstate_ops_fini(&ops);
	netstate_free(have);
	place_close(&p);
}

static int setup(void **state)
{
	strcpy(dir, "/tmp/skein-netns.XXXXXX");
	/* Mounts and links of this test are its own. */
	return !mkdtemp(dir) || unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0;
}

static int teardown(void **state)
{
	return rmdir(dir);
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
		cmocka_unit_test(changes_by_others_are_noticed),
		cmocka_unit_test(connections_are_counted),
		cmocka_unit_test(kinds_of_links),
		cmocka_unit_test(balancer_entries),
		cmocka_unit_test(esp_entries),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
