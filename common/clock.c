#include "clock.h"

#include <stdio.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return ts.tv_sec * NS_PER_SEC + ts.tv_nsec;
}

int64_t clock_wall_ns(void)
{
	return read_clock(CLOCK_REALTIME);
}

int64_t clock_mono_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

const char *clock_rfc3339(int64_t wall_ns, char buf[static CLOCK_RFC3339_MAX])
{
	time_t seconds = wall_ns / NS_PER_SEC;
	int64_t ns = wall_ns % NS_PER_SEC;
	struct tm tm;
	size_t len;

	if (ns < 0) {
		ns += NS_PER_SEC;
		seconds--;
	}
	gmtime_r(&seconds, &tm);
	len = strftime(buf, CLOCK_RFC3339_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(buf + len, CLOCK_RFC3339_MAX - len, ".%09dZ", (int)ns);
	return buf;
}
