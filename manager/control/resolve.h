/*
 * resolve - what a user means: an id, a name, or the beginning of an id that only one object has.
 * Results are borrowed from the view. Errors: ERR_INVALID empty; ERR_NOT_FOUND "no such service:
 * web"; ERR_PRECONDITION "service id prefix ab is ambiguous (3 matches)".
 */
#pragma once
#include "proto/pb.h"

struct error;
struct view;

const pb_service *resolve_service(const struct view *v, const char *ref, struct error *err);
/* Names: spec.name, then the hostname. */
const pb_node *resolve_node(const struct view *v, const char *ref, struct error *err);
/* Names: "web.1.<task id>", and "web.1" (or "web.<node id>"): the newest of the slot. */
const pb_task *resolve_task(const struct view *v, const char *ref, struct error *err);
const pb_network *resolve_network(const struct view *v, const char *ref, struct error *err);
const pb_token *resolve_token(const struct view *v, const char *ref, struct error *err);
const pb_ui_token *resolve_ui_token(const struct view *v, const char *ref, struct error *err);
/* Also by a task that is being moved. */
const pb_migration *resolve_migration(const struct view *v, const char *ref, struct error *err);
