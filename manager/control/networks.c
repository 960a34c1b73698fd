#include "filters.h"
#include "internal.h"
#include "network_rules.h"
#include "network_uses.h"
#include "redact.h"
#include "resolve.h"
#include "validate.h"

#include "common/clock.h"
#include "common/id.h"
#include "common/mem.h"
#include "manager/store/store.h"

#include <stdio.h>
#include <string.h>

#define STOPPING_WAIT_NS (20 * NS_PER_SEC) /* callers wait for 30 s */
#define STOPPING_LOOK_NS (100 * NS_PER_MS)

/* ---------------------------------------------------------------- read */

static const pb_network *resolve(struct req *r, const char *ref)
{
	struct error err = ERROR_INIT;
	const pb_network *network = resolve_network(control_view(r->c), r->id[0] ? r->id : ref, &err);

	if (network)
		snprintf(r->id, sizeof(r->id), "%s", network->id);
	else
		req_fail(r, &err);
	return network;
}

static void reply_network(struct req *r)
{
	Skein__NetworkResponse response = SKEIN__NETWORK_RESPONSE__INIT;
	_cleanup_redact_ struct redact redact = {0};
	struct view *v = control_view(r->c);
	const pb_network *network = view_network(v, r->id);

	if (!network) {
		req_fail_with(r, ERR_CONFLICT, "network %s was removed meanwhile", r->id);
		return;
	}
	response.network = redact_network(&redact, network);
	network_uses(v, network, &redact, &response);
	req_reply_bounded(r, &response.base, "networks");
}

void step_get_network(struct req *r)
{
	if (resolve(r, ((const Skein__RefRequest *)r->msg)->ref))
		reply_network(r);
}

/* As `docker network ls`: all or part of it. */
static bool match_id(const struct view *v, const void *obj, const char *value)
{
	return strstr(((const pb_network *)obj)->id, value) != NULL;
}

static bool match_name(const struct view *v, const void *obj, const char *value)
{
	return strstr(((const pb_network *)obj)->spec->name, value) != NULL;
}

static bool match_driver(const struct view *v, const void *obj, const char *value)
{
	return str_eq(((const pb_network *)obj)->spec->driver, value);
}

static bool match_label(const struct view *v, const void *obj, const char *value)
{
	const pb_network_spec *spec = ((const pb_network *)obj)->spec;

	return filters_label(spec->labels, spec->n_labels, value);
}

static bool match_type(const struct view *v, const void *obj, const char *value)
{
	return ((const pb_network *)obj)->predefined == str_eq(value, "builtin");
}

static const struct filter_key network_filters[] = {
	{"id", match_id, NULL},
	{"name", match_name, NULL},
	{"driver", match_driver, "overlay|bridge|macvlan|ipvlan|vlan|host|none"},
	{"label", match_label, NULL},
	{"type", match_type, "custom|builtin"},
	{0},
};

void step_list_networks(struct req *r)
{
	const Skein__ListRequest *request = r->msg;
	Skein__ListNetworksResponse response = SKEIN__LIST_NETWORKS_RESPONSE__INIT;
	_cleanup_redact_ struct redact redact = {0};
	_cleanup_free_ const void **networks = NULL;
	struct view *v = control_view(r->c);
	struct error err = ERROR_INIT;
	size_t n;

	if (filters_check(network_filters, request->filters, request->n_filters, &err) < 0) {
		req_fail(r, &err);
		return;
	}
	networks = view_list(v, KIND_NETWORK, &n);
	response.networks = redact_alloc(&redact, n * sizeof(*response.networks));
	for (size_t i = 0; i < n; i++)
		if (((const pb_network *)networks[i])->spec &&
		    filters_pass(network_filters, request->filters, request->n_filters, v,
				 networks[i]))
			response.networks[response.n_networks++] =
				redact_network(&redact, networks[i]);
	req_reply_bounded(r, &response.base, "networks");
}

/* ---------------------------------------------------------------- create */

/* The allocator then gives it addresses, and says in `err` what it cannot give. */
void step_create_network(struct req *r)
{
	const Skein__CreateNetworkRequest *request = r->msg;
	struct view *v = control_view(r->c);
	struct error err = ERROR_INIT;
	pb_network *network;
	struct txn *t;

	if (!request->spec) {
		req_fail_with(r, ERR_INVALID, "spec is missing");
		return;
	}
	validate_normalise_network(request->spec);
	if (validate_network(request->spec, &err) < 0 ||
	    network_rules_create(v, request->spec, &err) < 0) {
		req_fail(r, &err);
		return;
	}
	if (!r->id[0])
		id_new(r->id);
	network = pb_new(&skein__network__descriptor);
	pb_set_str(&network->id, r->id);
	network->spec = pb_dup(request->spec);
	t = txn_begin(v);
	txn_put(t, KIND_NETWORK, network);
	req_commit(r, t, reply_network);
}

/* ---------------------------------------------------------------- remove */

static void reply_removed(struct req *r)
{
	Skein__RemoveNetworkResponse response = SKEIN__REMOVE_NETWORK_RESPONSE__INIT;

	response.id = r->id;
	req_reply(r, &response);
}

/* Who removes a service and then its network should not have to know how long tasks take to stop. */
static void wait_for_tasks(struct req *r, const pb_network *network, size_t stopping)
{
	int64_t now = clock_mono_ns();

	if (!r->deadline)
		r->deadline = now + STOPPING_WAIT_NS;
	if (r->call && now < r->deadline)
		req_again(r, STOPPING_LOOK_NS);
	else
		req_fail_with(r, ERR_PRECONDITION, "network %s: %zu task%s of it %s still stopping",
			      network->spec->name, stopping, stopping > 1 ? "s" : "",
			      stopping > 1 ? "are" : "is");
}

void step_remove_network(struct req *r)
{
	const Skein__RefRequest *request = r->msg;
	const pb_network *network = resolve(r, request->ref);
	struct error err = ERROR_INIT;
	size_t stopping;
	struct txn *t;

	if (!network)
		return;
	if (network_rules_remove(control_view(r->c), network, &stopping, &err) < 0) {
		req_fail(r, &err);
		return;
	}
	if (stopping) {
		wait_for_tasks(r, network, stopping);
		return;
	}
	t = txn_begin(control_view(r->c));
	txn_del(t, KIND_NETWORK, r->id);
	/* A service that has just come may use it: what was looked at above must still be all there is. */
	txn_require_all(t, KIND_SERVICE, store_revision(r->c->store));
	req_commit(r, t, reply_removed);
}
