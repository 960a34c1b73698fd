// Who changed it: we, or somebody else.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "integration/netoverlay/place.h"

struct watched {
	struct place p;
	struct pollfd pfd;
};

/* The kernel's own doings come a moment later: addresses of IPv6 that are ready, the carrier. */
static void settle(struct watched *w)
{
	while (poll(&w->pfd, 1, 300) == 1)
		netns_watch_read(w->p.ns);
}

static void watched_open(struct watched *w)
{
	struct error err = ERROR_INIT;
	struct place *p = &w->p;

	place_open(p, "host", NULL);
	w->pfd = (struct pollfd){.fd = netns_watch_open(p->ns, &err), .events = POLLIN};
	assert_true(w->pfd.fd >= 0);
	assert_int_equal(netns_watch_open(p->ns, &err), w->pfd.fd);
	link_(p, (struct netstate_link){.name = "br0", .kind = LINK_BRIDGE, .mac = mac("02:42:0a:00:01:01"), .up = true});
	link_(p, (struct netstate_link){.name = "vx0", .kind = LINK_VXLAN, .vni = 7, .port = 4789, .up = true});
	addr(p, "br0", "10.0.2.1/24");
	neigh(p, "br0", "10.0.2.5", "02:42:0a:00:02:05");
	fdb(p, "vx0", "02:42:0a:00:02:05", "10.77.0.2");
	route(p, (struct netstate_route){.dst = ip("10.9.0.0/16"), .link = "br0"});
	want(p, (struct netstate_entry){.kind = NETSTATE_RULE, .rule = {.family = AF_INET, .priority = 94, .table = 94}});
	apply(p);
	settle(w);
}

/* The kernel may have something of its own to tell at any moment: that something is silent holds when it is once. */
#define TRIES 10

static bool change_something(struct watched *w, uint8_t i)
{
	char a[24], m[20];
	bool silent;

	snprintf(a, sizeof(a), "10.0.2.%d", 10 + i);
	snprintf(m, sizeof(m), "02:42:0a:00:02:%02x", (uint8_t)(10 + i));
	neigh(&w->p, "br0", a, m);
	fdb(&w->p, "vx0", m, "10.77.0.3");
	snprintf(a, sizeof(a), "10.0.%d.1/24", 10 + i);
	addr(&w->p, "br0", a);
	route(&w->p, (struct netstate_route){.table = 100 + i, .dst.family = AF_INET, .link = "br0"});
	assert_int_equal(apply(&w->p), 4);
	silent = poll(&w->pfd, 1, 0) == 0;
	return !netns_watch_read(w->p.ns) && silent;
}

static void our_own_changes_are_silent(void **state)
{
	struct watched w;
	uint8_t i = 0;

	watched_open(&w);
	while (!change_something(&w, i))
		assert_true(++i < TRIES);
	place_close(&w.p);
}

/* Each of these is noticed. */
static void changes_by_others_are_noticed(void **state)
{
	static const char *const changes[] = {
		"ip neigh del 10.0.2.5 dev br0",
		"ip neigh replace 10.0.2.7 lladdr 02:42:0a:00:02:09 nud permanent dev br0",
		"bridge fdb del 02:42:0a:00:02:05 dev vx0",
		"bridge fdb add 02:42:0a:00:02:08 dev vx0 dst 10.77.0.9",
		"ip addr add 10.0.4.1/24 dev br0",
		"ip addr del 10.0.2.1/24 dev br0",
		"ip route del 10.9.0.0/16",
		"ip route add 10.8.0.0/16 dev br0 table 94",
		"ip rule del prio 94",
		"ip link set vx0 mtu 1400",
		"ip link set vx0 down",
		"ip link del vx0",
	};

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		struct watched w;

		watched_open(&w);
		inside(&w.p, "%s", changes[i]);
		if (poll(&w.pfd, 1, 5000) != 1 || !netns_watch_read(w.p.ns))
			fail_msg("\"%s\" was not noticed", changes[i]);
		place_close(&w.p);
	}
}

/* What others do that is never compared: they would keep us looking. */
static void what_is_no_matter_of_ours_is_not(void **state)
{
	static const char *const changes[] = {
		"ip neigh replace 10.0.2.9 lladdr 02:42:0a:00:02:09 nud reachable dev br0",
		"ip route add 10.7.0.0/16 dev br0; ip route del 10.7.0.0/16 dev br0",
	};

	for (size_t i = 0; i < ARRAY_SIZE(changes); i++) {
		struct watched w;
		int tries = 0;

		watched_open(&w);
		do {
			if (tries++ == TRIES)
				fail_msg("\"%s\" was told", changes[i]);
			inside(&w.p, "%s", changes[i]);
		} while (netns_watch_read(w.p.ns));
		place_close(&w.p);
	}
}

/* Somebody's change, then ours before anybody came to read: it is not lost, and says so by itself. */
static void seen_while_we_changed_something(void **state)
{
	struct watched w;

	watched_open(&w);
	inside(&w.p, "ip addr del 10.0.2.1/24 dev br0");
	neigh(&w.p, "br0", "10.0.2.6", "02:42:0a:00:02:06");
	assert_int_equal(apply(&w.p), 1);
	assert_int_equal(poll(&w.pfd, 1, 0), 1);
	assert_true(netns_watch_read(w.p.ns));
	for (int i = 0; netns_watch_read(w.p.ns); i++) /* it is told once */
		assert_true(i < TRIES);
	assert_int_equal(poll(&w.pfd, 1, 0), 0);
	place_close(&w.p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(our_own_changes_are_silent),
		cmocka_unit_test(changes_by_others_are_noticed),
		cmocka_unit_test(what_is_no_matter_of_ours_is_not),
		cmocka_unit_test(seen_while_we_changed_something),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
