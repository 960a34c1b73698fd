#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "unit/netoverlay/entries.h"

#include "common/mem.h"

#include <sys/socket.h>

#define ALL ((1u << NETSTATE_KINDS) - 1)
#define ENTRIES 4

static struct netstate_entry foreign_bridge(void)
{
	struct netstate_entry e = link_of("docker0", LINK_BRIDGE, "");

	e.link.foreign = true;
	return e;
}

static struct netstate_entry sysctl(const char *name, const char *value)
{
	struct netstate_entry e = {.kind = NETSTATE_SYSCTL};

	strcpy(e.sysctl.name, name);
	strcpy(e.sysctl.value, value);
	return e;
}

static struct netstate_entry bridge(uint8_t mac, uint32_t mtu, bool up)
{
	struct netstate_entry e = link_of("br0", LINK_BRIDGE, "");

	e.link.mac.bytes[5] = mac;
	e.link.mtu = mtu;
	e.link.up = up;
	return e;
}

static struct netstate_entry port(bool isolated)
{
	struct netstate_entry e = link_of("p0", LINK_VETH, "br0");

	e.link.isolated = isolated;
	return e;
}

static struct netstate_entry service(const char *scheduler)
{
	struct netstate_entry e = {.kind = NETSTATE_IPVS_SERVICE, .ipvs_service = {.fwmark = 7}};

	strcpy(e.ipvs_service.scheduler, scheduler);
	return e;
}

static struct netstate_entry route(const char *via, bool onlink)
{
	struct netstate_entry e = {.kind = NETSTATE_ROUTE, .route = {.dst.family = AF_INET, .link = "eth0", .onlink = onlink}};

	e.route.via = ip(via);
	return e;
}

