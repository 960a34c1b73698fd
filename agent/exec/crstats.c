#include "agent/exec/crstats.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include "criu_stats.pb-c.h"

#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define MAGIC_SERVICE 0x55105940u
#define MAGIC_STATS 0x57093306u
#define LINE_MAX_LEN 300
#define NS_PER_US INT64_C(1000)

/* ---------------------------------------------------------------- statistics */

static uint32_t u32_at(const void *data, size_t offset)
{
	uint32_t n;

	memcpy(&n, (const char *)data + offset, sizeof(n)); /* of this machine's byte order */
	return n;
}

static Criu__Stats *unpack(const void *data, size_t len, struct error *err)
{
	Criu__Stats *stats = NULL;

	if (len >= 12 && u32_at(data, 0) == MAGIC_SERVICE && u32_at(data, 4) == MAGIC_STATS &&
	    u32_at(data, 8) == len - 12)
		stats = criu__stats__unpack(NULL, len - 12, (const uint8_t *)data + 12);
	if (!stats)
		error_set(err, ERR_DATA_LOSS, "criu's statistics are damaged (%zu bytes)", len);
	return stats;
}

int crstats_dump(const void *data, size_t len, struct checkpoint_stats *ret, struct error *err)
{
	Criu__Stats *stats = unpack(data, len, err);
	const Criu__DumpStats *dump = stats ? stats->dump : NULL;

	if (dump) {
		ret->freezing_ns = dump->freezing_time * NS_PER_US;
		ret->frozen_ns = dump->frozen_time * NS_PER_US;
		ret->memdump_ns = dump->memdump_time * NS_PER_US;
		ret->memwrite_ns = dump->memwrite_time * NS_PER_US;
		ret->pages_scanned = dump->pages_scanned;
		ret->pages_unchanged = dump->pages_skipped_parent;
		ret->pages_written = dump->pages_written;
		ret->page_bytes = (uint64_t)sysconf(_SC_PAGESIZE);
	} else if (stats) {
		error_set(err, ERR_DATA_LOSS, "criu's statistics are not of a dump");
	}
	criu__stats__free_unpacked(stats, NULL);
	return dump ? 0 : -1;
}

int crstats_restore(const void *data, size_t len, struct restore_stats *ret, struct error *err)
{
	Criu__Stats *stats = unpack(data, len, err);
	const Criu__RestoreStats *restore = stats ? stats->restore : NULL;

	if (restore) {
		ret->forking_ns = restore->forking_time * NS_PER_US;
		ret->restore_ns = restore->restore_time * NS_PER_US;
		ret->pages_restored = restore->pages_restored;
	} else if (stats) {
		error_set(err, ERR_DATA_LOSS, "criu's statistics are not of a restore");
	}
	criu__stats__free_unpacked(stats, NULL);
	return restore ? 0 : -1;
}

/* ---------------------------------------------------------------- reasons */

