#include "rests.h"

#include "common/mem.h"

#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <uthash.h>

struct resting {
	TAILQ_ENTRY(resting) entry; /* the oldest first */
	struct ipaddr address;
	int64_t since;
};

struct network {
	UT_hash_handle hh;
	TAILQ_HEAD(, resting) resting;
	struct ipaddr last4, last6;
	char id[];
};

struct rests {
	struct network *networks;
	uint32_t last_vni;
};

struct rests *rests_new(void)
{
	return xnew(struct rests);
}

static struct network *network_find(const struct rests *r, const char *id)
{
	struct network *n;

	HASH_FIND_STR(r->networks, id, n);
	return n;
}

static struct network *network_get(struct rests *r, const char *id)
{
	struct network *n = network_find(r, id);
	size_t len = strlen(id);

	if (n)
		return n;
	n = xcalloc(1, sizeof(*n) + len + 1);
	memcpy(n->id, id, len);
	TAILQ_INIT(&n->resting);
	HASH_ADD_KEYPTR(hh, r->networks, n->id, len, n);
	return n;
}

/* Forget what has rested: the oldest are in front. */
static void expire(struct network *n, int64_t now)
{
	struct resting *oldest;

	while ((oldest = TAILQ_FIRST(&n->resting)) && oldest->since <= now - RESTS_NS) {
		TAILQ_REMOVE(&n->resting, oldest, entry);
		free(oldest);
	}
}

void rests_free(struct rests *r)
{
	struct network *n, *tmp;

	if (!r)
		return;
	HASH_ITER(hh, r->networks, n, tmp) {
		expire(n, INT64_MAX);
		HASH_DEL(r->networks, n);
		free(n);
	}
	free(r);
}

void rests_add(struct rests *r, const char *network_id, const char *address, int64_t now)
{
	struct resting *resting;
	struct network *n;
	struct ipaddr a;

	if (ipaddr_parse(address, &a, NULL) < 0)
		return;
	n = network_get(r, network_id);
	expire(n, now);
	resting = xnew(struct resting);
	*resting = (struct resting){.address = ipaddr_host(&a), .since = now};
	TAILQ_INSERT_TAIL(&n->resting, resting, entry);
}

void rests_each(struct rests *r, const char *network_id, int64_t now, rests_each_cb cb, void *data)
{
	struct network *n = network_find(r, network_id);
	struct resting *resting;

	if (!n)
		return;
	expire(n, now);
	TAILQ_FOREACH(resting, &n->resting, entry)
		cb(data, &resting->address, resting->since);
}

void rests_set_last(struct rests *r, const char *network_id, const struct ipaddr *address)
{
	struct network *n = network_get(r, network_id);

	*(address->family == AF_INET6 ? &n->last6 : &n->last4) = ipaddr_host(address);
}

struct ipaddr rests_last(const struct rests *r, const char *network_id, int family)
{
	const struct network *n = network_find(r, network_id);

	if (!n)
		return (struct ipaddr){0};
	return family == AF_INET6 ? n->last6 : n->last4;
}

void rests_set_last_vni(struct rests *r, uint32_t vni)
{
	r->last_vni = vni;
}

uint32_t rests_last_vni(const struct rests *r)
{
	return r->last_vni;
}
