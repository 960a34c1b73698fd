// links: rpc proto
/* Whatever a peer sends as a message: refused with a reason, or unpacked to something that packs
 * again. */
#include "common/error.h"
#include "proto/pb.h"
#include "rpc/codec.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const ProtobufCMessageDescriptor *const types[] = {
	&skein__agent_message__descriptor,	    &skein__dispatcher_message__descriptor,
	&skein__create_service_request__descriptor, &skein__list_tasks_response__descriptor,
	&skein__issue_request__descriptor,	    &skein__blob_chunk__descriptor,
};

/* The first byte chooses the type. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct error err = ERROR_INIT;
	struct codec_msg *msg, *again;
	uint8_t *packed;
	char text[64];
	size_t len;

	if (size == 0)
		return 0;
	codec_clean_text(data, size, text, sizeof(text));
	msg = codec_unpack_bytes(types[data[0] % (sizeof(types) / sizeof(types[0]))], data + 1,
				 size - 1, 1 << 20, &err);
	if (!msg) {
		if (err.code != ERR_INVALID && err.code != ERR_EXHAUSTED)
			abort();
		return 0;
	}

	len = protobuf_c_message_get_packed_size(msg->msg);
	packed = malloc(len + 1);
	if (protobuf_c_message_pack(msg->msg, packed) != len)
		abort();
	again = codec_unpack_bytes(msg->msg->descriptor, packed, len, 16 << 20, &err);
	if (!again && err.code != ERR_EXHAUSTED)
		abort(); /* what we accept, the next one accepts */
	codec_msg_free(again);
	free(packed);
	codec_msg_free(msg);
	return 0;
}
