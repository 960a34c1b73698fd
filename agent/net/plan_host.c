#include "plan.h"

#include "common/mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define RULE_PRIORITY PLAN_TABLE

/* Where replies that leave by the ingress network are sent to: nobody's address. The mark then says whose MAC they get. */
#define NOWHERE4 "169.254.94.1"
#define NOWHERE6 "fe80::5e"
static const struct mac nowhere_mac = {{0x02, 0x53, 0x4b, 0xff, 0xff, 0xff}};

static struct ipaddr address(const char *text)
{
	struct ipaddr a = {.family = 0};

	ipaddr_parse(text, &a, NULL);
	return a;
}

void plan_host_base(const struct plan_out *out, const struct plan_self *self)
{
	struct netstate_entry bridge = {
		.kind = NETSTATE_LINK,
		.link = {.name = PLAN_GATEWAY_LINK, .kind = LINK_BRIDGE, .up = true, .mac = mac_of_address(&self->gateway4)}};

	bridge.link.mtu = plan_mtu(self->underlay_mtu, self->gateway6.family);
	plan_put(out, &bridge);
	plan_put_addr(out, PLAN_GATEWAY_LINK, &self->gateway4);
	plan_put_addr(out, PLAN_GATEWAY_LINK, &self->gateway6);
	plan_put_sysctl(out, "1", "net/ipv4/ip_forward");
	plan_put_sysctl(out, "0", "net/ipv4/conf/" PLAN_GATEWAY_LINK "/rp_filter");
	plan_put_sysctl(out, "1", "net/ipv4/conf/" PLAN_GATEWAY_LINK "/src_valid_mark");
	/* Published ports are reachable as 127.0.0.1 on the host, too; nothing of it leaves the host. */
	plan_put_sysctl(out, "1", "net/ipv4/conf/" PLAN_GATEWAY_LINK "/route_localnet");
	if (self->gateway6.family) {
		plan_put_sysctl(out, "0", "net/ipv6/conf/" PLAN_GATEWAY_LINK "/accept_ra");
		plan_put_sysctl(out, "1", "net/ipv6/conf/all/forwarding");
	}
}

/* ---- the ingress network */

static void put_rule(const struct plan_out *out, uint8_t family)
{
	struct netstate_entry e = {.kind = NETSTATE_RULE,
				   .rule = {.family = family,
					    .priority = RULE_PRIORITY,
					    .table = PLAN_TABLE,
					    .fwmark = PLAN_MARK,
					    .fwmask = PLAN_MARK_MASK}};

	plan_put(out, &e);
}

/* Marked packets: to a task here, or back by the way they came. */
static void put_back_routes(const struct plan_out *out, const struct ipaddr *gateway, const char *nowhere)
{
	struct netstate_entry tasks = {.kind = NETSTATE_ROUTE,
				       .route = {.table = PLAN_TABLE, .link = PLAN_GATEWAY_LINK}};
	struct netstate_entry back = {.kind = NETSTATE_ROUTE,
				      .route = {.table = PLAN_TABLE, .link = PLAN_INGRESS_LINK, .onlink = true}};

	tasks.route.dst = ipaddr_network(gateway);
	back.route.dst.family = gateway->family;
	back.route.via = address(nowhere);
	plan_put(out, &tasks);
	plan_put(out, &back);
	plan_put_neigh(out, PLAN_INGRESS_LINK, &back.route.via, &nowhere_mac);
	put_rule(out, gateway->family);
}

void plan_host_ingress(const struct plan_out *out, const struct plan_self *self, const struct model_network *ingress,
		       uint32_t own_index)
{
	struct netstate_entry link = {.kind = NETSTATE_LINK,
				      .link = {.name = PLAN_INGRESS_LINK,
					       .kind = LINK_VXLAN,
					       .up = true,
					       .mac = mac_of_node(own_index),
					       .vni = ingress->vni,
					       .port = self->vxlan_port,
					       .local = self->address}};
	struct plan_net net;
	struct ipaddr a4 = plan_ingress_address(ingress, own_index, AF_INET);
	struct ipaddr a6 = plan_ingress_address(ingress, own_index, AF_INET6);

	plan_net_of(self, ingress, &net);
	link.link.mtu = plan_mtu(net.mtu, self->gateway6.family);
	plan_put(out, &link);
	plan_put_addr(out, PLAN_INGRESS_LINK, &a4);
	put_back_routes(out, &self->gateway4, NOWHERE4);
	plan_put_sysctl(out, "0", "net/ipv4/conf/" PLAN_INGRESS_LINK "/rp_filter");
	plan_put_sysctl(out, "1", "net/ipv4/conf/" PLAN_INGRESS_LINK "/src_valid_mark");
	plan_put_sysctl(out, "1", "net/ipv4/conf/" PLAN_INGRESS_LINK "/route_localnet");
	if (!self->gateway6.family)
		return;
	plan_put_sysctl(out, "0", "net/ipv6/conf/" PLAN_INGRESS_LINK "/accept_ra");
	plan_put_sysctl(out, "0", "net/ipv6/conf/" PLAN_INGRESS_LINK "/accept_dad");
	plan_put_addr(out, PLAN_INGRESS_LINK, &a6);
	put_back_routes(out, &self->gateway6, NOWHERE6);
}

