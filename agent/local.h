/*
 * local - what clusterctl asks of the agent on its own host: the Local service on a unix socket.
 * Cluster methods go to the agent's main object (struct local_ops), image methods to the image store.
 */
#pragma once
#include "common/error.h"
#include "proto/pb.h"

#include <uv.h>

struct image_store;
struct local;
struct rpc;

/* Callbacks of the operations: exactly once, on the loop, after the function that took them has returned.
 * The response is borrowed and NULL on error. */
typedef void (*local_init_cb)(void *cb_data, const Skein__InitResponse *response, const struct error *err);
typedef void (*local_join_cb)(void *cb_data, const Skein__JoinResponse *response, const struct error *err);
typedef void (*local_leave_cb)(void *cb_data, const struct error *err);

/* Every function is required. Requests are borrowed until the function returns. */
struct local_ops {
	/* Fill in (heap message; pb_set_str and friends). */
	void (*get_info)(void *data, Skein__LocalInfo *info);
	void (*init)(void *data, const Skein__InitRequest *request, local_init_cb cb, void *cb_data);
	void (*join)(void *data, const Skein__JoinRequest *request, local_join_cb cb, void *cb_data);
	void (*leave)(void *data, bool force, local_leave_cb cb, void *cb_data);
};

struct local_options {
	uv_loop_t *loop;
	struct rpc *rpc;
	struct image_store *images;
	const char *tmp_dir;          /* for archives on their way in; the file system of the image store; copied */
	const struct local_ops *ops;  /* kept, not copied */
	void *data;                   /* of ops */
};

struct local *local_new(const struct local_options *options);
/* Serve on a unix socket, mode 0660. */
int local_listen(struct local *l, const char *path, struct error *err);
/* Ends all calls; image jobs that they started are cancelled; waits for operations that have not called back.
 * Close the image store after `closed`. */
void local_close(struct local *l, void (*closed)(void *data), void *data);
