/* Streams that follow one service: the present first, then changes; the newest state for the slow. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/control_forms.h"

struct watcher {
	struct rpc_channel *channel;
	struct rpc_call *call;
	unsigned messages, tasks;
	uint64_t replicas, desired;
	bool gone, done;
	struct error err;
};

static void watcher_on_message(struct rpc_call *call, const ProtobufCMessage *raw, void *data)
{
	const Skein__WatchServiceResponse *msg = (const Skein__WatchServiceResponse *)raw;
	struct watcher *w = data;

	w->messages++;
	w->gone = !msg->service;
	w->tasks = (unsigned)msg->n_tasks;
	w->desired = msg->desired;
	if (msg->service)
		w->replicas = msg->service->spec->replicated->replicas;
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
	static const struct rpc_handlers handlers = {.on_message = watcher_on_message,
						     .on_done = watcher_on_done};
	Skein__RefRequest request = SKEIN__REF_REQUEST__INIT;

	*w = (struct watcher){.channel = channel_as(s, NULL, NULL)};
	w->call = rpc_stream(w->channel, &skein__control__descriptor, "WatchService", 0, &handlers,
			     w);
	request.ref = (char *)ref;
	rpc_call_send(w->call, &request.base, NULL);
	rpc_call_half_close(w->call);
}

static void unwatch(struct serve *s, struct watcher *w)
{
	if (w->call)
		rpc_call_cancel(w->call);
	wait_for(s, w->done);
	rpc_channel_close(w->channel);
}

static void watch_shows_the_present_and_changes(void **state)
{
	struct serve *s = *state;
	_cleanup_pb_ Skein__ServiceResponse *r = created(s, "web"), *scaled = NULL;
	_cleanup_pb_ void *removed = NULL;
	struct watcher w, none;

	watch(s, "nothing", &none);
	wait_for(s, none.done);
	assert_int_equal(none.err.code, ERR_NOT_FOUND);
	unwatch(s, &none);
	watch(s, "web", &w);
	wait_for(s, w.messages == 1);
	assert_int_equal(w.desired, 1);
	r->service->spec->replicated->replicas = 4;
	scaled = update(s, "web", 0, r->service->spec, false, NULL);
	wait_for(s, w.desired == 4);
	/* What other services do is not told. */
	pb_free(created(s, "other"));
	pass_ms(s, 100);
	assert_int_equal(w.messages, 2);
	removed = ask_ref(s, "RemoveService", "web", NULL);
	wait_for(s, w.done);
	assert_true(w.gone);
	assert_int_equal(w.err.code, ERR_OK);
	unwatch(s, &w);
}

/* A client that does not read costs nothing: of 200 states of 100 KiB each it gets a few, the
 * newest last. */
static void slow_watchers_get_the_newest_state(void **state)
{
	struct serve *s = *state;
	_cleanup_free_ char *big = xcalloc(1, (100u << 10) + 1);
	_cleanup_pb_ pb_service_spec *spec = new_spec("web", "web@" DIGEST);
	_cleanup_pb_ Skein__ServiceResponse *r = NULL;
	struct watcher w;
	char id[64];

	memset(big, 'x', 100u << 10);
	pb_strs_add(&spec->task->container->n_args, &spec->task->container->args, big);
	r = create(s, spec, NULL);
	snprintf(id, sizeof(id), "%s", r->service->id);
	watch(s, "web", &w);
	wait_for(s, w.messages == 1);
	rpc_call_pause(w.call);
	for (uint64_t i = 1; i <= 200; i++) {
		pb_service *service = pb_dup(view_service(store_view(s->store), id));

		service->spec->replicated->replicas = i;
		put(s, KIND_SERVICE, service);
	}
	rpc_call_resume(w.call);
	wait_for(s, w.replicas == 200);
	assert_in_range(w.messages, 2, 120);
	unwatch(s, &w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVE_TEST(watch_shows_the_present_and_changes),
		SERVE_TEST(slow_watchers_get_the_newest_state),
	};

	return cmocka_run_group_tests(tests, serve_group_setup, serve_group_teardown);
}
