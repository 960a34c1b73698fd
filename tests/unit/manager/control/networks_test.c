/* What networks and services may have beside others: network_rules, service_networks, network_uses. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "manager/control/network_rules.h"
#include "manager/control/network_uses.h"
#include "manager/control/redact.h"
#include "manager/control/service_networks.h"
#include "manager/store/txn.h"
#include "support/build.h"

/* ---------------------------------------------------------------- a cluster */

static pb_network *add_network(struct view *v, const char *id, const char *name, const char *subnet)
{
	pb_network *n = pb_new(&skein__network__descriptor);

	pb_set_str(&n->id, id);
	n->spec = pb_new(&skein__network_spec__descriptor);
	pb_set_str(&n->spec->name, name);
	pb_set_str(&n->spec->driver, "overlay");
	if (subnet) {
		pb_ipam_pool *pool = pb_new(&skein__ipam_pool__descriptor);

		pb_set_str(&pool->subnet, subnet);
		pb_set_str(&pool->gateway, "10.1.0.1");
		pb_msgs_add(&n->n_pools, &n->pools, pool);
	}
	pb_free(view_put(v, KIND_NETWORK, n));
	return n;
}

static pb_attachment_config *join(pb_task_spec *task, const char *ref)
{
	pb_attachment_config *c = pb_new(&skein__network_attachment_config__descriptor);

	pb_set_str(&c->network_id, ref);
	pb_msgs_add(&task->n_networks, &task->networks, c);
	return c;
}

static pb_port *publish(size_t *n, pb_port ***list, uint32_t port, int mode)
{
	pb_port *p = pb_new(&skein__port_config__descriptor);

	pb_set_str(&p->protocol, "tcp");
	p->target = 80;
	p->published = port;
	p->mode = (Skein__PublishMode)mode;
	pb_msgs_add(n, list, p);
	return p;
}

/* Service "web" (id s1) publishes 8080 and got 30000, and is in "front" with a virtual address. */
static struct view *new_view(void)
{
	struct view *v = view_of(node("n1", .address = "192.168.7.1"), service("s1"));
	pb_service *s = pb_dup(view_service(v, "s1"));
	pb_vip *vip = pb_new(&skein__virtual_ip__descriptor);

	add_network(v, "net1", "front", "10.1.0.0/24");
	add_network(v, "net2", "back", "10.2.0.0/24");
	pb_set_str(&s->spec->name, "web");
	s->spec->endpoint = pb_new(&skein__endpoint_spec__descriptor);
	publish(&s->spec->endpoint->n_ports, &s->spec->endpoint->ports, 8080, PUBLISH_INGRESS);
	publish(&s->spec->endpoint->n_ports, &s->spec->endpoint->ports, 9090, PUBLISH_HOST);
	s->endpoint = pb_new(&skein__endpoint__descriptor);
	publish(&s->endpoint->n_ports, &s->endpoint->ports, 30000, PUBLISH_INGRESS);
	join(s->spec->task, "net1");
	pb_set_str(&vip->network_id, "net1");
	pb_set_str(&vip->ipv4, "10.1.0.2");
	pb_msgs_add(&s->endpoint->n_vips, &s->endpoint->vips, vip);
	pb_free(view_put(v, KIND_SERVICE, s));
	return v;
}

static pb_service_spec *new_spec(void)
{
	pb_service_spec *spec = pb_new(&skein__service_spec__descriptor);

	pb_set_str(&spec->name, "api");
	spec->task = pb_new(&skein__task_spec__descriptor);
	pb_set_str(&spec->task->network, "bridge");
	spec->endpoint = pb_new(&skein__endpoint_spec__descriptor);
	return spec;
}

/* ---------------------------------------------------------------- networks beside each other */

