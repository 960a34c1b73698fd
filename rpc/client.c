#include "rpc/internal.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <assert.h>
#include <grpc/support/time.h>
#include <limits.h>
#include <string.h>

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 2000
#define CONNECT_TIMEOUT_MS 5000
#define RESOLVE_AGAIN_MS 1000
#define MAX_METHOD_PATH 256

struct rpc_channel {
	struct rpc *rpc;
	LIST_ENTRY(rpc_channel) link;
	grpc_channel *channel; /* NULL once closed */
	char *target, *server_name;
	struct rpc_creds *creds;
	uint64_t generation; /* of the credentials in use */
	uint64_t keepalive_ms, keepalive_timeout_ms;
	LIST_HEAD(, rpc_call) calls;
};

/* ---------------------------------------------------------------- channels */

static grpc_arg arg_int(const char *key, int value)
{
	return (grpc_arg){.type = GRPC_ARG_INTEGER, .key = (char *)key, .value.integer = value};
}

static grpc_channel *channel_open(struct rpc_channel *c)
{
	grpc_channel_credentials *creds;
	grpc_channel *channel;
	grpc_arg args[24];
	size_t n = 0;

	args[n++] = arg_int(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, RPC_MAX_MESSAGE_BYTES);
	args[n++] = arg_int(GRPC_ARG_ENABLE_PER_MESSAGE_DECOMPRESSION, 0);
	args[n++] = arg_int(GRPC_ARG_HTTP2_BDP_PROBE, 0); /* lets windows grow to many MiB */
	args[n++] = arg_int(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, WINDOW_BYTES);
	/* Else http_proxy of the environment is asked, even for 127.0.0.1. */
	args[n++] = arg_int(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
	args[n++] = arg_int(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
	args[n++] = arg_int(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1);
	args[n++] = arg_int(GRPC_ARG_ENABLE_RETRIES, 0); /* who calls decides that */
	args[n++] = arg_int(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, BACKOFF_FIRST_MS);
	args[n++] = arg_int(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, BACKOFF_MAX_MS);
	/* This is what the connect timeout is called. */
	args[n++] = arg_int(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, CONNECT_TIMEOUT_MS);
	args[n++] = arg_int(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, RESOLVE_AGAIN_MS);
	if (c->keepalive_ms) {
		args[n++] = arg_int(GRPC_ARG_KEEPALIVE_TIME_MS, (int)MIN(c->keepalive_ms, INT_MAX));
		args[n++] = arg_int(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
				    (int)MIN(c->keepalive_timeout_ms, INT_MAX));
		args[n++] = arg_int(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
		/* By default keepalive falls silent after two pings. */
		args[n++] = arg_int(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
	}
	if (c->creds)
		args[n++] = (grpc_arg){.type = GRPC_ARG_STRING,
				       .key = (char *)GRPC_SSL_TARGET_NAME_OVERRIDE_ARG,
				       .value.string = c->server_name};
	assert(n <= ARRAY_SIZE(args));

	creds = c->creds ? creds_for_channel(c->creds, &c->generation)
			 : grpc_insecure_credentials_create();
	channel = grpc_channel_create(c->target, creds,
				      &(grpc_channel_args){.num_args = n, .args = args});
	grpc_channel_credentials_release(creds);
	return channel;
}

/* As gRPC wants it: a URI, in which the brackets of an IPv6 address have to be escaped. */
static char *target_uri(const char *target)
{
	_cleanup_strbuf_ struct strbuf uri = {0};

	if (str_starts(target, "unix:"))
		return xstrdup(target);
	strbuf_puts(&uri, "dns:///");
	for (const char *p = target; *p; p++) {
		if ((*p >= '0' && *p <= '9') || (*p >= 'a' && *p <= 'z') ||
		    (*p >= 'A' && *p <= 'Z') || strchr("-._:", *p))
			strbuf_putc(&uri, *p);
		else
			strbuf_printf(&uri, "%%%02X", (unsigned char)*p);
	}
	return strbuf_take(&uri);
}

struct rpc_channel *rpc_channel_new(struct rpc *rpc, const struct rpc_channel_options *options)
{
	struct rpc_channel *c = xnew(struct rpc_channel);

	/* No plain text on a network. */
	assert(options->creds || str_starts(options->target, "unix:"));
	c->rpc = rpc;
	c->target = target_uri(options->target);
	c->server_name = xstrdup(options->server_name ? options->server_name : RPC_MANAGER_NAME);
	c->creds = options->creds ? rpc_creds_ref(options->creds) : NULL;
	c->keepalive_ms = options->keepalive_ms;
	c->keepalive_timeout_ms = options->keepalive_timeout_ms ? options->keepalive_timeout_ms
								: options->keepalive_ms;
	LIST_INIT(&c->calls);
	if (!rpc->closing)
		c->channel = channel_open(c);
	LIST_INSERT_HEAD(&rpc->channels, c, link);
	return c;
}

void rpc_channel_renew(struct rpc_channel *channel)
{
	if (!channel->channel)
		return;
	/* Calls that run keep the old connection alive until they end. */
	grpc_channel_destroy(channel->channel);
	channel->channel = channel_open(channel);
}

static void shut_down(struct rpc_channel *c)
{
	struct rpc_call *call;

	while ((call = LIST_FIRST(&c->calls))) {
		LIST_REMOVE(call, link);
		call->channel = NULL;
		call_cancel(call);
	}
	if (c->channel)
		grpc_channel_destroy(TAKE_PTR(c->channel));
}

void rpc_channel_close(struct rpc_channel *channel)
{
	if (!channel)
		return;
	shut_down(channel);
	LIST_REMOVE(channel, link);
	rpc_creds_unref(channel->creds);
	free(channel->target);
	free(channel->server_name);
	free(channel);
}

void channels_shut_down(struct rpc *rpc)
{
	struct rpc_channel *c;

	LIST_FOREACH (c, &rpc->channels, link)
		shut_down(c);
}

void channels_free(struct rpc *rpc)
{
	struct rpc_channel *c, *next;

	for (c = LIST_FIRST(&rpc->channels); c; c = next) {
		next = LIST_NEXT(c, link);
		rpc_channel_close(c);
	}
}

/* ---------------------------------------------------------------- calls */

static gpr_timespec deadline_of(uint64_t timeout_ms)
{
	if (timeout_ms == 0)
		return gpr_inf_future(GPR_CLOCK_MONOTONIC);
	return gpr_time_add(
		gpr_now(GPR_CLOCK_MONOTONIC),
		gpr_time_from_millis((int64_t)MIN(timeout_ms, INT64_MAX / 1000), GPR_TIMESPAN));
}

static struct rpc_call *call_create(struct rpc_channel *channel,
				    const ProtobufCServiceDescriptor *service, const char *name,
				    uint64_t timeout_ms)
{
	const ProtobufCMethodDescriptor *desc =
		protobuf_c_service_descriptor_get_method_by_name(service, name);
	struct rpc_call *call = call_new(channel->rpc);
	char path[MAX_METHOD_PATH];
	grpc_slice slice;
	int len;

	assert(desc);
	call->is_client = true;
	call->in_type = desc->output;
	if (channel->channel && channel->creds &&
	    creds_generation(channel->creds) != channel->generation)
		rpc_channel_renew(channel);
	if (!channel->channel) {
		/* Closing: it ends like any other call, and not inside this function. */
		call->over = call->discard = call->cancelled_here = true;
		return call;
	}

	len = snprintf(path, sizeof(path), "/%s/%s", service->name, name);
	assert(len > 0 && (size_t)len < sizeof(path));
	slice = grpc_slice_from_copied_string(path);
	call->call = grpc_channel_create_call(channel->channel, NULL, GRPC_PROPAGATE_DEFAULTS,
					      channel->rpc->cq, slice, NULL,
					      deadline_of(timeout_ms), NULL);
	grpc_slice_unref(slice);
	call->channel = channel;
	LIST_INSERT_HEAD(&channel->calls, call, link);
	return call;
}

static struct rpc_call *call_start(struct rpc_call *call, const ProtobufCMessage *request)
{
	if (call->call)
		call_begin_client(call, request);
	else
		rpc_ready(call->rpc, &call->ready);
	return call;
}

struct rpc_call *rpc_stream(struct rpc_channel *channel, const ProtobufCServiceDescriptor *service,
			    const char *method, uint64_t timeout_ms,
			    const struct rpc_handlers *handlers, void *data)
{
	struct rpc_call *call = call_create(channel, service, method, timeout_ms);

	assert(handlers->on_done);
	call->handlers = *handlers;
	call->wants_drain = handlers->on_drain;
	call->cb_data = data;
	return call_start(call, NULL);
}

struct rpc_call *rpc_unary(struct rpc_channel *channel, const ProtobufCServiceDescriptor *service,
			   const char *method, const ProtobufCMessage *request, uint64_t timeout_ms,
			   rpc_reply_cb cb, void *data)
{
	struct rpc_call *call = call_create(channel, service, method, timeout_ms);

	call->unary = true;
	call->on_reply = cb;
	call->cb_data = data;
	return call_start(call, request);
}
