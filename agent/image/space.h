/* space - is there room on a disk? A margin is left to others: 5 %, at most 256 MiB, and 1 % of the inodes. */
#pragma once
#include <stdint.h>

struct error;

/*
 * Room for `bytes` more on the file system of this directory? Cheap (statvfs); any thread.
 *   Errors  ERR_EXHAUSTED, with the numbers
 */
int space_check(int dir_fd, int64_t bytes, struct error *err);
/* The same, by path. */
int space_check_path(const char *path, int64_t bytes, struct error *err);
