// links: common
#include "common/hostport.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What is accepted prints as an address with a port that means the same. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), buf[HOSTPORT_MAX];
	struct hostport hp, back;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (hostport_parse(text, 2377, &hp, NULL) == 0 &&
	    (hostport_parse(hostport_format(&hp, buf), 0, &back, NULL) < 0 || strcmp(back.host, hp.host) ||
	     back.port != hp.port))
		abort();
	free(text);
	return 0;
}
