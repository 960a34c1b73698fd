#include "plan.h"

#include "common/mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define TABLE "inet skein "

void plan_ingress_chain(const struct plan_published *port, bool host, char ret[static PLAN_CHAIN_MAX])
{
	snprintf(ret, PLAN_CHAIN_MAX, "%c_%s_%u", host ? 'h' : 'p', port->protocol, port->published);
}

/* ---- what stands whatever is published */

/* Everything but skein-user is filled anew: that one is the operator's, and so is any other object in the table. */
static void put_chain(struct strbuf *b, const char *name, const char *hook, const char *const *rules, size_t n)
{
	strbuf_printf(b, "add chain " TABLE "%s { type %s; policy accept; }\nflush chain " TABLE "%s\n", name, hook, name);
	for (size_t i = 0; i < n; i++)
		strbuf_printf(b, "add rule " TABLE "%s %s\n", name, rules[i]);
}

#define PUT_CHAIN(b, name, hook, ...)                                                              \
	do {                                                                                       \
		const char *const rules_[] = {__VA_ARGS__};                                        \
		put_chain(b, name, hook, rules_, ARRAY_SIZE(rules_));                              \
	} while (0)

static void put_objects(struct strbuf *b)
{
	static const char *const objects[] = {
		"map " TABLE "ingress { type inet_proto . inet_service : verdict; }",
		"map " TABLE "hostports { type inet_proto . inet_service : verdict; }",
		"map " TABLE "marks { type ether_addr : mark; }",
		"map " TABLE "zones { typeof ether saddr : ct zone; }",
		"set " TABLE "own4 { type ipv4_addr . ipv4_addr; }",
		"set " TABLE "own6 { type ipv6_addr . ipv6_addr; }",
		"set " TABLE "moved4 { type ipv4_addr; }",
		"set " TABLE "moved6 { type ipv6_addr; }",
		"map " TABLE "came4 { type ether_addr . ipv4_addr : ipv4_addr; }",
		"map " TABLE "came6 { type ether_addr . ipv6_addr : ipv6_addr; }",
	};

	strbuf_puts(b, "add table inet skein\n");
	for (size_t i = 0; i < ARRAY_SIZE(objects); i++) {
		const char *brace = strchr(objects[i], '{');

		strbuf_printf(b, "add %s\nflush %.*s\n", objects[i], (int)(brace - objects[i]), objects[i]);
	}
	strbuf_puts(b, "add chain " TABLE "skein-user\n"
		       "add chain " TABLE "ports\nflush chain " TABLE "ports\n"
		       "add rule " TABLE "ports meta l4proto { tcp, udp, sctp } meta l4proto . th dport vmap @hostports\n"
		       "add rule " TABLE "ports meta l4proto { tcp, udp, sctp } meta l4proto . th dport vmap @ingress\n");
}

/* The mark of a connection says by which node it came in; packets carry it to find the way back (and in, for rp_filter). */
static void put_marking(struct strbuf *b)
{
	/* One client's port may be connected to several nodes: those are different connections, and they differ here by the
	 * node alone. Replies are told apart by what the task sees: where two are alike it sees another port of the client. */
	PUT_CHAIN(b, "zoning", "filter hook prerouting priority raw",
		  /* A task that has moved goes on with connections that it began here. */
		  "iifname \"" PLAN_INGRESS_LINK "\" ip saddr @moved4 accept",
		  "iifname \"" PLAN_INGRESS_LINK "\" ip6 saddr @moved6 accept",
		  "iifname \"" PLAN_INGRESS_LINK "\" ct original zone set ether saddr map @zones");
	PUT_CHAIN(b, "marking", "filter hook prerouting priority mangle",
		  "iifname \"" PLAN_INGRESS_LINK "\" ct state new ct mark set ether saddr map @marks",
		  "iifname { \"" PLAN_GATEWAY_LINK "\", \"" PLAN_INGRESS_LINK "\" } "
		  "ct mark & 0xff000000 == 0x5e000000 meta mark set ct mark");
	/* The ingress network has room for less than the links at both ends of a connection. */
	PUT_CHAIN(b, "mss", "filter hook postrouting priority mangle",
		  /* To where it is now, not back to where the packet came from. */
		  "oifname \"" PLAN_INGRESS_LINK "\" ip daddr @moved4 meta mark set 0",
		  "oifname \"" PLAN_INGRESS_LINK "\" ip6 daddr @moved6 meta mark set 0",
		  "oifname \"" PLAN_INGRESS_LINK "\" tcp flags & (syn | rst) == syn tcp option maxseg size set rt mtu");
}

