/*
 * codec - bytes of a gRPC message to a checked protobuf-c message, and back.
 * Any thread. What comes from a peer is bounded: bytes, depth, and memory that it unpacks to.
 */
#pragma once
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/queue.h>

struct error;
struct grpc_byte_buffer;

#define CODEC_MAX_DEPTH 32

/* An unpacked message; all its memory lives in it and goes with it. */
struct codec_msg {
	STAILQ_ENTRY(codec_msg) link; /* the owner's */
	const ProtobufCMessage *msg;
	size_t len;                   /* packed */
};

/*
 * Unpack bytes of a peer. Strings are valid UTF-8 without NUL; groups, depth beyond
 * CODEC_MAX_DEPTH and messages that would unpack to more than about 48 times their size are refused. (Fuzzed.)
 *   Errors  ERR_INVALID bad bytes, ERR_EXHAUSTED longer than max_bytes or over the memory bound
 */
struct codec_msg *codec_unpack_bytes(const ProtobufCMessageDescriptor *type, const void *data, size_t len,
				     size_t max_bytes, struct error *err);
/* The same for a buffer of gRPC, which stays the caller's; a compressed one is refused. */
struct codec_msg *codec_unpack(const ProtobufCMessageDescriptor *type, struct grpc_byte_buffer *buffer,
			       size_t max_bytes, struct error *err);
void codec_msg_free(struct codec_msg *msg);

/* Pack; the buffer is yours (grpc_byte_buffer_destroy). */
struct grpc_byte_buffer *codec_pack(const ProtobufCMessage *msg, size_t *ret_len);

/* False when a message of this type may nest deeper than CODEC_MAX_DEPTH, as a recursive one does. */
bool codec_type_is_bounded(const ProtobufCMessageDescriptor *type);

/* Text of a peer for a log or a terminal: what is no printable UTF-8 becomes '?', cut at size - 1 bytes. */
void codec_clean_text(const void *text, size_t len, char *ret, size_t size);
