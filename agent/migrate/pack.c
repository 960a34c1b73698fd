#include "agent/migrate/pack.h"

#include "agent/migrate/attributes.h"
#include "common/digest.h"
#include "common/error.h"
#include "common/mem.h"
#include "proto/pb.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

/* Beyond it an entry with its attributes might make the block too large. */
#define BLOCK_ENTRIES_MAX 1024

/* The first name under which a file with several was sent. */
struct first {
	UT_hash_handle hh;
	ino_t ino;
	const char *path;
};

enum stage { GONE, SEND, DIRS, END };

struct pack {
	int root_fd;
	const struct snapshot *before, *now;
	const struct snapshot_changes *changes;
	bool still;
	enum stage stage;
	size_t next;
	struct first *firsts;
	/* the file whose content is under way */
	int fd;
	const char *path;
	uint64_t offset, size;
	/* the block that is being made */
	Skein__MoveEntry **entries;
	size_t n;
	size_t bytes;
	uint8_t *buf;
	struct digest_sum *sum;
	char digest[DIGEST_MAX];
};

struct pack *pack_new(const char *dir, const struct snapshot *before, const struct snapshot *now,
		      const struct snapshot_changes *changes, bool still, struct error *err)
{
	int root_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct pack *p;

	if (root_fd < 0 && (errno != ENOENT || now->n > 0)) {
		error_set_errno(err, errno, "open %s", dir);
		return NULL;
	}
	p = xnew(struct pack);
	*p = (struct pack){.root_fd = root_fd, .before = before, .now = now, .changes = changes, .still = still, .fd = -1};
	p->entries = xcalloc(BLOCK_ENTRIES_MAX, sizeof(*p->entries));
	p->sum = digest_sum_new();
	return p;
}

/* ---------------------------------------------------------------- entries */

static Skein__MoveEntry *add_entry(struct pack *p, const char *path, Skein__MoveType type)
{
	Skein__MoveEntry *e = pb_new(&skein__move_entry__descriptor);

	e->path.len = strlen(path);
	e->path.data = xmemdup(path, e->path.len);
	e->type = type;
	p->entries[p->n++] = e;
	p->bytes += e->path.len + 64;
	return e;
}

static void set_link(Skein__MoveEntry *e, const char *link)
{
	e->link.len = strlen(link);
	e->link.data = xmemdup(link, e->link.len);
}

