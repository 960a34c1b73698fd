#include "rpc/internal.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define KEEPALIVE_MS 10000
#define KEEPALIVE_TIMEOUT_MS 5000
#define MIN_PING_MS 100
#define HANDSHAKE_TIMEOUT_MS 10000

/* One grpc_server_request_call. */
struct request {
	struct tag tag;
	struct rpc_server *server;
	grpc_call *call;
	grpc_call_details details;
	grpc_metadata_array metadata;
};

struct rpc_server {
	struct ready ready;
	struct rpc *rpc;
	LIST_ENTRY(rpc_server) link;
	grpc_server *server; /* NULL once destroyed */
	struct rpc_creds *creds;
	struct method *methods; /* by path; not changed behind rpc_server_start */
	int (*guard)(struct rpc_peer *peer, void *data, struct error *err);
	void *guard_data;
	void (*observer)(void *data, const struct rpc_observation *o);
	void *observer_data;
	bool started;
	bool wanted_gone; /* the owner closed it: freed when it is down */
	void (*closed)(void *data);
	void *closed_data;

	struct tag shutdown_tag;
	pthread_mutex_t mutex;
	/* under mutex */
	bool closing, shut_down;
	unsigned n_requests, n_calls;
};

/* ---------------------------------------------------------------- poller thread: calls come in */

static void request_post(struct request *r)
{
	grpc_call_error e;

	r->call = NULL;
	grpc_call_details_init(&r->details);
	grpc_metadata_array_init(&r->metadata);
	tag_handed_out(&r->tag);
	e = grpc_server_request_call(r->server->server, &r->call, &r->details, &r->metadata,
				     r->server->rpc->cq, r->server->rpc->cq, &r->tag);
	assert(e == GRPC_CALL_OK);
	(void)e;
}

static struct method *find_method(struct rpc_server *server, grpc_slice path)
{
	struct method *m;

	HASH_FIND(hh, server->methods, GRPC_SLICE_START_PTR(path), GRPC_SLICE_LENGTH(path), m);
	return m;
}

static const char *role_name(unsigned role)
{
	return role == RPC_ROLE_ANONYMOUS ? "a caller without a certificate"
	       : role == RPC_ROLE_WORKER  ? "a worker"
	       : role == RPC_ROLE_MANAGER ? "a manager"
					  : "a local caller";
}

/* Everything that is known before a byte of a message is looked at. */
static enum error_code admit(const struct rpc_call *call, char *msg, size_t size)
{
	unsigned role = call->peer.role;

	if (!call->method) {
		snprintf(msg, size, "no such method here");
		return ERR_UNIMPLEMENTED;
	}
	if (call->method->m.allow & role)
		return ERR_OK;
	snprintf(msg, size, "%s may not be called by %s", call->method->path + 1, role_name(role));
	return role == RPC_ROLE_ANONYMOUS ? ERR_UNAUTHENTICATED : ERR_DENIED;
}

static void call_begin(struct rpc_server *server, grpc_call *gcall, struct method *method)
{
	struct rpc_call *call = call_new(server->rpc);
	enum error_code code;
	char msg[256];

	call->call = gcall;
	call->server = server;
	call->begun_ns = clock_mono_ns();
	call->method = method;
	peer_of_call(server->rpc->peers, gcall, server->creds == NULL, &call->peer);
	if (method) {
		call->in_type = method->desc->input;
		call->unary = !method->m.on_half_close;
		call->wants_drain = method->m.on_drain;
		call->cb_data = method->data;
		if (method->m.max_request_bytes)
			call->max_in_bytes = method->m.max_request_bytes;
	}

	code = admit(call, msg, sizeof(msg));
	call->muted = code != ERR_OK;
	call_begin_server(call, code, msg);
}

/* Returns false when the server closes: the request is over. */
static bool request_repost(struct request *r)
{
	struct rpc_server *server = r->server;
	bool again;

	pthread_mutex_lock(&server->mutex);
	again = !server->closing;
	if (again)
		request_post(r);
	else
		server->n_requests--;
	if (!again)
		rpc_ready(server->rpc, &server->ready);
	pthread_mutex_unlock(&server->mutex);
	return again;
}

