#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "common/mem.h"
#include "proto/pb.h"
#include "rpc/codec.h"

#include <grpc/byte_buffer.h>
#include <grpc/slice.h>
#include <string.h>

#define MAX_BYTES (4u << 20)

static struct codec_msg *unpack(const ProtobufCMessageDescriptor *type, const void *data,
				size_t len, struct error *err)
{
	*err = ERROR_INIT;
	return codec_unpack_bytes(type, data, len, MAX_BYTES, err);
}

static void a_message_survives_the_way(void **state)
{
	Skein__RefRequest ref = SKEIN__REF_REQUEST__INIT;
	struct error err = ERROR_INIT;
	struct codec_msg *msg;
	grpc_byte_buffer *buffer;
	size_t len;

	ref.ref = "wäb\n\t…";
	buffer = codec_pack(&ref.base, &len);
	assert_int_equal(len, 2 + strlen(ref.ref));
	msg = codec_unpack(&skein__ref_request__descriptor, buffer, MAX_BYTES, &err);
	assert_non_null(msg);
	assert_string_equal(((const Skein__RefRequest *)msg->msg)->ref, ref.ref);
	codec_msg_free(msg);
	grpc_byte_buffer_destroy(buffer);
}

static void pieces_are_joined(void **state)
{
	struct error err = ERROR_INIT;
	struct codec_msg *msg;
	grpc_byte_buffer *buffer;
	grpc_slice slices[] = {
		grpc_slice_from_copied_buffer("\x0a\x05he", 4),
		grpc_slice_from_copied_buffer("ll", 2),
		grpc_slice_from_copied_buffer("o", 1),
	};

	buffer = grpc_raw_byte_buffer_create(slices, 3);
	msg = codec_unpack(&skein__ref_request__descriptor, buffer, MAX_BYTES, &err);
	assert_non_null(msg);
	assert_string_equal(((const Skein__RefRequest *)msg->msg)->ref, "hello");
	codec_msg_free(msg);

	assert_null(codec_unpack(&skein__ref_request__descriptor, buffer, 6, &err));
	assert_int_equal(err.code, ERR_EXHAUSTED);
	grpc_byte_buffer_destroy(buffer);
	for (size_t i = 0; i < 3; i++)
		grpc_slice_unref(slices[i]);
}

static void compressed_is_refused(void **state)
{
	grpc_slice slice = grpc_slice_from_copied_string("x");
	grpc_byte_buffer *buffer =
		grpc_raw_compressed_byte_buffer_create(&slice, 1, GRPC_COMPRESS_GZIP);
	struct error err = ERROR_INIT;

	assert_null(codec_unpack(&skein__ref_request__descriptor, buffer, MAX_BYTES, &err));
	assert_int_equal(err.code, ERR_INVALID);
	grpc_byte_buffer_destroy(buffer);
	grpc_slice_unref(slice);
}

static void nothing_is_an_empty_message(void **state)
{
	struct error err;
	struct codec_msg *msg = unpack(&skein__empty__descriptor, NULL, 0, &err);

	assert_non_null(msg);
	codec_msg_free(msg);
	msg = unpack(&skein__ref_request__descriptor, NULL, 0, &err);
	assert_string_equal(((const Skein__RefRequest *)msg->msg)->ref, "");
	codec_msg_free(msg);
}

