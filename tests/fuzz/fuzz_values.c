// links: common
#include "common/str.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_duration(const char *text)
{
	char buf[STR_HUMAN_MAX];
	int64_t ns, back;

	if (str_parse_duration(text, &ns, NULL) < 0)
		return;
	if (str_parse_duration(str_duration(ns, buf), &back, NULL) < 0 || back != ns)
		abort();
	str_duration_human(ns, buf);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), buf[STR_HUMAN_MAX];
	uint64_t u;
	int64_t i;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	check_duration(text);
	if (str_parse_bytes(text, &i, NULL) == 0) {
		if (i < 0)
			abort();
		str_bytes_human(i, buf);
	}
	if (str_parse_cpus(text, &i, NULL) == 0 && i < 0)
		abort();
	if (str_parse_u64(text, &u, NULL) == 0 && u <= INT64_MAX &&
	    (str_parse_i64(text, &i, NULL) < 0 || (uint64_t)i != u))
		abort();
	free(text);
	return 0;
}