static void overlaps_name_the_owner(void **state)
{
	static const struct {
		const char *driver, *subnet, *error; /* NULL: accepted */
	} cases[] = {
		{"overlay", "10.3.0.0/24", NULL},
		{"overlay", "10.1.0.0/25", "10.1.0.0/24 of network 'front' (net1)"},
		{"overlay", "10.0.0.0/9", "of network 'front' (net1)"},
		{"macvlan", "10.2.0.0/16", "of network 'back' (net2)"},
		{"overlay", "10.255.7.0/24", "10.255.0.0/16 of the ingress network"},
		{"overlay", "172.16.0.0/12", "172.30.0.0/16 of the way"},
		{"overlay", "fd53:6b00::/80", "fd53:6b00::/64 of the way"},
		{"bridge", "192.168.7.0/24", "192.168.7.1 of node n1"},
		{"overlay", "192.168.0.0/16", "192.168.7.1 of node n1"},
		/* There it is meant. */
		{"macvlan", "192.168.7.0/24", NULL},
		{"vlan", "192.168.7.0/24", NULL},
	};
	struct view *v = new_view();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_pb_ pb_network_spec *spec = pb_new(&skein__network_spec__descriptor);
		pb_ipam_pool *pool = pb_new(&skein__ipam_pool__descriptor);
		struct error err = ERROR_INIT;

		pb_set_str(&spec->name, "new");
		pb_set_str(&spec->driver, cases[i].driver);
		pb_set_str(&pool->subnet, cases[i].subnet);
		pb_msgs_add(&spec->n_pools, &spec->pools, pool);
		if ((network_rules_create(v, spec, &err) == 0) != !cases[i].error)
			fail_msg("%s: %s", cases[i].subnet, err.msg);
		if (cases[i].error &&
		    (!strstr(err.msg, cases[i].error) || !strstr(err.msg, cases[i].subnet)))
			fail_msg("%s: %s", cases[i].subnet, err.msg);
	}
	view_free(v);
}

static void names_are_unique(void **state)
{
	_cleanup_pb_ pb_network_spec *spec = pb_new(&skein__network_spec__descriptor);
	struct error err = ERROR_INIT;
	struct view *v = new_view();

	pb_set_str(&spec->name, "front");
	assert_int_equal(network_rules_create(v, spec, &err), -1);
	assert_int_equal(err.code, ERR_EXISTS);
	assert_non_null(strstr(err.msg, "\"front\" is in use by network net1"));
	view_free(v);
}

static void used_networks_stay(void **state)
{
	struct view *v = new_view();
	struct error err = ERROR_INIT;
	size_t stopping;
	pb_service *s;
	pb_network *n;

	assert_int_equal(network_rules_remove(v, view_network(v, "net1"), &stopping, &err), -1);
	assert_int_equal(err.code, ERR_PRECONDITION);
	assert_non_null(strstr(err.msg, "network front is in use by service web"));
	assert_int_equal(network_rules_remove(v, view_network(v, "net2"), &stopping, &err), 0);
	assert_int_equal(stopping, 0);
	/* An update away from it may be rolled back while it is under way. */
	s = pb_dup(view_service(v, "s1"));
	s->previous_spec = pb_dup(s->spec);
	pb_set_str(&s->spec->task->networks[0]->network_id, "net2");
	s->update = pb_new(&skein__update_status__descriptor);
	s->update->state = SKEIN__UPDATE_STATE__UPDATE_UPDATING;
	pb_free(view_put(v, KIND_SERVICE, s));
	assert_int_equal(network_rules_remove(v, view_network(v, "net1"), &stopping, &err), -1);
	assert_non_null(strstr(err.msg, "web (its update may be rolled back)"));
	s = pb_dup(s);
	s->update->state = SKEIN__UPDATE_STATE__UPDATE_COMPLETED;
	pb_free(view_put(v, KIND_SERVICE, s));
	assert_int_equal(network_rules_remove(v, view_network(v, "net1"), &stopping, &err), 0);
	n = pb_dup(view_network(v, "net1"));
	n->predefined = true;
	pb_free(view_put(v, KIND_NETWORK, n));
	assert_int_equal(network_rules_remove(v, n, &stopping, &err), -1);
	assert_non_null(strstr(err.msg, "predefined"));
	view_free(v);
}

static void put_task(struct view *v, const char *id, const char *node_id, int state,
		     const char *address)
{
	pb_task *t = task(id, .service = "s2", .slot = 7, .node = node_id, .state = state).obj;
	pb_attachment *a = pb_new(&skein__network_attachment__descriptor);

	pb_set_str(&a->network_id, "net2");
	pb_set_str(&a->ipv4, address);
	pb_set_str(&a->mac, "02:42:0a:02:00:05");
	pb_msgs_add(&t->n_networks, &t->networks, a);
	pb_free(view_put(v, KIND_TASK, t));
}

