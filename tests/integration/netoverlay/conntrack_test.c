// Tracked connections are forgotten by whom they lead to; the kernel's own count is the judge.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "integration/netoverlay/place.h"
#include "netoverlay/conntrack.h"

#include <netinet/in.h>

#define PEERS 40

static void tracked_place(struct place *p)
{
	place_open(p, "host", NULL);
	inside(p, "ip link set lo up; ip addr add 10.9.0.0/16 dev lo; ip -6 route add local fd09::/64 dev lo; "
		  "nft \"table inet t { chain c { type filter hook output priority 0; ct state new accept\n}\n}\n\"");
}

static void datagram(const char *to, uint16_t port)
{
	struct ipaddr a = ip(to);
	struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(a.family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	bool is6 = a.family == AF_INET6;

	memcpy(is6 ? (void *)&six.sin6_addr : (void *)&four.sin_addr, a.bytes, is6 ? 16 : 4);
	assert_int_equal(sendto(fd, "x", 1, 0, is6 ? (void *)&six : (void *)&four, is6 ? sizeof(six) : sizeof(four)), 1);
	close(fd);
}

/* Two ports of each of 10.9.1.1 .. 10.9.1.40 and fd09::1 .. fd09::28. */
static void send_all(void *data)
{
	char to[32];

	for (unsigned i = 1; i <= PEERS; i++) {
		snprintf(to, sizeof(to), "10.9.1.%u", i);
		datagram(to, 5001);
		datagram(to, 5002);
		snprintf(to, sizeof(to), "fd09::%x", i);
		datagram(to, 5001);
		datagram(to, 5002);
	}
}

static void flows_are(const struct place *p, unsigned n)
{
	inside(p, "n=$(cat /proc/sys/net/netfilter/nf_conntrack_count); [ \"$n\" = %u ] || { echo \"flows: $n\" >&2; exit 1; }", n);
}

static void forget(struct place *p, const struct conntrack_flow *v, size_t n)
{
	struct error err = ERROR_INIT;

	ok(conntrack_forget(p->ns, v, n, &err), &err);
}

static void one_and_many(void **state)
{
	struct conntrack_flow flows[2 * PEERS];
	struct place p;
	struct error err = ERROR_INIT;
	char text[32];
	int64_t start;

	tracked_place(&p);
	ok(netns_run(p.ns, send_all, NULL, &err), &err);
	flows_are(&p, 4 * PEERS);
	forget(&p, &(struct conntrack_flow){.address = ip("10.9.1.7"), .protocol = IPPROTO_UDP, .port = 5001}, 1);
	flows_are(&p, 4 * PEERS - 1);
	forget(&p, &(struct conntrack_flow){.address = ip("10.9.1.7/24")}, 1);
	flows_are(&p, 4 * PEERS - 2);
	forget(&p, &(struct conntrack_flow){.address = ip("fd09::7"), .protocol = IPPROTO_UDP}, 1);
	flows_are(&p, 4 * PEERS - 4);
	forget(&p, &(struct conntrack_flow){.address = ip("fd09::8"), .protocol = IPPROTO_TCP}, 1);
	forget(&p, &(struct conntrack_flow){.address = ip("10.9.1.8"), .protocol = IPPROTO_UDP, .port = 5003}, 1);
	flows_are(&p, 4 * PEERS - 4);

	/* Both families, some twice, some long gone: all in the time of one look at the table. */
	for (unsigned i = 0; i < PEERS; i++) {
		snprintf(text, sizeof(text), "10.9.1.%u", PEERS - i);
		flows[2 * i] = (struct conntrack_flow){.address = ip(text), .protocol = IPPROTO_UDP, .port = i % 2 ? 5001 : 5002};
		snprintf(text, sizeof(text), "fd09::%x", i / 2 * 2 + 1);
		flows[2 * i + 1] = (struct conntrack_flow){.address = ip(text)};
	}
	start = clock_mono_ns();
	forget(&p, flows, ARRAY_SIZE(flows));
	print_message("%zu at once: %.1f ms\n", ARRAY_SIZE(flows), (double)(clock_mono_ns() - start) / 1e6);
	/* IPv4: one port left of each but 10.9.1.7, which has none. IPv6: both of the even ones. */
	flows_are(&p, PEERS - 1 + PEERS);
	place_close(&p);
}

static void nothing_tracked(void **state)
{
	struct place p;

	place_open(&p, "host", NULL);
	forget(&p, &(struct conntrack_flow){.address = ip("10.9.1.7")}, 1);
	forget(&p, NULL, 0);
	place_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_and_many),
		cmocka_unit_test(nothing_tracked),
	};

	return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
