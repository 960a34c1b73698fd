// links: agent_core
/* Bytes as a log file: each record is parsed, tails of several lengths are looked for. */
#include "agent/exec/crilog.h"
#include "common/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t parse_all(const char *text, size_t size)
{
	uint64_t full = 0;

	for (size_t pos = 0; pos < size;) {
		const char *newline = memchr(text + pos, '\n', size - pos);
		size_t end = newline ? (size_t)(newline - text) : size;
		_cleanup_free_ char *record = xmemdup(text + pos, end - pos);
		struct crilog_line l;

		if (crilog_parse(record, end - pos, &l) == 0) {
			if (l.data < record || l.data + l.len != record + (end - pos))
				abort();
			full += newline && !l.partial;
		}
		pos = end + 1;
	}
	return full;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const uint64_t wanted[] = {0, 1, 2, 10, 1000000};
	uint64_t full = parse_all((const char *)data, size), found;
	int fd = memfd_create("log", 0);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		abort();
	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		off_t at = crilog_tail(fd, (off_t)size, wanted[i], &found);

		if (at < 0 || at > (off_t)size || found != MIN(wanted[i], full))
			abort();
	}
	close(fd);
	return 0;
}
