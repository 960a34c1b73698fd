#include "redact.h"

#include "common/mem.h"
#include "common/str.h"
#include "manager/store/view.h"

#define NOTHING ((char *)protobuf_c_empty_string)

void *redact_alloc(struct redact *r, size_t size)
{
	if (r->n == r->cap) {
		r->cap = r->cap ? 2 * r->cap : 16;
		r->chunks = xreallocarray(r->chunks, r->cap, sizeof(*r->chunks));
	}
	return r->chunks[r->n++] = xcalloc(1, MAX(size, 1u));
}

void redact_fini(struct redact *r)
{
	for (size_t i = 0; i < r->n; i++)
		free(r->chunks[i]);
	free(r->chunks);
	*r = (struct redact){0};
}

static pb_task_spec *clean_task_spec(struct redact *r, pb_task_spec *spec)
{
	struct {
		pb_task_spec spec;
		pb_container_spec container;
	} * copy;

	if (!spec || !spec->container || str_empty(spec->container->registry_auth))
		return spec;
	copy = redact_alloc(r, sizeof(*copy));
	copy->spec = *spec;
	copy->container = *spec->container;
	copy->container.registry_auth = NOTHING;
	copy->spec.container = &copy->container;
	return &copy->spec;
}

static pb_service_spec *clean_service_spec(struct redact *r, pb_service_spec *spec)
{
	pb_task_spec *task = spec ? clean_task_spec(r, spec->task) : NULL;
	pb_service_spec *copy;

	if (!spec || task == spec->task)
		return spec;
	copy = redact_alloc(r, sizeof(*copy));
	*copy = *spec;
	copy->task = task;
	return copy;
}

pb_service *redact_service(struct redact *r, const pb_service *service)
{
	pb_service *copy = redact_alloc(r, sizeof(*copy));

	*copy = *service;
	copy->spec = clean_service_spec(r, service->spec);
	copy->previous_spec = clean_service_spec(r, service->previous_spec);
	return copy;
}

pb_task *redact_task(struct redact *r, const pb_task *task)
{
	pb_task *copy = redact_alloc(r, sizeof(*copy));

	*copy = *task;
	copy->spec = clean_task_spec(r, task->spec);
	return copy;
}

pb_task *redact_task_slim(struct redact *r, const pb_task *task)
{
	pb_task *copy = redact_alloc(r, sizeof(*copy));

	*copy = *task;
	copy->spec = NULL;
	copy->n_service_labels = 0;
	copy->service_labels = NULL;
	return copy;
}

pb_token *redact_token(struct redact *r, const pb_token *token)
{
	pb_token *copy = redact_alloc(r, sizeof(*copy));

	*copy = *token;
	copy->secret = NOTHING;
	copy->secret_sha256 = (ProtobufCBinaryData){0};
	return copy;
}

pb_ui_token *redact_ui_token(struct redact *r, const pb_ui_token *token)
{
	pb_ui_token *copy = redact_alloc(r, sizeof(*copy));

	*copy = *token;
	copy->secret_sha256 = (ProtobufCBinaryData){0};
	return copy;
}

pb_network *redact_network(struct redact *r, const pb_network *network)
{
	pb_network *copy = redact_alloc(r, sizeof(*copy));

	*copy = *network;
	copy->n_keys = 0;
	copy->keys = NULL;
	return copy;
}

pb_migration *redact_migration(struct redact *r, const pb_migration *migration)
{
	pb_migration *copy = redact_alloc(r, sizeof(*copy));

	*copy = *migration;
	copy->ticket = (ProtobufCBinaryData){0};
	return copy;
}

void redact_node_names(struct redact *r, const struct view *v, size_t *ret_n, pb_kv ***ret_list)
{
	_cleanup_free_ const void **nodes = NULL;
	size_t n;

	nodes = view_list(v, KIND_NODE, &n);
	*ret_list = redact_alloc(r, n * sizeof(**ret_list));
	*ret_n = n;
	for (size_t i = 0; i < n; i++) {
		pb_kv *kv = redact_alloc(r, sizeof(*kv));

		*kv = (pb_kv)SKEIN__KEY_VALUE__INIT;
		kv->key = ((const pb_node *)nodes[i])->id;
		kv->value = (char *)pb_node_name(nodes[i]);
		(*ret_list)[i] = kv;
	}
}

void redact_task_spec(pb_task_spec *spec)
{
	if (spec && spec->container)
		pb_set_str(&spec->container->registry_auth, "");
}