void plan_host_node(const struct plan_out *out, const struct plan_self *self, const struct model_network *ingress,
		    const struct model_node *node)
{
	struct mac mac = mac_of_node(node->index);
	struct netstate_entry fdb = {.kind = NETSTATE_FDB,
				     .fdb = {.link = PLAN_INGRESS_LINK, .mac = mac, .dst = node->address}};
	struct ipaddr a4 = plan_ingress_address(ingress, node->index, AF_INET);
	struct ipaddr a6 = plan_ingress_address(ingress, node->index, AF_INET6);

	if (!node->index || !ipaddr_is_set(&node->address) || str_eq(node->id, self->node_id))
		return;
	plan_put_neigh(out, PLAN_INGRESS_LINK, &a4, &mac);
	if (self->gateway6.family)
		plan_put_neigh(out, PLAN_INGRESS_LINK, &a6, &mac);
	plan_put(out, &fdb);
}

/* ---- networks of this node alone, ports of tasks */

static void put_bridge(const struct plan_out *out, const struct plan_net *net)
{
	struct netstate_entry e = {.kind = NETSTATE_LINK, .link = {.kind = LINK_BRIDGE, .up = true, .mtu = net->mtu}};

	plan_link_name(net->id, e.link.name);
	e.link.mac = mac_of_address(ipaddr_is_set(&net->gateway4) ? &net->gateway4 : &net->gateway6);
	plan_put(out, &e);
	plan_put_addr(out, e.link.name, &net->gateway4);
	plan_put_addr(out, e.link.name, &net->gateway6);
}

static void put_vlan(const struct plan_out *out, const struct plan_net *net)
{
	struct netstate_entry e = {.kind = NETSTATE_LINK,
				   .link = {.kind = LINK_VLAN, .up = true, .mtu = net->mtu, .vlan_id = net->vlan_id}};

	plan_link_name(net->id, e.link.name);
	memcpy(e.link.parent, net->parent, sizeof(e.link.parent));
	plan_put(out, &e);
}

void plan_host_net(const struct plan_out *out, const struct plan_net *net)
{
	if (net->driver == NETWORK_BRIDGE)
		put_bridge(out, net);
	else if (net->driver == NETWORK_VLAN)
		put_vlan(out, net);
}

void plan_host_port(const struct plan_out *out, const struct plan_self *self, const struct plan_task *task,
		    const struct plan_port *port)
{
	struct netstate_entry e = {.kind = NETSTATE_LINK,
				   .link = {.kind = LINK_VETH, .mtu = port->mtu, .up = !task->shut, .down = task->shut,
					    .peer_mac = port->mac}};
	bool gateway = !*port->net.id;

	if (!*port->outer || (!gateway && port->net.driver != NETWORK_BRIDGE))
		return;
	memcpy(e.link.name, port->outer, sizeof(e.link.name));
	memcpy(e.link.peer, port->name, sizeof(e.link.peer));
	snprintf(e.link.peer_ns, sizeof(e.link.peer_ns), "%s", task->path);
	if (gateway)
		snprintf(e.link.master, sizeof(e.link.master), "%s", PLAN_GATEWAY_LINK);
	else
		plan_link_name(port->net.id, e.link.master);
	/*
	 * Tasks reach each other over their networks only. With br_netfilter the ruleset sees to that: what it sends from
	 * one of them to another (a published port of this host) stays in the bridge then, and isolation would stop it;
	 * what one sends to itself that way goes out where it came in.
	 */
	e.link.isolated = gateway && !self->bridge_nf_on;
	e.link.hairpin = gateway && self->bridge_nf_on;
	plan_put(out, &e);
}

/* ---- whose is it */

/* Not the ports of tasks: they go with the tasks' namespaces, and one that is not known yet goes on working. */
static bool our_link(const char *name)
{
	return str_eq(name, PLAN_GATEWAY_LINK) || str_eq(name, PLAN_INGRESS_LINK) || str_starts(name, PLAN_BRIDGE_PREFIX);
}

bool plan_host_owns(const struct netstate_entry *e)
{
	switch (e->kind) {
	case NETSTATE_LINK:
		return our_link(e->link.name);
	case NETSTATE_ADDR:
		return our_link(e->addr.link);
	case NETSTATE_NEIGH:
		return our_link(e->neigh.link);
	case NETSTATE_FDB:
		return our_link(e->fdb.link);
	case NETSTATE_ROUTE:
		return e->route.table == PLAN_TABLE;
	case NETSTATE_RULE:
		return e->rule.table == PLAN_TABLE && e->rule.fwmark == PLAN_MARK;
	case NETSTATE_XFRM_STATE:
	case NETSTATE_XFRM_POLICY:
		return true; /* a dump has only those with our networks' ids */
	default:
		return false;
	}
}
