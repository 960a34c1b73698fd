/*
 * netstate - what a network namespace holds, or should hold: a set of entries, each with a key.
 * Pure data, no I/O, any thread (one at a time). The same form serves wishes (made by the agent), facts (read from
 * the kernel: netns_dump) and the difference of the two, so that applying, checking and repairing are one code path.
 */
#pragma once
#include "common/ipaddr.h"

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In the order in which they are made; taken away in the opposite one. */
enum netstate_kind {
	NETSTATE_LINK,
	NETSTATE_ADDR,
	NETSTATE_ROUTE,
	NETSTATE_RULE,
	NETSTATE_NEIGH,
	NETSTATE_FDB,
	NETSTATE_SYSCTL,
	NETSTATE_IPVS_SERVICE,
	NETSTATE_IPVS_DEST,
	NETSTATE_XFRM_STATE,
	NETSTATE_XFRM_POLICY,
	NETSTATE_KINDS,
};

enum link_kind { LINK_BRIDGE, LINK_VXLAN, LINK_VETH, LINK_MACVLAN, LINK_IPVLAN, LINK_VLAN, LINK_DUMMY, LINK_OTHER };

#define NETSTATE_PATH_MAX 128
#define NETSTATE_TEXT_MAX 64

/* Key: name. Fields that are 0 / "" are not compared and left as the kernel made them. LINK_OTHER: it is there (lo,
 * a veth's other end), only its attributes are set; deleting it does nothing. */
struct netstate_link {
	char name[IFNAMSIZ];
	enum link_kind kind;
	struct mac mac;           /* all zero = the kernel's choice */
	uint32_t mtu;
	char master[IFNAMSIZ];    /* a bridge of the same namespace */
	bool up;
	bool down;                /* it must be: nothing passes */
	/* vxlan: its socket lives in the outer namespace; no learning, proxy on (answers ARP and ND from neighbours) */
	uint32_t vni;
	uint16_t port;
	struct ipaddr local;
	/* macvlan ("bridge", "private", "vepa", "passthru"), ipvlan ("l2", "l3", "l3s"), vlan: parent in the outer namespace */
	char parent[IFNAMSIZ];
	char mode[12];
	uint16_t vlan_id;
	/* veth: its other end, made together with it */
	char peer[IFNAMSIZ];
	char peer_ns[NETSTATE_PATH_MAX]; /* path of the namespace; "" = the outer one */
	struct mac peer_mac;
	bool isolated;            /* bridge port: does not reach other isolated ports */
	bool hairpin;             /* bridge port: may get back what it sent */
	bool foreign;             /* only in dumps: not made by us (ours are in link group NETSTATE_PROTO); never deleted */
};

struct netstate_addr { /* key: link, address (with prefix) */
	char link[IFNAMSIZ];
	struct ipaddr addr;
};

/* Key: table, destination, type, link. Only routes that are in the set's own tables or marked with our protocol number
 * (NETSTATE_PROTO) are compared with the kernel's. */
#define NETSTATE_PROTO 94
struct netstate_route {
	uint32_t table;           /* 0 = main */
	struct ipaddr dst;        /* prefix 0 = default */
	bool local;               /* RTN_LOCAL in the local table (link "lo"), otherwise unicast */
	char link[IFNAMSIZ];
	struct ipaddr via;        /* none = on link */
	struct ipaddr src;        /* preferred source; none */
	bool onlink;
};

struct netstate_rule { /* key: all of it */
	uint8_t family;
	uint32_t priority, table;
	uint32_t fwmark, fwmask;  /* mask 0 = any */
};

struct netstate_neigh { /* permanent; key: link, address */
	char link[IFNAMSIZ];
	struct ipaddr addr;
	struct mac mac;
};

struct netstate_fdb { /* permanent, on the device itself; key: link, mac */
	char link[IFNAMSIZ];
	struct mac mac;
	struct ipaddr dst;        /* remote VTEP */
};

