#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "manager/web/board.h"

#include "support/build.h"

struct fixture {
	struct view *view;
	struct board *board;
	uint64_t seen;
};

static struct fixture f;

/* Put an object, or (obj NULL) delete it, as the store tells it. */
static void change(enum kind kind, const char *id, void *obj)
{
	struct store_event e = {.kind = kind, .id = id, .now = obj};
	void *old = obj ? view_put(f.view, kind, obj) : view_del(f.view, kind, id);

	e.old = old;
	board_events(f.board, &e, 1);
	pb_free(old);
}

static void put(struct built b)
{
	change(b.kind, kind_info(b.kind)->id(b.obj), b.obj);
}

/* What changed since the last look, in order; gone with a minus. */
static void assert_told(const char *want)
{
	char got[512] = "";

	for (const struct feed_item *item = feed_after(board_feed(f.board), f.seen); item; item = feed_next(item)) {
		strcat(got, *got ? " " : "");
		strcat(got, item->gone ? "-" : "");
		strcat(got, item->id);
	}
	f.seen = feed_seq(board_feed(f.board));
	assert_string_equal(got, want);
}

static int begin(void **state)
{
	f = (struct fixture){.view = view_of(node("n1"), node("n2"), service("web", .replicas = 2), service("each", .global = true),
					     task("t1", .slot = 1, .node = "n1"), task("t2", .slot = 2, .node = "n2"),
					     task("old", .slot = 2, .node = "n1", .state = TASK_FAILED, .desired = TASK_SHUTDOWN,
						  .created_at = NOW - 7200 * SEC))};
	f.board = board_new(f.view);
	return 0;
}

static int end(void **state)
{
	board_free(f.board);
	view_free(f.view);
	return 0;
}

static void history_is_not_shown(void **state)
{
	assert_told("n1 n2 each web t1 t2");
}

static void a_task_that_moves_on(void **state)
{
	f.seen = feed_seq(board_feed(f.board));
	put(task("t1", .slot = 1, .node = "n1", .desired = TASK_SHUTDOWN));
	put(task("t3", .slot = 1, .state = TASK_PENDING));
	assert_told("t1 t3");
	put(task("t3", .slot = 1, .node = "n2", .state = TASK_STARTING));
	put(task("t1", .slot = 1, .node = "n1", .desired = TASK_SHUTDOWN, .state = TASK_SHUTDOWN));
	assert_told("t3 -t1");
	change(KIND_TASK, "t1", NULL);
	assert_told("");
}

/* What nobody sees is not told: images come and go all the time. */
static void invisible_changes(void **state)
{
	f.seen = feed_seq(board_feed(f.board));
	put(node("n1", .image = "docker.io/library/web:1"));
	assert_told("");
	put(node("n1", .address = "10.0.0.1"));
	assert_told("n1");
}

static void the_end_of_a_slot_is_shown(void **state)
{
	f.seen = feed_seq(board_feed(f.board));
	/* Failed, and nothing follows. */
	put(task("t1", .slot = 1, .node = "n1", .state = TASK_FAILED));
	assert_told("t1");
	put(task("t1", .slot = 1, .node = "n1", .state = TASK_FAILED, .desired = TASK_SHUTDOWN));
	assert_told("t1");
	/* A successor after all. */
	put(task("t3", .slot = 1, .state = TASK_PENDING, .created_at = NOW));
	assert_told("-t1 t3");
	/* It fails, too: the newer end stays. */
	put(task("t3", .slot = 1, .node = "n2", .state = TASK_FAILED, .desired = TASK_SHUTDOWN, .created_at = NOW));
	assert_told("t3");
	change(KIND_TASK, "t3", NULL);
	assert_told("-t3");
}

static void an_old_task_that_fails_beside_its_successor(void **state)
{
	put(task("t3", .slot = 1, .node = "n2", .created_at = NOW));
	f.seen = feed_seq(board_feed(f.board));
	put(task("t1", .slot = 1, .node = "n1", .state = TASK_FAILED, .desired = TASK_SHUTDOWN));
	assert_told("-t1");
	/* Its successor is given up and was told to stop: nothing ended by itself but the old one. */
	put(task("t3", .slot = 1, .node = "n2", .state = TASK_SHUTDOWN, .desired = TASK_SHUTDOWN, .created_at = NOW));
	assert_told("-t3 t1");
}

static void scaled_down(void **state)
{
	f.seen = feed_seq(board_feed(f.board));
	put(task("t2", .slot = 2, .node = "n2", .desired = TASK_REMOVE));
	assert_told("t2");
	put(task("t2", .slot = 2, .node = "n2", .desired = TASK_REMOVE, .state = TASK_FAILED));
	assert_told("-t2");
}

static void global_services_follow_the_nodes(void **state)
{
	f.seen = feed_seq(board_feed(f.board));
	put(node("n1", .availability = AVAILABILITY_DRAIN));
	assert_told("n1 each");
	put(node("n3"));
	assert_told("n3 each");
	change(KIND_NODE, "n3", NULL);
	assert_told("-n3 each");
	/* A global task has its slot from its node: it changes when it gets one. */
	put(task("g1", .service = "each", .state = TASK_PENDING));
	put(task("g1", .service = "each", .node = "n2"));
	put(task("g1", .service = "each", .node = "n2", .state = TASK_SHUTDOWN, .desired = TASK_SHUTDOWN));
	assert_told("-g1");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(history_is_not_shown, begin, end),
		cmocka_unit_test_setup_teardown(a_task_that_moves_on, begin, end),
		cmocka_unit_test_setup_teardown(invisible_changes, begin, end),
		cmocka_unit_test_setup_teardown(the_end_of_a_slot_is_shown, begin, end),
		cmocka_unit_test_setup_teardown(an_old_task_that_fails_beside_its_successor, begin, end),
		cmocka_unit_test_setup_teardown(scaled_down, begin, end),
		cmocka_unit_test_setup_teardown(global_services_follow_the_nodes, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
