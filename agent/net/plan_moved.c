#include "plan.h"

#include "common/mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

/* ---- the source's host */

static void put_routes(const struct plan_out *out, const struct ipaddr *own, const struct ipaddr *via)
{
	/* Marked packets, which came by the ingress network themselves, have a table of their own. */
	static const uint32_t tables[] = {0, PLAN_TABLE};

	for (size_t i = 0; ipaddr_is_set(own) && ipaddr_is_set(via) && i < ARRAY_SIZE(tables); i++) {
		struct netstate_entry e = {.kind = NETSTATE_ROUTE,
					   .route = {.table = tables[i], .link = PLAN_INGRESS_LINK, .onlink = true}};

		e.route.dst = ipaddr_host(own);
		e.route.via = ipaddr_host(via);
		plan_put(out, &e);
	}
}

void plan_moved_forward(const struct plan_out *out, const struct plan_forward *f)
{
	put_routes(out, &f->own4, &f->via4);
	put_routes(out, &f->own6, &f->via6);
}

static void put_moved(struct strbuf *text, const struct ipaddr *own, bool now)
{
	char a[IPADDR_TEXT_MAX];

	if (ipaddr_is_set(own))
		strbuf_printf(text, "%s element inet skein moved%d { %s }\n", now ? "add" : "delete",
			      own->family == AF_INET ? 4 : 6, ipaddr_format_host(own, a));
}

void plan_moved_forward_text(struct strbuf *text, const struct plan_forward *f, bool now)
{
	put_moved(text, &f->own4, now);
	put_moved(text, &f->own6, now);
}

/* ---- the target's host */

static void put_came(struct strbuf *text, const struct mac *from, const struct ipaddr *old, const struct ipaddr *own, bool now)
{
	char m[MAC_TEXT_MAX], o[IPADDR_TEXT_MAX], a[IPADDR_TEXT_MAX];

	if (ipaddr_is_set(old) && ipaddr_is_set(own))
		strbuf_printf(text, "%s element inet skein came%d { %s . %s : %s }\n", now ? "add" : "delete",
			      old->family == AF_INET ? 4 : 6, mac_format(from, m), ipaddr_format_host(old, o),
			      ipaddr_format_host(own, a));
}

void plan_moved_came_text(struct strbuf *text, const struct plan_came *c, const struct ipaddr *own4, const struct ipaddr *own6,
			  bool now)
{
	if (memcmp(&c->from, &(struct mac){}, sizeof(c->from)) == 0)
		return;
	put_came(text, &c->from, &c->old4, own4, now);
	put_came(text, &c->from, &c->old6, own6, now);
}

/* ---- the task's namespace */

static const struct plan_port *gateway_port(const struct plan_task *task)
{
	for (size_t i = 0; i < task->n_ports; i++)
		if (!*task->ports[i].net.id)
			return &task->ports[i];
	return NULL;
}

static void put_inner(struct strbuf *b, const char *ip, const struct plan_port *port, const struct ipaddr *own,
		      const struct ipaddr *inner, bool in)
{
	char o[IPADDR_TEXT_MAX], i[IPADDR_TEXT_MAX];

	if (!ipaddr_is_set(inner) || !ipaddr_is_set(own) || ipaddr_same_host(own, inner))
		return;
	ipaddr_format_host(own, o);
	ipaddr_format_host(inner, i);
	if (in)
		strbuf_printf(b, "\t\t%s daddr %s dnat %s to %s\n", ip, o, ip, i);
	else
		strbuf_printf(b, "\t\toifname \"%s\" %s saddr %s snat %s to %s\n", port->name, ip, i, ip, o);
}

static void put_chain(struct strbuf *b, const char *name, const char *hook, const struct plan_task *task,
		      const struct ipaddr *inner4, const struct ipaddr *inner6, bool in)
{
	const struct plan_port *port = gateway_port(task);

	strbuf_printf(b, "\tchain %s {\n\t\ttype nat hook %s; policy accept;\n", name, hook);
	if (port) {
		put_inner(b, "ip", port, &port->ipv4, inner4, in);
		put_inner(b, "ip6", port, &port->ipv6, inner6, in);
	}
	strbuf_puts(b, "\t}\n");
}

