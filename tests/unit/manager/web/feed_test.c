#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "manager/web/feed.h"

#include "common/mem.h"

#include <stdio.h>
#include <string.h>

/* Ids behind a position, those that are gone with a minus. */
static void assert_behind(struct feed *f, uint64_t seq, const char *want)
{
	char got[256] = "";

	for (const struct feed_item *item = feed_after(f, seq); item; item = feed_next(item)) {
		strcat(got, *got ? " " : "");
		strcat(got, item->gone ? "-" : "");
		strcat(got, item->id);
		assert_true(item->seq > seq);
	}
	assert_string_equal(got, want);
}

static int begin(void **state)
{
	*state = feed_new();
	return 0;
}

static int end(void **state)
{
	feed_free(*state);
	return 0;
}

static void changes_come_once_and_newest_last(void **state)
{
	struct feed *f = *state;
	uint64_t before;

	feed_put(f, KIND_NODE, "n1");
	feed_put(f, KIND_TASK, "a");
	feed_put(f, KIND_TASK, "b");
	assert_behind(f, 0, "n1 a b");
	before = feed_seq(f);
	assert_behind(f, before, "");
	feed_put(f, KIND_TASK, "a");
	feed_put(f, KIND_TASK, "c");
	feed_put(f, KIND_TASK, "a");
	assert_behind(f, before, "c a");
	assert_behind(f, 0, "n1 b c a");
	assert_int_equal(feed_count(f), 4);
}

static void an_id_of_another_kind_is_another(void **state)
{
	struct feed *f = *state;

	feed_put(f, KIND_NODE, "x");
	feed_put(f, KIND_TASK, "x");
	assert_int_not_equal(feed_get(f, KIND_NODE, "x")->num, feed_get(f, KIND_TASK, "x")->num);
	feed_drop(f, KIND_NODE, "x", 0);
	assert_null(feed_get(f, KIND_NODE, "x"));
	assert_non_null(feed_get(f, KIND_TASK, "x"));
}

static void what_is_gone_is_told(void **state)
{
	struct feed *f = *state;
	uint64_t before;

	feed_put(f, KIND_TASK, "a");
	before = feed_seq(f);
	feed_drop(f, KIND_TASK, "a", TASK_FAILED);
	feed_drop(f, KIND_TASK, "a", TASK_FAILED);
	feed_drop(f, KIND_TASK, "never", 0);
	assert_behind(f, before, "-a");
	assert_int_equal(feed_after(f, before)->last, TASK_FAILED);
	assert_int_equal(feed_count(f), 0);
	feed_put(f, KIND_TASK, "a");
	assert_behind(f, before, "a");
	assert_int_equal(feed_count(f), 1);
}

/* A name stays while it is known, so that what refers to it stays right. */
static void numbers_stay(void **state)
{
	struct feed *f = *state;
	uint32_t num;

	feed_put(f, KIND_NODE, "n1");
	num = feed_get(f, KIND_NODE, "n1")->num;
	feed_put(f, KIND_NODE, "n2");
	feed_put(f, KIND_NODE, "n1");
	assert_int_equal(feed_get(f, KIND_NODE, "n1")->num, num);
	assert_int_not_equal(feed_get(f, KIND_NODE, "n2")->num, num);
}

static void marks_are_bounded(void **state)
{
	struct feed *f = *state;
	uint64_t last;
	char id[32];

	feed_put(f, KIND_TASK, "stays");
	for (unsigned i = 0; i < FEED_MARKS_MAX; i++) {
		snprintf(id, sizeof(id), "t%u", i);
		feed_put(f, KIND_TASK, id);
		feed_drop(f, KIND_TASK, id, 0);
	}
	assert_int_equal(feed_forgotten(f), 0);
	last = feed_seq(f);
	feed_put(f, KIND_TASK, "one more");
	feed_drop(f, KIND_TASK, "one more", 0);
	assert_true(feed_forgotten(f) > 0);
	assert_true(feed_forgotten(f) < last);
	assert_int_equal(feed_count(f), 1);
	/* Who was there lately has missed nothing. */
	assert_behind(f, last, "-one more");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(changes_come_once_and_newest_last, begin, end),
		cmocka_unit_test_setup_teardown(an_id_of_another_kind_is_another, begin, end),
		cmocka_unit_test_setup_teardown(what_is_gone_is_told, begin, end),
		cmocka_unit_test_setup_teardown(numbers_stay, begin, end),
		cmocka_unit_test_setup_teardown(marks_are_bounded, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
