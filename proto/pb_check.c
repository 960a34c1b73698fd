/*
 * The library takes any bytes as a string and cuts it at the first NUL. So the wire form is walked
 * first, along the descriptor; afterwards a C string in a message is what the peer sent.
 * Recursion ends because no message of ours contains itself.
 */
#include "pb.h"

#include "common/utf8.h"

#include <string.h>

enum { WIRE_VARINT = 0, WIRE_64BIT = 1, WIRE_LENGTH = 2, WIRE_32BIT = 5 };

struct cursor {
	const uint8_t *p, *end;
};

static bool take_varint(struct cursor *c, uint64_t *ret)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 70; shift += 7) {
		uint8_t byte;

		if (c->p == c->end)
			return false;
		byte = *c->p++;
		if (shift < 64)
			value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*ret = value;
			return true;
		}
	}
	return false;
}

static bool take(struct cursor *c, uint64_t len, const uint8_t **ret)
{
	if (len > (uint64_t)(c->end - c->p))
		return false;
	*ret = c->p;
	c->p += len;
	return true;
}

static bool text_ok(const uint8_t *bytes, size_t len)
{
	const uint8_t *end = bytes + len;
	uint32_t cp;

	for (size_t n; bytes < end; bytes += n) {
		n = utf8_sequence(bytes, end, &cp);
		if (n == 0)
			return false;
		/* C0, DEL and C1: a terminal would act on them. */
		if ((cp < 0x20 && cp != '\t' && cp != '\n') || (cp >= 0x7f && cp < 0xa0))
			return false;
	}
	return true;
}

static bool message_ok(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len);

static bool field_ok(const ProtobufCFieldDescriptor *field, unsigned wire, struct cursor *c)
{
	const uint8_t *bytes;
	uint64_t n;

	switch (wire) {
	case WIRE_VARINT:
		return take_varint(c, &n);
	case WIRE_64BIT:
		return take(c, 8, &bytes);
	case WIRE_32BIT:
		return take(c, 4, &bytes);
	case WIRE_LENGTH:
		if (!take_varint(c, &n) || !take(c, n, &bytes))
			return false;
		if (field && field->type == PROTOBUF_C_TYPE_STRING)
			return text_ok(bytes, n);
		if (field && field->type == PROTOBUF_C_TYPE_MESSAGE)
			return message_ok(field->descriptor, bytes, n);
		return true;
	default:
		return false;
	}
}

static bool message_ok(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t len)
{
	struct cursor c = {bytes, bytes + len};
	uint64_t tag;

	while (c.p < c.end) {
		if (!take_varint(&c, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
			return false;
		if (!field_ok(protobuf_c_message_descriptor_get_field(type, tag >> 3), tag & 7, &c))
			return false;
	}
	return true;
}

void *pb_unpack(const ProtobufCMessageDescriptor *type, const void *data, size_t len)
{
	static const uint8_t none;

	if (!len)
		data = &none;
	if (!message_ok(type, data, len))
		return NULL;
	return protobuf_c_message_unpack(type, NULL, len, data);
}
