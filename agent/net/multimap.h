/* multimap - pointers by a key of bytes; several may share one. Pure data. */
#pragma once
#include <stddef.h>

struct multimap_node;
struct multimap {
	struct multimap_node *nodes; /* zero-initialise */
};

void multimap_add(struct multimap *m, const void *key, size_t len, void *item);
/* Takes away this item under this key; absent: nothing. */
void multimap_del(struct multimap *m, const void *key, size_t len, const void *item);
/* The items with the key, oldest first; *ret_n = 0 and NULL when there is none. Borrowed until the next change. */
void *const *multimap_get(const struct multimap *m, const void *key, size_t len, size_t *ret_n);
/* The newest one; NULL. */
void *multimap_last(const struct multimap *m, const void *key, size_t len);
void multimap_fini(struct multimap *m);
