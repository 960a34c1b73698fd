#include "peers.h"

#include "common/mem.h"
#include "common/str.h"
#include "manager/store/view.h"

#include <stdio.h>
#include <string.h>
#include <uthash.h>

#define HOLDERS_MAX 64 /* more of them make no transfer faster */

struct holders {
	UT_hash_handle hh;
	const pb_node *nodes[HOLDERS_MAX];
	size_t n;
	char digest[];
};

struct peers {
	const struct view *view;
	struct holders *by_digest;
};

struct peers *peers_new(const struct view *v)
{
	struct peers *p = xnew(struct peers);

	p->view = v;
	return p;
}

void peers_free(struct peers *p)
{
	struct holders *h, *next;

	if (!p)
		return;
	HASH_ITER(hh, p->by_digest, h, next)
	{
		HASH_DEL(p->by_digest, h);
		free(h);
	}
	free(p);
}

static bool reports(const pb_node *node, const char *digest)
{
	const pb_node_description *d = node ? node->description : NULL;

	for (size_t i = 0; d && i < d->n_images; i++)
		if (str_eq(d->images[i]->digest, digest))
			return true;
	return false;
}

static bool reachable(const pb_node *node)
{
	return node->status && node->status->state == (Skein__NodeState)NODE_READY &&
	       !str_empty(node->status->address) && node->peer_port;
}

static struct holders *holders_of(struct peers *p, const char *digest)
{
	_cleanup_free_ const void **nodes = NULL;
	size_t n, len = strlen(digest);
	struct holders *h;

	HASH_FIND_STR(p->by_digest, digest, h);
	if (h)
		return h;
	h = xcalloc(1, sizeof(*h) + len + 1);
	memcpy(h->digest, digest, len);
	nodes = view_list(p->view, KIND_NODE, &n);
	for (size_t i = 0; i < n && h->n < HOLDERS_MAX; i++)
		if (reachable(nodes[i]) && reports(nodes[i], digest))
			h->nodes[h->n++] = nodes[i];
	HASH_ADD_KEYPTR(hh, p->by_digest, h->digest, len, h);
	return h;
}

char *peers_address(const pb_node *node)
{
	const char *host = node->status ? node->status->address : "";
	bool v6 = strchr(host, ':') && host[0] != '[';

	if (str_empty(host) || !node->peer_port)
		return xstrdup("");
	return xasprintf(v6 ? "[%s]:%u" : "%s:%u", host, node->peer_port);
}

static Skein__ImagePeer *peer_of(const pb_node *node)
{
	Skein__ImagePeer *peer = pb_new(&skein__image_peer__descriptor);
	_cleanup_free_ char *address = peers_address(node);

	pb_set_str(&peer->node_id, node->id);
	pb_set_str(&peer->address, address);
	return peer;
}

void peers_find(struct peers *p, const pb_task *task, const char *for_node, size_t *n,
		Skein__ImagePeer ***list)
{
	const pb_container_spec *container = task->spec ? task->spec->container : NULL;
	const char *digest = container ? container->image_digest : "";
	const struct holders *h;
	size_t first = 0, added = 0;

	if (str_empty(digest) || reports(view_node(p->view, for_node), digest))
		return;
	h = holders_of(p, digest);
	for (const char *s = for_node; *s; s++)
		first = first * 31 + (unsigned char)*s;
	for (size_t i = 0; i < h->n && added < PEERS_MAX; i++) {
		const pb_node *node = h->nodes[(first + i) % h->n];

		if (str_eq(node->id, for_node))
			continue;
		pb_msgs_add(n, list, peer_of(node));
		added++;
	}
}
