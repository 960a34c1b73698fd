#include "agent/migrate/snapshot.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

/* ---------------------------------------------------------------- walk */

struct walk {
	struct snapshot *s;
	size_t cap;
	int root_fd;
	dev_t dev;
	struct error *err;
};

static int add_entry(struct walk *w, const char *path, uint32_t parent, const struct stat *st)
{
	struct snapshot *s = w->s;

	if (s->n >= SNAPSHOT_MAX_ENTRIES)
		return error_set(w->err, ERR_EXHAUSTED, "more than %u files", SNAPSHOT_MAX_ENTRIES);
	if (s->n == w->cap) {
		w->cap = w->cap ? w->cap * 2 : 64;
		s->entries = xreallocarray(s->entries, w->cap, sizeof(*s->entries));
	}
	s->entries[s->n++] = (struct snapshot_entry){
		.path = xstrdup(path),
		.parent = parent,
		.mode = st->st_mode,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.rdev = st->st_rdev,
		.ino = st->st_ino,
		.nlink = st->st_nlink,
		.size = S_ISREG(st->st_mode) ? (uint64_t)st->st_size : 0,
		.disk_bytes = S_ISREG(st->st_mode) ? (uint64_t)st->st_blocks * 512 : 0,
		.mtime = st->st_mtim,
		.ctime = st->st_ctim,
	};
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

int snapshot_open(int root_fd, const char *path, int flags)
{
	struct open_how how = {
		.flags = (unsigned)flags | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
	};

	return (int)syscall(SYS_openat2, root_fd, *path ? path : ".", &how, sizeof(how));
}

/* Names in a directory, sorted. */
static void list(DIR *dir, struct strv *ret)
{
	struct dirent *d;

	while ((d = readdir(dir))) {
		if (!is_dots(d->d_name))
			strv_add(ret, d->d_name);
	}
	if (ret->n)
		qsort(ret->v, ret->n, sizeof(*ret->v), by_name);
}

static int visit(struct walk *w, uint32_t parent, int dir_fd, const char *name)
{
	char path[SNAPSHOT_PATH_MAX];
	const char *above = w->s->entries[parent].path;
	int len = snprintf(path, sizeof(path), "%s%s%s", above, *above ? "/" : "", name);
	struct stat st;

	if (len >= (int)sizeof(path))
		return error_set(w->err, ERR_EXHAUSTED, "a path is longer than %d bytes", SNAPSHOT_PATH_MAX - 1);
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : error_set_errno(w->err, errno, "look at \"%.200s\"", path);
	if (st.st_dev != w->dev)
		return 0;
	return add_entry(w, path, parent, &st);
}

static int walk_directory(struct walk *w, uint32_t i)
{
	int fd = snapshot_open(w->root_fd, w->s->entries[i].path, O_RDONLY | O_DIRECTORY);
	_cleanup_strv_ struct strv names = {0};
	DIR *dir;
	int r = 0;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
		return 0; /* gone, or something else by now */
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		error_set_errno(w->err, errno, "list \"%.200s\"", w->s->entries[i].path);
		mem_closep(&fd);
		return -1;
	}
	list(dir, &names);
	for (size_t k = 0; k < names.n && r == 0; k++)
		r = visit(w, i, fd, names.v[k]);
	closedir(dir);
	return r;
}

/* The list of what was found is the list of what is to be walked. */
static int walk_tree(struct walk *w)
{
	for (size_t i = 0; i < w->s->n; i++) {
		if (S_ISDIR(w->s->entries[i].mode) && walk_directory(w, (uint32_t)i) < 0)
			return -1;
	}
	return 0;
}

static void add_up(struct snapshot *s)
{
	for (size_t i = 0; i < s->n; i++) {
		struct snapshot_entry *e = &s->entries[i];

		HASH_ADD_KEYPTR(hh, s->by_path, e->path, strlen(e->path), e);
		if (S_ISREG(e->mode))
			s->file_bytes += MIN(e->size, e->disk_bytes) / e->nlink;
	}
}

int snapshot_take(const char *dir, struct snapshot *ret, struct error *err)
{
	_cleanup_close_ int root_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct walk w = {.s = ret, .root_fd = root_fd, .err = err};
	struct stat st;

	*ret = (struct snapshot){.taken_at = clock_wall_ns()};
	if (root_fd < 0 && errno == ENOENT)
		return 0;
	if (root_fd < 0 || fstat(root_fd, &st) < 0)
		return error_set_errno(err, errno, "open %s", dir);
	w.dev = st.st_dev;
	if (add_entry(&w, "", 0, &st) < 0 || walk_tree(&w) < 0) {
		snapshot_fini(ret);
		return error_wrap(err, "look through %s", dir);
	}
	add_up(ret);
	return 0;
}

