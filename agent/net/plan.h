/*
 * plan - what follows from the model and from the tasks that are attached here: entries (netstate) of a namespace, and
 * texts for nft(8). Pure: model and facts in, entries and text out.
 *
 * Entries go through a plan_out: with `del` they are taken away again. To follow a change, what hung on the old object is
 * taken back before it changes and what hangs on the new one is put behind it; netstate nets the two.
 */
#pragma once
#include "model.h"

#include "common/ipaddr.h"
#include "common/str.h"
#include "netoverlay/netstate.h"

#include <net/if.h>

/* This node. */
struct plan_self {
	const char *node_id;
	struct ipaddr address;            /* underlay; none = not known yet */
	uint32_t underlay_mtu;
	uint16_t vxlan_port;
	struct ipaddr gateway4, gateway6; /* of skein0, with prefix length; gateway6 none = the kernel has no IPv6 */
	bool ipvs;                        /* the balancer; else nftables */
	bool egress;                      /* nftables has the egress hook */
	bool bridge_nf;                   /* br_netfilter is there ... */
	bool bridge_nf_on;                /* ... and what the host's bridges forward passes its IPv4 rulesets */
};

/* What is needed of a network for as long as its namespace stands, even when the model has lost it. */
struct plan_net {
	char id[64];
	enum network_driver driver;
	bool internal, encrypted;
	uint32_t vni, mtu;                /* mtu in force */
	struct ipaddr subnet4, gateway4, subnet6, gateway6;
	char parent[IFNAMSIZ], mode[12];
	uint16_t vlan_id;
};

/* One interface of a task. */
struct plan_port {
	char name[IFNAMSIZ];              /* in the task: "eth0" */
	char outer[IFNAMSIZ];             /* its other end (veth); "" = none */
	struct plan_net net;              /* id "" = the gateway interface */
	struct ipaddr ipv4, ipv6;         /* with prefix length */
	struct mac mac;
	uint32_t mtu;
};

struct plan_task {
	const char *id, *service_id, *path; /* path of its namespace */
	struct plan_port *ports;
	size_t n_ports;
	bool shut;                        /* nothing goes in or out of its veths */
	unsigned rotation;                /* where its round robins begin: tasks do not all start with the same one */
};

struct plan_out {
	struct netstate *set;
	bool del;
};
void plan_put(const struct plan_out *out, const struct netstate_entry *e);
void plan_put_addr(const struct plan_out *out, const char *link, const struct ipaddr *a);
void plan_put_neigh(const struct plan_out *out, const char *link, const struct ipaddr *a, const struct mac *mac);
void plan_put_sysctl(const struct plan_out *out, const char *value, const char *name_format, ...)
	__attribute__((format(printf, 3, 4)));

#define PLAN_GATEWAY_LINK "skein0"
#define PLAN_INGRESS_LINK "skein-in"
#define PLAN_BRIDGE_PREFIX "sk-"
#define PLAN_TABLE 94
#define PLAN_MARK 0x5e000000u
#define PLAN_MARK_MASK 0xff000000u
#define PLAN_DIRECT_MARK 0x5b000000u /* and a number: what a task sends to an endpoint of a virtual address by its MAC */
#define PLAN_ESP_MARK 0x5d000000u /* and the VNI: what leaves an encrypted network */
#define PLAN_INGRESS_SUBNET6 "fd53:6b01::/64"

/* ---- facts */

void plan_net_of(const struct plan_self *self, const struct model_network *n, struct plan_net *ret);
/* An MTU that IPv6 can live with, where it has to; 0 (the kernel's choice) stays. */
uint32_t plan_mtu(uint32_t mtu, bool ipv6);
bool plan_net_equal(const struct plan_net *a, const struct plan_net *b);
/* Name of the outer end of a task's nth interface: "v0-k3x9c0ffee". */
void plan_port_name(const char *task_id, unsigned nth, char ret[static IFNAMSIZ]);
/* Name of a network's bridge or VLAN link in the host. */
void plan_link_name(const char *network_id, char ret[static IFNAMSIZ]);
/* Address of a node in the ingress network; none when it has none. */
struct ipaddr plan_ingress_address(const struct model_network *ingress, uint32_t index, int family);

/* ---- namespace of an overlay network (plan_network.c) */

void plan_network_base(const struct plan_out *out, const struct plan_self *self, const struct plan_net *net);
void plan_network_port(const struct plan_out *out, const struct plan_net *net, const struct plan_task *task,
		       const struct plan_port *port);
/* How to reach an endpoint: forwarding entry and neighbours. */
void plan_network_place(const struct plan_out *out, const struct plan_self *self, const struct model_place *place);
/* All but the ports of tasks, which go with the tasks' namespaces. */
bool plan_network_owns(const struct netstate_entry *e);
/* The ruleset; "" = none. Yours. */
char *plan_network_text(const struct plan_self *self, const struct plan_net *net, uint32_t own_index);

/* ---- namespace of a task (plan_task.c) */

/* What does not depend on the task, and is already so in a namespace that was prepared. */
void plan_task_prepared(const struct plan_out *out, const struct plan_self *self);
void plan_task_base(const struct plan_out *out, const struct plan_self *self, const struct plan_task *task);
/* It accepts what comes for its service's address. */
void plan_task_vip(const struct plan_out *out, const struct plan_task *task, const struct model_vip *vip);
/* Ruleset that makes port 53 of DNS_CONF_OURS the port that we listen on: table ip skein, the same in every task. */
const char *plan_names_text(void);
/* Is this, found in a task's namespace, ours to take away? */
bool plan_task_owns(const struct netstate_entry *e);

/* ---- the host (plan_host.c) */

