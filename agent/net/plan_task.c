#include "dns_conf.h"
#include "plan.h"

#include "common/mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static enum link_kind link_kind_of(const struct plan_port *port)
{
	if (!*port->net.id)
		return LINK_OTHER; /* made together with its other end */
	switch (port->net.driver) {
	case NETWORK_IPVLAN:
		return LINK_IPVLAN;
	case NETWORK_MACVLAN:
	case NETWORK_VLAN:
		return LINK_MACVLAN;
	case NETWORK_OVERLAY:
	case NETWORK_BRIDGE:
	case NETWORK_OTHER:
		break;
	}
	return LINK_OTHER;
}

static void put_link(const struct plan_out *out, const struct plan_port *port)
{
	struct netstate_entry e = {.kind = NETSTATE_LINK,
				   .link = {.kind = link_kind_of(port), .mtu = port->mtu, .up = true}};
	struct netstate_link *l = &e.link;

	memcpy(l->name, port->name, sizeof(l->name));
	if (l->kind != LINK_IPVLAN) /* which has its parent's */
		l->mac = port->mac;
	if (l->kind != LINK_OTHER) {
		memcpy(l->parent, port->net.parent, sizeof(l->parent));
		memcpy(l->mode, port->net.mode, sizeof(l->mode));
		if (port->net.driver == NETWORK_VLAN)
			plan_link_name(port->net.id, l->parent);
	}
	plan_put(out, &e);
}

static void put_default(const struct plan_out *out, const struct plan_port *port, const struct ipaddr *gateway)
{
	struct netstate_entry e = {.kind = NETSTATE_ROUTE};

	if (!ipaddr_is_set(gateway))
		return;
	memcpy(e.route.link, port->name, sizeof(e.route.link));
	e.route.dst.family = gateway->family;
	e.route.via = ipaddr_host(gateway);
	plan_put(out, &e);
}

void plan_task_prepared(const struct plan_out *out, const struct plan_self *self)
{
	/* It has its service's address without owning it: the balancer alone answers for that one. */
	plan_put_sysctl(out, "1", "net/ipv4/conf/all/arp_ignore");
	plan_put_sysctl(out, "2", "net/ipv4/conf/all/arp_announce");
	if (self->gateway6.family) {
		plan_put_sysctl(out, "0", "net/ipv6/conf/default/accept_dad");
		plan_put_sysctl(out, "0", "net/ipv6/conf/default/accept_ra");
	}
}

void plan_task_base(const struct plan_out *out, const struct plan_self *self, const struct plan_task *task)
{
	plan_task_prepared(out, self);
	for (size_t i = 0; i < task->n_ports; i++) {
		const struct plan_port *port = &task->ports[i];

		put_link(out, port);
		plan_put_addr(out, port->name, &port->ipv4);
		if (self->gateway6.family)
			plan_put_addr(out, port->name, &port->ipv6);
		if (*port->net.id)
			continue;
		put_default(out, port, &self->gateway4);
		put_default(out, port, &self->gateway6);
	}
}

#define STRING_OF(x) #x
#define TEXT_OF(x) STRING_OF(x)

/*
 * Without connection tracking: each packet is rewritten on its own, on the way out, before anything else sees it. Other
 * traffic passes one comparison.
 */
const char *plan_names_text(void)
{
	return "add table ip skein\ndelete table ip skein\n"
	       "table ip skein {\n"
	       "\tchain names {\n"
	       "\t\ttype filter hook output priority raw; policy accept;\n"
	       "\t\toifname != \"lo\" accept\n"
	       "\t\tip daddr " DNS_CONF_OURS " udp dport 53 notrack udp dport set " TEXT_OF(DNS_CONF_PORT) "\n"
	       "\t\tip saddr " DNS_CONF_OURS " udp sport " TEXT_OF(DNS_CONF_PORT) " notrack udp sport set 53\n"
	       "\t\tip daddr " DNS_CONF_OURS " tcp dport 53 notrack tcp dport set " TEXT_OF(DNS_CONF_PORT) "\n"
	       "\t\tip saddr " DNS_CONF_OURS " tcp sport " TEXT_OF(DNS_CONF_PORT) " notrack tcp sport set 53\n"
	       "\t}\n"
	       "}\n";
}

static void put_vip(const struct plan_out *out, const struct ipaddr *vip, const struct ipaddr *own)
{
	struct netstate_entry e = {.kind = NETSTATE_ROUTE, .route = {.local = true, .link = "lo", .dst = *vip}};

	if (!ipaddr_is_set(vip) || !ipaddr_is_set(own))
		return;
	/* Its own connections to the address come from its own one. */
	e.route.src = ipaddr_host(own);
	plan_put(out, &e);
}

void plan_task_vip(const struct plan_out *out, const struct plan_task *task, const struct model_vip *vip)
{
	for (size_t i = 0; i < task->n_ports; i++) {
		if (!str_eq(task->ports[i].net.id, vip->network->id))
			continue;
		put_vip(out, &vip->ipv4, &task->ports[i].ipv4);
		put_vip(out, &vip->ipv6, &task->ports[i].ipv6);
	}
}

/* A container may add what it likes to its own namespace; only routes with our number on them are surely ours. */
bool plan_task_owns(const struct netstate_entry *e)
{
	return e->kind == NETSTATE_ROUTE && e->route.local;
}