static void stopping_tasks_are_counted(void **state)
{
	struct view *v = new_view();
	struct error err = ERROR_INIT;
	size_t stopping;

	view_add(v, node("n2", .state = NODE_DOWN));
	put_task(v, "t1", "n1", TASK_RUNNING, "10.2.0.5/24");
	put_task(v, "t2", "n1", TASK_STARTING, "10.2.0.6/24");
	put_task(v, "t3", "n1", TASK_SHUTDOWN, "10.2.0.7/24");
	put_task(v, "t4", "n2", TASK_RUNNING, "10.2.0.8/24"); /* its node is down */
	put_task(v, "t5", "n9", TASK_RUNNING, "10.2.0.9/24"); /* ... is gone */
	assert_int_equal(network_rules_remove(v, view_network(v, "net2"), &stopping, &err), 0);
	assert_int_equal(stopping, 2);
	view_free(v);
}

/* ---------------------------------------------------------------- references */

static void references_become_ids(void **state)
{
	static const char *const refs[] = {"net1", "front"};
	struct view *v = new_view();

	for (size_t i = 0; i < ARRAY_SIZE(refs); i++) {
		_cleanup_pb_ pb_service_spec *spec = new_spec();
		struct error err = ERROR_INIT;

		join(spec->task, refs[i]);
		pb_set_str(&join(spec->task, "")->network_name, "back");
		if (service_networks_resolve(v, spec, &err) < 0)
			fail_msg("%s", err.msg);
		assert_string_equal(spec->task->networks[0]->network_id, "net1");
		assert_string_equal(spec->task->networks[0]->network_name, "front");
		assert_string_equal(spec->task->networks[1]->network_id, "net2");
		assert_string_equal(spec->task->networks[1]->network_name, "back");
	}
	view_free(v);
}

static void kinds_become_the_kind(void **state)
{
	struct view *v = new_view();
	_cleanup_pb_ pb_service_spec *host = new_spec(), *bridge = new_spec(), *two = new_spec();
	struct error err = ERROR_INIT;

	join(host->task, "host");
	assert_int_equal(service_networks_resolve(v, host, &err), 0);
	assert_string_equal(host->task->network, "host");
	assert_int_equal(host->task->n_networks, 0);
	join(bridge->task, "bridge");
	join(bridge->task, "front");
	assert_int_equal(service_networks_resolve(v, bridge, &err), 0);
	assert_string_equal(bridge->task->network, "bridge");
	assert_int_equal(bridge->task->n_networks, 1);
	join(two->task, "front");
	join(two->task, "none");
	assert_int_equal(service_networks_resolve(v, two, &err), -1);
	assert_non_null(strstr(err.msg, "task.networks[1] \"none\": goes with no other network"));
	view_free(v);
}

static void bad_references_are_named(void **state)
{
	struct view *v = new_view();
	static const struct {
		const char *ref, *error;
		enum error_code code;
	} cases[] = {{"nowhere", "no such network: nowhere", ERR_NOT_FOUND},
		     {"net", "ambiguous (2 matches)", ERR_PRECONDITION},
		     {"ingress", "services cannot join it", ERR_INVALID},
		     {"", "network is missing", ERR_INVALID},
		     {"front", "is there twice", ERR_INVALID}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_pb_ pb_service_spec *spec = new_spec();
		struct error err = ERROR_INIT;

		if (i == 2)
			add_network(v, "ingress", "ingress", "10.255.0.0/16");
		join(spec->task, "front");
		join(spec->task, cases[i].ref);
		assert_int_equal(service_networks_resolve(v, spec, &err), -1);
		if (err.code != cases[i].code || !strstr(err.msg, cases[i].error) ||
		    !strstr(err.msg, "task.networks[1]"))
			fail_msg("%s: %s", cases[i].ref, err.msg);
	}
	view_free(v);
}

/* ---------------------------------------------------------------- ports and addresses */

