#include "attempts.h"

#include "common/error.h"
#include "common/ipaddr.h"
#include "common/mem.h"

#include <string.h>
#include <sys/socket.h>

struct source {
	struct ipaddr network; /* family 0: what is no address is one source, too */
	unsigned failures;     /* 0 = free */
	int64_t began;
};

struct attempts {
	struct source list[ATTEMPTS_ADDRESSES_MAX];
};

struct attempts *attempts_new(void)
{
	return xnew(struct attempts);
}

void attempts_free(struct attempts *a)
{
	free(a);
}

/* One household of IPv6 has a /64 at least: its addresses cost nothing. */
static struct ipaddr network_of(const char *address)
{
	struct ipaddr addr = {0};
	struct error err = ERROR_INIT;

	if (ipaddr_parse(address, &addr, &err) < 0)
		return (struct ipaddr){0};
	if (addr.family == AF_INET6)
		addr.prefix = 64;
	return ipaddr_network(&addr);
}

static bool is_over(const struct source *s, int64_t now)
{
	return s->failures == 0 || now - s->began >= ATTEMPTS_WINDOW_NS || now < s->began;
}

static const struct source *find(const struct attempts *a, const struct ipaddr *network)
{
	for (size_t i = 0; i < ATTEMPTS_ADDRESSES_MAX; i++)
		if (a->list[i].failures && ipaddr_equal(&a->list[i].network, network))
			return &a->list[i];
	return NULL;
}

int64_t attempts_wait_ns(const struct attempts *a, const char *address, int64_t now)
{
	struct ipaddr network = network_of(address);
	const struct source *s = find(a, &network);

	if (!s || is_over(s, now) || s->failures < ATTEMPTS_MAX)
		return 0;
	return s->began + ATTEMPTS_WINDOW_NS - now;
}

static struct source *place(struct attempts *a, int64_t now)
{
	struct source *oldest = &a->list[0];

	for (size_t i = 0; i < ATTEMPTS_ADDRESSES_MAX; i++) {
		if (is_over(&a->list[i], now))
			return &a->list[i];
		if (a->list[i].began < oldest->began)
			oldest = &a->list[i];
	}
	return oldest;
}

void attempts_failed(struct attempts *a, const char *address, int64_t now)
{
	struct ipaddr network = network_of(address);
	struct source *s = (struct source *)find(a, &network);

	if (!s)
		s = place(a, now);
	if (is_over(s, now) || !ipaddr_equal(&s->network, &network))
		*s = (struct source){.network = network, .began = now};
	s->failures++;
}
