/*
 * internal - what the files of rpc/ share; nobody else includes it.
 *
 * Two threads: the loop, and the poller, which sits in grpc_completion_queue_next(). A call belongs to the
 * loop; fields marked so are under its mutex. Whatever the poller finds out it puts there and
 * queues the call on the ready list. Objects are freed on the loop, by their own ready function,
 * when no operation of gRPC is outstanding: no tag ever points to freed memory.
 */
#pragma once
#include "rpc/codec.h"
#include "rpc/rpc.h"

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>
#include <uthash.h>

#define MAX_UNSENT_BYTES (8u << 20) /* per call */
#define MAX_INBOX 64                /* messages per call that wait for the loop */
#define MAX_INBOX_BYTES (2u << 20)  /* and bytes, of messages before the last */
#define WINDOW_BYTES (1u << 20)     /* HTTP/2's per stream: what a sender may send unread */
#define MAX_STREAMS 1000            /* per connection */
#define MAX_REQUESTS 32             /* grpc_server_request_call outstanding */

/* ---------------------------------------------------------------- runtime.c */

/* Something that has work for the loop. run: loop thread; may free the object. */
struct ready {
	STAILQ_ENTRY(ready) link;
	void (*run)(struct ready *ready);
	bool queued;                /* under rpc->mutex */
};

/* An outstanding operation of gRPC. on_event: poller thread. */
struct tag {
	void (*on_event)(struct tag *tag, bool ok);
};

struct rpc {
	uv_loop_t *loop;
	uv_async_t async;
	pthread_t poller;
	grpc_completion_queue *cq;
	pthread_mutex_t mutex;
	STAILQ_HEAD(, ready) ready; /* under mutex */
	atomic_size_t n_calls;      /* up on any thread, down on the loop */
	atomic_bool poller_ended;
	struct peer_cache *peers;   /* the poller's */
	/* loop only */
	LIST_HEAD(, rpc_server) servers;
	LIST_HEAD(, rpc_channel) channels;
	SLIST_HEAD(, cert_fetcher) fetchers;
	unsigned n_servers;         /* not yet destroyed in gRPC */
	bool closing, cq_shut_down;
	void (*closed)(void *data);
	void *closed_data;
};

/* Any thread: let ready->run come on the loop, once for any number of calls until then. */
void rpc_ready(struct rpc *rpc, struct ready *ready);
/* Any thread: it will run (again). */
bool rpc_is_ready(struct rpc *rpc, const struct ready *ready);
/* Loop: a call or server is gone; goes on closing when that is wanted. */
void rpc_check_closed(struct rpc *rpc);

/* ThreadSanitizer does not see the happens-before that gRPC's queue gives between these two. */
#ifdef __SANITIZE_THREAD__
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
#define tag_handed_out(tag) __tsan_release(tag)
#define tag_came_back(tag) __tsan_acquire(tag)
#else
#define tag_handed_out(tag) ((void)(tag))
#define tag_came_back(tag) ((void)(tag))
#endif

/* ---------------------------------------------------------------- creds.c */

/* Per listening port: what its last handshake used. Lives until the runtime ends. */
struct cert_fetcher {
	struct rpc_creds *creds;
	atomic_uint_fast64_t seen;
	SLIST_ENTRY(cert_fetcher) link;
};

uint64_t creds_generation(struct rpc_creds *creds);
grpc_channel_credentials *creds_for_channel(struct rpc_creds *creds, uint64_t *ret_generation);
grpc_server_credentials *creds_for_server(struct rpc *rpc, struct rpc_creds *creds);
void cert_fetchers_free(struct rpc *rpc);

/* ---------------------------------------------------------------- peer.c */

/* What certificates were parsed to; one thread, the poller. */
struct peer_cache *peer_cache_new(void);
void peer_cache_free(struct peer_cache *cache);

/* Who calls. `local`: through a server without TLS. */
void peer_of_call(struct peer_cache *cache, grpc_call *call, bool local, struct rpc_peer *ret_peer);
/* Role and ids of a verified certificate; role ANONYMOUS when it is not one of ours or not valid at `now`. */
void peer_from_pem(struct peer_cache *cache, const char *pem, size_t len, time_t now, struct rpc_peer *ret_peer);

/* ---------------------------------------------------------------- call.c */

struct out_msg {
	STAILQ_ENTRY(out_msg) link;
	grpc_byte_buffer *buffer;
	size_t len;
};

enum fin { FIN_NONE, FIN_WANTED, FIN_SENT }; /* status of a server, half-close of a client */

struct rpc_call {
	struct ready ready;
	struct rpc *rpc;
	grpc_call *call;            /* NULL: could not be started */
	void *data;                 /* the owner's */

	/* set before the first operation */
	bool is_client, unary;      /* unary: one message comes */
	bool wants_drain;           /* somebody listens to it */
	bool muted;                 /* refused before dispatch: no callbacks */
	const ProtobufCMessageDescriptor *in_type;
	size_t max_in_bytes;
	struct rpc_server *server;
	const struct method *method;
	struct rpc_peer peer;
	int64_t begun_ns;           /* of a server's call, monotonic */
	struct rpc_handlers handlers;
	rpc_reply_cb on_reply;
	void *cb_data;

	/* loop only */
	struct rpc_channel *channel;
	LIST_ENTRY(rpc_call) link;  /* in the channel */
	bool guarded, called, half_close_told, paused, dead;
	bool replied;               /* by rpc_call_reply() */

	pthread_mutex_t mutex;
	/* under mutex from here, until the call is over and nothing is outstanding */
	unsigned ops;               /* batches outstanding */
	STAILQ_HEAD(, codec_msg) inbox;
	unsigned n_inbox;
	size_t inbox_bytes;
	bool reading, read_ended;
	STAILQ_HEAD(, out_msg) outbox;
	struct out_msg *in_flight;
	size_t unsent;
	bool writing, drained, initial_sent;
	enum fin fin;
	bool over;                  /* gRPC told the end */
	bool discard;               /* nobody wants more messages */
	bool cancelled_here;
	struct error status;        /* server: to send; client: what came, or why we ended it */

	struct tag read_tag, write_tag, end_tag;
	grpc_byte_buffer *read_buffer;
	grpc_metadata_array initial_md, trailing_md;
	grpc_status_code code;
	grpc_slice details;
	int cancelled;
};

struct rpc_call *call_new(struct rpc *rpc);
/* Post the operation that comes back with the end of the call, and the first read. */
void call_begin_client(struct rpc_call *call, const ProtobufCMessage *request);
/* refusal not OK: that is the answer, nothing is read. */
void call_begin_server(struct rpc_call *call, enum error_code refusal, const char *msg);
/* Loop: end it as cancelled; it is freed later by its own ready function. */
void call_cancel(struct rpc_call *call);
/* Any thread: end a server's call with a status; what is queued is dropped. */
void call_fail(struct rpc_call *call, enum error_code code, const char *msg);

/* ---------------------------------------------------------------- server.c, client.c */

struct method {
	UT_hash_handle hh;
	char *path;                 /* "/skein.Control/GetInfo" */
	struct rpc_method m;
	const ProtobufCMethodDescriptor *desc;
	void *data;
};

/* Loop: the guard of the server lets this peer in. */
int server_check_peer(struct rpc_server *server, struct rpc_peer *peer, struct error *err);
/* Loop: a call has ended. */
void server_observe(const struct rpc_call *call);
void server_call_gone(struct rpc_server *server);
void servers_shut_down(struct rpc *rpc);
void servers_free(struct rpc *rpc);

void channels_shut_down(struct rpc *rpc);
void channels_free(struct rpc *rpc);