char *plan_ingress_table(const struct plan_self *self, bool with_ingress)
{
	struct strbuf b = {0};
	char net4[IPADDR_TEXT_MAX], net6[IPADDR_TEXT_MAX], out4[160], out6[160];
	struct ipaddr subnet4 = ipaddr_network(&self->gateway4), subnet6 = ipaddr_network(&self->gateway6);

	snprintf(out4, sizeof(out4), "ip saddr %s oifname != \"lo\" masquerade", ipaddr_format(&subnet4, net4));
	snprintf(out6, sizeof(out6), "ip6 saddr %s oifname != \"lo\" masquerade",
		 ipaddr_is_set(&subnet6) ? ipaddr_format(&subnet6, net6) : "fd53:6b00::/64");
	put_objects(&b);
	if (with_ingress)
		put_marking(&b);
	PUT_CHAIN(&b, "prerouting", "nat hook prerouting priority dstnat",
		  "iifname \"" PLAN_INGRESS_LINK "\" dnat ip to ether saddr . ip daddr map @came4",
		  "iifname \"" PLAN_INGRESS_LINK "\" dnat ip6 to ether saddr . ip6 daddr map @came6",
		  "fib daddr type local jump ports");
	PUT_CHAIN(&b, "output", "nat hook output priority -100", "fib daddr type local jump ports");
	PUT_CHAIN(&b, "postrouting", "nat hook postrouting priority srcnat",
		  "ip saddr 127.0.0.0/8 oifname { \"" PLAN_GATEWAY_LINK "\", \"" PLAN_INGRESS_LINK "\" } masquerade",
		  /* A node that is sent to itself by another one would take the reply for its own packet. */
		  "oifname \"" PLAN_INGRESS_LINK "\" ip saddr . ip daddr @own4 masquerade",
		  "oifname \"" PLAN_INGRESS_LINK "\" ip6 saddr . ip6 daddr @own6 masquerade", out4, out6);
	PUT_CHAIN(&b, "forward", "filter hook forward priority filter - 1",
		  "oifname { \"" PLAN_GATEWAY_LINK "\", \"" PLAN_INGRESS_LINK "\" } ct status dnat jump skein-user",
		  /* Among themselves tasks have their networks, and what is published. */
		  "iifname \"" PLAN_GATEWAY_LINK "\" oifname \"" PLAN_GATEWAY_LINK "\" ct status dnat accept",
		  "iifname \"" PLAN_GATEWAY_LINK "\" oifname \"" PLAN_GATEWAY_LINK "\" drop");
	return strbuf_take(&b);
}

static void put_masquerade(struct strbuf *text, const struct plan_net *net, const char *ip, const struct ipaddr *subnet)
{
	char link[IFNAMSIZ], of[IPADDR_TEXT_MAX];
	struct ipaddr network = ipaddr_network(subnet);

	plan_link_name(net->id, link);
	if (ipaddr_is_set(subnet))
		strbuf_printf(text, "add rule " TABLE "postrouting %s saddr %s oifname != { \"lo\", \"%s\" } masquerade\n", ip,
			      ipaddr_format(&network, of), link);
}

/* Most of what leaves comes from the gateway interface; this is for programs that choose the address of their network. */
void plan_ingress_bridge(struct strbuf *text, const struct plan_net *net)
{
	if (net->driver != NETWORK_BRIDGE || net->internal)
		return;
	put_masquerade(text, net, "ip", &net->subnet4);
	put_masquerade(text, net, "ip6", &net->subnet6);
}

/* The VNI stands behind 8 bytes of UDP and 4 of VXLAN (RFC 7348 section 5). */
void plan_ingress_encrypted(struct strbuf *text, const struct plan_self *self, const uint32_t *vnis, size_t n)
{
	put_chain(text, "clear", "filter hook input priority filter - 1", NULL, 0);
	if (!n)
		return;
	strbuf_printf(text, "add rule " TABLE "clear udp dport %u @th,96,24 { ", self->vxlan_port);
	for (size_t i = 0; i < n; i++)
		strbuf_printf(text, "%s0x%06x", i ? ", " : "", vnis[i]);
	strbuf_puts(text, " } meta ipsec missing drop\n");
}

/* The mark ends here: the outer packet would inherit it, and be routed back into the device. */
char *plan_ingress_egress(void)
{
	return xstrdup("add table netdev skein\ndelete table netdev skein\n"
		       "table netdev skein {\n"
		       "\tmap macs {\n\t\ttype mark : ether_addr\n\t}\n"
		       "\tchain out {\n"
		       "\t\ttype filter hook egress device \"" PLAN_INGRESS_LINK "\" priority 0; policy accept;\n"
		       "\t\tether daddr set meta mark map @macs meta mark set 0\n"
		       "\t}\n"
		       "}\n");
}

