/*
 * health - when a container is checked, and what follows from the results. Pure: time is an argument (CLOCK_MONOTONIC, ns).
 *
 * Until one check has succeeded the distances are short and grow, so that a fast start is seen as one; the failures
 * count no faster than they would at the regular interval, and not before the start period is over.
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>
#include <stdint.h>

#define HEALTH_OUTPUT_MAX 4096

/*
 * The check in force: the service's, for what it leaves out the image's, for what both leave out the defaults. Yours; NULL:
 * there is none (neither has one, the service says NONE, or the image's is of a kind that nobody knows).
 *   spec, image  may be NULL
 */
pb_health_check *health_resolve(const pb_health_check *spec, const pb_health_check *image);

/* Is it one that can be run? NULL and NONE are not. */
bool health_is_check(const pb_health_check *check);

struct health {
	int64_t began;    /* since when it is checked */
	int64_t counted;  /* the last failure that counted before the first success */
	int64_t distance; /* to the next check before the first success */
	bool passed;      /* a check has succeeded */
	uint32_t streak;  /* failures in a row that count */
};

/* passed: it was healthy in the eyes of an earlier agent. */
void health_begin(struct health *h, int64_t now, bool passed);

enum health_verdict {
	HEALTH_SAME,
	HEALTH_PASSED,  /* the first success */
	HEALTH_FAILED,  /* too many failures: it is unhealthy */
};
/* A check has ended. */
enum health_verdict health_result(struct health *h, const pb_health_check *check, bool ok, int64_t now);
/* How long to wait for the next one, ns. Once per check. */
int64_t health_distance(struct health *h, const pb_health_check *check);
