/* Runtimes that are missing or broken, and an engine that is closed in the middle of its probe. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/exec_fixture.h"

static void refuses(const char *runtime, const char *says)
{
	struct bed bed = {.runtime = runtime};
	_cleanup_pb_ pb_node_description *desc = pb_new(&skein__node_description__descriptor);
	struct box x;

	bed_open(&bed);
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
	bed_close(&bed);
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
	static char link[] = "/tmp/skein-test-runtime-XXXXXX";
	struct bed bed = {.runtime = link};
	struct box x;
	int fd = mkstemp(link);

	close(fd);
	unlink(link);
	bed_open(&bed);
	assert_int_equal(bed.err.code, ERR_UNAVAILABLE);
	if (access("/usr/sbin/runc", X_OK) == 0)
		assert_int_equal(symlink("/usr/sbin/runc", link), 0);
	else
		assert_int_equal(symlink("/usr/bin/crun", link), 0);

	/* Who asks while it is under way gets the same answer. */
	bed.ready = false;
	exec_probe(bed.e, bed_on_ready, &bed);
	exec_probe(bed.e, NULL, NULL);
	bed_wait(&bed, bed.ready);
	assert_string_equal(bed.err.msg, "");
	box_init(&x, &bed, "echo works");
	box_expect(&x, "works\n");
	box_fini(&x);
	unlink(link);
	bed_close(&bed);
}

static void not_after_close(void *data, const struct error *err)
{
	assert_false(*(bool *)data);
}

static void closed_while_probing(void **state)
{
	for (int turns = 0; turns < 12; turns++) {
		struct bed bed = {0};
		struct exec_options options;
		bool closing = false;

		bed_open(&bed);
		bed_stop_engine(&bed);
		options = (struct exec_options){.loop = &bed.loop, .state_dir = bed.state, .run_dir = bed.run,
						.cgroup_parent = bed.parent, .runtime = bed.runtime};
		bed.closed = false;
		bed.e = exec_new(&options, not_after_close, &closing);
		for (int i = 0; i < turns; i++)
			uv_run(&bed.loop, UV_RUN_ONCE);
		closing = true;
		bed_close(&bed);
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

	return cmocka_run_group_tests(tests, NULL, NULL);
}
