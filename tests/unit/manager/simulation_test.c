/*
 * Random clusters under random failures, with simulated agents and clock: whatever happens, the
 * invariants hold, and when the trouble ends every service is what was asked for.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

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
static uint64_t draw(struct sim *s)
{
	uint64_t z = s->rng += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

static uint64_t below(struct sim *s, uint64_t n)
{
	return draw(s) % n;
}

static bool chance(struct sim *s, unsigned per_mille)
{
	return below(s, 1000) < per_mille;
}

/* ---- invariants */

static bool may_run_twice(const pb_service *service)
{
	return service && service->spec->update->order == SKEIN__UPDATE_ORDER__START_FIRST;
}

static bool same_slot(const pb_service *service, const pb_task *a, const pb_task *b)
{
	return service_is_global(service) ? str_eq(a->node_id, b->node_id) : a->slot == b->slot;
}

/* A task is started: none that is being stopped may still run in its slot on a node that is up. */
static void check_start(struct sim *s, const pb_task *task)
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
static void check_vips(const pb_service *old, const pb_service *now)
{
	for (size_t i = 0; old->endpoint && i < old->endpoint->n_vips; i++)
		for (size_t k = 0; now->endpoint && k < now->endpoint->n_vips; k++)
			if (str_eq(old->endpoint->vips[i]->network_id, now->endpoint->vips[k]->network_id))
				assert_string_equal(old->endpoint->vips[i]->ipv4, now->endpoint->vips[k]->ipv4);
}

/* What a task has been given it has until its end. */
static void check_attachments(const pb_task *old, const pb_task *now)
{
	if (!old->n_networks)
		return;
	assert_int_equal(old->n_networks, now->n_networks);
	for (size_t i = 0; i < old->n_networks; i++)
		assert_true(pb_equal(old->networks[i], now->networks[i]));
}

static void check_change(void *data, const struct txn_change *change)
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

static uint64_t limit_of(const pb_service *service)
{
	uint64_t attempts = service->spec->task->restart->max_attempts;

	return MAX(attempts ? attempts + 1 : PLAN_HISTORY_DEFAULT, PLAN_HISTORY_DEFAULT) + 1;
}

static void check_service(struct sim *s, const pb_service *service, bool bounded)
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

static void own(struct owners *owners, const struct ipaddr *subnet, const char *id, const char *text)
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

static void own_of_task(struct owners *owners, const struct ipaddr *subnet, const char *network_id, const pb_task *task)
{
	for (size_t i = 0; i < task->n_networks && task_holds_addresses(task); i++) {
		if (str_eq(task->networks[i]->network_id, network_id))
			own(owners, subnet, task->id,
			    subnet->family == AF_INET6 ? task->networks[i]->ipv6 : task->networks[i]->ipv4);
	}
}

static void own_of_service(struct owners *owners, const struct ipaddr *subnet, const char *network_id,
			   const pb_service *service)
{
	for (size_t i = 0; service->endpoint && i < service->endpoint->n_vips; i++) {
		const pb_vip *vip = service->endpoint->vips[i];
		const char *text = subnet->family == AF_INET6 ? vip->ipv6 : vip->ipv4;

		if (str_eq(vip->network_id, network_id) && *text)
			own(owners, subnet, service->id, text);
	}
}

static void check_network(struct sim *s, const pb_network *network, int family)
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
static void check_given(struct sim *s)
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

static void check_ports_and_indexes(struct sim *s)
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

static void check_unique(struct sim *s)
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

static void check_all(struct sim *s, bool bounded)
{
	size_t n;
	const void **services = view_list(s->r.view, KIND_SERVICE, &n);

	for (size_t i = 0; i < n; i++)
		check_service(s, services[i], bounded);
	free(services);
	check_unique(s);
}

/* ---- what happens in a cluster */

static void add_node(struct sim *s)
{
	char id[16];

	snprintf(id, sizeof(id), "n%u", ++s->next_node);
	rounds_put(&s->r, KIND_NODE, id,
		   node(id, .labels = below(s, 2) ? "rack=a" : "rack=b", .since = s->r.now,
			.features = "network.vxlan=true;network.esp=true")
			   .obj);
}

static const pb_node *some_node(struct sim *s)
{
	size_t n;
	const void **nodes = view_list(s->r.view, KIND_NODE, &n);
	const pb_node *chosen = n ? nodes[below(s, n)] : NULL;

	free(nodes);
	return chosen;
}

