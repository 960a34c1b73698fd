#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/metrics/cgroup_parse.h"
#include "agent/metrics/cgroup_reader.h"
#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct text {
	const char *file, *text;
};

/* As a container's group on Linux 6.1 has them (shortened where nothing is read). */
static const struct text v2[] = {
	{"cpu.stat", "usage_usec 5123456\nuser_usec 4000000\nsystem_usec 1123456\ncore_sched.force_idle_usec 0\n"
		     "nr_periods 120\nnr_throttled 7\nthrottled_usec 350000\nnr_bursts 0\nburst_usec 0\n"},
	{"memory.current", "104857600\n"},
	{"memory.stat", "anon 41943040\nfile 52428800\nkernel 8388608\nkernel_stack 65536\nanon_thp 0\nfile_mapped 1\nfile_dirty 2\n"
			"inactive_anon 41900000\nactive_anon 43040\ninactive_file 20971520\nactive_file 31457280\npgfault 9001\npgmajfault 12\n"},
	{"memory.swap.current", "4096\n"},
	{"memory.events", "low 0\nhigh 0\nmax 31\noom 3\noom_kill 2\noom_group_kill 0\n"},
	{"pids.current", "17\n"},
	{"io.stat", "8:0 rbytes=4096 wbytes=8192 rios=1 wios=2 dbytes=0 dios=0\n254:0 rbytes=1000 wbytes=0 rios=10 wios=0 dbytes=5 dios=1\n"},
	{"cpu.pressure", "some avg10=0.10 avg60=0.00 avg300=0.00 total=123456\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1000\n"},
	{"memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=5\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=4\n"},
	{"io.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=7000000\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=6000000\n"},
};

static const struct text v1[] = {
	{"cpuacct.usage", "5123456789\n"},
	{"cpuacct.stat", "user 400\nsystem 112\n"},
	{"cpu.stat", "nr_periods 120\nnr_throttled 7\nthrottled_time 350000000\nwait_sum 1\n"},
	{"memory.usage_in_bytes", "104857600\n"},
	{"memory.stat", "cache 1\nrss 2\nrss_huge 0\nswap 3\npgpgin 9\npgfault 4\npgmajfault 5\ninactive_file 6\nhierarchical_memory_limit 9\n"
			"total_cache 52428800\ntotal_rss 41943040\ntotal_swap 4096\ntotal_pgfault 9001\ntotal_pgmajfault 12\n"
			"total_inactive_file 20971520\n"},
	{"memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"},
	{"pids.current", "17\n"},
	{"blkio.throttle.io_service_bytes", "8:0 Read 4096\n8:0 Write 8192\n8:0 Sync 1\n8:0 Async 1\n8:0 Total 12288\n"
					    "254:0 Read 1000\n254:0 Write 0\n254:0 Total 1000\nTotal 13288\n"},
	{"blkio.throttle.io_serviced", "8:0 Read 1\n8:0 Write 2\n8:0 Total 3\n254:0 Read 10\n254:0 Write 0\n254:0 Total 10\nTotal 13\n"},
};

static const char *text_of(const struct text *texts, size_t n, const char *file)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(texts[i].file, file) == 0)
			return texts[i].text;
	}
	fail_msg("no fixture of %s", file);
	return NULL;
}

static void parse(const struct usage_file *files, const struct text *texts, size_t n, struct usage *u)
{
	memset(u, 0, sizeof(*u));
	for (; files->name; files++)
		files->parse(text_of(texts, n, files->name), u);
}

static void assert_common(const struct usage *u)
{
	assert_int_equal(u->periods, 120);
	assert_int_equal(u->throttled_periods, 7);
	assert_int_equal(u->throttled_ns, 350000000);
	assert_int_equal(u->mem_bytes, 104857600);
	assert_int_equal(u->rss_bytes, 41943040);
	assert_int_equal(u->cache_bytes, 52428800);
	assert_int_equal(usage_working_set(u), 104857600 - 20971520);
	assert_int_equal(u->swap_bytes, 4096);
	assert_int_equal(u->faults, 9001);
	assert_int_equal(u->major_faults, 12);
	assert_int_equal(u->oom_kills, 2);
	assert_int_equal(u->pids, 17);
	assert_int_equal(u->read_bytes, 5096);
	assert_int_equal(u->written_bytes, 8192);
	assert_int_equal(u->reads, 11);
	assert_int_equal(u->writes, 2);
}

