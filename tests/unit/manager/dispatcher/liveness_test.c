#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "manager/dispatcher/liveness.h"
#include "support/build.h"

#include <stdio.h>

#define MS NS_PER_MS
#define PERIOD (250 * MS)

/* A manager "m1" that has run for long, on a simulated clock. */
struct world {
	struct view *v;
	struct liveness *l;
	int64_t now;
};

static void set_manager(struct view *v, const char *id, const char *manager_id)
{
	pb_node *n = pb_dup(view_node(v, id));

	pb_set_str(&n->status->manager_id, manager_id);
	pb_free(view_put(v, KIND_NODE, n));
}

static int setup(void **state)
{
	struct world *w = xnew(struct world);

	w->v = view_of(node("m1"), node("m2"), node("n1"), node("n2"));
	w->now = 1000 * SEC;
	w->l = liveness_new(&liveness_defaults, "m1", w->now);
	w->now += 60 * SEC;
	set_manager(w->v, "m1", "m1");
	set_manager(w->v, "m2", "m2");
	set_manager(w->v, "n1", "m1");
	set_manager(w->v, "n2", "m2");
	liveness_session(w->l, "m1", PERIOD, w->now);
	liveness_session(w->l, "n1", PERIOD, w->now);
	liveness_manager(w->l, "m2", true, w->now);
	*state = w;
	return 0;
}

static int teardown(void **state)
{
	struct world *w = *state;

	liveness_free(w->l);
	view_free(w->v);
	free(w);
	return 0;
}

/* Run the clock in steps of 10 ms until a node is judged or the time is over; `beating` beat all
 * the while. Returns the time it took, -1 when nobody was judged. */
static int64_t run_until_verdict(struct world *w, int64_t for_ns, const char *const *beating,
				 size_t n_beating, struct liveness_verdict *ret)
{
	int64_t start = w->now, last_beat = w->now;

	for (; w->now - start <= for_ns; w->now += 10 * MS) {
		struct liveness_verdict *verdicts;
		int64_t next;
		size_t n;

		if (w->now - last_beat >= PERIOD) {
			for (size_t i = 0; i < n_beating; i++)
				liveness_heard(w->l, beating[i], PERIOD, w->now);
			last_beat = w->now;
		}
		n = liveness_judge(w->l, w->v, w->now, &verdicts, &next);
		if (n)
			*ret = verdicts[0];
		free(verdicts);
		if (n)
			return w->now - start;
		assert_true(next > w->now);
	}
	return -1;
}

static void silence_is_down_after_a_second(void **state)
{
	struct world *w = *state;
	struct liveness_verdict verdict;
	const char *beating[] = {"m1"};
	int64_t took = run_until_verdict(w, 10 * SEC, beating, 1, &verdict);

	assert_in_range(took, 1000 * MS, 1100 * MS);
	assert_string_equal(verdict.node_id, "n1");
	assert_string_equal(verdict.manager_id, "m1");
	assert_int_equal(verdict.reason, LIVENESS_SILENT);
}

static void beating_nodes_are_never_down(void **state)
{
	struct world *w = *state;
	struct liveness_verdict verdict;
	const char *beating[] = {"m1", "n1"};

	assert_int_equal(run_until_verdict(w, 600 * SEC, beating, 2, &verdict), -1);
}

static void period_follows_sessions_and_spec(void **state)
{
	struct world *w = *state;
	char id[16];

	assert_int_equal(liveness_period(w->l, 0), PERIOD);
	assert_int_equal(liveness_period(w->l, 2 * SEC), 2 * SEC);
	for (int i = 0; i < 1000; i++) {
		snprintf(id, sizeof(id), "x%d", i);
		liveness_session(w->l, id, PERIOD, w->now);
	}
	assert_int_equal(liveness_sessions(w->l), 1002);
	assert_int_equal(liveness_period(w->l, 0), 1002 * MS);
}

static void long_periods_give_long_silence(void **state)
{
	struct world *w = *state;
	struct liveness_verdict verdict;
	const char *beating[] = {"m1"};

	liveness_session(w->l, "n1", 2 * SEC, w->now);
	assert_in_range(run_until_verdict(w, 20 * SEC, beating, 1, &verdict), 6000 * MS, 6100 * MS);
}

/* A host that once was late by 900 ms gets that much more patience, for a while. */
static void jitter_earns_patience(void **state)
{
	struct world *w = *state;
	struct liveness_verdict verdict;
	const char *beating[] = {"m1"};

	w->now += PERIOD + 900 * MS;
	liveness_heard(w->l, "m1", PERIOD, w->now);
	liveness_heard(w->l, "n1", PERIOD, w->now);
	assert_in_range(run_until_verdict(w, 20 * SEC, beating, 1, &verdict), 1650 * MS, 1800 * MS);
}

