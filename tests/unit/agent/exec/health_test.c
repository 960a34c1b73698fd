/* Health checks: which one is in force, when the next one is due, which failures count. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/exec/health.h"
#include "common/clock.h"

#define S NS_PER_SEC
#define MS NS_PER_MS

static pb_health_check *make(const char *kind, const char *command)
{
	pb_health_check *c = pb_new(&skein__health_check__descriptor);

	if (kind)
		pb_strs_add(&c->n_test, &c->test, kind);
	if (command)
		pb_strs_add(&c->n_test, &c->test, command);
	return c;
}

static void without_a_check_there_is_none(void **state)
{
	_cleanup_pb_ pb_health_check *none = make("NONE", NULL), *image = make("CMD-SHELL", "true"), *odd = make("HTTP", "/"),
				     *bare = make("CMD", NULL), *two = make("CMD-SHELL", "a"), *empty = make(NULL, NULL);

	pb_strs_add(&two->n_test, &two->test, "b");
	assert_null(health_resolve(NULL, NULL));
	assert_null(health_resolve(none, image));
	assert_null(health_resolve(NULL, none));
	assert_null(health_resolve(NULL, odd));
	assert_null(health_resolve(NULL, bare));
	assert_null(health_resolve(NULL, two));
	assert_null(health_resolve(empty, NULL));
}

static void defaults_are_swarms(void **state)
{
	_cleanup_pb_ pb_health_check *image = make("CMD", "true"), *c = health_resolve(NULL, image);

	assert_non_null(c);
	assert_string_equal(c->test[0], "CMD");
	assert_string_equal(c->test[1], "true");
	assert_int_equal(c->interval, 30 * S);
	assert_int_equal(c->timeout, 30 * S);
	assert_int_equal(c->retries, 3);
	assert_int_equal(c->start_period, 0);
	assert_int_equal(c->start_interval, 5 * S);
}

static void what_the_service_leaves_out_is_the_images(void **state)
{
	_cleanup_pb_ pb_health_check *image = make("CMD", "from-image"), *spec = make(NULL, NULL), *other = make("CMD-SHELL", "mine"),
				     *c = NULL, *d = NULL;

	image->interval = 7 * S;
	image->retries = 9;
	spec->timeout = 2 * S;
	spec->retries = 1;
	c = health_resolve(spec, image);
	assert_string_equal(c->test[1], "from-image");
	assert_int_equal(c->interval, 7 * S);
	assert_int_equal(c->timeout, 2 * S);
	assert_int_equal(c->retries, 1);
	d = health_resolve(other, image);
	assert_int_equal(d->n_test, 2);
	assert_string_equal(d->test[1], "mine");
	assert_int_equal(d->interval, 7 * S);
}

/* The manager looks at a service's spans; nobody did at an image's. */
static void an_image_does_not_make_the_agent_fork_without_end(void **state)
{
	_cleanup_pb_ pb_health_check *image = make("CMD", "true"), *none = make("NONE", NULL), *c = NULL;

	image->interval = 1;
	image->timeout = 999999;
	image->start_interval = INT64_MAX;
	c = health_resolve(NULL, image);
	assert_int_equal(c->interval, 30 * S);
	assert_int_equal(c->timeout, 30 * S);
	assert_int_equal(c->start_interval, 5 * S);
	assert_true(health_is_check(c));
	assert_false(health_is_check(none));
	assert_false(health_is_check(NULL));
}

static pb_health_check *usual(void)
{
	pb_health_check *c = make("CMD", "x");

	c->interval = 10 * S;
	c->timeout = S;
	c->retries = 3;
	c->start_interval = 5 * S;
	return c;
}

static void a_fast_start_is_seen_soon(void **state)
{
	_cleanup_pb_ pb_health_check *c = usual();
	struct health h;
	int64_t last = 0, sum = 0;

	health_begin(&h, 0, false);
	for (int i = 0; i < 30; i++) {
		int64_t d = health_distance(&h, c);

		assert_true(d >= last);
		assert_true(d <= 5 * S);
		if (sum < 3 * S) /* never much later than half as long again */
			assert_true(d <= 50 * MS + sum / 2);
		last = d;
		sum += d;
	}
	assert_int_equal(last, 5 * S);
	/* a short interval is kept from the beginning */
	c->interval = 20 * MS;
	health_begin(&h, 0, false);
	assert_int_equal(health_distance(&h, c), 20 * MS);
	assert_int_equal(health_distance(&h, c), 20 * MS);
}

