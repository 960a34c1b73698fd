#include "cgroup_parse.h"

#include "common/mem.h"

#include <string.h>
#include <unistd.h>

/* ---------------------------------------------------------------- "key value" lines */

struct key {
	const char *name;
	uint8_t len;
	uint16_t offset;     /* in struct usage */
	uint32_t scale;      /* what the value is multiplied by */
};
#define KEY(name, field, scale) {name, sizeof(name) - 1, offsetof(struct usage, field), scale}

static const char *number(const char *p, uint64_t *ret)
{
	uint64_t v = 0;

	while (*p >= '0' && *p <= '9')
		v = v * 10 + (uint64_t)(*p++ - '0');
	*ret = v;
	return p;
}

/* Number of keys that were there. */
static unsigned parse_keys(const char *text, const struct key *keys, size_t n, struct usage *u)
{
	unsigned found = 0;

	for (const char *line = text, *end; *line; line = end + (*end == '\n')) {
		end = strchrnul(line, '\n');
		for (size_t i = 0; i < n; i++) {
			uint64_t *value = (uint64_t *)((char *)u + keys[i].offset);

			if (strncmp(line, keys[i].name, keys[i].len) != 0 || line[keys[i].len] != ' ')
				continue;
			number(line + keys[i].len + 1, value);
			*value *= keys[i].scale;
			found++;
			break;
		}
	}
	return found;
}

static void set_if(struct usage *u, bool found, enum usage_part part)
{
	if (found)
		u->have |= part;
}

static bool is_number(const char *text)
{
	return *text >= '0' && *text <= '9';
}

/* ---------------------------------------------------------------- both */

static void parse_pids(const char *text, struct usage *u)
{
	number(text, &u->pids);
	set_if(u, is_number(text), USAGE_PIDS);
}

static void parse_mem_usage(const char *text, struct usage *u)
{
	number(text, &u->mem_bytes);
	set_if(u, is_number(text), USAGE_MEMORY);
}

/* ---------------------------------------------------------------- v2 */

static void parse_cpu_stat(const char *text, struct usage *u)
{
	static const struct key cpu[] = {
		KEY("usage_usec", cpu_ns, 1000), KEY("user_usec", cpu_user_ns, 1000), KEY("system_usec", cpu_system_ns, 1000),
	};
	static const struct key throttling[] = {
		KEY("nr_periods", periods, 1), KEY("nr_throttled", throttled_periods, 1), KEY("throttled_usec", throttled_ns, 1000),
	};

	set_if(u, parse_keys(text, cpu, ARRAY_SIZE(cpu), u) == ARRAY_SIZE(cpu), USAGE_CPU);
	set_if(u, parse_keys(text, throttling, ARRAY_SIZE(throttling), u) == ARRAY_SIZE(throttling), USAGE_THROTTLING);
}

static void parse_memory_stat(const char *text, struct usage *u)
{
	static const struct key keys[] = {
		KEY("anon", rss_bytes, 1), KEY("file", cache_bytes, 1), KEY("inactive_file", inactive_file_bytes, 1),
		KEY("pgfault", faults, 1), KEY("pgmajfault", major_faults, 1),
	};

	set_if(u, parse_keys(text, keys, ARRAY_SIZE(keys), u) == ARRAY_SIZE(keys), USAGE_MEMORY_STAT);
}

static void parse_swap(const char *text, struct usage *u)
{
	number(text, &u->swap_bytes);
	set_if(u, is_number(text), USAGE_SWAP);
}

static void parse_memory_events(const char *text, struct usage *u)
{
	static const struct key keys[] = {KEY("oom_kill", oom_kills, 1)};

	set_if(u, parse_keys(text, keys, ARRAY_SIZE(keys), u) == 1, USAGE_OOM);
}

/* "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0" per device. */
static void parse_io_stat(const char *text, struct usage *u)
{
	static const struct {
		const char *name;
		uint8_t len;
		uint16_t offset;
	} fields[] = {
		{"rbytes=", 7, offsetof(struct usage, read_bytes)}, {"wbytes=", 7, offsetof(struct usage, written_bytes)},
		{"rios=", 5, offsetof(struct usage, reads)}, {"wios=", 5, offsetof(struct usage, writes)},
	};
	uint64_t v;

	/* A file without lines: nothing was read or written yet. */
	u->have |= USAGE_IO | USAGE_IO_COUNT;
	for (const char *p = text; (p = strchr(p, ' ')); ) {
		p++;
		for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
			if (strncmp(p, fields[i].name, fields[i].len) != 0)
				continue;
			p = number(p + fields[i].len, &v);
			*(uint64_t *)((char *)u + fields[i].offset) += v;
			break;
		}
	}
}

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=12345", "full ..." */
static bool parse_psi(const char *text, struct psi *ret)
{
	const char *some = strstr(text, "some "), *full = strstr(text, "full ");
	const char *total;

	total = some ? strstr(some, "total=") : NULL;
	if (!total)
		return false;
	number(total + 6, &ret->some_us);
	total = full ? strstr(full, "total=") : NULL;
	if (total)
		number(total + 6, &ret->full_us);
	return true;
}

