#include "rpc/codec.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/utf8.h"

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/slice.h>
#include <string.h>

/* ---------------------------------------------------------------- memory of one message */

#define ARENA_ALIGN 16
#define ARENA_FIRST_MAX 16384
#define ARENA_CHUNK 16384
#define ARENA_BASE_BYTES (256u << 10)
#define ARENA_FACTOR 48 /* a label of 8 bytes takes about 180 with its tables: 22 times */

struct chunk {
	struct chunk *next;
	size_t size, used;
	_Alignas(ARENA_ALIGN) unsigned char data[];
};

/*
 * Messages are unpacked once, read and freed whole: allocation is a pointer that moves. The bound
 * stops two bytes of an empty sub-message from becoming hundreds, a million times.
 */
struct arena_msg {
	struct codec_msg base;
	ProtobufCAllocator allocator;
	struct chunk *chunks;
	size_t left;
	struct chunk first; /* last: its data follows */
};

static void *arena_alloc(void *data, size_t size)
{
	struct arena_msg *a = data;
	struct chunk *c = a->chunks;
	void *p;

	if (size > a->left)
		return NULL;
	size = (size + ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
	if (size > c->size - c->used) {
		c = xmalloc(sizeof(*c) + MAX(size, ARENA_CHUNK));
		c->size = MAX(size, ARENA_CHUNK);
		c->used = 0;
		c->next = a->chunks;
		a->chunks = c;
	}
	p = c->data + c->used;
	c->used += size;
	a->left -= MIN(size, a->left);
	return p;
}

static void arena_free(void *data, void *p) {}

static struct arena_msg *arena_new(size_t len)
{
	size_t first = MIN(len * 3 + 512, ARENA_FIRST_MAX);
	struct arena_msg *a = xmalloc(sizeof(*a) + first);

	*a = (struct arena_msg){
		.base = {.len = len},
		.allocator = {.alloc = arena_alloc, .free = arena_free, .allocator_data = a},
		.chunks = &a->first,
		.left = ARENA_BASE_BYTES + len * ARENA_FACTOR,
		.first = {.size = first},
	};
	return a;
}

void codec_msg_free(struct codec_msg *msg)
{
	struct arena_msg *a = (struct arena_msg *)msg;
	struct chunk *c, *next;

	if (!msg)
		return;
	for (c = a->chunks; c != &a->first; c = next) {
		next = c->next;
		free(c);
	}
	free(a);
}

/* ---------------------------------------------------------------- checks of the wire form */

enum { WIRE_VARINT = 0, WIRE_64BIT = 1, WIRE_LENGTH = 2, WIRE_32BIT = 5 };

struct cursor {
	const uint8_t *p, *end;
};

static bool take_varint(struct cursor *c, uint64_t *ret)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 70 && c->p < c->end; shift += 7) {
		uint8_t byte = *c->p++;

		if (shift < 64)
			value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*ret = value;
			return true;
		}
	}
	return false;
}

static bool skip(struct cursor *c, uint64_t n)
{
	if (n > (uint64_t)(c->end - c->p))
		return false;
	c->p += n;
	return true;
}

static bool text_ok(const uint8_t *p, size_t len)
{
	const uint8_t *end = p + len;
	uint32_t cp;

	while (p < end) {
		size_t n = utf8_sequence(p, end, &cp);

		if (n == 0 || cp == 0)
			return false; /* a NUL would hide the rest from C */
		p += n;
	}
	return true;
}

void codec_clean_text(const void *text, size_t len, char *ret, size_t size)
{
	const uint8_t *p = text, *end = p + len;
	uint32_t cp = 0;
	size_t out = 0;

	while (p < end) {
		size_t n = utf8_sequence(p, end, &cp);
		bool ok =
			n && ((cp >= 0x20 && cp < 0x7f) || cp >= 0xa0 || cp == '\n' || cp == '\t');

		if (out + (ok ? n : 1) >= size)
			break;
		if (ok)
			memcpy(ret + out, p, n);
		else
			ret[out] = '?';
		out += ok ? n : 1;
		p += n ? n : 1;
	}
	ret[out] = '\0';
}

static int bytes_check(const ProtobufCMessageDescriptor *type, struct cursor c, unsigned depth,
		       struct error *err);

static int field_check(const ProtobufCMessageDescriptor *type, uint64_t number, unsigned wire,
		       struct cursor *c, unsigned depth, struct error *err)
{
	const ProtobufCFieldDescriptor *field =
		protobuf_c_message_descriptor_get_field(type, (unsigned)number);
	const uint8_t *start;
	uint64_t n;
	bool ok;

