#include "plan.h"

#include "common/mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* More entries than this in a service's map are thinned out: weights are then kept in proportion. */
#define SHARES_MAX 4096u
/*
 * Up to so many shares each has a rule, more are a map. The kernel names every anonymous map by looking at all others (and
 * binds it by looking at all that the transaction has): 10,000 services of three took 13 s, and each change of one 50 ms.
 */
#define RULES_MAX 16u
#define HASH_SEED "0x5eed"

/* As nft(8) loads them: the bytes of the packet are the bytes of the mark. */
uint32_t plan_vip_mark(const struct ipaddr *vip)
{
	uint32_t mark;

	memcpy(&mark, vip->bytes + (vip->family == AF_INET6 ? 12 : 0), sizeof(mark));
	return mark;
}

/* ---- IPVS */

static const char *ipvs_scheduler(const struct model_vip *vip)
{
	static const char *const known[] = {"rr", "wrr", "lc", "wlc", "sh", "mh"};
	const char *name = vip->service->pb ? vip->service->pb->scheduler : "";

	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (str_eq(name, known[i]))
			return name;
	return "rr";
}

static void put_ipvs_service(const struct plan_out *out, const struct model_vip *vip, const struct ipaddr *address)
{
	struct netstate_entry service = {.kind = NETSTATE_IPVS_SERVICE, .ipvs_service.addr.family = address->family};
	struct netstate_entry route = {.kind = NETSTATE_ROUTE, .route = {.local = true, .link = "lo", .dst = *address}};
	struct netstate_entry addr = {.kind = NETSTATE_ADDR, .addr = {.link = "br0", .addr = *address}};

	if (!ipaddr_is_set(address))
		return;
	service.ipvs_service.fwmark = plan_vip_mark(address);
	snprintf(service.ipvs_service.scheduler, sizeof(service.ipvs_service.scheduler), "%s", ipvs_scheduler(vip));
	/* A route makes the address ours for ARP, at no cost per address; neighbour discovery wants it on the link. */
	plan_put(out, address->family == AF_INET ? &route : &addr);
	plan_put(out, &service);
}

void plan_ipvs_vip(const struct plan_out *out, const struct model_vip *vip)
{
	put_ipvs_service(out, vip, &vip->ipv4);
	put_ipvs_service(out, vip, &vip->ipv6);
}

static void put_ipvs_dest(const struct plan_out *out, const struct model_vip *vip, const struct ipaddr *address,
			  const struct model_place *place, const struct ipaddr *endpoint)
{
	const struct model_endpoint *e = place->endpoint;
	struct netstate_entry dest = {.kind = NETSTATE_IPVS_DEST,
				      .ipvs_dest = {.service.family = address->family,
						    .weight = e->ready ? e->weight : 0}};

	if (!ipaddr_is_set(address) || !ipaddr_is_set(endpoint))
		return;
	/* It would get its share of new connections from this scheduler at weight 0, too, and they would be refused. */
	if (!e->ready && str_eq(ipvs_scheduler(vip), "sh"))
		return;
	dest.ipvs_dest.fwmark = plan_vip_mark(address);
	dest.ipvs_dest.addr = ipaddr_host(endpoint);
	plan_put(out, &dest);
}

/* An endpoint that is not ready has weight 0: it gets no new connections and keeps those it has. */
void plan_ipvs_dest(const struct plan_out *out, const struct model_vip *vip, const struct model_place *place)
{
	put_ipvs_dest(out, vip, &vip->ipv4, place, &place->ipv4);
	put_ipvs_dest(out, vip, &vip->ipv6, place, &place->ipv6);
}

/* ---- nftables */

/*
 * What another node's IPVS sends here is for the service's address. Connections are answered from it without our help;
 * datagrams mostly are not, because programs do not say from where: those are translated to the task's own address.
 */
