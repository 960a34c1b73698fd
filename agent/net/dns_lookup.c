#include "dns_lookup.h"

#include "common/id.h"
#include "common/mem.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define TASKS_PREFIX "tasks."

void dns_addresses_fini(struct dns_addresses *a)
{
	free(a->v);
	*a = (struct dns_addresses){0};
}

static void add(struct dns_addresses *list, const struct ipaddr *a)
{
	if (!ipaddr_is_set(a) || list->n >= DNS_ADDRESSES_MAX)
		return;
	if (list->n == list->cap) {
		list->cap = MAX(16, 2 * list->cap);
		list->v = xreallocarray(list->v, list->cap, sizeof(*list->v));
	}
	list->v[list->n++] = ipaddr_host(a);
}

static int compare(const void *a, const void *b)
{
	return ipaddr_cmp(a, b);
}

static void sort_unique(struct dns_addresses *list)
{
	size_t n = 0;

	if (list->n < 2)
		return;
	qsort(list->v, list->n, sizeof(*list->v), compare);
	for (size_t i = 0; i < list->n; i++)
		if (n == 0 || ipaddr_cmp(&list->v[n - 1], &list->v[i]) != 0)
			list->v[n++] = list->v[i];
	list->n = n;
}

/* ---------------------------------------------------------------- one network */

static bool is_vip_mode(const struct model_service *s)
{
	return s->pb && s->pb->mode == ENDPOINT_VIP;
}

static bool add_vip(const struct model_service *s, const struct model_network *network, struct dns_addresses *ret)
{
	const struct model_vip *vip = is_vip_mode(s) ? model_service_vip(s, network) : NULL;

	if (!vip)
		return false;
	add(ret, &vip->ipv4);
	add(ret, &vip->ipv6);
	return true;
}

static void add_place(const struct model_place *p, struct dns_addresses *ret)
{
	add(ret, &p->ipv4);
	add(ret, &p->ipv6);
}

/* The ready endpoints. True: the service is in the network at all. */
static bool add_endpoints(const struct model_service *s, const struct model_network *network, struct dns_addresses *ret)
{
	const struct model_endpoint *e;
	bool any = model_service_vip(s, network) != NULL;

	LIST_FOREACH(e, &s->endpoints, of_service) {
		const struct model_place *p = model_endpoint_place(e, network);

		any |= p != NULL;
		if (p && e->ready)
			add_place(p, ret);
	}
	return any;
}

static bool find_endpoint(const struct model_endpoint *e, const struct model_network *network, struct dns_addresses *ret)
{
	const struct model_place *p = e ? model_endpoint_place(e, network) : NULL;

	if (p)
		add_place(p, ret);
	return p != NULL;
}

/* "web.1.<task id>", the whole name of a container. */
static const struct model_endpoint *endpoint_by_container(const struct model *m, const char *name)
{
	const char *dot = strrchr(name, '.');
	const struct model_endpoint *e = dot && id_valid(dot + 1) ? model_endpoint(m, dot + 1) : NULL;

	if (!e || strlen(e->pb->name) != (size_t)(dot - name) || strncasecmp(e->pb->name, name, (size_t)(dot - name)) != 0)
		return NULL;
	return e;
}

struct alias_search {
	struct dns_addresses *ret;
	bool known;
};

static bool on_alias(void *data, const struct model_place *p)
{
	struct alias_search *s = data;

	s->known = true;
	if (!add_vip(p->endpoint->service, p->network, s->ret) && p->endpoint->ready)
		add_place(p, s->ret);
	return s->ret->n < DNS_ADDRESSES_MAX;
}

static bool find_in(const struct model *m, const struct model_network *network, const char *name, struct dns_addresses *ret)
{
	const struct model_service *s = model_service_by_name(m, name);
	struct alias_search alias = {.ret = ret};
	bool known = false;

	if (s)
		known |= is_vip_mode(s) ? add_vip(s, network, ret) : add_endpoints(s, network, ret);
	if (strncasecmp(name, TASKS_PREFIX, strlen(TASKS_PREFIX)) == 0) {
		s = model_service_by_name(m, name + strlen(TASKS_PREFIX));
		known |= s && add_endpoints(s, network, ret);
	}
	known |= find_endpoint(model_endpoint_by_name(m, name), network, ret);
	known |= find_endpoint(endpoint_by_container(m, name), network, ret);
	model_each_alias(m, network, name, on_alias, &alias);
	return known || alias.known;
}

