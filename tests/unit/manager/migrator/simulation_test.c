/*
 * Containers that are moved under random failures: hosts die or are cut off, leaders change, rounds are committed in part,
 * ends fail at every step. Whatever happens, one copy runs; when the trouble ends nothing is left over.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "manager/migrator/migrator.h"
#include "support/moves.h"

/* ---- trouble */

static void lose_containers(struct world *w, const char *node_id)
{
	for (size_t i = w->n_containers; i-- > 0;)
		if (str_eq(w->containers[i].node, node_id))
			w->containers[i] = w->containers[--w->n_containers];
}

/* The complete set of assignments that a new session begins with. */
static void drop_strangers(struct world *w, const char *node_id)
{
	for (size_t i = w->n_containers; i-- > 0;)
		if (str_eq(w->containers[i].node, node_id) && !view_task(w->sim.r.view, w->containers[i].task))
			w->containers[i] = w->containers[--w->n_containers];
}

static void set_link(struct world *w, unsigned host, enum link link)
{
	char id[8];

	snprintf(id, sizeof(id), "n%u", host + 1);
	if (link == DEAD)
		lose_containers(w, id);
	if (link == ALIVE)
		drop_strangers(w, id);
	w->links[host] = link;
	/* Whether it is dead or cut off, the cluster sees the same. */
	rounds_node_state(&w->sim.r, id, link == ALIVE ? NODE_READY : NODE_DOWN);
}

static void both_ends(struct world *w, const char *id)
{
	work_end(w, id, false);
	work_end(w, id, true);
}

static void trouble(struct world *w)
{
	unsigned host = (unsigned)below(&w->sim, HOSTS);

	if (w->links[host] != ALIVE) {
		set_link(w, host, ALIVE);
		/* It hears at once what it has missed. */
		each(w, KIND_MIGRATION, both_ends);
		each(w, KIND_TASK, work_task);
	} else if (chance(&w->sim, 300)) {
		set_link(w, host, chance(&w->sim, 500) ? DEAD : CUT);
	} else if (chance(&w->sim, 300)) {
		char id[8];

		snprintf(id, sizeof(id), "n%u", host + 1);
		rounds_availability(&w->sim.r, id, chance(&w->sim, 300) ? AVAILABILITY_DRAIN : AVAILABILITY_ACTIVE);
	}
}

static void ask(struct world *w)
{
	size_t n;
	const pb_task **tasks = view_tasks_of_service(w->sim.r.view, "web", &n);
	const pb_task *task = n ? tasks[below(&w->sim, n)] : NULL;
	pb_migration *m;
	char id[ID_LEN + 1];

	free(tasks);
	if (!task || task_state(task) != TASK_RUNNING || !task_live(task) || view_migration_from(w->sim.r.view, task->id) ||
	    view_migration_to(w->sim.r.view, task->id))
		return;
	rounds_new_id(&w->sim.r, id);
	m = pb_new(&skein__migration__descriptor);
	pb_set_str(&m->id, id);
	m->meta = pb_new(&skein__meta__descriptor);
	m->meta->created_at = w->sim.r.now;
	pb_set_str(&m->service_id, "web");
	pb_set_str(&m->service_name, "web");
	m->slot = task->slot;
	pb_set_str(&m->source_task, task->id);
	pb_set_str(&m->source_node, task->node_id);
	pb_set_str(&m->cause, "task migrate");
	m->options = pb_new(&skein__migration_options__descriptor);
	m->options->dry_run = chance(&w->sim, 100);
	rounds_put(&w->sim.r, KIND_MIGRATION, id, m);
}

static void cancel(struct world *w, const char *id)
{
	pb_migration *copy;

	if (!chance(&w->sim, w->sim.trouble / 20) || migration_over(view_migration(w->sim.r.view, id)))
		return;
	copy = pb_dup(view_migration(w->sim.r.view, id));
	copy->cancelled = true;
	rounds_put(&w->sim.r, KIND_MIGRATION, id, copy);
}

static void change_service(struct world *w)
{
	pb_service *copy = pb_dup(view_service(w->sim.r.view, "web"));
	char env[32];

	if (chance(&w->sim, 500)) {
		copy->spec->replicated->replicas = 1 + below(&w->sim, w->replicas);
	} else {
		pb_set_msg(&copy->previous_spec, copy->spec);
		copy->previous_spec_version = copy->spec_version++;
		snprintf(env, sizeof(env), "A=%llu", (unsigned long long)++w->sim.next_env);
		pb_set_str(&copy->spec->task->container->env[0], env);
		pb_set_msg(&copy->update, NULL);
	}
	rounds_put(&w->sim.r, KIND_SERVICE, "web", copy);
}

/* ---- what holds */

