/* clock - where time comes from. Deciding code never calls this: it takes `now` as an argument. */
#pragma once
#include <stdint.h>

#define NS_PER_SEC INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)

int64_t clock_wall_ns(void);   /* CLOCK_REALTIME */
int64_t clock_mono_ns(void);   /* CLOCK_MONOTONIC */

/* RFC 3339 in UTC with nanoseconds, into the caller's buffer, which is returned. */
#define CLOCK_RFC3339_MAX 36
const char *clock_rfc3339(int64_t wall_ns, char buf[static CLOCK_RFC3339_MAX]);
