#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "common/jointoken.h"

#include <string.h>

static struct jointoken token_of(const char *id)
{
	struct jointoken token = {0};

	for (unsigned i = 0; i < sizeof(token.root_digest); i++)
		token.root_digest[i] = (unsigned char)(200 + i);
	for (unsigned i = 0; i < sizeof(token.secret); i++)
		token.secret[i] = (unsigned char)(i * 17);
	strcpy(token.id, id);
	return token;
}

static void round_trip(void **state)
{
	static const char *const ids[] = {"", "0123456789", "zzzzzzzzzz"};
	char text[JOINTOKEN_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		struct jointoken token = token_of(ids[i]), back = {.id = "x"};

		jointoken_format(&token, text);
		assert_int_equal(strlen(text), 8 + 50 + 1 + strlen(ids[i]) + 25);
		assert_int_equal(jointoken_parse(text, &back, NULL), 0);
		assert_memory_equal(&token, &back, sizeof(token));
	}
}

static void known_text(void **state)
{
	struct jointoken token = {0};
	char text[JOINTOKEN_MAX];

	token.root_digest[31] = 35;
	token.secret[15] = 36;
	assert_string_equal(jointoken_format(&token, text),
			    "SKEIN-1-0000000000000000000000000000000000000000000000000z-"
			    "0000000000000000000000010");
}

static void refused_without_repeating_the_text(void **state)
{
	struct jointoken token = token_of(""), untouched = token_of("0123456789"), out = untouched;
	char good[JOINTOKEN_MAX], bad[2 * JOINTOKEN_MAX];
	struct error err = ERROR_INIT;

	jointoken_format(&token, good);
	for (size_t i = 0; i < strlen(good); i++) {
		/* Cut everywhere; a character that is not base 36 everywhere. */
		memcpy(bad, good, i);
		bad[i] = '\0';
		assert_int_equal(jointoken_parse(bad, &out, &err), -1);
		strcpy(bad, good);
		bad[i] = '_';
		assert_int_equal(jointoken_parse(bad, &out, &err), -1);
		assert_int_equal(err.code, ERR_INVALID);
		assert_null(strstr(err.msg, good + 60));
	}
	strcpy(bad, good);
	strcat(bad, "0");
	assert_int_equal(jointoken_parse(bad, &out, &err), -1);
	memset(bad, 'a', sizeof(bad) - 1);
	bad[sizeof(bad) - 1] = '\0';
	assert_int_equal(jointoken_parse(bad, &out, &err), -1);
	strcpy(bad, good);
	memset(bad + 8, 'z', 50); /* more than 256 bits */
	assert_int_equal(jointoken_parse(bad, &out, &err), -1);
	strcpy(bad, good);
	memset(bad + 59, 'z', 25); /* more than 128 bits */
	assert_int_equal(jointoken_parse(bad, &out, &err), -1);
	assert_int_equal(jointoken_parse(NULL, &out, &err), -1);
	assert_memory_equal(&out, &untouched, sizeof(out));
}

static void secret_is_checked_by_its_digest(void **state)
{
	struct jointoken token = token_of(""), other = token_of("");
	unsigned char digest[PKI_DIGEST_BYTES];
	char text[JOINTOKEN_SECRET_LEN + 1];

	other.secret[0] ^= 1;
	jointoken_secret_digest(&token, digest);
	assert_true(jointoken_matches(&token, digest, sizeof(digest)));
	assert_false(jointoken_matches(&other, digest, sizeof(digest)));
	assert_false(jointoken_matches(&token, digest, sizeof(digest) - 1));
	assert_false(jointoken_matches(&token, NULL, 0));

	jointoken_secret_text(&token, text);
	assert_int_equal(jointoken_secret_parse(text, &other), 0);
	assert_true(jointoken_matches(&other, digest, sizeof(digest)));
	assert_int_equal(jointoken_secret_parse("", &other), -1);
	assert_int_equal(jointoken_secret_parse("00000000000000000000000000", &other), -1);
}

static void ids(void **state)
{
	assert_true(jointoken_id_valid("0123abcxyz"));
	assert_false(jointoken_id_valid("worker"));
	assert_false(jointoken_id_valid("0123abcxyzz"));
	assert_false(jointoken_id_valid("0123ABCxyz"));
	assert_false(jointoken_id_valid(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip),
		cmocka_unit_test(known_text),
		cmocka_unit_test(refused_without_repeating_the_text),
		cmocka_unit_test(secret_is_checked_by_its_digest),
		cmocka_unit_test(ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
