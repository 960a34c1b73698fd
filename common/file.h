/* file - small files of our own, read bounded and replaced whole. Blocking: small files only. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct error;

/*
 * Read all of a file. ret_data is NUL-terminated (the NUL is not counted) and yours.
 *   Errors  ERR_NOT_FOUND, ERR_EXHAUSTED longer than max_bytes
 */
int file_read(const char *path, size_t max_bytes, char **ret_data, size_t *ret_len, struct error *err);

/* Replace a file atomically: temporary file beside it, fsync, rename, fsync of the directory. */
int file_write(const char *path, const void *data, size_t len, mode_t mode, struct error *err);
/* Its two halves, for many files of one directory: all but the last sync, and that. */
int file_put(const char *path, const void *data, size_t len, mode_t mode, struct error *err);
int file_sync_dir(const char *dir, struct error *err);

/*
 * Move a descriptor that stays open to a number that select(2) does not reach: the low ones are for libraries that use it
 * (libnftables aborts the process otherwise). Returns the new number, or the old one when there is no room; -1 gives -1.
 */
int file_fd_high(int fd);

/* Make a directory and its parents with `mode`; existing ones are left as they are. */
int file_mkdirs(const char *path, mode_t mode, struct error *err);

/* Remove a file or a tree; does not follow links or cross mounts. Missing is fine. */
int file_remove_tree(const char *path, struct error *err);