static void on_request(struct tag *tag, bool ok)
{
	struct request *r = container_of(tag, struct request, tag);
	struct rpc_server *server = r->server;
	struct method *method = NULL;
	grpc_call *call = r->call;

	if (ok) {
		method = find_method(server, r->details.method);
		pthread_mutex_lock(&server->mutex);
		if (server->closing) {
			grpc_call_unref(TAKE_PTR(call)); /* nothing was started: this ends it */
		} else {
			server->n_calls++;
		}
		pthread_mutex_unlock(&server->mutex);
	}
	grpc_call_details_destroy(&r->details);
	grpc_metadata_array_destroy(&r->metadata);
	if (ok && call)
		call_begin(server, call, method);
	if (!request_repost(r))
		free(r);
}

static void on_shut_down(struct tag *tag, bool ok)
{
	struct rpc_server *server = container_of(tag, struct rpc_server, shutdown_tag);

	pthread_mutex_lock(&server->mutex);
	server->shut_down = true;
	rpc_ready(server->rpc, &server->ready);
	pthread_mutex_unlock(&server->mutex);
}

/* ---------------------------------------------------------------- loop thread: end */

static void server_free(struct rpc_server *server)
{
	struct method *m, *next;

	LIST_REMOVE(server, link);
	HASH_ITER (hh, server->methods, m, next) {
		HASH_DEL(server->methods, m);
		free(m->path);
		free(m);
	}
	rpc_creds_unref(server->creds);
	pthread_mutex_destroy(&server->mutex);
	free(server);
}

static void on_server_ready(struct ready *ready)
{
	struct rpc_server *server = container_of(ready, struct rpc_server, ready);
	struct rpc *rpc = server->rpc;
	void (*closed)(void *) = server->closed;
	void *data = server->closed_data;
	bool down;

	pthread_mutex_lock(&server->mutex);
	down = server->shut_down && server->n_requests == 0 && server->n_calls == 0 &&
	       !rpc_is_ready(rpc, ready);
	pthread_mutex_unlock(&server->mutex);
	if (!down)
		return;

	if (server->server) {
		grpc_server_destroy(TAKE_PTR(server->server));
		rpc->n_servers--;
	}
	if (server->wanted_gone) {
		server_free(server);
		if (closed)
			closed(data);
	}
	rpc_check_closed(rpc);
}

void server_call_gone(struct rpc_server *server)
{
	pthread_mutex_lock(&server->mutex);
	if (--server->n_calls == 0 && server->closing)
		rpc_ready(server->rpc, &server->ready);
	pthread_mutex_unlock(&server->mutex);
}

static void shut_down(struct rpc_server *server)
{
	bool first;

	pthread_mutex_lock(&server->mutex);
	first = !server->closing;
	server->closing = true;
	pthread_mutex_unlock(&server->mutex);
	if (!first)
		return;
	tag_handed_out(&server->shutdown_tag);
	grpc_server_shutdown_and_notify(server->server, server->rpc->cq, &server->shutdown_tag);
	grpc_server_cancel_all_calls(server->server);
}

void rpc_server_close(struct rpc_server *server, void (*closed)(void *data), void *data)
{
	assert(!server->wanted_gone);
	server->wanted_gone = true;
	server->closed = closed;
	server->closed_data = data;
	shut_down(server);
	rpc_ready(server->rpc, &server->ready); /* may be down already, through rpc_close */
}

void servers_shut_down(struct rpc *rpc)
{
	struct rpc_server *server;

	LIST_FOREACH (server, &rpc->servers, link)
		shut_down(server);
}

void servers_free(struct rpc *rpc)
{
	struct rpc_server *server, *next;

	for (server = LIST_FIRST(&rpc->servers); server; server = next) {
		next = LIST_NEXT(server, link);
		server_free(server);
	}
}

