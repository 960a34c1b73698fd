/* The cluster's state as a node is told of it: complete, changing, in pieces, in any order. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/net_fixture.h"

#include <stdio.h>
#include <sys/socket.h>

/* What the hooks were told, as "+web -web". */
static struct strbuf told;

static void tell(const char *id, bool appears)
{
	strbuf_printf(&told, "%s%c%s", told.len ? " " : "", appears ? '+' : '-', id);
}

static void on_node(void *data, struct model_node *n, bool appears)
{
	tell(n->id, appears);
}

static void on_network(void *data, struct model_network *n, bool appears)
{
	tell(n->id, appears);
}

static void on_service(void *data, struct model_service *s, bool appears)
{
	tell(s->id, appears);
}

static void on_endpoint(void *data, struct model_endpoint *e, bool appears)
{
	/* What belongs to it is there whenever it is told of. */
	assert_non_null(e->service);
	assert_non_null(e->node);
	tell(e->id, appears);
}

static const struct model_hooks hooks = {on_node, on_network, on_service, on_endpoint, NULL};

#define assert_told(text)                                                                          \
	do {                                                                                       \
		_cleanup_free_ char *told_ = strbuf_take(&told);                                   \
		assert_string_equal(told_, text);                                                  \
	} while (0)

static pb_net_state *cluster(void)
{
	pb_net_state *s = net_state(true, 0, 1);

	net_network(s, "front", "overlay", 4097, "10.0.1.0/24", "fd00:1::/64");
	net_network(s, "ingress", "overlay", 4096, "10.255.0.0/16", NULL)->spec->ingress = true;
	net_node(s, "n1", "10.77.0.1", 1);
	net_node(s, "n2", "10.77.0.2", 2);
	net_port(net_service(s, "web", "front", "10.0.1.2", "fd00:1::2"), "tcp", 8080, 80, false);
	net_endpoint(s, "t1", "web", "n1", true, "front", "10.0.1.11/24", "fd00:1::11/64");
	net_endpoint(s, "t2", "web", "n2", false, "front", "10.0.1.12/24", "");
	return s;
}

static struct ipaddr addr(const char *text)
{
	struct ipaddr a;

	assert_int_equal(ipaddr_parse(text, &a, NULL), 0);
	return a;
}

static void everything_finds_each_other(void **state)
{
	struct model *m = model_new(NULL);
	struct model_network *front;
	struct ipaddr vip = addr("10.0.1.2"), t2 = addr("10.0.1.12"), none = addr("10.0.1.99");

	assert_false(model_complete(m));
	net_take(m, cluster());
	assert_true(model_complete(m));
	assert_int_equal(model_revision(m), 101);
	assert_int_equal(model_malformed(m), 0);
	front = model_network(m, "front");
	assert_int_equal(front->vni, 4097);
	assert_int_equal(front->gateway4.bytes[3], 1);
	assert_int_equal(front->gateway4.prefix, 24);
	assert_ptr_equal(model_ingress(m), model_network(m, "ingress"));
	assert_ptr_equal(model_service_by_name(m, "WEB"), model_service(m, "web"));
	assert_ptr_equal(model_service_by_port(m, "tcp", 8080), model_service(m, "web"));
	assert_null(model_service_by_port(m, "udp", 8080));
	assert_ptr_equal(model_vip_by_address(m, front, &vip)->service, model_service(m, "web"));
	assert_ptr_equal(model_place_by_address(m, front, &t2)->endpoint, model_endpoint(m, "t2"));
	assert_null(model_place_by_address(m, front, &none));
	assert_true(model_endpoint(m, "t1")->ready);
	assert_false(model_endpoint(m, "t2")->ready);
	assert_ptr_equal(model_endpoint(m, "t2")->node, model_node(m, "n2"));
	model_free(m);
}

static void a_change_tells_only_of_what_changed(void **state)
{
	struct model *m = model_new(&hooks);
	pb_net_state *s;

	net_take(m, cluster());
	assert_told("+n1 +n2 +front +ingress +web +t1 +t2");
	s = net_state(false, 1, 2);
	net_endpoint(s, "t1", "web", "n1", true, "front", "10.0.1.11/24", "fd00:1::11/64"); /* as it was */
	net_endpoint(s, "t2", "web", "n2", true, "front", "10.0.1.12/24", "");
	net_take(m, s);
	assert_told("-t2 +t2");
	assert_true(model_endpoint(m, "t2")->ready);
	s = net_state(false, 2, 3);
	pb_strs_add(&s->n_remove_endpoints, &s->remove_endpoints, "t1");
	pb_strs_add(&s->n_remove_endpoints, &s->remove_endpoints, "never-there");
	net_take(m, s);
	assert_told("-t1");
	assert_null(model_endpoint(m, "t1"));
	model_free(m);
}

static void a_complete_state_in_pieces_drops_at_its_end(void **state)
{
	struct model *m = model_new(&hooks);
	pb_net_state *s;

	net_take(m, cluster());
	strbuf_fini(&told);
	model_begin(m);
	s = net_state(true, 0, 1);
	s->more = true;
	net_node(s, "n1", "10.77.0.1", 1);
	net_network(s, "front", "overlay", 4097, "10.0.1.0/24", "fd00:1::/64");
	net_take(m, s);
	assert_told(""); /* nothing is dropped, nothing has changed */
	assert_non_null(model_endpoint(m, "t2"));
	s = net_state(false, 1, 2);
	net_port(net_service(s, "web", "front", "10.0.1.2", "fd00:1::2"), "tcp", 8080, 80, false);
	net_endpoint(s, "t1", "web", "n1", true, "front", "10.0.1.11/24", "fd00:1::11/64");
	net_take(m, s);
	assert_told("-t2 -ingress -n2");
	model_free(m);
}

