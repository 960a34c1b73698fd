/*
 * health - /healthz and /readyz: a list of checks, and what each says.
 *
 *   200  ok session
 *   503  failed runtime: no OCI runtime works: crun: ...
 */
#pragma once
#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>

struct http_request;

struct health_check {
	const char *name;                                     /* "session" */
	/* True: fine. False with the reason in err (an err that is not set: it is not known yet). Does not block. */
	bool (*check)(void *data, struct error *err);
};

/* Answer with one line per check: 200 when all are fine, 503 when one is not. */
void health_answer(struct http_request *req, const struct health_check *checks, size_t n, void *data);