/* The packet has found its way to whoever answers for the virtual address; it is given to one endpoint instead. */
static void put_direct(struct strbuf *b, const struct plan_task *task, const struct mac *macs, size_t n)
{
	char m[MAC_TEXT_MAX];

	strbuf_puts(b, "add table netdev skein-moved\ndelete table netdev skein-moved\n");
	if (!n)
		return;
	strbuf_puts(b, "table netdev skein-moved {\n\tmap macs {\n\t\ttype mark : ether_addr\n\t\telements = { ");
	for (size_t i = 0; i < n; i++)
		strbuf_printf(b, "%s0x%08x : %s", i ? ", " : "", (unsigned)(PLAN_DIRECT_MARK | (i + 1)), mac_format(&macs[i], m));
	strbuf_puts(b, " }\n\t}\n");
	for (size_t i = 0; i < task->n_ports; i++)
		if (*task->ports[i].net.id)
			strbuf_printf(b,
				      "\tchain out-%s {\n\t\ttype filter hook egress device \"%s\" priority 0; policy accept;\n"
				      "\t\tether daddr set meta mark map @macs\n\t}\n",
				      task->ports[i].name, task->ports[i].name);
	strbuf_puts(b, "}\n");
}

char *plan_moved_task(const struct plan_task *task, const struct ipaddr *inner4, const struct ipaddr *inner6,
		      const struct mac *macs, size_t n_macs)
{
	struct strbuf b = {0};

	strbuf_puts(&b, "add table inet skein-moved\ndelete table inet skein-moved\n"
			"table inet skein-moved {\n"
			"\tchain marking {\n"
			"\t\ttype filter hook output priority mangle; policy accept;\n"
			"\t\tct mark & 0xff000000 == 0x5b000000 meta mark set ct mark\n"
			"\t}\n");
	put_chain(&b, "in", "prerouting priority dstnat", task, inner4, inner6, true);
	put_chain(&b, "out", "postrouting priority srcnat", task, inner4, inner6, false);
	strbuf_puts(&b, "}\n");
	put_direct(&b, task, macs, n_macs);
	return strbuf_take(&b);
}

void plan_moved_inner(const struct plan_port *port, const struct ipaddr *inner, const struct ipaddr *gateway, unsigned nth,
		      struct netstate_entry *ret)
{
	if (nth == 0) {
		*ret = (struct netstate_entry){.kind = NETSTATE_ADDR, .addr.addr = ipaddr_host(inner)};
		memcpy(ret->addr.link, port->name, sizeof(ret->addr.link));
		return;
	}
	*ret = (struct netstate_entry){.kind = NETSTATE_ROUTE, .route.src = ipaddr_host(inner)};
	memcpy(ret->route.link, port->name, sizeof(ret->route.link));
	if (nth == 1) { /* to the host itself */
		ret->route.dst = ipaddr_host(gateway);
	} else {
		ret->route.dst.family = gateway->family;
		ret->route.via = ipaddr_host(gateway);
	}
}

/* ---- from listings */

static void read_inner(const char *listing, const char *before, struct ipaddr *ret)
{
	const char *p = strstr(listing, before);
	char text[IPADDR_TEXT_MAX];

	*ret = (struct ipaddr){.family = 0};
	if (p && sscanf(p + strlen(before), "%45s", text) == 1 && ipaddr_parse(text, ret, NULL) < 0)
		*ret = (struct ipaddr){.family = 0};
}

void plan_moved_read_task(const char *listing, struct ipaddr *inner4, struct ipaddr *inner6)
{
	read_inner(listing, "dnat ip to ", inner4);
	read_inner(listing, "dnat ip6 to ", inner6);
}

void plan_moved_read_direct(const char *listing, struct mac **ret_macs, size_t *ret_n)
{
	const char *p = listing;
	char text[MAC_TEXT_MAX];
	unsigned number;

	*ret_macs = NULL;
	*ret_n = 0;
	for (; (p = strstr(p, "0x5b")); p++) {
		struct mac mac;

		if (sscanf(p, "0x5b%6x : %17[0-9a-f:]", &number, text) != 2 || mac_parse(text, &mac, NULL) < 0 || !number ||
		    number > PLAN_DIRECT_MAX)
			continue;
		if (number > *ret_n) {
			*ret_macs = xreallocarray(*ret_macs, number, sizeof(**ret_macs));
			memset(*ret_macs + *ret_n, 0, (number - *ret_n) * sizeof(**ret_macs));
			*ret_n = number;
		}
		(*ret_macs)[number - 1] = mac;
	}
}

bool plan_moved_read_came(const char *listing, const struct ipaddr *own, struct mac *from, struct ipaddr *old)
{
	char m[MAC_TEXT_MAX], o[IPADDR_TEXT_MAX], a[IPADDR_TEXT_MAX];
	const char *p = strstr(listing, "elements = {");
	struct ipaddr address;

	for (p = p ? p + strlen("elements = {") : NULL; p; p = strchr(p, ',')) {
		p += strspn(p, ", \t\n");
		if (sscanf(p, "%17[0-9a-f:] . %45[0-9a-f:.] : %45[0-9a-f:.]", m, o, a) == 3 && mac_parse(m, from, NULL) == 0 &&
		    ipaddr_parse(o, old, NULL) == 0 && ipaddr_parse(a, &address, NULL) == 0 && ipaddr_same_host(&address, own))
			return true;
	}
	return false;
}
