/* The Control service over TLS and the unix socket, on a real etcd: who may call, tokens, lists, the cluster. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/control_forms.h"

/* ---------------------------------------------------------------- who may call */

static void workers_are_refused(void **state)
{
	static const struct {
		const char *role;
		enum error_code code;
	} cases[] = {{"worker", ERR_DENIED}, {NULL, ERR_UNAUTHENTICATED}, {"manager", ERR_OK}};
	struct serve *s = *state;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct rpc_channel *channel = channel_as(s, "n1", cases[i].role);
		Skein__GetInfoRequest request = SKEIN__GET_INFO_REQUEST__INIT;
		struct error err;
		_cleanup_pb_ Skein__Info *info = ask_on(s, channel, "GetInfo", &request, &err);

		assert_int_equal(err.code, cases[i].code);
		assert_int_equal(info != NULL, cases[i].code == ERR_OK);
		rpc_channel_close(channel);
	}
}

static void every_method_refuses_workers(void **state)
{
	struct serve *s = *state;
	struct rpc_channel *channel = channel_as(s, "n1", "worker");
	const ProtobufCServiceDescriptor *d = &skein__control__descriptor;

	for (unsigned i = 0; i < d->n_methods; i++) {
		_cleanup_pb_ void *request = pb_new(d->methods[i].input);
		struct error err;
		_cleanup_pb_ void *reply = ask_on(s, channel, d->methods[i].name, request, &err);

		if (reply || err.code != ERR_DENIED)
			fail_msg("%s: %s", d->methods[i].name, error_code_name(err.code));
	}
	rpc_channel_close(channel);
}

/* ---------------------------------------------------------------- the rest */

static void tokens(void **state)
{
	struct serve *s = *state;
	Skein__TokenRequest request = SKEIN__TOKEN_REQUEST__INIT;
	Skein__CreateTokenRequest limited = SKEIN__CREATE_TOKEN_REQUEST__INIT;
	Skein__ListRequest all = SKEIN__LIST_REQUEST__INIT;
	_cleanup_pb_ Skein__TokenResponse *first = NULL, *same = NULL, *second = NULL, *made = NULL;
	_cleanup_pb_ Skein__ListTokensResponse *list = NULL;
	_cleanup_pb_ void *revoked = NULL;
	struct error err;

	put_manager(s, "m1");
	first = ask(s, "GetToken", &request, &err);
	assert_string_equal(first->token, "first");
	assert_int_equal(first->n_managers, 1);
	same = ask(s, "GetToken", &request, &err);
	assert_string_equal(same->token, "first");
	request.rotate = true;
	second = ask(s, "GetToken", &request, &err);
	assert_string_equal(second->token, "second");
	limited.max_uses = 2;
	made = ask(s, "CreateToken", &limited, &err);
	assert_string_equal(made->token, "shown once");
	list = ask(s, "ListTokens", &all, &err);
	assert_int_equal(list->n_tokens, 2);
	for (size_t i = 0; i < 2; i++)
		assert_string_equal(list->tokens[i]->secret, "");
	revoked = ask_ref(s, "RevokeToken", "0123", &err);
	assert_non_null(revoked);
	assert_null(view_token(store_view(s->store), "0123456789"));
	limited.ttl = -1;
	assert_null(ask(s, "CreateToken", &limited, &err));
	assert_int_equal(err.code, ERR_INVALID);
}

