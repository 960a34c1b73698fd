/* events_text - an event as a line, as JSON in Docker's form, and through a template. Pure. */
#pragma once
#include "proto/pb.h"

#include <jansson.h>

struct strbuf;

/* "2026-01-31T12:00:00.000000000Z service update k3x9... (image.new=web:2, name=web)", with a newline. */
void events_line(const pb_event *e, struct strbuf *out);
/* {"Type","Action","Actor":{"ID","Attributes":{}},"scope":"swarm","time","timeNano"} and "ID", "Name", "Time". Yours. */
json_t *events_json(const pb_event *e);