struct netstate_sysctl { /* key: name */
	char name[96];            /* "net/ipv4/conf/eth0/arp_ignore" */
	char value[32];
};

struct netstate_ipvs_service { /* key: protocol, address, port, or fwmark */
	uint8_t protocol;         /* IPPROTO_TCP, ... */
	uint16_t port;            /* 0 with an address: every port (persistent service of the kernel) */
	struct ipaddr addr;
	uint32_t fwmark;
	char scheduler[16];       /* "rr" */
};

struct netstate_ipvs_dest { /* key: service's key, address, port */
	uint8_t protocol;
	uint16_t service_port;
	struct ipaddr service;
	uint32_t fwmark;
	struct ipaddr addr;
	uint16_t port;
	uint32_t weight;          /* 0 = no new connections */
};

/* ESP between two VTEPs, transport mode, rfc4106(gcm(aes)), 128 bit ICV. Key: src, dst, spi. */
struct netstate_xfrm_state {
	struct ipaddr src, dst;
	uint32_t spi;
	uint8_t key[20];
	uint32_t reqid;
};

/* Key: direction, src, dst, mark. Selects UDP to the VXLAN port with this mark. */
struct netstate_xfrm_policy {
	bool out;
	struct ipaddr src, dst;
	uint16_t port;
	uint32_t mark, mask;
	uint32_t spi, reqid;
	bool required;
};

struct netstate_entry {
	enum netstate_kind kind;
	union {
		struct netstate_link link;
		struct netstate_addr addr;
		struct netstate_route route;
		struct netstate_rule rule;
		struct netstate_neigh neigh;
		struct netstate_fdb fdb;
		struct netstate_sysctl sysctl;
		struct netstate_ipvs_service ipvs_service;
		struct netstate_ipvs_dest ipvs_dest;
		struct netstate_xfrm_state xfrm_state;
		struct netstate_xfrm_policy xfrm_policy;
	};
};

struct netstate;

struct netstate *netstate_new(void);
void netstate_free(struct netstate *s);

/* Put an entry (one with the same key is replaced); true when something changed. */
bool netstate_put(struct netstate *s, const struct netstate_entry *e);
/* Take the one with this key away; true when it was there. */
bool netstate_del(struct netstate *s, const struct netstate_entry *key);
const struct netstate_entry *netstate_get(const struct netstate *s, const struct netstate_entry *key);
size_t netstate_count(const struct netstate *s);
/* Each entry in no particular order; false from the callback ends it. */
void netstate_each(const struct netstate *s, bool (*cb)(void *data, const struct netstate_entry *e), void *data);

/* ---- differences */

struct netstate_op {
	bool del;                     /* else: make it so (add or change) */
	struct netstate_entry entry;
	bool replaces;                /* there is one with this key that differs: `old` */
	struct netstate_entry old;
};
struct netstate_ops {
	struct netstate_op *v;
	size_t n;
};
void netstate_ops_fini(struct netstate_ops *ops);

/* What was put and deleted since the last call, netted, in an order in which the kernel takes it (deletions first,
 * links before what stands on them). Cost: the number of changes, not of entries. A link that has to be made anew (other
 * kind, VNI, parent, ...) is deleted and added, and what stands on it added again. */
void netstate_take_changes(struct netstate *s, struct netstate_ops *ret);
/* From `have` to `want`, same order; only entries of kinds in the mask (1 << kind). What is in `have` only is deleted,
 * except foreign links and sysctls. */
void netstate_diff(const struct netstate *want, const struct netstate *have, unsigned kinds, struct netstate_ops *ret);

/* "fdb", "neighbour", ...; and the entry for people: "02:42:0a:00:01:05 dev vx0 dst 10.77.0.2". */
const char *netstate_kind_name(enum netstate_kind kind);
#define NETSTATE_ENTRY_TEXT_MAX 256
const char *netstate_entry_text(const struct netstate_entry *e, char buf[static NETSTATE_ENTRY_TEXT_MAX]);
