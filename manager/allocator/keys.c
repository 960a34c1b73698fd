#include "keys.h"

#include "manager/store/plan.h"

#include "common/mem.h"

#include <string.h>

bool keys_wanted(const pb_network *network)
{
	return network->spec && pb_kv_get(network->spec->options, network->spec->n_options, "encrypted");
}

bool keys_due(const pb_network *network, int64_t now)
{
	return keys_wanted(network) && (!network->n_keys || network->keys[0]->created_at <= now - KEYS_PERIOD_NS);
}

void keys_rotate(struct plan *p, pb_network *network)
{
	Skein__NetworkKey *key = pb_new(&skein__network_key__descriptor);

	key->id = network->n_keys ? network->keys[0]->id + 1 : 1;
	key->created_at = p->now;
	key->key.data = xmalloc(KEYS_BYTES);
	key->key.len = KEYS_BYTES;
	p->random(p->id_data, key->key.data, KEYS_BYTES);
	while (network->n_keys >= KEYS_KEPT)
		pb_msgs_del(&network->n_keys, &network->keys, network->n_keys - 1);
	pb_msgs_add(&network->n_keys, &network->keys, key);
	memmove(network->keys + 1, network->keys, (network->n_keys - 1) * sizeof(*network->keys));
	network->keys[0] = key;
}

void keys_wake(struct plan *p, const pb_network *network)
{
	if (keys_wanted(network) && network->n_keys)
		wakes_set(p->wakes, WAKE_NETWORK, network->id, network->keys[0]->created_at + KEYS_PERIOD_NS);
}
