/*
 * tree - makes files below a root directory from names that cannot be trusted.
 * A name is relative, has no ".."; symbolic links on the way to it are followed only as long as they stay
 * below the root (openat2(2), RESOLVE_BENEATH) and the last part is never followed. Blocking; any thread.
 *
 *   Errors  ERR_DATA_LOSS the name leaves the root or runs through something that is no directory;
 *           ERR_EXHAUSTED disk full; the message has the name
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

struct error;

#define TREE_PATH_MAX 4096

/*
 * Tidy a name: without leading "./", doubled or trailing slashes. "" is the root itself.
 *   ret  TREE_PATH_MAX bytes
 */
int tree_name(const char *name, char ret[static TREE_PATH_MAX], struct error *err);

/*
 * The directory that holds a (tidied, not empty) name; missing ones are made with mode 0755 when `make`.
 *   ret_fd    O_PATH; yours
 *   ret_last  last part of the name, points into it
 */
int tree_parent(int root_fd, const char *name, bool make, int *ret_fd, const char **ret_last, struct error *err);

/* A directory by its (tidied) name, not through a link as last part; "" is the root. O_RDONLY; yours. */
int tree_directory(int root_fd, const char *name, int *ret_fd, struct error *err);

/* Remove whatever stands at parent/last so that another thing can be made there. */
int tree_clear(int parent_fd, const char *last, struct error *err);

/* What all kinds of files have. */
struct tree_meta {
	mode_t mode;     /* permissions with setuid, setgid, sticky */
	uid_t uid;
	gid_t gid;
	struct timespec mtime;
};
/* To what stands at parent/last, not through a link. Owner first: a change of it clears setuid bits. */
int tree_set_meta(int parent_fd, const char *last, bool is_link, const struct tree_meta *meta,
		  struct error *err);
int tree_set_meta_fd(int fd, const char *name, const struct tree_meta *meta, struct error *err);
