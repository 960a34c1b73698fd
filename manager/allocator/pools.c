#include "pools.h"

#include "predefined.h"

#include "manager/store/view.h"

#include "common/digest.h"
#include "common/error.h"
#include "common/ipaddr.h"
#include "common/mem.h"
#include "common/str.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Ours on every node: the ingress network, the way out of tasks, and the same for IPv6. */
static const char *const reserved[] = {PREDEFINED_INGRESS_SUBNET, "172.30.0.0/16", "fd53:6b00::/64", "fd53:6b01::/64"};

struct pools {
	const struct view *view;
	struct ipaddr *used; /* by first address */
	size_t n, cap;
	bool sorted;
};

/* ---- what is in use */

static void add_used(struct pools *pools, const struct ipaddr *subnet)
{
	if (pools->n == pools->cap) {
		pools->cap = pools->cap ? 2 * pools->cap : 64;
		pools->used = xreallocarray(pools->used, pools->cap, sizeof(*pools->used));
	}
	pools->used[pools->n++] = ipaddr_network(subnet);
	pools->sorted = false;
}

static void add_text(struct pools *pools, const char *text)
{
	struct ipaddr a;

	if (ipaddr_parse(text, &a, NULL) == 0)
		add_used(pools, &a);
}

static void add_all(struct pools *pools, pb_ipam_pool *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		add_text(pools, list[i]->subnet);
}

struct pools *pools_new(const struct view *view)
{
	struct pools *pools = xnew(struct pools);
	_cleanup_free_ const void **networks = NULL, **nodes = NULL;
	size_t n;

	pools->view = view;
	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
		add_text(pools, reserved[i]);
	networks = view_list(view, KIND_NETWORK, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_network *network = networks[i];

		add_all(pools, network->pools, network->n_pools);
		/* Named, though perhaps not in force yet. */
		if (network->spec)
			add_all(pools, network->spec->pools, network->spec->n_pools);
	}
	nodes = view_list(view, KIND_NODE, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_node *node = nodes[i];

		if (node->status && !str_empty(node->status->address))
			add_text(pools, node->status->address);
	}
	return pools;
}

void pools_free(struct pools *pools)
{
	if (!pools)
		return;
	free(pools->used);
	free(pools);
}

static int by_start(const void *a, const void *b)
{
	return ipaddr_cmp(a, b);
}

/* ---- cutting */

/* The first subnet of this length behind an address; false when there is none. */
static bool subnet_behind(const struct ipaddr *last, uint8_t prefix, struct ipaddr *ret)
{
	struct ipaddr a = *last;
	unsigned carry = prefix ? 0x80u >> (prefix - 1) % 8 : 0;

	a.prefix = prefix;
	a = ipaddr_network(&a);
	for (unsigned i = prefix ? (prefix - 1) / 8 + 1u : 0; carry && i--;) {
		carry += a.bytes[i];
		a.bytes[i] = (uint8_t)carry;
		carry >>= 8;
	}
	*ret = a;
	return prefix && !carry;
}

/* The first free subnet inside `from`. What is in use is gone through in step with the candidates. */
static bool cut(struct pools *pools, const struct ipaddr *from, uint8_t prefix, struct ipaddr *ret)
{
	struct ipaddr candidate = ipaddr_network(from);
	size_t i = 0;

	if (!pools->sorted)
		qsort(pools->used, pools->n, sizeof(*pools->used), by_start);
	pools->sorted = true;
	candidate.prefix = MAX(prefix, from->prefix);
	while (ipaddr_contains(from, &candidate)) {
		struct ipaddr last = candidate, start = ipaddr_host(&candidate);

		for (; i < pools->n; i++) {
			last = ipaddr_last(&pools->used[i]);
			if (ipaddr_cmp(&last, &start) >= 0)
				break;
		}
		if (i == pools->n || !ipaddr_overlaps(&pools->used[i], &candidate)) {
			*ret = candidate;
			return true;
		}
		if (!subnet_behind(&last, candidate.prefix, &candidate))
			return false;
	}
	return false;
}

/* fd, 40 bits of the cluster's id, and zero: RFC 4193 3.2.2 asks for any that are likely unique. */
static struct ipaddr own_prefix(const struct view *view)
{
	const pb_cluster *cluster = view_cluster(view);
	const char *id = cluster ? cluster->id : "";
	struct ipaddr a = {.family = AF_INET6, .prefix = 48, .bytes = {0xfd}};
	char digest[DIGEST_MAX];

	digest_of(id, strlen(id), digest);
	for (unsigned i = 0; i < 5; i++) {
		unsigned byte;

		sscanf(digest_hex(digest) + 2 * (size_t)i, "%2x", &byte);
		a.bytes[1 + i] = (uint8_t)byte;
	}
	return a;
}

static uint8_t cut_length(const pb_cluster_spec *spec, int family)
{
	if (family == AF_INET6)
		return POOLS_PREFIX6;
	return spec && spec->address_pool_prefix && spec->address_pool_prefix <= 32 ? (uint8_t)spec->address_pool_prefix
										      : POOLS_DEFAULT_PREFIX;
}

