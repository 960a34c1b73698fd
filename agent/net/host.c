#include "net_internal.h"

#include "common/log.h"
#include "common/mem.h"

#include <stdio.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* ---------------------------------------------------------------- what it holds */

bool host_wanted(const struct net *n)
{
	return n->ready && !n->failed && !n->leaving && n->link_known && model_complete(n->model);
}

static struct host_facts facts_of(const struct net *n)
{
	struct host_facts f;
	const struct model_network *ingress = model_ingress(n->model);

	memset(&f, 0, sizeof(f));
	f.base = host_wanted(n);
	f.own_index = net_own_index(n);
	f.ingress = f.base && ingress && ingress->vni && f.own_index && ipaddr_is_set(&ingress->subnet4) &&
		    n->features.vxlan && n->features.nft_egress;
	if (f.ingress)
		plan_net_of(&n->self, ingress, &f.ingress_net);
	return f;
}

struct each_node {
	struct net *net;
	struct plan_out out;
	struct strbuf *text;
};

static void put_node(void *data, struct model_node *node)
{
	struct each_node *each = data;
	struct net *n = each->net;
	struct model_network *ingress = model_ingress(n->model);

	if (each->out.set)
		plan_host_node(&each->out, &n->self, ingress, node);
	if (each->text && node->index && ipaddr_is_set(&node->address) && !str_eq(node->id, n->node_id))
		plan_ingress_node(each->text, ingress, node, true);
}

static void put_task_ports(struct net *n, const struct plan_out *out)
{
	struct attached *a, *next;

	HASH_ITER(hh, n->attached, a, next)
		for (size_t i = 0; a->planned && i < a->plan.n_ports; i++)
			plan_host_port(out, &n->self, &a->plan, &a->plan.ports[i]);
}

/* ---- encrypted networks: what they say to each node */

struct each_peer {
	struct net *net;
	struct plan_out out;
	const struct model_network *network;
};

static void put_peer(void *data, struct model_node *node)
{
	struct each_peer *each = data;

	plan_esp_node(&each->out, &each->net->self, each->network, node);
}

static void put_network_esp(struct net *n, const struct plan_out *out, const struct model_network *network)
{
	struct each_peer each = {n, *out, network};

	if (n->features.esp && network && network->encrypted)
		model_each_node(n->model, put_peer, &each);
}

static void put_all_esp(struct net *n, const struct plan_out *out)
{
	struct overlay *o, *next;

	HASH_ITER(hh, n->overlays, o, next)
		put_network_esp(n, out, model_network(n->model, o->id));
}

void host_overlay(struct net *n, const struct plan_net *net, bool appears)
{
	struct plan_out out = space_out(&n->host, !appears);

	if (!net->encrypted || !n->host_facts.base)
		return;
	put_network_esp(n, &out, model_network(n->model, net->id));
	n->host.fill = true; /* what came in the clear is dropped, or no longer */
}

void host_network(struct net *n, const struct model_network *network, bool appears)
{
	struct plan_out out = space_out(&n->host, !appears);

	if (n->host_facts.base && overlay_find(n, network->id))
		put_network_esp(n, &out, network);
}

void host_node_esp(struct net *n, const struct model_node *node, bool appears)
{
	struct plan_out out = space_out(&n->host, !appears);
	struct overlay *o, *next;

	if (!n->features.esp || !n->host_facts.base)
		return;
	HASH_ITER(hh, n->overlays, o, next) {
		const struct model_network *network = model_network(n->model, o->id);

		if (network)
			plan_esp_node(&out, &n->self, network, node);
	}
}

static uint32_t *encrypted_vnis(const struct net *n, size_t *ret_n)
{
	uint32_t *v = xcalloc(HASH_COUNT(n->overlays) + 1, sizeof(*v));
	struct overlay *o, *next;
	size_t count = 0;

	HASH_ITER(hh, n->overlays, o, next)
		if (o->facts.encrypted)
			v[count++] = o->facts.vni;
	*ret_n = count;
	return v;
}

static struct netstate *wishes(struct net *n)
{
	struct netstate *s = netstate_new();
	struct each_node each = {.net = n, .out = {.set = s}};

	if (!n->host_facts.base)
		return s;
	plan_host_base(&each.out, &n->self);
	if (n->host_facts.ingress) {
		plan_host_ingress(&each.out, &n->self, model_ingress(n->model), n->host_facts.own_index);
		model_each_node(n->model, put_node, &each);
	}
	for (size_t i = 0; i < n->n_host_nets; i++)
		plan_host_net(&each.out, &n->host_nets[i]);
	put_task_ports(n, &each.out);
	if (n->host_facts.ingress)
		forward_wishes(n, &each.out);
	put_all_esp(n, &each.out);
	return s;
}