void plan_host_base(const struct plan_out *out, const struct plan_self *self);
void plan_host_ingress(const struct plan_out *out, const struct plan_self *self, const struct model_network *ingress,
		       uint32_t own_index);
void plan_host_node(const struct plan_out *out, const struct plan_self *self, const struct model_network *ingress,
		    const struct model_node *node);
/* A network of the bridge or vlan driver that has a task here. */
void plan_host_net(const struct plan_out *out, const struct plan_net *net);
/* A task's port on skein0 or on a network's bridge. */
void plan_host_port(const struct plan_out *out, const struct plan_self *self, const struct plan_task *task,
		    const struct plan_port *port);
bool plan_host_owns(const struct netstate_entry *e);

/* ---- a task that has moved (plan_moved.c) */

/* At the source: packets for the address that it had towards the host go to the other node. */
struct plan_forward {
	struct ipaddr own4, own6;         /* of hosts; own6 none = the kernel has no IPv6 */
	struct ipaddr via4, via6;         /* the other node's in the ingress network */
};
void plan_moved_forward(const struct plan_out *out, const struct plan_forward *f);
void plan_moved_forward_text(struct strbuf *text, const struct plan_forward *f, bool now);
/* At the target: who has them now. */
struct plan_came {
	struct mac from;                  /* the other node's in the ingress network; all zero = none */
	struct ipaddr old4, old6;         /* what the task had there */
};
void plan_moved_came_text(struct strbuf *text, const struct plan_came *c, const struct ipaddr *own4, const struct ipaddr *own6,
			  bool now);
/* In its namespace: it goes on under the addresses that its sockets are bound to, and sends what a balancer of the source's node
 * had given to an endpoint there still: macs[i] is for packets with the mark PLAN_DIRECT_MARK | i + 1. Yours. */
char *plan_moved_task(const struct plan_task *task, const struct ipaddr *inner4, const struct ipaddr *inner6,
		      const struct mac *macs, size_t n_macs);

/* Entries of the namespace that go with it: its address, and the routes by which it speaks from it. */
#define PLAN_INNER_ENTRIES 3
void plan_moved_inner(const struct plan_port *port, const struct ipaddr *inner, const struct ipaddr *gateway, unsigned nth,
		      struct netstate_entry *ret);
/* The same from the kernel's listings, for an agent that has started again. *ret_macs is yours. */
void plan_moved_read_task(const char *listing, struct ipaddr *inner4, struct ipaddr *inner6);
#define PLAN_DIRECT_MAX 65536u
void plan_moved_read_direct(const char *listing, struct mac **ret_macs, size_t *ret_n);
/* Who had the address `own` under which other one? False: nobody has come there. */
bool plan_moved_read_came(const char *listing, const struct ipaddr *own, struct mac *from, struct ipaddr *old);

/* ---- encrypted networks: in the host's namespace (plan_esp.c) */

uint32_t plan_esp_mark(uint32_t vni);
/* What a network says to a node and hears from it. Nothing for networks that are not encrypted. */
void plan_esp_node(const struct plan_out *out, const struct plan_self *self, const struct model_network *network,
		   const struct model_node *node);

/* ---- virtual addresses (plan_balance.c) */

/* IPVS, in the network's namespace: the service, and one endpoint behind it. */
void plan_ipvs_vip(const struct plan_out *out, const struct model_vip *vip);
void plan_ipvs_dest(const struct plan_out *out, const struct model_vip *vip, const struct model_place *place);
/* The mark that packets for the address carry. */
uint32_t plan_vip_mark(const struct ipaddr *vip);

/* nftables, in a task's namespace. */
char *plan_balance_table(void);
/* Text that brings the address's chain from `before` (it is there) to `now` (it should be). */
void plan_balance_vip(struct strbuf *text, const struct model_vip *vip, const struct ipaddr *address, bool before, bool now,
		      unsigned rotation);
/* The task's own service has the address; home: the task's own one in that network. */
void plan_balance_own(struct strbuf *text, const struct ipaddr *address, const struct ipaddr *home, bool now);

/* ---- published ports (plan_ingress.c) */

struct plan_published {
	char protocol[8];
	uint16_t published;
};

/* Tasks of this node that may be published: where they are reached. */
struct plan_local {
	const char *task_id, *service_id;
	struct ipaddr ipv4, ipv6; /* of the gateway interface */
};

/* What stands whatever is published. Tables that exist keep what operators put into them. */
char *plan_ingress_table(const struct plan_self *self, bool with_ingress);
/* A network of the bridge driver: what its tasks send out from its addresses comes from the host. */
void plan_ingress_bridge(struct strbuf *text, const struct plan_net *net);
/* VXLAN packets of these networks are dropped when they came in the clear. */
void plan_ingress_encrypted(struct strbuf *text, const struct plan_self *self, const uint32_t *vnis, size_t n);
/* The part that needs the device. */
char *plan_ingress_egress(void);
/* Text for one port of the routing mesh / of this host: its chain and its place in the map. service NULL: nobody has it. */
void plan_ingress_port(struct strbuf *text, const struct plan_published *port, const struct model_service *service,
		       const struct model_network *ingress, const char *own_node_id, const struct plan_local *locals,
		       size_t n_locals, bool before, bool now);
void plan_ingress_host_port(struct strbuf *text, const struct plan_published *port, const struct model *m,
			    const struct plan_local *locals, size_t n_locals, bool before, bool now);
/* A node's place in the maps of who came from where. */
void plan_ingress_node(struct strbuf *text, const struct model_network *ingress, const struct model_node *node, bool now);
/* Names of chains: "p_tcp_8080", "h_udp_53". */
#define PLAN_CHAIN_MAX 24
void plan_ingress_chain(const struct plan_published *port, bool host, char ret[static PLAN_CHAIN_MAX]);