static void bad_bytes_are_refused(void **state)
{
	static const struct {
		const char *bytes;
		size_t len;
	} bad[] = {
		{"\x0a\x02\xc3\x28", 4},	 /* no continuation */
		{"\x0a\x02\xc0\x80", 4},	 /* overlong NUL */
		{"\x0a\x03\xed\xa0\x80", 5},	 /* surrogate */
		{"\x0a\x04\xf4\x90\x80\x80", 6}, /* beyond U+10FFFF */
		{"\x0a\x01\xff", 3},
		{"\x0a\x02\xe2\x82", 4}, /* cut */
		{"\x0a\x03"
		 "a\0b",
		 5}, /* NUL inside */
		{"\x0a\x05"
		 "abc",
		 5}, /* shorter than it says */
		{"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},
		{"\x00\x01", 2}, /* field 0 */
		{"\x0b\x0c", 2}, /* group */
		{"\x08", 1},	 /* varint missing */
		{"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 12},
		{"\x09\x01\x02", 3}, /* 8 bytes missing */
	};
	struct error err;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (unpack(&skein__ref_request__descriptor, bad[i].bytes, bad[i].len, &err))
			fail_msg("bytes %zu were accepted", i);
		assert_int_equal(err.code, ERR_INVALID);
		assert_true(err.msg[0]);
	}
}

static void strings_are_checked_at_any_depth(void **state)
{
	/* AgentMessage.register{description{hostname: 0xff}} */
	Skein__AgentMessage msg = SKEIN__AGENT_MESSAGE__INIT;
	Skein__Register reg = SKEIN__REGISTER__INIT;
	Skein__NodeDescription description = SKEIN__NODE_DESCRIPTION__INIT;
	uint8_t bytes[128];
	struct error err;
	size_t len;

	msg.body_case = SKEIN__AGENT_MESSAGE__BODY_REGISTER;
	msg.register_ = &reg;
	reg.description = &description;
	description.hostname = "a\xff";
	len = protobuf_c_message_pack(&msg.base, bytes);
	assert_null(unpack(&skein__agent_message__descriptor, bytes, len, &err));
	assert_int_equal(err.code, ERR_INVALID);
	assert_non_null(strstr(err.msg, "hostname"));
}

static void bytes_fields_may_hold_anything(void **state)
{
	Skein__BlobChunk chunk = SKEIN__BLOB_CHUNK__INIT;
	uint8_t bytes[128];
	struct error err;
	struct codec_msg *msg;
	size_t len;

	chunk.data.data = (uint8_t *)"\xff\x00\xfe";
	chunk.data.len = 3;
	len = protobuf_c_message_pack(&chunk.base, bytes);
	msg = unpack(&skein__blob_chunk__descriptor, bytes, len, &err);
	assert_non_null(msg);
	assert_memory_equal(((const Skein__BlobChunk *)msg->msg)->data.data, "\xff\x00\xfe", 3);
	codec_msg_free(msg);
}

static void length_is_bounded(void **state)
{
	static uint8_t big[MAX_BYTES + 1];
	struct error err;

	assert_null(unpack(&skein__empty__descriptor, big, sizeof(big), &err));
	assert_int_equal(err.code, ERR_EXHAUSTED);
	assert_non_null(strstr(err.msg, "4194304"));
}

/* Two bytes on the wire, hundreds in memory, a million times. */
static void memory_is_bounded(void **state)
{
	size_t n = 2u << 20;
	uint8_t *bytes = xmalloc(n);
	struct error err;

	for (size_t i = 0; i < n; i += 2) {
		bytes[i] = 1 << 3 | 2; /* ListTasksResponse.tasks: empty Task */
		bytes[i + 1] = 0;
	}
	assert_null(unpack(&skein__list_tasks_response__descriptor, bytes, n, &err));
	assert_int_equal(err.code, ERR_EXHAUSTED);
	free(bytes);
}

static void a_full_list_of_labels_fits(void **state)
{
	size_t pairs = 20000, n = 0;
	uint8_t *bytes = xmalloc(pairs * 8);
	struct codec_msg *msg;
	struct error err;

	for (size_t i = 0; i < pairs; i++) {
		memcpy(bytes + n,
		       "\x0a\x06\x0a\x01"
		       "a\x12\x01"
		       "b",
		       8);
		n += 8;
	}
	msg = unpack(&skein__list_request__descriptor, bytes, n, &err);
	assert_non_null(msg);
	assert_int_equal(((const Skein__ListRequest *)msg->msg)->n_filters, pairs);
	codec_msg_free(msg);
	free(bytes);
}

/* A type that contains itself, as no .proto of ours does. */
static const ProtobufCFieldDescriptor nest_fields[1];
static const unsigned nest_by_name[] = {0};
static const ProtobufCIntRange nest_range[] = {{1, 0}, {0, 1}};
static const ProtobufCMessageDescriptor nest = {
	.magic = PROTOBUF_C__MESSAGE_DESCRIPTOR_MAGIC,
	.name = "nest",
	.short_name = "nest",
	.c_name = "Nest",
	.package_name = "",
	.sizeof_message = sizeof(ProtobufCMessage) + sizeof(void *),
	.n_fields = 1,
	.fields = nest_fields,
	.fields_sorted_by_name = nest_by_name,
	.n_field_ranges = 1,
	.field_ranges = nest_range,
};
static const ProtobufCFieldDescriptor nest_fields[1] = {
	{.name = "in",
	 .id = 1,
	 .label = PROTOBUF_C_LABEL_NONE,
	 .type = PROTOBUF_C_TYPE_MESSAGE,
	 .offset = sizeof(ProtobufCMessage),
	 .descriptor = &nest},
};

static void depth_is_bounded(void **state)
{
	static uint8_t bytes[1 << 20], *p = bytes + sizeof(bytes);
	struct codec_msg *msg;
	struct error err;

	for (size_t depth = 0; depth < 20000; depth++) {
		size_t len = (size_t)(bytes + sizeof(bytes) - p);

		if (depth == 31) {
			msg = unpack(&nest, p, len, &err);
			assert_non_null(msg);
			codec_msg_free(msg);
		}
		*--p = (uint8_t)(len >> 14);
		*--p = (uint8_t)(0x80 | (len >> 7 & 0x7f));
		*--p = (uint8_t)(0x80 | (len & 0x7f));
		*--p = 1 << 3 | 2;
	}
	assert_null(unpack(&nest, p, (size_t)(bytes + sizeof(bytes) - p), &err));
	assert_int_equal(err.code, ERR_INVALID);
	assert_non_null(strstr(err.msg, "32"));
	assert_false(codec_type_is_bounded(&nest));
	assert_true(codec_type_is_bounded(&skein__dispatcher_message__descriptor));
}

static void foreign_text_is_made_harmless(void **state)
{
	char out[16];

	codec_clean_text("a\x1b[1mß\xff\n", 9, out, sizeof(out));
	assert_string_equal(out, "a?[1mß?\n");
	codec_clean_text("0123456789abcdeß", 17, out, sizeof(out)); /* not cut inside a character */
	assert_string_equal(out, "0123456789abcde");
	codec_clean_text("", 0, out, sizeof(out));
	assert_string_equal(out, "");
	codec_clean_text("x\0y", 3, out, sizeof(out));
	assert_string_equal(out, "x?y");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_message_survives_the_way),
		cmocka_unit_test(pieces_are_joined),
		cmocka_unit_test(compressed_is_refused),
		cmocka_unit_test(nothing_is_an_empty_message),
		cmocka_unit_test(bad_bytes_are_refused),
		cmocka_unit_test(strings_are_checked_at_any_depth),
		cmocka_unit_test(bytes_fields_may_hold_anything),
		cmocka_unit_test(length_is_bounded),
		cmocka_unit_test(memory_is_bounded),
		cmocka_unit_test(a_full_list_of_labels_fits),
		cmocka_unit_test(depth_is_bounded),
		cmocka_unit_test(foreign_text_is_made_harmless),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
