#include "agent/migrate/facts.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"
#include "common/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

#define CPUINFO_MAX (16u << 20)
#define FLAGS_MAX 2048

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Of the first processor: all of a host have the same. */
static void read_flags(ProtobufCBinaryData *ret)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_strv_ struct strv flags = {0};
	_cleanup_strbuf_ struct strbuf b = {0};
	char *line, *end, *save = NULL;

	if (file_read("/proc/cpuinfo", CPUINFO_MAX, &text, NULL, NULL) < 0)
		return;
	line = strstr(text, "\nflags");
	line = line ? strchr(line, ':') : NULL;
	end = line ? strchr(line, '\n') : NULL;
	if (!end)
		return;
	*end = '\0';
	for (char *w = strtok_r(line + 1, " \t", &save); w && flags.n < FLAGS_MAX; w = strtok_r(NULL, " \t", &save))
		strv_add(&flags, w);
	if (flags.n)
		qsort(flags.v, flags.n, sizeof(*flags.v), by_name);
	for (size_t i = 0; i < flags.n; i++)
		strbuf_printf(&b, "%s%s", i ? " " : "", flags.v[i]);
	ret->len = b.len;
	ret->data = b.len ? xmemdup(b.p, b.len) : NULL;
}

Skein__MoveFacts *facts_here(const char *criu)
{
	Skein__MoveFacts *f = pb_new(&skein__move_facts__descriptor);
	struct utsname host;

	uname(&host);
	pb_set_str(&f->kernel, host.release);
	pb_set_str(&f->arch, host.machine);
	pb_set_str(&f->criu, criu);
	f->clock = clock_wall_ns();
	read_flags(&f->cpu_flags);
	return f;
}

void facts_add_task(Skein__MoveFacts *facts, const pb_task *task)
{
	const pb_container_spec *c = task->spec->container;

	for (size_t i = 0; i < c->n_mounts; i++) {
		if (c->mounts[i]->type == MOUNT_BIND)
			pb_strs_add(&facts->n_paths, &facts->paths, c->mounts[i]->source);
	}
}

/* ---------------------------------------------------------------- compare */

static bool has_flag(const ProtobufCBinaryData *flags, const char *flag, size_t len)
{
	const char *p = (const char *)flags->data, *end = p + flags->len;

	while (p < end) {
		const char *space = memchr(p, ' ', (size_t)(end - p));
		size_t n = space ? (size_t)(space - p) : (size_t)(end - p);

		if (n == len && memcmp(p, flag, len) == 0)
			return true;
		p += n + 1;
	}
	return false;
}

/* A program has asked once what the processor can do, and goes on using it. */
static int compare_flags(const ProtobufCBinaryData *source, const ProtobufCBinaryData *target, struct error *err)
{
	_cleanup_strbuf_ struct strbuf missing = {0};
	const char *p = (const char *)source->data, *end = p + source->len;

	while (p < end) {
		const char *space = memchr(p, ' ', (size_t)(end - p));
		size_t n = space ? (size_t)(space - p) : (size_t)(end - p);

		if (n > 0 && missing.len < 200 && !has_flag(target, p, n))
			strbuf_printf(&missing, "%s%.*s", missing.len ? " " : "", (int)MIN(n, 32), p);
		p += n + 1;
	}
	if (missing.len)
		return error_set(err, ERR_PRECONDITION, "the target's processor lacks %s", missing.p);
	return 0;
}

/* "6.1" of "6.1.0-32-amd64" */
static bool same_series(const char *a, const char *b)
{
	int a_major = 0, a_minor = 0, b_major = -1, b_minor = -1;

	return sscanf(a, "%d.%d", &a_major, &a_minor) == 2 && sscanf(b, "%d.%d", &b_major, &b_minor) == 2 &&
	       a_major == b_major && a_minor == b_minor;
}

static int compare_room(const Skein__MoveFacts *source, const struct facts_target *more, struct error *err)
{
	char need[STR_HUMAN_MAX], have[STR_HUMAN_MAX];

	if (source->memory_bytes > more->free_memory)
		return error_set(err, ERR_PRECONDITION, "the container uses %s of memory, the target has %s free",
				 str_bytes_human((int64_t)source->memory_bytes, need), str_bytes_human((int64_t)more->free_memory, have));
	if (source->file_bytes > more->free_disk)
		return error_set(err, ERR_PRECONDITION, "the container's files take %s, the target has %s free",
				 str_bytes_human((int64_t)source->file_bytes, need), str_bytes_human((int64_t)more->free_disk, have));
	return 0;
}

int facts_compare(const Skein__MoveFacts *source, const Skein__MoveFacts *target, const struct facts_target *more, struct error *err)
{
	int64_t apart = target->clock - source->clock;
	char text[STR_HUMAN_MAX];

	if (!str_eq(source->arch, target->arch))
		return error_set(err, ERR_PRECONDITION, "the source is %.32s, the target %.32s", source->arch, target->arch);
	if (!same_series(source->kernel, target->kernel))
		return error_set(err, ERR_PRECONDITION, "the source's kernel is %.64s, the target's %.64s: only the same series goes",
				 source->kernel, target->kernel);
	if (!str_eq(source->criu, target->criu))
		return error_set(err, ERR_PRECONDITION, "the source has criu %.32s, the target %.32s", source->criu, target->criu);
	if (compare_flags(&source->cpu_flags, &target->cpu_flags, err) < 0)
		return -1;
	if (apart > FACTS_CLOCK_NS || apart < -FACTS_CLOCK_NS)
		return error_set(err, ERR_PRECONDITION, "the clocks of source and target are %s apart, accepted are 5s",
				 str_duration_human(apart < 0 ? -apart : apart, text));
	for (size_t i = 0; i < source->n_paths; i++) {
		if (!more->exists(source->paths[i]))
			return error_set(err, ERR_PRECONDITION, "the target has no %.200s, which is mounted into the container",
					 source->paths[i]);
	}
	for (size_t i = 0; i < source->n_devices; i++) {
		if (!more->exists(source->devices[i]))
			return error_set(err, ERR_PRECONDITION, "the target has no device %.200s", source->devices[i]);
	}
	return compare_room(source, more, err);
}

uint64_t facts_parse_available(const char *meminfo)
{
	const char *line = strstr(meminfo, "MemAvailable:");

	return line ? strtoull(line + strlen("MemAvailable:"), NULL, 10) * 1024 : 0;
}
