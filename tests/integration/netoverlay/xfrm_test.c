// ESP between two hosts, on a kernel that has it.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "integration/netoverlay/place.h"

#define XFRM_KINDS (1u << NETSTATE_XFRM_STATE | 1u << NETSTATE_XFRM_POLICY)
#define PORT 4789

static bool has_esp;

static int probe(void **state)
{
	struct netns_features f;
	struct error err = ERROR_INIT;

	if (group_setup(state) != 0)
		return -1;
	ok(netns_probe(&f, &err), &err);
	has_esp = f.esp;
	return 0;
}

static struct netstate_entry sa(const char *src, const char *dst, uint32_t spi, uint8_t key)
{
	return (struct netstate_entry){.kind = NETSTATE_XFRM_STATE,
				       .xfrm_state = {.src = ip(src), .dst = ip(dst), .spi = spi, .reqid = 5, .key = {key, 2, 3}}};
}

static struct netstate_entry policy(bool out, const char *src, const char *dst, uint32_t spi)
{
	return (struct netstate_entry){.kind = NETSTATE_XFRM_POLICY,
				       .xfrm_policy = {.out = out, .src = ip(src), .dst = ip(dst), .port = PORT, .spi = spi,
						       .reqid = 5, .required = true}};
}

static void states_and_policies(void **state)
{
	struct place p;
	struct netstate_entry marked = policy(true, "10.77.0.1", "10.77.0.2", 4097), key;

	if (!has_esp)
		skip();
	marked.xfrm_policy.mark = 0xd0c4;
	marked.xfrm_policy.mask = 0xffff;
	place_open(&p, "host", NULL);
	/* Somebody else's, of the same form. */
	inside(&p, "ip xfrm state add src 10.77.0.1 dst 10.77.0.3 proto esp spi 0x77 reqid 13681891 mode transport "
		   "aead \"rfc4106(gcm(aes))\" 0x0102030405060708090a0b0c0d0e0f1011121314 128; "
		   "ip xfrm policy add src 10.77.0.1/32 dst 10.77.0.3/32 proto udp dport 4789 dir out "
		   "tmpl src 10.77.0.1 dst 10.77.0.3 proto esp reqid 13681891 mode transport");
	want(&p, sa("10.77.0.1", "10.77.0.2", 4097, 1));
	want(&p, sa("10.77.0.2", "10.77.0.1", 4098, 1));
	want(&p, sa("fd00::1", "fd00::2", 4099, 1));
	want(&p, marked);
	want(&p, policy(false, "10.77.0.2", "10.77.0.1", 0));
	assert_int_equal(apply(&p), 5);
	assert_int_equal(differences_of(&p, XFRM_KINDS), 0);
	apply_all(&p);
	assert_int_equal(differences_of(&p, XFRM_KINDS), 0);

	/* Another key: for the state of that number, and a policy that takes another state. */
	want(&p, sa("10.77.0.1", "10.77.0.2", 4097, 9));
	marked.xfrm_policy.spi = 5000;
	want(&p, marked);
	assert_int_equal(apply(&p), 2);
	assert_int_equal(differences_of(&p, XFRM_KINDS), 0);

	inside(&p, "ip xfrm state delete src 10.77.0.2 dst 10.77.0.1 proto esp spi 4098");
	assert_int_equal(differences_of(&p, XFRM_KINDS), 1);
	key = sa("10.77.0.2", "10.77.0.1", 4098, 1);
	assert_true(netstate_del(p.want, &key)); /* is gone already */
	assert_true(netstate_del(p.want, &marked));
	assert_int_equal(apply(&p), 2);
	assert_int_equal(differences_of(&p, XFRM_KINDS), 0);
	inside(&p, "ip xfrm state | grep -q 0x00000077; ip xfrm policy | grep -q 10.77.0.3");
	place_close(&p);
}

static void open_udp(void *data)
{
	struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	int *fd = data;

	*fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(*fd, (void *)&any, sizeof(any)), 0);
}

/* Two hosts; true when a datagram came across. */
static bool crosses(int from, int to, const char *address)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	struct pollfd pfd = {.fd = to, .events = POLLIN};
	char buf[16];

	inet_pton(AF_INET, address, &sin.sin_addr);
	for (int i = 0; i < 20; i++) {
		if (sendto(from, "hello", 5, 0, (void *)&sin, sizeof(sin)) == 5 && poll(&pfd, 1, 100) == 1)
			return recv(to, buf, sizeof(buf), 0) == 5;
	}
	return false;
}

static void encrypt(struct place *p, const char *self, const char *peer, uint32_t spi_out, uint32_t spi_in, uint8_t key)
{
	want(p, sa(self, peer, spi_out, key));
	want(p, sa(peer, self, spi_in, key));
	want(p, policy(true, self, peer, spi_out));
	want(p, policy(false, peer, self, 0));
	apply(p);
}

static void traffic_is_encrypted(void **state)
{
	struct place h[2];
	struct error err = ERROR_INIT;
	int fd[2];

	if (!has_esp)
		skip();
	place_open(&h[0], "h0", NULL);
	place_open(&h[1], "h1", NULL);
	underlay(&h[0], h[1].path, "u0", "u0", "10.77.0.1/24");
	apply(&h[0]);
	link_(&h[1], (struct netstate_link){.name = "u0", .kind = LINK_OTHER, .up = true});
	addr(&h[1], "u0", "10.77.0.2/24");
	apply(&h[1]);
	for (int i = 0; i < 2; i++)
		ok(netns_run(h[i].ns, open_udp, &fd[i], &err), &err);
	assert_true(crosses(fd[0], fd[1], "10.77.0.2"));
	encrypt(&h[0], "10.77.0.1", "10.77.0.2", 300, 301, 1);
	assert_false(crosses(fd[0], fd[1], "10.77.0.2")); /* the other host does not know the key */
	encrypt(&h[1], "10.77.0.2", "10.77.0.1", 301, 300, 1);
	assert_true(crosses(fd[0], fd[1], "10.77.0.2"));
	assert_true(crosses(fd[1], fd[0], "10.77.0.1"));
	inside(&h[1], "ip -s xfrm state get src 10.77.0.1 dst 10.77.0.2 proto esp spi 300 | grep -q \"[1-9][0-9]*(packets)\"");

	/* A host that starts anew counts from one: it is heard. */
	for (int i = 0; i < 40; i++)
		assert_true(crosses(fd[0], fd[1], "10.77.0.2"));
	inside(&h[0], "ip xfrm state flush");
	apply_all(&h[0]);
	assert_true(crosses(fd[0], fd[1], "10.77.0.2"));
	for (int i = 0; i < 2; i++) {
		close(fd[i]);
		place_close(&h[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(states_and_policies),
		cmocka_unit_test(traffic_is_encrypted),
	};

	return cmocka_run_group_tests(tests, probe, group_teardown);
}