/* What a part of criu's line (3.17.1) means. */
static const struct {
	const char *part, *words;
} meanings[] = {
	{"In-flight connection", "a client's connection waits to be accepted; try again when it is"},
	{"External socket", "a unix socket is connected to something outside the container"},
	{"name-less external socket", "a unix socket is connected to something outside the container"},
	{"Can't lookup mount", "a file from outside the container is open in it"},
	{"an external network namespace", "a socket belongs to another network namespace"},
	{"half-closed", "a TCP connection is being closed; try again when it is"},
	{"of that type", "a file is open of a kind that cannot be copied (io_uring, perf, bpf, a device)"},
	{"link remap", "a file is open whose name was removed while it has others"},
	{"increase limit", "a removed file is still open, and too large to be copied"},
	{"is a fuse mount", "a FUSE file system is mounted in the container"},
	{"autodetected external mount", "something of the host is mounted in the container"},
	{"unsupported id", "a file system is mounted in the container that cannot be copied"},
	{"unreachable sharing", "a mount of the container is shared with the host"},
	{"32-bit mode", "a process runs 32-bit code"},
	{"LDT descriptors", "a process uses LDT descriptors"},
	{"Dumping seccomp filters not supported", "the kernel cannot tell the seccomp filter"},
	{"Unsupported mapping", "a process has memory of a kind that cannot be copied (a device, io_uring)"},
	{"only dump root user", "a process has changed its user in a way that cannot be copied"},
	{"nested", "a process has namespaces of its own inside the container"},
	{"already being traced", "a process is being traced (a debugger)"},
	{"dangling tty", "a process holds a terminal of outside"},
	{"corked", "a UDP socket is corked"},
	{"Only stream, dgram and raw", "a socket is of a kind that cannot be copied"},
	{"Unsupported proto", "a socket is of a protocol that cannot be copied"},
	{"Unsupported socket", "a socket is of a kind that cannot be copied"},
	{"Unknown pair family", "a socket is of a family that cannot be copied"},
	{"netlink", "a netlink socket cannot be copied"},
	{"Control messages in queue", "descriptors are under way in a unix socket; try again"},
	{"Open files on overmounted", "an open file is hidden by a later mount"},
	{"fsnotify", "a watched file (inotify) cannot be found again"},
	{"Can't freeze", "the processes did not stand still in time"},
	{"page server", "the connection to the other host was lost"},
	{"page-xfer", "the connection to the other host was lost"},
	{"No space left on device", "no space left on the device"},
	{"No room", "no space left on the device"},
	{"has bad size", "a file is not the same here as it was there (its size)"},
	{"has bad mode", "a file is not the same here as it was there (its mode)"},
	{"Can't open file", "a file that was open there is missing here"},
	{"cpu: ", "this processor lacks something that the processes were using"},
	{"vdso", "this kernel is too new for this criu"},
};

/* Lines that only say that something has failed that said why itself. */
static const char *const followers[] = {
	"Dumping FAILED", "Restoring FAILED", "Pre-dumping FAILED", "dump failed",  "exited, status=",
	"killed by signal", "Can't dump misc", "Dump files (pid:", "Collecting", "Can't switch to",
	"Unexpected EOF", "Unable to receive", "inet: In-flight connections can be ignored",
	"Can't dump page with parasite",
};

/* No error: criu tries options of TCP on the unix socket that its pages go to. */
static const char harmless[] = "Unable to restore TCP_";

struct line {
	const char *text;
	int len;
};

/* "(00.123456) Error (criu/x.c:12): text" or "(00.1) pie: 1: Error (...): text": the text. */
static bool error_text(const char *line, size_t len, struct line *ret)
{
	const char *p = memmem(line, len, "Error (", 7), *end = line + len;

	p = p ? memmem(p, (size_t)(end - p), "): ", 3) : NULL;
	if (!p)
		return false;
	p += 3;
	*ret = (struct line){p, (int)MIN(end - p, (ptrdiff_t)LINE_MAX_LEN)};
	return ret->len > 0;
}

static bool has_part(const struct line *l, const char *part)
{
	return memmem(l->text, (size_t)l->len, part, strlen(part)) != NULL;
}

static const char *meaning(const struct line *l)
{
	for (size_t i = 0; i < ARRAY_SIZE(meanings); i++)
		if (has_part(l, meanings[i].part))
			return meanings[i].words;
	return NULL;
}

static bool follows(const struct line *l)
{
	for (size_t i = 0; i < ARRAY_SIZE(followers); i++)
		if (has_part(l, followers[i]))
			return true;
	return false;
}

/* From worst to best: 0 no error, 1 one that follows another, 2 an error, 3 one whose meaning is known. */
static int rank(const struct line *l)
{
	return has_part(l, harmless) ? 0 : follows(l) ? 1 : meaning(l) ? 3 : 2;
}

char *crstats_reason(const char *log, size_t len)
{
	struct line best = {0}, l;
	int best_rank = 0;

	for (const char *p = log, *end = log + len; p < end;) {
		const char *eol = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((eol ? eol : end) - p);

		/* Of equal ones the first: what comes behind is often its consequence. */
		if (error_text(p, n, &l) && rank(&l) > best_rank) {
			best = l;
			best_rank = rank(&l);
		}
		p += n + 1;
	}
	if (!best_rank)
		return NULL;
	if (best_rank == 3)
		return xasprintf("%s (criu: %.*s)", meaning(&best), best.len, best.text);
	return xasprintf("criu: %.*s", best.len, best.text);
}
