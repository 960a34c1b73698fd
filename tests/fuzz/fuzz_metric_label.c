// links: common
#include "common/metrics/metrics.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void demand(int fact)
{
	if (!fact)
		abort();
}

/* Whatever a label's value is: the rendered label is one name="..." without a way out of the quotes, bounded, in one line. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *value = malloc(size + 1), *name;
	struct strbuf labels = {0};
	size_t i;

	if (!value)
		return 0;
	memcpy(value, data, size);
	value[size] = '\0';
	metrics_label(&labels, "l", value);
	demand(labels.len >= 4 && labels.len <= 4 + 3 * METRIC_LABEL_VALUE_MAX && strncmp(labels.p, "l=\"", 3) == 0);
	for (i = 3; i < labels.len && labels.p[i] != '"'; i++) {
		demand(labels.p[i] != '\n' && labels.p[i] != '\0');
		if (labels.p[i] == '\\') {
			i++;
			demand(labels.p[i] == '\\' || labels.p[i] == '"' || labels.p[i] == 'n');
		}
	}
	demand(i == labels.len - 1);
	name = metrics_label_name("label_", value);
	demand(strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == strlen(name));
	demand(metrics_negotiate(value) < METRICS_FORMATS);
	free(name);
	strbuf_fini(&labels);
	free(value);
	return 0;
}
