#include "addr.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>
#include <stdio.h>
#include <string.h>

DEFINE_CLEANUP(struct nl_sock *, nl_socket_free)
DEFINE_CLEANUP(struct nl_cache *, nl_cache_free)

static int connect_route(struct nl_sock **ret_sock, struct error *err)
{
	_cleanup_(nl_socket_freep) struct nl_sock *sock = nl_socket_alloc();
	int r;

	if (!sock)
		return error_set(err, ERR_INTERNAL, "allocate a netlink socket");
	r = nl_connect(sock, NETLINK_ROUTE);
	if (r < 0)
		return error_set(err, ERR_INTERNAL, "open rtnetlink: %s", nl_geterror(r));
	*ret_sock = TAKE_PTR(sock);
	return 0;
}

static void fill_entry(struct addr_entry *e, struct rtnl_addr *addr, struct nl_cache *links)
{
	struct nl_addr *local = rtnl_addr_get_local(addr);
	struct rtnl_link *link = rtnl_link_get(links, rtnl_addr_get_ifindex(addr));
	unsigned flags = link ? rtnl_link_get_flags(link) : 0;
	char *slash;

	nl_addr2str(local, e->address, sizeof(e->address));
	slash = strchr(e->address, '/');
	if (slash)
		*slash = '\0';
	e->ipv6 = nl_addr_get_family(local) == AF_INET6;
	if (link)
		snprintf(e->interface, sizeof(e->interface), "%s", rtnl_link_get_name(link));
	e->usable = (flags & IFF_UP) && !(flags & IFF_LOOPBACK) && rtnl_addr_get_scope(addr) == RT_SCOPE_UNIVERSE &&
		    !(rtnl_addr_get_flags(addr) & (IFA_F_TENTATIVE | IFA_F_DEPRECATED | IFA_F_TEMPORARY));
	if (link)
		rtnl_link_put(link);
}

int addr_list(struct addr_entry **ret_entries, size_t *ret_n, struct error *err)
{
	_cleanup_(nl_socket_freep) struct nl_sock *sock = NULL;
	_cleanup_(nl_cache_freep) struct nl_cache *links = NULL;
	_cleanup_(nl_cache_freep) struct nl_cache *addrs = NULL;
	struct addr_entry *entries;
	size_t n = 0;
	int r;

	if (connect_route(&sock, err) < 0)
		return -1;
	r = rtnl_link_alloc_cache(sock, AF_UNSPEC, &links);
	if (r == 0)
		r = rtnl_addr_alloc_cache(sock, &addrs);
	if (r < 0)
		return error_set(err, ERR_INTERNAL, "list the host's addresses: %s", nl_geterror(r));
	entries = xcalloc((size_t)nl_cache_nitems(addrs) + 1, sizeof(*entries));
	for (struct nl_object *o = nl_cache_get_first(addrs); o; o = nl_cache_get_next(o)) {
		if (rtnl_addr_get_local((struct rtnl_addr *)o))
			fill_entry(&entries[n++], (struct rtnl_addr *)o, links);
	}
	*ret_entries = entries;
	*ret_n = n;
	return 0;
}

/* Interface index of the default route with the lowest metric, 0 when there is none. */
static int default_ifindex(struct nl_cache *routes)
{
	int best = 0;
	uint32_t best_metric = UINT32_MAX;

	for (struct nl_object *o = nl_cache_get_first(routes); o; o = nl_cache_get_next(o)) {
		struct rtnl_route *route = (struct rtnl_route *)o;
		struct nl_addr *dst = rtnl_route_get_dst(route);

		if (rtnl_route_get_table(route) != RT_TABLE_MAIN || (dst && nl_addr_get_prefixlen(dst) != 0) ||
		    rtnl_route_get_nnexthops(route) < 1 || rtnl_route_get_priority(route) >= best_metric)
			continue;
		best_metric = rtnl_route_get_priority(route);
		best = rtnl_route_nh_get_ifindex(rtnl_route_nexthop_n(route, 0));
	}
	return best;
}

/* First usable IPv4 address of the default route's interface. */
static const char *default_source(const struct addr_entry *entries, size_t n)
{
	_cleanup_(nl_socket_freep) struct nl_sock *sock = NULL;
	_cleanup_(nl_cache_freep) struct nl_cache *routes = NULL;
	char name[IF_NAMESIZE] = "";
	int index;

	if (connect_route(&sock, NULL) < 0 || rtnl_route_alloc_cache(sock, AF_INET, 0, &routes) < 0)
		return NULL;
	index = default_ifindex(routes);
	if (index <= 0 || !if_indextoname((unsigned)index, name))
		return NULL;
	for (size_t i = 0; i < n; i++) {
		if (entries[i].usable && !entries[i].ipv6 && strcmp(entries[i].interface, name) == 0)
			return entries[i].address;
	}
	return NULL;
}

static int is_literal(const char *s)
{
	unsigned char raw[16];

	return inet_pton(AF_INET, s, raw) == 1 || inet_pton(AF_INET6, s, raw) == 1;
}

static const char *candidates(const struct addr_entry *entries, size_t n, char *buf, size_t size)
{
	size_t len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < n && len + 1 < size; i++) {
		int w;

		if (!entries[i].usable)
			continue;
		w = snprintf(buf + len, size - len, "%s%s on %s", len ? ", " : "", entries[i].address,
			     entries[i].interface);
		len += w > 0 ? (size_t)w : 0;
	}
	return len ? buf : "none";
}

static int take(const char *address, char ret_address[static ADDR_TEXT_MAX])
{
	snprintf(ret_address, ADDR_TEXT_MAX, "%s", address);
	return 0;
}

int addr_choose_from(const struct addr_entry *entries, size_t n, const char *want, const char *default_source,
		     char ret_address[static ADDR_TEXT_MAX], struct error *err)
{
	const struct addr_entry *found = NULL;
	bool by_name = !str_empty(want) && !is_literal(want);
	unsigned matches = 0;
	char list[512];

	for (size_t i = 0; i < n; i++) {
		const struct addr_entry *e = &entries[i];

		if (!str_empty(want) && !by_name && strcmp(e->address, want) == 0)
			return take(want, ret_address);
		if (!e->usable || e->ipv6 || (by_name && strcmp(e->interface, want) != 0))
			continue;
		if (!found)
			found = e;
		matches++;
	}
	if (!str_empty(want) && !by_name)
		return error_set(err, ERR_INVALID, "%s is not an address of this host (usable: %s)", want,
				 candidates(entries, n, list, sizeof(list)));
	if (by_name && !found)
		return error_set(err, ERR_INVALID,
				 "%s is neither an address nor an interface with a usable IPv4 address (usable: %s)",
				 want, candidates(entries, n, list, sizeof(list)));
	if (matches == 1 || by_name)
		return take(found->address, ret_address);
	if (default_source)
		return take(default_source, ret_address);
	return error_set(err, ERR_INVALID, "cannot choose an address for peers to reach this host: name one of: %s",
			 candidates(entries, n, list, sizeof(list)));
}

int addr_choose(const char *want, char ret_address[static ADDR_TEXT_MAX], struct error *err)
{
	_cleanup_free_ struct addr_entry *entries = NULL;
	size_t n;

	if (addr_list(&entries, &n, err) < 0)
		return -1;
	return addr_choose_from(entries, n, want, default_source(entries, n), ret_address, err);
}
