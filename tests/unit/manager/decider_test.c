/*
 * The decider on a real loop, with a store of the test's own: commits take a turn of the loop and
 * end as the test says.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/build.h"

#include "manager/decider.h"
#include "manager/store/plan.h"
#include "manager/store/store.h"

#include "common/error.h"

struct store_sub {
	store_events_cb cb;
	void *data;
};

struct store {
	uv_loop_t *loop;
	struct view *view;
	struct store_sub sub;
	uv_timer_t timer;
	struct txn *txn; /* the commit in flight */
	store_commit_cb cb;
	void *data;
	enum error_code answers[8]; /* of the next commits; ERR_OK behind them */
	unsigned n_answers, next_answer;
	unsigned commits, most_in_flight, in_flight;
	uint64_t delay_ms;
};

struct view *store_view(struct store *s)
{
	return s->view;
}

struct store_sub *store_subscribe(struct store *s, store_events_cb cb, void *data)
{
	s->sub = (struct store_sub){cb, data};
	return &s->sub;
}

void store_unsubscribe(struct store_sub *sub)
{
	if (sub)
		sub->cb = NULL;
}

static void put(struct store *s, enum kind kind, const char *id, void *obj)
{
	void *old = obj ? view_put(s->view, kind, obj) : view_del(s->view, kind, id);
	struct store_event event = {.kind = kind, .id = id, .old = old, .now = obj};

	if (s->sub.cb)
		s->sub.cb(s->sub.data, &event, 1);
	pb_free(old);
}

static void apply(struct store *s)
{
	size_t n;
	const struct txn_change *changes = txn_changes(s->txn, &n);

	for (size_t i = 0; i < n; i++)
		put(s, changes[i].kind, changes[i].id, pb_dup(changes[i].obj));
}

static void on_answer(uv_timer_t *timer)
{
	struct store *s = timer->data;
	enum error_code code =
		s->next_answer < s->n_answers ? s->answers[s->next_answer++] : ERR_OK;
	struct error err = ERROR_INIT;

	if (code == ERR_OK)
		apply(s);
	else
		error_set(&err, code, "as the test says");
	txn_free(TAKE_PTR(s->txn));
	s->in_flight--;
	s->cb(s->data, code == ERR_OK ? NULL : &err);
}

void store_commit(struct store *s, struct txn *t, unsigned flags, store_commit_cb cb, void *data)
{
	assert_int_equal(flags, STORE_FENCED | STORE_CHUNKED);
	txn_end(t);
	s->txn = t;
	s->cb = cb;
	s->data = data;
	s->commits++;
	s->in_flight++;
	s->most_in_flight = MAX(s->most_in_flight, s->in_flight);
	uv_timer_start(&s->timer, on_answer, s->delay_ms, 0);
}

/* ---- */

struct bed {
	uv_loop_t loop;
	struct store store;
	struct decider *decider;
	uv_timer_t limit;
};

static void on_limit(uv_timer_t *timer)
{
	fail_msg("the condition did not come within 10 s");
}

static void setup(struct bed *b, struct view *view)
{
	*b = (struct bed){0};
	uv_loop_init(&b->loop);
	b->store.loop = &b->loop;
	b->store.view = view;
	uv_timer_init(&b->loop, &b->store.timer);
	b->store.timer.data = &b->store;
	uv_timer_init(&b->loop, &b->limit);
	uv_timer_start(&b->limit, on_limit, 10000, 0);
	b->decider = decider_new(&b->loop, &b->store);
}

static void teardown(struct bed *b)
{
	decider_close(b->decider, NULL, NULL);
	uv_close((uv_handle_t *)&b->limit, NULL);
	/* The commit in flight ends first: the decider waits for it. */
	while (b->store.in_flight)
		uv_run(&b->loop, UV_RUN_NOWAIT);
	uv_close((uv_handle_t *)&b->store.timer, NULL);
	uv_run(&b->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&b->loop), 0);
	view_free(b->store.view);
}

static size_t tasks_in(struct bed *b, int state)
{
	size_t n, count = 0;
	const void **tasks = view_list(b->store.view, KIND_TASK, &n);

	for (size_t i = 0; i < n; i++)
		count += task_state(tasks[i]) == state;
	free(tasks);
	return count;
}

static void until_assigned(struct bed *b, size_t n)
{
	while (tasks_in(b, TASK_ASSIGNED) < n || b->store.in_flight)
		uv_run(&b->loop, UV_RUN_NOWAIT);
}

/* Let everything happen that happens by itself now. */
static void until_rounds(struct bed *b, uint64_t rounds)
{
	while (decider_stats(b->decider)->rounds < rounds || b->store.in_flight)
		uv_run(&b->loop, UV_RUN_NOWAIT);
}

static void only_the_leader_decides(void **state)
{
	struct bed b;

	setup(&b, view_of(node("n1"), service("web", .replicas = 3)));
	put(&b.store, KIND_NODE, "n2", node("n2").obj);
	uv_run(&b.loop, UV_RUN_NOWAIT);
	uv_run(&b.loop, UV_RUN_NOWAIT);
	assert_int_equal(decider_stats(b.decider)->rounds, 0);

	decider_start(b.decider);
	until_assigned(&b, 3);
	assert_int_equal(b.store.commits, 1);

	decider_stop(b.decider);
	put(&b.store, KIND_SERVICE, "db", service("db").obj);
	uv_run(&b.loop, UV_RUN_NOWAIT);
	uv_run(&b.loop, UV_RUN_NOWAIT);
	assert_int_equal(tasks_in(&b, TASK_ASSIGNED), 3);

	/* Elected again: what happened meanwhile is found. */
	decider_start(b.decider);
	until_assigned(&b, 4);
	teardown(&b);
}

