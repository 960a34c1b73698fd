/*
 * users - the user a container runs as, from its own /etc/passwd and /etc/group, by Docker's rules.
 * users_lookup is pure; users_resolve reads the files of a mounted root file system (blocking).
 */
#pragma once
#include <stddef.h>
#include <sys/types.h>

struct error;

#define USERS_FILE_MAX_BYTES (4u << 20)
#define USERS_GROUPS_MAX 1024

struct user {
	uid_t uid;
	gid_t gid;
	gid_t groups[USERS_GROUPS_MAX]; /* supplementary ones */
	size_t n_groups;
	char home[256]; /* "/" when the user has no entry */
};

struct users_files {
	const char *passwd, *group; /* contents; NULL = no such file */
	size_t passwd_len, group_len;
};

/*
 *   spec    "", "uid", "name", "uid:gid", "name:group", ...; "" = root
 *   groups  further groups by name or number
 *   Errors  ERR_INVALID user or group without an entry (a number needs none), number out of range,
 *           ERR_EXHAUSTED too many groups
 */
int users_lookup(const struct users_files *files, const char *spec, char *const *groups,
		 size_t n_groups, struct user *ret, struct error *err);

int users_resolve(int root_fd, const char *spec, char *const *groups, size_t n_groups,
		  struct user *ret, struct error *err);
