#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "unit/netoverlay/entries.h"

#include "common/mem.h"

#include <sys/socket.h>

static void texts(void **state)
{
	const struct {
		struct netstate_entry e;
		const char *text;
	} cases[] = {
		{fdb_on("vx0", 5, "10.77.0.2"), "02:00:00:00:00:05 dev vx0 dst 10.77.0.2"},
		{neigh_on("vx0", "fd00::5/64", 5), "fd00::5 dev vx0 mac 02:00:00:00:00:05"},
		{addr_on("br0", "10.0.1.1/24"), "10.0.1.1/24 dev br0"},
		{addr_on("lo", "10.0.1.1"), "10.0.1.1 dev lo"},
		{{.kind = NETSTATE_LINK,
		  .link = {.name = "p0", .kind = LINK_VETH, .peer = "eth0", .peer_ns = "/run/x", .mtu = 1450, .master = "br0",
			   .isolated = true, .hairpin = true, .up = true}},
		 "p0 veth peer eth0 in /run/x mtu 1450 master br0 isolated hairpin up"},
		{{.kind = NETSTATE_LINK, .link = {.name = "eth0", .kind = LINK_MACVLAN, .parent = "ens3", .mode = "bridge"}},
		 "eth0 macvlan parent ens3 mode bridge"},
		{{.kind = NETSTATE_ROUTE, .route = {.dst.family = AF_INET6, .link = "eth0", .via = ip("fd00::1")}},
		 "default (IPv6) via fd00::1 dev eth0"},
		{{.kind = NETSTATE_ROUTE, .route = {.dst = ip("10.0.1.2"), .local = true, .link = "lo", .src = ip("10.0.1.5")}},
		 "local 10.0.1.2 dev lo src 10.0.1.5"},
		{{.kind = NETSTATE_ROUTE, .route = {.dst = ip("10.9.0.0/16"), .link = "x", .table = 94, .onlink = true}},
		 "10.9.0.0/16 dev x table 94 onlink"},
		{{.kind = NETSTATE_RULE, .rule = {.family = AF_INET, .priority = 94, .table = 94, .fwmark = 0x5e000000,
						  .fwmask = 0xff000000}},
		 "IPv4 priority 94 fwmark 0x5e000000/0xff000000 lookup 94"},
		{{.kind = NETSTATE_SYSCTL, .sysctl = {.name = "net/ipv4/ip_forward", .value = "1"}}, "net/ipv4/ip_forward = 1"},
		{{.kind = NETSTATE_IPVS_SERVICE, .ipvs_service = {.fwmark = 7, .scheduler = "rr"}}, "fwmark 7 scheduler rr"},
		{{.kind = NETSTATE_IPVS_DEST,
		  .ipvs_dest = {.protocol = 6, .service = ip("10.0.1.2"), .service_port = 80, .addr = ip("10.0.1.5"), .weight = 3}},
		 "10.0.1.2 port 80 protocol 6 -> 10.0.1.5 weight 3"},
		{{.kind = NETSTATE_XFRM_POLICY,
		  .xfrm_policy = {.out = true, .src = ip("10.77.0.1"), .dst = ip("10.77.0.2"), .port = 4789, .mark = 1, .mask = 1,
				  .spi = 256, .reqid = 3}},
		 "out src 10.77.0.1 dst 10.77.0.2 udp port 4789 mark 0x1/0x1 spi 0x00000100 reqid 3 optional"},
	};
	char buf[NETSTATE_ENTRY_TEXT_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		assert_string_equal(netstate_entry_text(&cases[i].e, buf), cases[i].text);
}

static void keys_are_not_told(void **state)
{
	struct netstate_entry e = {.kind = NETSTATE_XFRM_STATE,
				   .xfrm_state = {.src = ip("10.77.0.1"), .dst = ip("10.77.0.2"), .spi = 256, .reqid = 3}};
	char without[NETSTATE_ENTRY_TEXT_MAX], with[NETSTATE_ENTRY_TEXT_MAX];

	netstate_entry_text(&e, without);
	assert_string_equal(without, "src 10.77.0.1 dst 10.77.0.2 spi 0x00000100 reqid 3");
	memset(e.xfrm_state.key, 0xa5, sizeof(e.xfrm_state.key));
	assert_string_equal(netstate_entry_text(&e, with), without);
}

static void what_does_not_fit_is_cut(void **state)
{
	struct netstate_entry e = {.kind = NETSTATE_LINK, .link = {.kind = LINK_VETH, .up = true}};
	char buf[NETSTATE_ENTRY_TEXT_MAX];

	memset(e.link.name, 'n', sizeof(e.link.name) - 1);
	memset(e.link.peer, 'p', sizeof(e.link.peer) - 1);
	memset(e.link.parent, 'q', sizeof(e.link.parent) - 1);
	memset(e.link.master, 'm', sizeof(e.link.master) - 1);
	memset(e.link.mode, 'o', sizeof(e.link.mode) - 1);
	memset(e.link.peer_ns, 's', sizeof(e.link.peer_ns) - 1);
	e.link.local = ip("2001:db8:1111:2222:3333:4444:5555:6666");
	netstate_entry_text(&e, buf);
	assert_int_equal(strlen(buf), sizeof(buf) - 1);
}

static void kinds_have_names(void **state)
{
	for (int i = 0; i < NETSTATE_KINDS; i++)
		assert_string_not_equal(netstate_kind_name(i), "unknown");
	assert_string_equal(netstate_kind_name(NETSTATE_KINDS), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts),
		cmocka_unit_test(keys_are_not_told),
		cmocka_unit_test(what_does_not_fit_is_cut),
		cmocka_unit_test(kinds_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