static void ports_have_one_owner(void **state)
{
	static const struct own_port own[] = {{"udp", 4789, "networks between nodes"}, {0}};
	static const struct {
		uint32_t port;
		const char *protocol;
		int mode;
		const char *id, *error; /* NULL: accepted */
	} cases[] = {
		{8081, "tcp", PUBLISH_INGRESS, "", NULL},
		{8080, "tcp", PUBLISH_INGRESS, "",
		 "port 8080/tcp is already in use by service 'web' (s1) as an ingress port"},
		{8080, "tcp", PUBLISH_HOST, "",
		 "port 8080/tcp is already in use by service 'web' (s1) as an ingress port"},
		{8080, "udp", PUBLISH_INGRESS, "", NULL},
		{8080, "tcp", PUBLISH_INGRESS, "s1", NULL}, /* its own */
		{30000, "tcp", PUBLISH_INGRESS, "",
		 "port 30000/tcp is already in use by service 'web' (s1) as an ingress port"},
		{9090, "tcp", PUBLISH_INGRESS, "",
		 "port 9090/tcp is already in use by service 'web' (s1) as a host-published port"},
		/* The scheduler keeps them apart. */
		{9090, "tcp", PUBLISH_HOST, "", NULL},
		{0, "tcp", PUBLISH_INGRESS, "", NULL},
		{4789, "udp", PUBLISH_INGRESS, "", "port 4789/udp is needed by the cluster itself"},
		{4789, "tcp", PUBLISH_INGRESS, "", NULL},
		{2377, "tcp", PUBLISH_HOST, "", "port 2377/tcp is needed by the cluster itself"},
		{7946, "tcp", PUBLISH_INGRESS, "", "port 7946/tcp is needed by the cluster itself"},
	};
	struct view *v = new_view();
	pb_node *n = pb_dup(view_node(v, "n1"));

	n->peer_port = 7946;
	n->manager = pb_new(&skein__manager_status__descriptor);
	pb_set_str(&n->manager->address, "192.168.7.1:2377");
	pb_free(view_put(v, KIND_NODE, n));
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_pb_ pb_service_spec *spec = new_spec();
		pb_port *p = publish(&spec->endpoint->n_ports, &spec->endpoint->ports, cases[i].port,
				     cases[i].mode);
		struct error err = ERROR_INIT;

		pb_set_str(&p->protocol, cases[i].protocol);
		if ((service_networks_check(v, spec, cases[i].id, own, &err) == 0) != !cases[i].error)
			fail_msg("case %zu: %s", i, err.msg);
		if (cases[i].error &&
		    (err.code != ERR_EXISTS || !str_starts(err.msg, cases[i].error)))
			fail_msg("case %zu: %s", i, err.msg);
	}
	view_free(v);
}

static void addresses_are_free_and_inside(void **state)
{
	static const struct {
		const char *ipv4, *ipv6, *id, *error; /* NULL: accepted */
	} cases[] = {
		{"10.1.0.9", "", "", NULL},
		{"10.2.0.9", "", "", "must be inside 10.1.0.0/24"},
		{"10.1.0.0", "", "", "the network itself"},
		{"10.1.0.255", "", "", "the network itself"},
		{"10.1.0.1", "", "", "gateway"},
		{"10.1.0.2", "", "", "belongs to service 'web' (s1)"},
		{"10.1.0.2", "", "s1", NULL},
		{"", "fd00::9", "", "the network has no IPv6"},
	};
	struct view *v = new_view();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_pb_ pb_service_spec *spec = new_spec();
		pb_attachment_config *c = join(spec->task, "net1");
		struct error err = ERROR_INIT;

		pb_set_str(&c->ipv4, cases[i].ipv4);
		pb_set_str(&c->ipv6, cases[i].ipv6);
		if ((service_networks_check(v, spec, cases[i].id, NULL, &err) == 0) != !cases[i].error)
			fail_msg("%s: %s", cases[i].ipv4, err.msg);
		if (cases[i].error && !strstr(err.msg, cases[i].error))
			fail_msg("%s: %s", cases[i].ipv4, err.msg);
	}
	view_free(v);
}

static void gone_and_internal_networks(void **state)
{
	_cleanup_pb_ pb_service_spec *spec = new_spec();
	struct view *v = new_view();
	struct error err = ERROR_INIT;
	pb_network *n = pb_dup(view_network(v, "net2"));

	n->spec->internal = true;
	pb_free(view_put(v, KIND_NETWORK, n));
	join(spec->task, "net2");
	assert_int_equal(service_networks_check(v, spec, "", NULL, &err), 0);
	publish(&spec->endpoint->n_ports, &spec->endpoint->ports, 8081, PUBLISH_INGRESS);
	assert_int_equal(service_networks_check(v, spec, "", NULL, &err), -1);
	assert_non_null(strstr(err.msg, "internal"));
	join(spec->task, "net1");
	assert_int_equal(service_networks_check(v, spec, "", NULL, &err), 0);
	pb_set_str(&spec->task->networks[1]->network_id, "net9");
	pb_set_str(&spec->task->networks[1]->network_name, "gone");
	assert_int_equal(service_networks_check(v, spec, "", NULL, &err), -1);
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_non_null(strstr(err.msg, "no such network: gone"));
	view_free(v);
}

