#include "plan.h"

#include "common/mem.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define BRIDGE "br0"
#define VXLAN "vx0"

static struct mac bridge_mac(const struct plan_net *net)
{
	return mac_of_address(ipaddr_is_set(&net->gateway4) ? &net->gateway4 : &net->gateway6);
}

void plan_network_base(const struct plan_out *out, const struct plan_self *self, const struct plan_net *net)
{
	struct netstate_entry bridge = {.kind = NETSTATE_LINK,
					.link = {.name = BRIDGE, .kind = LINK_BRIDGE, .mtu = net->mtu, .up = true}};
	struct netstate_entry vxlan = {.kind = NETSTATE_LINK,
				       .link = {.name = VXLAN,
						.kind = LINK_VXLAN,
						.mtu = net->mtu,
						.master = BRIDGE,
						.up = true,
						.vni = net->vni,
						.port = self->vxlan_port,
						.local = self->address}};

	bridge.link.mac = bridge_mac(net);
	/* Without IPv6 nobody here sends router solicitations and the like over everybody's wire. */
	if (self->gateway6.family)
		plan_put_sysctl(out, ipaddr_is_set(&net->subnet6) ? "0" : "1", "net/ipv6/conf/default/disable_ipv6");
	if (self->gateway6.family && ipaddr_is_set(&net->subnet6)) {
		plan_put_sysctl(out, "0", "net/ipv6/conf/default/accept_dad");
		plan_put_sysctl(out, "0", "net/ipv6/conf/default/accept_ra");
	}
	/* What tasks send each other is no business of rulesets here. */
	if (self->bridge_nf) {
		plan_put_sysctl(out, "0", "net/bridge/bridge-nf-call-iptables");
		plan_put_sysctl(out, "0", "net/bridge/bridge-nf-call-ip6tables");
	}
	/* A connection to an endpoint that is gone ends at once, instead of hanging until it times out. */
	if (self->ipvs)
		plan_put_sysctl(out, "1", "net/ipv4/vs/expire_nodest_conn");
	plan_put(out, &bridge);
	plan_put(out, &vxlan);
	plan_put_addr(out, BRIDGE, &net->gateway4);
	if (self->gateway6.family)
		plan_put_addr(out, BRIDGE, &net->gateway6);
}

void plan_network_port(const struct plan_out *out, const struct plan_net *net, const struct plan_task *task,
		       const struct plan_port *port)
{
	struct netstate_entry e = {
		.kind = NETSTATE_LINK,
		.link = {.kind = LINK_VETH, .mtu = net->mtu, .master = BRIDGE, .up = !task->shut, .down = task->shut,
			 .peer_mac = port->mac}};

	memcpy(e.link.name, port->outer, sizeof(e.link.name));
	memcpy(e.link.peer, port->name, sizeof(e.link.peer));
	snprintf(e.link.peer_ns, sizeof(e.link.peer_ns), "%s", task->path);
	plan_put(out, &e);
}

static void put_neighs(const struct plan_out *out, const struct plan_self *self, const struct model_place *p,
		       const struct ipaddr *a, bool local)
{
	/* IPVS sends to endpoints from here: it finds them without asking. */
	if (self->ipvs)
		plan_put_neigh(out, BRIDGE, a, &p->mac);
	/* What the VXLAN device answers ARP and ND from. */
	if (!local)
		plan_put_neigh(out, VXLAN, a, &p->mac);
}

void plan_network_place(const struct plan_out *out, const struct plan_self *self, const struct model_place *p)
{
	const struct model_node *node = p->endpoint->node;
	struct netstate_entry fdb = {.kind = NETSTATE_FDB, .fdb = {.link = VXLAN, .mac = p->mac, .dst = node->address}};
	bool local = str_eq(node->id, self->node_id);

	if (ipaddr_is_set(&p->ipv4))
		put_neighs(out, self, p, &p->ipv4, local);
	if (ipaddr_is_set(&p->ipv6) && self->gateway6.family)
		put_neighs(out, self, p, &p->ipv6, local);
	if (!local && ipaddr_is_set(&node->address))
		plan_put(out, &fdb);
}

bool plan_network_owns(const struct netstate_entry *e)
{
	return e->kind != NETSTATE_LINK || e->link.kind != LINK_VETH;
}

/*
 * IPVS finds a service by the mark, and the mark is the address's last four bytes: so the ruleset is the same whatever
 * services there are. It ends here: the outer packet would inherit it, and the host may route by marks.
 */
static void put_marking(struct strbuf *b, const struct plan_self *self)
{
	strbuf_puts(b, "add table inet skein\ndelete table inet skein\n"
		       "table inet skein {\n"
		       "\tchain marking {\n"
		       "\t\ttype filter hook prerouting priority mangle; policy accept;\n"
		       "\t\tiifname \"" BRIDGE "\" meta nfproto ipv4 meta mark set @nh,128,32\n");
	if (self->gateway6.family)
		strbuf_puts(b, "\t\tiifname \"" BRIDGE "\" meta nfproto ipv6 meta mark set @nh,288,32\n");
	strbuf_puts(b, "\t}\n"
		       "\tchain unmarking {\n"
		       "\t\ttype filter hook postrouting priority mangle; policy accept;\n"
		       "\t\toifname \"" BRIDGE "\" meta mark set 0\n"
		       "\t}\n}\n");
}

/*
 * The bridge has one MAC on all nodes (a task may take its neighbours along), but what this node sends on to others must
 * not look to them as sent by their own bridge. What leaves an encrypted network is marked for the host's policies.
 */
static void put_egress(struct strbuf *b, const struct plan_net *net, uint32_t own_index, bool ipvs)
{
	struct mac bridge = bridge_mac(net), node = mac_of_node(own_index);
	char from[MAC_TEXT_MAX], to[MAC_TEXT_MAX];

	strbuf_puts(b, "add table netdev skein\ndelete table netdev skein\n"
		       "table netdev skein {\n"
		       "\tchain out {\n"
		       "\t\ttype filter hook egress device \"" VXLAN "\" priority 0; policy accept;\n");
	if (ipvs && own_index)
		strbuf_printf(b, "\t\tether saddr %s ether saddr set %s\n", mac_format(&bridge, from), mac_format(&node, to));
	if (net->encrypted)
		strbuf_printf(b, "\t\tmeta mark set 0x%08x\n", plan_esp_mark(net->vni));
	strbuf_puts(b, "\t}\n}\n");
}

char *plan_network_text(const struct plan_self *self, const struct plan_net *net, uint32_t own_index)
{
	struct strbuf b = {0};

	if (self->ipvs)
		put_marking(&b, self);
	if (self->egress && ((self->ipvs && own_index) || net->encrypted))
		put_egress(&b, net, own_index, self->ipvs);
	return strbuf_take(&b);
}
