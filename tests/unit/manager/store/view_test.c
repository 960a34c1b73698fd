#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/mem.h"
#include "manager/store/view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

DEFINE_CLEANUP(struct view *, view_free)

static pb_task *task(const char *id, const char *service, const char *node, uint64_t slot)
{
	pb_task *t = pb_new(&skein__task__descriptor);

	pb_set_str(&t->id, id);
	pb_set_str(&t->service_id, service);
	pb_set_str(&t->node_id, node);
	t->slot = slot;
	t->desired = (Skein__TaskState)TASK_RUNNING;
	t->status = pb_new(&skein__task_status__descriptor);
	t->status->state = (Skein__TaskState)(node ? TASK_ASSIGNED : TASK_PENDING);
	return t;
}

static pb_service *service(const char *id, const char *name)
{
	pb_service *s = pb_new(&skein__service__descriptor);

	pb_set_str(&s->id, id);
	s->spec = pb_new(&skein__service_spec__descriptor);
	pb_set_str(&s->spec->name, name);
	return s;
}

static void put(struct view *v, enum kind kind, void *obj)
{
	pb_free(view_put(v, kind, obj));
}

static void assert_ids(const pb_task **list, size_t n, const char *want)
{
	char got[256] = "";

	for (size_t i = 0; i < n; i++) {
		strcat(got, i ? " " : "");
		strcat(got, list[i]->id);
	}
	free(list);
	assert_string_equal(got, want);
}

/* `call` fills in n. */
#define ASSERT_IDS(call, want)                                                                     \
	do {                                                                                       \
		const pb_task **list_ = (call);                                                    \
		assert_ids(list_, n, (want));                                                      \
	} while (0)

static void objects_are_found_by_id(void **state)
{
	_cleanup_(view_freep) struct view *v = view_new();
	pb_cluster *cluster = pb_new(&skein__cluster__descriptor);

	pb_set_str(&cluster->id, "random");
	put(v, KIND_CLUSTER, cluster);
	put(v, KIND_TASK, task("t1", "s1", NULL, 1));
	assert_ptr_equal(view_cluster(v), cluster);
	assert_int_equal(view_task(v, "t1")->slot, 1);
	assert_null(view_task(v, "t2"));
	assert_null(view_task(v, NULL));
	assert_null(view_node(v, "t1"));
}

static void put_returns_what_was_there(void **state)
{
	_cleanup_(view_freep) struct view *v = view_new();
	pb_task *first = task("t1", "s1", NULL, 1);
	_cleanup_pb_ void *old = NULL, *gone = NULL;

	assert_null(view_put(v, KIND_TASK, first));
	old = view_put(v, KIND_TASK, task("t1", "s1", NULL, 2));
	assert_ptr_equal(old, first);
	gone = view_del(v, KIND_TASK, "t1");
	assert_int_equal(((pb_task *)gone)->slot, 2);
	assert_null(view_del(v, KIND_TASK, "t1"));
	assert_int_equal(view_count(v, KIND_TASK), 0);
}

static void tasks_move_between_groups(void **state)
{
	_cleanup_(view_freep) struct view *v = view_new();
	size_t n;

	put(v, KIND_TASK, task("t2", "s1", NULL, 2));
	put(v, KIND_TASK, task("t1", "s1", NULL, 1));
	put(v, KIND_TASK, task("t3", "s2", "n1", 1));
	ASSERT_IDS(view_tasks_unassigned(v, &n), "t1 t2");
	put(v, KIND_TASK, task("t1", "s1", "n1", 1));
	ASSERT_IDS(view_tasks_unassigned(v, &n), "t2");
	ASSERT_IDS(view_tasks_of_node(v, "n1", &n), "t1 t3");
	ASSERT_IDS(view_tasks_of_service(v, "s1", &n), "t1 t2");
	put(v, KIND_TASK, task("t1", "s1", "n2", 1));
	ASSERT_IDS(view_tasks_of_node(v, "n1", &n), "t3");
	ASSERT_IDS(view_tasks_of_node(v, "n2", &n), "t1");
	pb_free(view_del(v, KIND_TASK, "t1"));
	ASSERT_IDS(view_tasks_of_node(v, "n2", &n), "");
	ASSERT_IDS(view_tasks_of_service(v, "nothing", &n), "");
}