static void trouble_node(struct sim *s)
{
	const pb_node *node = some_node(s);
	static const int availabilities[] = {AVAILABILITY_ACTIVE, AVAILABILITY_PAUSE,
					     AVAILABILITY_DRAIN};
	pb_node *copy;

	switch (below(s, 6)) {
	case 0:
	case 1:
		rounds_node_state(&s->r, node->id, NODE_DOWN);
		break;
	case 2:
		rounds_node_state(&s->r, node->id, NODE_READY);
		break;
	case 3:
		rounds_availability(&s->r, node->id, availabilities[below(s, 3)]);
		break;
	case 4:
		copy = pb_dup(node);
		pb_kv_set(&copy->spec->n_labels, &copy->spec->labels, "rack",
			  below(s, 2) ? "a" : "b");
		rounds_put(&s->r, KIND_NODE, copy->id, copy);
		break;
	default:
		if (view_count(s->r.view, KIND_NODE) > NODES / 2 && chance(s, 300))
			rounds_put(&s->r, KIND_NODE, node->id, NULL);
		else if (view_count(s->r.view, KIND_NODE) < 2 * NODES)
			add_node(s);
	}
}

/*
 * "front" has 29 addresses, of which three services ask for 27 when all is calm: with updates that start the new task
 * first, and with tasks on nodes that are down, it is full again and again.
 */
static const char *const networks_of[SERVICES] = {"front", "front,alias", NULL, "back", "front;back"};

static void add_networks_to_sim(struct sim *s)
{
	rounds_put(&s->r, KIND_CLUSTER, "cluster", cluster(5).obj);
	rounds_put(&s->r, KIND_NETWORK, "front",
		   network("front", .subnet = "10.0.3.0/27", .options = "encrypted").obj);
	rounds_put(&s->r, KIND_NETWORK, "back", network("back", .subnet = "10.0.4.0/26", .ipv6 = true).obj);
}

static void add_service(struct sim *s, unsigned number)
{
	char id[32];

	snprintf(id, sizeof(id), "s%u-%u", number, s->generation[number]);
	rounds_put(&s->r, KIND_SERVICE, id,
		   service(id, .global = number % 4 == 3, .replicas = 1 + below(s, 8),
			   .parallelism = below(s, 4), /* Two at once on one port of a host cannot be. */
			   .order = number == 3 ? 0 : (int)below(s, 2),
			   .failure_action = (int)below(s, 3), .ratio = below(s, 2) ? 0.3f : 0,
			   .condition = chance(s, 800) ? RESTART_ANY : RESTART_ON_FAILURE,
			   .max_attempts = chance(s, 200) ? 3 : 0,
			   .restart_delay = (int64_t)below(s, 3) * SEC,
			   .spread = below(s, 2) ? "node.labels.rack" : NULL,
			   .constraints = number == 2 ? "node.labels.rack==a" : NULL, .env = "A=1",
			   .networks = networks_of[number], .dnsrr = chance(s, 200),
			   .ports = number == 3 ? ":80/tcp;:53/udp/host" : ":80/tcp;:81/tcp")
			   .obj);
}

/* As the control API does it. */
static void update_service(struct sim *s, const pb_service *service)
{
	pb_service *copy = pb_dup(service);
	char env[32];

	pb_set_msg(&copy->previous_spec, service->spec);
	copy->previous_spec_version = copy->spec_version;
	snprintf(env, sizeof(env), "A=%llu", (unsigned long long)++s->next_env);
	pb_strs_add(&copy->spec->task->container->n_env, &copy->spec->task->container->env, env);
	while (copy->spec->task->container->n_env > 2)
		pb_strs_del(&copy->spec->task->container->n_env, &copy->spec->task->container->env,
			    0);
	/* From one network to two, and back. */
	if (chance(s, 300) && copy->spec->task->n_networks == 2)
		pb_msgs_del(&copy->spec->task->n_networks, &copy->spec->task->networks, 0);
	else if (chance(s, 300) && copy->spec->task->n_networks == 1 &&
		 !str_eq(copy->spec->task->networks[0]->network_id, "back")) {
		pb_attachment_config *config = pb_dup(copy->spec->task->networks[0]);

		pb_set_str(&config->network_id, "back");
		pb_msgs_add(&copy->spec->task->n_networks, &copy->spec->task->networks, config);
	}
	copy->spec_version++;
	pb_set_msg(&copy->update, NULL);
	rounds_put(&s->r, KIND_SERVICE, copy->id, copy);
}

static void trouble_service(struct sim *s)
{
	unsigned number = (unsigned)below(s, SERVICES);
	char id[32];
	const pb_service *service;
	pb_service *copy;

	snprintf(id, sizeof(id), "s%u-%u", number, s->generation[number]);
	service = view_service(s->r.view, id);
	if (!service) {
		add_service(s, number);
	} else if (chance(s, 100)) {
		rounds_put(&s->r, KIND_SERVICE, id, NULL);
		s->generation[number]++;
	} else if (chance(s, 400) || service_is_global(service)) {
		update_service(s, service);
	} else {
		copy = pb_dup(service);
		copy->spec->replicated->replicas = below(s, REPLICAS_MAX + 1);
		pb_set_msg(&copy->update, NULL);
		rounds_put(&s->r, KIND_SERVICE, id, copy);
	}
}

