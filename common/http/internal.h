/*
 * internal - what the files of common/http share.
 *
 *   server.c    life: libmicrohttpd on the loop, deadlines, close
 *   accept.c    listening, who gets a place, TLS in front
 *   request.c   from libmicrohttpd's callbacks to a handler; what a handler can ask
 *   answer.c    bodies (shared, compressed), responses
 *   stream.c    answers that go on
 *   room.c      who makes room when there is none (pure)
 *
 * A connection is in one state at a time, since a moment; each state has its longest time. A request is held by
 * libmicrohttpd's side and by its handler's: it goes when both have let go.
 */
#pragma once
#include "common/http/http.h"
#include "common/loop.h"
#include "common/str.h"

#include <microhttpd.h>
#include <netinet/in.h>
#include <sys/queue.h>
#include <sys/socket.h>

struct tls_context;
struct tls_pump;

enum conn_state {
	CONN_READING,   /* a request, or the TLS handshake */
	CONN_HANDLING,  /* the handler has it */
	CONN_SENDING,   /* the client takes the answer */
	CONN_STREAMING,
	CONN_IDLE,      /* between requests */
	CONN_DRAINING,  /* answered and closed by libmicrohttpd; behind TLS there are bytes that the client has yet to take */
};

struct http_conn {
	LIST_ENTRY(http_conn) entry;
	struct http_server *server;
	struct sockaddr_storage addr;
	char peer[INET6_ADDRSTRLEN];
	enum conn_state state;
	int64_t since;                   /* mono ns: when it entered the state; streaming: the last progress */
	unsigned asked;                  /* requests so far */
	bool doomed;                     /* is being closed: takes no room any more */
	struct MHD_Connection *mhd;      /* NULL: not handed over yet, or gone */
	int fd;                          /* libmicrohttpd's, while mhd is set */
	struct tls_pump *pump;           /* NULL = plain */
	struct http_request *req;        /* the present one */
};

struct http_body {
	unsigned refs;
	char *data, *gzip;               /* gzip NULL: not wanted yet, or it does not pay */
	size_t len, gzip_len;
	char *packed;                    /* the pool's: the loop takes it over when the pool has done */
	size_t packed_len;
	bool compressing, compressed;
	STAILQ_HEAD(, http_request) waiting; /* for the compressed form */
	unsigned held;                   /* answers under way, of */
	struct http_server *holder;      /* who counts its bytes */
};

struct http_extra {
	STAILQ_ENTRY(http_extra) link;
	char *name, *value;
};

struct http_request {
	struct http_server *server;      /* NULL: it has closed */
	struct http_conn *conn;          /* NULL: gone, or answered in the handler's place */
	bool of_mhd, of_handler;         /* who holds it */
	bool begun;                      /* its header is there */
	bool head, refused, dispatched, suspended, answered;
	enum http_method method;
	char *path;
	struct strbuf body;
	bool body_too_big;
	char *form_value;
	STAILQ_HEAD(, http_extra) extra;
	STAILQ_ENTRY(http_request) waiting;
	/* the answer */
	unsigned status;
	char *content_type;
	struct http_body *to_compress;
	struct MHD_Response *response;
	struct http_stream *stream;
};

struct http_stream {
	LIST_ENTRY(http_stream) entry;
	struct http_server *server;
	struct http_conn *conn;          /* NULL until it is sent to, and when it is gone */
	struct http_stream_options opt;
	char *heartbeat;
	struct strbuf buf;
	size_t taken;                    /* of buf */
	int64_t pushed_at;
	bool suspended, ending, dropped;
	bool told_drained, drained;      /* since the last push; its owner is to be told */
};

struct http_server {
	struct http_options opt;
	struct tls_context *tls;
	struct MHD_Daemon *daemon;
	uv_tcp_t listener;
	uv_poll_t poll;
	uv_timer_t kick, sweep, next_turn;
	unsigned accepts;                /* in this turn of the loop */
	bool accept_waits;               /* libuv holds one more, until the next turn */
	bool polls;                      /* poll is a handle of the loop */
	bool running;                    /* inside libmicrohttpd */
	bool drained;                    /* at least one stream is */
	bool closing;
	LIST_HEAD(, http_conn) conns;
	LIST_HEAD(, http_stream) streams;
	LIST_HEAD(, http_accepted) accepted;
	struct http_conn *adding;        /* is being handed over */
	struct http_stats stats;
	struct closer closer;
	void (*closed)(void *data);
	void *closed_data;
};

/* ---- server.c */
void conn_enter(struct http_conn *c, enum conn_state state);
/* Close it; what is suspended goes on to notice. */
void conn_kill(struct http_conn *c);
/* Take it out of the server and free it: neither libmicrohttpd nor TLS have it any more. */
void conn_free(struct http_conn *c);
/* Let libmicrohttpd go on, from the loop. */
void server_kick(struct http_server *s);

/* ---- accept.c */
int accept_open(struct http_server *s, struct error *err);

/* ---- room.c */
struct room_look {
	unsigned connections, connections_max, of_address, per_address_max;
};
/* May one more come in as it is? If not: *ret_same_address says whether one of its own address has to go. */
bool room_for(const struct room_look *look, bool *ret_same_address);
/* Which one goes sooner, a or b? Only those that are reading or idle go at all. */
bool room_may_go(const struct http_conn *c);
bool room_goes_before(const struct http_conn *a, const struct http_conn *b);

/* ---- request.c: libmicrohttpd's callbacks */
void *request_on_uri(void *server, const char *uri, struct MHD_Connection *connection);
enum MHD_Result request_on_access(void *server, struct MHD_Connection *connection, const char *url, const char *method,
				  const char *version, const char *upload, size_t *upload_len, void **request);
void request_on_completed(void *server, struct MHD_Connection *connection, void **request,
			  enum MHD_RequestTerminationCode how);
/* The handler is not waited for any more: answer 503 in its place (connection gone or not). */
void request_detach(struct http_request *req);
void request_let_go_of_handler(struct http_request *req);

/* ---- answer.c */
/* The answer is there: goes out now or when libmicrohttpd asks. */
void answer_ready(struct http_request *req);
/* Give libmicrohttpd what is ready. */
enum MHD_Result answer_queue(struct http_request *req, struct MHD_Connection *connection);

/* ---- stream.c */
void stream_tick(struct http_server *s, int64_t now);
/* Tell owners that all was taken; outside of libmicrohttpd. */
void stream_tell_drained(struct http_server *s);
void stream_end_all(struct http_server *s);
