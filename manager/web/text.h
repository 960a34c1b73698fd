/* text - strings of others as JSON: always valid UTF-8, whatever a container printed. Pure. */
#pragma once
#include <jansson.h>
#include <stddef.h>

/* What is no UTF-8 becomes U+FFFD. NULL is "". */
json_t *text_json(const char *s);
json_t *text_json_n(const char *s, size_t len);

/* Set a member; "" and NULL are left out. */
void text_set(json_t *object, const char *member, const char *value);