static void tasks_to_be_shut_down_wait_for_no_node(void **state)
{
	_cleanup_(view_freep) struct view *v = view_new();
	pb_task *doomed = task("t1", "s1", NULL, 1), *blank = task("t2", "s1", NULL, 2);
	size_t n;

	doomed->desired = (Skein__TaskState)TASK_SHUTDOWN;
	pb_set_msg(&blank->status, NULL);
	put(v, KIND_TASK, doomed);
	put(v, KIND_TASK, blank);
	ASSERT_IDS(view_tasks_unassigned(v, &n), "t2");
}

static pb_task *created(pb_task *t, int64_t at)
{
	t->meta = pb_new(&skein__meta__descriptor);
	t->meta->created_at = at;
	return t;
}

static void tasks_of_a_service_are_in_order_of_slot_and_age(void **state)
{
	_cleanup_(view_freep) struct view *v = view_new();
	size_t n;

	put(v, KIND_TASK, task("a-not-committed", "s", NULL, 1));
	put(v, KIND_TASK, created(task("z-old", "s", NULL, 1), 5));
	put(v, KIND_TASK, created(task("c", "s", NULL, 1), 9));
	put(v, KIND_TASK, created(task("b", "s", NULL, 1), 9));
	put(v, KIND_TASK, created(task("y", "s", NULL, 10), 1));
	put(v, KIND_TASK, created(task("x", "s", NULL, 2), 7));
	ASSERT_IDS(view_tasks_of_service(v, "s", &n), "z-old b c a-not-committed x y");
}

static void services_are_found_by_name(void **state)
{
	_cleanup_(view_freep) struct view *v = view_new();

	put(v, KIND_SERVICE, service("s1", "web"));
	put(v, KIND_SERVICE, service("s2", "db"));
	assert_string_equal(view_service_by_name(v, "web")->id, "s1");
	/* swap, one after the other */
	put(v, KIND_SERVICE, service("s1", "db"));
	assert_null(view_service_by_name(v, "web"));
	put(v, KIND_SERVICE, service("s2", "web"));
	assert_string_equal(view_service_by_name(v, "web")->id, "s2");
	assert_string_equal(view_service_by_name(v, "db")->id, "s1");
	pb_free(view_del(v, KIND_SERVICE, "s2"));
	assert_null(view_service_by_name(v, "web"));
	assert_null(view_service_by_name(v, ""));
}

static pb_network *network(const char *id, const char *name)
{
	pb_network *n = pb_new(&skein__network__descriptor);

	pb_set_str(&n->id, id);
	n->spec = pb_new(&skein__network_spec__descriptor);
	pb_set_str(&n->spec->name, name);
	return n;
}

static void networks_are_found_by_name(void **state)
{
	_cleanup_(view_freep) struct view *v = view_new();

	/* Names of services and of networks are apart. */
	put(v, KIND_SERVICE, service("s1", "web"));
	put(v, KIND_NETWORK, network("n1", "web"));
	assert_string_equal(view_service_by_name(v, "web")->id, "s1");
	assert_string_equal(view_network_by_name(v, "web")->id, "n1");
	assert_string_equal(view_network(v, "n1")->spec->name, "web");
	pb_free(view_del(v, KIND_NETWORK, "n1"));
	assert_null(view_network_by_name(v, "web"));
	assert_string_equal(view_service_by_name(v, "web")->id, "s1");
	assert_null(view_network_by_name(v, ""));
}

static pb_task *attached(pb_task *t, const char *a, const char *b)
{
	const char *const ids[] = {a, b};

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		pb_attachment *at = ids[i] ? pb_new(&skein__network_attachment__descriptor) : NULL;

		if (!at)
			continue;
		pb_set_str(&at->network_id, ids[i]);
		pb_msgs_add(&t->n_networks, &t->networks, at);
	}
	return t;
}