static void broken_stream_has_a_grace(void **state)
{
	struct world *w = *state;
	struct liveness_verdict verdict;
	const char *beating[] = {"m1"};

	liveness_broken(w->l, "n1", false, w->now);
	assert_int_equal(liveness_sessions(w->l), 1);
	assert_in_range(run_until_verdict(w, 20 * SEC, beating, 1, &verdict), 5000 * MS, 5100 * MS);
	assert_int_equal(verdict.reason, LIVENESS_LOST);
	assert_string_equal(verdict.node_id, "n1");
}

/* Who asked for patience with silence is not impatient with a broken stream. */
static void long_periods_give_a_long_grace(void **state)
{
	struct world *w = *state;
	struct liveness_verdict verdict;
	const char *beating[] = {"m1"};

	liveness_session(w->l, "n1", 4 * SEC, w->now);
	liveness_broken(w->l, "n1", false, w->now);
	assert_in_range(run_until_verdict(w, 20 * SEC, beating, 1, &verdict), 12 * SEC, 12 * SEC + 100 * MS);
	assert_int_equal(verdict.reason, LIVENESS_LOST);
}

static void leaving_needs_no_grace(void **state)
{
	struct world *w = *state;
	struct liveness_verdict verdict;
	const char *beating[] = {"m1"};

	liveness_broken(w->l, "n1", true, w->now);
	assert_in_range(run_until_verdict(w, 20 * SEC, beating, 1, &verdict), 0, 100 * MS);
	assert_int_equal(verdict.reason, LIVENESS_LEFT);
}

static void returning_in_the_grace_is_fine(void **state)
{
	struct world *w = *state;
	struct liveness_verdict verdict;
	const char *beating[] = {"m1", "n1"};

	liveness_broken(w->l, "n1", false, w->now);
	w->now += 4 * SEC;
	liveness_heard(w->l, "m1", PERIOD, w->now);
	liveness_session(w->l, "n1", PERIOD, w->now);
	assert_int_equal(run_until_verdict(w, 30 * SEC, beating, 2, &verdict), -1);
}

static void returning_to_another_manager_is_fine(void **state)
{
	struct world *w = *state;
	struct liveness_verdict verdict;
	const char *beating[] = {"m1"};

	liveness_broken(w->l, "n1", false, w->now);
	set_manager(w->v, "n1", "m2");
	assert_int_equal(run_until_verdict(w, 30 * SEC, beating, 1, &verdict), -1);
}

/* Slow agents end slow sessions; their hosts are not lost. */
static void stream_broken_after_silence_has_its_grace(void **state)
{
	struct world *w = *state;
	struct liveness_verdict verdict;
	const char *beating[] = {"m1"};

	w->now += 900 * MS;
	liveness_heard(w->l, "m1", PERIOD, w->now);
	liveness_broken(w->l, "n1", false, w->now);
	assert_in_range(run_until_verdict(w, 20 * SEC, beating, 1, &verdict), 5 * SEC, 5 * SEC + 200 * MS);
}

static void stall_gives_everybody_a_fresh_period(void **state)
{
	struct world *w = *state;
	struct liveness_verdict verdict;
	const char *beating[] = {"m1", "n1"};

	w->now += 30 * SEC;
	liveness_stalled(w->l, w->now);
	assert_int_equal(run_until_verdict(w, 10 * SEC, beating, 2, &verdict), -1);
}

/* One look is not enough: beats may wait in our own queue. */
static void silence_is_confirmed(void **state)
{
	struct world *w = *state;
	struct liveness_verdict *verdicts;
	int64_t next;

	liveness_heard(w->l, "m1", PERIOD, w->now + 2 * SEC);
	w->now += 2 * SEC;
	assert_int_equal(liveness_judge(w->l, w->v, w->now, &verdicts, &next), 0);
	free(verdicts);
	assert_int_equal(next, w->now + 50 * MS);
	liveness_heard(w->l, "n1", PERIOD, w->now + 1);
	w->now = next;
	assert_int_equal(liveness_judge(w->l, w->v, w->now, &verdicts, &next), 0);
	free(verdicts);
}

static void only_the_leader_judges_nodes_of_a_lost_manager(void **state)
{
	struct world *w = *state;
	struct liveness_verdict verdict;
	const char *beating[] = {"m1", "n1"};

	liveness_manager(w->l, "m2", false, w->now);
	assert_int_equal(run_until_verdict(w, 30 * SEC, beating, 2, &verdict), -1);
	liveness_leader(w->l, true, w->now);
	assert_in_range(run_until_verdict(w, 30 * SEC, beating, 2, &verdict), 5000 * MS, 5100 * MS);
	assert_int_equal(verdict.reason, LIVENESS_MANAGER_GONE);
	assert_string_equal(verdict.manager_id, "m2");
}

