/* text - strings from agents, made harmless for terminals, logs and etcd. */
#pragma once
#include <protobuf-c/protobuf-c.h>
#include <stddef.h>

/* Cut a string to at most `max` bytes in place, never inside a UTF-8 sequence. */
void text_clip(char *s, size_t max);

/*
 * A deep copy of a message from outside. When its strings are not all valid UTF-8 without control
 * characters, whatever is not printable ASCII becomes '?': what a container printed is no reason to
 * end a node's session.
 */
void *text_clean_dup(const ProtobufCMessage *msg);
