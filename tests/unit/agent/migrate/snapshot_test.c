/* What has changed in a tree between two looks at it: snapshots made by hand. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/migrate/snapshot.h"
#include "common/clock.h"
#include "common/mem.h"

#include <stdio.h>
#include <string.h>

#define TAKEN (1000 * NS_PER_SEC)

/* Added in the order given: parents first. */
static struct snapshot_entry *add(struct snapshot *s, const char *path, mode_t mode, ino_t ino)
{
	struct snapshot_entry *e;
	char above[256];
	char *slash;

	s->entries = s->entries ? s->entries : xcalloc(32, sizeof(*s->entries));
	s->taken_at = TAKEN;
	e = &s->entries[s->n];
	*e = (struct snapshot_entry){.path = xstrdup(path), .mode = mode, .ino = ino, .nlink = 1, .size = 100, .disk_bytes = 4096};
	e->ctime.tv_sec = e->mtime.tv_sec = 900;
	snprintf(above, sizeof(above), "%s", path);
	slash = strrchr(above, '/');
	*(slash ? slash : above) = '\0';
	for (uint32_t i = 0; i < s->n; i++) {
		if (strcmp(s->entries[i].path, above) == 0)
			e->parent = i;
	}
	s->n++;
	HASH_ADD_KEYPTR(hh, s->by_path, e->path, strlen(e->path), e);
	return e;
}

static void basis(struct snapshot *s)
{
	add(s, "", S_IFDIR | 0755, 1);
	add(s, "a", S_IFDIR | 0755, 2);
	add(s, "f", S_IFREG | 0644, 3);
	add(s, "a/g", S_IFREG | 0644, 4);
	add(s, "a/b", S_IFDIR | 0755, 5);
	add(s, "a/b/h", S_IFREG | 0644, 6);
}

static const char *names(const struct snapshot *s, const uint32_t *list, size_t n, char buf[static 256])
{
	size_t len = 0;

	buf[0] = '\0';
	for (size_t i = 0; i < n; i++)
		len += (size_t)snprintf(buf + len, 256 - len, "%s%s", i ? " " : "", *s->entries[list[i]].path ? s->entries[list[i]].path : ".");
	return buf;
}

struct pair {
	struct snapshot before, now;
};

static void expect(struct pair *p, const char *send, const char *dirs, const char *gone)
{
	struct snapshot_changes c;
	char buf[256];

	snapshot_compare(&p->before, &p->now, &c);
	assert_string_equal(names(&p->now, c.send, c.n_send, buf), send);
	assert_string_equal(names(&p->now, c.dirs, c.n_dirs, buf), dirs);
	assert_string_equal(names(&p->before, c.gone, c.n_gone, buf), gone);
	snapshot_changes_fini(&c);
}

static int setup(void **state)
{
	*state = xnew(struct pair);
	return 0;
}

static int teardown(void **state)
{
	struct pair *p = *state;

	snapshot_fini(&p->before);
	snapshot_fini(&p->now);
	free(p);
	return 0;
}

static void first_pass_sends_all(void **state)
{
	struct pair *p = *state;
	struct snapshot_changes c;
	char buf[256];

	basis(&p->now);
	snapshot_compare(NULL, &p->now, &c);
	assert_string_equal(names(&p->now, c.send, c.n_send, buf), ". a f a/g a/b a/b/h");
	assert_string_equal(names(&p->now, c.dirs, c.n_dirs, buf), "a/b a .");
	assert_int_equal(c.n_gone, 0);
	assert_int_equal(c.file_bytes, 300);
	snapshot_changes_fini(&c);
}

static void nothing_changed(void **state)
{
	struct pair *p = *state;

	basis(&p->before);
	basis(&p->now);
	expect(p, "", "", "");
}

static void each_kind_of_change(void **state)
{
	for (int kind = 0; kind < 8; kind++) {
		struct pair p = {0};
		struct snapshot_entry *e;

		basis(&p.before);
		basis(&p.now);
		e = &p.now.entries[3]; /* a/g */
		if (kind == 0)
			e->size++;
		else if (kind == 1)
			e->mtime.tv_nsec++;
		else if (kind == 2)
			e->ctime.tv_nsec++;
		else if (kind == 3)
			e->ino = 77;
		else if (kind == 4)
			e->mode ^= 0111;
		else if (kind == 5)
			e->uid++;
		else if (kind == 6)
			e->gid++;
		else
			e->mode = S_IFIFO | 0644;
		expect(&p, "a/g", "a", "");
		snapshot_fini(&p.before);
		snapshot_fini(&p.now);
	}
}

static void gone_below_what_is_gone_is_left_out(void **state)
{
	struct pair *p = *state;

	basis(&p->before);
	add(&p->now, "", S_IFDIR | 0755, 1);
	add(&p->now, "f", S_IFREG | 0644, 3);
	expect(p, "", ".", "a");
}

static void a_file_in_place_of_a_directory(void **state)
{
	struct pair *p = *state;

	basis(&p->before);
	add(&p->now, "", S_IFDIR | 0755, 1);
	add(&p->now, "a", S_IFREG | 0644, 8);
	add(&p->now, "f", S_IFREG | 0644, 3);
	expect(p, "a", ".", "");
}

static void touched_when_the_first_look_was_taken(void **state)
{
	struct pair *p = *state;

	basis(&p->before);
	basis(&p->now);
	/* The same stamp in both, but so late that a write behind the copy may have left it. */
	p->before.entries[2].ctime = p->now.entries[2].ctime = (struct timespec){.tv_sec = 999, .tv_nsec = 990000000};
	expect(p, "f", ".", "");
	p->before.entries[2].ctime = p->now.entries[2].ctime = (struct timespec){.tv_sec = 999, .tv_nsec = 970000000};
	expect(p, "", "", "");
}

static void all_names_of_a_file(void **state)
{
	struct pair *p = *state;

	for (int i = 0; i < 2; i++) {
		struct snapshot *s = i ? &p->now : &p->before;

		basis(s);
		add(s, "a/x", S_IFREG | 0644, 9)->nlink = 2;
		add(s, "y", S_IFREG | 0644, 9)->nlink = 2;
	}
	expect(p, "", "", "");
	p->now.entries[7].ctime.tv_sec++; /* both have it: as seen under one name, a moment later */
	expect(p, "a/x y", "a .", "");
}

static void emptied_to_nothing(void **state)
{
	struct pair *p = *state;

	basis(&p->before);
	add(&p->now, "", S_IFDIR | 0755, 1);
	expect(p, "", ".", "f a");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(first_pass_sends_all, setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_changed, setup, teardown),
		cmocka_unit_test(each_kind_of_change),
		cmocka_unit_test_setup_teardown(gone_below_what_is_gone_is_left_out, setup, teardown),
		cmocka_unit_test_setup_teardown(a_file_in_place_of_a_directory, setup, teardown),
		cmocka_unit_test_setup_teardown(touched_when_the_first_look_was_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(all_names_of_a_file, setup, teardown),
		cmocka_unit_test_setup_teardown(emptied_to_nothing, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
