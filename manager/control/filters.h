/*
 * filters - list filters "key=value": the same key twice means or, different keys mean and.
 * A table per noun names the keys, so that an unknown one gets an error with those that exist.
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>
#include <stddef.h>

struct error;
struct view;

#define FILTERS_MAX 64

struct filter_key {
	const char *key;
	bool (*match)(const struct view *v, const void *obj, const char *value);
	const char *choices; /* "a|b|c": other values are refused; NULL = any */
};

/* keys: ends with {0}. Errors: ERR_INVALID with key or value and what is accepted. */
int filters_check(const struct filter_key *keys, pb_kv *const *filters, size_t n,
		  struct error *err);
bool filters_pass(const struct filter_key *keys, pb_kv *const *filters, size_t n,
		  const struct view *v, const void *obj);

/* For match functions: "key" (present) or "key=value". */
bool filters_label(pb_kv *const *labels, size_t n, const char *value);
