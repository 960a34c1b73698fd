/*
 * pb_json - a message as JSON, by its descriptor; for `inspect` and the JSON formats.
 *
 * Field names are the proto's. Enums are lower-case names ("on-failure"), times RFC 3339 strings
 * (null when not set), durations ns with a readable twin ("delay": 5000000000, "delay_text": "5s"),
 * lists of key and value objects. Secrets are never printed: "(hidden)" when set, left out when
 * not.
 */
#pragma once
#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

json_t *pb_json(const ProtobufCMessage *msg);

/*
 * A path as templates write it ("Spec.Name", "spec.name", "ID"): case and underscores do not count.
 * Borrowed; NULL when there is none - then *ret_at is the deepest object reached (for the message).
 */
json_t *pb_json_path(json_t *root, const char *path, json_t **ret_at);

/* A value as text in a template: strings bare, the rest as JSON. Yours. */
char *pb_json_text(json_t *value);