void host_refresh(struct net *n)
{
	struct host_facts f = facts_of(n);
	bool first = f.base && !n->host_facts.base;
	bool other = memcmp(&f, &n->host_facts, sizeof(f)) != 0;

	if (!other && !n->host_rebuild)
		return;
	n->host_rebuild = false;
	if (!f.base)
		return; /* what stands goes on */
	n->host_facts = f;
	space_replace(&n->host, wishes(n));
	if (other)
		n->host.fill = true;
	if (first) {
		n->host.sync = true; /* an earlier agent's things are taken over */
		n->host_heal = heal_open(n, NULL);
	}
}

/* ---- networks of other drivers that stand in the host */

static struct plan_net *find_host_net(struct net *n, const char *id, size_t *ret_i)
{
	for (size_t i = 0; i < n->n_host_nets; i++) {
		*ret_i = i;
		if (str_eq(n->host_nets[i].id, id))
			return &n->host_nets[i];
	}
	return NULL;
}

static bool stands_in_host(const struct plan_net *net)
{
	return net->driver == NETWORK_BRIDGE || net->driver == NETWORK_VLAN;
}

static void masquerade_changes(struct net *n, const struct plan_net *net)
{
	if (net->driver == NETWORK_BRIDGE && !net->internal)
		n->host.fill = true;
}

void host_net_use(struct net *n, const struct plan_net *net)
{
	struct plan_out out = space_out(&n->host, false);
	size_t i;

	if (!stands_in_host(net))
		return;
	if (find_host_net(n, net->id, &i)) {
		n->host_net_users[i]++;
		return;
	}
	n->host_nets = xreallocarray(n->host_nets, n->n_host_nets + 1, sizeof(*n->host_nets));
	n->host_net_users = xreallocarray(n->host_net_users, n->n_host_nets + 1, sizeof(*n->host_net_users));
	n->host_nets[n->n_host_nets] = *net;
	n->host_net_users[n->n_host_nets++] = 1;
	plan_host_net(&out, net);
	masquerade_changes(n, net);
}

void host_net_release(struct net *n, const struct plan_net *net)
{
	struct plan_out out = space_out(&n->host, true);
	size_t i;

	if (!find_host_net(n, net->id, &i) || --n->host_net_users[i])
		return;
	plan_host_net(&out, &n->host_nets[i]);
	masquerade_changes(n, net);
	n->n_host_nets--;
	n->host_nets[i] = n->host_nets[n->n_host_nets];
	n->host_net_users[i] = n->host_net_users[n->n_host_nets];
}

/* ---------------------------------------------------------------- published ports */

void host_port_dirty(struct net *n, const char *protocol, uint32_t published, bool host)
{
	struct port_key key;
	struct port_slot *slot;

	if (!published || published > UINT16_MAX ||
	    !(str_eq(protocol, "tcp") || str_eq(protocol, "udp") || str_eq(protocol, "sctp")))
		return;
	memset(&key, 0, sizeof(key));
	snprintf(key.published.protocol, sizeof(key.published.protocol), "%s", protocol);
	key.published.published = (uint16_t)published;
	key.host = host;
	HASH_FIND(hh, n->ports, &key, sizeof(key), slot);
	if (!slot) {
		slot = xnew(struct port_slot);
		slot->key = key;
		HASH_ADD(hh, n->ports, key, sizeof(slot->key), slot);
	}
	if (slot->dirty)
		return;
	slot->dirty = true;
	TAILQ_INSERT_TAIL(&n->dirty_ports, slot, dirty_link);
}

void host_service_dirty(struct net *n, const struct model_service *s)
{
	for (size_t i = 0; s && s->pb && i < s->pb->n_ports; i++)
		host_port_dirty(n, s->pb->ports[i]->protocol, s->pb->ports[i]->published,
				s->pb->ports[i]->mode == PUBLISH_HOST);
}

static struct plan_local *locals_of(struct net *n, size_t *ret_n)
{
	struct plan_local *v = xcalloc(HASH_COUNT(n->attached) + 1, sizeof(*v));
	struct attached *a, *next;
	size_t count = 0;

	HASH_ITER(hh, n->attached, a, next) {
		if (!a->planned || a->state != ATTACHED_UP || a->drain.closed || !ipaddr_is_set(&a->gateway4) ||
		    gate_is_shut(a))
			continue;
		v[count++] = (struct plan_local){a->id, a->task->service_id, a->gateway4, a->gateway6};
	}
	*ret_n = count;
	return v;
}

