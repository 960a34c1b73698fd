/* What is asked of migrations; the leader, who carries them out, is played. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/control_forms.h"

static void put_ready(struct serve *s, const char *id)
{
	pb_node *n = new_node(id);

	n->status->state = NODE_READY;
	put(s, KIND_NODE, n);
}

/* A task of "web" that runs and can be moved. */
static void put_task(struct serve *s, const pb_service *service, const char *id, uint64_t slot, const char *node)
{
	pb_task *task = pb_new(&skein__task__descriptor);

	pb_set_str(&task->id, id);
	pb_set_str(&task->service_id, service->id);
	pb_set_str(&task->service_name, service->spec->name);
	pb_set_str(&task->node_id, node);
	pb_set_msg(&task->spec, service->spec->task);
	task->slot = slot;
	task->spec_version = service->spec_version;
	task->desired = TASK_RUNNING;
	task->status = pb_new(&skein__task_status__descriptor);
	task->status->state = TASK_RUNNING;
	put(s, KIND_TASK, task);
}

/* Nodes n1, n2 and full1; web.1 (t1) and web.2 (t2) on n1. */
static void put_web(struct serve *s)
{
	_cleanup_pb_ pb_service_spec *spec = new_spec("web", "web@" DIGEST);
	_cleanup_pb_ Skein__ServiceResponse *r = NULL;
	struct error err;

	spec->task->live_migrate = true;
	r = create(s, spec, &err);
	if (!r)
		fail_msg("%s", err.msg);
	put_ready(s, "n1");
	put_ready(s, "n2");
	put_ready(s, "full1");
	put_task(s, r->service, "t1", 1, "n1");
	put_task(s, r->service, "t2", 2, "n1");
}

static Skein__MigrationResponse *migrate(struct serve *s, const char *ref, const char *node, struct error *err)
{
	Skein__MigrateTaskRequest request = SKEIN__MIGRATE_TASK_REQUEST__INIT;

	request.ref = (char *)ref;
	request.node = (char *)node;
	return ask(s, "MigrateTask", &request, err);
}

static void set_phase(struct serve *s, const char *id, int phase, const char *target_node, const char *message)
{
	pb_migration *m = pb_dup(view_migration(store_view(s->store), id));

	m->phase = (Skein__MigrationPhase)phase;
	if (target_node)
		pb_set_str(&m->target_node, target_node);
	pb_set_str(&m->message, message ?: "");
	if (!m->ticket.len)
		m->ticket = (ProtobufCBinaryData){.len = 6, .data = (uint8_t *)xstrdup("secret")};
	put(s, KIND_MIGRATION, m);
}

static void refused(struct serve *s, const char *ref, const char *node, int code, const char *text)
{
	struct error err;

	assert_null(migrate(s, ref, node, &err));
	assert_int_equal(err.code, code);
	if (!strstr(err.msg, text))
		fail_msg("\"%s\" lacks \"%s\"", err.msg, text);
	assert_int_equal(view_count(store_view(s->store), KIND_MIGRATION), 0);
}

static void what_cannot_be_moved_is_refused_before_anything_is_written(void **state)
{
	struct serve *s = *state;

	put_web(s);
	refused(s, "web.7", "", ERR_NOT_FOUND, "no such task: web.7");
	refused(s, "web.1", "nowhere", ERR_NOT_FOUND, "no such node: nowhere");
	refused(s, "web.1", "n1", ERR_PRECONDITION, "task web.1 is on node n1 already");
	refused(s, "web.1", "full1", ERR_PRECONDITION, "full1: insufficient memory");
	del(s, KIND_NODE, "n2");
	refused(s, "web.1", "", ERR_PRECONDITION, "no other node can take task web.1: full1: insufficient memory");
	del(s, KIND_NODE, "full1");
	refused(s, "web.1", "", ERR_PRECONDITION, "there is no other node");
}

static void a_migration_is_made_once(void **state)
{
	struct serve *s = *state;
	_cleanup_pb_ Skein__MigrationResponse *r = NULL;
	const pb_migration *m;
	struct error err;

	put_web(s);
	r = migrate(s, "web.1", "n2", &err);
	if (!r)
		fail_msg("%s", err.msg);
	m = view_migration(store_view(s->store), r->migration->id);
	assert_int_equal(m->phase, MIGRATION_NEW);
	assert_string_equal(m->source_task, "t1");
	assert_string_equal(m->source_node, "n1");
	assert_string_equal(m->target_node, "n2");
	assert_string_equal(m->service_name, "web");
	assert_string_equal(m->cause, "task migrate");
	assert_int_equal(m->slot, 1);
	assert_null(migrate(s, "web.1", "", &err));
	assert_int_equal(err.code, ERR_PRECONDITION);
	assert_non_null(strstr(err.msg, "being moved already"));
}

