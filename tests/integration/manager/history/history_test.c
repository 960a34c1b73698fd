/* Events of a real etcd: as they happen, and read back from its past, compacted or not. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/serve_fixture.h"

#include "manager/history/history.h"

#include <inttypes.h>
#include <stdlib.h>

static char *line_of(const struct history *h, uint64_t number)
{
	const pb_event *e = history_get(h, number);

	assert_non_null(e);
	return xasprintf("%" PRIu64 " %s %s %s %zu", e->revision, e->type, e->action, e->id, e->n_attributes);
}

/* A history that knows only what etcd still has. */
static struct history *begin_anew(struct serve *s)
{
	struct history_options options = {.store = s->store, .etcd = s->etcd, .prefix = s->prefix, .leader_key = "/leader"};
	struct history *h = history_new(&options);

	wait_for(s, history_ready(h));
	return h;
}

/* A node that comes, goes down and is removed; a service in between. */
static void live_a_little(struct serve *s)
{
	pb_service *service = pb_new(&skein__service__descriptor);
	pb_node *node;

	put_node(s, "n1");
	pb_set_str(&service->id, "s1");
	service->spec = pb_new(&skein__service_spec__descriptor);
	pb_set_str(&service->spec->name, "web");
	put(s, KIND_SERVICE, service);
	node = pb_dup(view_node(store_view(s->store), "n1"));
	pb_set_msg(&node->status, NULL);
	node->status = pb_new(&skein__node_status__descriptor);
	node->status->state = NODE_DOWN;
	put(s, KIND_NODE, node);
	del(s, KIND_SERVICE, "s1");
	del(s, KIND_NODE, "n1");
	put_node(s, "n2");
}

static void the_past_is_told_as_it_was_told_when_it_happened(void **state)
{
	struct serve *s = *state;
	struct history *again;
	uint64_t first;

	wait_for(s, history_ready(s->history));
	first = history_end(s->history);
	live_a_little(s);
	wait_for(s, history_end(s->history) == first + 6);
	again = begin_anew(s);
	assert_true(history_end(again) >= 6);
	for (uint64_t i = 0; i < 6; i++) {
		_cleanup_free_ char *then = line_of(s->history, first + i);
		_cleanup_free_ char *now = line_of(again, history_end(again) - 6 + i);

		assert_string_equal(now, then);
		assert_true(history_get(again, history_end(again) - 6 + i)->at > 0);
	}
	/* What comes now comes to both. */
	first = history_end(again);
	put_node(s, "n3");
	wait_for(s, history_end(again) == first + 1);
	assert_string_equal(history_get(again, first)->id, "n3");
	history_free(again);
}

static void what_was_compacted_is_forgotten(void **state)
{
	struct serve *s = *state;
	_cleanup_free_ char *command = NULL;
	struct history *again;
	uint64_t at;

	live_a_little(s);
	at = store_revision(s->store);
	put_node(s, "n4");
	del(s, KIND_NODE, "n4");
	put_node(s, "n5");
	command = xasprintf("curl -sf --unix-socket '%s' -d '{\"revision\":\"%" PRIu64 "\"}' http://etcd/v3/kv/compaction >/dev/null",
			    serve_etcd.socket, at);
	assert_int_equal(system(command), 0);
	again = begin_anew(s);
	assert_int_equal(history_end(again), 3);
	assert_string_equal(history_get(again, 0)->action, "create");
	assert_string_equal(history_get(again, 1)->action, "remove");
	assert_string_equal(history_get(again, 1)->id, "n4");
	/* The removal carries no time: it was before what came next. */
	assert_int_equal(history_get(again, 1)->at, history_get(again, 2)->at);
	assert_true(history_get(again, 1)->at >= history_get(again, 0)->at);
	history_free(again);
}

static void on_told(void *data)
{
	++*(unsigned *)data;
}

static void no_more_than_the_bound_is_kept(void **state)
{
	struct serve *s = *state;
	unsigned told = 0;
	struct history_sub *sub;

	wait_for(s, history_ready(s->history));
	sub = history_subscribe(s->history, on_told, &told);
	for (uint64_t i = 1; i <= HISTORY_MAX + 10; i++)
		history_leader(s->history, "n1", store_revision(s->store) + i);
	assert_int_equal(told, HISTORY_MAX + 10);
	assert_int_equal(history_end(s->history) - history_first(s->history), HISTORY_MAX);
	assert_null(history_get(s->history, history_first(s->history) - 1));
	assert_null(history_get(s->history, history_end(s->history)));
	history_unsubscribe(sub);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVE_TEST(the_past_is_told_as_it_was_told_when_it_happened),
		SERVE_TEST(what_was_compacted_is_forgotten),
		SERVE_TEST(no_more_than_the_bound_is_kept),
	};

	return cmocka_run_group_tests(tests, serve_group_setup, serve_group_teardown);
}