static void set_meta(Skein__MoveEntry *e, const struct stat *st)
{
	e->mode = st->st_mode & 07777;
	e->uid = st->st_uid;
	e->gid = st->st_gid;
	e->mtime = (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
	e->rdev = st->st_rdev;
}

static void drop_last(struct pack *p)
{
	pb_free(p->entries[--p->n]);
}

/* It may be gone. Returns 1: leave it out. */
static int vanished(const struct pack *p, const char *path, struct error *err)
{
	bool gone = errno == ENOENT || errno == ENOTDIR || errno == ELOOP || errno == EISDIR || errno == ENXIO;

	if (gone && !p->still)
		return 1;
	return error_set_errno(err, errno, "read \"%.200s\"", path);
}

static struct first *first_of(struct pack *p, ino_t ino)
{
	struct first *f;

	HASH_FIND(hh, p->firsts, &ino, sizeof(ino), f);
	return f;
}

static void note_first(struct pack *p, const struct snapshot_entry *s)
{
	struct first *f;

	if (s->nlink < 2 || S_ISDIR(s->mode))
		return;
	f = xnew(struct first);
	f->ino = s->ino;
	f->path = s->path;
	HASH_ADD(hh, p->firsts, ino, sizeof(f->ino), f);
}

/* Pages that are mapped and written lose their "touched" mark only when they are written back: until then a later write to them
 * would not show in the file's times. */
static void make_writes_show(int fd)
{
	sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
}

static int begin_file(struct pack *p, const struct snapshot_entry *s, struct error *err)
{
	int fd = snapshot_open(p->root_fd, s->path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	Skein__MoveEntry *e;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		int r = vanished(p, s->path, err);

		mem_closep(&fd);
		return r;
	}
	if (!S_ISREG(st.st_mode)) { /* another thing by now: the next pass sends it */
		mem_closep(&fd);
		return 1;
	}
	if (!p->still)
		make_writes_show(fd);
	e = add_entry(p, s->path, SKEIN__MOVE_TYPE__MOVE_REGULAR);
	set_meta(e, &st);
	if (attributes_read(fd, e, &p->bytes, err) < 0) {
		mem_closep(&fd);
		return error_wrap(err, "\"%.200s\"", s->path);
	}
	note_first(p, s);
	p->fd = fd;
	p->path = s->path;
	p->offset = 0;
	p->size = (uint64_t)st.st_size;
	return 0;
}

/* Through a descriptor that only names it: what is no file and no directory cannot be opened, or should not be. */
static int add_special(struct pack *p, const struct snapshot_entry *s, Skein__MoveType type, struct error *err)
{
	_cleanup_close_ int fd = snapshot_open(p->root_fd, s->path, O_PATH);
	char link[PATH_MAX];
	Skein__MoveEntry *e;
	struct stat st;
	ssize_t n = 0;

	if (fd < 0 || fstat(fd, &st) < 0)
		return vanished(p, s->path, err);
	if ((st.st_mode & S_IFMT) != (s->mode & S_IFMT))
		return 1;
	if (S_ISLNK(st.st_mode))
		n = readlinkat(fd, "", link, sizeof(link) - 1);
	if (n < 0)
		return vanished(p, s->path, err);
	e = add_entry(p, s->path, type);
	set_meta(e, &st);
	if (S_ISLNK(st.st_mode)) {
		link[n] = '\0';
		set_link(e, link);
		p->bytes += (size_t)n;
	}
	if (attributes_read_path(fd, e, &p->bytes, err) < 0)
		return error_wrap(err, "\"%.200s\"", s->path);
	note_first(p, s);
	return 0;
}

static int add_directory(struct pack *p, const struct snapshot_entry *s, struct error *err)
{
	_cleanup_close_ int fd = snapshot_open(p->root_fd, s->path, O_RDONLY | O_DIRECTORY);
	Skein__MoveEntry *e;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return vanished(p, s->path, err);
	e = add_entry(p, s->path, SKEIN__MOVE_TYPE__MOVE_DIRECTORY);
	set_meta(e, &st);
	if (attributes_read(fd, e, &p->bytes, err) < 0)
		return error_wrap(err, "\"%.200s\"", s->path);
	return 0;
}

static int add_one(struct pack *p, const struct snapshot_entry *s, struct error *err)
{
	struct first *first = s->nlink > 1 && !S_ISDIR(s->mode) ? first_of(p, s->ino) : NULL;

	if (first) {
		set_link(add_entry(p, s->path, SKEIN__MOVE_TYPE__MOVE_HARDLINK), first->path);
		p->bytes += strlen(first->path);
		return 0;
	}
	switch (s->mode & S_IFMT) {
	case S_IFREG:
		return begin_file(p, s, err);
	case S_IFDIR:
		return add_directory(p, s, err);
	case S_IFLNK:
		return add_special(p, s, SKEIN__MOVE_TYPE__MOVE_SYMLINK, err);
	case S_IFIFO:
		return add_special(p, s, SKEIN__MOVE_TYPE__MOVE_FIFO, err);
	case S_IFSOCK:
		return add_special(p, s, SKEIN__MOVE_TYPE__MOVE_SOCKET, err);
	case S_IFCHR:
		return add_special(p, s, SKEIN__MOVE_TYPE__MOVE_CHARACTER, err);
	case S_IFBLK:
		return add_special(p, s, SKEIN__MOVE_TYPE__MOVE_BLOCK_DEVICE, err);
	default:
		return error_set(err, ERR_PRECONDITION, "\"%.200s\" is of an unknown type", s->path);
	}
}

/* ---------------------------------------------------------------- content */

/* Where the next data is, and how much of it at most; at the end of the file both are its size. */
static void find_data(struct pack *p, uint64_t *ret_end)
{
	off_t data = lseek(p->fd, (off_t)p->offset, SEEK_DATA), hole;

	if (data < 0 && errno == ENXIO) {
		p->offset = *ret_end = p->size;
		return;
	}
	if (data >= 0) /* a file system that knows no holes says EINVAL: all is data */
		p->offset = MIN((uint64_t)data, p->size);
	hole = lseek(p->fd, (off_t)p->offset, SEEK_HOLE);
	*ret_end = hole > 0 ? MIN((uint64_t)hole, p->size) : p->size;
}

/* The next part of the file under way goes into the entry. */
static int read_part(struct pack *p, Skein__MoveEntry *e, struct error *err)
{
	uint64_t end;
	ssize_t n = 0;

	find_data(p, &end);
	e->offset = p->offset;
	if (p->offset < end) {
		size_t want = MIN(end - p->offset, PACK_PART_BYTES);

		e->data.data = xmalloc(want);
		do
			n = pread(p->fd, e->data.data, want, (off_t)p->offset);
		while (n < 0 && errno == EINTR);
		if (n < 0)
			return error_set_errno(err, errno, "read \"%.200s\"", p->path);
		e->data.len = (size_t)n;
		p->offset += (uint64_t)n;
		p->bytes += (size_t)n;
		if (n == 0) /* it was cut meanwhile */
			p->size = p->offset;
	}
	e->more = p->offset < p->size;
	if (!e->more) {
		e->size = p->size;
		mem_closep(&p->fd);
	}
	return 0;
}

/* ---------------------------------------------------------------- blocks */

static void next_stage(struct pack *p)
{
	p->stage++;
	p->next = 0;
}

/* Add the next entry. Returns 1 when there was none any more in this stage. */
static int step(struct pack *p, struct error *err)
{
	const struct snapshot_changes *c = p->changes;
	size_t n = p->stage == GONE ? c->n_gone : p->stage == SEND ? c->n_send : c->n_dirs;
	int r = 0;

	if (p->fd >= 0) {
		Skein__MoveEntry *e = add_entry(p, p->path, SKEIN__MOVE_TYPE__MOVE_REGULAR);

		e->part = true;
		return read_part(p, e, err);
	}
	if (p->next >= n)
		return 1;
	if (p->stage == GONE) {
		add_entry(p, p->before->entries[c->gone[p->next++]].path, SKEIN__MOVE_TYPE__MOVE_GONE);
		return 0;
	}
	r = add_one(p, &p->now->entries[p->stage == SEND ? c->send[p->next] : c->dirs[p->next]], err);
	p->next++;
	if (r < 0)
		return -1;
	return p->fd >= 0 ? read_part(p, p->entries[p->n - 1], err) : 0;
}

static void clear_entries(struct pack *p)
{
	while (p->n)
		drop_last(p);
	p->bytes = 0;
}

int pack_next(struct pack *p, const uint8_t **ret, size_t *ret_len, struct error *err)
{
	Skein__MoveEntries block = SKEIN__MOVE_ENTRIES__INIT;

	clear_entries(p);
	while (p->stage != END && p->n < BLOCK_ENTRIES_MAX && p->bytes < PACK_BLOCK_BYTES) {
		int r = step(p, err);

		if (r < 0)
			return -1;
		if (r > 0)
			next_stage(p);
	}
	*ret_len = 0;
	if (p->n == 0) {
		if (p->sum)
			digest_sum_end(p->sum, p->digest);
		digest_sum_free(p->sum);
		p->sum = NULL;
		return 0;
	}
	block.n_entries = p->n;
	block.entries = p->entries;
	free(p->buf);
	*ret_len = protobuf_c_message_get_packed_size(&block.base);
	if (*ret_len > PACK_BLOCK_MAX)
		return error_set(err, ERR_EXHAUSTED, "a block of files has %zu bytes, the bound is %u", *ret_len, PACK_BLOCK_MAX);
	p->buf = xmalloc(*ret_len);
	protobuf_c_message_pack(&block.base, p->buf);
	digest_sum_add(p->sum, p->buf, *ret_len);
	*ret = p->buf;
	return 0;
}

const char *pack_digest(const struct pack *p)
{
	return p->digest;
}

void pack_free(struct pack *p)
{
	struct first *f, *next;

	if (!p)
		return;
	clear_entries(p);
	HASH_ITER(hh, p->firsts, f, next) {
		HASH_DEL(p->firsts, f);
		free(f);
	}
	digest_sum_free(p->sum);
	mem_closep(&p->fd);
	mem_closep(&p->root_fd);
	free(p->entries);
	free(p->buf);
	free(p);
}
