/*
 * rpc - gRPC core <-> libuv <-> protobuf-c. The only place that knows <grpc/>.
 *
 * One poller thread takes events from a NEXT completion queue, unpacks messages, re-arms reads
 * and hands {call, message} to the loop through one locked queue and uv_async_send. The loop
 * thread issues sends. Outside rpc/ nobody sees a thread: every callback runs on the loop.
 *
 * A call is a stream of messages each way with a status at its end; a unary call is the case of
 * one message each way. Methods are found by the generated service descriptors: no code per method.
 */
#pragma once
#include "common/error.h"

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct rpc;
struct rpc_server;
struct rpc_channel;
struct rpc_call;
struct rpc_creds;

#define RPC_MAX_MESSAGE_BYTES (4u << 20)

/* ---------------------------------------------------------------- runtime, one per process */

/* Start gRPC and the poller thread. Routes gRPC's own log into ours at debug level. */
struct rpc *rpc_new(uv_loop_t *loop);

/*
 * Close everything: servers (all calls cancelled), channels, poller, handles. Callbacks of calls
 * still run, with ERR_CANCELLED. `closed` runs once, on the loop; `rpc` is freed then.
 */
void rpc_close(struct rpc *rpc, void (*closed)(void *data), void *data);

/* ---------------------------------------------------------------- credentials */

/*
 * PEM material of this process: shared by its server and channels, replaceable at run time
 * (rpc_creds_update): a server uses the new certificate from the next handshake on and keeps its
 * connections; a channel makes a new connection with it for the next call (see rpc_channel_renew).
 *   root_pem   certificates trusted as CA; required
 *   cert_pem, key_pem   NULL both: a client without identity (joining)
 */
struct rpc_creds *rpc_creds_new(const char *root_pem, const char *cert_pem, const char *key_pem);
void rpc_creds_update(struct rpc_creds *creds, const char *root_pem, const char *cert_pem, const char *key_pem);
struct rpc_creds *rpc_creds_ref(struct rpc_creds *creds);
void rpc_creds_unref(struct rpc_creds *creds);

/* ---------------------------------------------------------------- calls (both sides) */

/* Who is at the other end, from its verified certificate (or the unix socket). */
enum rpc_role {
	RPC_ROLE_ANONYMOUS = 1 << 0, /* TLS without a client certificate */
	RPC_ROLE_WORKER = 1 << 1,
	RPC_ROLE_MANAGER = 1 << 2,
	RPC_ROLE_LOCAL = 1 << 3,     /* connected through the unix socket: may do all that its owner may */
};

struct rpc_peer {
	unsigned role;               /* one of enum rpc_role */
	char node_id[64];            /* certificate CN; "" when anonymous or local */
	char cluster_id[64];         /* certificate O */
	char address[64];            /* "ipv4:10.0.0.1:4711" as gRPC names it */
};

const struct rpc_peer *rpc_call_peer(const struct rpc_call *call); /* server side; valid with the call */
/* Client side, once something was received: the address at the other end, as rpc_peer's; shortened to fit. */
void rpc_call_remote(const struct rpc_call *call, char *ret_address, size_t size);

/* The owner's pointer. */
void rpc_call_set_data(struct rpc_call *call, void *data);
void *rpc_call_data(const struct rpc_call *call);

/*
 * Queue one message; it is packed before this returns. Order is kept.
 *   Errors  ERR_EXHAUSTED more than the call's bound of unsent bytes wait (8 MiB; the peer is slow):
 *           the message was not queued; ERR_CANCELLED the call has ended
 */
int rpc_call_send(struct rpc_call *call, const ProtobufCMessage *msg, struct error *err);

/* Bytes queued and not yet handed to the transport; a producer that streams waits for on_drain. */
size_t rpc_call_unsent(const struct rpc_call *call);

/* End a call now, from either side; on_done still comes (ERR_CANCELLED). */
void rpc_call_cancel(struct rpc_call *call);

/*
 * Flow control of received messages: at most 64, or about 2 MiB, wait for the loop per call, then reads
 * stop (HTTP/2's window does the rest). rpc_call_pause stops delivery until rpc_call_resume, also of a
 * client's on_done, which stays behind its messages; a cancelled call does not wait for that.
 */
void rpc_call_pause(struct rpc_call *call);
void rpc_call_resume(struct rpc_call *call);

/* ---------------------------------------------------------------- server */

struct rpc_method {
	const char *name;      /* as in the .proto, "Session" */
	unsigned allow;        /* enum rpc_role bits that may call it */
	size_t max_request_bytes; /* 0 = RPC_MAX_MESSAGE_BYTES */

	/*
	 * A message came. It is freed when this returns (pb_dup to keep it). For a unary method it
	 * is called exactly once per call: answer with rpc_call_reply or rpc_call_fail, now or later.
	 * A call that ended or sent nothing never gets here.
	 */
	void (*on_message)(struct rpc_call *call, const ProtobufCMessage *msg, void *data);
	/*
	 * The caller will send no more. Set for client-streaming methods, and for them only: a method
	 * without it takes one message, whatever else the caller sends is not read.
	 */
	void (*on_half_close)(struct rpc_call *call, void *data);
	/* Sends were handed to the transport and the queue is empty. May be NULL. */
	void (*on_drain)(struct rpc_call *call, void *data);
	/* The call is over for any reason (finished, cancelled, connection lost). Last callback: the
	 * call may not be used behind it. Not for calls that were refused before on_message. May be NULL. */
	void (*on_done)(struct rpc_call *call, void *data);
};