char *plan_balance_table(void)
{
	return xstrdup("add table inet skein\ndelete table inet skein\n"
		       "table inet skein {\n"
		       "\tmap vips4 {\n\t\ttype ipv4_addr : verdict\n\t}\n"
		       "\tmap vips6 {\n\t\ttype ipv6_addr : verdict\n\t}\n"
		       "\tset own4 {\n\t\ttype ipv4_addr\n\t}\n"
		       "\tset own6 {\n\t\ttype ipv6_addr\n\t}\n"
		       "\tmap home4 {\n\t\ttype ipv4_addr : ipv4_addr\n\t}\n"
		       "\tmap home6 {\n\t\ttype ipv6_addr : ipv6_addr\n\t}\n"
		       "\tchain raw-in {\n"
		       "\t\ttype filter hook prerouting priority raw; policy accept;\n"
		       "\t\tmeta l4proto != udp ip daddr @own4 notrack\n"
		       "\t\tmeta l4proto != udp ip6 daddr @own6 notrack\n"
		       "\t}\n"
		       "\tchain raw-out {\n"
		       "\t\ttype filter hook output priority raw; policy accept;\n"
		       "\t\tmeta l4proto != udp ip saddr @own4 notrack\n"
		       "\t\tmeta l4proto != udp ip6 saddr @own6 notrack\n"
		       "\t}\n"
		       "\tchain in {\n"
		       "\t\ttype nat hook prerouting priority dstnat; policy accept;\n"
		       "\t\tmeta l4proto udp dnat ip to ip daddr map @home4\n"
		       "\t\tmeta l4proto udp dnat ip6 to ip6 daddr map @home6\n"
		       "\t}\n"
		       "\tchain out {\n"
		       "\t\ttype nat hook output priority -100; policy accept;\n"
		       "\t\tip daddr vmap @vips4\n"
		       "\t\tip6 daddr vmap @vips6\n"
		       "\t}\n"
		       "}\n");
}

struct shares {
	const struct ipaddr **v; /* an endpoint's address as often as it has weight */
	size_t n;
};

static uint32_t gcd(uint32_t a, uint32_t b)
{
	while (b) {
		uint32_t t = a % b;

		a = b;
		b = t;
	}
	return a;
}

static const struct ipaddr *ready_address(const struct model_endpoint *e, const struct model_vip *vip, int family)
{
	const struct model_place *p = e->ready ? model_endpoint_place(e, vip->network) : NULL;
	const struct ipaddr *a = !p ? NULL : family == AF_INET ? &p->ipv4 : &p->ipv6;

	return a && ipaddr_is_set(a) ? a : NULL;
}

static int by_address(const void *a, const void *b)
{
	return ipaddr_cmp(*(const struct ipaddr *const *)a, *(const struct ipaddr *const *)b);
}

/* "rr" and "lc" know no weights. */
static bool has_weights(const struct model_vip *vip)
{
	const char *s = vip->service->pb ? vip->service->pb->scheduler : "";

	return !str_eq(s, "rr") && !str_eq(s, "lc") && *s;
}

static struct shares shares_of(const struct model_vip *vip, int family)
{
	struct shares s = {.n = 0};
	const struct model_endpoint *e;
	uint64_t sum = 0, thin = 1;
	uint32_t common = 0;
	bool weights = has_weights(vip);

	LIST_FOREACH(e, &vip->service->endpoints, of_service) {
		if (!ready_address(e, vip, family))
			continue;
		sum += weights ? e->weight : 1;
		common = gcd(weights ? e->weight : 1, common);
	}
	if (!sum)
		return s;
	if (sum / common > SHARES_MAX)
		thin = sum / common / SHARES_MAX + 1;
	s.v = xreallocarray(NULL, sum / common, sizeof(*s.v));
	LIST_FOREACH(e, &vip->service->endpoints, of_service) {
		const struct ipaddr *a = ready_address(e, vip, family);
		uint64_t n = a ? MAX((weights ? e->weight : 1) / common / thin, 1u) : 0;

		/* Each has at least one; the sum of all stays below what was counted. */
		for (uint64_t i = 0; i < n && s.n < sum / common; i++)
			s.v[s.n++] = a;
	}
	qsort(s.v, s.n, sizeof(*s.v), by_address); /* the text depends on what there is, not on how it came */
	return s;
}

static const char *chooser(const struct model_vip *vip, int family)
{
	const char *s = vip->service->pb ? vip->service->pb->scheduler : "";

	if (str_eq(s, "sh") || str_eq(s, "mh"))
		return family == AF_INET ? "jhash ip saddr" : "jhash ip6 saddr";
	return NULL;
}

