/*
 * crstats - what criu writes about itself: its statistics, and the errors in its log. Pure.
 */
#pragma once
#include "agent/exec/checkpoint.h"

#include <stddef.h>

struct error;

#define CRSTATS_MAX_BYTES 4096
#define CRSTATS_LOG_MAX (64u << 20) /* of a log file; its last part counts */

/*
 * The files stats-dump and stats-restore: two magic numbers, the length and a criu_stats_entry. Times of the file are
 * microseconds; *ret gets nanoseconds, took_ns is left alone.
 *   Errors  ERR_DATA_LOSS it is none, or has no part about dumping (restoring)
 *   Source  criu 3.17.1: criu/include/magic.h, criu/image.c, images/stats.proto
 */
int crstats_dump(const void *data, size_t len, struct checkpoint_stats *ret, struct error *err);
int crstats_restore(const void *data, size_t len, struct restore_stats *ret, struct error *err);

/*
 * Why criu failed, in words for an operator: what a known error means, and criu's own line behind it:
 * "a connection is being made, and nobody has accepted it yet (criu: In-flight connection (l) for 7)". Lines that only tell
 * that something above failed count only when there is no other.
 *   log  text of dump.log or restore.log, or its last part
 * Yours; NULL when no error stands in it.
 */
char *crstats_reason(const char *log, size_t len);
