/*
 * Random clusters under random failures, with simulated agents and clock: whatever happens, the
 * invariants hold, and when the trouble ends every service is what was asked for.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/sim.h"

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
