#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "common/mem.h"
#include "manager/ca/tokens.h"
#include "manager/store/txn.h"
#include "support/ca_view.h"

#include <stdio.h>
#include <string.h>

#define NOW CA_VIEW_NOW
#define SECOND INT64_C(1000000000)

static int setup(void **state)
{
	*state = ca_view_new("cluster1");
	return 0;
}

static int teardown(void **state)
{
	view_free(*state);
	return 0;
}

static void random_of(unsigned char fill, unsigned char random[CA_TOKEN_RANDOM_BYTES])
{
	memset(random, fill, CA_TOKEN_RANDOM_BYTES);
}

static char *standing(struct view *v, int role, bool rotate, unsigned char fill)
{
	struct txn *t = txn_begin(v);
	unsigned char random[CA_TOKEN_RANDOM_BYTES];
	char *text = NULL;

	random_of(fill, random);
	assert_int_equal(ca_token_standing(v, t, role, rotate, NOW, random, &text, NULL), 0);
	ca_view_commit(v, t);
	return text;
}

static char *create(struct view *v, Skein__CreateTokenRequest *request, unsigned char fill, char **ret_id)
{
	struct txn *t = txn_begin(v);
	unsigned char random[CA_TOKEN_RANDOM_BYTES];
	char *text = NULL;

	random_of(fill, random);
	assert_int_equal(ca_token_create(v, t, request, NOW, random, ret_id, &text, NULL), 0);
	ca_view_commit(v, t);
	return text;
}

static void standing_tokens_are_shown_again(void **state)
{
	_cleanup_secret_ char *a = standing(*state, NODE_ROLE_WORKER, false, 1);
	_cleanup_secret_ char *b = standing(*state, NODE_ROLE_WORKER, false, 2);
	_cleanup_secret_ char *m = standing(*state, NODE_ROLE_MANAGER, false, 3);
	const pb_token *token;

	assert_string_equal(a, b);
	assert_string_not_equal(a, m);
	token = ca_token_check(*state, a, NOW, NULL);
	assert_non_null(token);
	assert_string_equal(token->id, "worker");
	assert_int_equal(token->role, NODE_ROLE_WORKER);
	token = ca_token_check(*state, m, NOW, NULL);
	assert_non_null(token);
	assert_int_equal(token->role, NODE_ROLE_MANAGER);
}

static void standing_token_is_made_when_missing(void **state)
{
	_cleanup_secret_ char *text = NULL;

	pb_free(view_del(*state, KIND_TOKEN, "worker"));
	text = standing(*state, NODE_ROLE_WORKER, false, 1);
	assert_non_null(ca_token_check(*state, text, NOW, NULL));
}

static void rotation_ends_the_old_token(void **state)
{
	_cleanup_secret_ char *old = standing(*state, NODE_ROLE_MANAGER, false, 1);
	_cleanup_secret_ char *now = standing(*state, NODE_ROLE_MANAGER, true, 7);
	struct error err = ERROR_INIT;

	assert_string_not_equal(old, now);
	assert_null(ca_token_check(*state, old, NOW, &err));
	assert_int_equal(err.code, ERR_DENIED);
	assert_string_equal(err.msg, "join token is not valid");
	assert_non_null(ca_token_check(*state, now, NOW, NULL));
}

static void created_token_expires(void **state)
{
	Skein__CreateTokenRequest request = SKEIN__CREATE_TOKEN_REQUEST__INIT;
	_cleanup_secret_ char *text = NULL;
	_cleanup_free_ char *id = NULL;
	struct error err = ERROR_INIT;

	request.role = SKEIN__NODE_ROLE__MANAGER;
	request.ttl = 60 * SECOND;
	text = create(*state, &request, 9, &id);
	assert_non_null(ca_token_check(*state, text, NOW + 59 * SECOND, NULL));
	assert_string_equal(ca_token_check(*state, text, NOW, NULL)->id, id);
	assert_null(ca_token_check(*state, text, NOW + 60 * SECOND, &err));
	assert_string_equal(err.msg, "join token has expired");
	assert_string_equal(view_token(*state, id)->secret, "");
}

static void created_token_is_used_up(void **state)
{
	Skein__CreateTokenRequest request = SKEIN__CREATE_TOKEN_REQUEST__INIT;
	_cleanup_secret_ char *text = NULL;
	_cleanup_free_ char *id = NULL;
	struct error err = ERROR_INIT;
	pb_token *used;

	request.max_uses = 2;
	text = create(*state, &request, 9, &id);
	used = pb_dup(view_token(*state, id));
	used->uses = 2;
	pb_free(view_put(*state, KIND_TOKEN, used));
	assert_null(ca_token_check(*state, text, NOW, &err));
	assert_string_equal(err.msg, "join token has been used 2 of 2 times");
}

/* Who has the id but not the secret learns nothing about the state of the token. */
static void wrong_secret_with_a_known_id(void **state)
{
	Skein__CreateTokenRequest request = SKEIN__CREATE_TOKEN_REQUEST__INIT;
	_cleanup_secret_ char *text = NULL;
	_cleanup_free_ char *id = NULL;
	struct error err = ERROR_INIT;

	request.ttl = 1;
	text = create(*state, &request, 9, &id);
	text[strlen(text) - 1] = text[strlen(text) - 1] == 'a' ? 'b' : 'a';
	assert_null(ca_token_check(*state, text, NOW + SECOND, &err));
	assert_string_equal(err.msg, "join token is not valid");
}

