/*
 * crilog - lines of log files as conmon writes them (the format of Kubernetes' CRI):
 *
 *   2026-10-06T00:17:09.669794202+00:00 stdout F the text
 *   F = a full line, P = the line goes on in the next record of the same stream
 *
 * Pure; records come from containers and disks, so anything can stand in them.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define CRILOG_DATA_MAX 16384 /* of one record; longer ones are cut into parts */
#define CRILOG_HEAD_MAX 64    /* time, stream and tag with their spaces are shorter than this */

struct crilog_line {
	int64_t at; /* wall ns */
	bool is_stderr, partial;
	const char *data; /* points into the record */
	size_t len;
};

/* One record without its newline. Returns -1 when it is none. */
int crilog_parse(const char *record, size_t len, struct crilog_line *ret);

/*
 * Where the last `lines` full lines of a file begin. Reads from the end, a block at a time. Returns
 * the offset; *ret_found is how many there are (fewer when the file is shorter). Blocking.
 *   size  only bytes before it count; a record without newline at the end is not complete and not
 * counted
 */
off_t crilog_tail(int fd, off_t size, uint64_t lines, uint64_t *ret_found);
