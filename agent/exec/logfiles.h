/*
 * logfiles - the log files of one container, as conmon writes and rotate.c renames them:
 * "log" is the newest, "log.1", "log.2", ... are older ones, the lowest number is the oldest.
 */
#pragma once
#include <stdint.h>
#include <stddef.h>
#include <sys/types.h>

struct logfiles {
	uint64_t *numbers; /* of rotated files, ascending */
	size_t n;
};

/* Blocking, any thread. A missing directory gives none. */
void logfiles_list(const char *dir, struct logfiles *ret);
void logfiles_fini(struct logfiles *f);

/*
 * Rename "log" to the next number, remove the oldest beyond max_files in all ("log" counts), and
 * have conmon open a new one. Blocking, any thread.
 *   bundle  holds conmon's "ctl" fifo
 */
struct error;
int logfiles_rotate(const char *bundle, unsigned max_files, struct error *err);
