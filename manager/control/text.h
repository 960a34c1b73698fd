/* text - strings of a request: UTF-8 without control characters, or refused with the field's name.
 */
#pragma once
#include <protobuf-c/protobuf-c.h>

struct error;

/* A heap copy, or NULL with ERR_INVALID that names the first field that is not clean:
 * "spec.task.env[2]". */
void *text_checked_dup(const ProtobufCMessage *msg, struct error *err);
