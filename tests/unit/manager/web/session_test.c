#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "manager/web/session.h"

#include "common/clock.h"
#include "common/mem.h"

#include <string.h>

#define NOW (INT64_C(1700000000) * NS_PER_SEC)
#define HOUR (3600 * NS_PER_SEC)

static uint64_t open_one(struct sessions *s, const char *token, unsigned char seed, int64_t now, struct session_texts *ret)
{
	unsigned char random[2 * SESSION_SECRET_BYTES];

	memset(random, seed, sizeof(random));
	random[SESSION_SECRET_BYTES] ^= 0x55;
	return sessions_open(s, token, NOW + HOUR, now, random, ret);
}

static int begin(void **state)
{
	*state = sessions_new();
	return 0;
}

static int end(void **state)
{
	sessions_free(*state);
	return 0;
}

static void both_secrets_are_needed(void **state)
{
	struct session_texts a, b;
	uint64_t first = open_one(*state, "t1", 1, NOW, &a), second = open_one(*state, "t1", 2, NOW, &b);

	assert_true(first && second && first != second);
	assert_int_equal(sessions_find(*state, a.cookie, a.key, NOW), first);
	assert_int_equal(sessions_find(*state, b.cookie, b.key, NOW), second);
	assert_int_equal(sessions_find(*state, a.cookie, b.key, NOW), 0);
	assert_int_equal(sessions_find(*state, a.key, a.cookie, NOW), 0);
	assert_int_equal(sessions_find(*state, a.cookie, NULL, NOW), 0);
	assert_int_equal(sessions_find(*state, NULL, a.key, NOW), 0);
	assert_int_equal(sessions_find(*state, a.cookie, "", NOW), 0);
	a.key[3] = a.key[3] == 'x' ? 'y' : 'x';
	assert_int_equal(sessions_find(*state, a.cookie, a.key, NOW), 0);
}

/* What is free is all zeros, and must not be what zeros open. */
static void nobody_is_signed_in_at_first(void **state)
{
	assert_int_equal(sessions_find(*state, "0000000000000000000000000", "0000000000000000000000000", NOW), 0);
	assert_int_equal(sessions_count(*state), 0);
	assert_int_equal(sessions_next_end(*state, NOW), INT64_MAX);
}

static void sessions_end_with_their_token(void **state)
{
	struct session_texts a, b;
	uint64_t first = open_one(*state, "t1", 1, NOW, &a), second = open_one(*state, "t2", 2, NOW, &b);

	assert_true(sessions_has(*state, first, NOW + HOUR - 1));
	assert_false(sessions_has(*state, first, NOW + HOUR));
	assert_int_equal(sessions_find(*state, a.cookie, a.key, NOW + HOUR), 0);
	assert_int_equal(sessions_next_end(*state, NOW), NOW + HOUR);
	sessions_close_token(*state, "t1");
	assert_false(sessions_has(*state, first, NOW));
	assert_true(sessions_has(*state, second, NOW));
	sessions_close(*state, second);
	assert_int_equal(sessions_find(*state, b.cookie, b.key, NOW), 0);
	assert_int_equal(sessions_count(*state), 0);
}

static void the_longest_silent_one_makes_room(void **state)
{
	struct session_texts texts[SESSIONS_MAX], one;
	uint64_t ids[SESSIONS_MAX];

	for (unsigned i = 0; i < SESSIONS_MAX; i++)
		ids[i] = open_one(*state, "t1", (unsigned char)(i + 1), NOW + i, &texts[i]);
	/* The first is used again: the second is the one that is silent. */
	assert_int_equal(sessions_find(*state, texts[0].cookie, texts[0].key, NOW + SESSIONS_MAX), ids[0]);
	open_one(*state, "t1", 200, NOW + SESSIONS_MAX + 1, &one);
	assert_int_equal(sessions_count(*state), SESSIONS_MAX);
	assert_true(sessions_has(*state, ids[0], NOW));
	assert_false(sessions_has(*state, ids[1], NOW));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(both_secrets_are_needed, begin, end),
		cmocka_unit_test_setup_teardown(nobody_is_signed_in_at_first, begin, end),
		cmocka_unit_test_setup_teardown(sessions_end_with_their_token, begin, end),
		cmocka_unit_test_setup_teardown(the_longest_silent_one_makes_room, begin, end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
