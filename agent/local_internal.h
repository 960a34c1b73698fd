/* local_internal - shared by local.c and local_image.c only. */
#pragma once
#include "agent/local.h"
#include "common/loop.h"
#include "rpc/rpc.h"

struct local {
	struct local_options o;
	char *tmp_dir;
	struct rpc_server *server;
	struct closer closer;  /* holds: operations and image jobs that have not called back */
};

/* Methods over the image store: see local.proto. `data` is the struct local. */
void local_pull_image(struct rpc_call *call, const ProtobufCMessage *msg, void *data);
void local_pull_done(struct rpc_call *call, void *data);
void local_load_image(struct rpc_call *call, const ProtobufCMessage *msg, void *data);
void local_load_half_close(struct rpc_call *call, void *data);
void local_load_done(struct rpc_call *call, void *data);
void local_list_images(struct rpc_call *call, const ProtobufCMessage *msg, void *data);
void local_remove_image(struct rpc_call *call, const ProtobufCMessage *msg, void *data);
