#include "rpc/internal.h"

#include "common/log.h"
#include "common/mem.h"

#include <assert.h>
#include <dlfcn.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>
#include <signal.h>
#include <stdlib.h>
#include <stdio.h>
#include <string.h>

/* ---------------------------------------------------------------- gRPC as a library */

static void on_grpc_log(gpr_log_func_args *args)
{
	const char *file = strrchr(args->file, '/');
	char at[128];

	snprintf(at, sizeof(at), "%s:%d", file ? file + 1 : args->file, args->line);
	log_debug("grpc", kv_str("severity", gpr_log_severity_string(args->severity)),
		  kv_str("at", at), kv_str("message", args->message));
}

/*
 * Debian builds abseil with the deadlock detection of its mutex on, in the mode that aborts the
 * process; gRPC has lock orders that it takes for a cycle when peers go away. There is no C name
 * for the switch.
 */
static void deadlock_detection_off(void)
{
	void (*set_mode)(int);
	void *symbol =
		dlsym(RTLD_DEFAULT,
		      "_ZN4absl7debian329SetMutexDeadlockDetectionModeENS0_15OnDeadlockCycleE");

	if (!symbol) {
		log_debug("grpc_deadlock_detection_unknown");
		return;
	}
	memcpy(&set_mode, &symbol, sizeof(set_mode));
	set_mode(0); /* kIgnore */
}

static void library_init(void)
{
	deadlock_detection_off();
	gpr_set_log_function(on_grpc_log);
	/*
	 * TLS 1.3 only. This gRPC core cannot say so: it sets the lowest version to 1.2 itself. But it takes the list of
	 * ciphers for 1.2 from here, and this one needs a pre-shared key that nobody has. 1.3 has its own list.
	 */
	setenv("GRPC_SSL_CIPHER_SUITES", "ECDHE-PSK-CHACHA20-POLY1305", 1);
	grpc_init();
	gpr_set_log_verbosity(log_enabled(LOG_LEVEL_DEBUG) ? GPR_LOG_SEVERITY_INFO
							   : GPR_LOG_SEVERITY_ERROR);
}

/* ---------------------------------------------------------------- poller thread */

static void *poller_main(void *data)
{
	struct rpc *rpc = data;

	pthread_setname_np(pthread_self(), "rpc-poller");
	for (;;) {
		grpc_event ev = grpc_completion_queue_next(
			rpc->cq, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
		struct tag *tag = ev.tag;

		if (ev.type == GRPC_QUEUE_SHUTDOWN)
			break;
		if (ev.type != GRPC_OP_COMPLETE)
			continue;
		tag_came_back(tag);
		tag->on_event(tag, ev.success);
	}

	/* Here and not on the loop: it waits for gRPC's own threads. */
	grpc_completion_queue_destroy(rpc->cq);
	grpc_shutdown_blocking();
	atomic_store(&rpc->poller_ended, true);
	uv_async_send(&rpc->async);
	return NULL;
}

/* ---------------------------------------------------------------- loop side */

void rpc_ready(struct rpc *rpc, struct ready *ready)
{
	bool first = false;

	pthread_mutex_lock(&rpc->mutex);
	if (!ready->queued) {
		ready->queued = true;
		first = STAILQ_EMPTY(&rpc->ready);
		STAILQ_INSERT_TAIL(&rpc->ready, ready, link);
	}
	pthread_mutex_unlock(&rpc->mutex);
	if (first)
		uv_async_send(&rpc->async);
}

bool rpc_is_ready(struct rpc *rpc, const struct ready *ready)
{
	bool queued;

	pthread_mutex_lock(&rpc->mutex);
	queued = ready->queued;
	pthread_mutex_unlock(&rpc->mutex);
	return queued;
}

void rpc_check_closed(struct rpc *rpc)
{
	if (!rpc->closing || rpc->cq_shut_down || rpc->n_servers > 0 ||
	    atomic_load(&rpc->n_calls) > 0)
		return;
	rpc->cq_shut_down = true;
	grpc_completion_queue_shutdown(rpc->cq);
}

/* What was queued when we came; what comes meanwhile signals again, so other handles get their
 * turn. */
static void run_ready(struct rpc *rpc)
{
	STAILQ_HEAD(, ready) now = STAILQ_HEAD_INITIALIZER(now);
	struct ready *r;

	pthread_mutex_lock(&rpc->mutex);
	STAILQ_CONCAT(&now, &rpc->ready);
	while ((r = STAILQ_FIRST(&now))) {
		STAILQ_REMOVE_HEAD(&now, link);
		r->queued = false;
		pthread_mutex_unlock(&rpc->mutex);
		r->run(r);
		pthread_mutex_lock(&rpc->mutex);
	}
	pthread_mutex_unlock(&rpc->mutex);
}

static void on_async_closed(uv_handle_t *handle)
{
	struct rpc *rpc = container_of((uv_async_t *)handle, struct rpc, async);
	void (*closed)(void *) = rpc->closed;
	void *data = rpc->closed_data;

	run_ready(rpc); /* what an owner started or closed while we closed */
	servers_free(rpc);
	channels_free(rpc);
	cert_fetchers_free(rpc);
	peer_cache_free(rpc->peers);
	pthread_mutex_destroy(&rpc->mutex);
	free(rpc);
	if (closed)
		closed(data);
}

static void on_async(uv_async_t *async)
{
	struct rpc *rpc = container_of(async, struct rpc, async);

	run_ready(rpc);
	if (atomic_load(&rpc->poller_ended) && !uv_is_closing((uv_handle_t *)async)) {
		pthread_join(rpc->poller, NULL);
		uv_close((uv_handle_t *)async, on_async_closed);
	}
}

/* ---------------------------------------------------------------- life */

struct rpc *rpc_new(uv_loop_t *loop)
{
	struct rpc *rpc = xnew(struct rpc);
	sigset_t all, before;

	rpc->loop = loop;
	rpc->peers = peer_cache_new();
	STAILQ_INIT(&rpc->ready);
	LIST_INIT(&rpc->servers);
	LIST_INIT(&rpc->channels);
	SLIST_INIT(&rpc->fetchers);
	pthread_mutex_init(&rpc->mutex, NULL);
	uv_async_init(loop, &rpc->async, on_async);

	/* Signals are the loop's: the threads that start here leave them alone. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	library_init();
	rpc->cq = grpc_completion_queue_create_for_next(NULL);
	if (pthread_create(&rpc->poller, NULL, poller_main, rpc) != 0)
		abort(); /* as out of memory: no daemon works without it */
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return rpc;
}

void rpc_close(struct rpc *rpc, void (*closed)(void *data), void *data)
{
	assert(!rpc->closing);
	rpc->closing = true;
	rpc->closed = closed;
	rpc->closed_data = data;

	servers_shut_down(rpc);
	channels_shut_down(rpc);
	rpc_check_closed(rpc);
}
