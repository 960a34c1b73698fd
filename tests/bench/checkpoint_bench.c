/*
 * checkpoint_bench: what each step of copying a container costs, by the size of its memory: first pass, second pass, the dump of
 * the frozen one, the restore; each whole (took), and the part of it that criu itself tells.
 *   tests/vm/run bench checkpoint_bench [MIB...]      default: 1 200
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/move_fixture.h"

#include <stdio.h>

static struct bed bed;
static struct space here, there;

static double ms(int64_t ns)
{
	return (double)ns / 1e6;
}

static void show(const char *step, const struct answer *a)
{
	if (a->err.code != ERR_OK)
		fail_msg("%s: %s", step, a->err.msg);
	printf("  %-9s took %7.1f ms: standing still %7.1f, memory %7.1f, writing %7.1f; pages: %llu looked at, %llu unchanged, %llu written\n",
	       step, ms(a->stats.took_ns), ms(a->stats.frozen_ns), ms(a->stats.memdump_ns), ms(a->stats.memwrite_ns),
	       (unsigned long long)a->stats.pages_scanned, (unsigned long long)a->stats.pages_unchanged,
	       (unsigned long long)a->stats.pages_written);
}

static void measure(unsigned mib)
{
	_cleanup_free_ char *script = xasprintf("(/bin/yes | /bin/head -c %u; echo; echo ready >&2; exec sleep 100000) | "
						"/bin/tail -c %u", mib << 20, mib << 20);
	_cleanup_free_ char *images = xasprintf("%s/images", bed.dir), *text = NULL;
	struct answer a;
	struct error err;
	int64_t began;
	struct box x, y;

	printf("%u MiB\n", mib);
	box_movable(&x, &bed, script, &here);
	box_movable(&y, &bed, script, &there);
	box_up(&x);
	bed_poll(&bed, strstr((free(text), text = box_log(&x)), "ready"));
	box_create(&y);
	a = box_round(&x, 1, false);
	show("first", &a);
	a = box_round(&x, 2, false);
	show("second", &a);
	a = box_trial(&x);
	show("trial", &a);
	a = box_round(&x, 3, false);
	show("third", &a);
	began = clock_mono_ns();
	err = box_freeze(&x);
	printf("  %-9s took %7.1f ms %s\n", "freeze", ms(clock_mono_ns() - began), err.msg);
	a = box_round(&x, 4, true);
	show("dump", &a);
	box_copy_upper(&x, &y);
	a = box_restore(&y, 4);
	if (a.err.code != ERR_OK)
		fail_msg("restore: %s", a.err.msg);
	printf("  %-9s took %7.1f ms: criu %7.1f (forking %.1f), %llu pages\n", "restore", ms(a.restored.took_ns),
	       ms(a.restored.restore_ns), ms(a.restored.forking_ns), (unsigned long long)a.restored.pages_restored);
	began = clock_mono_ns();
	box_remove(&x);
	printf("  %-9s took %7.1f ms\n", "remove", ms(clock_mono_ns() - began));
	box_remove(&y);
	box_fini(&x);
	box_fini(&y);
	file_remove_tree(images, NULL);
}

static char **sizes;

static void all(void **state)
{
	const char *why;

	if (!exec_can_checkpoint(bed.e, &why))
		fail_msg("this node cannot: %s", why);
	for (char **s = sizes; *s; s++)
		measure((unsigned)atoi(*s));
}

int main(int argc, char **argv)
{
	static char *defaults[] = {"1", "200", NULL};
	const struct CMUnitTest tests[] = {cmocka_unit_test(all)};
	int r;

	setvbuf(stdout, NULL, _IOLBF, 0);
	sizes = argc > 1 ? argv + 1 : defaults;
	bed_open(&bed);
	space_open(&here, &bed, "here");
	space_open(&there, &bed, "there");
	r = cmocka_run_group_tests(tests, NULL, NULL);
	space_close(&here);
	space_close(&there);
	bed_close(&bed);
	return r;
}
