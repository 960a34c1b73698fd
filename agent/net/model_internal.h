/* model_internal - between model.c (messages, objects) and model_index.c (who is found by what). */
#pragma once
#include "model.h"
#include "multimap.h"

#define MODEL_KEY_MAX 640

struct model_drained {
	UT_hash_handle hh;
	char id[];
};

struct model {
	struct model_hooks hooks;
	struct model_node *nodes;
	struct model_network *networks;
	struct model_service *services;
	struct model_endpoint *endpoints;
	struct model_drained *draining;
	struct multimap service_names, endpoint_names, ports; /* services, endpoints, services */
	struct multimap aliases, addresses, vips;             /* places, places, vips */
	uint64_t sequence, revision;
	unsigned epoch, malformed;
	bool beginning, completing, complete;
};

void model_index_service(struct model *m, struct model_service *s, bool add);
void model_index_endpoint(struct model *m, struct model_endpoint *e, bool add);
void model_index_fini(struct model *m);