void snapshot_fini(struct snapshot *s)
{
	HASH_CLEAR(hh, s->by_path);
	for (size_t i = 0; i < s->n; i++)
		free(s->entries[i].path);
	free(s->entries);
	*s = (struct snapshot){0};
}

/* ---------------------------------------------------------------- compare */

static int64_t ns_of(const struct timespec *t)
{
	return (int64_t)t->tv_sec * NS_PER_SEC + t->tv_nsec;
}

static const struct snapshot_entry *find(const struct snapshot *s, const char *path)
{
	struct snapshot_entry *e = NULL;

	if (s)
		HASH_FIND_STR(s->by_path, path, e);
	return e;
}

static bool differs(const struct snapshot *before, const struct snapshot_entry *old, const struct snapshot_entry *e)
{
	return !old || old->ino != e->ino || old->mode != e->mode || old->size != e->size || old->rdev != e->rdev ||
	       old->uid != e->uid || old->gid != e->gid || ns_of(&old->mtime) != ns_of(&e->mtime) ||
	       ns_of(&old->ctime) != ns_of(&e->ctime) || ns_of(&old->ctime) >= before->taken_at - SNAPSHOT_CLOCK_NS;
}

/* A file with several names. */
struct group {
	UT_hash_handle hh;
	ino_t ino;
	bool changed;
};

static void note_groups(const struct snapshot *now, const bool *changed, struct group **groups)
{
	for (size_t i = 0; i < now->n; i++) {
		const struct snapshot_entry *e = &now->entries[i];
		struct group *g;

		if (S_ISDIR(e->mode) || e->nlink < 2)
			continue;
		HASH_FIND(hh, *groups, &e->ino, sizeof(e->ino), g);
		if (!g) {
			g = xnew(struct group);
			g->ino = e->ino;
			HASH_ADD(hh, *groups, ino, sizeof(g->ino), g);
		}
		g->changed = g->changed || changed[i];
	}
}

static void free_groups(struct group *groups)
{
	struct group *g, *next;

	HASH_ITER(hh, groups, g, next) {
		HASH_DEL(groups, g);
		free(g);
	}
}

static bool group_changed(struct group *groups, const struct snapshot_entry *e)
{
	struct group *g = NULL;

	if (!S_ISDIR(e->mode) && e->nlink >= 2)
		HASH_FIND(hh, groups, &e->ino, sizeof(e->ino), g);
	return g && g->changed;
}

/* A directory that is now something else is removed by what takes its place. */
static void find_gone(const struct snapshot *before, const struct snapshot *now, bool *touched, struct snapshot_changes *c)
{
	for (size_t i = before->n; i-- > 1;) {
		const struct snapshot_entry *old = &before->entries[i];
		const struct snapshot_entry *above = find(now, before->entries[old->parent].path);

		if (find(now, old->path) || !above || !S_ISDIR(above->mode))
			continue;
		c->gone[c->n_gone++] = (uint32_t)i;
		touched[above - now->entries] = true;
	}
}

void snapshot_compare(const struct snapshot *before, const struct snapshot *now, struct snapshot_changes *ret)
{
	_cleanup_free_ bool *changed = xcalloc(now->n + 1, sizeof(bool)), *touched = xcalloc(now->n + 1, sizeof(bool));
	struct group *groups = NULL;

	*ret = (struct snapshot_changes){
		.send = xcalloc(now->n + 1, sizeof(uint32_t)),
		.dirs = xcalloc(now->n + 1, sizeof(uint32_t)),
		.gone = xcalloc(before ? before->n + 1 : 1, sizeof(uint32_t)),
	};
	for (size_t i = 0; i < now->n; i++)
		changed[i] = !before || differs(before, find(before, now->entries[i].path), &now->entries[i]);
	note_groups(now, changed, &groups);
	for (size_t i = 0; i < now->n; i++) {
		const struct snapshot_entry *e = &now->entries[i];

		if (!changed[i] && !group_changed(groups, e))
			continue;
		ret->send[ret->n_send++] = (uint32_t)i;
		touched[e->parent] = true;
		touched[i] = S_ISDIR(e->mode);
		if (S_ISREG(e->mode))
			ret->file_bytes += MIN(e->size, e->disk_bytes) / e->nlink;
	}
	free_groups(groups);
	if (before && now->n)
		find_gone(before, now, touched, ret);
	for (size_t i = now->n; i-- > 0;) {
		if (touched[i])
			ret->dirs[ret->n_dirs++] = (uint32_t)i;
	}
}

void snapshot_changes_fini(struct snapshot_changes *c)
{
	free(c->send);
	free(c->dirs);
	free(c->gone);
	*c = (struct snapshot_changes){0};
}