static void token_of_another_cluster(void **state)
{
	struct view *other = ca_view_new("cluster2");
	_cleanup_secret_ char *text = standing(other, NODE_ROLE_WORKER, false, 1);
	struct error err = ERROR_INIT;

	assert_null(ca_token_check(*state, text, NOW, &err));
	assert_string_equal(err.msg, "join token is of another cluster");
	view_free(other);
}

static void garbage_is_invalid(void **state)
{
	struct error err = ERROR_INIT;

	assert_null(ca_token_check(*state, "", NOW, &err));
	assert_int_equal(err.code, ERR_INVALID);
	assert_null(ca_token_check(*state, "SWMTKN-1-abc-def", NOW, &err));
	assert_null(strstr(err.msg, "SWMTKN"));
}

static void revoked_token(void **state)
{
	Skein__CreateTokenRequest request = SKEIN__CREATE_TOKEN_REQUEST__INIT;
	_cleanup_secret_ char *text = NULL;
	_cleanup_free_ char *id = NULL;
	struct error err = ERROR_INIT;
	struct txn *t;

	text = create(*state, &request, 9, &id);
	t = txn_begin(*state);
	assert_int_equal(ca_token_revoke(*state, t, "worker", &err), -1);
	assert_int_equal(err.code, ERR_PRECONDITION);
	assert_int_equal(ca_token_revoke(*state, t, "nothing", &err), -1);
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_int_equal(ca_token_revoke(*state, t, id, NULL), 0);
	ca_view_commit(*state, t);
	assert_null(ca_token_check(*state, text, NOW, &err));
	assert_string_equal(err.msg, "join token is not valid");
}

static void create_drops_expired_ones_and_is_bounded(void **state)
{
	Skein__CreateTokenRequest request = SKEIN__CREATE_TOKEN_REQUEST__INIT;
	unsigned char random[CA_TOKEN_RANDOM_BYTES];
	_cleanup_free_ char *id = NULL, *id2 = NULL;
	_cleanup_secret_ char *text = NULL, *text2 = NULL;
	struct error err = ERROR_INIT;
	struct txn *t;

	random_of(9, random);
	request.ttl = SECOND;
	text = create(*state, &request, 9, &id);
	t = txn_begin(*state);
	assert_int_equal(ca_token_create(*state, t, &request, NOW, random, &id2, &text2, &err), -1);
	assert_int_equal(err.code, ERR_CONFLICT);
	random_of(8, random);
	request.ttl = -1;
	assert_int_equal(ca_token_create(*state, t, &request, NOW, random, &id2, &text2, &err), -1);
	assert_int_equal(err.code, ERR_INVALID);
	request.ttl = INT64_MAX;
	assert_int_equal(ca_token_create(*state, t, &request, NOW, random, &id2, &text2, &err), -1);
	request.ttl = 0;
	request.role = 7;
	assert_int_equal(ca_token_create(*state, t, &request, NOW, random, &id2, &text2, &err), -1);
	request.role = 0;
	assert_int_equal(ca_token_create(*state, t, &request, NOW + SECOND, random, &id2, &text2, NULL), 0);
	ca_view_commit(*state, t);
	assert_null(view_token(*state, id));
	assert_non_null(view_token(*state, id2));

	for (unsigned i = 0; i < CA_TOKENS_MAX; i++) {
		pb_token *token = pb_dup(view_token(*state, id2));
		char name[16];

		snprintf(name, sizeof(name), "%010u", i);
		pb_set_str(&token->id, name);
		pb_free(view_put(*state, KIND_TOKEN, token));
	}
	random_of(7, random);
	t = txn_begin(*state);
	free(TAKE_PTR(id2));
	pki_secret_free(TAKE_PTR(text2));
	assert_int_equal(ca_token_create(*state, t, &request, NOW, random, &id2, &text2, &err), -1);
	assert_int_equal(err.code, ERR_EXHAUSTED);
	txn_free(t);
}

static void list_has_no_secrets(void **state)
{
	Skein__ListTokensResponse *response = pb_new(&skein__list_tokens_response__descriptor);

	ca_token_list(*state, response);
	assert_int_equal(response->n_tokens, 2);
	for (size_t i = 0; i < response->n_tokens; i++) {
		assert_string_equal(response->tokens[i]->secret, "");
		assert_int_equal(response->tokens[i]->secret_sha256.len, 0);
	}
	assert_string_not_equal(view_token(*state, "worker")->secret, "");
	pb_free(response);
}

static void labels_are_kept(void **state)
{
	Skein__CreateTokenRequest request = SKEIN__CREATE_TOKEN_REQUEST__INIT;
	pb_kv kv = SKEIN__KEY_VALUE__INIT, *kvs[] = {&kv};
	_cleanup_secret_ char *text = NULL;
	_cleanup_free_ char *id = NULL;
	const pb_token *token;

	kv.key = (char *)"rack";
	kv.value = (char *)"a";
	request.labels = kvs;
	request.n_labels = 1;
	text = create(*state, &request, 9, &id);
	token = view_token(*state, id);
	assert_string_equal(pb_kv_get(token->labels, token->n_labels, "rack"), "a");
}

#define test(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(standing_tokens_are_shown_again),
		test(standing_token_is_made_when_missing),
		test(rotation_ends_the_old_token),
		test(created_token_expires),
		test(created_token_is_used_up),
		test(wrong_secret_with_a_known_id),
		test(token_of_another_cluster),
		test(garbage_is_invalid),
		test(revoked_token),
		test(create_drops_expired_ones_and_is_bounded),
		test(list_has_no_secrets),
		test(labels_are_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
