#include "net_internal.h"

static void add(pb_node_description *desc, const char *name, const char *value)
{
	pb_kv_set(&desc->n_features, &desc->features, name, value);
}

static void add_bool(pb_node_description *desc, const char *name, bool value)
{
	add(desc, name, value ? "true" : "false");
}

void net_features(const struct net *n, pb_node_description *desc)
{
	const struct netns_features *f = &n->features;

	if (!n->ready)
		return;
	if (n->failed) {
		add(desc, "network.error", n->error.msg);
		return;
	}
	add(desc, "network.balancer", n->self.ipvs ? "ipvs" : "nftables");
	/* nftables does not count connections: there "lc" is as "rr". */
	add(desc, "network.schedulers", n->self.ipvs ? "rr wrr lc sh mh" : "rr wrr sh mh");
	add_bool(desc, "network.ipvs", f->ipvs);
	add_bool(desc, "network.vxlan", f->vxlan);
	add_bool(desc, "network.macvlan", f->macvlan);
	add_bool(desc, "network.ipvlan", f->ipvlan);
	add_bool(desc, "network.vlan", f->vlan);
	add_bool(desc, "network.esp", f->esp);
	add_bool(desc, "network.ingress", f->vxlan && f->nft_egress);
	add_bool(desc, "network.ipv6", ipaddr_is_set(&n->self.gateway6));
}
