#include "serial.h"

#include "mem.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/queue.h>

struct job {
	serial_fn work, done;
	void *data;
	STAILQ_ENTRY(job) entry;
};
STAILQ_HEAD(job_list, job);

struct serial {
	uv_async_t ended;
	pthread_t thread;
	char name[16];
	uv_mutex_t lock;
	uv_cond_t wake;
	struct job_list todo, worked; /* under the lock */
	bool stop;		      /* under the lock */
	/* Loop thread only: */
	size_t pending; /* given, and done not called yet */
	bool closing;
	void (*closed)(void *data);
	void *data;
};

static void *worker(void *arg)
{
	struct serial *s = arg;
	sigset_t all;

	/* Signals are for the loop thread: a netlink call here is not to be interrupted. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, NULL);
	pthread_setname_np(pthread_self(), s->name);
	uv_mutex_lock(&s->lock);
	while (!s->stop) {
		struct job *job = STAILQ_FIRST(&s->todo);

		if (!job) {
			uv_cond_wait(&s->wake, &s->lock);
			continue;
		}
		STAILQ_REMOVE_HEAD(&s->todo, entry);
		uv_mutex_unlock(&s->lock);
		job->work(job->data);
		uv_mutex_lock(&s->lock);
		STAILQ_INSERT_TAIL(&s->worked, job, entry);
		uv_async_send(&s->ended);
	}
	uv_mutex_unlock(&s->lock);
	return NULL;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct serial *s = handle->data;
	void (*closed)(void *data) = s->closed;
	void *data = s->data;

	uv_cond_destroy(&s->wake);
	uv_mutex_destroy(&s->lock);
	free(s);
	if (closed)
		closed(data);
}

/* Nothing is left to do: the thread waits for work, so that joining it takes no time. */
static void finish(struct serial *s)
{
	uv_mutex_lock(&s->lock);
	s->stop = true;
	uv_cond_signal(&s->wake);
	uv_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	uv_close((uv_handle_t *)&s->ended, on_handle_closed);
}

static void on_ended(uv_async_t *handle)
{
	struct serial *s = handle->data;
	struct job_list ended = STAILQ_HEAD_INITIALIZER(ended);
	struct job *job;

	uv_mutex_lock(&s->lock);
	STAILQ_CONCAT(&ended, &s->worked);
	uv_mutex_unlock(&s->lock);
	while ((job = STAILQ_FIRST(&ended))) {
		STAILQ_REMOVE_HEAD(&ended, entry);
		if (job->done)
			job->done(job->data);
		s->pending--;
		free(job);
	}
	if (s->closing && !s->pending && !uv_is_closing((uv_handle_t *)handle))
		finish(s);
}

struct serial *serial_new(uv_loop_t *loop, const char *name)
{
	struct serial *s = xnew(struct serial);
	int r;

	assert(strlen(name) < sizeof(s->name));
	strcpy(s->name, name);
	STAILQ_INIT(&s->todo);
	STAILQ_INIT(&s->worked);
	r = uv_mutex_init(&s->lock);
	assert(r == 0);
	r = uv_cond_init(&s->wake);
	assert(r == 0);
	r = uv_async_init(loop, &s->ended, on_ended);
	assert(r == 0);
	s->ended.data = s;
	r = pthread_create(&s->thread, NULL, worker, s);
	assert(r == 0);
	return s;
}

void serial_run(struct serial *s, serial_fn work, serial_fn done, void *data)
{
	struct job *job = xnew(struct job);

	*job = (struct job){.work = work, .done = done, .data = data};
	s->pending++;
	uv_mutex_lock(&s->lock);
	STAILQ_INSERT_TAIL(&s->todo, job, entry);
	uv_cond_signal(&s->wake);
	uv_mutex_unlock(&s->lock);
}

void serial_close(struct serial *s, void (*closed)(void *data), void *data)
{
	if (s->closing)
		return;
	s->closing = true;
	s->closed = closed;
	s->data = data;
	if (!s->pending)
		finish(s);
}
