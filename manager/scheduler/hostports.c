#include "hostports.h"

#include "manager/store/view.h"

#include "common/mem.h"
#include "common/str.h"

static bool is_any(const char *host_ip)
{
	return str_empty(host_ip) || str_eq(host_ip, "0.0.0.0") || str_eq(host_ip, "::");
}

static bool collide(const pb_port *a, const pb_port *b)
{
	return a->mode == PUBLISH_HOST && b->mode == PUBLISH_HOST && a->published == b->published &&
	       str_eq(a->protocol, b->protocol) &&
	       (is_any(a->host_ip) || is_any(b->host_ip) || str_eq(a->host_ip, b->host_ip));
}

const pb_port *hostports_first(const pb_service *service)
{
	const pb_endpoint *e = service ? service->endpoint : NULL;

	for (size_t i = 0; e && i < e->n_ports; i++)
		if (e->ports[i]->mode == PUBLISH_HOST)
			return e->ports[i];
	return NULL;
}

const pb_port *hostports_shared(const pb_service *a, const pb_service *b)
{
	if (!a->endpoint || !b->endpoint)
		return NULL;
	for (size_t i = 0; i < a->endpoint->n_ports; i++)
		for (size_t k = 0; k < b->endpoint->n_ports; k++)
			if (collide(a->endpoint->ports[i], b->endpoint->ports[k]))
				return a->endpoint->ports[i];
	return NULL;
}

const pb_service **hostports_rivals(const struct view *view, const pb_service *service, size_t *ret_n)
{
	const pb_service **rivals;
	size_t n, kept = 0;

	*ret_n = 0;
	if (!hostports_first(service))
		return NULL;
	rivals = (const pb_service **)view_list(view, KIND_SERVICE, &n);
	for (size_t i = 0; i < n; i++)
		if (hostports_shared(service, rivals[i]))
			rivals[kept++] = rivals[i];
	*ret_n = kept;
	return rivals;
}
