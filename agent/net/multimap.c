#include "multimap.h"

#include "common/mem.h"

#include <string.h>
#include <uthash.h>

struct multimap_node {
	UT_hash_handle hh;
	void **items;
	size_t n;
	size_t len;
	char key[];
};

static struct multimap_node *find(const struct multimap *m, const void *key, size_t len)
{
	struct multimap_node *node;

	HASH_FIND(hh, m->nodes, key, len, node);
	return node;
}

void multimap_add(struct multimap *m, const void *key, size_t len, void *item)
{
	struct multimap_node *node = find(m, key, len);

	if (!node) {
		node = xcalloc(1, sizeof(*node) + len);
		node->len = len;
		memcpy(node->key, key, len);
		HASH_ADD_KEYPTR(hh, m->nodes, node->key, len, node);
	}
	node->items = xreallocarray(node->items, node->n + 1, sizeof(*node->items));
	node->items[node->n++] = item;
}

static void drop(struct multimap *m, struct multimap_node *node)
{
	HASH_DELETE(hh, m->nodes, node);
	free(node->items);
	free(node);
}

void multimap_del(struct multimap *m, const void *key, size_t len, const void *item)
{
	struct multimap_node *node = find(m, key, len);

	for (size_t i = 0; node && i < node->n; i++) {
		if (node->items[i] != item)
			continue;
		memmove(&node->items[i], &node->items[i + 1], (node->n - i - 1) * sizeof(*node->items));
		if (--node->n == 0)
			drop(m, node);
		return;
	}
}

void *const *multimap_get(const struct multimap *m, const void *key, size_t len, size_t *ret_n)
{
	struct multimap_node *node = find(m, key, len);

	*ret_n = node ? node->n : 0;
	return node ? node->items : NULL;
}

void *multimap_last(const struct multimap *m, const void *key, size_t len)
{
	struct multimap_node *node = find(m, key, len);

	return node ? node->items[node->n - 1] : NULL;
}

void multimap_fini(struct multimap *m)
{
	struct multimap_node *node, *next;

	HASH_ITER(hh, m->nodes, node, next)
		drop(m, node);
}