	switch (wire) {
	case WIRE_VARINT:
		ok = take_varint(c, &n);
		break;
	case WIRE_64BIT:
		ok = skip(c, 8);
		break;
	case WIRE_32BIT:
		ok = skip(c, 4);
		break;
	case WIRE_LENGTH:
		ok = take_varint(c, &n);
		start = c->p;
		ok = ok && skip(c, n);
		if (!ok || !field)
			break;
		if (field->type == PROTOBUF_C_TYPE_STRING && !text_ok(start, n))
			return error_set(err, ERR_INVALID, "%s.%s is not UTF-8 text without NUL",
					 type->name, field->name);
		if (field->type == PROTOBUF_C_TYPE_MESSAGE)
			return bytes_check(field->descriptor, (struct cursor){start, start + n},
					   depth + 1, err);
		break;
	default:
		ok = false;
	}
	return ok ? 0
		  : error_set(err, ERR_INVALID, "%s: malformed field %u", type->name,
			      (unsigned)number);
}

static int bytes_check(const ProtobufCMessageDescriptor *type, struct cursor c, unsigned depth,
		       struct error *err)
{
	uint64_t tag;

	if (depth >= CODEC_MAX_DEPTH)
		return error_set(err, ERR_INVALID, "%s: nested deeper than %d messages", type->name,
				 CODEC_MAX_DEPTH);
	while (c.p < c.end) {
		if (!take_varint(&c, &tag) || tag >> 3 == 0 || tag >> 3 > 0x1fffffff)
			return error_set(err, ERR_INVALID, "%s: malformed field number",
					 type->name);
		if (field_check(type, tag >> 3, tag & 7, &c, depth, err) < 0)
			return -1;
	}
	return 0;
}

static bool type_fits(const ProtobufCMessageDescriptor *type, unsigned depth)
{
	if (depth >= CODEC_MAX_DEPTH)
		return false;
	for (unsigned i = 0; i < type->n_fields; i++) {
		if (type->fields[i].type == PROTOBUF_C_TYPE_MESSAGE &&
		    !type_fits(type->fields[i].descriptor, depth + 1))
			return false;
	}
	return true;
}

bool codec_type_is_bounded(const ProtobufCMessageDescriptor *type)
{
	return type_fits(type, 0);
}

/* ---------------------------------------------------------------- unpack, pack */

struct codec_msg *codec_unpack_bytes(const ProtobufCMessageDescriptor *type, const void *data,
				     size_t len, size_t max_bytes, struct error *err)
{
	static const uint8_t nothing;
	struct arena_msg *a;

	if (len > max_bytes) {
		error_set(err, ERR_EXHAUSTED, "message %s of %zu bytes, accepted are at most %zu",
			  type->name, len, max_bytes);
		return NULL;
	}
	if (len == 0)
		data = &nothing;
	if (bytes_check(type, (struct cursor){data, (const uint8_t *)data + len}, 0, err) < 0)
		return NULL;

	a = arena_new(len);
	a->base.msg = protobuf_c_message_unpack(type, &a->allocator, len, data);
	if (!a->base.msg) {
		if (a->left < len)
			error_set(err, ERR_EXHAUSTED,
				  "message %s of %zu bytes takes too much memory", type->name, len);
		else
			error_set(err, ERR_INVALID, "message %s of %zu bytes is malformed",
				  type->name, len);
		codec_msg_free(&a->base);
		return NULL;
	}
	return &a->base;
}

struct codec_msg *codec_unpack(const ProtobufCMessageDescriptor *type,
			       struct grpc_byte_buffer *buffer, size_t max_bytes, struct error *err)
{
	grpc_slice_buffer *slices = &buffer->data.raw.slice_buffer;
	grpc_byte_buffer_reader reader;
	struct codec_msg *msg;
	grpc_slice all;

	if (buffer->type != GRPC_BB_RAW || buffer->data.raw.compression != GRPC_COMPRESS_NONE) {
		error_set(err, ERR_INVALID, "message %s is compressed: not accepted", type->name);
		return NULL;
	}
	if (slices->length > max_bytes || slices->count == 0)
		return codec_unpack_bytes(type, NULL, slices->length, max_bytes, err);
	if (slices->count == 1)
		return codec_unpack_bytes(type, GRPC_SLICE_START_PTR(slices->slices[0]),
					  slices->length, max_bytes, err);

	if (!grpc_byte_buffer_reader_init(&reader, buffer)) {
		error_set(err, ERR_INVALID, "message %s cannot be read", type->name);
		return NULL;
	}
	all = grpc_byte_buffer_reader_readall(&reader);
	grpc_byte_buffer_reader_destroy(&reader);
	msg = codec_unpack_bytes(type, GRPC_SLICE_START_PTR(all), GRPC_SLICE_LENGTH(all), max_bytes,
				 err);
	grpc_slice_unref(all);
	return msg;
}

struct grpc_byte_buffer *codec_pack(const ProtobufCMessage *msg, size_t *ret_len)
{
	size_t len = protobuf_c_message_get_packed_size(msg);
	grpc_slice slice = grpc_slice_malloc(len);
	grpc_byte_buffer *buffer;

	protobuf_c_message_pack(msg, GRPC_SLICE_START_PTR(slice));
	buffer = grpc_raw_byte_buffer_create(&slice, 1);
	grpc_slice_unref(slice);
	*ret_len = len;
	return buffer;
}
