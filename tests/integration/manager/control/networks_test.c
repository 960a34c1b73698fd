/* Networks over the API, on a real etcd; agents that are asked to check are played by the test. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/serve_fixture.h"

#define DIGEST "sha256:0000000000000000000000000000000000000000000000000000000000000001"

/* ---------------------------------------------------------------- short forms */

static Skein__NetworkResponse *create(struct serve *s, const char *name, const char *subnet,
				      struct error *err)
{
	Skein__CreateNetworkRequest request = SKEIN__CREATE_NETWORK_REQUEST__INIT;
	_cleanup_pb_ pb_network_spec *spec = pb_new(&skein__network_spec__descriptor);

	pb_set_str(&spec->name, name);
	pb_kv_set(&spec->n_labels, &spec->labels, "team", name);
	if (subnet) {
		pb_ipam_pool *pool = pb_new(&skein__ipam_pool__descriptor);

		pb_set_str(&pool->subnet, subnet);
		pb_msgs_add(&spec->n_pools, &spec->pools, pool);
	}
	request.spec = spec;
	return ask(s, "CreateNetwork", &request, err);
}

/* Its id; heap. */
static char *created(struct serve *s, const char *name)
{
	struct error err;
	_cleanup_pb_ Skein__NetworkResponse *r = create(s, name, NULL, &err);

	if (!r)
		fail_msg("create %s: %s", name, err.msg);
	return xstrdup(r->network->id);
}

static pb_service_spec *new_spec(const char *name, const char *network)
{
	pb_service_spec *spec = pb_new(&skein__service_spec__descriptor);

	pb_set_str(&spec->name, name);
	spec->task = pb_new(&skein__task_spec__descriptor);
	spec->task->container = pb_new(&skein__container_spec__descriptor);
	pb_set_str(&spec->task->container->image, "web@" DIGEST);
	spec->endpoint = pb_new(&skein__endpoint_spec__descriptor);
	if (network) {
		pb_attachment_config *c =
			pb_new(&skein__network_attachment_config__descriptor);

		pb_set_str(&c->network_id, network);
		pb_msgs_add(&spec->task->n_networks, &spec->task->networks, c);
	}
	return spec;
}

static void publish(pb_service_spec *spec, uint32_t port)
{
	pb_port *p = pb_new(&skein__port_config__descriptor);

	p->published = port;
	p->target = 80;
	pb_msgs_add(&spec->endpoint->n_ports, &spec->endpoint->ports, p);
}

static Skein__ServiceResponse *create_service(struct serve *s, const pb_service_spec *spec,
					      struct error *err)
{
	Skein__CreateServiceRequest request = SKEIN__CREATE_SERVICE_REQUEST__INIT;

	request.spec = (pb_service_spec *)spec;
	return ask(s, "CreateService", &request, err);
}

static Skein__ServiceResponse *update_service(struct serve *s, const pb_service *service, bool rollback,
					      struct error *err)
{
	Skein__UpdateServiceRequest request = SKEIN__UPDATE_SERVICE_REQUEST__INIT;

	request.ref = service->id;
	request.spec = service->spec;
	request.rollback = rollback;
	return ask(s, "UpdateService", &request, err);
}

static void put_task(struct serve *s, const char *id, const char *network_id, int state)
{
	pb_task *t = pb_new(&skein__task__descriptor);
	pb_attachment *a = pb_new(&skein__network_attachment__descriptor);
	const pb_task *had = view_task(store_view(s->store), id);

	pb_set_str(&t->id, id);
	pb_set_str(&t->service_id, "s1");
	pb_set_str(&t->service_name, "web");
	t->slot = 1;
	pb_set_str(&t->node_id, "n1");
	t->desired = (Skein__TaskState)TASK_SHUTDOWN;
	t->status = pb_new(&skein__task_status__descriptor);
	t->status->state = (Skein__TaskState)state;
	if (had)
		t->meta = pb_dup(had->meta);
	pb_set_str(&a->network_id, network_id);
	pb_set_str(&a->ipv4, "10.7.0.5/24");
	pb_msgs_add(&t->n_networks, &t->networks, a);
	put(s, KIND_TASK, t);
}

