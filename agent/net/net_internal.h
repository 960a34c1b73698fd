/*
 * net_internal - what the files of agent/net share: the node's networks as the loop sees them.
 *
 *   net.c      life, messages, one flush per change
 *   host.c     the host's part: skein0, skein-in, published ports
 *   overlay.c  namespaces of overlay networks
 *   attach.c   tasks: from waiting for their networks to their end; attach_plan.c: what they need
 *   spares.c   namespaces made ahead of tasks; names.c: sockets for names in namespaces of tasks
 *   await.c    until a started task listens; drain.c: until a task's last connection; stale.c: flows that nobody answers
 *   gate.c     a task that moves: shut, cut, opened
 *   flows.c    what the kernel knows of its connections, taken along; forward.c: what still comes by the node that it left
 *   start.c    what the kernel can do, what an earlier agent left
 *   heal.c     watching and repairing; check.c: the same, asked for
 *
 * A space is a namespace with what it should hold. Everything that changes puts its wishes into spaces and texts;
 * net_flush() makes one job of all that has changed.
 */
#pragma once
#include "dns.h"
#include "gateway_ipam.h"
#include "model.h"
#include "net.h"
#include "plan.h"
#include "work.h"

#include "common/loop.h"
#include "netoverlay/conntrack.h"
#include "netoverlay/netns.h"

#include <sys/queue.h>
#include <uthash.h>

#define NET_SYNC_KINDS_OVERLAY                                                                                          \
	(1u << NETSTATE_LINK | 1u << NETSTATE_ADDR | 1u << NETSTATE_ROUTE | 1u << NETSTATE_NEIGH | 1u << NETSTATE_FDB | \
	 1u << NETSTATE_SYSCTL)
#define NET_SYNC_KINDS_IPVS (1u << NETSTATE_IPVS_SERVICE | 1u << NETSTATE_IPVS_DEST)
#define NET_SYNC_KINDS_HOST                                                                                             \
	(NET_SYNC_KINDS_OVERLAY | 1u << NETSTATE_RULE)
/* Only while a network here is encrypted. */
#define NET_SYNC_KINDS_XFRM (1u << NETSTATE_XFRM_STATE | 1u << NETSTATE_XFRM_POLICY)

struct space {
	char *path;            /* NULL = host */
	struct netstate *want;
	struct strbuf text;    /* ruleset changes of the next job */
	bool fresh;            /* make it in the next job */
	struct netns *prepared; /* of this (plan_task_prepared() is so there already); NULL = from nothing */
	bool sync;             /* an earlier agent may have left things there: compare in the next job */
	bool fill;             /* the next job's ruleset fills the host's table anew */
};

/* A service's address in an overlay network, for the rulesets of its tasks (balancer nftables). */
struct vip_slot {
	UT_hash_handle hh;
	TAILQ_ENTRY(vip_slot) dirty_link;
	struct ipaddr addr;    /* key: whole, zeroed behind its bytes */
	bool programmed, dirty;
};

/* An overlay network that has, or had just now, a task here. */
struct overlay {
	UT_hash_handle hh;
	struct net *net;
	char *id;
	struct space space;
	struct plan_net facts;
	struct vip_slot *slots;
	TAILQ_HEAD(, vip_slot) dirty;
	struct ipaddr *gone;   /* addresses of endpoints that have just gone: flows to them are forgotten */
	size_t n_gone;
	unsigned n_tasks;
	int64_t idle_since;    /* mono ns; 0 = it has tasks */
	struct heal *heal;
};

/* A published port, in the routing mesh or of this host. */
struct port_slot {
	UT_hash_handle hh;
	TAILQ_ENTRY(port_slot) dirty_link;
	struct port_key {
		struct plan_published published;
		bool host;
	} key;                 /* zeroed */
	bool programmed, dirty;
};

enum attached_state {
	ATTACHED_WAITING,      /* for networks that are not known yet */
	ATTACHED_MAKING,
	ATTACHED_FOUND,        /* an earlier agent's: it works, its plan is not known yet */
	ATTACHED_UP,
	ATTACHED_DROPPING,
};

