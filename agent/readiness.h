/*
 * readiness - does a task whose process runs serve? With a health check: for as long as it runs. Without one: at its start,
 * whether somebody listens where its service sends connections (ADR 15). A task is RUNNING from then on. Loop thread.
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>
#include <uv.h>

struct container;
struct image;
struct net;
struct readiness;

struct readiness_options {
	uv_loop_t *loop;
	struct container *container;  /* runs, until readiness_close() */
	struct net *net;
	const pb_task *task;          /* with the check in force (health_resolve) and its status; borrowed for the call */
	const struct image *image;    /* for the ports that it exposes; NULL = unknown; borrowed for the call */
	bool adopted;                 /* it has run for a while already */
	bool passed;                  /* and was RUNNING */
	/* It serves, or need not be waited for any longer; the message says which. Once, later; not when `passed`. */
	void (*ready)(void *data, const char *message);
	/* What is to be told of its health has changed; borrowed for the call. */
	void (*changed)(void *data, const pb_task_health *health);
	/* It does not serve (any more), and why. Last call. */
	void (*unhealthy)(void *data, const char *why);
	void *data;
};

struct readiness *readiness_new(const struct readiness_options *options);
/* What `ready` waits for, as a status says it; NULL: for nothing, it comes at once. Static. */
const char *readiness_waits_for(const struct readiness *r);
/* No callback any more. */
void readiness_close(struct readiness *r);

/* "80/tcp" of an image's list; 0 = not a TCP port. Pure. */
uint16_t readiness_exposed_port(const char *text);
