// links: common
#include "common/imageref.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is accepted has one normal form, which parses to itself; the familiar form means the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), full[IMAGEREF_MAX], again[IMAGEREF_MAX], familiar[IMAGEREF_MAX];
	struct imageref ref, back;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (imageref_parse(text, &ref, NULL) == 0) {
		imageref_format(&ref, full);
		imageref_familiar(&ref, familiar);
		if (imageref_parse(full, &back, NULL) < 0 || strcmp(imageref_format(&back, again), full))
			abort();
		if (imageref_parse(familiar, &back, NULL) < 0 || strcmp(imageref_format(&back, again), full))
			abort();
	}
	free(text);
	return 0;
}
