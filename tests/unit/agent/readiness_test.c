/*
 * From a running process to a task that serves. Checks and networks are played here: each is answered when the test says so;
 * timers are the real ones.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/exec/exec.h"
#include "agent/net/net.h"
#include "agent/readiness.h"
#include "common/clock.h"
#include "common/mem.h"
#include "common/str.h"

#include <string.h>

static struct {
	container_check_cb check;
	void *check_data;
	unsigned checks, cancelled;
	net_ready_cb await;
	void *await_data;
	uint16_t exposed[8];
	size_t n_exposed;
	bool nothing_to_await;
	unsigned await_cancelled;
} play;

struct container_check *container_check(struct container *c, int64_t timeout_ns, container_check_cb cb, void *data)
{
	assert_null(play.check);
	play.check = cb;
	play.check_data = data;
	play.checks++;
	return (struct container_check *)&play;
}

void container_check_cancel(struct container_check *k)
{
	play.check = NULL;
	play.cancelled++;
}

bool net_await(struct net *n, const char *task_id, const uint16_t *exposed, size_t n_exposed, int64_t max_ns, net_ready_cb cb,
	       void *data)
{
	if (play.nothing_to_await || max_ns <= 0)
		return false;
	for (size_t i = 0; i < n_exposed && i < ARRAY_SIZE(play.exposed); i++)
		play.exposed[i] = exposed[i];
	play.n_exposed = n_exposed;
	play.await = cb;
	play.await_data = data;
	return true;
}

void net_await_cancel(struct net *n, const char *task_id)
{
	play.await = NULL;
	play.await_cancelled++;
}

struct seen {
	uv_loop_t loop;
	struct readiness *r;
	pb_task *task;
	unsigned ready, told;
	char *message, *why;
	pb_task_health *health;
};

static void on_ready(void *data, const char *message)
{
	struct seen *s = data;

	s->ready++;
	free(s->message);
	s->message = xstrdup(message);
}

static void on_changed(void *data, const pb_task_health *health)
{
	struct seen *s = data;

	s->told++;
	pb_free(s->health);
	s->health = pb_dup(health);
}

static void on_unhealthy(void *data, const char *why)
{
	struct seen *s = data;

	assert_null(s->why);
	s->why = xstrdup(why);
}

static int setup(void **state)
{
	struct seen *s = xnew(struct seen);

	memset(&play, 0, sizeof(play));
	uv_loop_init(&s->loop);
	s->task = pb_new(&skein__task__descriptor);
	pb_set_str(&s->task->id, "11111111111111111111task1");
	s->task->spec = pb_new(&skein__task_spec__descriptor);
	s->task->spec->container = pb_new(&skein__container_spec__descriptor);
	s->task->spec->container->ready_wait = 10 * NS_PER_SEC;
	*state = s;
	return 0;
}

static int teardown(void **state)
{
	struct seen *s = *state;

	readiness_close(s->r);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&s->loop), 0);
	pb_free(s->task);
	pb_free(s->health);
	free(s->message);
	free(s->why);
	free(s);
	return 0;
}

static void begin(struct seen *s, const struct image *image, bool adopted, bool passed)
{
	struct readiness_options options = {
		.loop = &s->loop, .task = s->task, .image = image, .adopted = adopted, .passed = passed,
		.ready = on_ready, .changed = on_changed, .unhealthy = on_unhealthy, .data = s,
	};

	s->r = readiness_new(&options);
}

#define until(s, condition)                                                          \
	do {                                                                         \
		int64_t end_ = clock_mono_ns() + 20 * NS_PER_SEC;                    \
		while (!(condition)) {                                               \
			if (clock_mono_ns() > end_)                                  \
				fail_msg("gave up waiting for: %s", #condition);     \
			uv_run(&(s)->loop, UV_RUN_NOWAIT);                           \
		}                                                                    \
	} while (0)

static void answer(struct seen *s, int exit_code, const char *output)
{
	container_check_cb cb;

	until(s, play.check);
	cb = play.check;
	play.check = NULL;
	cb(play.check_data, &(struct check_end){.exit_code = exit_code, .timed_out = exit_code < 0, .output = output});
}

static void add_check(struct seen *s, int64_t interval, uint32_t retries)
{
	pb_health_check *h = pb_new(&skein__health_check__descriptor);

	pb_strs_add(&h->n_test, &h->test, "CMD");
	pb_strs_add(&h->n_test, &h->test, "true");
	h->interval = h->start_interval = interval;
	h->timeout = 30 * NS_PER_SEC;
	h->retries = retries;
	s->task->spec->container->health = h;
}

/* ---------------------------------------------------------------- checks */

static void the_first_success_makes_it_ready(void **state)
{
	struct seen *s = *state;

	add_check(s, NS_PER_MS, 1000000);
	begin(s, NULL, false, false);
	assert_string_equal(readiness_waits_for(s->r), "waits for the first successful health check");
	answer(s, 1, "not yet");
	answer(s, 1, "not yet");
	assert_int_equal(s->ready, 0);
	answer(s, 0, "fine");
	assert_int_equal(s->ready, 1);
	assert_string_equal(s->message, "healthy");
	assert_int_equal(s->health->state, HEALTH_HEALTHY);
	assert_string_equal(s->health->output, "fine");
	answer(s, 0, "fine");
	assert_int_equal(s->ready, 1);
	assert_null(play.await); /* its ports are not looked at */
}

