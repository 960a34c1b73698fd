/* sim - a random cluster, and what holds in it whatever happens. */
#pragma once
#include "support/rounds.h"

#include "manager/allocator/pools.h"

#include "common/ipaddr.h"

#include <sys/socket.h>

#define NODES 8
#define SERVICES 5
#define STEPS 400
#define REPLICAS_MAX 8

struct sim {
	struct rounds r;
	uint64_t rng;
	unsigned trouble; /* per mille that things go wrong */
	unsigned next_node;
	unsigned generation[SERVICES]; /* an id is never used twice */
	uint64_t next_env;
	size_t scarce; /* times that a task was seen waiting for an address */
};

/* splitmix64 */
static inline uint64_t draw(struct sim *s)
{
	uint64_t z = s->rng += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static inline uint64_t below(struct sim *s, uint64_t n)
{
	return draw(s) % n;
}

static inline bool chance(struct sim *s, unsigned per_mille)
{
	return below(s, 1000) < per_mille;
}

/* ---- invariants */

static inline bool may_run_twice(const pb_service *service)
{
	return service && service->spec->update->order == SKEIN__UPDATE_ORDER__START_FIRST;
}

static inline bool same_slot(const pb_service *service, const pb_task *a, const pb_task *b)
{
	return service_is_global(service) ? str_eq(a->node_id, b->node_id) : a->slot == b->slot;
}

/* A task is started: none that is being stopped may still run in its slot on a node that is up. */
static inline void check_start(struct sim *s, const pb_task *task)
{
	const pb_service *service = view_service(s->r.view, task->service_id);
	size_t n;
	const pb_task **tasks;

	if (s->r.now - task_created_at(task) >= PLAN_WAIT_FOR_OLD_NS || may_run_twice(service))
		return;
	tasks = view_tasks_of_service(s->r.view, task->service_id, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_node *node = view_node(s->r.view, tasks[i]->node_id);

		if (tasks[i] != task && same_slot(service, tasks[i], task) && node)
			assert_true(!task_on_node(tasks[i]) || node_state(node) == NODE_DOWN);
	}
	free(tasks);
}

/* A service keeps its address in a network for as long as it has one there. */
static inline void check_vips(const pb_service *old, const pb_service *now)
{
	for (size_t i = 0; old->endpoint && i < old->endpoint->n_vips; i++)
		for (size_t k = 0; now->endpoint && k < now->endpoint->n_vips; k++)
			if (str_eq(old->endpoint->vips[i]->network_id, now->endpoint->vips[k]->network_id))
				assert_string_equal(old->endpoint->vips[i]->ipv4, now->endpoint->vips[k]->ipv4);
}

/* What a task has been given it has until its end. */
static inline void check_attachments(const pb_task *old, const pb_task *now)
{
	if (!old->n_networks)
		return;
	assert_int_equal(old->n_networks, now->n_networks);
	for (size_t i = 0; i < old->n_networks; i++)
		assert_true(pb_equal(old->networks[i], now->networks[i]));
}

static inline void check_change(void *data, const struct txn_change *change)
{
	const pb_task *old = change->old, *now = change->obj;

	if (change->kind == KIND_SERVICE && change->old && change->obj)
		check_vips(change->old, change->obj);

	if (change->kind != KIND_TASK || !now)
		return;
	if (now->desired == (Skein__TaskState)TASK_RUNNING &&
	    (!old || old->desired != now->desired))
		check_start(data, now);
	if (!old)
		return;
	assert_true(task_state(now) >= task_state(old));
	assert_true(now->desired >= old->desired);
	check_attachments(old, now);
	assert_int_equal(now->slot, old->slot);
	assert_int_equal(now->spec_version, old->spec_version);
	if (*old->node_id)
		assert_string_equal(now->node_id, old->node_id);
}

static inline uint64_t limit_of(const pb_service *service)
{
	uint64_t attempts = service->spec->task->restart->max_attempts;

	return MAX(attempts ? attempts + 1 : PLAN_HISTORY_DEFAULT, PLAN_HISTORY_DEFAULT) + 1;
}

static inline void check_service(struct sim *s, const pb_service *service, bool bounded)
{
	size_t n;
	const pb_task **tasks = view_tasks_of_service(s->r.view, service->id, &n);

	for (size_t i = 0; i < n; i++) {
		size_t running = 0, live = 0, over = 0;

		for (size_t k = 0; k < n; k++) {
			if (!same_slot(service, tasks[i], tasks[k]))
				continue;
			running += tasks[k]->desired == (Skein__TaskState)TASK_RUNNING;
			live += task_live(tasks[k]);
			over += !task_on_node(tasks[k]);
		}
		assert_true(running <= (may_run_twice(service) ? 2 : 1));
		if (bounded) {
			assert_true(live <= 2);
			assert_true(over <= limit_of(service));
		}
	}
	free(tasks);
}

/* ---- what there is only once */

struct owners {
	struct {
		const char *id; /* of the task or service */
		struct ipaddr address;
	} v[1024];
	size_t n;
};

static inline void own(struct owners *owners, const struct ipaddr *subnet, const char *id, const char *text)
{
	struct ipaddr a;

	assert_int_equal(ipaddr_parse(text, &a, NULL), 0);
	a = ipaddr_host(&a);
	if (!ipaddr_contains(subnet, &a))
		fail_msg("%s of %s is in another network", text, id);
	for (size_t i = 0; i < owners->n; i++)
		if (ipaddr_equal(&owners->v[i].address, &a))
			fail_msg("%s is both %s's and %s's", text, owners->v[i].id, id);
	assert_true(owners->n < ARRAY_SIZE(owners->v));
	owners->v[owners->n].id = id;
	owners->v[owners->n++].address = a;
}

static inline void own_of_task(struct owners *owners, const struct ipaddr *subnet, const char *network_id, const pb_task *task)
{
	for (size_t i = 0; i < task->n_networks && task_holds_addresses(task); i++) {
		if (str_eq(task->networks[i]->network_id, network_id))
			own(owners, subnet, task->id,
			    subnet->family == AF_INET6 ? task->networks[i]->ipv6 : task->networks[i]->ipv4);
	}
}

static inline void own_of_service(struct owners *owners, const struct ipaddr *subnet, const char *network_id,
			   const pb_service *service)
{
	for (size_t i = 0; service->endpoint && i < service->endpoint->n_vips; i++) {
		const pb_vip *vip = service->endpoint->vips[i];
		const char *text = subnet->family == AF_INET6 ? vip->ipv6 : vip->ipv4;

		if (str_eq(vip->network_id, network_id) && *text)
			own(owners, subnet, service->id, text);
	}
}

static inline void check_network(struct sim *s, const pb_network *network, int family)
{
	const pb_ipam_pool *pool = pools_find(network, family);
	struct owners owners = {.n = 0};
	struct ipaddr subnet;
	size_t n;
	const void **list;

	if (!pool || network->predefined)
		return;
	assert_int_equal(ipaddr_parse_subnet(pool->subnet, &subnet, NULL), 0);
	own(&owners, &subnet, "the gateway", pool->gateway);
	list = view_list(s->r.view, KIND_TASK, &n);
	for (size_t i = 0; i < n; i++)
		own_of_task(&owners, &subnet, network->id, list[i]);
	free(list);
	list = view_list(s->r.view, KIND_SERVICE, &n);
	for (size_t i = 0; i < n; i++)
		own_of_service(&owners, &subnet, network->id, list[i]);
	free(list);
}

/* Past NEW a task has what its spec asks for. */
static inline void check_given(struct sim *s)
{
	size_t n;
	const void **tasks = view_list(s->r.view, KIND_TASK, &n);

	for (size_t i = 0; i < n; i++) {
		const pb_task *t = tasks[i];

		s->scarce += task_state(t) == TASK_NEW && task_live(t) && *t->status->err;
		if (task_state(t) == TASK_NEW || task_ended(t))
			continue;
		assert_int_equal(t->n_networks, t->spec->n_networks);
		for (size_t k = 0; k < t->n_networks; k++)
			assert_string_equal(t->networks[k]->network_id, t->spec->networks[k]->network_id);
	}
	free(tasks);
}

static inline void check_ports_and_indexes(struct sim *s)
{
	static bool ports[2][65536], indexes[65536]; /* TCP, UDP */
	size_t n;
	const void **list = view_list(s->r.view, KIND_SERVICE, &n);

	memset(ports, 0, sizeof(ports));
	memset(indexes, 0, sizeof(indexes));
	for (size_t i = 0; i < n; i++) {
		const pb_endpoint *e = ((const pb_service *)list[i])->endpoint;

		for (size_t k = 0; e && k < e->n_ports; k++) {
			bool udp = str_eq(e->ports[k]->protocol, "udp");

			assert_false(ports[udp][e->ports[k]->published]);
			ports[udp][e->ports[k]->published] = true;
		}
	}
	free(list);
	list = view_list(s->r.view, KIND_NODE, &n);
	for (size_t i = 0; i < n; i++) {
		uint32_t index = ((const pb_node *)list[i])->index;

		assert_false(index && indexes[index]);
		indexes[index] = true;
	}
	free(list);
}

static inline void check_unique(struct sim *s)
{
	size_t n;
	const void **networks = view_list(s->r.view, KIND_NETWORK, &n);

	for (size_t i = 0; i < n; i++) {
		const pb_network *network = networks[i];

		check_network(s, network, AF_INET);
		check_network(s, network, AF_INET6);
		for (size_t k = 0; k < i; k++)
			assert_true(!network->vni || network->vni != ((const pb_network *)networks[k])->vni);
	}
	free(networks);
	check_given(s);
	check_ports_and_indexes(s);
}

static inline void check_all(struct sim *s, bool bounded)
{
	size_t n;
	const void **services = view_list(s->r.view, KIND_SERVICE, &n);

	for (size_t i = 0; i < n; i++)
		check_service(s, services[i], bounded);
	free(services);
	check_unique(s);
}
