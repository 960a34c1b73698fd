/* Do two nodes go together? */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/migrate/facts.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"

#include <string.h>

static Skein__MoveFacts *node(void)
{
	Skein__MoveFacts *f = pb_new(&skein__move_facts__descriptor);

	pb_set_str(&f->kernel, "6.1.0-32-amd64");
	pb_set_str(&f->arch, "x86_64");
	pb_set_str(&f->criu, "3.17.1");
	f->cpu_flags.len = strlen("avx fpu sse");
	f->cpu_flags.data = xmemdup("avx fpu sse", f->cpu_flags.len);
	f->clock = 100 * NS_PER_SEC;
	return f;
}

static void set_flags(Skein__MoveFacts *f, const char *text)
{
	free(f->cpu_flags.data);
	f->cpu_flags.len = strlen(text);
	f->cpu_flags.data = xmemdup(text, strlen(text));
}

static bool exists(const char *path)
{
	return strcmp(path, "/srv/here") == 0;
}

static void change(Skein__MoveFacts *s, Skein__MoveFacts *t, int kind)
{
	switch (kind) {
	case 1:
		pb_set_str(&t->arch, "aarch64");
		break;
	case 2:
		pb_set_str(&t->kernel, "6.12.1");
		break;
	case 3:
		pb_set_str(&t->criu, "4.0");
		break;
	case 4:
		set_flags(t, "fpu ssex sse");
		break;
	case 5:
		t->clock += 6 * NS_PER_SEC;
		break;
	case 6:
		t->clock -= 6 * NS_PER_SEC;
		break;
	case 7:
		pb_strs_add(&s->n_paths, &s->paths, "/srv/missing");
		break;
	case 8:
		pb_strs_add(&s->n_devices, &s->devices, "/dev/missing");
		break;
	case 9:
		s->memory_bytes = 2 << 20;
		break;
	case 10:
		s->file_bytes = 3 << 20;
		break;
	case 11: /* more than the source has does no harm, and patch releases do not count */
		set_flags(t, "avx avx2 fpu sse");
		pb_set_str(&t->kernel, "6.1.140");
		pb_strs_add(&s->n_paths, &s->paths, "/srv/here");
		t->clock += 4 * NS_PER_SEC;
		break;
	default:
		break;
	}
}

static void table(void **state)
{
	static const char *const want[] = {
		NULL, "aarch64", "6.12.1", "criu", "lacks avx", "apart", "apart", "/srv/missing", "/dev/missing", "memory", "files", NULL,
	};
	struct facts_target more = {.free_memory = 1 << 20, .free_disk = 2 << 20, .exists = exists};

	for (size_t i = 0; i < ARRAY_SIZE(want); i++) {
		_cleanup_pb_ Skein__MoveFacts *s = node(), *t = node();
		struct error err = ERROR_INIT;
		int r;

		change(s, t, (int)i);
		r = facts_compare(s, t, &more, &err);
		if (!want[i] ? r != 0 : r == 0 || err.code != ERR_PRECONDITION || !strstr(err.msg, want[i]))
			fail_msg("case %zu: %d %s", i, r, err.msg);
	}
}

static void here(void **state)
{
	_cleanup_pb_ Skein__MoveFacts *f = facts_here("3.17.1");
	struct facts_target more = {.exists = exists};
	struct error err = ERROR_INIT;

	assert_true(strlen(f->kernel) > 0 && strlen(f->arch) > 0);
	assert_int_equal(facts_compare(f, f, &more, &err), 0);
	assert_int_equal(facts_parse_available("MemTotal: 5 kB\nMemAvailable:   2048 kB\n"), 2 << 20);
	assert_int_equal(facts_parse_available("MemTotal: 5 kB\n"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(table), cmocka_unit_test(here)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