/* ---------------------------------------------------------------- networks */

static void create_get_list_remove(void **state)
{
	struct serve *s = *state;
	struct error err;
	_cleanup_pb_ Skein__NetworkResponse *front = create(s, "front", "10.7.0.0/24", &err),
					    *again = NULL, *got = NULL;
	_cleanup_pb_ Skein__RemoveNetworkResponse *removed = NULL;
	pb_network *n;
	Skein__NetworkKey *key = pb_new(&skein__network_key__descriptor);

	assert_non_null(front);
	assert_string_equal(front->network->spec->driver, "overlay");
	assert_true(front->network->meta->revision > 0);
	again = create(s, "front", NULL, &err);
	assert_null(again);
	assert_int_equal(err.code, ERR_EXISTS);
	again = create(s, "other", "10.7.0.0/16", &err);
	assert_null(again);
	assert_non_null(strstr(err.msg, "10.7.0.0/24 of network 'front'"));
	/* What the allocator adds is shown, keys are not. */
	n = pb_dup(view_network(store_view(s->store), front->network->id));
	n->vni = 4097;
	pb_msgs_add(&n->n_pools, &n->pools, pb_dup(n->spec->pools[0]));
	pb_set_str(&n->pools[0]->gateway, "10.7.0.1");
	key->key = (ProtobufCBinaryData){3, (uint8_t *)xstrdup("key")};
	pb_msgs_add(&n->n_keys, &n->keys, key);
	put(s, KIND_NETWORK, n);
	put_node(s, "n1");
	put_task(s, "t1", front->network->id, TASK_RUNNING);
	got = ask_ref(s, "GetNetwork", "front", &err);
	assert_int_equal(got->network->vni, 4097);
	assert_int_equal(got->network->n_keys, 0);
	assert_int_equal(got->n_uses, 2);
	assert_string_equal(got->uses[1]->name, "web.1");
	assert_string_equal(got->uses[1]->ipv4, "10.7.0.5");
	assert_string_equal(got->free[0]->value, "252");
	del(s, KIND_TASK, "t1");
	removed = ask_ref(s, "RemoveNetwork", "front", &err);
	assert_string_equal(removed->id, front->network->id);
	assert_null(view_network_by_name(store_view(s->store), "front"));
	assert_null(ask_ref(s, "GetNetwork", "front", &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
}

static void lists_and_filters(void **state)
{
	static const struct {
		const char *key, *value;
		size_t n;
	} cases[] = {{"name", "a", 2},	      {"name", "alpha", 1},	{"driver", "overlay", 3},
		     {"driver", "bridge", 0}, {"label", "team=beta", 1}, {"label", "team", 2},
		     {"type", "builtin", 1},  {"type", "custom", 2}};
	struct serve *s = *state;
	_cleanup_free_ char *alpha = created(s, "alpha"), *beta = created(s, "beta");
	pb_network *ingress = pb_new(&skein__network__descriptor);
	struct error err;

	pb_set_str(&ingress->id, "ingress");
	ingress->predefined = true;
	ingress->spec = pb_new(&skein__network_spec__descriptor);
	pb_set_str(&ingress->spec->name, "ingress");
	pb_set_str(&ingress->spec->driver, "overlay");
	ingress->spec->ingress = true;
	put(s, KIND_NETWORK, ingress);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		Skein__ListRequest request = SKEIN__LIST_REQUEST__INIT;
		pb_kv kv = SKEIN__KEY_VALUE__INIT, *list[] = {&kv};
		_cleanup_pb_ Skein__ListNetworksResponse *r = NULL;

		kv.key = (char *)cases[i].key;
		kv.value = (char *)cases[i].value;
		request.filters = list;
		request.n_filters = 1;
		r = ask(s, "ListNetworks", &request, &err);
		if (!r || r->n_networks != cases[i].n)
			fail_msg("%s=%s: %zu", cases[i].key, cases[i].value, r ? r->n_networks : 0);
		if (i)
			continue;
		kv.key = (char *)"colour";
		assert_null(ask(s, "ListNetworks", &request, &err));
		assert_non_null(strstr(err.msg, "accepted: id, name, driver, label, type"));
	}
	assert_null(ask_ref(s, "RemoveNetwork", "ingress", &err));
	assert_int_equal(err.code, ERR_PRECONDITION);
	assert_non_null(strstr(err.msg, "predefined"));
}

/* A script removes the service and then its network. */
static void removal_waits_for_stopping_tasks(void **state)
{
	struct serve *s = *state;
	_cleanup_free_ char *id = created(s, "front");
	struct rpc_channel *channel = channel_as(s, NULL, NULL);
	Skein__RefRequest request = SKEIN__REF_REQUEST__INIT;
	struct answer a = {0};
	pb_node *n = new_node("n1");

	n->status->state = (Skein__NodeState)NODE_READY;
	put(s, KIND_NODE, n);
	put_task(s, "t1", id, TASK_RUNNING);
	request.ref = (char *)"front";
	rpc_unary(channel, &skein__control__descriptor, "RemoveNetwork", &request.base, 15000, on_answer,
		  &a);
	pass_ms(s, 500);
	assert_false(a.done);
	assert_non_null(view_network(store_view(s->store), id));
	put_task(s, "t1", id, TASK_SHUTDOWN);
	wait_for(s, a.done);
	assert_int_equal(a.err.code, ERR_OK);
	assert_null(view_network(store_view(s->store), id));
	pb_free(a.msg);
	rpc_channel_close(channel);
}

/* ---------------------------------------------------------------- services */

static void services_name_networks(void **state)
{
	struct serve *s = *state;
	_cleanup_free_ char *id = created(s, "front");
	_cleanup_pb_ pb_service_spec *spec = new_spec("web", "front"), *lost = new_spec("x", "nowhere");
	_cleanup_pb_ Skein__ServiceResponse *r = NULL;
	struct error err;

	assert_null(create_service(s, lost, &err));
	assert_int_equal(err.code, ERR_NOT_FOUND);
	assert_non_null(strstr(err.msg, "nowhere"));
	r = create_service(s, spec, &err);
	assert_non_null(r);
	assert_string_equal(r->service->spec->task->networks[0]->network_id, id);
	assert_string_equal(r->service->spec->task->networks[0]->network_name, "front");
	assert_string_equal(r->service->spec->task->network, "bridge");
	assert_null(ask_ref(s, "RemoveNetwork", "front", &err));
	assert_int_equal(err.code, ERR_PRECONDITION);
	assert_non_null(strstr(err.msg, "in use by service web"));
}

static void put_balancing_node(struct serve *s, const char *id, const char *balancer)
{
	pb_node *n = new_node(id);

	if (!n->description)
		n->description = pb_new(&skein__node_description__descriptor);
	pb_kv_set(&n->description->n_features, &n->description->features, "network.balancer", balancer);
	put(s, KIND_NODE, n);
}

/* It silently being another one is what its owner should not find out by measuring. */
static void a_scheduler_that_some_nodes_lack_is_told(void **state)
{
	struct serve *s = *state;
	_cleanup_pb_ pb_service_spec *spec = new_spec("web", NULL), *other = new_spec("api", NULL);
	_cleanup_pb_ Skein__ServiceResponse *r = NULL, *again = NULL, *plain = NULL;
	struct error err;

	put_balancing_node(s, "n1", "ipvs");
	put_balancing_node(s, "n2", "nftables");
	pb_kv_set(&spec->n_labels, &spec->labels, "skein.lb.scheduler", "lc");
	r = create_service(s, spec, &err);
	assert_non_null(r);
	assert_int_equal(r->n_warnings, 1);
	assert_non_null(strstr(r->warnings[0], "lc: 1 of 2 nodes"));
	again = update_service(s, r->service, false, &err);
	assert_non_null(again);
	assert_int_equal(again->n_warnings, 1);
	pb_kv_set(&other->n_labels, &other->labels, "skein.lb.scheduler", "wrr");
	plain = create_service(s, other, &err);
	assert_non_null(plain);
	assert_int_equal(plain->n_warnings, 0);
}

/* One of the two loses, whichever comes first: a service never ends up with a network that is gone. */
static void a_network_does_not_go_under_a_new_service(void **state)
{
	struct serve *s = *state;
	struct rpc_channel *channel = channel_as(s, NULL, NULL);
	unsigned created_ones = 0;

	for (unsigned i = 0; i < 20; i++) {
		_cleanup_free_ char *name = xasprintf("net%u", i), *id = created(s, name);
		_cleanup_pb_ pb_service_spec *spec = new_spec(name, name);
		Skein__CreateServiceRequest create_it = SKEIN__CREATE_SERVICE_REQUEST__INIT;
		Skein__RefRequest remove_it = SKEIN__REF_REQUEST__INIT;
		struct answer service = {0}, network = {0};

		create_it.spec = spec;
		remove_it.ref = name;
		rpc_unary(channel, &skein__control__descriptor, "CreateService", &create_it.base, 15000, on_answer,
			  &service);
		rpc_unary(channel, &skein__control__descriptor, "RemoveNetwork", &remove_it.base, 15000, on_answer,
			  &network);
		wait_for(s, service.done && network.done);
		if ((service.err.code == ERR_OK) == (network.err.code == ERR_OK))
			fail_msg("service: %s; network: %s", error_code_name(service.err.code),
				 error_code_name(network.err.code));
		assert_int_equal(view_network(store_view(s->store), id) != NULL, service.err.code == ERR_OK);
		created_ones += service.err.code == ERR_OK;
		pb_free(service.msg);
		pb_free(network.msg);
	}
	assert_true(created_ones > 0);
	rpc_channel_close(channel);
}

/* Only what a container has inside restarts it. */
static void ports_restart_nothing_networks_do(void **state)
{
	struct serve *s = *state;
	_cleanup_free_ char *id = created(s, "front");
	_cleanup_pb_ pb_service_spec *spec = new_spec("web", NULL);
	_cleanup_pb_ Skein__ServiceResponse *r = NULL, *ports = NULL, *nets = NULL;
	pb_attachment_config *c = pb_new(&skein__network_attachment_config__descriptor);
	struct error err;

	r = create_service(s, spec, &err);
	assert_non_null(r);
	publish(r->service->spec, 8080);
	ports = update_service(s, r->service, false, &err);
	assert_non_null(ports);
	assert_int_equal(ports->service->spec_version, 1);
	assert_null(ports->service->update);
	assert_string_equal(ports->service->spec->endpoint->ports[0]->protocol, "tcp");
	pb_set_str(&c->network_id, "front");
	pb_msgs_add(&ports->service->spec->task->n_networks, &ports->service->spec->task->networks, c);
	nets = update_service(s, ports->service, false, &err);
	assert_non_null(nets);
	assert_int_equal(nets->service->spec_version, 2);
	assert_int_equal(nets->service->update->state, SKEIN__UPDATE_STATE__UPDATE_UPDATING);
}

static void ports_have_one_owner(void **state)
{
	struct serve *s = *state;
	_cleanup_pb_ pb_service_spec *web = new_spec("web", NULL), *api = new_spec("api", NULL);
	_cleanup_pb_ Skein__ServiceResponse *r = NULL, *r2 = NULL, *r3 = NULL, *back = NULL;
	_cleanup_free_ char *expected = NULL;
	struct error err;

	publish(web, 8080);
	publish(api, 8080);
	r = create_service(s, web, &err);
	assert_non_null(r);
	expected = xasprintf("port 8080/tcp is already in use by service 'web' (%s) as an ingress port",
			     r->service->id);
	assert_null(create_service(s, api, &err));
	assert_string_equal(err.msg, expected);
	/* web gives it up, api takes it: web cannot go back. */
	r->service->spec->endpoint->ports[0]->published = 8081;
	r2 = update_service(s, r->service, false, &err);
	assert_non_null(r2);
	r3 = create_service(s, api, &err);
	assert_non_null(r3);
	back = update_service(s, r->service, true, &err);
	assert_null(back);
	assert_int_equal(err.code, ERR_EXISTS);
	assert_non_null(strstr(err.msg, "8080/tcp is already in use by service 'api'"));
	/* etcd is our child here. */
	api->endpoint->ports[0]->published = 2379;
	pb_set_str(&api->name, "etcd");
	assert_null(create_service(s, api, &err));
	assert_non_null(strstr(err.msg, "needed by the cluster itself: etcd"));
}

/* ---------------------------------------------------------------- check */

struct peer {
	struct rpc_server *server;
	unsigned calls;
	bool repair, silent;
	char network_id[64];
	struct rpc_call *open;
};

static void serve_check(struct rpc_call *call, const ProtobufCMessage *raw, void *data)
{
	const Skein__CheckNetRequest *request = (const Skein__CheckNetRequest *)raw;
	Skein__CheckNetResponse response = SKEIN__CHECK_NET_RESPONSE__INIT;
	Skein__NetworkDifference difference = SKEIN__NETWORK_DIFFERENCE__INIT, *list[] = {&difference};
	struct peer *p = data;

	p->calls++;
	p->repair = request->repair;
	snprintf(p->network_id, sizeof(p->network_id), "%s", request->network_id);
	if (p->silent) {
		p->open = call;
		return;
	}
	difference.what = (char *)"fdb";
	difference.wanted = (char *)"02:42\x1b[2J";
	response.revision = 42;
	response.checked = 7;
	response.differences = list;
	response.n_differences = 1;
	rpc_call_reply(call, &response.base);
}

static void peer_done(struct rpc_call *call, void *data)
{
	struct peer *p = data;

	if (p->open == call)
		p->open = NULL;
}

static const struct rpc_method peer_methods[] = {
	{"CheckNet", .allow = RPC_ROLE_MANAGER, .on_message = serve_check, .on_done = peer_done},
};

static void peer_open(struct serve *s, struct peer *p, const char *id)
{
	p->server = serve_peer_open(s, id, peer_methods, ARRAY_SIZE(peer_methods), p, NULL);
}

struct checker {
	struct rpc_channel *channel;
	struct rpc_call *call;
	Skein__CheckNetworksResponse *answers[8];
	size_t n;
	bool done;
	struct error err;
};

static void checker_on_message(struct rpc_call *call, const ProtobufCMessage *raw, void *data)
{
	struct checker *k = data;

	assert_true(k->n < ARRAY_SIZE(k->answers));
	k->answers[k->n++] = pb_dup(raw);
}

static void checker_on_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct checker *k = data;

	k->done = true;
	k->call = NULL;
	k->err = err ? *err : ERROR_INIT;
}