/* Of several that ask at once one gets it, whatever each has seen. */
static void only_one_of_many_gets_it(void **state)
{
	struct serve *s = *state;
	struct rpc_channel *channel = channel_as(s, NULL, NULL);
	Skein__MigrateTaskRequest request = SKEIN__MIGRATE_TASK_REQUEST__INIT;
	struct answer answers[8] = {0};
	unsigned made = 0;

	put_web(s);
	request.ref = "web.1";
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++)
		rpc_unary(channel, &skein__control__descriptor, "MigrateTask", &request.base, 15000, on_answer, &answers[i]);
	for (size_t i = 0; i < ARRAY_SIZE(answers); i++) {
		wait_for(s, answers[i].done);
		made += answers[i].msg != NULL;
		if (!answers[i].msg)
			assert_int_equal(answers[i].err.code, ERR_PRECONDITION);
		pb_free(answers[i].msg);
	}
	assert_int_equal(made, 1);
	assert_int_equal(view_count(store_view(s->store), KIND_MIGRATION), 1);
	rpc_channel_close(channel);
}

static void cancelling_is_a_wish(void **state)
{
	struct serve *s = *state;
	_cleanup_pb_ Skein__MigrationResponse *r = NULL, *cancelled = NULL, *again = NULL;
	struct error err;

	put_web(s);
	r = migrate(s, "t1", "", &err);
	assert_null(ask_ref(s, "CancelMigration", "web.2", &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
	cancelled = ask_ref(s, "CancelMigration", "web.1", &err);
	assert_non_null(cancelled);
	assert_true(view_migration(store_view(s->store), r->migration->id)->cancelled);
	again = ask_ref(s, "CancelMigration", r->migration->id, &err);
	assert_non_null(again);
	set_phase(s, r->migration->id, MIGRATION_SWITCH, "n2", NULL);
	assert_null(ask_ref(s, "CancelMigration", r->migration->id, &err));
	assert_int_equal(err.code, ERR_PRECONDITION);
}

/* ---- lists */

static Skein__ListMigrationsResponse *list(struct serve *s, const char *key, const char *value, struct error *err)
{
	_cleanup_pb_ Skein__ListRequest *request = pb_new(&skein__list_request__descriptor);

	if (key)
		pb_kv_set(&request->n_filters, &request->filters, key, value);
	return ask(s, "ListMigrations", request, err);
}

static size_t listed(struct serve *s, const char *key, const char *value)
{
	struct error err;
	_cleanup_pb_ Skein__ListMigrationsResponse *r = list(s, key, value, &err);

	if (!r)
		fail_msg("%s", err.msg);
	for (size_t i = 0; i < r->n_migrations; i++)
		assert_int_equal(r->migrations[i]->ticket.len, 0);
	return r->n_migrations;
}

static void lists_have_filters_and_no_tickets(void **state)
{
	struct serve *s = *state;
	_cleanup_pb_ Skein__MigrationResponse *one = NULL, *two = NULL;
	struct error err;

	put_web(s);
	one = migrate(s, "t1", "", &err);
	set_phase(s, one->migration->id, MIGRATION_ROLLED_BACK, "n2", "the target was lost");
	two = migrate(s, "t2", "", &err);
	set_phase(s, two->migration->id, MIGRATION_COPY, "n2", NULL);
	assert_int_equal(listed(s, NULL, NULL), 2);
	assert_int_equal(listed(s, "service", "web"), 2);
	assert_int_equal(listed(s, "service", "other"), 0);
	assert_int_equal(listed(s, "task", "web.1"), 1);
	assert_int_equal(listed(s, "task", "t2"), 1);
	assert_int_equal(listed(s, "node", "n2"), 2);
	assert_int_equal(listed(s, "node", "full1"), 0);
	assert_int_equal(listed(s, "state", "active"), 1);
	assert_int_equal(listed(s, "state", "rolled-back"), 1);
	assert_null(list(s, "state", "flying", &err));
	assert_int_equal(err.code, ERR_INVALID);
	assert_null(list(s, "colour", "red", &err));
	assert_int_equal(err.code, ERR_INVALID);
}

/* ---- watch */

struct watcher {
	struct rpc_channel *channel;
	struct rpc_call *call;
	unsigned messages;
	int phase;
	size_t n_verdicts, ticket;
	bool done;
	struct error err;
};

static void watcher_on_message(struct rpc_call *call, const ProtobufCMessage *raw, void *data)
{
	const Skein__MigrationResponse *msg = (const Skein__MigrationResponse *)raw;
	struct watcher *w = data;

	w->messages++;
	w->phase = (int)msg->migration->phase;
	w->ticket += msg->migration->ticket.len;
	w->n_verdicts = msg->n_nodes;
}

static void watcher_on_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct watcher *w = data;

	w->done = true;
	w->call = NULL;
	w->err = err ? *err : ERROR_INIT;
}

static void watch(struct serve *s, const char *ref, struct watcher *w)
{
	static const struct rpc_handlers handlers = {.on_message = watcher_on_message, .on_done = watcher_on_done};
	Skein__RefRequest request = SKEIN__REF_REQUEST__INIT;

	*w = (struct watcher){.channel = channel_as(s, NULL, NULL), .phase = -1};
	w->call = rpc_stream(w->channel, &skein__control__descriptor, "WatchMigration", 0, &handlers, w);
	request.ref = (char *)ref;
	rpc_call_send(w->call, &request.base, NULL);
	rpc_call_half_close(w->call);
}

static void unwatch(struct serve *s, struct watcher *w, int code)
{
	wait_for(s, w->done);
	assert_int_equal(w->err.code, code);
	rpc_channel_close(w->channel);
}

static void watching_ends_behind_the_last_phase(void **state)
{
	struct serve *s = *state;
	_cleanup_pb_ Skein__MigrationResponse *r = NULL;
	struct watcher w, late, none;
	struct error err;

	put_web(s);
	watch(s, "web.1", &none);
	unwatch(s, &none, ERR_NOT_FOUND);
	r = migrate(s, "web.1", "", &err);
	watch(s, "web.1", &w);
	wait_for(s, w.messages == 1);
	assert_int_equal(w.phase, MIGRATION_NEW);
	set_phase(s, r->migration->id, MIGRATION_COPY, "n2", NULL);
	wait_for(s, w.phase == MIGRATION_COPY);
	assert_false(w.done);
	set_phase(s, r->migration->id, MIGRATION_MOVED, NULL, NULL);
	wait_for(s, w.phase == MIGRATION_MOVED);
	unwatch(s, &w, ERR_OK);
	assert_int_equal(w.messages, 3);
	assert_int_equal(w.ticket, 0);
	/* Who comes later is told how it ended. */
	watch(s, r->migration->id, &late);
	unwatch(s, &late, ERR_OK);
	assert_int_equal(late.phase, MIGRATION_MOVED);
}

static void a_refusal_for_want_of_a_node_says_why_each(void **state)
{
	struct serve *s = *state;
	_cleanup_pb_ Skein__MigrationResponse *r = NULL;
	struct watcher w;
	struct error err;

	put_web(s);
	r = migrate(s, "web.1", "", &err);
	set_phase(s, r->migration->id, MIGRATION_REFUSED, NULL, "no suitable node");
	watch(s, r->migration->id, &w);
	unwatch(s, &w, ERR_OK);
	assert_int_equal(w.n_verdicts, 2); /* n2 and full1 */
}

/* ---- rebalance */

static Skein__RebalanceResponse *rebalance(struct serve *s, bool dry_run, struct error *err)
{
	Skein__RebalanceRequest request = SKEIN__REBALANCE_REQUEST__INIT;

	request.ref = "web";
	request.dry_run = dry_run;
	return ask(s, "Rebalance", &request, err);
}

static void rebalancing_makes_a_migration_per_move(void **state)
{
	struct serve *s = *state;
	_cleanup_pb_ Skein__RebalanceResponse *none = NULL, *planned = NULL, *made = NULL;
	_cleanup_free_ const void **all = NULL;
	struct error err;
	size_t n;

	put_web(s);
	none = rebalance(s, false, &err);
	assert_int_equal(none->n_moves, 0);
	put_ready(s, "n9");
	planned = rebalance(s, true, &err);
	assert_int_equal(planned->n_moves, 2);
	assert_int_equal(view_count(store_view(s->store), KIND_MIGRATION), 0);
	made = rebalance(s, false, &err);
	assert_int_equal(made->n_moves, 2);
	assert_string_equal(made->moves[0]->task_name, "web.1");
	assert_string_equal(made->moves[0]->from_node, "n1");
	assert_string_equal(made->moves[0]->to_node, "n9");
	all = view_list(store_view(s->store), KIND_MIGRATION, &n);
	assert_int_equal(n, 2);
	for (size_t i = 0; i < n; i++) {
		assert_string_equal(((const pb_migration *)all[i])->cause, "rebalance");
		assert_string_equal(((const pb_migration *)all[i])->target_node, "n9");
	}
}

static void rebalancing_needs_tasks_that_can_move(void **state)
{
	struct serve *s = *state;
	struct error err;

	pb_free(created(s, "web"));
	assert_null(rebalance(s, true, &err));
	assert_int_equal(err.code, ERR_PRECONDITION);
	assert_non_null(strstr(err.msg, "--live-migrate"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVE_TEST(what_cannot_be_moved_is_refused_before_anything_is_written),
		SERVE_TEST(a_migration_is_made_once),
		SERVE_TEST(only_one_of_many_gets_it),
		SERVE_TEST(cancelling_is_a_wish),
		SERVE_TEST(lists_have_filters_and_no_tickets),
		SERVE_TEST(watching_ends_behind_the_last_phase),
		SERVE_TEST(a_refusal_for_want_of_a_node_says_why_each),
		SERVE_TEST(rebalancing_makes_a_migration_per_move),
		SERVE_TEST(rebalancing_needs_tasks_that_can_move),
	};

	return cmocka_run_group_tests(tests, serve_group_setup, serve_group_teardown);
}
