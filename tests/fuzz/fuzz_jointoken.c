// links: common
#include "common/jointoken.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A token has exactly one text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), again[JOINTOKEN_MAX];
	struct jointoken token;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (jointoken_parse(text, &token, NULL) == 0 && strcmp(jointoken_format(&token, again), text))
		abort();
	free(text);
	return 0;
}
