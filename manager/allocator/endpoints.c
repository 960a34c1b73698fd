#include "endpoints.h"

#include "ports.h"
#include "vips.h"

#include "manager/store/plan.h"

#include "common/mem.h"

/* Nothing asked for, nothing given: not worth a write. */
static bool is_empty(const pb_endpoint *e)
{
	return !e->n_ports && !e->n_vips && e->mode == ENDPOINT_VIP && str_empty(e->err);
}

static void give(struct plan *p, struct addresses *a, struct ports *ports, const pb_service *service)
{
	_cleanup_pb_ pb_endpoint *endpoint = pb_new(&skein__endpoint__descriptor);
	_cleanup_strbuf_ struct strbuf why = {0};
	pb_service *copy;

	if (!service->spec)
		return;
	endpoint->mode = service->spec->endpoint ? service->spec->endpoint->mode : ENDPOINT_VIP;
	ports_give(ports, service, endpoint, &why);
	vips_give(p, a, service, endpoint, &why);
	pb_set_str(&endpoint->err, why.p);
	if (service->endpoint ? pb_equal(service->endpoint, endpoint) : is_empty(endpoint))
		return;
	copy = txn_edit(p->txn, KIND_SERVICE, service->id);
	pb_set_msg(&copy->endpoint, endpoint);
	txn_put(p->txn, KIND_SERVICE, copy);
}

static void waiting_services(struct plan *p, struct idset *set)
{
	_cleanup_free_ const void **services = NULL;
	size_t n;

	services = view_list(p->view, KIND_SERVICE, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_service *s = services[i];

		if (s->endpoint && !str_empty(s->endpoint->err))
			idset_add(set, s->id);
	}
}

static void services_of(struct plan *p, const char *network_id, struct idset *set)
{
	_cleanup_free_ const pb_service **services = NULL;
	size_t n;

	services = view_services_of_network(p->view, network_id, &n);
	for (size_t i = 0; i < n; i++)
		idset_add(set, services[i]->id);
}

void endpoints_plan(struct plan *p, struct addresses *a)
{
	struct ports *ports = ports_new(p);
	struct idset set = {0};

	idset_add_all(&set, &p->scope);
	for (struct idset_entry *e = p->dirty->networks.entries; e; e = e->hh.next)
		services_of(p, e->id, &set);
	if (p->dirty->ports)
		waiting_services(p, &set);
	for (struct idset_entry *e = set.entries; e; e = e->hh.next) {
		const pb_service *service = view_service(p->view, e->id);

		if (service)
			give(p, a, ports, service);
	}
	idset_clear(&set);
	ports_free(ports);
}
