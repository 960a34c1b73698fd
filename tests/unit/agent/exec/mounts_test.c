#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/exec/mounts.h"
#include "common/error.h"
#include "common/mem.h"

#include <string.h>

static pb_mount *add(pb_container_spec *spec, int type, const char *source, const char *target)
{
	pb_mount *m = pb_new(&skein__mount__descriptor);

	m->type = (Skein__MountType)type;
	pb_set_str(&m->source, source);
	pb_set_str(&m->target, target);
	pb_msgs_add(&spec->n_mounts, &spec->mounts, m);
	return m;
}

static int plan(const pb_container_spec *spec, char *const *volumes, struct mount_plan *ret,
		struct error *err)
{
	_cleanup_pb_ pb_task *task = pb_new(&skein__task__descriptor);
	const struct template_values values = {task, "n", "h", "x"};

	pb_set_str(&task->service_name, "web");
	return mounts_plan(spec, volumes, &values, "/vol", "/anon", ret, err);
}

static void clean_paths(void **state)
{
	static const char *const rows[][2] = {{"/", "/"},	    {"/a//b/./c/", "/a/b/c"},
					      {"/a/../../b", "/b"}, {"/..", "/"},
					      {"/a/b/..", "/a"},    {"//", "/"},
					      {"/...", "/..."}};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_free_ char *got = mounts_clean_path(rows[i][0]);

		assert_string_equal(got, rows[i][1]);
	}
	assert_null(mounts_clean_path("a/b"));
	assert_null(mounts_clean_path(""));
}

static void parents_come_first(void **state)
{
	_cleanup_pb_ pb_container_spec *spec = pb_new(&skein__container_spec__descriptor);
	_cleanup_(mount_plan_fini) struct mount_plan p = {0};
	char *volumes[] = {"/a", "/data", "/data/", NULL};

	add(spec, MOUNT_BIND, "/src", "/a/b/c")->read_only = true;
	add(spec, MOUNT_VOLUME, "{{.Service.Name}}-v", "/a");
	add(spec, MOUNT_TMPFS, "", "/a/b");
	assert_int_equal(plan(spec, volumes, &p, NULL), 0);
	assert_int_equal(p.n, 4); /* /a is mounted already, /data once */
	assert_string_equal(p.items[0].target, "/a");
	assert_string_equal(p.items[0].source, "/vol/web-v/_data");
	assert_true(p.items[0].copy_up);
	assert_string_equal(p.items[1].target, "/data");
	assert_true(str_starts(p.items[1].source, "/anon/"));
	assert_string_equal(p.items[2].target, "/a/b");
	assert_string_equal(p.items[3].target, "/a/b/c");
	assert_true(strv_has(&p.items[3].options, "ro"));
	assert_true(strv_has(&p.items[3].options, "rprivate"));
}

static void refused(void **state)
{
	static const struct {
		int type;
		const char *source, *target, *propagation, *says;
	} rows[] = {
		{SKEIN__MOUNT_TYPE__MOUNT_BIND, "rel", "/t", "", "rel"},
		{SKEIN__MOUNT_TYPE__MOUNT_BIND, "/s", "t", "", "\"t\""},
		{SKEIN__MOUNT_TYPE__MOUNT_BIND, "/s", "/", "", "other than /"},
		{SKEIN__MOUNT_TYPE__MOUNT_BIND, "/s", "/x/..", "", "other than /"},
		{SKEIN__MOUNT_TYPE__MOUNT_BIND, "/s", "/t", "often", "often"},
		{SKEIN__MOUNT_TYPE__MOUNT_VOLUME, "../up", "/t", "", "../up"},
		{SKEIN__MOUNT_TYPE__MOUNT_VOLUME, ".hidden", "/t", "", ".hidden"},
		{SKEIN__MOUNT_TYPE__MOUNT_VOLUME, "a/b", "/t", "", "a/b"},
		{SKEIN__MOUNT_TYPE__MOUNT_VOLUME, "{{.No}}", "/t", "", ".No"},
		{77, "", "/t", "", "77"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		_cleanup_pb_ pb_container_spec *spec = pb_new(&skein__container_spec__descriptor);
		struct mount_plan p = {0};
		struct error err = ERROR_INIT;

		pb_set_str(&add(spec, rows[i].type, rows[i].source, rows[i].target)->propagation,
			   rows[i].propagation);
		assert_int_equal(plan(spec, NULL, &p, &err), -1);
		assert_int_equal(err.code, ERR_INVALID);
		assert_non_null(strstr(err.msg, rows[i].says));
	}
}

static void twice_the_same_target(void **state)
{
	_cleanup_pb_ pb_container_spec *spec = pb_new(&skein__container_spec__descriptor);
	struct mount_plan p = {0};
	struct error err = ERROR_INIT;

	add(spec, MOUNT_TMPFS, "", "/t");
	add(spec, MOUNT_TMPFS, "", "/t/");
	assert_int_equal(plan(spec, NULL, &p, &err), -1);
	assert_non_null(strstr(err.msg, "/t is given twice"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clean_paths),
		cmocka_unit_test(parents_come_first),
		cmocka_unit_test(refused),
		cmocka_unit_test(twice_the_same_target),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