static void tasks_are_in_all_their_networks(void **state)
{
	_cleanup_(view_freep) struct view *v = view_new();
	size_t n;

	put(v, KIND_TASK, attached(task("t2", "s1", "n1", 2), "front", "back"));
	put(v, KIND_TASK, attached(task("t1", "s1", "n1", 1), "front", "front")); /* twice: once */
	put(v, KIND_TASK, task("t3", "s1", "n1", 1));
	ASSERT_IDS(view_tasks_of_network(v, "front", &n), "t1 t2");
	ASSERT_IDS(view_tasks_of_network(v, "back", &n), "t2");
	put(v, KIND_TASK, attached(task("t2", "s1", "n1", 2), "back", "side"));
	ASSERT_IDS(view_tasks_of_network(v, "front", &n), "t1");
	ASSERT_IDS(view_tasks_of_network(v, "back", &n), "t2");
	ASSERT_IDS(view_tasks_of_network(v, "side", &n), "t2");
	put(v, KIND_TASK, task("t2", "s1", "n1", 2));
	ASSERT_IDS(view_tasks_of_network(v, "back", &n), "");
	pb_free(view_del(v, KIND_TASK, "t1"));
	ASSERT_IDS(view_tasks_of_network(v, "front", &n), "");
}

static void services_are_in_networks_wanted_and_given(void **state)
{
	_cleanup_(view_freep) struct view *v = view_new();
	_cleanup_free_ const pb_service **list = NULL, **gone = NULL;
	pb_service *wants = service("s2", "web"), *has = service("s1", "db");
	pb_attachment_config *config = pb_new(&skein__network_attachment_config__descriptor);
	pb_vip *vip = pb_new(&skein__virtual_ip__descriptor);
	size_t n;

	wants->spec->task = pb_new(&skein__task_spec__descriptor);
	pb_set_str(&config->network_id, "front");
	pb_msgs_add(&wants->spec->task->n_networks, &wants->spec->task->networks, config);
	has->endpoint = pb_new(&skein__endpoint__descriptor);
	pb_set_str(&vip->network_id, "front");
	pb_msgs_add(&has->endpoint->n_vips, &has->endpoint->vips, vip);
	put(v, KIND_SERVICE, wants);
	put(v, KIND_SERVICE, has);
	put(v, KIND_TASK, attached(task("t1", "s1", "n1", 1), "front", NULL));
	list = view_services_of_network(v, "front", &n);
	assert_int_equal(n, 2);
	assert_string_equal(list[0]->id, "s1");
	assert_string_equal(list[1]->id, "s2");
	put(v, KIND_SERVICE, service("s1", "db"));
	pb_free(view_del(v, KIND_SERVICE, "s2"));
	gone = view_services_of_network(v, "front", &n);
	assert_int_equal(n, 0);
}

static void lists_are_sorted(void **state)
{
	_cleanup_(view_freep) struct view *v = view_new();
	_cleanup_free_ const void **list = NULL;
	size_t n;

	put(v, KIND_TASK, task("b", "s", NULL, 1));
	put(v, KIND_TASK, task("a", "s", NULL, 2));
	list = view_list(v, KIND_TASK, &n);
	assert_int_equal(n, 2);
	assert_string_equal(((const pb_task *)list[0])->id, "a");
	free(view_list(v, KIND_NODE, &n));
	assert_int_equal(n, 0);
}

/* The indexes against counting by hand, after many random changes. */
enum { TASKS = 100000, CHANGES = 300000, SERVICES = 50, NODES = 200 };

struct model {
	int service[TASKS], node[TASKS]; /* -1 = no such task / not assigned */
};

static void change_one(struct view *v, struct model *m)
{
	int i = rand() % TASKS;
	char id[16], s[16], node[16];

	snprintf(id, sizeof(id), "t%06d", i);
	if (rand() % 4 == 0) {
		pb_free(view_del(v, KIND_TASK, id));
		m->service[i] = m->node[i] = -1;
		return;
	}
	if (m->service[i] < 0)
		m->service[i] = rand() % SERVICES;
	m->node[i] = rand() % (NODES + 1) - 1;
	snprintf(s, sizeof(s), "s%d", m->service[i]);
	snprintf(node, sizeof(node), "n%d", m->node[i]);
	put(v, KIND_TASK, task(id, s, m->node[i] < 0 ? NULL : node, (uint64_t)i));
}

