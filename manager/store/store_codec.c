#include "store_codec.h"

#include "common/mem.h"
#include "common/str.h"

#include <string.h>

char *store_key(const char *prefix, enum kind kind, const char *id)
{
	return xasprintf("%s/%s/%s", prefix, kind_info(kind)->name, id);
}

char *store_name_key(const char *prefix, enum kind kind, const char *name)
{
	return xasprintf("%s/name/%s/%s", prefix, kind_info(kind)->name, name);
}

bool store_key_parse(const char *prefix, const char *key, size_t len, enum kind *ret_kind, const char **ret_id)
{
	size_t skip = strlen(prefix);

	if (strlen(key) != len || !str_starts(key, prefix) || key[skip] != '/')
		return false;
	key += skip + 1;
	for (unsigned kind = 0; kind < KIND_COUNT; kind++) {
		const char *name = kind_info(kind)->name;
		size_t n = strlen(name);

		if (strncmp(key, name, n) || key[n] != '/' || !key[n + 1])
			continue;
		*ret_kind = kind;
		*ret_id = key + n + 1;
		return true;
	}
	return false;
}

static Skein__Meta *meta_of(enum kind kind, void *obj)
{
	Skein__Meta **meta = kind_info(kind)->meta(obj);

	if (!*meta)
		*meta = pb_new(&skein__meta__descriptor);
	return *meta;
}

void *store_value_pack(enum kind kind, void *obj, int64_t now_ns, size_t *ret_len)
{
	Skein__Meta *meta = meta_of(kind, obj);
	uint64_t revision = meta->revision;
	uint8_t *bytes;

	if (!meta->created_at)
		meta->created_at = now_ns;
	meta->updated_at = now_ns;
	meta->revision = 0;
	*ret_len = protobuf_c_message_get_packed_size(obj);
	bytes = xmalloc(*ret_len);
	protobuf_c_message_pack(obj, bytes);
	meta->revision = revision;
	return bytes;
}

void *store_value_unpack(enum kind kind, const char *id, const void *value, size_t len, uint64_t revision)
{
	const struct kind_info *info = kind_info(kind);
	_cleanup_pb_ void *obj = protobuf_c_message_unpack(info->type, NULL, len, value);

	if (!obj || !str_eq(info->id(obj), id))
		return NULL;
	meta_of(kind, obj)->revision = revision;
	return TAKE_PTR(obj);
}
