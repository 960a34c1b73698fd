#include "agent/exec/signame.h"

#include "common/error.h"
#include "common/str.h"

#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <strings.h>

/* SIGRTMIN of the kernel's ABI as containers see it: glibc's own value is two higher and is a
 * run-time matter. */
#define RTMIN 34
#define RTMAX 64

static int parse_rt(const char *name)
{
	uint64_t offset;

	if (strcasecmp(name, "RTMIN") == 0)
		return RTMIN;
	if (strcasecmp(name, "RTMAX") == 0)
		return RTMAX;
	if (strncasecmp(name, "RTMIN+", 6) == 0 && str_parse_u64(name + 6, &offset, NULL) == 0 &&
	    offset <= RTMAX - RTMIN)
		return RTMIN + (int)offset;
	if (strncasecmp(name, "RTMAX-", 6) == 0 && str_parse_u64(name + 6, &offset, NULL) == 0 &&
	    offset <= RTMAX - RTMIN)
		return RTMAX - (int)offset;
	return -1;
}

static int parse_name(const char *s)
{
	const char *name = strncasecmp(s, "SIG", 3) == 0 ? s + 3 : s;

	for (int i = 1; i < RTMIN; i++) {
		const char *abbrev = sigabbrev_np(i);

		if (abbrev && strcasecmp(abbrev, name) == 0)
			return i;
	}
	return parse_rt(name);
}

int signame_parse(const char *s, int *ret_signum, struct error *err)
{
	uint64_t number;
	int signum = -1;

	if (str_parse_u64(s, &number, NULL) == 0) {
		if (number >= 1 && number <= RTMAX)
			signum = (int)number;
	} else {
		signum = parse_name(s);
	}
	if (signum < 0)
		return error_set(
			err, ERR_INVALID,
			"stop signal \"%.64s\": accepted are names such as SIGTERM or SIGRTMIN+3 "
			"and numbers from 1 to %d",
			s, RTMAX);
	*ret_signum = signum;
	return 0;
}