static void check(struct serve *s, struct checker *k, const char *ref, bool repair)
{
	static const struct rpc_handlers handlers = {.on_message = checker_on_message,
						     .on_done = checker_on_done};
	Skein__CheckNetworksRequest request = SKEIN__CHECK_NETWORKS_REQUEST__INIT;

	request.ref = (char *)ref;
	request.repair = repair;
	k->channel = channel_as(s, NULL, NULL);
	k->call = rpc_stream(k->channel, &skein__control__descriptor, "CheckNetworks", 0, &handlers, k);
	rpc_call_send(k->call, &request.base, NULL);
	rpc_call_half_close(k->call);
}

static const Skein__CheckNetworksResponse *answer_of(const struct checker *k, const char *node_id)
{
	for (size_t i = 0; i < k->n; i++)
		if (str_eq(k->answers[i]->node_id, node_id))
			return k->answers[i];
	fail_msg("no answer of %s", node_id);
	return NULL;
}

static void checker_fini(struct checker *k)
{
	for (size_t i = 0; i < k->n; i++)
		pb_free(k->answers[i]);
	rpc_channel_close(k->channel);
}

static void check_asks_every_node(void **state)
{
	struct serve *s = *state;
	_cleanup_free_ char *id = created(s, "front");
	struct peer p1 = {0}, p2 = {0};
	const Skein__CheckNetworksResponse *a;
	struct checker k = {0}, lost = {0};
	pb_node *down = new_node("n3");

	peer_open(s, &p1, "n1");
	peer_open(s, &p2, "n2");
	down->status->state = (Skein__NodeState)NODE_DOWN;
	pb_set_str(&down->status->address, "127.0.0.1");
	down->peer_port = 9;
	put(s, KIND_NODE, down);
	put_node(s, "n4");
	check(s, &k, "front", true);
	wait_for(s, k.done);
	assert_int_equal(k.err.code, ERR_OK);
	assert_int_equal(k.n, 4);
	a = answer_of(&k, "n1");
	assert_string_equal(a->error, "");
	assert_int_equal(a->revision, 42);
	assert_int_equal(a->checked, 7);
	assert_int_equal(a->n_differences, 1);
	assert_null(strchr(a->differences[0]->wanted, '\x1b'));
	assert_string_equal(answer_of(&k, "n3")->error, "the node is down");
	assert_string_equal(answer_of(&k, "n4")->error, "the node never told its address");
	assert_true(p1.repair && p2.repair);
	assert_string_equal(p1.network_id, id);
	checker_fini(&k);
	check(s, &lost, "nowhere", false);
	wait_for(s, lost.done);
	assert_int_equal(lost.err.code, ERR_NOT_FOUND);
	assert_int_equal(p1.calls, 1);
	checker_fini(&lost);
	serve_peer_close(s, p1.server);
	serve_peer_close(s, p2.server);
}

