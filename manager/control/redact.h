/*
 * redact - objects as callers may see them: without registry credentials, keys and tickets.
 * Shallow copies: valid as long as both the original and the struct are.
 */
#pragma once
#include "proto/pb.h"

#include <stddef.h>

struct view;

struct redact {
	void **chunks;
	size_t n, cap;
};

/* Also usable for other memory that is needed until the answer is sent. Zeroed. */
void *redact_alloc(struct redact *r, size_t size);
void redact_fini(struct redact *r);
#define _cleanup_redact_ __attribute__((cleanup(redact_fini)))

pb_service *redact_service(struct redact *r, const pb_service *service);
pb_task *redact_task(struct redact *r, const pb_task *task);
/* As progress needs it: without spec and labels, which the service has. */
pb_task *redact_task_slim(struct redact *r, const pb_task *task);
pb_token *redact_token(struct redact *r, const pb_token *token);
pb_ui_token *redact_ui_token(struct redact *r, const pb_ui_token *token);
/* Id and name of every node, as many answers carry them. */
void redact_node_names(struct redact *r, const struct view *v, size_t *ret_n, pb_kv ***ret_list);
pb_network *redact_network(struct redact *r, const pb_network *network);
pb_migration *redact_migration(struct redact *r, const pb_migration *migration); /* without its ticket */

/* In place, for a heap message of ours. */
void redact_task_spec(pb_task_spec *spec);
