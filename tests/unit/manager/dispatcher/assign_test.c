#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "manager/dispatcher/assign.h"
#include "manager/dispatcher/peers.h"
#include "support/build.h"

#include <stdio.h>

#define DIGEST "sha256:0000000000000000000000000000000000000000000000000000000000000001"

static uint64_t revision = 1;

/* Put a changed copy of a task, at a new revision, as the store does. */
static void change(struct view *v, const char *id, int state, int desired)
{
	pb_task *t = pb_dup(view_task(v, id));

	t->status->state = (Skein__TaskState)state;
	t->desired = (Skein__TaskState)desired;
	t->meta->revision = ++revision;
	pb_free(view_put(v, KIND_TASK, t));
}

static Skein__Assignments *next(struct assign *a, struct view *v)
{
	struct peers *peers = peers_new(v);
	Skein__Assignments *set = assign_next(a, v, peers);

	peers_free(peers);
	return set;
}

static void first_set_is_complete(void **state)
{
	struct view *v = view_of(node("n1"), node("n2"), service("web"),
				 task("t1", .node = "n1", .slot = 1, .state = TASK_ASSIGNED),
				 task("t2", .node = "n2", .slot = 2, .state = TASK_ASSIGNED),
				 task("t3", .slot = 3, .state = TASK_PENDING),
				 task("t4", .node = "n1", .slot = 4, .state = TASK_ORPHANED));
	struct assign *a = assign_new("n1");
	_cleanup_pb_ Skein__Assignments *set = next(a, v), *none = next(a, v);

	assert_true(set->complete);
	assert_false(set->more);
	assert_int_equal(set->applies_to, 0);
	assert_int_equal(set->results_in, 1);
	assert_int_equal(set->n_update, 1);
	assert_string_equal(set->update[0]->task->id, "t1");
	assert_null(none);
	assign_free(a);
	view_free(v);
}

static void empty_node_gets_an_empty_complete_set(void **state)
{
	struct view *v = view_of(node("n1"));
	struct assign *a = assign_new("n1");
	_cleanup_pb_ Skein__Assignments *set = next(a, v), *none = next(a, v);

	assert_true(set->complete);
	assert_int_equal(set->n_update, 0);
	assert_null(none);
	assign_free(a);
	view_free(v);
}

static void own_reports_do_not_come_back(void **state)
{
	struct view *v = view_of(node("n1"), service("web"),
				 task("t1", .node = "n1", .state = TASK_ASSIGNED));
	struct assign *a = assign_new("n1");
	_cleanup_pb_ Skein__Assignments *set = next(a, v), *after = NULL, *stop = NULL;

	change(v, "t1", TASK_RUNNING, TASK_RUNNING);
	after = next(a, v);
	assert_null(after);
	change(v, "t1", TASK_RUNNING, TASK_SHUTDOWN);
	stop = next(a, v);
	assert_non_null(stop);
	assert_false(stop->complete);
	assert_int_equal(stop->applies_to, 1);
	assert_int_equal(stop->results_in, 2);
	assert_int_equal(stop->n_update, 1);
	assert_int_equal(stop->update[0]->task->desired, TASK_SHUTDOWN);
	assign_free(a);
	view_free(v);
}

static void removed_and_orphaned_tasks_are_removed(void **state)
{
	struct view *v = view_of(node("n1"), service("web"), task("t1", .node = "n1"),
				 task("t2", .node = "n1"), task("t3", .node = "n1"));
	struct assign *a = assign_new("n1");
	_cleanup_pb_ Skein__Assignments *set = next(a, v), *gone = NULL, *none = NULL;

	pb_free(view_del(v, KIND_TASK, "t1"));
	change(v, "t3", TASK_ORPHANED, TASK_RUNNING);
	gone = next(a, v);
	assert_int_equal(gone->n_update, 0);
	assert_int_equal(gone->n_remove, 2);
	none = next(a, v);
	assert_null(none);
	assign_free(a);
	view_free(v);
}

