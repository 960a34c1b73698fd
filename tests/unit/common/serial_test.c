#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/mem.h"
#include "common/serial.h"

#include <pthread.h>
#include <string.h>

#define JOBS 1000

struct world {
	struct serial *serial;
	uv_sem_t go;
	pthread_t loop_thread, work_thread;
	char name[16];
	unsigned worked, done, closed, chained;
};

struct one {
	struct world *w;
	unsigned number;
};

static void work(void *data)
{
	struct one *one = data;
	struct world *w = one->w;

	assert_int_equal(one->number, w->worked++); /* in order, one at a time */
	w->work_thread = pthread_self();
	pthread_getname_np(pthread_self(), w->name, sizeof(w->name));
}

static void done(void *data)
{
	struct one *one = data;

	assert_true(pthread_equal(pthread_self(), one->w->loop_thread));
	assert_int_equal(one->number, one->w->done++);
	assert_int_equal(one->w->closed, 0);
}

static void closed(void *data)
{
	((struct world *)data)->closed++;
}

static void in_order_then_closed(void **state)
{
	static struct one ones[JOBS];
	struct world w = {.loop_thread = pthread_self()};
	uv_loop_t loop;

	uv_loop_init(&loop);
	w.serial = serial_new(&loop, "net");
	for (unsigned i = 0; i < JOBS; i++) {
		ones[i] = (struct one){&w, i};
		serial_run(w.serial, work, done, &ones[i]);
	}
	/* Closing does not cut off what was given; a second one is nothing. */
	serial_close(w.serial, closed, &w);
	serial_close(w.serial, closed, &w);
	assert_int_equal(w.closed, 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(w.worked, JOBS);
	assert_int_equal(w.done, JOBS);
	assert_int_equal(w.closed, 1);
	assert_false(pthread_equal(w.work_thread, w.loop_thread));
	assert_string_equal(w.name, "net");
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void wait_for_go(void *data)
{
	uv_sem_wait(&((struct world *)data)->go);
}

static void tick(uv_timer_t *timer)
{
	struct world *w = timer->data;

	/* The loop turns while the job waits. */
	assert_int_equal(w->chained, 0);
	uv_sem_post(&w->go);
	uv_close((uv_handle_t *)timer, NULL);
}

static void count(void *data)
{
	((struct world *)data)->chained++;
}

static void chain(void *data)
{
	struct world *w = data;

	w->chained++;
	serial_run(w->serial, count, NULL, w); /* while closing: runs, too */
}

static void loop_goes_on_meanwhile(void **state)
{
	struct world w = {.loop_thread = pthread_self()};
	uv_loop_t loop;
	uv_timer_t timer = {.data = &w};

	uv_loop_init(&loop);
	uv_sem_init(&w.go, 0);
	w.serial = serial_new(&loop, "net");
	serial_run(w.serial, wait_for_go, chain, &w);
	uv_timer_init(&loop, &timer);
	uv_timer_start(&timer, tick, 1, 0);
	serial_close(w.serial, closed, &w);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(w.chained, 2);
	assert_int_equal(w.closed, 1);
	uv_sem_destroy(&w.go);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void unused_one_closes(void **state)
{
	struct world w = {};
	uv_loop_t loop;

	uv_loop_init(&loop);
	w.serial = serial_new(&loop, "fifteen-letters");
	serial_close(w.serial, closed, &w);
	assert_int_equal(w.closed, 0); /* never before serial_close has returned */
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(w.closed, 1);
	assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(in_order_then_closed),
		cmocka_unit_test(loop_goes_on_meanwhile),
		cmocka_unit_test(unused_one_closes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
