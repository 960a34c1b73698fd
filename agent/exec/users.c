#include "agent/exec/users.h"

#include "agent/exec/rootfs.h"
#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define MAX_ID 2147483647u
#define FIELDS_MAX 7

/* A piece of the file; not NUL-terminated. */
struct field {
	const char *p;
	size_t len;
};

struct entry {
	struct field f[FIELDS_MAX];
	size_t n;
};

/* Next line with fields between colons; false at the end. Comments and empty lines have n == 0
 * or 1. */
static bool next_entry(const char **pos, const char *end, struct entry *ret)
{
	const char *p = *pos, *eol;

	if (!p || p >= end)
		return false;
	eol = memchr(p, '\n', (size_t)(end - p));
	if (!eol)
		eol = end;
	*pos = eol < end ? eol + 1 : end;

	ret->n = 0;
	while (ret->n < FIELDS_MAX) {
		const char *colon = memchr(p, ':', (size_t)(eol - p));
		const char *stop = colon && ret->n < FIELDS_MAX - 1 ? colon : eol;

		ret->f[ret->n++] = (struct field){p, (size_t)(stop - p)};
		if (stop == eol)
			break;
		p = stop + 1;
	}
	return true;
}

static bool field_is(const struct field *f, const char *s, size_t len)
{
	return f->len == len && memcmp(f->p, s, len) == 0;
}

static bool field_id(const struct field *f, uint32_t *ret)
{
	uint64_t id = 0;

	if (f->len == 0 || f->len > 10)
		return false;
	for (size_t i = 0; i < f->len; i++) {
		if (f->p[i] < '0' || f->p[i] > '9')
			return false;
		id = id * 10 + (uint64_t)(f->p[i] - '0');
	}
	if (id > MAX_ID)
		return false;
	*ret = (uint32_t)id;
	return true;
}

/* Is `name` one of the members "a,b,c"? */
static bool has_member(const struct field *members, const char *name, size_t len)
{
	const char *p = members->p, *end = p + members->len;

	while (p < end) {
		const char *comma = memchr(p, ',', (size_t)(end - p));
		size_t n = (size_t)((comma ? comma : end) - p);

		if (n == len && memcmp(p, name, n) == 0)
			return true;
		p += n + 1;
	}
	return false;
}

static int add_group(struct user *u, gid_t gid, struct error *err)
{
	for (size_t i = 0; i < u->n_groups; i++)
		if (u->groups[i] == gid)
			return 0;
	if (u->n_groups == USERS_GROUPS_MAX)
		return error_set(err, ERR_EXHAUSTED, "more than %d supplementary groups",
				 USERS_GROUPS_MAX);
	u->groups[u->n_groups++] = gid;
	return 0;
}

/* The entry of passwd whose name, or else whose number, is `who`. */
static bool find_user(const struct users_files *files, const struct field *who, struct entry *ret)
{
	const char *pos = files->passwd, *end = pos ? pos + files->passwd_len : NULL;
	struct entry e;
	uint32_t want = 0, id;
	bool numeric = field_id(who, &want), found = false;

	while (next_entry(&pos, end, &e)) {
		if (e.n < 4 || e.f[0].len == 0)
			continue;
		if (field_is(&e.f[0], who->p, who->len)) {
			*ret = e;
			return true;
		}
		if (!found && numeric && field_id(&e.f[2], &id) && id == want) {
			*ret = e;
			found = true;
		}
	}
	return found;
}

static int find_group(const struct users_files *files, const struct field *who, gid_t *ret,
		      struct error *err)
{
	const char *pos = files->group, *end = pos ? pos + files->group_len : NULL;
	struct entry e;
	uint32_t id;

	while (next_entry(&pos, end, &e))
		if (e.n >= 3 && who->len && field_is(&e.f[0], who->p, who->len) &&
		    field_id(&e.f[2], &id)) {
			*ret = id;
			return 0;
		}
	if (field_id(who, &id)) {
		*ret = id;
		return 0;
	}
	return error_set(
		err, ERR_INVALID,
		"unable to find group \"%.*s\": no matching entry in the image's /etc/group "
		"(accepted: a name from there or a number up to %u)",
		(int)MIN(who->len, (size_t)64), who->p, MAX_ID);
}

/* Supplementary groups: those that list the user. */
static int member_groups(const struct users_files *files, const struct field *name, struct user *u,
			 struct error *err)
{
	const char *pos = files->group, *end = pos ? pos + files->group_len : NULL;
	struct entry e;
	uint32_t id;

	while (next_entry(&pos, end, &e))
		if (e.n >= 4 && has_member(&e.f[3], name->p, name->len) && field_id(&e.f[2], &id) &&
		    add_group(u, id, err) < 0)
			return -1;
	return 0;
}

static int set_user(const struct users_files *files, const struct field *who, bool with_groups,
		    struct user *u, struct error *err)
{
	struct entry e;
	uint32_t id;

	if (find_user(files, who, &e)) {
		if (!field_id(&e.f[2], &u->uid) || !field_id(&e.f[3], &u->gid))
			return error_set(err, ERR_INVALID,
					 "bad entry for \"%.*s\" in the image's /etc/passwd",
					 (int)MIN(who->len, (size_t)64), who->p);
		if (e.n >= 6 && e.f[5].len > 0 && e.f[5].len < sizeof(u->home))
			snprintf(u->home, sizeof(u->home), "%.*s", (int)e.f[5].len, e.f[5].p);
		return with_groups ? member_groups(files, &e.f[0], u, err) : 0;
	}
	if (!field_id(who, &id))
		return error_set(err, ERR_INVALID,
				 "unable to find user \"%.*s\": no matching entry in the image's "
				 "/etc/passwd "
				 "(accepted: a name from there or a number up to %u)",
				 (int)MIN(who->len, (size_t)64), who->p, MAX_ID);
	u->uid = id;
	return 0;
}

int users_lookup(const struct users_files *files, const char *spec, char *const *groups,
		 size_t n_groups, struct user *ret, struct error *err)
{
	const char *colon = spec ? strchr(spec, ':') : NULL;
	struct field who = {str_empty(spec) || colon == spec ? "0" : spec, 0};
	gid_t gid;

	who.len = colon && colon != spec ? (size_t)(colon - spec) : strlen(who.p);
	*ret = (struct user){.home = "/"};
	if (set_user(files, &who, !colon, ret, err) < 0)
		return -1;
	if (colon && colon[1]) {
		struct field group = {colon + 1, strlen(colon + 1)};

		if (find_group(files, &group, &ret->gid, err) < 0)
			return -1;
	}
	for (size_t i = 0; i < n_groups; i++) {
		struct field group = {groups[i], strlen(groups[i])};

		if (find_group(files, &group, &gid, err) < 0 || add_group(ret, gid, err) < 0)
			return -1;
	}
	return 0;
}

int users_resolve(int root_fd, const char *spec, char *const *groups, size_t n_groups,
		  struct user *ret, struct error *err)
{
	_cleanup_free_ char *passwd = NULL, *group = NULL;
	struct users_files files = {0};

	if (rootfs_read(root_fd, "etc/passwd", USERS_FILE_MAX_BYTES, &passwd, &files.passwd_len,
			err) < 0 ||
	    rootfs_read(root_fd, "etc/group", USERS_FILE_MAX_BYTES, &group, &files.group_len, err) <
		    0)
		return -1;
	files.passwd = passwd;
	files.group = group;
	return users_lookup(&files, spec, groups, n_groups, ret, err);
}