/* 40 tasks of 200 KiB do not fit into one message: nothing may be missing or twice. */
static void large_sets_are_split(void **state)
{
	struct view *v = view_of(node("n1"), service("web"));
	struct assign *a = assign_new("n1");
	_cleanup_free_ char *big = xcalloc(1, (200 << 10) + 1);
	size_t n = 0, messages = 0;
	bool more = true;

	memset(big, 'x', 200 << 10);
	for (int i = 0; i < 40; i++) {
		char id[16];
		struct built b;
		pb_task *t;

		snprintf(id, sizeof(id), "t%02d", i);
		b = task(id, .node = "n1", .slot = (uint64_t)i + 1, .state = TASK_ASSIGNED);
		t = b.obj;
		pb_set_msg(&t->spec, view_service(v, "web")->spec->task);
		pb_strs_add(&t->spec->container->n_env, &t->spec->container->env, big);
		view_add(v, b);
	}
	while (more) {
		_cleanup_pb_ Skein__Assignments *set = next(a, v);

		assert_non_null(set);
		assert_int_equal(set->complete, messages == 0);
		assert_int_equal(set->applies_to, messages);
		assert_true(protobuf_c_message_get_packed_size(&set->base) < (15u << 18));
		assert_int_equal(set->n_remove, 0);
		n += set->n_update;
		more = set->more;
		messages++;
	}
	assert_int_equal(n, 40);
	assert_in_range(messages, 3, 4);
	assert_null(next(a, v));
	assign_free(a);
	view_free(v);
}

static void add_image(struct view *v, const char *node_id)
{
	pb_node *n = pb_dup(view_node(v, node_id));
	pb_image_info *image = pb_new(&skein__image_info__descriptor);

	pb_set_str(&image->digest, DIGEST);
	pb_msgs_add(&n->description->n_images, &n->description->images, image);
	n->peer_port = 7946;
	pb_free(view_put(v, KIND_NODE, n));
}

static void set_task_digest(struct view *v, const char *id)
{
	pb_task *t = pb_dup(view_task(v, id));

	pb_set_str(&t->spec->container->image_digest, DIGEST);
	pb_free(view_put(v, KIND_TASK, t));
}

static void image_peers_are_ready_nodes_that_have_it(void **state)
{
	struct view *v =
		view_of(node("n1", .address = "10.0.0.1"), node("n2", .address = "10.0.0.2"),
			node("n3", .address = "10.0.0.3", .state = NODE_DOWN),
			node("n4", .address = "fd00::4"), node("n5", .address = "10.0.0.5"),
			service("web"), task("t1", .node = "n1", .state = TASK_ASSIGNED),
			task("t2", .node = "n2", .state = TASK_ASSIGNED));
	struct assign *a1 = assign_new("n1"), *a2 = assign_new("n2");
	_cleanup_pb_ Skein__Assignments *for1 = NULL, *for2 = NULL;
	bool saw2 = false, saw4 = false;

	add_image(v, "n2");
	add_image(v, "n3");
	add_image(v, "n4");
	set_task_digest(v, "t1");
	set_task_digest(v, "t2");
	for1 = next(a1, v);
	for2 = next(a2, v);
	assert_int_equal(for1->update[0]->n_image_peers, 2);
	for (size_t i = 0; i < 2; i++) {
		saw2 |= str_eq(for1->update[0]->image_peers[i]->address, "10.0.0.2:7946");
		saw4 |= str_eq(for1->update[0]->image_peers[i]->address, "[fd00::4]:7946");
	}
	assert_true(saw2 && saw4);
	/* It has the image itself. */
	assert_int_equal(for2->update[0]->n_image_peers, 0);
	assign_free(a1);
	assign_free(a2);
	view_free(v);
}

static void at_most_five_image_peers(void **state)
{
	struct view *v = view_of(node("n0", .address = "10.0.0.9"), service("web"),
				 task("t1", .node = "n0", .state = TASK_ASSIGNED));
	struct assign *a = assign_new("n0");
	_cleanup_pb_ Skein__Assignments *set = NULL;

	for (int i = 1; i <= 20; i++) {
		char id[16];

		snprintf(id, sizeof(id), "n%d", i);
		view_add(v, node(id, .address = "10.0.0.1"));
		add_image(v, id);
	}
	set_task_digest(v, "t1");
	set = next(a, v);
	assert_int_equal(set->update[0]->n_image_peers, PEERS_MAX);
	assign_free(a);
	view_free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(first_set_is_complete),
		cmocka_unit_test(empty_node_gets_an_empty_complete_set),
		cmocka_unit_test(own_reports_do_not_come_back),
		cmocka_unit_test(removed_and_orphaned_tasks_are_removed),
		cmocka_unit_test(large_sets_are_split),
		cmocka_unit_test(image_peers_are_ready_nodes_that_have_it),
		cmocka_unit_test(at_most_five_image_peers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
