/*
 * rootfs - paths inside a container's root file system, resolved as the container would:
 * links never lead out of it (openat2(2), RESOLVE_IN_ROOT). Blocking; any thread.
 */
#pragma once
#include <stddef.h>
#include <sys/types.h>

struct error;

/* Open a path inside; flags as open(2). Returns a descriptor or -1 with errno. */
int rootfs_open(int root_fd, const char *path, int flags);

/*
 * Read a regular file inside, bounded. A missing file gives NULL and success.
 *   Errors  ERR_EXHAUSTED longer than max_bytes, ERR_INVALID not a regular file
 */
int rootfs_read(int root_fd, const char *path, size_t max_bytes, char **ret_data, size_t *ret_len,
		struct error *err);

/* Make a directory inside with its parents (0755, root). */
int rootfs_mkdirs(int root_fd, const char *path, struct error *err);