struct attached {
	UT_hash_handle hh;
	struct net *net;
	pb_task *task;
	char *id;
	enum attached_state state;
	struct space space;
	struct plan_task plan;
	struct own_vip {
		struct ipaddr vip, home;
	} *own_vips;           /* programmed ones of its service, and its own address there */
	size_t n_own_vips;
	bool planned, table, own_dirty; /* table: it has one that balances */
	enum net_gate gate;
	bool here;             /* shut, but the cluster's endpoint is here already: what comes is kept where the kernel can */
	struct ipaddr inner4, inner6; /* by which it knows itself towards the host, where it has moved here */
	struct plan_came came;
	struct mac *direct;    /* endpoints' that a balancer of another node chose (plan_moved_task()) */
	size_t n_direct;
	int64_t unplug_at;     /* what kept it may go; mono ns, 0 = nothing did */
	bool open_names;       /* the next job opens its sockets for names */
	struct ipaddr gateway4, gateway6;
	struct net_attachment attachment;
	char *resolv_conf;
	int64_t deadline;      /* of waiting, mono ns */
	/* callbacks; NULL = nobody waits */
	net_attach_cb attach_cb;
	void *attach_data;
	struct drain {
		net_done_cb cb;
		void *data;
		int64_t not_before, quiet_until, until; /* mono ns */
		bool asking, counted;
		bool closed;       /* no new connection gets in any more */
		unsigned left;     /* counted: connections, and how many there have ever been */
		uint64_t accepted, accepted_before;
	} drain;
	struct await {
		LIST_ENTRY(await) link; /* while cb is set */
		net_ready_cb cb;
		void *data;
		uint16_t *exposed; /* of the image */
		size_t n_exposed;
		uint16_t *ports;   /* looked for, and whether they were found */
		bool *listening;
		size_t n;
		bool any;          /* one of them is enough */
		bool asking;
		int64_t due, until, delay;
	} await;
	net_done_cb detach_cb;
	void *detach_data;
	bool detach_asked;     /* while it was being made */
	bool adopting;         /* its names are being opened anew */
	struct dns_sockets sockets; /* of the worker, while a job is under way */
};

/* What an earlier agent left: found at the start. */
struct leftover {
	UT_hash_handle hh;
	char *name;            /* of the file: network id, "task-<id>" */
	struct ipaddr gateway4;
};

struct host_facts {            /* what the host's plan stands on */
	bool base, ingress;
	uint32_t own_index;
	struct plan_net ingress_net;
};

struct net {
	uv_loop_t *loop;
	char *state_dir, *dir; /* <run_dir>/net */
	char *node_id, *balancer;
	struct plan_self self;
	struct netns_features features;
	struct gateway_ipam ipam;
	struct model *model;
	struct dns *dns;
	struct work *work;

	struct space host;
	struct host_facts host_facts;
	struct plan_net *host_nets; /* bridge and vlan networks in force */
	unsigned *host_net_users;
	size_t n_host_nets;
	bool host_rebuild, host_programmed;
	struct conntrack_flow *host_gone; /* flows that the host forgets in the next job */
	size_t n_host_gone;
	TAILQ_HEAD(, stale) stale;
	LIST_HEAD(, await) awaited;
	LIST_HEAD(, forward) forwards;
	bool was_ready;        /* the endpoint that is being changed */
	struct strv left;      /* service, node, task: the service may have lost its last ready task there */
	struct strv came;      /* tasks whose connections others go on with */
	bool host_changed;     /* outside of a message: to be flushed */
	struct port_slot *ports;
	TAILQ_HEAD(, port_slot) dirty_ports;
	struct heal *host_heal;

	struct overlay *overlays;
	struct attached *attached;
	struct leftover *leftovers;
	struct {
		STAILQ_HEAD(, spare) list;
		unsigned n;
		bool making, failed;
	} spares;

	bool ready, failed, link_known, leaving, claimed;
	struct error error;
	void (*on_ready)(void *data, const struct error *err);
	void *on_ready_data;
	net_done_cb leave_cb;
	void *leave_data;
	unsigned address_generation;
	int64_t slow_due;      /* of the slow check, mono ns */
	int64_t complete_at;   /* mono ns of the first complete state */
	uv_timer_t tick, heal_timer, await_timer;
	struct closer closer;
	void (*closed)(void *data);
	void *closed_data;
};

