#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "manager/web/token.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/pki.h"
#include "manager/store/txn.h"
#include "support/build.h"

#include <string.h>

static const unsigned char random_bytes[WEB_TOKEN_RANDOM_BYTES] = "0123456789abcdefABCDE";

/* Make one and keep it in the view; the text is yours. */
static char *make(struct view *v, int64_t ttl, int64_t now, unsigned char seed, struct error *err)
{
	unsigned char random[WEB_TOKEN_RANDOM_BYTES];
	struct txn *t = txn_begin(v);
	_cleanup_free_ char *id = NULL;
	char *text = NULL;
	pb_ui_token *made = NULL;
	size_t gone = 0, n;

	memcpy(random, random_bytes, sizeof(random));
	random[0] = random[sizeof(random) - 1] = seed;
	if (web_token_create(v, t, ttl, now, random, &id, &text, err) == 0)
		made = pb_dup(view_ui_token(v, id));
	for (size_t i = 0; i < (txn_changes(t, &n), n); i++)
		gone += !txn_changes(t, &n)[i].obj;
	txn_end(t);
	for (size_t i = 0; i < n && gone; i++)
		if (!txn_changes(t, &n)[i].obj)
			pb_free(view_del(v, KIND_UI_TOKEN, txn_changes(t, &n)[i].id));
	txn_free(t);
	if (made)
		pb_free(view_put(v, KIND_UI_TOKEN, made));
	return text;
}

static int with_view(void **state)
{
	*state = view_new();
	return 0;
}

static int without_view(void **state)
{
	view_free(*state);
	return 0;
}

static void only_its_text_is_good(void **state)
{
	struct error err = ERROR_INIT;
	_cleanup_secret_ char *text = make(*state, 3600 * SEC, NOW, 1, &err);
	const pb_ui_token *token;

	assert_true(str_starts(text, "SKEIN-UI-"));
	assert_int_equal(strlen(text), 9 + 10 + 25);
	token = web_token_check(*state, text, NOW);
	assert_non_null(token);
	/* The secret itself is nowhere in what is kept. */
	assert_int_equal(token->secret_sha256.len, PKI_DIGEST_BYTES);
	for (size_t i = 9; i < strlen(text); i++) {
		char had = text[i];

		text[i] = had == 'x' ? 'y' : 'x';
		assert_null(web_token_check(*state, text, NOW));
		text[i] = had;
	}
	assert_non_null(web_token_check(*state, text, NOW));
}

static void it_ends(void **state)
{
	struct error err = ERROR_INIT;
	_cleanup_secret_ char *text = make(*state, 3600 * SEC, NOW, 1, &err);

	assert_non_null(web_token_check(*state, text, NOW + 3600 * SEC - 1));
	assert_null(web_token_check(*state, text, NOW + 3600 * SEC));
}

static void what_is_no_token(void **state)
{
	static const char *const texts[] = {
		"", "SKEIN-UI-", "SKEIN-1-abc", "SKEIN-UI-0123456789", "SKEIN-UI-01234567890123456789012345678901234",
		"skein-ui-0123456789" "0000000000000000000000000", "SKEIN-UI-0123456789" "000000000000000000000000-",
		"SKEIN-UI-0123456789" "zzzzzzzzzzzzzzzzzzzzzzzzz", "SKEIN-UI-0123456789" "0000000000000000000000000" "0",
	};

	assert_null(web_token_check(*state, NULL, NOW));
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		assert_null(web_token_check(*state, texts[i], NOW));
}

static void lives_are_bounded(void **state)
{
	struct error err = ERROR_INIT;

	assert_null(make(*state, 0, NOW, 1, &err));
	assert_int_equal(err.code, ERR_INVALID);
	assert_non_null(strstr(err.msg, "ttl"));
	assert_null(make(*state, -SEC, NOW, 1, &err));
	assert_null(make(*state, WEB_TOKEN_TTL_MAX_NS + 1, NOW, 1, &err));
	assert_non_null(strstr(err.msg, "744h"));
	free(make(*state, WEB_TOKEN_TTL_MAX_NS, NOW, 1, &err));
	assert_int_equal(view_count(*state, KIND_UI_TOKEN), 1);
}

static void numbers_are_bounded_and_the_expired_go(void **state)
{
	struct error err = ERROR_INIT;

	for (unsigned i = 0; i < WEB_TOKENS_MAX; i++)
		free(make(*state, SEC, NOW, (unsigned char)i, &err));
	assert_int_equal(view_count(*state, KIND_UI_TOKEN), WEB_TOKENS_MAX);
	assert_null(make(*state, SEC, NOW, WEB_TOKENS_MAX, &err));
	assert_int_equal(err.code, ERR_EXHAUSTED);
	/* All but the new one have ended. */
	free(make(*state, SEC, NOW + SEC, WEB_TOKENS_MAX, &err));
	assert_int_equal(view_count(*state, KIND_UI_TOKEN), 1);
}

static void an_id_is_taken_once(void **state)
{
	struct error err = ERROR_INIT;

	free(make(*state, SEC, NOW, 1, &err));
	assert_null(make(*state, SEC, NOW, 1, &err));
	assert_int_equal(err.code, ERR_CONFLICT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(only_its_text_is_good, with_view, without_view),
		cmocka_unit_test_setup_teardown(it_ends, with_view, without_view),
		cmocka_unit_test_setup_teardown(what_is_no_token, with_view, without_view),
		cmocka_unit_test_setup_teardown(lives_are_bounded, with_view, without_view),
		cmocka_unit_test_setup_teardown(numbers_are_bounded_and_the_expired_go, with_view, without_view),
		cmocka_unit_test_setup_teardown(an_id_is_taken_once, with_view, without_view),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