static int next_state(int state)
{
	static const int states[] = {TASK_ASSIGNED, TASK_ACCEPTED, TASK_PREPARING,
				     TASK_READY,    TASK_STARTING, TASK_RUNNING};

	for (size_t i = 0; i + 1 < ARRAY_SIZE(states); i++)
		if (states[i] == state)
			return states[i + 1];
	return state;
}

static void agent_task(struct sim *s, const pb_task *task)
{
	int state = task_state(task), next = state;

	if (!task_on_node(task) || chance(s, 400))
		return;
	if (!task_live(task))
		next = TASK_SHUTDOWN;
	else if (chance(s, s->trouble / 3))
		next = state < TASK_STARTING ? TASK_REJECTED
		       : chance(s, 700)	     ? TASK_FAILED
					     : TASK_COMPLETE;
	else if (next_state(state) <=
		 ((int)task->desired == TASK_READY ? TASK_READY : TASK_RUNNING))
		next = next_state(state);
	if (next != state)
		rounds_report(&s->r, task->id, next);
}

/* Agents that are connected do what their tasks are wanted to be. */
static void agents(struct sim *s)
{
	size_t n, n_tasks;
	const void **nodes = view_list(s->r.view, KIND_NODE, &n);

	for (size_t i = 0; i < n; i++) {
		const pb_node *node = nodes[i];
		char **ids;
		const pb_task **tasks;

		if (node_state(node) != NODE_READY)
			continue;
		tasks = view_tasks_of_node(s->r.view, node->id, &n_tasks);
		ids = xcalloc(n_tasks, sizeof(*ids));
		for (size_t k = 0; k < n_tasks; k++)
			ids[k] = xstrdup(tasks[k]->id);
		for (size_t k = 0; k < n_tasks; k++) {
			agent_task(s, view_task(s->r.view, ids[k]));
			free(ids[k]);
		}
		free(ids);
		free(tasks);
	}
	free(nodes);
}

/* One round, which may be committed, lost, cut short, or the last one of its leader. */
static size_t decide(struct sim *s)
{
	struct txn *txn;
	size_t most = SIZE_MAX, n;

	wakes_due(&s->r.wakes, s->r.now, &s->r.dirty);
	txn = rounds_plan(&s->r, round_plan);
	if (chance(s, s->trouble))
		most = below(s, 8);
	n = rounds_commit(&s->r, txn, most, check_change, s);
	if (chance(s, s->trouble / 4))
		rounds_new_leader(&s->r);
	check_all(s, most == SIZE_MAX);
	return n;
}

/* ---- the end: what was asked for is there */

static bool fits_somewhere(struct sim *s, const pb_service *service)
{
	const pb_placement *placement = service->spec->task->placement;
	size_t n;
	const void **nodes = view_list(s->r.view, KIND_NODE, &n);
	bool fits = false;

	for (size_t i = 0; i < n; i++)
		fits |= !placement->n_constraints ||
			str_eq(pb_kv_get(((const pb_node *)nodes[i])->spec->labels,
					 ((const pb_node *)nodes[i])->spec->n_labels, "rack"),
			       "a");
	free(nodes);
	return fits;
}

/* Slots where nothing is to run any more: no task is live, and they are not being removed. */
static uint64_t finished_slots(struct sim *s, const pb_service *service)
{
	uint64_t finished = 0;

	for (uint64_t slot = 1; slot <= 64; slot++) {
		size_t n, live = 0, kept = 0;
		const pb_task **tasks = view_tasks_of_service(s->r.view, service->id, &n);

		for (size_t i = 0; i < n; i++) {
			live += tasks[i]->slot == slot && task_live(tasks[i]);
			kept += tasks[i]->slot == slot &&
				tasks[i]->desired == (Skein__TaskState)TASK_SHUTDOWN;
		}
		free(tasks);
		finished += kept && !live;
	}
	return finished;
}

static void check_replicated(struct sim *s, const pb_service *service)
{
	uint64_t wanted = service->spec->replicated->replicas;
	uint64_t running = rounds_count(&s->r, service->id, TASK_RUNNING, TASK_RUNNING);
	bool policy =
		service->spec->task->restart->max_attempts ||
		service->spec->task->restart->condition != (Skein__RestartCondition)RESTART_ANY;

	if (!fits_somewhere(s, service))
		return;
	/* With start-first a paused update may leave the old task beside the new one. */
	if (may_run_twice(service) && service->update &&
	    (service->update->state == SKEIN__UPDATE_STATE__UPDATE_PAUSED ||
	     service->update->state == SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_PAUSED)) {
		assert_true(running >= wanted || policy);
		return;
	}
	if (policy)
		running += finished_slots(s, service);
	assert_int_equal(running, wanted);
}

