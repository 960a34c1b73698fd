#include "net_internal.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#define TASK_PREFIX "task-"
#define LEFTOVERS_MAX 10000
#define MTU_DEFAULT 1500

/* ---------------------------------------------------------------- what the kernel can do, what is there */

/* br_netfilter may come at any time: others load it. */
struct bridge_nf {
	bool there, on;
};

static struct bridge_nf read_bridge_nf(void)
{
	_cleanup_free_ char *text = NULL;
	struct bridge_nf nf = {.there = file_read("/proc/sys/net/bridge/bridge-nf-call-iptables", 64, &text, NULL, NULL) == 0};

	nf.on = nf.there && *text == '1';
	return nf;
}

static void set_bridge_nf(struct net *n, const struct bridge_nf *nf)
{
	if (n->self.bridge_nf != nf->there || n->self.bridge_nf_on != nf->on)
		n->host_rebuild = true;
	n->self.bridge_nf = nf->there;
	n->self.bridge_nf_on = nf->on;
}

struct probe {
	struct bridge_nf bridge_nf;
	struct net *net;
	char *dir;
	struct ipaddr subnet4, subnet6;
	struct netns_features features;
	struct error err;
	struct leftover *found;
	struct plan_forward *forwards;
	size_t n_forwards;
};

struct gateway_search {
	const struct ipaddr *subnet;
	struct ipaddr *ret;
};

static bool is_gateway_address(void *data, const struct netstate_entry *e)
{
	struct gateway_search *s = data;

	if (e->kind != NETSTATE_ADDR || !ipaddr_contains(s->subnet, &e->addr.addr))
		return true;
	*s->ret = e->addr.addr;
	return false;
}

static void read_gateway(const char *path, const struct ipaddr *subnet, struct ipaddr *ret)
{
	struct gateway_search search = {subnet, ret};
	struct netstate *have = netstate_new();
	struct netns *ns = netns_open(path, NULL, NULL);

	if (ns && netns_dump(ns, 1u << NETSTATE_ADDR, NULL, have, NULL) == 0)
		netstate_each(have, is_gateway_address, &search);
	netns_close(ns);
	netstate_free(have);
}

static void find_leftovers(struct probe *p)
{
	DIR *dir = opendir(p->dir);
	struct dirent *entry;
	unsigned n = 0;

	while (dir && (entry = readdir(dir)) && n++ < LEFTOVERS_MAX) {
		struct leftover *l;
		_cleanup_free_ char *path = NULL;

		if (*entry->d_name == '.')
			continue;
		l = xnew(struct leftover);
		l->name = xstrdup(entry->d_name);
		path = xasprintf("%s/%s", p->dir, l->name);
		if (str_starts(l->name, TASK_PREFIX))
			read_gateway(path, &p->subnet4, &l->gateway4);
		HASH_ADD_KEYPTR(hh, p->found, l->name, strlen(l->name), l);
	}
	if (dir)
		closedir(dir);
}

/* Of one family and table; both families' have the same number. */
static bool add_forward(void *data, const struct netstate_entry *e)
{
	struct probe *p = data;
	struct plan_forward *f;

	if (e->kind != NETSTATE_ROUTE || e->route.table != PLAN_TABLE || e->route.dst.family != AF_INET ||
	    e->route.dst.prefix != 32 || !ipaddr_is_set(&e->route.via) || !ipaddr_contains(&p->subnet4, &e->route.dst))
		return true;
	p->forwards = xreallocarray(p->forwards, p->n_forwards + 1, sizeof(*p->forwards));
	f = &p->forwards[p->n_forwards++];
	*f = (struct plan_forward){.own4 = e->route.dst, .via4 = e->route.via};
	return true;
}

struct forward_search {
	const struct ipaddr *own6;
	struct ipaddr *ret;
};

static bool is_forward6(void *data, const struct netstate_entry *e)
{
	struct forward_search *s = data;

	if (e->kind == NETSTATE_ROUTE && e->route.table == PLAN_TABLE && ipaddr_same_host(&e->route.dst, s->own6))
		*s->ret = e->route.via;
	return true;
}

