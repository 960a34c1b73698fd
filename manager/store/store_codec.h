/*
 * store_codec - how objects lie in etcd. Pure functions.
 *
 *   <prefix>/<kind>/<id>          the packed object; meta.revision is not stored, etcd has it
 *   <prefix>/name/<kind>/<name>   id of the object that has the (unique) name
 */
#pragma once
#include "view.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

char *store_key(const char *prefix, enum kind kind, const char *id);
char *store_name_key(const char *prefix, enum kind kind, const char *name);

/* Kind and id of an object's key; the id points into the key. False for any other key. */
bool store_key_parse(const char *prefix, const char *key, size_t len, enum kind *ret_kind, const char **ret_id);

/* Pack an object for etcd. Its meta is brought up to date first: created_at if it has none, updated_at. */
void *store_value_pack(enum kind kind, void *obj, int64_t now_ns, size_t *ret_len);

/* NULL when the bytes are not an object of that kind and id. */
void *store_value_unpack(enum kind kind, const char *id, const void *value, size_t len, uint64_t revision);