/* ---- net.c */

void space_init(struct space *s, const char *path);
void space_fini(struct space *s);
/* Take wishes over: what `fresh` lacks goes. fresh is freed. */
void space_replace(struct space *s, struct netstate *fresh);
static inline struct plan_out space_out(struct space *s, bool del)
{
	return (struct plan_out){s->want, del};
}
/* One job of everything that has changed; done may be NULL. */
void net_flush(struct net *n, work_done_cb done, void *data);
/* What may go on now does. */
void net_advance(struct net *n);
/* The tick is wanted: something has a deadline. */
void net_tick_start(struct net *n);
struct netstate *net_copy(const struct netstate *s);
static inline bool net_closing(const struct net *n)
{
	return n->closer.closing;
}
/* Our place in the ingress network; 0 = not known. */
uint32_t net_own_index(const struct net *n);

/* ---- host.c */

bool host_wanted(const struct net *n);
/* The host's wishes from the start, when what they stand on has changed. */
void host_refresh(struct net *n);
void host_port_dirty(struct net *n, const char *protocol, uint32_t published, bool host);
void host_service_dirty(struct net *n, const struct model_service *s);
/* Texts of dirty ports into the host's space. */
void host_flush(struct net *n);
/* These flows are forgotten behind the rulesets of the next job. */
void host_forget(struct net *n, const struct conntrack_flow *flow);
void host_endpoint(struct net *n, const struct model_endpoint *e, bool appears);
/* The whole ruleset. */
char *host_ruleset(struct net *n);
/* A network has got, or lost, its namespace here. */
void host_overlay(struct net *n, const struct plan_net *net, bool appears);
/* The network itself changes (keys). */
void host_network(struct net *n, const struct model_network *network, bool appears);
void host_node_esp(struct net *n, const struct model_node *node, bool appears);
void host_net_use(struct net *n, const struct plan_net *net);
void host_net_release(struct net *n, const struct plan_net *net);
void host_leave(struct net *n, struct work_job *job);
void host_free(struct net *n);

/* ---- overlay.c */

struct overlay *overlay_find(const struct net *n, const char *network_id);
/* Make it when it is not there; counts a task. */
struct overlay *overlay_use(struct net *n, const struct model_network *network);
void overlay_release(struct overlay *o);
void overlay_service(struct net *n, struct model_service *s, bool appears);
void overlay_endpoint(struct net *n, struct model_endpoint *e, bool appears);
void overlay_node(struct net *n, struct model_node *node, bool appears);
void overlay_network(struct net *n, struct model_network *network);
void overlay_own_index_changed(struct net *n);
/* Our address or the underlay's MTU has changed. */
void overlay_refresh_all(struct net *n);
/* Addresses that have gone: yours, and no longer known here. */
struct ipaddr *overlay_take_gone(struct overlay *o, size_t *ret_n);
/* Tasks in the network forget these flows. */
void overlay_forget(struct overlay *o, struct work_job *job, const struct conntrack_flow *v, size_t n);
/* Forget what is dirty: every ruleset has it. */
void overlay_flushed(struct overlay *o);
/* Drop those that nobody has needed for a while; all = all. True: some are still waited for. */
bool overlay_expire(struct net *n, struct work_job *job, int64_t now, bool all);
void overlay_free(struct overlay *o);
unsigned overlay_kinds(const struct net *n);

/* ---- attach_plan.c: what a task needs in every namespace that it touches */

#define NET_PREDEFINED_BRIDGE "bridge" /* the gateway interface alone */
/* Is all known that its plan needs? false with an error: it cannot be had; without: not yet. */
bool attached_is_known(const struct attached *a, struct error *err);
/* Wishes into every space. On error attached_unplan() still takes back what there is. */
int attached_plan(struct attached *a, struct error *err);
void attached_unplan(struct attached *a);

/* ---- attach.c */

void attached_advance(struct attached *a);
/* Texts of what has changed for its ruleset into its space. */
void attached_flush(struct attached *a);
char *attached_ruleset(struct attached *a);
void attached_service(struct net *n, struct model_service *s, bool appears);
void attached_endpoint(struct net *n, struct model_endpoint *e);
/* The underlay's MTU has changed; after overlay_refresh_all(). */
void attached_refresh_all(struct net *n);
/* Deadlines and drains; true: there are more. */
bool attached_tick(struct attached *a, int64_t now);
void attached_free(struct attached *a);
bool attached_in(const struct attached *a, const char *network_id);

