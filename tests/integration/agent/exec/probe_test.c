/* Runtimes that are missing or broken, and an engine that is closed in the middle of its probe. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/exec_fixture.h"

static struct bed bed;

static int setup(void **state)
{
	bed_open(&bed);
	return 0;
}

static int teardown(void **state)
{
	bed_close(&bed);
	return 0;
}

static void restart_with(const char *runtime)
{
	if (bed.e)
		bed_stop_engine(&bed);
	bed.runtime = runtime;
	bed_start_engine(&bed);
}

static void refuses(const char *runtime, const char *says)
{
	_cleanup_pb_ pb_node_description *desc = pb_new(&skein__node_description__descriptor);
	struct box x;

	restart_with(runtime);
	assert_int_equal(bed.err.code, ERR_UNAVAILABLE);
	assert_non_null(strstr(bed.err.msg, says));
	exec_features(bed.e, desc);
	assert_string_equal(pb_kv_get(desc->features, desc->n_features, "runtime"), "none");

	box_init(&x, &bed, "true");
	box_create(&x);
	assert_int_equal(x.err.code, ERR_UNAVAILABLE);
	assert_non_null(strstr(x.err.msg, says));
	assert_null(x.c);
	box_fini(&x);
}

static void missing_runtime(void **state)
{
	refuses("/no/such/runtime", "/no/such/runtime: not installed");
	refuses("no-such-runtime", "not installed");
}

static void broken_runtime(void **state)
{
	refuses("/bin/false", "/bin/false");
	refuses("/bin/true", "/bin/true"); /* does not run anything either */
}

/* It is found once it is there. */
static void probed_again(void **state)
{
	_cleanup_free_ char *link = xasprintf("%s/runtime", bed.dir);
	struct box x;

	restart_with(link);
	assert_int_equal(bed.err.code, ERR_UNAVAILABLE);
	if (symlink("/usr/sbin/runc", link) < 0)
		fail_msg("symlink %s: %s", link, strerror(errno));

	/* Who asks while it is under way gets the same answer. */
	bed.ready = false;
	exec_probe(bed.e, bed_on_ready, &bed);
	exec_probe(bed.e, NULL, NULL);
	bed_wait(&bed, bed.ready);
	assert_string_equal(bed.err.msg, "");
	box_init(&x, &bed, "echo works");
	box_expect(&x, "works\n");
	box_fini(&x);
	bed_stop_engine(&bed);
}

static void not_after_close(void *data, const struct error *err)
{
	assert_false(*(bool *)data);
}

static void closed_while_probing(void **state)
{
	if (bed.e)
		bed_stop_engine(&bed);
	for (int turns = 0; turns < 12; turns++) {
		const struct exec_options options = {.loop = &bed.loop,
						     .state_dir = bed.state,
						     .run_dir = bed.run,
						     .cgroup_parent = bed.parent};
		bool closing = false;

		bed.closed = false;
		bed.e = exec_new(&options, not_after_close, &closing);
		for (int i = 0; i < turns; i++)
			uv_run(&bed.loop, UV_RUN_ONCE);
		closing = true;
		bed_stop_engine(&bed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(missing_runtime),
		cmocka_unit_test(broken_runtime),
		cmocka_unit_test(probed_again),
		cmocka_unit_test(closed_while_probing),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
