/*
 * cgroup_parse - what the kernel says about a control group, out of its files' texts. v2 and v1. Pure.
 *
 * A file that is not there, or says less (older kernels), leaves what it would have said unset: `have` tells.
 * Source: kernel documentation, admin-guide/cgroup-v2.rst, admin-guide/cgroup-v1/, accounting/psi.rst.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum usage_part {
	USAGE_CPU = 1 << 0,
	USAGE_THROTTLING = 1 << 1,
	USAGE_MEMORY = 1 << 2,      /* of it: usage */
	USAGE_MEMORY_STAT = 1 << 3, /* of it: rss, cache, working set, faults */
	USAGE_SWAP = 1 << 4,
	USAGE_OOM = 1 << 5,
	USAGE_PIDS = 1 << 6,
	USAGE_IO = 1 << 7,
	USAGE_IO_COUNT = 1 << 8,
	USAGE_PSI_CPU = 1 << 9,
	USAGE_PSI_MEMORY = 1 << 10,
	USAGE_PSI_IO = 1 << 11,
};

struct psi {
	uint64_t some_us, full_us; /* totals: some waited; nobody got on */
};

struct usage {
	unsigned have; /* of enum usage_part */
	uint64_t cpu_ns, cpu_user_ns, cpu_system_ns;
	uint64_t periods, throttled_periods, throttled_ns;
	uint64_t mem_bytes, rss_bytes, cache_bytes, inactive_file_bytes, swap_bytes;
	uint64_t faults, major_faults, oom_kills;
	uint64_t pids;
	uint64_t read_bytes, written_bytes, reads, writes; /* block devices, all of them together */
	struct psi psi_cpu, psi_memory, psi_io;
};

/* One file of a group. */
struct usage_file {
	const char *controller; /* v1: the hierarchy; NULL on v2 */
	const char *name;       /* "memory.stat" */
	/* text is NUL-terminated. */
	void (*parse)(const char *text, struct usage *u);
};
extern const struct usage_file usage_files_v2[], usage_files_v1[]; /* end with a NULL name */
#define USAGE_FILES_MAX 12

/* memory.current less what the kernel can take back at once (inactive file pages), as the kubelet and Docker count. */
uint64_t usage_working_set(const struct usage *u);
