// links: manager_store
#include "manager/store/etcd_json.h"

#include <stdlib.h>
#include <string.h>

static size_t check_kv(const struct etcd_kv *kv)
{
	/* Everything lies in the arena, and ends with a NUL. */
	if (!kv->key_len || kv->key[kv->key_len] || ((const char *)kv->value)[kv->value_len])
		abort();
	return strlen(kv->key);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct etcd_answer answer;
	struct error err;
	size_t sum = 0;

	if (etcd_json_parse((const char *)data, size, &answer, &err) < 0)
		return 0;
	for (size_t i = 0; i < answer.n_kvs; i++)
		sum += check_kv(&answer.kvs[i]);
	for (size_t i = 0; i < answer.n_events; i++)
		sum += check_kv(&answer.events[i].kv);
	for (size_t i = 0; i < answer.n_members; i++) {
		const struct etcd_member *m = &answer.members[i];

		sum += strlen(m->name);
		for (size_t j = 0; j < m->n_peer_urls; j++)
			sum += strlen(m->peer_urls[j]);
		for (size_t j = 0; j < m->n_client_urls; j++)
			sum += strlen(m->client_urls[j]);
	}
	etcd_answer_fini(&answer);
	/* Every string was read to its end, within what was sent. */
	if (sum > size)
		abort();
	return 0;
}