static void find_forwards(struct probe *p, struct netns *ns)
{
	struct netstate *have = netstate_new(), *want = netstate_new();
	struct netstate_entry table = {.kind = NETSTATE_ROUTE, .route = {.table = PLAN_TABLE, .link = PLAN_INGRESS_LINK}};

	table.route.dst.family = AF_INET;
	netstate_put(want, &table);
	table.route.dst.family = AF_INET6;
	netstate_put(want, &table);
	if (netns_dump(ns, 1u << NETSTATE_ROUTE, want, have, NULL) == 0)
		netstate_each(have, add_forward, p);
	for (size_t i = 0; i < p->n_forwards && ipaddr_is_set(&p->subnet6); i++) {
		struct plan_forward *f = &p->forwards[i];
		struct forward_search search = {&f->own6, &f->via6};

		f->own6 = ipaddr_nth(&p->subnet6, ipaddr_index(&p->subnet4, &f->own4));
		netstate_each(have, is_forward6, &search);
	}
	netstate_free(have);
	netstate_free(want);
}

static void probe(void *data, struct netns *ns, struct error *err)
{
	struct probe *p = data;

	netns_probe(&p->features, &p->err);
	p->bridge_nf = read_bridge_nf();
	find_leftovers(p);
	find_forwards(p, ns);
}

static int choose_balancer(struct net *n, struct error *err)
{
	if (!n->features.nftables)
		return error_set(err, ERR_PRECONDITION, "networks: the kernel has no nftables (CONFIG_NF_TABLES)");
	if (str_empty(n->balancer) || str_eq(n->balancer, "auto")) {
		n->self.ipvs = n->features.ipvs;
		return 0;
	}
	n->self.ipvs = str_eq(n->balancer, "ipvs");
	if (!n->self.ipvs && !str_eq(n->balancer, "nftables"))
		return error_set(err, ERR_INVALID, "balancer \"%s\": auto, ipvs and nftables are accepted", n->balancer);
	if (n->self.ipvs && !n->features.ipvs)
		return error_set(err, ERR_PRECONDITION, "balancer ipvs: the kernel has none (module ip_vs)");
	return 0;
}

static void probed(void *data, struct work_job *job, const struct error *err)
{
	struct probe *p = data;
	struct net *n = p->net;
	struct leftover *l, *next;
	struct ipaddr unused;

	n->features = p->features;
	set_bridge_nf(n, &p->bridge_nf);
	n->self.egress = p->features.nft_egress;
	n->leftovers = p->found;
	HASH_ITER(hh, n->leftovers, l, next)
		if (ipaddr_is_set(&l->gateway4))
			gateway_ipam_reserve(&n->ipam, &l->gateway4, &unused);
	for (size_t i = 0; i < p->n_forwards; i++)
		forward_found(n, &p->forwards[i]);
	free(p->forwards);
	if (!error_is_set(&n->error) && err)
		n->error = *err;
	if (!error_is_set(&n->error) && error_is_set(&p->err))
		n->error = p->err;
	if (!error_is_set(&n->error))
		choose_balancer(n, &n->error);
	n->failed = error_is_set(&n->error);
	n->ready = true;
	free(p->dir);
	free(p);
	if (net_closing(n))
		return;
	log_info("network_probe", kv_str("balancer", n->self.ipvs ? "ipvs" : "nftables"),
		 kv_bool("vxlan", n->features.vxlan), kv_u64("found", HASH_COUNT(n->leftovers)));
	n->on_ready(n->on_ready_data, n->failed ? &n->error : NULL);
	heal_slow_start(n);
	net_advance(n);
}

void start_probe(struct net *n)
{
	struct work_job *job = work_job_new();
	struct probe *p = xnew(struct probe);

	p->net = n;
	p->dir = xstrdup(n->dir);
	p->subnet4 = n->ipam.subnet4;
	p->subnet6 = n->ipam.subnet6;
	work_call(job, NULL, probe, p);
	work_run(n->work, job, probed, p);
}

/* ---------------------------------------------------------------- the underlay */

struct link_search {
	bool keep_ra;
	struct bridge_nf bridge_nf;
	struct net *net;
	struct ipaddr address;
	unsigned generation;
	uint32_t mtu;
	char name[IFNAMSIZ];
	struct error err;
};

/*
 * A host that forwards IPv6 takes no router advertisements, unless told to (accept_ra = 2, Linux
 * Documentation/networking/ip-sysctl.rst): one that gets its address or its default route so keeps them. Before
 * forwarding is turned on; "default" is among them, for links that come later.
 */