static void the_first_success_makes_it_healthy(void **state)
{
	_cleanup_pb_ pb_health_check *c = usual();
	struct health h;

	health_begin(&h, 100 * S, false);
	assert_int_equal(health_result(&h, c, false, 100 * S + 50 * MS), HEALTH_SAME);
	assert_int_equal(health_result(&h, c, true, 100 * S + 150 * MS), HEALTH_PASSED);
	assert_int_equal(health_result(&h, c, true, 110 * S), HEALTH_SAME);
	assert_int_equal(health_distance(&h, c), 10 * S);
}

static void then_failures_in_a_row_count(void **state)
{
	_cleanup_pb_ pb_health_check *c = usual();
	struct health h;

	health_begin(&h, 0, false);
	health_result(&h, c, true, S);
	assert_int_equal(health_result(&h, c, false, 11 * S), HEALTH_SAME);
	assert_int_equal(health_result(&h, c, false, 21 * S), HEALTH_SAME);
	assert_int_equal(h.streak, 2);
	assert_int_equal(health_result(&h, c, true, 31 * S), HEALTH_SAME);
	assert_int_equal(h.streak, 0);
	assert_int_equal(health_result(&h, c, false, 41 * S), HEALTH_SAME);
	assert_int_equal(health_result(&h, c, false, 51 * S), HEALTH_SAME);
	assert_int_equal(health_result(&h, c, false, 61 * S), HEALTH_FAILED);
}

static void many_quick_checks_fail_no_sooner_than_the_regular_ones(void **state)
{
	_cleanup_pb_ pb_health_check *c = usual();
	struct health h;
	int64_t now = 0;

	health_begin(&h, 0, false);
	do
		now += health_distance(&h, c);
	while (health_result(&h, c, false, now) != HEALTH_FAILED);
	assert_in_range(now, 30 * S, 45 * S);
}

static void failures_in_the_start_period_do_not_count(void **state)
{
	_cleanup_pb_ pb_health_check *c = usual();
	struct health h;
	int64_t now = 0;

	c->start_period = 60 * S;
	health_begin(&h, 0, false);
	while (now < 59 * S) {
		assert_int_equal(health_result(&h, c, false, now), HEALTH_SAME);
		assert_int_equal(h.streak, 0);
		now += health_distance(&h, c);
	}
	do
		now += health_distance(&h, c);
	while (health_result(&h, c, false, now) != HEALTH_FAILED);
	assert_in_range(now, 80 * S, 100 * S);

	/* one success ends it */
	health_begin(&h, 0, false);
	assert_int_equal(health_result(&h, c, true, S), HEALTH_PASSED);
	for (int i = 0; i < 2; i++)
		assert_int_equal(health_result(&h, c, false, 2 * S), HEALTH_SAME);
	assert_int_equal(health_result(&h, c, false, 2 * S), HEALTH_FAILED);
}

static void one_that_was_healthy_before_stays_so(void **state)
{
	_cleanup_pb_ pb_health_check *c = usual();
	struct health h;

	health_begin(&h, 0, true);
	assert_int_equal(health_distance(&h, c), 10 * S);
	assert_int_equal(health_result(&h, c, true, S), HEALTH_SAME);
	assert_int_equal(health_result(&h, c, false, 2 * S), HEALTH_SAME);
	assert_int_equal(h.streak, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_check_there_is_none),
		cmocka_unit_test(defaults_are_swarms),
		cmocka_unit_test(what_the_service_leaves_out_is_the_images),
		cmocka_unit_test(an_image_does_not_make_the_agent_fork_without_end),
		cmocka_unit_test(a_fast_start_is_seen_soon),
		cmocka_unit_test(the_first_success_makes_it_healthy),
		cmocka_unit_test(then_failures_in_a_row_count),
		cmocka_unit_test(many_quick_checks_fail_no_sooner_than_the_regular_ones),
		cmocka_unit_test(failures_in_the_start_period_do_not_count),
		cmocka_unit_test(one_that_was_healthy_before_stays_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