static void what_does_not_fit_is_refused(void **state)
{
	struct model *m = model_new(NULL);
	pb_net_state *s = net_state(false, 0, 1);
	struct error err = ERROR_INIT;

	assert_int_equal(model_apply(m, s, &err), -1); /* a change before any state */
	assert_int_equal(err.code, ERR_CONFLICT);
	pb_free(s);
	net_take(m, cluster());
	s = net_state(false, 7, 8);
	assert_int_equal(model_apply(m, s, &err), -1);
	assert_int_equal(err.code, ERR_CONFLICT);
	s->applies_to = 1;
	assert_int_equal(model_apply(m, s, &err), 0);
	model_begin(m); /* a new session: only a complete one will do */
	s->applies_to = 8;
	assert_int_equal(model_apply(m, s, &err), -1);
	assert_non_null(model_endpoint(m, "t1")); /* what is known stays in force */
	pb_free(s);
	model_free(m);
}

static void order_does_not_matter(void **state)
{
	struct model *m = model_new(NULL);
	pb_net_state *s = net_state(true, 0, 1);
	const struct model_endpoint *e;

	net_endpoint(s, "t1", "web", "n1", true, "front", "10.0.1.11/24", "");
	net_take(m, s);
	e = model_endpoint(m, "t1");
	assert_null(model_service(m, "web")); /* spoken of, not known */
	assert_null(e->service->pb);
	s = net_state(false, 1, 2);
	net_service(s, "web", "front", "10.0.1.2", "");
	net_network(s, "front", "overlay", 4097, "10.0.1.0/24", NULL);
	net_node(s, "n1", "10.77.0.1", 1);
	net_take(m, s);
	assert_ptr_equal(e->service, model_service(m, "web"));
	assert_ptr_equal(e->places[0].network, model_network(m, "front"));
	assert_true(ipaddr_is_set(&e->node->address));
	model_free(m);
}

static void bad_objects_are_left_out(void **state)
{
	struct model *m = model_new(NULL);
	pb_net_state *s = cluster();

	pb_set_str(&s->endpoints[0]->networks[0]->ipv4, "10.0.1.300/24");
	pb_set_str(&s->networks[0]->pools[0]->subnet, "10.0.1.1/24"); /* no subnet */
	pb_set_str(&s->nodes[1]->node_id, "");
	pb_set_str(&s->services[0]->vips[0]->ipv4, "fd00::1"); /* of the wrong family */
	net_take(m, s);
	assert_int_equal(model_malformed(m), 4);
	assert_false(ipaddr_is_set(&model_endpoint(m, "t1")->places[0].ipv4));
	assert_true(ipaddr_is_set(&model_endpoint(m, "t1")->places[0].ipv6));
	assert_false(ipaddr_is_set(&model_network(m, "front")->subnet4));
	assert_null(model_node(m, "n2"));
	model_free(m);
}

static void who_is_about_to_stop_is_not_ready(void **state)
{
	struct model *m = model_new(&hooks);
	pb_net_state *s;

	net_take(m, cluster());
	strbuf_fini(&told);
	model_set_draining(m, "t1", true);
	assert_told("-t1 +t1");
	assert_false(model_endpoint(m, "t1")->ready);
	s = net_state(false, 1, 2);
	net_endpoint(s, "t1", "web", "n1", true, "front", "10.0.1.11/24", ""); /* the cluster does not know it yet */
	net_take(m, s);
	assert_false(model_endpoint(m, "t1")->ready);
	assert_true(model_endpoint(m, "t1")->draining);
	s = net_state(false, 2, 3);
	pb_strs_add(&s->n_remove_endpoints, &s->remove_endpoints, "t1");
	net_take(m, s);
	s = net_state(false, 3, 4);
	net_endpoint(s, "t1", "web", "n1", true, "front", "10.0.1.11/24", "");
	net_take(m, s);
	assert_true(model_endpoint(m, "t1")->ready); /* forgotten with the endpoint */
	strbuf_fini(&told);
	model_free(m);
}

static void of_two_with_one_name_the_newest_counts(void **state)
{
	struct model *m = model_new(NULL);
	pb_net_state *s;

	net_take(m, cluster());
	s = net_state(false, 1, 2);
	pb_set_str(&net_endpoint(s, "t9", "web", "n2", true, "front", "10.0.1.19/24", "")->name, "t1");
	net_take(m, s);
	assert_string_equal(model_endpoint_by_name(m, "T1")->id, "t9");
	s = net_state(false, 2, 3);
	pb_strs_add(&s->n_remove_endpoints, &s->remove_endpoints, "t9");
	net_take(m, s);
	assert_string_equal(model_endpoint_by_name(m, "t1")->id, "t1");
	model_free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everything_finds_each_other),
		cmocka_unit_test(a_change_tells_only_of_what_changed),
		cmocka_unit_test(a_complete_state_in_pieces_drops_at_its_end),
		cmocka_unit_test(what_does_not_fit_is_refused),
		cmocka_unit_test(order_does_not_matter),
		cmocka_unit_test(bad_objects_are_left_out),
		cmocka_unit_test(who_is_about_to_stop_is_not_ready),
		cmocka_unit_test(of_two_with_one_name_the_newest_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
