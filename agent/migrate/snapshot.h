/*
 * snapshot - what a directory holds at one time, and what has changed in it since another time.
 *
 * A tree is copied twice: whole while its container runs, then, while that stands still, only what has changed since the first
 * snapshot. Blocking: uv pool. snapshot_compare() is pure.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <time.h>
#include <uthash.h>

struct error;

#define SNAPSHOT_MAX_ENTRIES 2000000u
#define SNAPSHOT_PATH_MAX 4096
/* The kernel stamps files with a clock that stands still for up to this long. */
#define SNAPSHOT_CLOCK_NS INT64_C(20000000)

struct snapshot_entry {
	UT_hash_handle hh;
	char *path;              /* relative; "" is the directory itself */
	uint32_t parent;         /* index of its directory; the root is its own */
	mode_t mode;             /* with the type */
	uid_t uid;
	gid_t gid;
	dev_t rdev;
	ino_t ino;
	nlink_t nlink;
	uint64_t size, disk_bytes;
	struct timespec mtime, ctime;
};

/* Parents stand before what is in them. */
struct snapshot {
	struct snapshot_entry *entries;
	size_t n;
	struct snapshot_entry *by_path;
	int64_t taken_at;        /* wall ns, when it was begun */
	uint64_t file_bytes;     /* of regular files, as far as they have blocks; hard links once each */
};

/*
 * Walk a directory; other file systems mounted in it are left out. A missing directory gives an empty snapshot (n = 0).
 * What comes and goes meanwhile may be in it or not.
 *   Errors  ERR_EXHAUSTED more than SNAPSHOT_MAX_ENTRIES, or a path longer than SNAPSHOT_PATH_MAX
 */
int snapshot_take(const char *dir, struct snapshot *ret, struct error *err);
void snapshot_fini(struct snapshot *s);

/* Open what a snapshot has named, through no link: who owns the tree may have put one there meanwhile. -1 with errno. */
int snapshot_open(int root_fd, const char *path, int flags);

/* What makes a second copy equal. Indexes of the newer snapshot, or of the older for `gone`. */
struct snapshot_changes {
	uint32_t *send;          /* content and attributes; in order */
	size_t n_send;
	uint32_t *dirs;          /* directories whose attributes have to be set again behind all, children first */
	size_t n_dirs;
	uint32_t *gone;          /* children first; what stands below a directory that is gone is left out */
	size_t n_gone;
	uint64_t file_bytes;     /* of regular files in `send` */
};

/*
 *   before  NULL: everything is sent
 * All names of a file with several are sent as soon as one of them has changed. A file that was touched at about the
 * time of the older snapshot counts as changed: the copy may hold what it was before.
 */
void snapshot_compare(const struct snapshot *before, const struct snapshot *now, struct snapshot_changes *ret);
void snapshot_changes_fini(struct snapshot_changes *c);
