/* etcd_internal - what etcd.c and etcd_watch.c share. */
#pragma once
#include "etcd.h"
#include "etcd_http.h"
#include "etcd_json.h"

#include "common/loop.h"
#include "common/str.h"

#include <sys/queue.h>

#define ETCD_CONNECT_TIMEOUT_MS 1000
#define ETCD_ANSWER_MAX ((size_t)64 << 20)

struct etcd {
	uv_loop_t *loop;
	struct etcd_http *http;
	struct strv endpoints;
	size_t current;      /* the endpoint that answered last */
	uint64_t timeout_ms;
	uint64_t term;       /* the latest heard of */
	uv_timer_t again;    /* requests that are overtaken are ended in a turn of their own */
	etcd_observer observer; /* NULL = none */
	void *observer_data;
	struct closer closer;
	TAILQ_HEAD(, etcd_request) requests;
	LIST_HEAD(, etcd_watch) watches;
};

/* Borrowed until the next turn of the loop. */
const char *etcd_endpoint(const struct etcd *e);
/* That endpoint did not do its work: whatever starts now goes to the next one. */
void etcd_endpoint_failed(struct etcd *e, const char *endpoint);

/*
 * An answer came in that term of etcd's leader. When it is news, an election took place, and writes that were sent
 * before may have gone to a leader that is lost: nobody answers those before etcd's own time-out of 5 s and more.
 */
void etcd_note_term(struct etcd *e, uint64_t term);

/* Watches that are connected elsewhere connect to etcd_endpoint(). */
void etcd_watches_move(struct etcd *e);

/* Ask this endpoint and no other for one key. */
struct etcd_request *etcd_probe(struct etcd *e, const char *endpoint, const char *key, uint64_t timeout_ms,
				etcd_range_cb cb, void *data);