static void version_2(void **state)
{
	struct usage u;

	parse(usage_files_v2, v2, ARRAY_SIZE(v2), &u);
	assert_common(&u);
	assert_int_equal(u.have, (USAGE_PSI_IO << 1) - 1);
	assert_int_equal(u.cpu_ns, 5123456000);
	assert_int_equal(u.cpu_user_ns, 4000000000);
	assert_int_equal(u.cpu_system_ns, 1123456000);
	assert_int_equal(u.psi_cpu.some_us, 123456);
	assert_int_equal(u.psi_cpu.full_us, 1000);
	assert_int_equal(u.psi_memory.full_us, 4);
	assert_int_equal(u.psi_io.some_us, 7000000);
}

static void version_1(void **state)
{
	struct usage u;

	parse(usage_files_v1, v1, ARRAY_SIZE(v1), &u);
	assert_common(&u);
	assert_int_equal(u.have, USAGE_PSI_CPU - 1);
	assert_int_equal(u.cpu_ns, 5123456789);
	assert_int_equal(u.cpu_user_ns, 400 * (1000000000 / sysconf(_SC_CLK_TCK)));
}

/* Whatever an older or stranger kernel says: what is not there is not said to be there. */
static void less_than_expected(void **state)
{
	static const char *const texts[] = {"", "\n", "garbage", "usage_usec", "usage_usec \n", "some avg10=", "anon 1\nfile 2\n", "Total", ":::\n"};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		struct usage u = {0};

		for (const struct usage_file *f = usage_files_v2; f->name; f++)
			f->parse(texts[i], &u);
		for (const struct usage_file *f = usage_files_v1; f->name; f++)
			f->parse(texts[i], &u);
		assert_int_equal(u.have & ~(unsigned)(USAGE_IO | USAGE_IO_COUNT), 0);
	}
}

static void working_set_is_never_negative(void **state)
{
	const struct usage u = {.mem_bytes = 10, .inactive_file_bytes = 20};

	assert_int_equal(usage_working_set(&u), 0);
}

/* ---- files */

static void put(const char *dir, const char *name, const char *text)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	FILE *f = fopen(path, "w");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void read_again_without_opening(void **state)
{
	char root[] = "/tmp/skein-cgroup-XXXXXX";
	_cleanup_free_ char *dir = NULL;
	struct cgroup_reader r = {0};
	struct usage u;

	assert_non_null(mkdtemp(root));
	dir = xasprintf("%s/skein/t1", root);
	assert_false(cgroup_reader_open(&r, CGROUP_V2, root, "/skein/t1"));
	assert_int_equal(file_mkdirs(dir, 0755, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(v2); i++)
		put(dir, v2[i].file, v2[i].text);
	assert_true(cgroup_reader_open(&r, CGROUP_V2, root, "/skein/t1"));
	assert_true(cgroup_reader_read(&r, &u));
	assert_common(&u);
	put(dir, "pids.current", "18\n");
	assert_true(cgroup_reader_read(&r, &u));
	assert_int_equal(u.pids, 18);
	cgroup_reader_close(&r);
	assert_false(cgroup_reader_read(&r, &u));
	assert_int_equal(file_remove_tree(root, NULL), 0);
}

static void version_1_has_a_tree_per_controller(void **state)
{
	static const char *const controllers[] = {"cpuacct", "cpu", "memory", "pids", "blkio"};
	char root[] = "/tmp/skein-cgroup-XXXXXX";
	struct cgroup_reader r = {0};
	struct usage u;

	assert_non_null(mkdtemp(root));
	for (size_t i = 0; i < ARRAY_SIZE(controllers); i++) {
		_cleanup_free_ char *dir = xasprintf("%s/%s/skein/t1", root, controllers[i]);

		assert_int_equal(file_mkdirs(dir, 0755, NULL), 0);
		for (const struct usage_file *f = usage_files_v1; f->name; f++) {
			if (strcmp(f->controller, controllers[i]) == 0)
				put(dir, f->name, text_of(v1, ARRAY_SIZE(v1), f->name));
		}
	}
	assert_true(cgroup_reader_open(&r, CGROUP_V1, root, "/skein/t1"));
	assert_true(cgroup_reader_read(&r, &u));
	assert_common(&u);
	cgroup_reader_close(&r);
	assert_int_equal(file_remove_tree(root, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(version_2), cmocka_unit_test(version_1), cmocka_unit_test(less_than_expected),
		cmocka_unit_test(working_set_is_never_negative), cmocka_unit_test(read_again_without_opening),
		cmocka_unit_test(version_1_has_a_tree_per_controller),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
