#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/exec/checkpoint_int.h"
#include "agent/exec/criu.h"
#include "common/error.h"
#include "common/mem.h"

#include <string.h>

static char *join(const struct strv *v)
{
	struct strbuf out = {0};

	for (size_t i = 0; i < v->n; i++)
		strbuf_printf(&out, "%s%s", i ? " " : "", v->v[i]);
	return strbuf_take(&out);
}

#define COMMON                                                                                                             \
	"--freeze-cgroup /sys/fs/cgroup/skein/t --timeout 10 --manage-cgroups=ignore --tcp-established --network-lock "     \
	"nftables --file-locks"

static void predump(void **state)
{
	_cleanup_strv_ struct strv argv = {0};
	_cleanup_free_ char *line = NULL;
	struct criu_dump d = {
		.criu = "criu",
		.pid = 17,
		.cgroup_dir = "/sys/fs/cgroup/skein/t",
		.images = "/m/2",
		.parent = "/m/1",
		.work_dir = "/w",
		.pages = true,
		.pre = true,
	};

	criu_dump_args(&argv, &d);
	line = join(&argv);
	assert_string_equal(line, "criu pre-dump --tree 17 --images-dir /m/2 --work-dir /w --log-file dump.log -v2 "
				  "--prev-images-dir ../1 --page-server --ps-socket 3 " COMMON " --track-mem");
}

static void dump_names_what_is_outside(void **state)
{
	json_t *config = json_loads(
		"{\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\"},"
		"{\"destination\":\"/etc/hosts\",\"type\":\"bind\",\"source\":\"/a/etc/hosts\"},"
		"{\"destination\":\"/data\",\"type\":\"bind\",\"source\":\"/v\"}],"
		"\"linux\":{\"namespaces\":[{\"type\":\"pid\"},{\"type\":\"network\",\"path\":\"/run/n\"}]}}",
		0, NULL);
	char *files[] = {"/proc/kcore", NULL}, *dirs[] = {"/proc/acpi", NULL};
	const struct strv masked_files = {.v = files, .n = 1}, masked_dirs = {.v = dirs, .n = 1};
	_cleanup_strv_ struct strv argv = {0};
	_cleanup_free_ char *line = NULL;
	struct criu_dump d = {
		.criu = "criu",
		.pid = 17,
		.cgroup_dir = "/sys/fs/cgroup/skein/t",
		.images = "/m/1",
		.work_dir = "/w",
		.config = config,
		.masked_files = &masked_files,
		.masked_dirs = &masked_dirs,
		.rootfs = "/r",
		.netns_inode = 99,
	};

	assert_string_equal(criu_netns_path(config), "/run/n");
	criu_dump_args(&argv, &d);
	line = join(&argv);
	assert_string_equal(
		line,
		"criu dump --tree 17 --images-dir /m/1 --work-dir /w --log-file dump.log -v2 " COMMON
		" --leave-running --ghost-limit 64M --root /r --external net[99]:extRootNetNS"
		" --external mnt[/etc/hosts]:/etc/hosts --external mnt[/data]:/data"
		" --external mnt[/proc/kcore]:/dev/null --external mnt[/proc/acpi]:skein-empty"
		" --external mnt[/dev/null]:/dev/null --external mnt[/dev/zero]:/dev/zero --external mnt[/dev/full]:/dev/full"
		" --external mnt[/dev/tty]:/dev/tty --external mnt[/dev/random]:/dev/random"
		" --external mnt[/dev/urandom]:/dev/urandom");
	json_decref(config);
}

/* As criu 3.17.1 wrote it for the group /skein/src. */
static const char image[] = "\x19\x43VT038Y\x1a\0\0\0\n\x14\x08\x02\x12\x10\n\0\x12\n/skein/src\x18\n\x12\x02\n\0";

static void cgroup_is_moved(void **state)
{
	_cleanup_free_ void *moved = NULL, *again = NULL;
	struct error err = ERROR_INIT;
	size_t len, again_len;

	assert_int_equal(criu_cgroup_image(image, sizeof(image) - 1, "/other/longer-id", &moved, &len, &err), 0);
	assert_int_equal(len, sizeof(image) - 1 + 6);
	assert_memory_equal(moved, image, 8);
	assert_non_null(memmem(moved, len, "/other/longer-id\x18\x10", 18));
	assert_null(memmem(moved, len, "/skein", 6));
	/* Once more, and back: the same as before. */
	assert_int_equal(criu_cgroup_image(moved, len, "/skein/src", &again, &again_len, &err), 0);
	assert_int_equal(again_len, sizeof(image) - 1);
	assert_memory_equal(again, image, sizeof(image) - 1);
}

static void damaged_cgroup_images(void **state)
{
	char bad[sizeof(image)];
	struct error err = ERROR_INIT;
	void *moved;
	size_t len;

	for (size_t cut = 0; cut < sizeof(image) - 1; cut++)
		assert_int_equal(criu_cgroup_image(image, cut, "/g", &moved, &len, &err), -1);
	memcpy(bad, image, sizeof(image));
	bad[0] = 0;
	assert_int_equal(criu_cgroup_image(bad, sizeof(image) - 1, "/g", &moved, &len, &err), -1);
	memcpy(bad, image, sizeof(image));
	bad[33] = 0x7f; /* the prefix is longer than the path */
	assert_int_equal(criu_cgroup_image(bad, sizeof(image) - 1, "/g", &moved, &len, &err), -1);
	assert_string_equal(err.msg, "cgroup.img names no container's control group");
}

static void events(void **state)
{
	bool frozen = false;

	assert_int_equal(freeze_parse_events("populated 1\nfrozen 1\n", &frozen), 0);
	assert_true(frozen);
	assert_int_equal(freeze_parse_events("frozen 0\npopulated 1\n", &frozen), 0);
	assert_false(frozen);
	assert_int_equal(freeze_parse_events("populated 1\n", &frozen), -1);
	assert_int_equal(freeze_parse_events("", &frozen), -1);
	assert_int_equal(freeze_parse_events("frozen ", &frozen), -1);
}

static void marks(void **state)
{
	static const struct {
		const char *text;
		struct checkpoint_mark want;
	} rows[] = {
		{"{\"boot_id\":\"b\",\"frozen\":true,\"child\":0,\"child_start\":0}", {.frozen = true}},
		{"{\"boot_id\":\"b\",\"frozen\":false,\"child\":70,\"child_start\":9}", {.child = 70, .child_start = 9}},
		{"{\"boot_id\":\"before\",\"frozen\":true,\"child\":70,\"child_start\":9}", {0}}, /* another boot */
		{"{\"boot_id\":\"b\",\"frozen\":true,\"child\":1,\"child_start\":9}", {0}},
		{"{\"boot_id\":\"b\",\"frozen\":true,\"child\":-5,\"child_start\":9}", {0}},
		{"{\"boot_id\":\"b\",\"frozen\":1,\"child\":5,\"child_start\":9}", {0}},
		{"{", {0}},
		{"", {0}},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct checkpoint_mark got;

		checkpoint_mark_parse(rows[i].text, strlen(rows[i].text), "b", &got);
		assert_int_equal(got.frozen, rows[i].want.frozen);
		assert_int_equal(got.child, rows[i].want.child);
		assert_int_equal(got.child_start, rows[i].want.child_start);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(predump),
		cmocka_unit_test(dump_names_what_is_outside),
		cmocka_unit_test(cgroup_is_moved),
		cmocka_unit_test(damaged_cgroup_images),
		cmocka_unit_test(events),
		cmocka_unit_test(marks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