static bool publishes(const struct model_service *s, const struct port_key *key)
{
	for (size_t i = 0; s && s->pb && i < s->pb->n_ports; i++) {
		const pb_port *p = s->pb->ports[i];

		if ((p->mode == PUBLISH_HOST) == key->host && p->published == key->published.published &&
		    str_eq(p->protocol, key->published.protocol))
			return true;
	}
	return false;
}

static bool port_wanted(struct net *n, const struct port_key *key, const struct plan_local *locals, size_t n_locals)
{
	if (!key->host)
		return n->host_facts.ingress &&
		       model_service_by_port(n->model, key->published.protocol, key->published.published);
	for (size_t i = 0; i < n_locals; i++)
		if (publishes(model_service(n->model, locals[i].service_id), key))
			return true;
	return false;
}

/* True: it is there now. */
static bool put_port(struct net *n, struct strbuf *text, const struct port_key *key, bool before,
		     const struct plan_local *locals, size_t n_locals)
{
	bool now = port_wanted(n, key, locals, n_locals);
	const struct plan_published *p = &key->published;

	if (key->host)
		plan_ingress_host_port(text, p, n->model, locals, n_locals, before, now);
	else
		plan_ingress_port(text, p, model_service_by_port(n->model, p->protocol, p->published), model_ingress(n->model),
				  n->node_id, locals, n_locals, before, now);
	return now;
}

static void slot_clean(struct net *n, struct port_slot *slot)
{
	if (slot->dirty)
		TAILQ_REMOVE(&n->dirty_ports, slot, dirty_link);
	slot->dirty = false;
	if (slot->programmed)
		return;
	HASH_DEL(n->ports, slot);
	free(slot);
}

static void mark_service(void *data, struct model_service *s)
{
	host_service_dirty(data, s);
}

char *host_ruleset(struct net *n)
{
	struct strbuf text = {0};
	_cleanup_free_ char *table = plan_ingress_table(&n->self, n->host_facts.ingress);
	_cleanup_free_ char *egress = n->host_facts.ingress ? plan_ingress_egress() : NULL;
	_cleanup_free_ struct plan_local *locals = NULL;
	_cleanup_free_ uint32_t *vnis = NULL;
	struct each_node each = {.net = n, .text = &text};
	struct port_slot *slot, *next;
	size_t n_locals, n_vnis;

	locals = locals_of(n, &n_locals);
	vnis = encrypted_vnis(n, &n_vnis);
	strbuf_puts(&text, table);
	for (size_t i = 0; i < n->n_host_nets; i++)
		plan_ingress_bridge(&text, &n->host_nets[i]);
	if (n->features.esp)
		plan_ingress_encrypted(&text, &n->self, vnis, n_vnis);
	strbuf_puts(&text, egress ? egress : "");
	if (n->host_facts.ingress)
		model_each_node(n->model, put_node, &each);
	forward_texts(n, &text);
	flows_texts(n, &text);
	HASH_ITER(hh, n->ports, slot, next)
		put_port(n, &text, &slot->key, false, locals, n_locals);
	return strbuf_take(&text);
}

/* Every port that there is becomes known; after it, what is in `ports` is what the whole ruleset has. */
static void fill(struct net *n)
{
	struct port_slot *slot, *next;
	_cleanup_free_ struct plan_local *locals = NULL;
	size_t n_locals;

	model_each_service(n->model, mark_service, n);
	locals = locals_of(n, &n_locals);
	strbuf_fini(&n->host.text);
	n->host.text.p = host_ruleset(n);
	n->host.text.len = strlen(n->host.text.p);
	n->host.text.cap = n->host.text.len + 1;
	HASH_ITER(hh, n->ports, slot, next) {
		slot->programmed = port_wanted(n, &slot->key, locals, n_locals);
		slot_clean(n, slot);
	}
	n->host_programmed = true;
}

/* ---- flows to whom is gone */

void host_forget(struct net *n, const struct conntrack_flow *flow)
{
	if (!ipaddr_is_set(&flow->address))
		return;
	n->host_gone = xreallocarray(n->host_gone, n->n_host_gone + 1, sizeof(*n->host_gone));
	n->host_gone[n->n_host_gone++] = *flow;
}

void host_endpoint(struct net *n, const struct model_endpoint *e, bool appears)
{
	if (appears && !str_empty(e->pb->migrated_from))
		strv_add(&n->came, e->pb->migrated_from);
	if (appears || !e->ready || !n->host_facts.ingress || str_eq(e->node->id, n->node_id) || !e->service->pb ||
	    !e->service->pb->n_ports)
		return;
	strv_add(&n->left, e->service->id);
	strv_add(&n->left, e->node->id);
	strv_add(&n->left, e->id);
}