/* A node that cannot be reached is an answer; a client that goes away ends what is under way. */
static void check_survives_nodes_and_clients(void **state)
{
	struct serve *s = *state;
	struct peer gone = {0}, silent = {.silent = true};
	struct checker k = {0}, left = {0};

	peer_open(s, &gone, "n1");
	serve_peer_close(s, gone.server);
	check(s, &k, "", false);
	wait_for(s, k.done);
	assert_int_equal(k.err.code, ERR_OK);
	assert_int_equal(k.n, 1);
	assert_true(k.answers[0]->error[0]);
	checker_fini(&k);
	peer_open(s, &silent, "n2");
	check(s, &left, "", false);
	wait_for(s, silent.open);
	rpc_call_cancel(left.call);
	wait_for(s, left.done && !silent.open);
	checker_fini(&left);
	serve_peer_close(s, silent.server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVE_TEST(create_get_list_remove),
		SERVE_TEST(lists_and_filters),
		SERVE_TEST(removal_waits_for_stopping_tasks),
		SERVE_TEST(services_name_networks),
		SERVE_TEST(a_network_does_not_go_under_a_new_service),
		SERVE_TEST(a_scheduler_that_some_nodes_lack_is_told),
		SERVE_TEST(ports_restart_nothing_networks_do),
		SERVE_TEST(ports_have_one_owner),
		SERVE_TEST(check_asks_every_node),
		SERVE_TEST(check_survives_nodes_and_clients),
	};

	return cmocka_run_group_tests(tests, serve_group_setup, serve_group_teardown);
}