/* The leader lets the source go on only when nothing can run at the target by its go. */
static void check_phase(void *data, const struct txn_change *change)
{
	const pb_migration *old = change->old, *now = change->obj;
	struct world *w = data;
	const pb_node *node;

	if (change->kind != KIND_MIGRATION || !now)
		return;
	if (!old) { /* of a node that is drained; may be given up in the same round */
		assert_true((int)now->phase <= MIGRATION_PREPARE || (int)now->phase == MIGRATION_ABORT ||
			    (int)now->phase == MIGRATION_REFUSED);
		return;
	}
	assert_true(now->phase >= old->phase);
	if (now->phase != old->phase && migration_over(now))
		w->outcomes[now->phase]++;
	if (now->phase == (Skein__MigrationPhase)MIGRATION_SWITCH && old->phase != now->phase)
		assert_int_equal(now->target->step, STEP_RECEIVED);
	if (now->phase != (Skein__MigrationPhase)MIGRATION_RESUME || old->phase == now->phase)
		return;
	node = view_node(w->sim.r.view, now->target_node);
	assert_true((int)now->reached < MIGRATION_SWITCH || node_state(node) == NODE_DOWN || !view_task(w->sim.r.view, now->target_task) ||
		    (now->target && now->target->step == (Skein__MigrationStep)STEP_DISCARDED));
}

static void check_copies(struct world *w, const char *id)
{
	const pb_migration *m = view_migration(w->sim.r.view, id);
	const pb_task *source = view_task(w->sim.r.view, m->source_task), *target = view_task(w->sim.r.view, m->target_task);

	/* Behind a cut link the target may do what it was allowed to: ADR 19. The same holds for what was moved from there. */
	if (!target || link_of(w, target->node_id) != ALIVE || (source && link_of(w, source->node_id) != ALIVE))
		return;
	if (runs(w, m->source_task) && runs(w, m->target_task))
		fail_msg("migration %s: both %s and %s run in phase %d", id, m->source_task, m->target_task, (int)m->phase);
}

/* One goes on with the other's container; with another task perhaps between them, which may be gone. */
static bool kin(const pb_task *a, const pb_task *b)
{
	return a->slot == b->slot && *(task_created_at(a) > task_created_at(b) ? a : b)->migrated_from;
}

static void check_addresses(struct world *w)
{
	size_t n;
	const pb_task **tasks = view_tasks_of_service(w->sim.r.view, "web", &n);

	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < n; k++) {
			const pb_attachment *a, *b;

			if (task_state(tasks[i]) == TASK_NEW || task_state(tasks[k]) == TASK_NEW)
				continue;
			assert_int_equal(tasks[i]->n_networks, 1);
			a = tasks[i]->networks[0];
			b = tasks[k]->networks[0];
			if (str_eq(tasks[i]->migrated_from, tasks[k]->id))
				assert_true(pb_equal(a, b));
			if (k < i && str_eq(a->ipv4, b->ipv4) && task_holds_addresses(tasks[i]) && task_holds_addresses(tasks[k]))
				assert_true(kin(tasks[i], tasks[k]));
		}
	free(tasks);
}

/* Whatever part of a round was committed. */
static void check_limits(struct world *w)
{
	size_t n, leaving[HOSTS] = {0}, coming[HOSTS] = {0}, under_way = 0;
	const pb_migration **list = view_migrations_active(w->sim.r.view, &n);

	for (size_t i = 0; i < n; i++) {
		if ((int)list[i]->phase == MIGRATION_NEW)
			continue;
		under_way++;
		leaving[list[i]->source_node[1] - '1']++;
		coming[list[i]->target_node[1] - '1']++;
		for (size_t k = 0; k < i; k++)
			assert_false((int)list[k]->phase != MIGRATION_NEW && list[k]->slot == list[i]->slot);
	}
	free(list);
	w->busiest = MAX(w->busiest, under_way);
	for (unsigned i = 0; i < HOSTS; i++)
		assert_true(leaving[i] <= MIGRATOR_PER_NODE && coming[i] <= MIGRATOR_PER_NODE);
}

static size_t decide(struct world *w)
{
	struct sim *s = &w->sim;
	struct txn *txn;
	size_t most = SIZE_MAX, n;

	wakes_due(&s->r.wakes, s->r.now, &s->r.dirty);
	txn = rounds_plan(&s->r, round_plan);
	if (chance(s, s->trouble))
		most = below(s, 8);
	n = rounds_commit(&s->r, txn, most, check_phase, w);
	if (chance(s, s->trouble))
		rounds_new_leader(&s->r);
	each(w, KIND_MIGRATION, check_copies);
	check_addresses(w);
	check_limits(w);
	return n;
}

/* ---- the end */

static void calm_down(struct world *w)
{
	struct rounds *r = &w->sim.r;

	w->sim.trouble = 0;
	for (unsigned i = 0; i < HOSTS; i++) {
		char id[8];

		snprintf(id, sizeof(id), "n%u", i + 1);
		set_link(w, i, ALIVE);
		rounds_availability(r, id, AVAILABILITY_ACTIVE);
	}
	for (unsigned quiet = 0, turns = 0; quiet < 60; turns++) {
		int64_t next = wakes_next(&r->wakes);

		assert_true(turns < 20000);
		each(w, KIND_MIGRATION, work_migration);
		each(w, KIND_TASK, work_task);
		quiet = decide(w) ? 0 : quiet + 1;
		r->now += 50 * NS_PER_MS;
		if (quiet > 40 && next != INT64_MAX && next > r->now && next < r->now + 3600 * SEC) {
			r->now = next;
			quiet = 0;
		}
	}
}