/* ---------------------------------------------------------------- all of them */

static const struct model_network *network_of(const struct model *m, const struct dns_asker *who, size_t i)
{
	return model_network(m, who->networks->v[i]);
}

static const char *name_of(const struct model_network *network)
{
	return network->pb->spec ? network->pb->spec->name : "";
}

/* "web" when name is "web.<suffix>"; NULL when it is not. Into buf. */
static const char *strip(const char *name, const char *suffix, char buf[static DNS_NAME_MAX + 1])
{
	size_t len = strlen(name), behind = strlen(suffix);

	if (behind && suffix[behind - 1] == '.')
		behind--;
	if (behind == 0 || len <= behind + 1 || len > DNS_NAME_MAX || name[len - behind - 1] != '.' ||
	    strncasecmp(name + len - behind, suffix, behind) != 0)
		return NULL;
	memcpy(buf, name, len - behind - 1);
	buf[len - behind - 1] = '\0';
	return buf;
}

/* A service of mode dnsrr without any endpoint is in no network that we could see: nobody else has its name either. */
static bool is_empty_service(const struct model *m, const char *name)
{
	const struct model_service *s = model_service_by_name(m, name);

	return s && !is_vip_mode(s) && LIST_EMPTY(&s->endpoints);
}

static bool find(const struct model *m, const struct dns_asker *who, const char *name, struct dns_addresses *ret)
{
	char buf[DNS_NAME_MAX + 1];
	bool known = false;

	for (size_t i = 0; i < who->networks->n; i++) {
		const struct model_network *network = network_of(m, who, i);
		const char *inner = network ? strip(name, name_of(network), buf) : NULL;

		known |= network && find_in(m, network, name, ret);
		known |= inner && find_in(m, network, inner, ret);
	}
	if (!known && who->hostname && strcasecmp(name, who->hostname) == 0) {
		for (size_t i = 0; i < who->n_addresses; i++)
			add(ret, &who->addresses[i]);
		known = true;
	}
	if (!known && who->networks->n > 0) {
		bool tasks = strncasecmp(name, TASKS_PREFIX, strlen(TASKS_PREFIX)) == 0;

		known = is_empty_service(m, tasks ? name + strlen(TASKS_PREFIX) : name);
	}
	return known;
}

bool dns_lookup_name(const struct model *m, const struct dns_asker *who, const char *name, struct dns_addresses *ret)
{
	bool known = find(m, who, name, ret);

	sort_unique(ret);
	return known;
}

bool dns_lookup_searched(const struct model *m, const struct dns_asker *who, const char *name, struct dns_addresses *ret)
{
	char buf[DNS_NAME_MAX + 1];
	bool known = false;

	for (size_t i = 0; !known && i < who->search->n; i++) {
		const char *inner = strip(name, who->search->v[i], buf);

		known = inner && find(m, who, inner, ret);
	}
	sort_unique(ret);
	return known;
}

static bool is_in(const struct model_network *network, const struct ipaddr *a)
{
	const struct ipaddr *subnet = a->family == AF_INET ? &network->subnet4 : &network->subnet6;

	return ipaddr_is_set(subnet) && ipaddr_contains(subnet, a);
}

bool dns_lookup_address(const struct model *m, const struct dns_asker *who, const struct ipaddr *address,
			char ret[static DNS_NAME_MAX + 1])
{
	bool ours = false;

	ret[0] = '\0';
	for (size_t i = 0; i < who->networks->n && !ret[0]; i++) {
		const struct model_network *network = network_of(m, who, i);
		const struct model_vip *vip;
		const struct model_place *p;
		const char *name = NULL;

		if (!network || !is_in(network, address))
			continue;
		ours = true;
		vip = model_vip_by_address(m, network, address);
		p = model_place_by_address(m, network, address);
		if (vip && vip->service->pb)
			name = vip->service->pb->name;
		else if (p && p->endpoint->pb)
			name = p->endpoint->pb->name;
		if (!str_empty(name) && strlen(name) + strlen(name_of(network)) < DNS_NAME_MAX)
			snprintf(ret, DNS_NAME_MAX + 1, "%s.%s", name, name_of(network));
	}
	return ours;
}

bool dns_has_way_out(const struct model *m, const struct dns_asker *who)
{
	for (size_t i = 0; i < who->networks->n; i++) {
		const struct model_network *network = network_of(m, who, i);

		if (!network || !network->internal)
			return true;
	}
	return who->networks->n == 0 || who->resolver_inside;
}
