/*
 * attempts - sign-ins that failed, by address (of IPv6: by /64), so that nobody guesses fast. Plain data: time is an
 * argument. Bounded: when there is no room, the address whose window began first is forgotten.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#define ATTEMPTS_MAX 5                          /* in a window; what comes then is not looked at until it ends */
#define ATTEMPTS_WINDOW_NS INT64_C(60000000000)
#define ATTEMPTS_ADDRESSES_MAX 512

struct attempts;

struct attempts *attempts_new(void);
void attempts_free(struct attempts *a);

/* How long this address has to wait, ns; 0: it may try. */
int64_t attempts_wait_ns(const struct attempts *a, const char *address, int64_t now);
/* A wrong token came from there. */
void attempts_failed(struct attempts *a, const char *address, int64_t now);
