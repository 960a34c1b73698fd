/* internal - what the files of the web share. Not for others. */
#pragma once
#include "web.h"

#include "common/http/http.h"
#include "common/loop.h"
#include "common/str.h"

#include <jansson.h>
#include <stdbool.h>
#include <sys/queue.h>

struct attempts;
struct board;
struct http_body;
struct rpc_channel;
struct sessions;
struct viewer;
struct relay;
struct plots;
struct usage;

struct web {
	uv_loop_t *loop;
	struct view *view;
	struct rpc *rpc;
	struct usage *usage;
	struct rpc_channel *channel; /* to our own API; NULL until it is wanted */
	char *control_target, *node_id, *leader_id;
	struct web_options ops; /* functions and their data */
	struct http_body **files; /* of page_files[] */

	struct sessions *sessions;
	struct attempts *attempts;
	uv_timer_t end; /* of the session that ends next */

	struct board *board; /* NULL: nobody looks */
	char epoch[12];	     /* of the board: positions of another one mean nothing */
	LIST_HEAD(, viewer) viewers;
	size_t n_viewers;
	uv_timer_t flush, rest; /* tell the viewers; nobody has looked for a while */
	struct {
		uint64_t from, to;
		struct strbuf text;
	} batch; /* the last one that was made: viewers are mostly at the same place */

	LIST_HEAD(, relay) relays;
	size_t n_relays;
	LIST_HEAD(, plots) plots;
	size_t n_plots;
	struct closer closer;
};

/* ---- web.c */
/* Headers of every answer. False: refused and answered (no TLS). */
bool web_admit(struct web *w, struct http_request *req);
void web_answer_json(struct http_request *req, unsigned status, json_t *object); /* takes it over */
/* {"error": text} */
void web_refuse(struct http_request *req, unsigned status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* One event: "event: NAME\nid: ID\ndata: JSON\n\n"; name and id may be NULL. Takes the object over. */
void web_event(struct strbuf *out, const char *name, const char *id, json_t *object);

/* ---- sign.c: who is signed in */
void sign_in(struct web *w, struct http_request *req);
void sign_out(struct web *w, struct http_request *req);
/* The session of a request; 0: refused and answered. */
uint64_t sign_check(struct web *w, struct http_request *req);
/* A token was revoked. */
void sign_token_gone(struct web *w, const char *token_id);
void sign_on_end(uv_timer_t *timer);

/* ---- files.c: the page itself */
void files_open(struct web *w);
void files_close(struct web *w);
void files_serve(struct web *w, struct http_request *req);

/* ---- viewers.c: the stream of changes */
void viewers_begin(struct web *w, struct http_request *req);
void viewers_events(struct web *w, const struct store_event *events, size_t n);
void viewers_touch_node(struct web *w, const char *node_id);
void viewers_on_flush(uv_timer_t *timer);
void viewers_on_rest(uv_timer_t *timer);
/* Streams of sessions that have ended end. */
void viewers_check(struct web *w);
void viewers_close(struct web *w);

/* ---- details.c: one object, whole */
void details_node(struct web *w, struct http_request *req);
void details_service(struct web *w, struct http_request *req);
void details_task(struct web *w, struct http_request *req);

/* ---- relay.c: a task's log, from the API */
void relay_log(struct web *w, struct http_request *req);
void relays_check(struct web *w);

/* ---- plots.c: what nodes use */
void plots_begin(struct web *w, struct http_request *req);
void plots_check(struct web *w);
