// links: agent_core
/* First byte: which document. */
#include "agent/image/manifest.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *json = (const char *)data + 1;
	struct image_index *index;
	struct platform host;

	if (!size)
		return 0;
	switch (data[0]) {
	case 'm':
		manifest_free(manifest_parse(json, size - 1, NULL));
		break;
	case 'i':
		platform_host(&host);
		index = image_index_parse(json, size - 1, NULL);
		if (index)
			image_index_choose(index, &host);
		image_index_free(index);
		break;
	case 'w':
		free(manifest_with_config(json, size - 1, &(struct descriptor){.digest = "sha256:x", .size_bytes = 7}, NULL));
		break;
	case 'c':
		image_config_free(image_config_parse(json, size - 1, NULL));
		break;
	default:
		repo_tags_free(repo_tags_parse(json, size - 1, NULL));
		break;
	}
	return 0;
}
