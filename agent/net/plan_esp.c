#include "plan.h"

#include "common/digest.h"
#include "common/mem.h"

#include <string.h>
#include <sys/socket.h>

#define KEY_BYTES 20
#define LABEL "skein esp"

/* VNIs begin at 4096, so that this is no reserved SPI; the low byte tells a network's keys apart. */
static uint32_t spi_of(const struct model_network *network, const Skein__NetworkKey *key)
{
	return network->vni << 8 | (key->id & 0xff);
}

uint32_t plan_esp_mark(uint32_t vni)
{
	return PLAN_ESP_MARK | vni;
}

/*
 * The network's key is the same on all nodes, and AES-GCM must never see a nonce twice under one key: each direction
 * between two nodes gets a key of its own (RFC 4106 section 4 leaves the counter to one sender per key).
 */
static void derive(const Skein__NetworkKey *key, uint32_t spi, const struct ipaddr *from, const struct ipaddr *to,
		   uint8_t ret[static KEY_BYTES])
{
	uint8_t text[sizeof(LABEL) + sizeof(spi) + 2 * sizeof(from->bytes)] = LABEL;
	uint8_t mac[DIGEST_MAC_BYTES];
	uint8_t *p = text + sizeof(LABEL);

	for (int shift = 24; shift >= 0; shift -= 8)
		*p++ = (uint8_t)(spi >> shift);
	memcpy(p, from->bytes, sizeof(from->bytes));
	memcpy(p + sizeof(from->bytes), to->bytes, sizeof(to->bytes));
	digest_mac(key->key.data, key->key.len, text, sizeof(text), mac);
	memcpy(ret, mac, KEY_BYTES);
	mem_wipe(mac, sizeof(mac));
}

static void put_state(const struct plan_out *out, const struct model_network *network, const Skein__NetworkKey *key,
		      const struct ipaddr *from, const struct ipaddr *to)
{
	struct netstate_entry e = {.kind = NETSTATE_XFRM_STATE};

	e.xfrm_state.src = ipaddr_host(from);
	e.xfrm_state.dst = ipaddr_host(to);
	e.xfrm_state.spi = spi_of(network, key);
	e.xfrm_state.reqid = network->vni;
	derive(key, e.xfrm_state.spi, &e.xfrm_state.src, &e.xfrm_state.dst, e.xfrm_state.key);
	plan_put(out, &e);
	mem_wipe(&e, sizeof(e));
}

/*
 * The newest key is only listened to: by the time of the next rotation every node has it. So what is sent is
 * understood, however late some node hears of a rotation.
 */
static const Skein__NetworkKey *sending_key(const struct model_network *network)
{
	return network->pb->keys[network->pb->n_keys > 1 ? 1 : 0];
}

static void put_policy(const struct plan_out *out, const struct plan_self *self, const struct model_network *network,
		       const struct model_node *node)
{
	struct netstate_entry e = {.kind = NETSTATE_XFRM_POLICY,
				   .xfrm_policy = {.out = true,
						   .port = self->vxlan_port,
						   .mark = plan_esp_mark(network->vni),
						   .mask = UINT32_MAX,
						   .spi = spi_of(network, sending_key(network)),
						   .reqid = network->vni,
						   .required = true}};

	e.xfrm_policy.src = ipaddr_host(&self->address);
	e.xfrm_policy.dst = ipaddr_host(&node->address);
	plan_put(out, &e);
}

void plan_esp_node(const struct plan_out *out, const struct plan_self *self, const struct model_network *network,
		   const struct model_node *node)
{
	if (!network->encrypted || !network->vni || !network->pb->n_keys || str_eq(node->id, self->node_id) ||
	    node->address.family != self->address.family || !ipaddr_is_set(&self->address))
		return;
	for (size_t i = 0; i < network->pb->n_keys; i++) {
		const Skein__NetworkKey *key = network->pb->keys[i];

		if (key->key.len != KEY_BYTES)
			continue;
		put_state(out, network, key, &self->address, &node->address);
		put_state(out, network, key, &node->address, &self->address);
	}
	if (sending_key(network)->key.len == KEY_BYTES)
		put_policy(out, self, network, node);
}
