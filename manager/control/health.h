/*
 * health - what is wrong with the cluster, and what to do about it. Pure: a view and some facts in, sentences out.
 */
#pragma once
#include "common/str.h"

#include <stdbool.h>
#include <stdint.h>

struct view;

struct health_facts {
	bool connected;       /* to etcd */
	bool embedded;        /* etcd is the managers' own */
	bool has_leader;
	uint32_t managers, managers_ready;
	const char *complaint; /* of this manager about itself; "" = none */
	int64_t now;
	/* Tasks that a service should have. */
	uint64_t (*desired)(void *data, const void *service);
	void *data;
};

/* Two lists of the same length: what, and what to do. The worst first. */
struct health {
	struct strv what, advice;
};

void health_check(const struct view *v, const struct health_facts *facts, struct health *ret);
void health_fini(struct health *h);