static void keep_router_advertisements(void)
{
	DIR *dir = opendir("/proc/sys/net/ipv6/conf");
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		_cleanup_free_ char *path = NULL, *text = NULL, *forwards = NULL, *forwarding = NULL;
		_cleanup_close_ int fd = -1;

		if (*entry->d_name == '.' || str_eq(entry->d_name, "all") || str_starts(entry->d_name, "skein") ||
		    str_starts(entry->d_name, PLAN_BRIDGE_PREFIX))
			continue;
		path = xasprintf("/proc/sys/net/ipv6/conf/%s/accept_ra", entry->d_name);
		forwarding = xasprintf("/proc/sys/net/ipv6/conf/%s/forwarding", entry->d_name);
		if (file_read(path, 16, &text, NULL, NULL) < 0 || *text != '1')
			continue;
		if (file_read(forwarding, 16, &forwards, NULL, NULL) < 0 || *forwards != '0')
			continue; /* a router already: it hears what its operator wants */
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd >= 0 && write(fd, "2", 1) != 1)
			continue; /* the link has just gone */
	}
	if (dir)
		closedir(dir);
}

static void find_link(void *data, struct netns *ns, struct error *err)
{
	struct link_search *s = data;

	if (s->keep_ra)
		keep_router_advertisements();
	s->bridge_nf = read_bridge_nf();
	netns_link_of_address(ns, &s->address, s->name, &s->mtu, &s->err);
}

static void link_found(void *data, struct work_job *job, const struct error *err)
{
	struct link_search *s = data;
	struct net *n = s->net;
	uint32_t mtu = error_is_set(&s->err) || !s->mtu ? MTU_DEFAULT : s->mtu;
	bool first = !n->link_known, current = s->generation == n->address_generation;

	if (error_is_set(&s->err) && first)
		log_warn("underlay", kv_err(&s->err), kv_u64("mtu_assumed", mtu));
	set_bridge_nf(n, &s->bridge_nf);
	free(s);
	if (net_closing(n) || !current || n->leaving || (!first && mtu == n->self.underlay_mtu && !n->host_rebuild))
		return;
	n->self.underlay_mtu = mtu;
	n->link_known = true;
	n->host_rebuild = true;
	overlay_refresh_all(n);
	attached_refresh_all(n);
	net_advance(n);
	net_tick_start(n); /* namespaces are prepared */
}

void start_find_link(struct net *n)
{
	struct work_job *job = work_job_new();
	struct link_search *s = xnew(struct link_search);

	s->net = n;
	s->address = n->self.address;
	s->keep_ra = ipaddr_is_set(&n->self.gateway6);
	s->generation = ++n->address_generation;
	work_call(job, NULL, find_link, s);
	work_run(n->work, job, link_found, s);
}

/* ---------------------------------------------------------------- what an earlier agent left */

struct leftover *leftover_find(const struct net *n, const char *name)
{
	struct leftover *l;

	HASH_FIND_STR(n->leftovers, name, l);
	return l;
}

void leftover_free(struct net *n, struct leftover *l)
{
	HASH_DEL(n->leftovers, l);
	free(l->name);
	free(l);
}

static bool is_claimed(struct net *n, const char *name)
{
	struct attached *a = NULL, *next;

	if (str_starts(name, TASK_PREFIX)) {
		HASH_FIND_STR(n->attached, name + strlen(TASK_PREFIX), a);
		return a;
	}
	/* A task may still wait to be told of its network. */
	HASH_ITER(hh, n->attached, a, next)
		if (attached_in(a, name))
			return true;
	return overlay_find(n, name) != NULL;
}

void start_drop_unclaimed(struct net *n)
{
	struct work_job *job = work_job_new();
	struct leftover *l, *next;

	n->claimed = true;
	HASH_ITER(hh, n->leftovers, l, next) {
		_cleanup_free_ char *path = xasprintf("%s/%s", n->dir, l->name);

		if (!is_claimed(n, l->name)) {
			log_info("net_dropped", kv_str("namespace", l->name));
			work_destroy(job, path);
			if (ipaddr_is_set(&l->gateway4))
				gateway_ipam_give(&n->ipam, &l->gateway4);
		}
		leftover_free(n, l);
	}
	work_run(n->work, job, NULL, NULL);
}
