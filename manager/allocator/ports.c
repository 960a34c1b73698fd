#include "ports.h"

#include "manager/store/plan.h"

#include "common/error.h"
#include "common/mem.h"

#include <stdio.h>
#include <string.h>

/* A published port in use. */
struct taken {
	UT_hash_handle hh;
	const pb_service *ingress; /* whose; NULL = only in host mode */
	char key[16];		   /* "tcp/8080" */
};

struct ports {
	struct plan *p;
	struct taken *taken;
	bool read;
};

static const char *protocol_of(const pb_port *port)
{
	return str_empty(port->protocol) ? "tcp" : port->protocol;
}

static struct taken *find(struct ports *ports, const char *protocol, uint32_t published, char key[static 16])
{
	struct taken *taken;

	snprintf(key, 16, "%.5s/%u", protocol, published);
	HASH_FIND_STR(ports->taken, key, taken);
	return taken;
}

static void note(struct ports *ports, const pb_service *service, const pb_port *port)
{
	char key[16];
	struct taken *taken = find(ports, protocol_of(port), port->published, key);

	if (!taken) {
		taken = xnew(struct taken);
		memcpy(taken->key, key, sizeof(key));
		HASH_ADD_STR(ports->taken, key, taken);
	}
	if (port->mode == PUBLISH_INGRESS && !taken->ingress)
		taken->ingress = service;
}

static void read_service(struct ports *ports, const pb_service *s)
{
	const pb_endpoint_spec *spec = s->spec ? s->spec->endpoint : NULL;

	for (size_t i = 0; s->endpoint && i < s->endpoint->n_ports; i++)
		note(ports, s, s->endpoint->ports[i]);
	for (size_t i = 0; spec && i < spec->n_ports; i++)
		if (spec->ports[i]->mode == PUBLISH_HOST && spec->ports[i]->published)
			note(ports, s, spec->ports[i]);
}

/*
 * What services have, and host-mode ports that they are about to have. Also what they had before this round: perhaps
 * only the beginning of the plan is committed.
 */
static void read_all(struct ports *ports)
{
	_cleanup_free_ const void **services = NULL;
	const struct txn_change *changes;
	size_t n;

	if (ports->read)
		return;
	ports->read = true;
	services = view_list(ports->p->view, KIND_SERVICE, &n);
	for (size_t i = 0; i < n; i++)
		read_service(ports, services[i]);
	changes = txn_changes(ports->p->txn, &n);
	for (size_t i = 0; i < n; i++)
		if (changes[i].kind == KIND_SERVICE && changes[i].old)
			read_service(ports, changes[i].old);
}

struct ports *ports_new(struct plan *p)
{
	struct ports *ports = xnew(struct ports);

	ports->p = p;
	return ports;
}

void ports_free(struct ports *ports)
{
	struct taken *taken, *tmp;

	if (!ports)
		return;
	HASH_ITER(hh, ports->taken, taken, tmp) {
		HASH_DEL(ports->taken, taken);
		free(taken);
	}
	free(ports);
}

/* ---- giving */

static bool is_dynamic(uint32_t published)
{
	return published >= PORTS_FIRST && published <= PORTS_LAST;
}

/* Is `has` what was given for `want`? */
static bool fulfils(const pb_port *has, const pb_port *want)
{
	return has->mode == want->mode && has->target == want->target && str_eq(protocol_of(has), protocol_of(want)) &&
	       (want->published ? has->published == want->published : is_dynamic(has->published));
}

static bool in_endpoint(const pb_endpoint *endpoint, const pb_port *port)
{
	for (size_t i = 0; i < endpoint->n_ports; i++)
		if (endpoint->ports[i]->published == port->published &&
		    str_eq(protocol_of(endpoint->ports[i]), protocol_of(port)))
			return true;
	return false;
}

/* Does another entry of the spec ask for this very port? Then it is not one that was chosen for us. */
static bool is_named(const pb_endpoint_spec *spec, const pb_port *port)
{
	for (size_t i = 0; i < spec->n_ports; i++)
		if (spec->ports[i]->published == port->published &&
		    str_eq(protocol_of(spec->ports[i]), protocol_of(port)))
			return true;
	return false;
}

static const pb_port *given_before(const pb_service *service, const pb_endpoint *endpoint, const pb_port *want)
{
	const pb_endpoint *had = service->endpoint;

	for (size_t i = 0; had && i < had->n_ports; i++)
		if (fulfils(had->ports[i], want) &&
		    (want->published || (!in_endpoint(endpoint, had->ports[i]) &&
					 !is_named(service->spec->endpoint, had->ports[i]))))
			return had->ports[i];
	return NULL;
}

static void complain(struct strbuf *why, const char *text)
{
	strbuf_printf(why, "%s%s", why->len ? "; " : "", text);
}

static uint32_t choose(struct ports *ports, const char *protocol)
{
	char key[16];

	for (uint32_t port = PORTS_FIRST; port <= PORTS_LAST; port++)
		if (!find(ports, protocol, port, key))
			return port;
	return 0;
}

/* The published port for an entry of the spec; 0 = none, `why` tells. */
static uint32_t published_for(struct ports *ports, const pb_service *service, const pb_endpoint *endpoint,
			      const pb_port *want, struct strbuf *why)
{
	const pb_port *had = given_before(service, endpoint, want);
	char key[16];
	struct taken *taken;
	uint32_t port = want->published;
	_cleanup_free_ char *text = NULL;

	if (had)
		return had->published;
	if (port && want->mode == PUBLISH_HOST)
		return port;
	read_all(ports);
	if (!port) {
		port = choose(ports, protocol_of(want));
		if (!port)
			text = xasprintf("no free port for %u/%s (all of %u to %u are in use)", want->target,
					 protocol_of(want), PORTS_FIRST, PORTS_LAST);
	} else {
		taken = find(ports, protocol_of(want), port, key);
		if (taken && taken->ingress && !str_eq(taken->ingress->id, service->id)) {
			text = xasprintf("port %u/%s is already in use by service '%s' (%s) as an ingress port", port,
					 protocol_of(want), taken->ingress->spec->name, taken->ingress->id);
			port = 0;
		}
	}
	if (text)
		complain(why, text);
	return port;
}

void ports_give(struct ports *ports, const pb_service *service, pb_endpoint *endpoint, struct strbuf *why)
{
	const pb_endpoint_spec *spec = service->spec->endpoint;

	for (size_t i = 0; spec && i < spec->n_ports; i++) {
		uint32_t published = published_for(ports, service, endpoint, spec->ports[i], why);
		pb_port *port;

		if (!published)
			continue;
		port = pb_dup(spec->ports[i]);
		pb_set_str(&port->protocol, protocol_of(spec->ports[i]));
		port->published = published;
		pb_msgs_add(&endpoint->n_ports, &endpoint->ports, port);
		if (ports->read)
			note(ports, service, port);
	}
}