static void a_change_is_planned_in_the_next_turn(void **state)
{
	struct bed b;
	uint64_t rounds;

	setup(&b, view_of(node("n1")));
	decider_start(b.decider);
	until_rounds(&b, 1);
	b.store.delay_ms = 10;
	rounds = decider_stats(b.decider)->rounds;
	/* Many events of one turn: one round. */
	for (unsigned i = 0; i < 10; i++) {
		char id[8];

		snprintf(id, sizeof(id), "s%u", i);
		put(&b.store, KIND_SERVICE, id, service(id).obj);
	}
	uv_run(&b.loop, UV_RUN_NOWAIT);
	assert_int_equal(decider_stats(b.decider)->rounds, rounds + 1);
	assert_int_equal(b.store.commits, 1);
	until_assigned(&b, 10);
	teardown(&b);
}

static void one_commit_at_a_time(void **state)
{
	struct bed b;

	setup(&b, view_of(node("n1"), service("s0")));
	b.store.delay_ms = 20;
	decider_start(b.decider);
	until_rounds(&b, 0);
	for (unsigned i = 1; i < 5; i++) {
		char id[8];

		snprintf(id, sizeof(id), "s%u", i);
		put(&b.store, KIND_SERVICE, id, service(id).obj);
		uv_run(&b.loop, UV_RUN_NOWAIT);
	}
	until_assigned(&b, 5);
	assert_int_equal(b.store.most_in_flight, 1);
	assert_int_equal(b.store.commits, 2); /* what came meanwhile went together */
	teardown(&b);
}

static void conflicts_and_failures_are_planned_again(void **state)
{
	struct bed b;

	setup(&b, view_of(node("n1"), service("web", .replicas = 2)));
	b.store.answers[0] = ERR_CONFLICT;
	b.store.answers[1] = ERR_CONFLICT;
	b.store.answers[2] = ERR_UNAVAILABLE;
	b.store.n_answers = 3;
	decider_start(b.decider);
	until_assigned(&b, 2);
	assert_int_equal(b.store.commits, 4);
	assert_int_equal(decider_stats(b.decider)->conflicts, 2);
	assert_int_equal(decider_stats(b.decider)->failures, 1);
	assert_int_equal(decider_stats(b.decider)->commits, 1);
	teardown(&b);
}

static void wakes_in_time(void **state)
{
	struct bed b;
	pb_task *t;
	int64_t since = clock_wall_ns();

	setup(&b, view_of(node("n1"), service("web", .restart_delay = 50 * NS_PER_MS),
			  task("t1", .slot = 1, .node = "n1")));
	decider_start(b.decider);
	until_rounds(&b, 1);
	t = pb_dup(view_task(b.store.view, "t1"));
	t->status->state = (Skein__TaskState)TASK_FAILED;
	put(&b.store, KIND_TASK, "t1", t);
	for (size_t running = 0; !running;) {
		size_t n;
		const void **tasks;

		uv_run(&b.loop, UV_RUN_NOWAIT);
		tasks = view_list(b.store.view, KIND_TASK, &n);
		for (size_t i = 0; i < n; i++)
			running += ((const pb_task *)tasks[i])->desired ==
					   (Skein__TaskState)TASK_RUNNING &&
				   !task_ended(tasks[i]);
		free(tasks);
	}
	assert_true(clock_wall_ns() - since >= 50 * NS_PER_MS);
	teardown(&b);
}

/* What agents and images do all the time plans nothing. */
static void changes_that_decide_nothing(void **state)
{
	struct bed b;
	uint64_t rounds;
	pb_task *t;
	pb_node *n;

	setup(&b, view_of(node("n1"), service("web"),
			  task("t1", .slot = 1, .node = "n1", .state = TASK_ASSIGNED)));
	decider_start(b.decider);
	until_rounds(&b, 1);
	rounds = decider_stats(b.decider)->rounds;
	t = pb_dup(view_task(b.store.view, "t1"));
	t->status->state = (Skein__TaskState)TASK_STARTING;
	put(&b.store, KIND_TASK, "t1", t);
	n = pb_dup(view_node(b.store.view, "n1"));
	pb_msgs_add(&n->description->n_images, &n->description->images,
		    pb_new(&skein__image_info__descriptor));
	n->cert_expires_at = 1;
	put(&b.store, KIND_NODE, "n1", n);
	uv_run(&b.loop, UV_RUN_NOWAIT);
	uv_run(&b.loop, UV_RUN_NOWAIT);
	assert_int_equal(decider_stats(b.decider)->rounds, rounds);
	teardown(&b);
}

static void closed_with_a_commit_in_flight(void **state)
{
	struct bed b;

	setup(&b, view_of(node("n1"), service("web")));
	b.store.delay_ms = 20;
	decider_start(b.decider);
	while (!b.store.in_flight)
		uv_run(&b.loop, UV_RUN_NOWAIT);
	teardown(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_the_leader_decides),
		cmocka_unit_test(a_change_is_planned_in_the_next_turn),
		cmocka_unit_test(one_commit_at_a_time),
		cmocka_unit_test(conflicts_and_failures_are_planned_again),
		cmocka_unit_test(wakes_in_time),
		cmocka_unit_test(changes_that_decide_nothing),
		cmocka_unit_test(closed_with_a_commit_in_flight),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
