#include "image.h"

#include "common/mem.h"
#include "common/str.h"
#include "manager/store/view.h"

#include <string.h>

static bool is_called(const pb_image_info *image, const char *ref, const char *digest)
{
	if (digest)
		return str_eq(image->digest, digest);
	for (size_t i = 0; i < image->n_names; i++)
		if (str_eq(image->names[i], ref))
			return true;
	return false;
}

const char *image_known_digest(const struct view *v, const char *ref, bool loaded_only)
{
	const char *at = strchr(ref, '@');
	_cleanup_free_ const void **nodes = NULL;
	const pb_image_info *newest = NULL;
	size_t n;

	nodes = view_list(v, KIND_NODE, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_node_description *d = ((const pb_node *)nodes[i])->description;

		for (size_t k = 0; d && k < d->n_images; k++) {
			const pb_image_info *image = d->images[k];

			if ((loaded_only && !image->loaded) ||
			    !is_called(image, ref, at ? at + 1 : NULL))
				continue;
			if (!newest || image->created_at > newest->created_at)
				newest = image;
		}
	}
	return newest ? newest->digest : NULL;
}
