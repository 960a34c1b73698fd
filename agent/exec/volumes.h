/*
 * volumes - directories that outlive a container. Blocking; any thread (processes are kept apart by
 * a lock file).
 */
#pragma once
#include <stdbool.h>

struct error;

/*
 * Make the volume whose data directory is `data` ("<volume>/_data") unless it exists. When it is
 * empty and copy_up is set, it takes over what the image has at `target`, with owner, mode,
 * times and extended attributes; a copy that was interrupted begins anew.
 */
int volumes_prepare(const char *data, int root_fd, const char *target, bool copy_up,
		    struct error *err);

/* Copy the content and attributes of directory src_fd into directory dst_fd (exported for tests).
 */
int volumes_copy_tree(int src_fd, int dst_fd, struct error *err);