/* ---------------------------------------------------------------- inspect */

static const Skein__NetworkUse *use_of(const Skein__NetworkResponse *r, const char *kind,
				       const char *name)
{
	for (size_t i = 0; i < r->n_uses; i++)
		if (str_eq(r->uses[i]->kind, kind) && str_eq(r->uses[i]->name, name))
			return r->uses[i];
	fail_msg("no %s %s", kind, name);
	return NULL;
}

static void uses_and_free_addresses(void **state)
{
	Skein__NetworkResponse r = SKEIN__NETWORK_RESPONSE__INIT;
	_cleanup_redact_ struct redact redact = {0};
	struct view *v = new_view();
	const Skein__NetworkUse *use;
	pb_network *n = pb_dup(view_network(v, "net2"));
	pb_kv *aux = pb_new(&skein__key_value__descriptor);

	pb_set_str(&n->pools[0]->gateway, "10.2.0.1");
	pb_set_str(&n->pools[0]->ip_range, "10.2.0.0/28");
	pb_set_str(&aux->key, "router");
	pb_set_str(&aux->value, "10.2.0.14");
	pb_msgs_add(&n->pools[0]->n_aux_addresses, &n->pools[0]->aux_addresses, aux);
	pb_free(view_put(v, KIND_NETWORK, n));
	view_add(v, service("s2"));
	put_task(v, "t1", "n1", TASK_RUNNING, "10.2.0.5/24");
	put_task(v, "t2", "n1", TASK_STARTING, "10.2.0.200/24"); /* outside the range */
	put_task(v, "t3", "n1", TASK_SHUTDOWN, "10.2.0.7/24");	 /* has ended */
	network_uses(v, n, &redact, &r);
	assert_int_equal(r.n_uses, 4);
	use = use_of(&r, "gateway", "");
	assert_string_equal(use->ipv4, "10.2.0.1");
	assert_string_equal(use->mac, "02:42:0a:02:00:01");
	use = use_of(&r, "aux", "router");
	assert_string_equal(use->ipv4, "10.2.0.14");
	use = use_of(&r, "task", "s2.7");
	assert_string_equal(use->id, "t1");
	assert_string_equal(use->ipv4, "10.2.0.5");
	assert_string_equal(use->node_id, "n1");
	assert_string_equal(use->mac, "02:42:0a:02:00:05");
	assert_true(use->ready);
	/* 16 less the network itself, gateway, router and one task. */
	assert_int_equal(r.n_free, 1);
	assert_string_equal(r.free[0]->key, "10.2.0.0/24");
	assert_string_equal(r.free[0]->value, "12");
	view_free(v);
}

static void an_empty_24_has_253(void **state)
{
	Skein__NetworkResponse r = SKEIN__NETWORK_RESPONSE__INIT;
	_cleanup_redact_ struct redact redact = {0};
	struct view *v = new_view();
	const Skein__NetworkUse *vip;

	network_uses(v, view_network(v, "net1"), &redact, &r);
	vip = use_of(&r, "vip", "web");
	assert_string_equal(vip->ipv4, "10.1.0.2");
	assert_string_equal(vip->id, "s1");
	assert_string_equal(r.free[0]->value, "252"); /* the virtual address is one of them */
	view_free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(overlaps_name_the_owner),
		cmocka_unit_test(names_are_unique),
		cmocka_unit_test(used_networks_stay),
		cmocka_unit_test(stopping_tasks_are_counted),
		cmocka_unit_test(references_become_ids),
		cmocka_unit_test(kinds_become_the_kind),
		cmocka_unit_test(bad_references_are_named),
		cmocka_unit_test(ports_have_one_owner),
		cmocka_unit_test(addresses_are_free_and_inside),
		cmocka_unit_test(gone_and_internal_networks),
		cmocka_unit_test(uses_and_free_addresses),
		cmocka_unit_test(an_empty_24_has_253),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
