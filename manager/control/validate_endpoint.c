#include "validate.h"

#include "common/error.h"
#include "common/ipaddr.h"
#include "common/mem.h"
#include "common/str.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define PORTS_MAX 1000
#define NETWORKS_MAX 64
#define ALIASES_MAX 32
#define PORT_MAX 65535
#define WEIGHT_MAX 256

static bool is_one_of(const char *s, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(s, list[i]))
			return true;
	return false;
}

/* ---------------------------------------------------------------- attachments */

static int check_alias(const pb_attachment_config *c, size_t i, size_t k, struct error *err)
{
	const char *alias = c->aliases[k];

	if (!validate_is_hostname(alias))
		return validate_refuse(err, alias,
				       "must be labels of letters, digits and inner -, joined by dots",
				       "task.networks[%zu].aliases", i);
	for (size_t m = 0; m < k; m++)
		if (!strcasecmp(c->aliases[m], alias))
			return validate_refuse(err, alias, "is there twice",
					       "task.networks[%zu].aliases", i);
	return 0;
}

static bool starts_first(const pb_update_config *u)
{
	return u && u->order == SKEIN__UPDATE_ORDER__START_FIRST;
}

static int check_wanted(const pb_service_spec *spec, const char *field, const char *text,
			int family, struct error *err)
{
	bool one = spec->mode_case == SKEIN__SERVICE_SPEC__MODE_REPLICATED && spec->replicated &&
		   spec->replicated->replicas == 1;
	struct ipaddr addr;

	if (str_empty(text))
		return 0;
	if (ipaddr_parse(text, &addr, NULL) < 0 || addr.family != family || strchr(text, '/'))
		return validate_refuse(err, text,
				       family == AF_INET ? "must be an IPv4 address"
							 : "must be an IPv6 address",
				       "%s", field);
	if (!one)
		return validate_refuse(err, text,
				       "only a replicated service with one task can choose its address",
				       "%s", field);
	if (starts_first(spec->update))
		return validate_refuse(err, text,
				       "an update with order start-first needs a second address: "
				       "use stop-first",
				       "%s", field);
	if (starts_first(spec->rollback))
		return validate_refuse(err, text,
				       "a rollback with order start-first needs a second address: "
				       "use stop-first",
				       "%s", field);
	return 0;
}

static int check_attachment(const pb_service_spec *spec, size_t i, struct error *err)
{
	const pb_attachment_config *c = spec->task->networks[i];
	char field[64];

	if (str_empty(c->network_id) && str_empty(c->network_name))
		return error_set(err, ERR_INVALID, "task.networks[%zu]: must name a network", i);
	if (c->n_aliases > ALIASES_MAX)
		return error_set(err, ERR_EXHAUSTED, "task.networks[%zu].aliases: %zu: at most %d", i,
				 c->n_aliases, ALIASES_MAX);
	for (size_t k = 0; k < c->n_aliases; k++)
		if (check_alias(c, i, k, err) < 0)
			return -1;
	snprintf(field, sizeof(field), "task.networks[%zu].ipv4", i);
	if (check_wanted(spec, field, c->ipv4, AF_INET, err) < 0)
		return -1;
	snprintf(field, sizeof(field), "task.networks[%zu].ipv6", i);
	return check_wanted(spec, field, c->ipv6, AF_INET6, err);
}

static int check_networks(const pb_service_spec *spec, struct error *err)
{
	static const char *const kinds[] = {"bridge", "host", "none"};
	const pb_task_spec *task = spec->task;
	bool alone = !str_eq(task->network, "bridge");

	if (!is_one_of(task->network, kinds, ARRAY_SIZE(kinds)))
		return validate_refuse(err, task->network, "must be bridge, host or none",
				       "task.network");
	if (alone && task->n_networks)
		return validate_refuse(err, task->network, "goes with no other network",
				       "task.network");
	if (task->n_networks > NETWORKS_MAX)
		return error_set(err, ERR_EXHAUSTED, "task.networks: %zu of them: at most %d",
				 task->n_networks, NETWORKS_MAX);
	for (size_t i = 0; i < task->n_networks; i++)
		if (check_attachment(spec, i, err) < 0)
			return -1;
	return 0;
}

/* ---------------------------------------------------------------- ports */

static const char *port_text(const pb_port *p, char buf[static 160])
{
	if (p->published)
		snprintf(buf, 160, "%.64s%s%" PRIu32 ":%" PRIu32 "/%.16s", p->host_ip,
			 *p->host_ip ? ":" : "", p->published, p->target, p->protocol);
	else
		snprintf(buf, 160, "%" PRIu32 "/%.16s", p->target, p->protocol);
	return buf;
}

static bool same_host_ip(const pb_port *a, const pb_port *b)
{
	return str_empty(a->host_ip) || str_empty(b->host_ip) || str_eq(a->host_ip, b->host_ip);
}

