#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/mem.h"
#include "manager/store/etcd_json.h"

#include <string.h>

static struct etcd_answer parse(const char *text)
{
	struct etcd_answer a;
	struct error err = ERROR_INIT;

	if (etcd_json_parse(text, strlen(text), &a, &err) < 0)
		fail_msg("%s: %s", text, err.msg);
	return a;
}

static void ranges(void **state)
{
	_cleanup_answer_ struct etcd_answer a = parse(
		"{\"header\":{\"revision\":\"18446744073709551615\"},\"more\":true,\"kvs\":["
		"{\"key\":\"L2E=\",\"create_revision\":\"2\",\"mod_revision\":\"3\",\"value\":\"AAEC\",\"lease\":\"7\"},"
		"{\"key\":\"L2Ji\",\"mod_revision\":4}]}");

	assert_true(a.revision == UINT64_MAX);
	assert_true(a.more);
	assert_int_equal(a.n_kvs, 2);
	assert_string_equal(a.kvs[0].key, "/a");
	assert_int_equal(a.kvs[0].value_len, 3);
	assert_memory_equal(a.kvs[0].value, "\0\1\2", 3);
	assert_int_equal(a.kvs[0].create_revision, 2);
	assert_int_equal(a.kvs[0].lease, 7);
	assert_string_equal(a.kvs[1].key, "/bb");
	assert_int_equal(a.kvs[1].value_len, 0);
	assert_int_equal(a.kvs[1].mod_revision, 4);
}

static void what_is_absent_is_zero(void **state)
{
	_cleanup_answer_ struct etcd_answer a = parse("{\"header\":{\"revision\":\"5\"}}");

	assert_false(a.succeeded);
	assert_false(a.more);
	assert_int_equal(a.n_kvs, 0);
	assert_int_equal(a.ttl_s, 0);
}

static void streams_are_unwrapped(void **state)
{
	_cleanup_answer_ struct etcd_answer a = parse(
		"{\"result\":{\"header\":{\"revision\":\"8\"},\"events\":["
		"{\"kv\":{\"key\":\"L2E=\",\"mod_revision\":\"8\",\"value\":\"eA==\"}},"
		"{\"type\":\"DELETE\",\"kv\":{\"key\":\"L2I=\",\"mod_revision\":\"8\"}}]}}");
	_cleanup_answer_ struct etcd_answer gone =
		parse("{\"result\":{\"header\":{},\"canceled\":true,\"compact_revision\":\"13\"}}");

	assert_int_equal(a.n_events, 2);
	assert_false(a.events[0].is_delete);
	assert_string_equal(a.events[0].kv.value, "x");
	assert_true(a.events[1].is_delete);
	assert_true(gone.canceled);
	assert_int_equal(gone.compact_revision, 13);
}

static void members(void **state)
{
	_cleanup_answer_ struct etcd_answer a = parse(
		"{\"members\":[{\"ID\":\"17446744073709551615\",\"name\":\"n\\u00e9\",\"peerURLs\":[\"https://a:1\","
		"\"https://b:1\"],\"clientURLs\":[\"https://a:2\"]},{\"ID\":\"9\",\"isLearner\":true,\"peerURLs\":[\"https://c:1\"]}]}");

	assert_int_equal(a.n_members, 2);
	assert_false(a.members[0].is_learner);
	assert_true(a.members[1].is_learner);
	assert_true(a.members[0].id == 17446744073709551615u);
	assert_string_equal(a.members[0].name, "n\xc3\xa9");
	assert_int_equal(a.members[0].n_peer_urls, 2);
	assert_string_equal(a.members[0].peer_urls[1], "https://b:1");
	assert_string_equal(a.members[0].client_urls[0], "https://a:2");
	assert_string_equal(a.members[1].name, "");
	assert_int_equal(a.members[1].n_client_urls, 0);
}

static void errors_of_both_forms(void **state)
{
	_cleanup_answer_ struct etcd_answer plain =
		parse("{\"error\":\"etcdserver: mvcc: database space exceeded\",\"message\":\"x\",\"code\":8}");
	_cleanup_answer_ struct etcd_answer stream =
		parse("{\"error\":{\"grpc_code\":14,\"http_code\":503,\"message\":\"no leader\"}}");
	_cleanup_answer_ struct etcd_answer odd = parse("{\"error\":7}");

	assert_int_equal(plain.error.code, ERR_EXHAUSTED);
	assert_non_null(strstr(plain.error.msg, "space exceeded"));
	assert_int_equal(stream.error.code, ERR_UNAVAILABLE);
	assert_non_null(strstr(stream.error.msg, "no leader"));
	assert_int_equal(odd.error.code, ERR_UNKNOWN);
}

