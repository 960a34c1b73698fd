#include "pb.h"

#include "common/mem.h"

static void clean_string(char *s)
{
	for (; *s; s++)
		if ((*s < ' ' && *s != '\t' && *s != '\n') || *s > '~')
			*s = '?';
}

static void clean_message(ProtobufCMessage *msg);

static void clean_field(ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field)
{
	void *member = (char *)msg + field->offset;
	void **items = member;
	size_t n = 1;

	if (field->label == PROTOBUF_C_LABEL_REPEATED) {
		n = *(size_t *)((char *)msg + field->quantifier_offset);
		items = *(void ***)member;
	} else if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
		if (*(uint32_t *)((char *)msg + field->quantifier_offset) != field->id)
			return;
	}
	for (size_t i = 0; i < n; i++) {
		if (field->type == PROTOBUF_C_TYPE_MESSAGE && items[i])
			clean_message(items[i]);
		else if (field->type == PROTOBUF_C_TYPE_STRING && items[i])
			clean_string(items[i]);
	}
}

static void clean_message(ProtobufCMessage *msg)
{
	for (unsigned i = 0; i < msg->descriptor->n_fields; i++) {
		const ProtobufCFieldDescriptor *field = &msg->descriptor->fields[i];

		if (field->type == PROTOBUF_C_TYPE_MESSAGE || field->type == PROTOBUF_C_TYPE_STRING)
			clean_field(msg, field);
	}
}

void *pb_dup_clean(const void *message)
{
	const ProtobufCMessage *msg = message;
	_cleanup_free_ uint8_t *bytes = NULL;
	size_t len = protobuf_c_message_get_packed_size(msg);
	void *copy;

	bytes = xmalloc(len);
	protobuf_c_message_pack(msg, bytes);
	copy = pb_unpack(msg->descriptor, bytes, len);
	if (!copy) {
		copy = pb_dup(msg);
		clean_message(copy);
	}
	return copy;
}
