#include "model_internal.h"

#include "common/mem.h"
#include "common/str.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

struct key {
	char bytes[MODEL_KEY_MAX];
	size_t len;
};

static void key_add(struct key *k, const void *data, size_t len)
{
	len = MIN(len, sizeof(k->bytes) - k->len);
	memcpy(k->bytes + k->len, data, len);
	k->len += len;
}

/* DNS compares names without case (RFC 4343); only ASCII has one here. */
static void key_add_name(struct key *k, const char *name)
{
	for (; *name && k->len < sizeof(k->bytes); name++)
		k->bytes[k->len++] = (char)tolower((unsigned char)*name);
}

static struct key key_of_name(const char *name)
{
	struct key k = {.len = 0};

	key_add_name(&k, name);
	return k;
}

static struct key key_of_alias(const struct model_network *network, const char *alias)
{
	struct key k = {.len = 0};

	key_add(&k, &network, sizeof(network));
	key_add_name(&k, alias);
	return k;
}

static struct key key_of_address(const struct model_network *network, const struct ipaddr *a)
{
	struct key k = {.len = 0};

	key_add(&k, &network, sizeof(network));
	key_add(&k, &a->family, sizeof(a->family));
	key_add(&k, a->bytes, a->family == AF_INET ? 4 : 16);
	return k;
}

static struct key key_of_port(const char *protocol, uint32_t port)
{
	struct key k = {.len = 0};

	key_add(&k, &port, sizeof(port));
	key_add_name(&k, protocol);
	return k;
}

static void put(struct multimap *map, const struct key *k, void *item, bool add)
{
	if (add)
		multimap_add(map, k->bytes, k->len, item);
	else
		multimap_del(map, k->bytes, k->len, item);
}

static void put_address(struct multimap *map, const struct model_network *network, const struct ipaddr *a, void *item,
			bool add)
{
	struct key k = key_of_address(network, a);

	if (ipaddr_is_set(a))
		put(map, &k, item, add);
}

void model_index_service(struct model *m, struct model_service *s, bool add)
{
	struct key name = key_of_name(s->pb->name);

	put(&m->service_names, &name, s, add);
	for (size_t i = 0; i < s->pb->n_ports; i++) {
		const pb_port *p = s->pb->ports[i];
		struct key k = key_of_port(p->protocol, p->published);

		if (p->mode == PUBLISH_INGRESS && p->published)
			put(&m->ports, &k, s, add);
	}
	for (size_t i = 0; i < s->n_vips; i++) {
		put_address(&m->vips, s->vips[i].network, &s->vips[i].ipv4, &s->vips[i], add);
		put_address(&m->vips, s->vips[i].network, &s->vips[i].ipv6, &s->vips[i], add);
	}
}

static void index_place(struct model *m, struct model_place *p, bool add)
{
	put_address(&m->addresses, p->network, &p->ipv4, p, add);
	put_address(&m->addresses, p->network, &p->ipv6, p, add);
	for (size_t i = 0; i < p->pb->n_aliases; i++) {
		struct key k = key_of_alias(p->network, p->pb->aliases[i]);

		put(&m->aliases, &k, p, add);
	}
}

void model_index_endpoint(struct model *m, struct model_endpoint *e, bool add)
{
	struct key name = key_of_name(e->pb->name);

	put(&m->endpoint_names, &name, e, add);
	for (size_t i = 0; i < e->n_places; i++)
		index_place(m, &e->places[i], add);
}

void model_index_fini(struct model *m)
{
	struct multimap *maps[] = {&m->service_names, &m->endpoint_names, &m->ports,
				   &m->aliases,       &m->addresses,      &m->vips};

	for (size_t i = 0; i < ARRAY_SIZE(maps); i++)
		multimap_fini(maps[i]);
}

/* ---- looking */

static void *last(const struct multimap *map, struct key k)
{
	return multimap_last(map, k.bytes, k.len);
}

struct model_service *model_service_by_name(const struct model *m, const char *name)
{
	return last(&m->service_names, key_of_name(name));
}

struct model_endpoint *model_endpoint_by_name(const struct model *m, const char *name)
{
	return last(&m->endpoint_names, key_of_name(name));
}

struct model_service *model_service_by_port(const struct model *m, const char *protocol, uint16_t published)
{
	return last(&m->ports, key_of_port(protocol, published));
}

struct model_vip *model_vip_by_address(const struct model *m, const struct model_network *network,
				       const struct ipaddr *address)
{
	return last(&m->vips, key_of_address(network, address));
}

struct model_place *model_place_by_address(const struct model *m, const struct model_network *network,
					   const struct ipaddr *address)
{
	return last(&m->addresses, key_of_address(network, address));
}

size_t model_count_by_address(const struct model *m, const struct model_network *network, const struct ipaddr *address)
{
	struct key k = key_of_address(network, address);
	size_t n;

	multimap_get(&m->addresses, k.bytes, k.len, &n);
	return n;
}

const struct model_vip *model_service_vip(const struct model_service *s, const struct model_network *network)
{
	for (size_t i = 0; i < s->n_vips; i++)
		if (s->vips[i].network == network)
			return &s->vips[i];
	return NULL;
}

const struct model_place *model_endpoint_place(const struct model_endpoint *e, const struct model_network *network)
{
	for (size_t i = 0; i < e->n_places; i++)
		if (e->places[i].network == network)
			return &e->places[i];
	return NULL;
}

bool model_place_has_alias(const struct model_place *p, const char *name)
{
	for (size_t i = 0; i < p->pb->n_aliases; i++)
		if (strcasecmp(p->pb->aliases[i], name) == 0)
			return true;
	return false;
}

void model_each_alias(const struct model *m, const struct model_network *network, const char *alias,
		      bool (*cb)(void *data, const struct model_place *p), void *data)
{
	struct key k = key_of_alias(network, alias);
	size_t n;
	void *const *places = multimap_get(&m->aliases, k.bytes, k.len, &n);

	for (size_t i = 0; i < n; i++)
		if (!cb(data, places[i]))
			return;
}