void plan_ingress_node(struct strbuf *text, const struct model_network *ingress, const struct model_node *node, bool now)
{
	struct mac mac = mac_of_node(node->index);
	struct ipaddr to = plan_ingress_address(ingress, node->index, node->address.family);
	const char *verb = now ? "add" : "delete";
	char m[MAC_TEXT_MAX], from[IPADDR_TEXT_MAX], t[IPADDR_TEXT_MAX];

	mac_format(&mac, m);
	strbuf_printf(text, "%s element " TABLE "marks { %s : 0x%08x }\n", verb, m, PLAN_MARK | node->index);
	strbuf_printf(text, "%s element " TABLE "zones { %s : %u }\n", verb, m, node->index);
	strbuf_printf(text, "%s element netdev skein macs { 0x%08x : %s }\n", verb, PLAN_MARK | node->index, m);
	if (ipaddr_is_set(&to))
		strbuf_printf(text, "%s element " TABLE "own%d { %s . %s }\n", verb, node->address.family == AF_INET ? 4 : 6,
			      ipaddr_format_host(&node->address, from), ipaddr_format_host(&to, t));
}

/* ---- one port of the routing mesh */

struct candidates {
	struct candidate {
		struct ipaddr addr;
		uint16_t port;
	} *v;
	size_t n;
};

static void add_candidate(struct candidates *c, const struct ipaddr *a, uint16_t port)
{
	if (!ipaddr_is_set(a))
		return;
	c->v = xreallocarray(c->v, c->n + 1, sizeof(*c->v));
	c->v[c->n++] = (struct candidate){ipaddr_host(a), port};
}

static int by_candidate(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;
	int r = ipaddr_cmp(&x->addr, &y->addr);

	return r ? r : (int)x->port - (int)y->port;
}

static const struct plan_local *local_of(const char *task_id, const struct plan_local *locals, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(locals[i].task_id, task_id))
			return &locals[i];
	return NULL;
}

static const pb_port *port_of(const struct model_service *s, const struct plan_published *port, int mode)
{
	for (size_t i = 0; s && s->pb && i < s->pb->n_ports; i++) {
		const pb_port *p = s->pb->ports[i];

		if ((int)p->mode == mode && p->published == port->published && str_eq(p->protocol, port->protocol))
			return p;
	}
	return NULL;
}

struct mesh {
	const struct model_service *service;
	const struct model_network *ingress;
	const char *own_node_id;
	const struct plan_local *locals;
	size_t n_locals;
	const pb_port *port;
};

/* Tasks here: the ready ones; when none is, those that are about to stop still take what others send in the meantime. */
static struct candidates local_candidates(const struct mesh *m, int family, bool also_draining)
{
	struct candidates c = {0};
	const struct model_endpoint *e;

	for (int draining = 0; draining <= (also_draining ? 1 : 0) && !c.n; draining++) {
		LIST_FOREACH(e, &m->service->endpoints, of_service) {
			const struct plan_local *l = local_of(e->id, m->locals, m->n_locals);

			if (l && (draining ? e->draining : e->ready))
				add_candidate(&c, family == AF_INET ? &l->ipv4 : &l->ipv6, (uint16_t)m->port->target);
		}
	}
	return c;
}

static struct candidates all_candidates(const struct mesh *m, int family)
{
	struct candidates c = local_candidates(m, family, false);
	const struct model_endpoint *e;

	LIST_FOREACH(e, &m->service->endpoints, of_service) {
		struct ipaddr a;

		if (!e->ready || str_eq(e->node->id, m->own_node_id) || !m->ingress || !ipaddr_is_set(&e->node->address))
			continue;
		a = plan_ingress_address(m->ingress, e->node->index, family);
		add_candidate(&c, &a, (uint16_t)m->port->published);
	}
	return c;
}

static void dnat_rule(struct strbuf *text, const char *chain, const char *match, const struct mesh *m, int family,
		      struct candidates *c)
{
	const char *ip = family == AF_INET ? "ip" : "ip6", *scheduler = m->service->pb->scheduler;
	bool hash = str_eq(scheduler, "sh") || str_eq(scheduler, "mh");
	char a[IPADDR_TEXT_MAX];

	if (!c->n)
		return;
	qsort(c->v, c->n, sizeof(*c->v), by_candidate);
	strbuf_printf(text, "add rule " TABLE "%s %smeta l4proto %s dnat %s to ", chain, match, m->port->protocol, ip);
	if (c->n > 1 && hash)
		strbuf_printf(text, "jhash %s saddr mod %zu seed 0x5eed map { ", ip, c->n);
	else if (c->n > 1)
		strbuf_printf(text, "numgen inc mod %zu map { ", c->n);
	for (size_t i = 0; i < c->n; i++) {
		ipaddr_format_host(&c->v[i].addr, a);
		if (c->n > 1)
			strbuf_printf(text, "%s%zu : %s . %u", i ? ", " : "", i, a, c->v[i].port);
		else
			strbuf_printf(text, family == AF_INET ? "%s:%u" : "[%s]:%u", a, c->v[i].port);
	}
	strbuf_puts(text, c->n > 1 ? " }\n" : "\n");
}

