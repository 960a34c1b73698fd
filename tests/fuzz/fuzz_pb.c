// links: proto
#include "proto/pb.h"

#include <stdlib.h>

/* First byte: which message; the rest: its bytes. What is accepted must survive a round trip. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const ProtobufCMessageDescriptor *const types[] = {
		&skein__task__descriptor, &skein__service__descriptor, &skein__node__descriptor,
		&skein__agent_message__descriptor, &skein__dispatcher_message__descriptor,
		&skein__create_service_request__descriptor, &skein__issue_request__descriptor,
	};
	void *msg, *copy;

	if (!size)
		return 0;
	msg = pb_unpack(types[data[0] % (sizeof(types) / sizeof(types[0]))], data + 1, size - 1);
	if (!msg)
		return 0;
	copy = pb_dup(msg);
	if (!pb_equal(msg, copy))
		abort();
	pb_free(copy);
	pb_free(msg);
	return 0;
}
