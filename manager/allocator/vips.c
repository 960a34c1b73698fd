#include "vips.h"

#include "addresses.h"
#include "pools.h"

#include "manager/store/plan.h"

#include "common/error.h"
#include "common/mem.h"

#include <sys/socket.h>

static const pb_vip *find(const pb_endpoint *endpoint, const char *network_id)
{
	for (size_t i = 0; endpoint && i < endpoint->n_vips; i++)
		if (str_eq(endpoint->vips[i]->network_id, network_id))
			return endpoint->vips[i];
	return NULL;
}

static void complain(struct strbuf *why, const char *text)
{
	strbuf_printf(why, "%s%s", why->len ? "; " : "", text);
}

static void give_family(struct addresses *a, const pb_service *service, const pb_network *network, int family,
			char **field, struct strbuf *why)
{
	char text[IPADDR_TEXT_MAX];
	struct error err = ERROR_INIT;
	struct ipaddr address;

	if (!str_empty(*field) || !pools_find(network, family))
		return;
	if (addresses_take(a, network, family, NULL, service->id, &address, &err) < 0)
		complain(why, err.msg);
	else
		pb_set_str(field, ipaddr_format_host(&address, text));
}

static void give(struct addresses *a, const pb_service *service, const pb_network *network, pb_endpoint *endpoint,
		 struct strbuf *why)
{
	const pb_vip *had = find(service->endpoint, network->id);
	pb_vip *vip = had ? pb_dup(had) : pb_new(&skein__virtual_ip__descriptor);

	pb_set_str(&vip->network_id, network->id);
	give_family(a, service, network, AF_INET, &vip->ipv4, why);
	give_family(a, service, network, AF_INET6, &vip->ipv6, why);
	if (str_empty(vip->ipv4) && str_empty(vip->ipv6))
		pb_free(vip);
	else
		pb_msgs_add(&endpoint->n_vips, &endpoint->vips, vip);
}

/* A task of the service is still there. */
static bool has_tasks_in(struct plan *p, const pb_service *service, const char *network_id)
{
	_cleanup_free_ const pb_task **tasks = NULL;
	size_t n;

	tasks = view_tasks_of_service(p->view, service->id, &n);
	for (size_t i = 0; i < n; i++)
		for (size_t k = 0; k < tasks[i]->n_networks; k++)
			if (task_holds_addresses(tasks[i]) && str_eq(tasks[i]->networks[k]->network_id, network_id))
				return true;
	return false;
}

static void keep_left(struct plan *p, const pb_service *service, pb_endpoint *endpoint)
{
	for (size_t i = 0; service->endpoint && i < service->endpoint->n_vips; i++) {
		const pb_vip *vip = service->endpoint->vips[i];

		if (!find(endpoint, vip->network_id) && has_tasks_in(p, service, vip->network_id))
			pb_msgs_add(&endpoint->n_vips, &endpoint->vips, pb_dup(vip));
	}
}

void vips_give(struct plan *p, struct addresses *a, const pb_service *service, pb_endpoint *endpoint,
	       struct strbuf *why)
{
	const pb_task_spec *spec = service_task_spec(service);

	if (endpoint->mode != ENDPOINT_VIP)
		return;
	for (size_t i = 0; spec && i < spec->n_networks; i++) {
		const pb_network *network = view_network(p->view, spec->networks[i]->network_id);

		if (network && !network->predefined && str_eq(network->spec->driver, "overlay") &&
		    !find(endpoint, network->id))
			give(a, service, network, endpoint, why);
	}
	keep_left(p, service, endpoint);
}
