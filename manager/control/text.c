#include "text.h"

#include "common/error.h"
#include "common/mem.h"
#include "proto/pb.h"

#include <stdio.h>
#include <string.h>

#define PATH_MAX_BYTES 256

static void *checked(const ProtobufCMessage *msg)
{
	size_t len = protobuf_c_message_get_packed_size(msg);
	_cleanup_free_ uint8_t *bytes = xmalloc(len);

	protobuf_c_message_pack(msg, bytes);
	return pb_unpack(msg->descriptor, bytes, len);
}

/* pb_unpack alone decides what clean text is. */
static bool string_ok(char *s)
{
	Skein__RefRequest one = SKEIN__REF_REQUEST__INIT;
	_cleanup_pb_ void *copy = NULL;

	one.ref = s;
	copy = checked(&one.base);
	return copy != NULL;
}

static bool find_bad(const ProtobufCMessage *msg, char *path, size_t len);

static bool item_bad(const ProtobufCFieldDescriptor *field, void *item, char *path, size_t len)
{
	if (!item)
		return false;
	if (field->type == PROTOBUF_C_TYPE_MESSAGE)
		return find_bad(item, path, len);
	return field->type == PROTOBUF_C_TYPE_STRING && !string_ok(item);
}

static bool field_bad(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field,
		      char *path, size_t len)
{
	const void *member = (const char *)msg + field->offset;
	const void *quantifier = (const char *)msg + field->quantifier_offset;
	size_t n;

	if (field->label != PROTOBUF_C_LABEL_REPEATED) {
		if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
		    *(const uint32_t *)quantifier != field->id)
			return false;
		snprintf(path + len, PATH_MAX_BYTES - len, "%s%s", len ? "." : "", field->name);
		return item_bad(field, *(void *const *)member, path, strlen(path));
	}
	n = *(const size_t *)quantifier;
	for (size_t i = 0; i < n; i++) {
		snprintf(path + len, PATH_MAX_BYTES - len, "%s%s[%zu]", len ? "." : "", field->name,
			 i);
		if (item_bad(field, (*(void **const *)member)[i], path, strlen(path)))
			return true;
	}
	return false;
}

/* On true, `path` names the field. */
static bool find_bad(const ProtobufCMessage *msg, char *path, size_t len)
{
	for (unsigned i = 0; i < msg->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &msg->descriptor->fields[i];

		if (field->type != PROTOBUF_C_TYPE_MESSAGE && field->type != PROTOBUF_C_TYPE_STRING)
			continue;
		if (field_bad(msg, field, path, len))
			return true;
	}
	path[len] = '\0';
	return false;
}

void *text_checked_dup(const ProtobufCMessage *msg, struct error *err)
{
	char path[PATH_MAX_BYTES] = "";
	void *copy = checked(msg);

	if (copy)
		return copy;
	if (!find_bad(msg, path, 0))
		snprintf(path, sizeof(path), "request");
	error_set(err, ERR_INVALID, "%s: must be UTF-8 text without control characters", path);
	return NULL;
}