int server_check_peer(struct rpc_server *server, struct rpc_peer *peer, struct error *err)
{
	return server->guard ? server->guard(peer, server->guard_data, err) : 0;
}

void server_observe(const struct rpc_call *call)
{
	const struct rpc_server *server = call->server;
	struct rpc_observation o = {
		.method = call->method ? call->method->path + 1 : "",
		.unary = call->replied,
		.code = call->status.code,
		.took_ns = clock_mono_ns() - call->begun_ns,
	};

	if (!server->observer)
		return;
	if (o.code == ERR_OK && call->fin != FIN_SENT)
		o.code = ERR_CANCELLED;
	server->observer(server->observer_data, &o);
}

/* ---------------------------------------------------------------- loop thread: set up */

static grpc_arg arg_int(const char *key, int value)
{
	return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value};
}

struct rpc_server *rpc_server_new(struct rpc *rpc, struct rpc_creds *creds)
{
	struct rpc_server *server = xnew(struct rpc_server);
	grpc_arg args[] = {
		/* Two servers on one port would share its connections, silently. */
		arg_int(GRPC_ARG_ALLOW_REUSEPORT, 0),
		arg_int(GRPC_ARG_MAX_CONCURRENT_STREAMS, MAX_STREAMS),
		arg_int(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, RPC_MAX_MESSAGE_BYTES),
		arg_int(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, HANDSHAKE_TIMEOUT_MS),
		/* Dead callers are noticed, and callers may ping as often as our own channels do.
		 */
		arg_int(GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_MS),
		arg_int(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS),
		arg_int(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
		arg_int(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
		arg_int(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, MIN_PING_MS),
		/* The probe would let windows grow to many MiB. */
		arg_int(GRPC_ARG_HTTP2_BDP_PROBE, 0),
		arg_int(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, WINDOW_BYTES),
		/* A small message that unpacks to a large one is refused, not unpacked. */
		arg_int(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0),
	};
	const grpc_channel_args list = {.num_args = ARRAY_SIZE(args), .args = args};

	assert(!rpc->closing);
	server->rpc = rpc;
	server->creds = creds ? rpc_creds_ref(creds) : NULL;
	server->ready.run = on_server_ready;
	server->shutdown_tag.on_event = on_shut_down;
	pthread_mutex_init(&server->mutex, NULL);
	server->server = grpc_server_create(&list, NULL);
	grpc_server_register_completion_queue(server->server, rpc->cq, NULL);
	LIST_INSERT_HEAD(&rpc->servers, server, link);
	rpc->n_servers++;
	return server;
}

static const ProtobufCMethodDescriptor *method_desc(const ProtobufCServiceDescriptor *service,
						    const char *name)
{
	return protobuf_c_service_descriptor_get_method_by_name(service, name);
}

void rpc_server_add_service(struct rpc_server *server, const ProtobufCServiceDescriptor *service,
			    const struct rpc_method *methods, size_t n, void *data)
{
	assert(!server->started);
	for (size_t i = 0; i < n; i++) {
		struct method *m = xnew(struct method);

		m->m = methods[i];
		m->desc = method_desc(service, methods[i].name);
		m->data = data;
		m->path = xasprintf("/%s/%s", service->name, methods[i].name);
		assert(m->desc && m->m.on_message && m->m.allow);
		assert(m->m.max_request_bytes <= RPC_MAX_MESSAGE_BYTES);
		/* The library unpacks recursively without a bound. */
		assert(codec_type_is_bounded(m->desc->input) &&
		       codec_type_is_bounded(m->desc->output));
		HASH_ADD_KEYPTR(hh, server->methods, m->path, strlen(m->path), m);
	}
}

void rpc_server_set_guard(struct rpc_server *server,
			  int (*guard)(struct rpc_peer *peer, void *data, struct error *err),
			  void *data)
{
	server->guard = guard;
	server->guard_data = data;
}

void rpc_server_set_observer(struct rpc_server *server,
			     void (*observer)(void *data, const struct rpc_observation *o), void *data)
{
	server->observer = observer;
	server->observer_data = data;
}

void rpc_server_start(struct rpc_server *server)
{
	assert(!server->started);
	server->started = true;
	grpc_server_start(server->server);
	for (int i = 0; i < MAX_REQUESTS; i++) {
		struct request *r = xnew(struct request);

		r->tag.on_event = on_request;
		r->server = server;
		pthread_mutex_lock(&server->mutex);
		server->n_requests++;
		request_post(r);
		pthread_mutex_unlock(&server->mutex);
	}
}

/* ---------------------------------------------------------------- addresses */

/* gRPC only says that it did not work: bind once more ourselves, for the kernel's reason. */
static int explain_tcp(const char *address, struct error *err)
{
	_cleanup_free_ char *host = xstrdup(address);
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
				 .ai_flags = AI_PASSIVE | AI_NUMERICSERV},
			*list;
	char *colon = strrchr(host, ':');
	int one = 1, e, fd;

	if (!colon || !colon[1])
		return error_set(
			err, ERR_INVALID,
			"listen on %s: accepted are HOST:PORT, [ADDRESS]:PORT and unix:/PATH",
			address);
	*colon = '\0';
	if (host[0] == '[' && colon[-1] == ']') {
		colon[-1] = '\0';
		memmove(host, host + 1, strlen(host));
	}
	e = getaddrinfo(host[0] ? host : NULL, colon + 1, &hints, &list);
	if (e)
		return error_set(err, ERR_INVALID, "listen on %s: %s", address, gai_strerror(e));

	fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (fd < 0 || bind(fd, list->ai_addr, list->ai_addrlen) < 0 || listen(fd, 1) < 0)
		e = errno;
	if (fd >= 0)
		close(fd);
	freeaddrinfo(list);
	if (e == EADDRINUSE)
		return error_set(err, ERR_EXISTS, "listen on %s: the address is taken", address);
	return e ? error_set_errno(err, e, "listen on %s", address)
		 : error_set(err, ERR_UNAVAILABLE,
			     "listen on %s: failed, or its certificate is not usable", address);
}

static int unix_prepare(const char *path, struct error *err)
{
	struct stat st;

	if (path[0] != '/' || strlen(path) >= sizeof(((struct sockaddr_un *)0)->sun_path))
		return error_set(
			err, ERR_INVALID,
			"socket %s: accepted is an absolute path of at most %zu characters", path,
			sizeof(((struct sockaddr_un *)0)->sun_path) - 1);
	if (lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : error_set_errno(err, errno, "socket %s", path);
	if (!S_ISSOCK(st.st_mode))
		return error_set(err, ERR_EXISTS,
				 "socket %s: something else than a socket is there", path);
	return unlink(path) < 0 ? error_set_errno(err, errno, "remove the old socket %s", path) : 0;
}

int rpc_server_listen(struct rpc_server *server, const char *address, unsigned mode, int *ret_port,
		      struct error *err)
{
	const char *path = str_starts(address, "unix:") ? address + strlen("unix:") : NULL;
	grpc_server_credentials *creds;
	int port;

	/* Without TLS everybody who can connect is the owner. */
	if (!path && !server->creds)
		return error_set(err, ERR_INVALID,
				 "listen on %s: without a certificate only unix:/PATH is accepted",
				 address);
	if (path && unix_prepare(path, err) < 0)
		return -1;

	creds = creds_for_server(server->rpc, server->creds);
	port = grpc_server_add_http2_port(server->server, address, creds);
	grpc_server_credentials_release(creds);
	if (port == 0 && path)
		return error_set(err, ERR_UNAVAILABLE,
				 "listen on %s: failed; is its directory there and writable?",
				 address);
	if (port == 0)
		return explain_tcp(address, err);
	if (path && chmod(path, mode) < 0)
		return error_set_errno(err, errno, "set mode %o of %s", mode, path);
	if (ret_port)
		*ret_port = path ? 0 : port;
	return 0;
}