static void what_etcd_does_not_send_is_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"null",
		"[]",
		"404 page not found",
		"{\"result\":1}",
		"{\"header\":{\"revision\":\"x\"}}",
		"{\"header\":{\"revision\":\"\"}}",
		"{\"header\":{\"revision\":\"-1\"}}",
		"{\"header\":{\"revision\":-1}}",
		"{\"header\":{\"revision\":\"99999999999999999999999\"}}",
		"{\"succeeded\":1}",
		"{\"TTL\":\"99999999999\"}",
		"{\"kvs\":{}}",
		"{\"kvs\":[1]}",
		"{\"kvs\":[{}]}",
		"{\"kvs\":[{\"key\":1}]}",
		"{\"kvs\":[{\"key\":\"L2E\"}]}",
		"{\"kvs\":[{\"key\":\"L2 =\"}]}",
		"{\"kvs\":[{\"key\":\"A===\"}]}",
		"{\"events\":[{\"kv\":{\"key\":\"L2E=\"},\"type\":\"OTHER\"}]}",
		"{\"events\":[{\"type\":\"DELETE\"}]}",
		"{\"members\":[{\"name\":\"a\"}]}",
		"{\"members\":[{\"ID\":\"1\",\"peerURLs\":[1]}]}",
		"{\"members\":[{\"ID\":\"1\",\"peerURLs\":\"x\"}]}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct etcd_answer a;
		struct error err = ERROR_INIT;

		if (etcd_json_parse(bad[i], strlen(bad[i]), &a, &err) == 0)
			fail_msg("accepted: %s", bad[i]);
		assert_int_equal(err.code, ERR_DATA_LOSS);
		assert_null(a.arena);
	}
}

static void assert_text(char *got, const char *want)
{
	assert_string_equal(got, want);
	free(got);
}

static void requests(void **state)
{
	const struct etcd_compare compares[] = {{"/a", ETCD_CMP_MOD, 7}, {"/l", ETCD_CMP_CREATE, 0},
						 {"/s/", ETCD_CMP_PREFIX_SINCE, 7}};
	const struct etcd_op ops[] = {{.key = "/a", .value = "\0", .value_len = 1, .lease = 9}, {.key = "/b"},
				      {.key = "/c", .value = ""}};

	assert_text(etcd_json_range("/a", NULL, 0, 0), "{\"key\":\"L2E=\"}");
	assert_text(etcd_json_range("/a", "/b", 5, 10),
		    "{\"key\":\"L2E=\",\"range_end\":\"L2I=\",\"revision\":\"5\",\"limit\":\"10\"}");
	assert_text(etcd_json_txn(compares, 3, ops, 3),
		    "{\"compare\":[{\"result\":\"EQUAL\",\"target\":\"MOD\",\"key\":\"L2E=\",\"mod_revision\":\"7\"},"
		    "{\"result\":\"EQUAL\",\"target\":\"CREATE\",\"key\":\"L2w=\",\"create_revision\":\"0\"},"
		    "{\"result\":\"LESS\",\"target\":\"MOD\",\"key\":\"L3Mv\",\"range_end\":\"L3Mw\",\"mod_revision\":\"8\"}],"
		    "\"success\":[{\"request_put\":{\"key\":\"L2E=\",\"value\":\"AA==\",\"lease\":\"9\"}},"
		    "{\"request_delete_range\":{\"key\":\"L2I=\"}},{\"request_put\":{\"key\":\"L2M=\",\"value\":\"\"}}]}");
	assert_text(etcd_json_id(UINT64_MAX), "{\"ID\":\"18446744073709551615\"}");
	assert_text(etcd_json_member_add("https://a:1/\"x", true),
		    "{\"peerURLs\":[\"https://a:1/\\\"x\"],\"isLearner\":true}");
	assert_text(etcd_json_watch("/a", "/b", 3, false),
		    "{\"create_request\":{\"key\":\"L2E=\",\"range_end\":\"L2I=\",\"start_revision\":\"3\","
		    "\"progress_notify\":true}}");
	assert_text(etcd_json_watch("/a", NULL, 0, true),
		    "{\"create_request\":{\"key\":\"L2E=\",\"prev_kv\":true,\"progress_notify\":true}}");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ranges),
		cmocka_unit_test(what_is_absent_is_zero),
		cmocka_unit_test(streams_are_unwrapped),
		cmocka_unit_test(members),
		cmocka_unit_test(errors_of_both_forms),
		cmocka_unit_test(what_etcd_does_not_send_is_refused),
		cmocka_unit_test(requests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