static void long_periods_give_a_long_grace_elsewhere(void **state)
{
	struct world *w = *state;
	struct liveness_verdict verdict;
	const char *beating[] = {"m1", "n1"};
	struct built c = cluster(5);

	((pb_cluster *)c.obj)->spec->heartbeat_period = 4 * SEC;
	view_add(w->v, c);
	liveness_manager(w->l, "m2", false, w->now);
	liveness_leader(w->l, true, w->now);
	assert_in_range(run_until_verdict(w, 30 * SEC, beating, 2, &verdict), 12 * SEC, 12 * SEC + 100 * MS);
	assert_int_equal(verdict.reason, LIVENESS_MANAGER_GONE);
}

static void nodes_of_a_living_manager_are_left_to_it(void **state)
{
	struct world *w = *state;
	struct liveness_verdict verdict;
	const char *beating[] = {"m1", "n1"};

	liveness_leader(w->l, true, w->now);
	assert_int_equal(run_until_verdict(w, 60 * SEC, beating, 2, &verdict), -1);
}

static void unknown_manager_counts_as_gone(void **state)
{
	struct world *w = *state;
	struct liveness_verdict verdict;
	const char *beating[] = {"m1", "n1"};

	set_manager(w->v, "n2", "m9");
	liveness_leader(w->l, true, w->now);
	assert_in_range(run_until_verdict(w, 30 * SEC, beating, 2, &verdict), 5000 * MS, 5100 * MS);
	assert_string_equal(verdict.node_id, "n2");
}

/* A manager that was restarted waits longer than agents wait between attempts. */
static void restart_has_the_long_grace(void **state)
{
	struct world *w = *state;
	struct liveness_verdict verdict;
	const char *beating[] = {"m1"};

	liveness_forget(w->l, "n1");
	liveness_restart(w->l, w->now);
	assert_in_range(run_until_verdict(w, 30 * SEC, beating, 1, &verdict), 12000 * MS,
			12100 * MS);
	assert_string_equal(verdict.node_id, "n1");
}

static void minority_of_managers(void **state)
{
	struct world *w = *state;
	static const char *const managers[] = {"m1", "m2", "m3"};

	assert_false(liveness_minority(w->l, w->v));
	view_add(w->v, node("m3"));
	for (size_t i = 0; i < ARRAY_SIZE(managers); i++) {
		pb_node *n = pb_dup(view_node(w->v, managers[i]));

		n->manager = pb_new(&skein__manager_status__descriptor);
		pb_free(view_put(w->v, KIND_NODE, n));
	}
	/* m1 is this one, m2 is alive, m3 was never seen. */
	assert_false(liveness_minority(w->l, w->v));
	liveness_manager(w->l, "m2", false, w->now);
	assert_true(liveness_minority(w->l, w->v));
	liveness_manager(w->l, "m3", true, w->now);
	assert_false(liveness_minority(w->l, w->v));
}

static void down_and_unknown_nodes_are_not_judged(void **state)
{
	struct world *w = *state;
	struct liveness_verdict verdict;
	const char *beating[] = {"m1", "n1"};

	view_add(w->v, node("n3", .state = NODE_DOWN));
	view_add(w->v, node("n4", .state = NODE_UNKNOWN));
	liveness_leader(w->l, true, w->now);
	assert_int_equal(run_until_verdict(w, 60 * SEC, beating, 2, &verdict), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
		T(silence_is_down_after_a_second),
		T(beating_nodes_are_never_down),
		T(period_follows_sessions_and_spec),
		T(long_periods_give_long_silence),
		T(jitter_earns_patience),
		T(broken_stream_has_a_grace),
		T(long_periods_give_a_long_grace),
		T(leaving_needs_no_grace),
		T(returning_in_the_grace_is_fine),
		T(returning_to_another_manager_is_fine),
		T(stream_broken_after_silence_has_its_grace),
		T(stall_gives_everybody_a_fresh_period),
		T(silence_is_confirmed),
		T(only_the_leader_judges_nodes_of_a_lost_manager),
		T(long_periods_give_a_long_grace_elsewhere),
		T(nodes_of_a_living_manager_are_left_to_it),
		T(unknown_manager_counts_as_gone),
		T(restart_has_the_long_grace),
		T(minority_of_managers),
		T(down_and_unknown_nodes_are_not_judged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