static void check_end(struct world *w)
{
	const pb_service *web = view_service(w->sim.r.view, "web");
	size_t n, running = 0;
	const pb_task **tasks = view_tasks_of_service(w->sim.r.view, "web", &n);

	for (size_t i = 0; i < n; i++) {
		running += task_live(tasks[i]) && task_state(tasks[i]) == TASK_RUNNING;
		if (task_on_node(tasks[i]))
			assert_true(runs(w, tasks[i]->id));
		else
			assert_null(container_find(w, tasks[i]->id));
	}
	free(tasks);
	assert_int_equal(running, web->spec->replicated->replicas);
	/* No frozen processes, no copies of tasks that are gone. */
	assert_int_equal(w->n_containers, running);
	free(view_migrations_active(w->sim.r.view, &n));
	assert_int_equal(n, 0);
	assert_true(view_count(w->sim.r.view, KIND_MIGRATION) <= w->replicas * (MIGRATOR_KEPT_PER_SLOT + 1));
	rounds_new_leader(&w->sim.r);
	assert_int_equal(rounds_run(&w->sim.r), 0);
}

static void begin(struct world *w, uint64_t seed, unsigned per_mille, uint64_t replicas)
{
	struct rounds *r = &w->sim.r;
	struct built web = service("web", .replicas = replicas, .restart_delay = SEC, .env = "A=0", .networks = "front");

	w->sim.rng = seed;
	w->sim.trouble = per_mille;
	w->replicas = replicas;
	rounds_init(r, view_new());
	rounds_put(r, KIND_CLUSTER, "cluster", cluster(5).obj);
	rounds_put(r, KIND_NETWORK, "front", network("front", .subnet = "10.0.3.0/26").obj);
	for (unsigned i = 0; i < HOSTS; i++) {
		char id[8];

		snprintf(id, sizeof(id), "n%u", i + 1);
		rounds_put(r, KIND_NODE, id,
			   node(id, .since = r->now, .index = i + 1, .features = "network.vxlan=true;checkpoint=runc;criu=3.17.1").obj);
	}
	((pb_service *)web.obj)->spec->task->live_migrate = true;
	rounds_put(r, KIND_SERVICE, "web", web.obj);
}

static void simulate(uint64_t seed, unsigned per_mille, uint64_t replicas, size_t outcomes[static 1024])
{
	struct world *w = xnew(struct world);

	begin(w, seed, per_mille, replicas);
	for (unsigned i = 0; i < 1500; i++) {
		if (chance(&w->sim, per_mille))
			trouble(w);
		if (chance(&w->sim, 150))
			ask(w);
		if (chance(&w->sim, per_mille / 10))
			change_service(w);
		each(w, KIND_MIGRATION, cancel);
		each(w, KIND_MIGRATION, work_migration);
		each(w, KIND_TASK, work_task);
		decide(w);
		w->sim.r.now += (int64_t)below(&w->sim, 1000) * NS_PER_MS;
		if (chance(&w->sim, per_mille / 20))
			w->sim.r.now += (int64_t)below(&w->sim, 700) * SEC;
	}
	calm_down(w);
	check_end(w);
	/* They wait for each other, but not for nothing. */
	if (!per_mille)
		assert_true(w->busiest > MIGRATOR_PER_NODE);
	for (unsigned i = 0; i < 1024; i++)
		outcomes[i] += w->outcomes[i];
	rounds_fini(&w->sim.r);
	free(w);
}

static void moves_when_all_is_well(void **state)
{
	size_t outcomes[1024] = {0};

	for (uint64_t seed = 1; seed <= 3; seed++)
		simulate(seed, 0, 12, outcomes);
	assert_true(outcomes[MIGRATION_MOVED] > 100);
	assert_true(outcomes[MIGRATION_CHECKED] > 0);
	assert_int_equal(outcomes[MIGRATION_ROLLED_BACK] + outcomes[MIGRATION_LOST] + outcomes[MIGRATION_REFUSED], 0);
}

static void one_copy_runs(void **state)
{
	size_t outcomes[1024] = {0};

	for (uint64_t seed = 1; seed <= 20; seed++)
		simulate(seed, seed % 2 ? 60 : 200, 3, outcomes);
	/* Each end of a migration was seen. */
	assert_true(outcomes[MIGRATION_MOVED] > 0);
	assert_true(outcomes[MIGRATION_REFUSED] > 0);
	assert_true(outcomes[MIGRATION_ROLLED_BACK] > 0);
	assert_true(outcomes[MIGRATION_LOST] > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(moves_when_all_is_well),
		cmocka_unit_test(one_copy_runs),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
