#include "agent/exec/crilog.h"

#include "common/mem.h"

#include <errno.h>
#include <string.h>

#define BLOCK 65536

/* ---------------------------------------------------------------- a record */

static bool digits(const char *p, size_t n, int *ret)
{
	*ret = 0;
	for (size_t i = 0; i < n; i++) {
		if (p[i] < '0' || p[i] > '9')
			return false;
		*ret = *ret * 10 + (p[i] - '0');
	}
	return true;
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar (years begin in March, eras of 400
 * years). */
static int64_t days_from_civil(int year, int month, int day)
{
	int64_t y = year - (month <= 2), era = y / 400, yoe = y - era * 400;
	int64_t doy = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
	int64_t doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

	return era * 146097 + doe - 719468;
}

/* ".123456789" to ns; returns the bytes taken, 0 when there is no fraction, -1 when it is bad. */
static int parse_fraction(const char *p, size_t len, int64_t *ret_ns)
{
	int64_t ns = 0, unit = 100000000;
	size_t n = 1;

	*ret_ns = 0;
	if (len == 0 || *p != '.')
		return 0;
	for (; n < len && p[n] >= '0' && p[n] <= '9'; n++, unit /= 10)
		ns += (p[n] - '0') * unit;
	if (n == 1 || n > 10)
		return -1;
	*ret_ns = ns;
	return (int)n;
}

/* "Z" or "+hh:mm" */
static bool parse_zone(const char *p, size_t len, int64_t *ret_seconds)
{
	int hours, minutes;

	*ret_seconds = 0;
	if (len == 1 && *p == 'Z')
		return true;
	if (len != 6 || (*p != '+' && *p != '-') || p[3] != ':' || !digits(p + 1, 2, &hours) ||
	    !digits(p + 4, 2, &minutes) || hours > 23 || minutes > 59)
		return false;
	*ret_seconds = (*p == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
	return true;
}

static bool parse_time(const char *p, size_t len, int64_t *ret)
{
	int year, month, day, hour, minute, second, n;
	int64_t ns, zone;

	if (len < 20 || p[4] != '-' || p[7] != '-' || p[10] != 'T' || p[13] != ':' ||
	    p[16] != ':' || !digits(p, 4, &year) || !digits(p + 5, 2, &month) ||
	    !digits(p + 8, 2, &day) || !digits(p + 11, 2, &hour) || !digits(p + 14, 2, &minute) ||
	    !digits(p + 17, 2, &second))
		return false;
	if (year < 1970 || year > 2200 || month < 1 || month > 12 || day < 1 || day > 31 ||
	    hour > 23 || minute > 59 || second > 60)
		return false;
	n = parse_fraction(p + 19, len - 19, &ns);
	if (n < 0 || !parse_zone(p + 19 + n, len - 19 - (size_t)n, &zone))
		return false;
	*ret = (days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second -
		zone) * INT64_C(1000000000) +
	       ns;
	return true;
}

int crilog_parse(const char *record, size_t len, struct crilog_line *ret)
{
	const char *end = record + len, *stream, *tag, *space;

	space = memchr(record, ' ', MIN(len, (size_t)CRILOG_HEAD_MAX));
	if (!space || !parse_time(record, (size_t)(space - record), &ret->at))
		return -1;
	stream = space + 1;
	if (end - stream < 7)
		return -1;
	if (memcmp(stream, "stdout ", 7) == 0)
		ret->is_stderr = false;
	else if (memcmp(stream, "stderr ", 7) == 0)
		ret->is_stderr = true;
	else
		return -1;
	tag = stream + 7;
	if (end - tag < 2 || (*tag != 'F' && *tag != 'P') || tag[1] != ' ')
		return -1;
	ret->partial = *tag == 'P';
	ret->data = tag + 2;
	ret->len = (size_t)(end - ret->data);
	return 0;
}

/* ---------------------------------------------------------------- tail */

static ssize_t read_at(int fd, char *buf, size_t len, off_t offset)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, buf + done, len - done, offset + (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* Does a full line end with the record that begins at `offset`? Its head may lie in the next block.
 */
static bool is_full(int fd, off_t offset, off_t size)
{
	char head[CRILOG_HEAD_MAX];
	ssize_t n = read_at(fd, head, (size_t)MIN((off_t)sizeof(head), size - offset), offset);
	const char *newline = n > 0 ? memchr(head, '\n', (size_t)n) : NULL;
	struct crilog_line line;

	return n > 0 &&
	       crilog_parse(head, newline ? (size_t)(newline - head) : (size_t)n, &line) == 0 &&
	       !line.partial;
}

off_t crilog_tail(int fd, off_t size, uint64_t lines, uint64_t *ret_found)
{
	_cleanup_free_ char *block = xmalloc(BLOCK);
	off_t pos = size, start = -1; /* start: where the record that is looked at begins; -1 none
					 complete yet */

	*ret_found = 0;
	if (lines == 0)
		return size;
	/*
	 * From newline to newline backwards. A record belongs to the tail with the parts before it,
	 * so the tail begins behind the full record that is one too many.
	 */
	while (pos > 0) {
		off_t from = pos > BLOCK ? pos - BLOCK : 0;
		ssize_t n = read_at(fd, block, (size_t)(pos - from), from);

		for (ssize_t i = n - 1; i >= 0; i--) {
			off_t behind = from + i + 1;

			if (block[i] != '\n')
				continue;
			if (start >= 0 && is_full(fd, behind, size)) {
				if (*ret_found == lines)
					return start;
				++*ret_found;
			}
			start = behind;
		}
		pos = from;
	}
	if (start >= 0 && is_full(fd, 0, size)) {
		if (*ret_found == lines)
			return start;
		++*ret_found;
	}
	return 0;
}