/* ---- spares.c */

void spares_init(struct net *n);
/* Make one when there is time for it; true: more are wanted. */
bool spares_tick(struct net *n);
/* A namespace, not bound yet, and its sockets for names: yours. False: there is none now. */
bool spares_take(struct net *n, struct netns **ret_ns, struct dns_sockets *ret_sockets);
void spares_drop(struct net *n);

/* ---- names.c */

/* On the serial thread: sockets that answer. */
int names_open(struct netns *ns, struct dns_sockets *ret, struct error *err);
void attached_open_names(void *data, struct netns *ns, struct error *err);
/* A socket that asks (dns_open_cb; data: the net). */
void names_open_inside(void *data, const char *task_id, int family, int type, dns_opened_cb done, void *done_data);
struct attached *attached_find(const struct net *n, const char *task_id);
/* cb from the loop, never from inside this. */
void net_done_later(struct net *n, net_done_cb cb, void *data);

/* ---- drain.c */

/* It is over, one way or the other: cb. */
void drain_end(struct attached *a);
void drain_tick(struct attached *a, int64_t now);
/* Its namespace is taken over. */
void drain_open_door(struct attached *a, struct work_job *job);

/* ---- gate.c */

/* Its endpoint may have come or gone. */
void gate_advance(struct attached *a);
/* An earlier agent's: what it kept back leaves, unless it is shut. */
void gate_adopt(struct attached *a);
/* True: there are more. */
bool gate_tick(struct attached *a, int64_t now);
/* It is behind a closed gate that nobody should knock at yet. */
bool gate_is_shut(const struct attached *a);

/* ---- flows.c */

/* An earlier agent's: where from, and by which addresses it knows itself. */
void flows_adopt(struct attached *a);
/* Who came from elsewhere, into the host's ruleset. */
void flows_texts(struct net *n, struct strbuf *text);
/* It leaves. */
void flows_drop(struct attached *a);

/* ---- forward.c */

void forward_advance(struct attached *a);
/* Its addresses towards the host are still spoken to. */
bool forward_keeps(const struct attached *a);
void forward_wishes(struct net *n, const struct plan_out *out);
void forward_texts(struct net *n, struct strbuf *text);
/* From time to time: those that nobody needs end. */
void forward_slow(struct net *n);
/* An earlier agent's. */
void forward_found(struct net *n, const struct plan_forward *plan);
void forward_free(struct net *n);

/* ---- await.c */

/* Nobody waits any more. */
void await_end(struct attached *a);
void await_fini(struct attached *a);

/* ---- stale.c */

/* Forget those flows that nobody has answered a little later; network_id NULL = in the host, else in its tasks. */
void stale_add(struct net *n, const char *network_id, const struct conntrack_flow *flow);
/* True: there are more. */
bool stale_tick(struct net *n, struct work_job *job, int64_t now);
void stale_free(struct net *n);

/* ---- start.c */

void start_probe(struct net *n);
void start_find_link(struct net *n);
/* Drop what nobody has claimed. */
void start_drop_unclaimed(struct net *n);
void leftover_free(struct net *n, struct leftover *l);
struct leftover *leftover_find(const struct net *n, const char *name);

/* ---- heal.c */

struct heal *heal_open(struct net *n, struct overlay *o); /* o NULL = host */
/* Behind the job that makes the namespace. */
void heal_watch(struct heal *h);
void heal_close(struct heal *h);
void heal_slow_start(struct net *n);
/* Something went wrong there: look soon. */
void heal_soon(struct heal *h);

/* What a space should hold, for work_sync(). */
struct work_sync sync_of_host(struct net *n, bool rulesets, bool repair);
struct work_sync sync_of_overlay(struct overlay *o, bool rulesets, bool repair);
struct work_sync sync_of_attached(struct attached *a, bool rulesets, bool repair);
/* A name for people. */
const char *net_name(const struct net *n, const char *network_id);