static void too_many_failures_are_told_with_the_last_words(void **state)
{
	struct seen *s = *state;

	add_check(s, NS_PER_MS, 2);
	begin(s, NULL, false, false);
	answer(s, 0, "");
	answer(s, 7, "first");
	assert_null(s->why);
	answer(s, 8, "connection refused");
	assert_string_equal(s->why, "unhealthy: check failed 2 times (exit 8): connection refused");
	assert_int_equal(s->health->state, HEALTH_UNHEALTHY);
	assert_int_equal(s->health->failing_streak, 2);
	assert_int_equal(s->health->exit_code, 8);
	assert_null(play.check); /* it was the last */
}

static void long_output_is_cut_in_the_reason(void **state)
{
	struct seen *s = *state;
	char output[4000];

	memset(output, 'x', sizeof(output) - 1);
	output[sizeof(output) - 1] = '\0';
	add_check(s, NS_PER_MS, 1);
	begin(s, NULL, true, true);
	answer(s, 1, output);
	assert_non_null(s->why);
	assert_true(strlen(s->why) < 300);
	assert_int_equal(strlen(s->health->output), sizeof(output) - 1);
}

static void a_check_that_takes_too_long_says_so(void **state)
{
	struct seen *s = *state;

	add_check(s, NS_PER_MS, 1);
	begin(s, NULL, true, true);
	answer(s, -1, "waiting for lock");
	assert_string_equal(s->health->output, "not over after 30s: waiting for lock");
	assert_string_equal(s->why, "unhealthy: check failed 1 times (exit -1): not over after 30s: waiting for lock");
}

static void failures_now_and_then_are_not_told_each(void **state)
{
	struct seen *s = *state;

	add_check(s, NS_PER_MS, 1000);
	begin(s, NULL, false, false);
	answer(s, 0, "");
	assert_int_equal(s->told, 1);
	for (int i = 0; i < 20; i++) {
		answer(s, 1, "");
		answer(s, 0, "");
	}
	assert_int_equal(s->told, 1);
}

static void closing_ends_the_check_under_way(void **state)
{
	struct seen *s = *state;

	add_check(s, NS_PER_MS, 1);
	begin(s, NULL, false, false);
	until(s, play.check);
	readiness_close(s->r);
	s->r = NULL;
	assert_int_equal(play.cancelled, 1);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	assert_int_equal(play.checks, 1);
}

/* ---------------------------------------------------------------- ports */

static char *ports[] = {"80/tcp", "53/udp", "8080", "0/tcp", "x", "443/tcp", NULL};
static const struct image an_image = {.exposed_ports = ports};

static void without_a_check_its_ports_are_waited_for(void **state)
{
	struct seen *s = *state;

	begin(s, &an_image, false, false);
	assert_string_equal(readiness_waits_for(s->r), "waits until somebody listens on its ports");
	assert_int_equal(play.n_exposed, 3);
	assert_int_equal(play.exposed[0], 80);
	assert_int_equal(play.exposed[1], 8080);
	assert_int_equal(play.exposed[2], 443);
	assert_int_equal(s->ready, 0);
	play.await(play.await_data, NULL);
	assert_int_equal(s->ready, 1);
	assert_string_equal(s->message, "started");
	readiness_close(s->r);
	s->r = NULL;
	assert_int_equal(play.await_cancelled, 0);
}

static void nobody_who_listens_is_said(void **state)
{
	struct seen *s = *state;

	begin(s, NULL, false, false);
	play.await(play.await_data, "80/tcp");
	assert_string_equal(s->message, "started; nobody listens on port 80/tcp after 10s");
}

static void nothing_to_wait_for_is_told_later(void **state)
{
	struct seen *s = *state;

	play.nothing_to_await = true;
	begin(s, NULL, false, false);
	assert_null(readiness_waits_for(s->r));
	assert_int_equal(s->ready, 0);
	until(s, s->ready == 1);
	assert_string_equal(s->message, "started");
}

static void what_was_running_is_not_waited_for_again(void **state)
{
	struct seen *s = *state;

	begin(s, NULL, true, true);
	assert_null(play.await);
	uv_run(&s->loop, UV_RUN_DEFAULT);
	assert_int_equal(s->ready, 0);
}

static void ports_of_images(void **state)
{
	assert_int_equal(readiness_exposed_port("80/tcp"), 80);
	assert_int_equal(readiness_exposed_port("80"), 80);
	assert_int_equal(readiness_exposed_port("80/udp"), 0);
	assert_int_equal(readiness_exposed_port("70000/tcp"), 0);
	assert_int_equal(readiness_exposed_port("/tcp"), 0);
	assert_int_equal(readiness_exposed_port(""), 0);
	assert_int_equal(readiness_exposed_port("-1/tcp"), 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_first_success_makes_it_ready),
		T(too_many_failures_are_told_with_the_last_words),
		T(long_output_is_cut_in_the_reason),
		T(a_check_that_takes_too_long_says_so),
		T(failures_now_and_then_are_not_told_each),
		T(closing_ends_the_check_under_way),
		T(without_a_check_its_ports_are_waited_for),
		T(nobody_who_listens_is_said),
		T(nothing_to_wait_for_is_told_later),
		T(what_was_running_is_not_waited_for_again),
		cmocka_unit_test(ports_of_images),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
