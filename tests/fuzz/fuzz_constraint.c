// links: manager_decide
#include "manager/scheduler/constraint.h"

#include "common/error.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const pb_node node = SKEIN__NODE__INIT;
	struct error err = ERROR_INIT;
	struct constraint c;
	char *text = malloc(size + 1);

	if (!text)
		abort();
	memcpy(text, data, size);
	text[size] = '\0';
	if (constraint_parse(text, &c, &err) == 0) {
		size_t len = strlen(text);

		assert(c.key >= text && c.key + c.key_len <= text + len && c.key_len > 0);
		assert(c.value >= text && c.value + c.value_len <= text + len && c.value_len > 0);
		constraint_matches(&c, &node);
	} else {
		assert(err.code == ERR_INVALID && *err.msg);
	}
	free(text);
	return 0;
}
