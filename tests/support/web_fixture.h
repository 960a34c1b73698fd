/*
 * web_fixture - the web page over a view that is filled by hand, on a real HTTP server on loopback: no etcd, no agents.
 */
#pragma once
#include "common/clock.h"
#include "common/error.h"
#include "common/http/http.h"
#include "common/mem.h"
#include "common/pki.h"
#include "common/str.h"
#include "manager/store/txn.h"
#include "manager/web/token.h"
#include "manager/web/web.h"
#include "rpc/rpc.h"
#include "support/build.h"

#include <stdio.h>
#include <stdlib.h>

struct web_fixture {
	uv_loop_t loop;
	struct view *view;
	struct rpc *rpc;
	struct web *web;
	struct http_server *server;
	const char *leader;
	bool closed;
};

static inline void web_fixture_handle(struct http_request *req, void *data)
{
	web_handle(((struct web_fixture *)data)->web, req);
}

static inline const char *web_fixture_leader(void *data)
{
	return ((struct web_fixture *)data)->leader;
}

static inline uint64_t web_fixture_wanted(void *data, struct view *v, const pb_service *service)
{
	return view_count(v, KIND_NODE);
}

/* Put an object (NULL: delete) as the store's watch does. */
static inline void web_fixture_event(struct web_fixture *f, enum kind kind, const char *id, void *obj)
{
	struct store_event e = {.kind = kind, .id = id, .now = obj};
	void *old = obj ? view_put(f->view, kind, obj) : view_del(f->view, kind, id);

	e.old = old;
	web_events(f->web, &e, 1);
	pb_free(old);
}

static inline void web_fixture_put(struct web_fixture *f, struct built b)
{
	const pb_service *s = b.kind == KIND_TASK ? view_service(f->view, ((pb_task *)b.obj)->service_id) : NULL;

	if (s && !((pb_task *)b.obj)->spec)
		pb_set_msg(&((pb_task *)b.obj)->spec, s->spec->task);
	web_fixture_event(f, b.kind, kind_info(b.kind)->id(b.obj), b.obj);
}

/* A token as the API makes it; the text is yours. */
static inline char *web_fixture_token(struct web_fixture *f, int64_t ttl_ns, char **ret_id)
{
	unsigned char random[WEB_TOKEN_RANDOM_BYTES];
	struct txn *t = txn_begin(f->view);
	struct error err = ERROR_INIT;
	char *text = NULL;
	pb_ui_token *made;

	pki_random(random, sizeof(random));
	if (web_token_create(f->view, t, ttl_ns, clock_wall_ns(), random, ret_id, &text, &err) < 0)
		abort();
	made = pb_dup(view_ui_token(f->view, *ret_id));
	txn_end(t);
	txn_free(t);
	web_fixture_event(f, KIND_UI_TOKEN, made->id, made);
	return text;
}

static inline void web_fixture_open(struct web_fixture *f, uint16_t port)
{
	static struct http_route routes[2];
	struct web_options options;
	struct http_options http = {.loop = &f->loop, .address = "127.0.0.1", .port = port, .routes = routes, .n_routes = ARRAY_SIZE(routes),
				    .streams_max = WEB_STREAMS_MAX};
	struct error err = ERROR_INIT;

	*f = (struct web_fixture){.view = view_new(), .leader = ""};
	uv_loop_init(&f->loop);
	f->rpc = rpc_new(&f->loop);
	options = (struct web_options){
		.loop = &f->loop, .view = f->view, .rpc = f->rpc, .control_target = "unix:/nonexistent", .node_id = "m1",
		.leader_id = web_fixture_leader, .global_wanted = web_fixture_wanted, .data = f,
	};
	f->web = web_new(&options);
	routes[0] = (struct http_route){"/ui", HTTP_GET | HTTP_POST, web_fixture_handle, f};
	routes[1] = (struct http_route){"/ui/*", HTTP_GET | HTTP_POST, web_fixture_handle, f};
	f->server = http_open(&http, &err);
	if (!f->server) {
		fprintf(stderr, "%s\n", err.msg);
		abort();
	}
}

static inline void web_fixture_on_closed(void *data)
{
	*(bool *)data = true;
}

static inline void web_fixture_wait(struct web_fixture *f)
{
	while (!f->closed)
		uv_run(&f->loop, UV_RUN_ONCE);
	f->closed = false;
}

static inline void web_fixture_close(struct web_fixture *f)
{
	http_close(f->server, web_fixture_on_closed, &f->closed);
	web_fixture_wait(f);
	web_close(f->web, web_fixture_on_closed, &f->closed);
	web_fixture_wait(f);
	rpc_close(f->rpc, web_fixture_on_closed, &f->closed);
	web_fixture_wait(f);
	view_free(f->view);
	uv_run(&f->loop, UV_RUN_NOWAIT);
	uv_loop_close(&f->loop);
}
