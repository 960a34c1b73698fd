// IPVS, on a kernel that has it; ipvsadm(8) is the judge.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "integration/netoverlay/place.h"

#define IPVS_KINDS (1u << NETSTATE_IPVS_SERVICE | 1u << NETSTATE_IPVS_DEST)

static int probe(void **state)
{
	struct netns_features f;
	struct error err = ERROR_INIT;
	static bool has;

	if (group_setup(state) != 0)
		return -1;
	ok(netns_probe(&f, &err), &err);
	has = f.ipvs;
	*state = &has;
	return 0;
}

static void service(struct place *p, struct netstate_ipvs_service s)
{
	want(p, (struct netstate_entry){.kind = NETSTATE_IPVS_SERVICE, .ipvs_service = s});
}

static void dest(struct place *p, struct netstate_ipvs_dest d)
{
	want(p, (struct netstate_entry){.kind = NETSTATE_IPVS_DEST, .ipvs_dest = d});
}

static void services_by_mark(void **state)
{
	struct place p;
	struct netstate_entry key = {.kind = NETSTATE_IPVS_SERVICE, .ipvs_service.fwmark = 7};

	if (!*(bool *)*state)
		skip();
	place_open(&p, "host", NULL);
	service(&p, (struct netstate_ipvs_service){.fwmark = 7, .scheduler = "rr"});
	service(&p, (struct netstate_ipvs_service){.fwmark = 7, .addr.family = AF_INET6, .scheduler = "sh"});
	dest(&p, (struct netstate_ipvs_dest){.fwmark = 7, .addr = ip("10.0.1.5"), .weight = 1});
	dest(&p, (struct netstate_ipvs_dest){.fwmark = 7, .addr = ip("10.0.1.6"), .weight = 3});
	dest(&p, (struct netstate_ipvs_dest){.fwmark = 7, .service.family = AF_INET6, .addr = ip("fd00::5"), .weight = 1});
	assert_int_equal(apply(&p), 5);
	assert_int_equal(differences_of(&p, IPVS_KINDS), 0);
	inside(&p, "ipvsadm -Sn | grep -qx -- \"-a -f 7 -r 10.0.1.6:0 -g -w 3\"; ipvsadm -Sn | grep -q \"f 7 -6.*fd00\"");

	dest(&p, (struct netstate_ipvs_dest){.fwmark = 7, .addr = ip("10.0.1.6"), .weight = 0});
	service(&p, (struct netstate_ipvs_service){.fwmark = 7, .scheduler = "wrr"});
	assert_int_equal(apply(&p), 2);
	assert_int_equal(differences_of(&p, IPVS_KINDS), 0);
	inside(&p, "ipvsadm -Sn | grep -qx -- \"-A -f 7 -s wrr\"");

	apply_all(&p); /* all of it is there */
	assert_int_equal(differences_of(&p, IPVS_KINDS), 0);
	inside(&p, "ipvsadm -d -f 7 -r 10.0.1.5; ipvsadm -a -f 7 -r 10.0.1.99 -g; ipvsadm -E -f 7 -s rr");
	assert_int_equal(differences_of(&p, IPVS_KINDS), 3);
	assert_true(netstate_del(p.want, &key)); /* its destinations go with it */
	key = (struct netstate_entry){.kind = NETSTATE_IPVS_DEST, .ipvs_dest = {.fwmark = 7, .addr = ip("10.0.1.5")}};
	assert_true(netstate_del(p.want, &key)); /* is gone already */
	key.ipvs_dest.addr = ip("10.0.1.6");
	assert_true(netstate_del(p.want, &key));
	assert_int_equal(apply(&p), 3);
	assert_int_equal(differences_of(&p, IPVS_KINDS), 0);
	place_close(&p);
}

static void services_by_address(void **state)
{
	struct place p;

	if (!*(bool *)*state)
		skip();
	place_open(&p, "host", NULL);
	service(&p, (struct netstate_ipvs_service){.protocol = IPPROTO_TCP, .addr = ip("10.0.1.2"), .port = 80, .scheduler = "mh"});
	service(&p, (struct netstate_ipvs_service){.protocol = IPPROTO_UDP, .addr = ip("10.0.1.2"), .scheduler = "rr"});
	dest(&p, (struct netstate_ipvs_dest){.protocol = IPPROTO_TCP, .service = ip("10.0.1.2"), .service_port = 80,
					     .addr = ip("10.0.1.5"), .port = 80, .weight = 1});
	assert_int_equal(apply(&p), 3);
	assert_int_equal(differences_of(&p, IPVS_KINDS), 0);
	inside(&p, "ipvsadm -Sn | grep -q -- \"-A -t 10.0.1.2:80 -s mh\"; ipvsadm -Sn | grep -q -- \"-A -u 10.0.1.2:0 -s rr -p 360\"");
	place_close(&p);
}

static void an_unknown_scheduler_is_named(void **state)
{
	struct place p;
	struct netstate_op op = {.entry = {.kind = NETSTATE_IPVS_SERVICE, .ipvs_service = {.fwmark = 9, .scheduler = "nosuch"}}};
	struct error err = ERROR_INIT;

	if (!*(bool *)*state)
		skip();
	place_open(&p, "host", NULL);
	assert_int_equal(netns_apply(p.ns, &op, 1, NULL, &err), -1);
	assert_non_null(strstr(err.msg, "nosuch"));
	place_close(&p);
}

static void without_it_that_is_said(void **state)
{
	struct place p;
	struct netstate_op op = {.entry = {.kind = NETSTATE_IPVS_SERVICE, .ipvs_service = {.fwmark = 9, .scheduler = "rr"}}};
	struct error err = ERROR_INIT;

	if (*(bool *)*state)
		skip();
	place_open(&p, "host", NULL);
	assert_int_equal(netns_apply(p.ns, &op, 1, NULL, &err), -1);
	assert_int_equal(err.code, ERR_UNIMPLEMENTED);
	assert_non_null(strstr(err.msg, "no IPVS"));
	place_close(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(services_by_mark),
		cmocka_unit_test(services_by_address),
		cmocka_unit_test(an_unknown_scheduler_is_named),
		cmocka_unit_test(without_it_that_is_said),
	};

	return cmocka_run_group_tests(tests, probe, group_teardown);
}