static void differences(void **state)
{
	const struct {
		const char *name;
		unsigned kinds;
		struct netstate_entry want[ENTRIES];
		unsigned n_want;
		struct netstate_entry have[ENTRIES];
		unsigned n_have;
		const char *ops;
	} cases[] = {
		{"nothing at all", ALL, {}, 0, {}, 0, ""},
		{"missing", ALL, {addr_on("br0", "10.0.1.1/24")}, 1, {}, 0, "+address 10.0.1.1/24 dev br0"},
		{"surplus", ALL, {}, 0, {fdb_on("vx0", 1, "10.77.0.1")}, 1, "-fdb 02:00:00:00:00:01 dev vx0 dst 10.77.0.1"},
		{"different", ALL, {fdb_on("vx0", 1, "10.77.0.2")}, 1, {fdb_on("vx0", 1, "10.77.0.1")}, 1,
		 "~fdb 02:00:00:00:00:01 dev vx0 dst 10.77.0.2"},
		{"not asked for", 1u << NETSTATE_ADDR, {fdb_on("vx0", 1, "10.77.0.2")}, 1, {neigh_on("vx0", "10.0.0.1", 1)}, 1, ""},
		{"foreign links stay", ALL, {}, 0, {foreign_bridge(), link_of("eth0", LINK_OTHER, "")}, 2, ""},
		{"our links do not", ALL, {}, 0, {link_of("sk-1", LINK_BRIDGE, "")}, 1, "-link sk-1 bridge"},
		{"sysctls stay", ALL, {}, 0, {sysctl("net/ipv4/ip_forward", "1")}, 1, ""},
		{"sysctls are set", ALL, {sysctl("net/a", "1")}, 1, {sysctl("net/a", "0")}, 1, "~sysctl net/a = 1"},
		{"what is not said is not compared", ALL, {bridge(0, 0, false)}, 1, {bridge(9, 1500, true)}, 1, ""},
		{"what is said is: MAC", ALL, {bridge(1, 0, false)}, 1, {bridge(9, 0, false)}, 1,
		 "~link br0 bridge mac 00:00:00:00:00:01"},
		{"MTU", ALL, {bridge(0, 1450, false)}, 1, {bridge(0, 1500, false)}, 1, "~link br0 bridge mtu 1450"},
		{"up", ALL, {bridge(0, 0, true)}, 1, {bridge(0, 0, false)}, 1, "~link br0 bridge up"},
		{"a port's flags", ALL, {port(true)}, 1, {port(false)}, 1, "~link p0 veth master br0 isolated"},
		{"flags that should not be", ALL, {port(false)}, 1, {port(true)}, 1, "~link p0 veth master br0"},
		{"a device that is there", ALL, {link_of("eth0", LINK_OTHER, "")}, 1, {link_of("eth0", LINK_VETH, "")}, 1, ""},
		{"any scheduler", ALL, {service("")}, 1, {service("wrr")}, 1, ""},
		{"another scheduler", ALL, {service("rr")}, 1, {service("wrr")}, 1, "~ipvs service fwmark 7 scheduler rr"},
		{"gateway", ALL, {route("10.0.0.2", false)}, 1, {route("10.0.0.1", false)}, 1, "~route default via 10.0.0.2 dev eth0"},
		{"onlink is how it was made", ALL, {route("10.0.0.1", true)}, 1, {route("10.0.0.1", false)}, 1, ""},
		{"made anew with what stands on it", ALL,
		 {vxlan("vx0", 6, ""), fdb_on("vx0", 1, "10.77.0.1"), addr_on("br0", "10.0.1.1/24")}, 3,
		 {vxlan("vx0", 5, ""), fdb_on("vx0", 1, "10.77.0.1"), addr_on("br0", "10.0.1.1/24")}, 3,
		 "-link vx0 vxlan vni 5 port 4789 local 10.77.0.1, +link vx0 vxlan vni 6 port 4789 local 10.77.0.1, "
		 "+fdb 02:00:00:00:00:01 dev vx0 dst 10.77.0.1"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct netstate *want = netstate_new(), *have = netstate_new();
		struct netstate_ops ops;
		char buf[2048];

		for (unsigned k = 0; k < cases[i].n_want; k++)
			netstate_put(want, &cases[i].want[k]);
		for (unsigned k = 0; k < cases[i].n_have; k++)
			netstate_put(have, &cases[i].have[k]);
		netstate_diff(want, have, cases[i].kinds, &ops);
		if (strcmp(ops_text(&ops, buf, sizeof(buf)), cases[i].ops) != 0)
			fail_msg("%s: \"%s\" is not \"%s\"", cases[i].name, buf, cases[i].ops);
		netstate_ops_fini(&ops);
		netstate_free(want);
		netstate_free(have);
	}
}

/* Applying a difference, and comparing again, finds nothing: for sets of any contents. */
static void a_difference_applied_leaves_none(void **state)
{
	for (unsigned seed = 1; seed < 200; seed++) {
		struct netstate *want = netstate_new(), *have = netstate_new();
		struct netstate_ops ops;
		unsigned x = seed;

		for (int i = 0; i < 60; i++) {
			struct netstate_entry e;

			x = x * 1103515245 + 12345;
			e = x & 1 << 20 ? fdb_on("vx0", x >> 16 & 15, x & 1 << 21 ? "10.77.0.1" : "10.77.0.2") :
					  vxlan(x & 1 << 22 ? "vx0" : "vx1", x >> 23 & 1, x & 1 << 24 ? "br0" : "");
			netstate_put(x & 1 << 25 ? want : have, &e);
		}
		netstate_diff(want, have, ALL, &ops);
		for (size_t i = 0; i < ops.n; i++)
			assert_true(ops.v[i].del ? netstate_del(have, &ops.v[i].entry) :
						   netstate_put(have, &ops.v[i].entry) || !ops.v[i].replaces);
		netstate_ops_fini(&ops);
		netstate_diff(want, have, ALL, &ops);
		assert_int_equal(ops.n, 0);
		netstate_ops_fini(&ops);
		netstate_free(want);
		netstate_free(have);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(differences),
		cmocka_unit_test(a_difference_applied_leaves_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