static void parse_psi_cpu(const char *text, struct usage *u)
{
	set_if(u, parse_psi(text, &u->psi_cpu), USAGE_PSI_CPU);
}

static void parse_psi_memory(const char *text, struct usage *u)
{
	set_if(u, parse_psi(text, &u->psi_memory), USAGE_PSI_MEMORY);
}

static void parse_psi_io(const char *text, struct usage *u)
{
	set_if(u, parse_psi(text, &u->psi_io), USAGE_PSI_IO);
}

const struct usage_file usage_files_v2[] = {
	{NULL, "cpu.stat", parse_cpu_stat},
	{NULL, "memory.current", parse_mem_usage},
	{NULL, "memory.stat", parse_memory_stat},
	{NULL, "memory.swap.current", parse_swap},
	{NULL, "memory.events", parse_memory_events},
	{NULL, "pids.current", parse_pids},
	{NULL, "io.stat", parse_io_stat},
	{NULL, "cpu.pressure", parse_psi_cpu},
	{NULL, "memory.pressure", parse_psi_memory},
	{NULL, "io.pressure", parse_psi_io},
	{0},
};

/* ---------------------------------------------------------------- v1 */

static void parse_cpuacct_usage(const char *text, struct usage *u)
{
	number(text, &u->cpu_ns);
	set_if(u, is_number(text), USAGE_CPU);
}

/* In ticks of the clock: 10 ms. */
static void parse_cpuacct_stat(const char *text, struct usage *u)
{
	const uint32_t tick_ns = (uint32_t)(1000000000 / sysconf(_SC_CLK_TCK));
	const struct key keys[] = {KEY("user", cpu_user_ns, tick_ns), KEY("system", cpu_system_ns, tick_ns)};

	parse_keys(text, keys, ARRAY_SIZE(keys), u);
}

static void parse_cpu_stat_v1(const char *text, struct usage *u)
{
	static const struct key keys[] = {
		KEY("nr_periods", periods, 1), KEY("nr_throttled", throttled_periods, 1), KEY("throttled_time", throttled_ns, 1),
	};

	set_if(u, parse_keys(text, keys, ARRAY_SIZE(keys), u) == ARRAY_SIZE(keys), USAGE_THROTTLING);
}

/* The totals include groups below, as v2's do. */
static void parse_memory_stat_v1(const char *text, struct usage *u)
{
	static const struct key keys[] = {
		KEY("total_rss", rss_bytes, 1), KEY("total_cache", cache_bytes, 1),
		KEY("total_inactive_file", inactive_file_bytes, 1), KEY("total_pgfault", faults, 1),
		KEY("total_pgmajfault", major_faults, 1),
	};
	static const struct key swap[] = {KEY("total_swap", swap_bytes, 1)};

	set_if(u, parse_keys(text, keys, ARRAY_SIZE(keys), u) == ARRAY_SIZE(keys), USAGE_MEMORY_STAT);
	set_if(u, parse_keys(text, swap, 1, u) == 1, USAGE_SWAP); /* only when swap is accounted */
}

/* "8:0 Read 4096" per device and kind, a total at the end. */
static bool parse_blkio(const char *text, uint64_t *ret_read, uint64_t *ret_write)
{
	uint64_t v;

	if (!strstr(text, "Total "))
		return false;
	for (const char *p = text; (p = strchr(p, ' ')); ) {
		p++;
		if (strncmp(p, "Read ", 5) == 0) {
			p = number(p + 5, &v);
			*ret_read += v;
		} else if (strncmp(p, "Write ", 6) == 0) {
			p = number(p + 6, &v);
			*ret_write += v;
		}
	}
	return true;
}

static void parse_blkio_bytes(const char *text, struct usage *u)
{
	set_if(u, parse_blkio(text, &u->read_bytes, &u->written_bytes), USAGE_IO);
}

static void parse_blkio_count(const char *text, struct usage *u)
{
	set_if(u, parse_blkio(text, &u->reads, &u->writes), USAGE_IO_COUNT);
}

const struct usage_file usage_files_v1[] = {
	{"cpuacct", "cpuacct.usage", parse_cpuacct_usage},
	{"cpuacct", "cpuacct.stat", parse_cpuacct_stat},
	{"cpu", "cpu.stat", parse_cpu_stat_v1},
	{"memory", "memory.usage_in_bytes", parse_mem_usage},
	{"memory", "memory.stat", parse_memory_stat_v1},
	{"memory", "memory.oom_control", parse_memory_events}, /* "oom_kill N" there, too */
	{"pids", "pids.current", parse_pids},
	{"blkio", "blkio.throttle.io_service_bytes", parse_blkio_bytes},
	{"blkio", "blkio.throttle.io_serviced", parse_blkio_count},
	{0},
};

uint64_t usage_working_set(const struct usage *u)
{
	return u->mem_bytes > u->inactive_file_bytes ? u->mem_bytes - u->inactive_file_bytes : 0;
}