static void tokens_of_the_web_page(void **state)
{
	struct serve *s = *state;
	Skein__CreateUiTokenRequest request = SKEIN__CREATE_UI_TOKEN_REQUEST__INIT;
	Skein__ListRequest all = SKEIN__LIST_REQUEST__INIT;
	_cleanup_pb_ Skein__UiTokenResponse *made = NULL;
	_cleanup_pb_ Skein__ListUiTokensResponse *list = NULL;
	_cleanup_pb_ void *revoked = NULL;
	struct error err;

	assert_null(ask(s, "CreateUiToken", &request, &err));
	assert_int_equal(err.code, ERR_INVALID);
	request.ttl = 3600 * NS_PER_SEC;
	made = ask(s, "CreateUiToken", &request, &err);
	assert_string_equal(made->token, "shown once");
	assert_string_equal(made->url, "https://10.0.0.1:9641/ui/");
	assert_true(made->expires_at > clock_wall_ns());
	list = ask(s, "ListUiTokens", &all, &err);
	assert_int_equal(list->n_tokens, 1);
	assert_int_equal(list->tokens[0]->secret_sha256.len, 0);
	assert_null(ask_ref(s, "RevokeUiToken", "0", &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
	revoked = ask_ref(s, "RevokeUiToken", "9876", &err);
	assert_non_null(revoked);
	assert_int_equal(view_count(store_view(s->store), KIND_UI_TOKEN), 0);
}

static void lists_and_filters(void **state)
{
	struct serve *s = *state;
	pb_kv filter = SKEIN__KEY_VALUE__INIT;
	pb_kv *filters[] = {&filter};
	Skein__ListRequest request = SKEIN__LIST_REQUEST__INIT;
	_cleanup_pb_ Skein__ListNodesResponse *some = NULL, *bad = NULL;
	_cleanup_pb_ Skein__ListTasksResponse *no_service = NULL;
	Skein__ListTasksRequest tasks = SKEIN__LIST_TASKS_REQUEST__INIT;
	char *refs[] = {"nothing"};
	struct error err;

	put_manager(s, "m1");
	put_node(s, "w1");
	put_node(s, "w2");
	request.filters = filters;
	request.n_filters = 1;
	filter.key = "id";
	filter.value = "w";
	some = ask(s, "ListNodes", &request, &err);
	assert_int_equal(some->n_nodes, 2);
	filter.key = "role";
	bad = ask(s, "ListNodes", &request, &err);
	assert_null(bad);
	assert_string_equal(err.msg, "filter role=w: accepted values: worker|manager");
	tasks.services = refs;
	tasks.n_services = 1;
	no_service = ask(s, "ListTasks", &tasks, &err);
	assert_null(no_service);
	assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void cluster_and_info(void **state)
{
	struct serve *s = *state;
	Skein__GetInfoRequest get = SKEIN__GET_INFO_REQUEST__INIT;
	Skein__UpdateClusterRequest change = SKEIN__UPDATE_CLUSTER_REQUEST__INIT;
	pb_cluster_spec spec = SKEIN__CLUSTER_SPEC__INIT;
	_cleanup_pb_ Skein__Info *info = NULL;
	_cleanup_pb_ void *done = NULL;
	struct error err;

	put_manager(s, "m1");
	put_manager(s, "m2");
	put_node(s, "w1");
	change.spec = &spec;
	spec.task_history_limit = 7;
	done = ask(s, "UpdateCluster", &change, &err);
	assert_non_null(done);
	assert_string_equal(view_cluster(store_view(s->store))->root_cert_pem, "the root");
	change.revision = 1;
	assert_null(ask(s, "UpdateCluster", &change, &err));
	assert_int_equal(err.code, ERR_CONFLICT);
	info = ask(s, "GetInfo", &get, &err);
	assert_string_equal(info->cluster_id, "c1");
	assert_int_equal(info->nodes, 3);
	assert_int_equal(info->managers, 2);
	assert_int_equal(info->spec->task_history_limit, 7);
	assert_true(info->etcd_embedded);
	assert_int_equal(info->n_etcd_endpoints, 1);
	assert_non_null(strstr(info->warnings[0], "losing either one loses the quorum"));
}

static void a_lost_quorum_is_warned_of_with_its_numbers(void **state)
{
	struct serve *s = *state;
	Skein__GetInfoRequest get = SKEIN__GET_INFO_REQUEST__INIT;
	_cleanup_pb_ Skein__Info *info = NULL;
	struct error err;

	put_manager(s, "m1");
	put_manager(s, "m2");
	s->dead_manager = "m2";
	info = ask(s, "GetInfo", &get, &err);
	assert_non_null(strstr(info->warnings[0], "lost their quorum: 1 of 2 are healthy, 2 are needed"));
}

static void explain_comes_from_the_scheduler(void **state)
{
	struct serve *s = *state;
	_cleanup_pb_ Skein__ServiceResponse *r = created(s, "web");
	_cleanup_pb_ Skein__ExplainServiceResponse *e = ask_ref(s, "ExplainService", "web", NULL);

	assert_string_equal(e->summary, "explained");
	assert_string_equal(e->service->id, r->service->id);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVE_TEST(workers_are_refused),
		SERVE_TEST(every_method_refuses_workers),
		SERVE_TEST(tokens),
		SERVE_TEST(tokens_of_the_web_page),
		SERVE_TEST(lists_and_filters),
		SERVE_TEST(cluster_and_info),
		SERVE_TEST(a_lost_quorum_is_warned_of_with_its_numbers),
		SERVE_TEST(explain_comes_from_the_scheduler),
	};

	return cmocka_run_group_tests(tests, serve_group_setup, serve_group_teardown);
}