static void rule_begin(struct strbuf *text, const char *chain)
{
	strbuf_printf(text, "add rule inet skein %s ", chain);
}

/*
 * One rule per share. In turn: the first takes one of n connections, the second one of the n - 1 that the first has left, and so on:
 * the same order as a map's. By hash: each takes its own value.
 */
static void share_rules(struct strbuf *text, const char *chain, const char *ip, const char *hash, const struct shares *s,
			unsigned rotation)
{
	char a[IPADDR_TEXT_MAX];

	for (size_t i = 0; i < s->n; i++) {
		rule_begin(text, chain);
		if (i + 1 < s->n && hash)
			strbuf_printf(text, "%s mod %zu seed " HASH_SEED " %zu ", hash, s->n, i);
		else if (i + 1 < s->n)
			strbuf_printf(text, "numgen inc mod %zu 0 ", s->n - i);
		strbuf_printf(text, "dnat %s to %s\n", ip, ipaddr_format_host(s->v[(i + (hash ? 0 : rotation)) % s->n], a));
	}
}

static void share_map(struct strbuf *text, const char *chain, const char *ip, const char *hash, const struct shares *s,
		      unsigned rotation)
{
	char a[IPADDR_TEXT_MAX];

	rule_begin(text, chain);
	if (hash)
		strbuf_printf(text, "dnat %s to %s mod %zu seed " HASH_SEED " map { ", ip, hash, s->n);
	else
		strbuf_printf(text, "dnat %s to numgen inc mod %zu map { ", ip, s->n);
	for (size_t i = 0; i < s->n; i++)
		strbuf_printf(text, "%s%zu : %s", i ? ", " : "", i,
			      ipaddr_format_host(s->v[(i + (hash ? 0 : rotation)) % s->n], a));
	strbuf_puts(text, " }\n");
}

static void dnat_text(struct strbuf *text, const char *chain, const struct model_vip *vip, int family, const struct shares *s,
		      unsigned rotation)
{
	const char *hash = chooser(vip, family), *ip = family == AF_INET ? "ip" : "ip6";

	if (!s->n) { /* the same answer as from an address where nobody listens */
		rule_begin(text, chain);
		strbuf_puts(text, "reject with icmpx port-unreachable\n");
	} else if (s->n <= RULES_MAX) {
		share_rules(text, chain, ip, hash, s, rotation);
	} else {
		share_map(text, chain, ip, hash, s, rotation);
	}
}

static const char *chain_of(const struct ipaddr *a, char buf[static 48])
{
	size_t n = a->family == AF_INET ? 4 : 16, len = 2;

	memcpy(buf, "v_", 3);
	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(buf + len, 48 - len, "%02x", a->bytes[i]);
	return buf;
}

void plan_balance_vip(struct strbuf *text, const struct model_vip *vip, const struct ipaddr *address, bool before, bool now,
		      unsigned rotation)
{
	char chain[48], a[IPADDR_TEXT_MAX];
	const char *map = address->family == AF_INET ? "vips4" : "vips6";
	struct shares s = {.n = 0};

	chain_of(address, chain);
	ipaddr_format_host(address, a);
	if (before && !now) {
		strbuf_printf(text, "delete element inet skein %s { %s }\ndelete chain inet skein %s\n", map, a, chain);
	} else if (now) {
		s = shares_of(vip, address->family);
		strbuf_printf(text, before ? "flush chain inet skein %s\n" : "add chain inet skein %s\n", chain);
		dnat_text(text, chain, vip, address->family, &s, rotation);
		if (!before)
			strbuf_printf(text, "add element inet skein %s { %s : goto %s }\n", map, a, chain);
		free(s.v);
	}
}

void plan_balance_own(struct strbuf *text, const struct ipaddr *address, const struct ipaddr *home, bool now)
{
	const char *verb = now ? "add" : "delete";
	int version = address->family == AF_INET ? 4 : 6;
	char a[IPADDR_TEXT_MAX], h[IPADDR_TEXT_MAX];

	ipaddr_format_host(address, a);
	ipaddr_format_host(home, h);
	strbuf_printf(text, "%s element inet skein own%d { %s }\n", verb, version, a);
	strbuf_printf(text, "%s element inet skein home%d { %s : %s }\n", verb, version, a, h);
}