/* An update comes to an end by itself, unless it was paused or cannot go on. */
static void check_update(struct sim *s, const pb_service *service)
{
	int state = service->update ? (int)service->update->state : 0;

	if (fits_somewhere(s, service))
		assert_true(state != SKEIN__UPDATE_STATE__UPDATE_UPDATING &&
			    state != SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_STARTED);
}

static void check_global(struct sim *s, const pb_service *service)
{
	bool policy =
		service->spec->task->restart->max_attempts ||
		service->spec->task->restart->condition != (Skein__RestartCondition)RESTART_ANY;
	size_t n;
	const void **nodes = view_list(s->r.view, KIND_NODE, &n);

	for (size_t i = 0; i < n; i++) {
		size_t n_tasks, running = 0;
		const pb_task **tasks =
			view_tasks_of_node(s->r.view, ((const pb_node *)nodes[i])->id, &n_tasks);

		for (size_t k = 0; k < n_tasks; k++)
			running += str_eq(tasks[k]->service_id, service->id) &&
				   task_state(tasks[k]) == TASK_RUNNING && task_live(tasks[k]);
		if (!policy)
			assert_true(running == 1 || (running == 2 && may_run_twice(service)));
		free(tasks);
	}
	free(nodes);
}

static void calm_down(struct sim *s)
{
	size_t n;
	const void **nodes = view_list(s->r.view, KIND_NODE, &n);

	s->trouble = 0;
	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *id = xstrdup(((const pb_node *)nodes[i])->id);

		rounds_node_state(&s->r, id, NODE_READY);
		rounds_availability(&s->r, id, AVAILABILITY_ACTIVE);
		/* The list's pointer is stale now: only the id is used. */
	}
	free(nodes);
	for (unsigned quiet = 0, turns = 0; quiet < 40; turns++) {
		int64_t next = wakes_next(&s->r.wakes);

		assert_true(turns < 5000);
		agents(s);
		quiet = decide(s) ? 0 : quiet + 1;
		if (quiet > 20 && next != INT64_MAX && next > s->r.now &&
		    next < s->r.now + 3600 * SEC) {
			s->r.now = next;
			quiet = 0;
		} else {
			s->r.now += 50 * NS_PER_MS;
		}
	}
}

static void check_end(struct sim *s)
{
	size_t n;
	const void **services = view_list(s->r.view, KIND_SERVICE, &n), **tasks;

	for (size_t i = 0; i < n; i++) {
		check_update(s, services[i]);
		if (service_is_global(services[i]))
			check_global(s, services[i]);
		else
			check_replicated(s, services[i]);
	}
	free(services);
	tasks = view_list(s->r.view, KIND_TASK, &n);
	for (size_t i = 0; i < n; i++)
		assert_non_null(view_service(s->r.view, ((const pb_task *)tasks[i])->service_id));
	free(tasks);
	/* Looking at everything finds nothing that looking at what changed has missed. */
	s->r.dirty.all = true;
	assert_int_equal(rounds_run(&s->r), 0);
	rounds_new_leader(&s->r);
	assert_int_equal(rounds_run(&s->r), 0);
}

/* Returns how often an address was missing. */
static size_t simulate(uint64_t seed, unsigned trouble)
{
	struct sim s = {.rng = seed, .trouble = trouble};

	rounds_init(&s.r, view_new());
	add_networks_to_sim(&s);
	for (unsigned i = 0; i < NODES; i++)
		add_node(&s);
	for (unsigned i = 0; i < SERVICES; i++)
		add_service(&s, i);
	for (unsigned step = 0; step < STEPS; step++) {
		if (chance(&s, trouble))
			trouble_node(&s);
		if (chance(&s, trouble))
			trouble_service(&s);
		agents(&s);
		decide(&s);
		s.r.now += (int64_t)below(&s, 1000) * NS_PER_MS;
		if (chance(&s, 5))
			s.r.now += (int64_t)below(&s, 100) * SEC;
	}
	calm_down(&s);
	check_end(&s);
	rounds_fini(&s.r);
	return s.scarce;
}

static void calm_cluster(void **state)
{
	for (uint64_t seed = 1; seed <= 3; seed++)
		simulate(seed, 0);
}

static void troubled_cluster(void **state)
{
	for (uint64_t seed = 1; seed <= 12; seed++)
		simulate(seed, 100);
}

static void hell(void **state)
{
	size_t scarce = 0;

	for (uint64_t seed = 1; seed <= 8; seed++)
		scarce += simulate(seed, 300);
	assert_true(scarce > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(calm_cluster),
		cmocka_unit_test(troubled_cluster),
		cmocka_unit_test(hell),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
