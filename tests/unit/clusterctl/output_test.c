/* text, template, listing, pb_json, ps, explain: everything that is printed. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "clusterctl/listing.h"
#include "clusterctl/pb_json.h"
#include "clusterctl/ps.h"
#include "clusterctl/service_pretty.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"

#include <string.h>

static void widths_of_utf8(void **state)
{
	assert_int_equal(text_width("abc"), 3);
	assert_int_equal(text_width("äöü"), 3);
	assert_int_equal(text_width("日本"), 4);
	assert_int_equal(text_width("e\xcc\x81"), 1); /* combining accent */
	assert_int_equal(text_width("\xff\xfe"), 2);
	assert_int_equal(text_width("\xe2\x82"), 2);   /* cut off */
	assert_int_equal(text_width(""), 0);
}

static void texts_are_cut_at_columns(void **state)
{
	static const struct {
		const char *text;
		size_t max;
		const char *want;
	} cases[] = {
		{"abcdef", 6, "abcdef"}, {"abcdef", 4, "abc…"}, {"日本語", 4, "日…"}, {"a\tb\nc\033[1m", TEXT_NO_LIMIT, "a b c [1m"},
		{"abc", 1, "…"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strbuf_ struct strbuf out = {0};

		text_cut(&out, cases[i].text, cases[i].max);
		assert_string_equal(out.p, cases[i].want);
	}
}

static const struct list_field fields[] = {{"ID", "ID"}, {"Name", "NAME"}, {"Note", NULL}, {0}};

static char *listed(const char *format, bool quiet)
{
	_cleanup_listing_ struct listing l = {0};
	struct error err = ERROR_INIT;
	char *text = NULL;
	size_t len;
	FILE *out;

	if (listing_init(&l, fields, format, quiet, &err) < 0)
		return xstrdup(err.msg);
	listing_cell(&l, "1");
	listing_cell(&l, "äb");
	listing_cell(&l, "say \"x\"");
	listing_cell(&l, "22");
	listing_cell(&l, "");
	listing_cell(&l, NULL);
	out = open_memstream(&text, &len);
	listing_print(&l, out);
	fclose(out);
	return text;
}

static void lists_in_every_format(void **state)
{
	static const struct {
		const char *format;
		bool quiet;
		const char *want;
	} cases[] = {
		{NULL, false, "ID   NAME\n1    äb\n22\n"},
		{"table", false, "ID   NAME\n1    äb\n22\n"},
		{NULL, true, "1\n22\n"},
		{"json", false, "{\"ID\":\"1\",\"Name\":\"äb\",\"Note\":\"say \\\"x\\\"\"}\n{\"ID\":\"22\",\"Name\":\"\",\"Note\":\"\"}\n"},
		{"{{.Name}}\\t{{ .id }}", false, "äb\t1\n\t22\n"},
		{"{{json .Note}}", false, "\"say \\\"x\\\"\"\n\"\"\n"},
		{"{{json .}}", false, "{\"ID\":\"1\",\"Name\":\"äb\",\"Note\":\"say \\\"x\\\"\"}\n{\"ID\":\"22\",\"Name\":\"\",\"Note\":\"\"}\n"},
		{"table {{.Name}}\\t{{.Note}}", false, "NAME   Note\näb     say \"x\"\n\n"},
		{"{{.Nam}}", false, "--format: unknown field .Nam: expected one of .ID, .Name, .Note"},
		{"{{.Name", false, "--format: \"{{.Name\": {{ is not closed"},
		{"{{range .}}", false, "--format: \"{{range .}}\": expected {{.Field}} or {{json .}}"},
		{"yaml", false, "--format: \"yaml\": expected table, json or a template such as {{.ID}}"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = listed(cases[i].format, cases[i].quiet);

		assert_string_equal(text, cases[i].want);
	}
}

static char *json_at(const ProtobufCMessage *msg, const char *path)
{
	json_t *json = pb_json(msg), *at, *value = pb_json_path(json, path, &at);
	char *text = value ? pb_json_text(value) : xstrdup("(none)");

	json_decref(json);
	return text;
}

static void messages_as_json(void **state)
{
	_cleanup_pb_ pb_service *service = pb_new(&skein__service__descriptor);
	static const struct {
		const char *path, *want;
	} cases[] = {
		{"ID", "abc"},
		{"spec.labels", "{\"a\": \"b\"}"},
		{"Spec.Task.Restart.Condition", "any"},
		{"spec.task.restart.delay", "5000000000"},
		{"spec.task.restart.delay_text", "5s"},
		{"spec.update.order", "stop-first"},
		{"spec.update.failure_action", "pause"},
		{"spec.replicated.replicas", "1"},
		{"spec.global", "(none)"},
		{"update", "(none)"},
		{"meta.createdAt", "2023-11-14T22:13:20.000000000Z"},
		{"meta.updated_at", "null"},
		{"spec.task.container.registry_auth", "(hidden)"},
		{"spec.task.container.mounts", "[{\"type\": \"tmpfs\", \"source\": \"\", \"target\": \"/t\", \"read_only\": false, "
					       "\"propagation\": \"\", \"tmpfs_size_bytes\": 0, \"tmpfs_mode\": 0, \"volume_nocopy\": false, \"labels\": {}}]"},
		{"spec_version", "18446744073709551615"},
		{"spec.nothing", "(none)"},
		{"id.x", "(none)"},
	};
	pb_mount *mount = pb_new(&skein__mount__descriptor);

	pb_set_str(&service->id, "abc");
	service->spec_version = UINT64_MAX;
	service->meta = pb_new(&skein__meta__descriptor);
	service->meta->created_at = INT64_C(1700000000) * NS_PER_SEC;
	service->spec = pb_new(&skein__service_spec__descriptor);
	pb_service_spec_defaults(service->spec);
	pb_kv_set(&service->spec->n_labels, &service->spec->labels, "a", "b");
	pb_set_str(&service->spec->task->container->registry_auth, "s3cret");
	mount->type = (Skein__MountType)MOUNT_TMPFS;
	pb_set_str(&mount->target, "/t");
	pb_msgs_add(&service->spec->task->container->n_mounts, &service->spec->task->container->mounts, mount);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *text = json_at(&service->base, cases[i].path);

		assert_string_equal(text, cases[i].want);
	}
}

static void secrets_are_never_printed(void **state)
{
	_cleanup_pb_ pb_cluster *cluster = pb_new(&skein__cluster__descriptor);
	_cleanup_pb_ pb_token *token = pb_new(&skein__join_token__descriptor);
	_cleanup_pb_ Skein__TokenResponse *response = pb_new(&skein__token_response__descriptor);
	_cleanup_free_ char *a = NULL, *b = NULL, *c = NULL, *d = NULL;

	pb_set_str(&cluster->root_key_pem, "s3cret");
	pb_set_str(&token->secret, "s3cret");
	token->secret_sha256.data = xmemdup("s3cret", 6);
	token->secret_sha256.len = 6;
	pb_set_str(&response->token, "s3cret");
	a = json_at(&cluster->base, "");
	b = json_at(&token->base, "");
	c = json_at(&response->base, "");
	d = json_at(&token->base, "secret_sha256");
	assert_null(strstr(a, "s3cret"));
	assert_null(strstr(b, "s3cret"));
	assert_null(strstr(c, "s3cret"));
	assert_non_null(strstr(a, "(hidden)"));
	assert_string_equal(d, "(hidden)");
}

/* ---------------------------------------------------------------- tasks */

static pb_task *task(const char *id, uint64_t slot, int state, int desired, int64_t created_s, const char *err)
{
	pb_task *t = pb_new(&skein__task__descriptor);

	pb_set_str(&t->id, id);
	pb_set_str(&t->service_id, "svc");
	pb_set_str(&t->service_name, "web");
	pb_set_str(&t->node_id, "node-1");
	t->slot = slot;
	t->desired = (Skein__TaskState)desired;
	t->meta = pb_new(&skein__meta__descriptor);
	t->meta->created_at = created_s * NS_PER_SEC;
	t->status = pb_new(&skein__task_status__descriptor);
	t->status->state = (Skein__TaskState)state;
	t->status->at = created_s * NS_PER_SEC;
	pb_set_str(&t->status->err, err);
	t->spec = pb_new(&skein__task_spec__descriptor);
	t->spec->container = pb_new(&skein__container_spec__descriptor);
	pb_set_str(&t->spec->container->image, "docker.io/library/nginx:latest");
	return t;
}

static char *ps_text(bool no_trunc, bool no_resolve)
{
	_cleanup_pb_ Skein__ListTasksResponse *reply = pb_new(&skein__list_tasks_response__descriptor);
	struct list_flags flags = {.no_trunc = no_trunc, .no_resolve = no_resolve};
	_cleanup_listing_ struct listing l = {0};
	struct error err = ERROR_INIT;
	char *text = NULL;
	size_t len;
	FILE *out;

	pb_msgs_add(&reply->n_tasks, &reply->tasks, task("bbbbbbbbbbbbbbbbbbbbbbbbb", 2, TASK_RUNNING, TASK_RUNNING, 95, NULL));
	pb_msgs_add(&reply->n_tasks, &reply->tasks,
		    task("ccccccccccccccccccccccccc", 1, TASK_FAILED, TASK_SHUTDOWN, 40, "task: non-zero exit (1): and much more"));
	pb_msgs_add(&reply->n_tasks, &reply->tasks, task("aaaaaaaaaaaaaaaaaaaaaaaaa", 1, TASK_RUNNING, TASK_RUNNING, 50, NULL));
	pb_kv_set(&reply->n_node_names, &reply->node_names, "node-1", "h1");
	assert_int_equal(listing_init(&l, ps_fields, NULL, false, &err), 0);
	ps_sort(reply->tasks, reply->n_tasks);
	ps_fill(&l, reply->tasks, reply->n_tasks, reply->node_names, reply->n_node_names, NULL, &flags, 100 * NS_PER_SEC);
	out = open_memstream(&text, &len);
	listing_print(&l, out);
	fclose(out);
	return text;
}

static void ps_shows_history_below_the_present(void **state)
{
	_cleanup_free_ char *text = ps_text(false, false), *full = ps_text(true, true);

	assert_string_equal(text,
			    "ID             NAME        IMAGE          NODE   DESIRED STATE   CURRENT STATE               ERROR                              PORTS\n"
			    "aaaaaaaaaaaa   web.1       nginx:latest   h1     Running         Running 50 seconds ago\n"
			    "cccccccccccc    \\_ web.1   nginx:latest   h1     Shutdown        Failed about a minute ago   \"task: non-zero exit (1): and …\"\n"
			    "bbbbbbbbbbbb   web.2       nginx:latest   h1     Running         Running 5 seconds ago\n");
	assert_non_null(strstr(full, "\"task: non-zero exit (1): and much more\""));
	assert_non_null(strstr(full, "svc.1"));
	assert_non_null(strstr(full, "node-1"));
	assert_non_null(strstr(full, "aaaaaaaaaaaaaaaaaaaaaaaaa"));
}

static void explanation_is_a_tree(void **state)
{
	_cleanup_pb_ Skein__ExplainServiceResponse *reply = pb_new(&skein__explain_service_response__descriptor);
	Skein__TaskExplanation *e = pb_new(&skein__task_explanation__descriptor);
	Skein__NodeVerdict *no = pb_new(&skein__node_verdict__descriptor), *yes = pb_new(&skein__node_verdict__descriptor);
	_cleanup_free_ char *text = NULL;
	size_t len;
	FILE *out;

	reply->service = pb_new(&skein__service__descriptor);
	reply->service->spec = pb_new(&skein__service_spec__descriptor);
	pb_set_str(&reply->service->spec->name, "web");
	pb_set_str(&reply->summary, "0 of 1 tasks run");
	e->task = task("aaaaaaaaaaaaaaaaaaaaaaaaa", 1, TASK_PENDING, TASK_RUNNING, 1, NULL);
	pb_set_str(&e->task->node_id, "");
	pb_set_str(&e->summary, "no node can take it");
	pb_set_str(&no->node_name, "h1");
	pb_set_str(&no->reason, "insufficient memory (asked 4 GiB, free 1.2 GiB)");
	pb_set_str(&yes->node_id, "n2");
	yes->fits = true;
	pb_msgs_add(&e->n_nodes, &e->nodes, no);
	pb_msgs_add(&e->n_nodes, &e->nodes, yes);
	pb_msgs_add(&reply->n_tasks, &reply->tasks, e);
	out = open_memstream(&text, &len);
	explain_print(reply, out);
	fclose(out);
	assert_string_equal(text, "web: 0 of 1 tasks run\n"
				  "└─ web.1  Pending  (task aaaaaaaaaaaa)\n"
				  "   ├─ no node can take it\n"
				  "   ├─ h1: insufficient memory (asked 4 GiB, free 1.2 GiB)\n"
				  "   └─ n2: fits\n");
}

static void explanation_of_a_placed_task_lists_only_refusals(void **state)
{
	_cleanup_pb_ Skein__ExplainServiceResponse *reply = pb_new(&skein__explain_service_response__descriptor);
	Skein__TaskExplanation *e = pb_new(&skein__task_explanation__descriptor);
	Skein__NodeVerdict *no = pb_new(&skein__node_verdict__descriptor), *yes = pb_new(&skein__node_verdict__descriptor);
	_cleanup_free_ char *text = NULL;
	size_t len;
	FILE *out;

	reply->service = pb_new(&skein__service__descriptor);
	reply->service->spec = pb_new(&skein__service_spec__descriptor);
	pb_set_str(&reply->service->spec->name, "web");
	pb_set_str(&reply->summary, "web: 1 of 1 run");
	e->task = task("aaaaaaaaaaaaaaaaaaaaaaaaa", 1, TASK_RUNNING, TASK_RUNNING, 1, NULL);
	pb_set_str(&e->node_name, "h1");
	pb_set_str(&no->node_name, "h2");
	pb_set_str(&no->reason, "drained");
	pb_set_str(&yes->node_name, "h1");
	yes->fits = true;
	pb_msgs_add(&e->n_nodes, &e->nodes, no);
	pb_msgs_add(&e->n_nodes, &e->nodes, yes);
	pb_msgs_add(&reply->n_tasks, &reply->tasks, e);
	out = open_memstream(&text, &len);
	explain_print(reply, out);
	fclose(out);
	assert_string_equal(text, "web: 1 of 1 run\n"
				  "└─ web.1  Running on h1  (task aaaaaaaaaaaa)\n"
				  "   └─ h2: drained\n");
}

static void pretty_service(void **state)
{
	_cleanup_pb_ pb_service *service = pb_new(&skein__service__descriptor);
	_cleanup_free_ char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	pb_set_str(&service->id, "abc");
	service->spec = pb_new(&skein__service_spec__descriptor);
	pb_service_spec_defaults(service->spec);
	pb_set_str(&service->spec->name, "web");
	service->spec->task->resources->limits->mem_bytes = 64 << 20;
	pb_set_str(&service->spec->task->container->registry_auth, "s3cret");
	service_pretty(service, out);
	fclose(out);
	assert_non_null(strstr(text, "Name:                    web\n"));
	assert_non_null(strstr(text, "Limits:\n Memory:                 64MiB\n"));
	assert_non_null(strstr(text, " Monitoring period:      5s\n"));
	assert_null(strstr(text, "s3cret"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(widths_of_utf8),
		cmocka_unit_test(texts_are_cut_at_columns),
		cmocka_unit_test(lists_in_every_format),
		cmocka_unit_test(messages_as_json),
		cmocka_unit_test(secrets_are_never_printed),
		cmocka_unit_test(ps_shows_history_below_the_present),
		cmocka_unit_test(explanation_is_a_tree),
		cmocka_unit_test(explanation_of_a_placed_task_lists_only_refusals),
		cmocka_unit_test(pretty_service),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