static int cut_for(struct pools *pools, int family, struct ipaddr *ret, struct error *err)
{
	const pb_cluster *cluster = view_cluster(pools->view);
	const pb_cluster_spec *spec = cluster ? cluster->spec : NULL;
	uint8_t prefix = cut_length(spec, family);
	_cleanup_strbuf_ struct strbuf tried = {0};
	struct ipaddr from;
	char text[IPADDR_TEXT_MAX];

	for (size_t i = 0; spec && i < spec->n_address_pools; i++) {
		if (ipaddr_parse_subnet(spec->address_pools[i], &from, NULL) < 0 || from.family != family)
			continue;
		if (cut(pools, &from, prefix, ret))
			return 0;
		strbuf_printf(&tried, "%s%s", tried.len ? ", " : "", spec->address_pools[i]);
	}
	if (!tried.len) {
		if (family == AF_INET)
			ipaddr_parse_subnet(POOLS_DEFAULT, &from, NULL);
		else
			from = own_prefix(pools->view);
		if (cut(pools, &from, prefix, ret))
			return 0;
		strbuf_puts(&tried, ipaddr_format(&from, text));
	}
	return error_set(err, ERR_EXHAUSTED, "no free subnet: the address pools (%.300s, cut to /%u) are used up", tried.p,
			 prefix);
}

/* ---- giving */

static int family_of(const pb_ipam_pool *pool)
{
	struct ipaddr subnet;

	return ipaddr_parse_subnet(pool->subnet, &subnet, NULL) < 0 ? AF_UNSPEC : subnet.family;
}

static pb_ipam_pool *find(pb_ipam_pool *const *list, size_t n, int family)
{
	for (size_t i = 0; i < n; i++)
		if (family_of(list[i]) == family)
			return list[i];
	return NULL;
}

const pb_ipam_pool *pools_find(const pb_network *network, int family)
{
	return find(network->pools, network->n_pools, family);
}

/* Without a spec nothing is asked for. */
static bool wants(const pb_network *network, int family)
{
	if (!network->spec || network->predefined)
		return false;
	return family == AF_INET || network->spec->ipv6 ||
	       find(network->spec->pools, network->spec->n_pools, AF_INET6);
}

bool pools_complete(const pb_network *network)
{
	return (!wants(network, AF_INET) || pools_find(network, AF_INET)) &&
	       (!wants(network, AF_INET6) || pools_find(network, AF_INET6));
}

static bool is_overlay(const pb_network *network)
{
	return network->spec && str_eq(network->spec->driver, "overlay");
}

/* Only what others have in force counts: of two that name the same, the first one got it. */
static int check_named(struct pools *pools, const pb_network *network, const struct ipaddr *subnet, struct error *err)
{
	_cleanup_free_ const void **networks = NULL;
	char text[IPADDR_TEXT_MAX];
	size_t n;

	if (!is_overlay(network))
		return 0; /* in the nodes' own links: the operator knows what is there */
	networks = view_list(pools->view, KIND_NETWORK, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_network *other = networks[i];

		if (!is_overlay(other) || str_eq(other->id, network->id))
			continue;
		for (size_t k = 0; k < other->n_pools; k++) {
			struct ipaddr its;

			if (ipaddr_parse_subnet(other->pools[k]->subnet, &its, NULL) == 0 &&
			    ipaddr_overlaps(&its, subnet))
				return error_set(err, ERR_EXISTS, "subnet %s overlaps %s of network %s",
						 ipaddr_format(subnet, text), other->pools[k]->subnet,
						 other->spec->name);
		}
	}
	return 0;
}

static void set_gateway(pb_ipam_pool *pool, const struct ipaddr *subnet)
{
	char text[IPADDR_TEXT_MAX];
	struct ipaddr first;

	if (!str_empty(pool->gateway) || ipaddr_count(subnet) < 2)
		return;
	first = ipaddr_nth(subnet, 1);
	pb_set_str(&pool->gateway, ipaddr_format_host(&first, text));
}

static int give(struct pools *pools, pb_network *network, int family, struct error *err)
{
	const pb_ipam_pool *named = find(network->spec->pools, network->spec->n_pools, family);
	pb_ipam_pool *pool;
	struct ipaddr subnet;
	char text[IPADDR_TEXT_MAX];

	if (!wants(network, family) || pools_find(network, family))
		return 0;
	if (named) {
		if (ipaddr_parse_subnet(named->subnet, &subnet, err) < 0 ||
		    check_named(pools, network, &subnet, err) < 0)
			return -1;
		pool = pb_dup(named);
	} else {
		if (cut_for(pools, family, &subnet, err) < 0)
			return -1;
		pool = pb_new(&skein__ipam_pool__descriptor);
		pb_set_str(&pool->subnet, ipaddr_format(&subnet, text));
		add_used(pools, &subnet);
	}
	set_gateway(pool, &subnet);
	pb_msgs_add(&network->n_pools, &network->pools, pool);
	return 0;
}

int pools_give(struct pools *pools, pb_network *network, struct error *err)
{
	if (give(pools, network, AF_INET, err) < 0)
		return -1;
	return give(pools, network, AF_INET6, err);
}