/* Both on one node would want the same thing of the host. */
static bool collide(const pb_port *a, const pb_port *b)
{
	if (!a->published || a->published != b->published || !str_eq(a->protocol, b->protocol))
		return false;
	return (int)a->mode == PUBLISH_INGRESS || (int)b->mode == PUBLISH_INGRESS ||
	       same_host_ip(a, b);
}

static int check_host_ip(const pb_port *p, const char *text, size_t i, struct error *err)
{
	struct ipaddr addr;

	if (str_empty(p->host_ip))
		return 0;
	if ((int)p->mode != PUBLISH_HOST)
		return validate_refuse(err, text,
				       "an address of the host is for mode host: in ingress mode the "
				       "port is open on every node",
				       "endpoint.ports[%zu]", i);
	if (ipaddr_parse(p->host_ip, &addr, NULL) < 0 || strchr(p->host_ip, '/'))
		return validate_refuse(err, text, "the address of the host must be an IP address",
				       "endpoint.ports[%zu]", i);
	return 0;
}

static int check_port(const pb_endpoint_spec *e, size_t i, struct error *err)
{
	static const char *const protocols[] = {"tcp", "udp", "sctp"};
	const pb_port *p = e->ports[i];
	char text[160];

	port_text(p, text);
	if (!is_one_of(p->protocol, protocols, ARRAY_SIZE(protocols)))
		return validate_refuse(err, text, "the protocol must be tcp, udp or sctp",
				       "endpoint.ports[%zu]", i);
	if (!p->target || p->target > PORT_MAX)
		return validate_refuse(err, text, "the target port must be 1 to 65535",
				       "endpoint.ports[%zu]", i);
	if (p->published > PORT_MAX)
		return validate_refuse(err, text,
				       "the published port must be 1 to 65535, or 0 to get one",
				       "endpoint.ports[%zu]", i);
	if ((int)p->mode != PUBLISH_INGRESS && (int)p->mode != PUBLISH_HOST)
		return error_set(err, ERR_INVALID,
				 "endpoint.ports[%zu] \"%s\": mode %d: must be ingress or host", i, text,
				 (int)p->mode);
	if ((int)p->mode == PUBLISH_INGRESS && (int)e->mode == ENDPOINT_DNSRR)
		return validate_refuse(err, text,
				       "ports in mode ingress need endpoint mode vip: use mode host",
				       "endpoint.ports[%zu]", i);
	if (check_host_ip(p, text, i, err) < 0)
		return -1;
	for (size_t k = 0; k < i; k++)
		if (collide(e->ports[k], p))
			return validate_refuse(err, text, "this port is published twice",
					       "endpoint.ports[%zu]", i);
	return 0;
}

static int check_ports(const pb_service_spec *spec, struct error *err)
{
	const pb_endpoint_spec *e = spec->endpoint;
	char text[160];

	if (!e)
		return 0;
	if ((int)e->mode != ENDPOINT_VIP && (int)e->mode != ENDPOINT_DNSRR)
		return error_set(err, ERR_INVALID, "endpoint.mode %d: must be vip or dnsrr",
				 (int)e->mode);
	if (e->n_ports > PORTS_MAX)
		return error_set(err, ERR_EXHAUSTED, "endpoint.ports: %zu of them: at most %d",
				 e->n_ports, PORTS_MAX);
	if (e->n_ports && str_eq(spec->task->network, "host"))
		return validate_refuse(err, port_text(e->ports[0], text),
				       "containers with network host open ports of the host themselves",
				       "endpoint.ports[0]");
	if (e->n_ports && str_eq(spec->task->network, "none"))
		return validate_refuse(err, port_text(e->ports[0], text),
				       "containers with network none cannot be reached",
				       "endpoint.ports[0]");
	for (size_t i = 0; i < e->n_ports; i++)
		if (check_port(e, i, err) < 0)
			return -1;
	return 0;
}

static int check_balancing(const pb_service_spec *spec, struct error *err)
{
	static const char *const schedulers[] = {"rr", "wrr", "lc", "sh", "mh"};
	const char *scheduler = pb_kv_get(spec->labels, spec->n_labels, "skein.lb.scheduler");
	const char *weight = pb_kv_get(spec->labels, spec->n_labels, "skein.lb.weight");
	uint64_t number;

	if (scheduler && !is_one_of(scheduler, schedulers, ARRAY_SIZE(schedulers)))
		return validate_refuse(err, scheduler, "must be rr, wrr, lc, sh or mh",
				       "labels skein.lb.scheduler");
	if (weight &&
	    (str_parse_u64(weight, &number, NULL) < 0 || !number || number > WEIGHT_MAX))
		return validate_refuse(err, weight, "must be 1 to 256", "labels skein.lb.weight");
	return 0;
}

int validate_endpoint(const pb_service_spec *spec, struct error *err)
{
	if (check_networks(spec, err) < 0 || check_ports(spec, err) < 0)
		return -1;
	return check_balancing(spec, err);
}