static void assert_count(const pb_task **list, size_t n, const int *of, int value, const int *there)
{
	size_t want = 0;

	for (int i = 0; i < TASKS; i++)
		want += there[i] >= 0 && of[i] == value;
	assert_int_equal(n, want);
	for (size_t i = 1; i < n; i++)
		assert_true(strcmp(list[i - 1]->id, list[i]->id) < 0);
	free(list);
}

static void indexes_follow_every_change(void **state)
{
	_cleanup_(view_freep) struct view *v = view_new();
	_cleanup_free_ struct model *m = xmalloc(sizeof(*m));
	char key[16];
	size_t n;

	memset(m, 0xff, sizeof(*m));
	srand(1);
	for (int i = 0; i < CHANGES; i++)
		change_one(v, m);
	for (int i = 0; i < SERVICES; i++) {
		snprintf(key, sizeof(key), "s%d", i);
		const pb_task **list = view_tasks_of_service(v, key, &n);

		assert_count(list, n, m->service, i, m->service);
	}
	for (int i = 0; i < NODES; i++) {
		snprintf(key, sizeof(key), "n%d", i);
		const pb_task **list = view_tasks_of_node(v, key, &n);

		assert_count(list, n, m->node, i, m->service);
	}
	const pb_task **waiting = view_tasks_unassigned(v, &n);

	assert_count(waiting, n, m->node, -1, m->service);
}

static void put_migration(struct view *v, const char *id, uint64_t slot, const char *source, const char *target, int phase)
{
	pb_migration *m = pb_new(&skein__migration__descriptor);

	pb_set_str(&m->id, id);
	pb_set_str(&m->service_id, "s");
	pb_set_str(&m->source_task, source);
	pb_set_str(&m->target_task, target);
	m->slot = slot;
	m->phase = (Skein__MigrationPhase)phase;
	pb_free(view_put(v, KIND_MIGRATION, m));
}

static void migrations_are_found_by_their_tasks(void **state)
{
	_cleanup_(view_freep) struct view *v = view_new();
	const pb_migration **list;
	size_t n;

	put_migration(v, "m1", 2, "t1", "", MIGRATION_NEW);
	put_migration(v, "m2", 1, "t2", "t3", MIGRATION_COPY);
	put_migration(v, "m3", 1, "t4", "t5", MIGRATION_MOVED);
	assert_string_equal(view_migration_from(v, "t1")->id, "m1");
	assert_null(view_migration_to(v, "t1"));
	assert_string_equal(view_migration_from(v, "t2")->id, "m2");
	assert_string_equal(view_migration_to(v, "t3")->id, "m2");
	assert_null(view_migration_from(v, "t4")); /* it is over */
	assert_null(view_migration_to(v, "t5"));
	list = view_migrations_active(v, &n);
	assert_int_equal(n, 2);
	assert_string_equal(list[0]->id, "m1");
	free(list);
	list = view_migrations_of_service(v, "s", &n);
	assert_int_equal(n, 3);
	assert_string_equal(list[0]->id, "m2");
	assert_string_equal(list[2]->id, "m1");
	free(list);
	put_migration(v, "m1", 2, "t1", "t6", MIGRATION_ROLLED_BACK);
	assert_null(view_migration_from(v, "t1"));
	pb_free(view_del(v, KIND_MIGRATION, "m2"));
	assert_null(view_migration_to(v, "t3"));
	list = view_migrations_active(v, &n);
	assert_int_equal(n, 0);
	free(list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(objects_are_found_by_id),
		cmocka_unit_test(put_returns_what_was_there),
		cmocka_unit_test(tasks_move_between_groups),
		cmocka_unit_test(tasks_to_be_shut_down_wait_for_no_node),
		cmocka_unit_test(tasks_of_a_service_are_in_order_of_slot_and_age),
		cmocka_unit_test(services_are_found_by_name),
		cmocka_unit_test(networks_are_found_by_name),
		cmocka_unit_test(tasks_are_in_all_their_networks),
		cmocka_unit_test(services_are_in_networks_wanted_and_given),
		cmocka_unit_test(migrations_are_found_by_their_tasks),
		cmocka_unit_test(lists_are_sorted),
		cmocka_unit_test(indexes_follow_every_change),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