static void chain_begin(struct strbuf *text, const char *map, const struct plan_published *port, const char *chain, bool before,
			bool now)
{
	if (before && !now)
		strbuf_printf(text, "delete element " TABLE "%s { %s . %u }\ndelete chain " TABLE "%s\n", map, port->protocol,
			      port->published, chain);
	else if (before)
		strbuf_printf(text, "flush chain " TABLE "%s\n", chain);
	else if (now)
		strbuf_printf(text, "add chain " TABLE "%s\n", chain);
}

static void chain_end(struct strbuf *text, const char *map, const struct plan_published *port, const char *chain, bool before,
		      bool now)
{
	if (now && !before)
		strbuf_printf(text, "add element " TABLE "%s { %s . %u : jump %s }\n", map, port->protocol, port->published,
			      chain);
}

void plan_ingress_port(struct strbuf *text, const struct plan_published *port, const struct model_service *service,
		       const struct model_network *ingress, const char *own_node_id, const struct plan_local *locals,
		       size_t n_locals, bool before, bool now)
{
	struct mesh m = {service, ingress, own_node_id, locals, n_locals, port_of(service, port, PUBLISH_INGRESS)};
	char chain[PLAN_CHAIN_MAX];

	plan_ingress_chain(port, false, chain);
	chain_begin(text, "ingress", port, chain, before, now);
	if (now && m.port) {
		static const int families[] = {AF_INET, AF_INET6};

		for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
			struct candidates c = local_candidates(&m, families[i], true);

			dnat_rule(text, chain, "iifname \"" PLAN_INGRESS_LINK "\" ", &m, families[i], &c);
			free(c.v);
		}
		/* What another node has sent here goes no further. It is late with its rules: no answer, so that the
		 * client asks again, not a refusal. */
		strbuf_printf(text, "add rule " TABLE "%s iifname \"" PLAN_INGRESS_LINK "\" drop\n", chain);
		for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
			struct candidates c = all_candidates(&m, families[i]);

			dnat_rule(text, chain, "", &m, families[i], &c);
			free(c.v);
		}
	}
	chain_end(text, "ingress", port, chain, before, now);
}

/* ---- one port of this host */

static void host_rule(struct strbuf *text, const char *chain, const pb_port *p, const struct ipaddr *to, const char *ip)
{
	struct ipaddr on = {.family = 0};
	char match[IPADDR_TEXT_MAX + 16] = "", a[IPADDR_TEXT_MAX];

	if (!ipaddr_is_set(to))
		return;
	if (*p->host_ip && (ipaddr_parse(p->host_ip, &on, NULL) < 0 || on.family != to->family))
		return;
	if (ipaddr_is_set(&on))
		snprintf(match, sizeof(match), "%s daddr %s ", ip, ipaddr_format_host(&on, a));
	strbuf_printf(text, "add rule " TABLE "%s %smeta l4proto %s dnat %s to ", chain, match, p->protocol, ip);
	ipaddr_format_host(to, a);
	strbuf_printf(text, to->family == AF_INET ? "%s:%u\n" : "[%s]:%u\n", a, p->target);
}

/* Several tasks may have it for a moment: the ready one first, then one that starts, then one that stops. */
static int host_rank(const struct model *m, const struct plan_local *l)
{
	const struct model_endpoint *e = model_endpoint(m, l->task_id);

	return !e ? 1 : e->ready ? 0 : e->draining ? 2 : 1;
}

void plan_ingress_host_port(struct strbuf *text, const struct plan_published *port, const struct model *m,
			    const struct plan_local *locals, size_t n_locals, bool before, bool now)
{
	char chain[PLAN_CHAIN_MAX];

	plan_ingress_chain(port, true, chain);
	chain_begin(text, "hostports", port, chain, before, now);
	for (int rank = 0; now && rank < 3; rank++) {
		for (size_t i = 0; i < n_locals; i++) {
			const pb_port *p = port_of(model_service(m, locals[i].service_id), port, PUBLISH_HOST);

			if (!p || host_rank(m, &locals[i]) != rank)
				continue;
			host_rule(text, chain, p, &locals[i].ipv4, "ip");
			host_rule(text, chain, p, &locals[i].ipv6, "ip6");
		}
	}
	chain_end(text, "hostports", port, chain, before, now);
}