static bool serves(const struct model_service *s, const struct model_node *node)
{
	const struct model_endpoint *e;

	LIST_FOREACH(e, &s->endpoints, of_service)
		if (e->ready && e->node == node)
			return true;
	return false;
}

/*
 * Connections end by themselves, but for those that are being begun; a client that keeps sending datagrams would have the
 * dead end for as long as it does.
 */
static void forget_flows(struct net *n, const struct model_service *s, const struct model_node *node)
{
	const struct model_network *ingress = model_ingress(n->model);
	static const int families[] = {AF_INET, AF_INET6};

	for (size_t i = 0; ingress && i < s->pb->n_ports; i++) {
		const pb_port *p = s->pb->ports[i];

		for (size_t f = 0; p->mode == PUBLISH_INGRESS && f < ARRAY_SIZE(families); f++) {
			struct conntrack_flow flow = {.address = plan_ingress_address(ingress, node->index, families[f]),
						      .port = (uint16_t)p->published};

			if (str_eq(p->protocol, "udp")) {
				flow.protocol = IPPROTO_UDP;
				host_forget(n, &flow);
			} else if (str_eq(p->protocol, "tcp")) {
				flow.protocol = IPPROTO_TCP;
				stale_add(n, NULL, &flow);
			}
		}
	}
}

static void flush_left(struct net *n)
{
	for (size_t i = 0; i + 2 < n->left.n; i += 3) {
		const struct model_service *s = model_service(n->model, n->left.v[i]);
		const struct model_node *node = model_node(n->model, n->left.v[i + 1]);

		/* One that has moved takes its connections along. */
		if (s && node && !serves(s, node) && !strv_has(&n->came, n->left.v[i + 2]))
			forget_flows(n, s, node);
	}
	strv_fini(&n->left);
	strv_fini(&n->came);
}

void host_flush(struct net *n)
{
	_cleanup_free_ struct plan_local *locals = NULL;
	struct port_slot *slot;
	size_t n_locals;

	flush_left(n);
	if (!n->host_facts.base)
		return;
	if (n->host.fill || n->host.sync) {
		fill(n);
		return;
	}
	if (TAILQ_EMPTY(&n->dirty_ports))
		return;
	locals = locals_of(n, &n_locals);
	while ((slot = TAILQ_FIRST(&n->dirty_ports))) {
		slot->programmed = put_port(n, &n->host.text, &slot->key, slot->programmed, locals, n_locals);
		slot_clean(n, slot);
	}
}

struct work_sync sync_of_host(struct net *n, bool rulesets, bool repair)
{
	struct work_sync s = {.want = net_copy(n->host.want), .kinds = NET_SYNC_KINDS_HOST, .owns = plan_host_owns,
			      .fill = true, .repair = repair};
	size_t n_vnis;

	free(encrypted_vnis(n, &n_vnis));
	if (n->features.esp && n_vnis)
		s.kinds |= NET_SYNC_KINDS_XFRM;

	if (rulesets)
		s.text = host_ruleset(n);
	return s;
}

/* ---------------------------------------------------------------- end */

static void forget_ports(struct net *n)
{
	struct port_slot *slot, *next;

	HASH_ITER(hh, n->ports, slot, next) {
		slot->programmed = false;
		slot_clean(n, slot);
	}
}

void host_leave(struct net *n, struct work_job *job)
{
	struct netstate_ops ops = {0};

	forget_ports(n);
	forward_free(n);
	if (!n->host_facts.base)
		return;
	memset(&n->host_facts, 0, sizeof(n->host_facts));
	n->host_programmed = false;
	work_unwatch(n->work, NULL);
	heal_close(n->host_heal);
	n->host_heal = NULL;
	space_replace(&n->host, netstate_new());
	netstate_take_changes(n->host.want, &ops);
	work_apply(job, NULL, &ops);
	strbuf_fini(&n->host.text);
	work_nft(job, NULL, xstrdup("add table inet skein\ndelete table inet skein\n"), false);
	if (n->features.nft_egress)
		work_nft(job, NULL, xstrdup("add table netdev skein\ndelete table netdev skein\n"), false);
}

void host_free(struct net *n)
{
	forget_ports(n);
	forward_free(n);
	heal_close(n->host_heal);
	strv_fini(&n->left);
	strv_fini(&n->came);
	free(n->host_gone);
	space_fini(&n->host);
	free(n->host_nets);
	free(n->host_net_users);
}
