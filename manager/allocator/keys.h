/*
 * keys - those of encrypted networks: a new one every KEYS_PERIOD_NS, the newest first, KEYS_KEPT of them, so that
 * who has not heard of the newest yet is still understood.
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>
#include <stdint.h>

struct plan;

#define KEYS_PERIOD_NS INT64_C(43200000000000) /* 12 h */
#define KEYS_KEPT 3
#define KEYS_BYTES 20

bool keys_wanted(const pb_network *network);
/* It is encrypted and has no key, or its newest one is old. */
bool keys_due(const pb_network *network, int64_t now);
/* Give it a new key. */
void keys_rotate(struct plan *p, pb_network *network);
/* Look at it again when the next one is due. */
void keys_wake(struct plan *p, const pb_network *network);