/* creds NULL: plain text, for unix sockets only, whose callers have RPC_ROLE_LOCAL. */
struct rpc_server *rpc_server_new(struct rpc *rpc, struct rpc_creds *creds);

/*
 * Offer a service. `methods` is an array of n entries, one per method of the descriptor that is
 * served; methods missing in it answer UNIMPLEMENTED. `data` goes to every callback. A caller whose role
 * is not in `allow` gets PERMISSION_DENIED (UNAUTHENTICATED without certificate) before anything is unpacked.
 * Must be called before rpc_server_start.
 */
void rpc_server_add_service(struct rpc_server *server, const ProtobufCServiceDescriptor *service,
			    const struct rpc_method *methods, size_t n, void *data);

/*
 * Listen. "host:port" ("0.0.0.0:2377", "[::]:2377"; port 0 = any) or "unix:/path" (an old socket file is
 * replaced; the new one gets `mode`, e.g. 0660). SO_REUSEPORT is off: a taken port is an error.
 */
int rpc_server_listen(struct rpc_server *server, const char *address, unsigned mode, int *ret_port,
		      struct error *err);
void rpc_server_start(struct rpc_server *server);
/* Stop: no new calls, present ones cancelled. `closed` may be NULL. Freed when closed. */
void rpc_server_close(struct rpc_server *server, void (*closed)(void *data), void *data);

/*
 * An extra look at the peer before the first message of a call is handed out, on the loop: returns 0, or -1 with err to
 * refuse. It may lower peer->role (a certificate lives on after a demotion); the method's `allow` is asked again.
 */
void rpc_server_set_guard(struct rpc_server *server,
			  int (*guard)(struct rpc_peer *peer, void *data, struct error *err), void *data);

/*
 * After each call that has ended, on the loop; for metrics.
 *   method   "skein.Control/GetInfo"; "" = one that is not offered here
 *   unary    one message came and one went; else took_ns is how long the stream was open
 *   code     as the caller was told; ERR_CANCELLED when it had gone
 */
struct rpc_observation {
	const char *method;
	bool unary;
	enum error_code code;
	int64_t took_ns;
};
void rpc_server_set_observer(struct rpc_server *server,
			     void (*observer)(void *data, const struct rpc_observation *o), void *data);

/* Unary: send the answer and end the call with OK. */
void rpc_call_reply(struct rpc_call *call, const ProtobufCMessage *msg);
/* End the call with OK after everything queued was sent (streams). */
void rpc_call_finish(struct rpc_call *call);
/* End the call with an error now: code and message reach the caller, what is still queued does not. */
void rpc_call_fail(struct rpc_call *call, const struct error *err);

/* ---------------------------------------------------------------- client */

struct rpc_channel_options {
	const char *target;          /* "host:port" or "unix:/path" */
	struct rpc_creds *creds;     /* NULL: plain text (unix sockets only); a reference is taken */
	const char *server_name;     /* name checked in the server's certificate; NULL = RPC_MANAGER_NAME */
	uint64_t keepalive_ms;       /* ping a silent peer this often even without calls; 0 = off */
	uint64_t keepalive_timeout_ms;
};

/* Constant DNS SANs: every manager's certificate carries the first, every node's the second. */
#define RPC_MANAGER_NAME "manager.skein.internal"
#define RPC_NODE_NAME "node.skein.internal"

struct rpc_channel *rpc_channel_new(struct rpc *rpc, const struct rpc_channel_options *options);
/* Calls still running on it end with ERR_CANCELLED. */
void rpc_channel_close(struct rpc_channel *channel);

/*
 * Calls from now on use a new connection with the present credentials; running ones keep the old one. Happens
 * by itself at the first call after rpc_creds_update().
 */
void rpc_channel_renew(struct rpc_channel *channel);

struct rpc_handlers {
	void (*on_message)(struct rpc_call *call, const ProtobufCMessage *msg, void *data);
	void (*on_drain)(struct rpc_call *call, void *data);
	/* Last callback, exactly once, never inside the function that started the call.
	 * err is NULL for status OK. */
	void (*on_done)(struct rpc_call *call, const struct error *err, void *data);
};

/*
 * Start a streaming call. `method` is found by name in the descriptor (assert: it exists).
 *   timeout_ms  deadline of the whole call, 0 = none. Fails fast when there is no connection.
 */
struct rpc_call *rpc_stream(struct rpc_channel *channel, const ProtobufCServiceDescriptor *service,
			    const char *method, uint64_t timeout_ms, const struct rpc_handlers *handlers,
			    void *data);
/* Client: no more messages will be sent. */
void rpc_call_half_close(struct rpc_call *call);

/*
 * Unary call. cb runs exactly once, on the loop, after this has returned; reply is NULL on error and is
 * freed when cb returns. The returned call may be cancelled until then.
 */
typedef void (*rpc_reply_cb)(void *data, const ProtobufCMessage *reply, const struct error *err);
struct rpc_call *rpc_unary(struct rpc_channel *channel, const ProtobufCServiceDescriptor *service,
			   const char *method, const ProtobufCMessage *request, uint64_t timeout_ms,
			   rpc_reply_cb cb, void *data);
