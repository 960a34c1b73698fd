/* Networks: flags in, text and JSON out. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "clusterctl/network_flags.h"
#include "clusterctl/network_show.h"
#include "clusterctl/pb_json.h"

#include "common/error.h"
#include "common/mem.h"

#include <string.h>

static pb_network_spec *build(const char *line, struct error *err)
{
	_cleanup_strv_ struct strv argv = {0}, args = {0};
	_cleanup_free_ char *copy = xstrdup(line);
	struct network_flags flags = {0};
	pb_network_spec *spec = NULL;
	char *rest = copy, *word;

	while ((word = strsep(&rest, " ")))
		strv_add(&argv, word);
	options_defaults(network_create_options, &flags);
	if (options_parse_args(network_create_options, &flags, (int)argv.n, argv.v, false, &args, NULL, err) == 0)
		spec = network_build(&flags, args.v[0], err);
	options_fini(network_create_options, &flags);
	return spec;
}

static void flags_of_create(void **state)
{
	static const struct {
		const char *line, *path, *want;
	} cases[] = {
		{"front", "name", "front"},
		{"front", "driver", "overlay"},
		{"front", "ipv6", "false"},
		{"-d macvlan front", "driver", "macvlan"},
		{"--ipv6 front", "ipv6", "true"},
		{"--internal front", "internal", "true"},
		{"--attachable front", "attachable", "true"},
		{"--opt encrypted -o mtu=1400 front", "options", "{\"encrypted\": \"\", \"mtu\": \"1400\"}"},
		{"--label a=b front", "labels", "{\"a\": \"b\"}"},
		{"--subnet 10.0.5.0/24 --gateway 10.0.5.9 --ip-range 10.0.5.128/25 --aux-address r=10.0.5.3 front", "pools",
		 "[{\"subnet\": \"10.0.5.0/24\", \"gateway\": \"10.0.5.9\", \"ip_range\": \"10.0.5.128/25\", \"aux_addresses\": {\"r\": \"10.0.5.3\"}}]"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = ERROR_INIT;
		_cleanup_pb_ pb_network_spec *spec = build(cases[i].line, &err);
		_cleanup_free_ char *text = NULL;
		json_t *json, *at;

		if (!spec)
			fail_msg("%s: %s", cases[i].line, err.msg);
		json = pb_json(&spec->base);
		text = pb_json_text(pb_json_path(json, cases[i].path, &at));
		assert_string_equal(text, cases[i].want);
		json_decref(json);
	}
}

static void mistakes_name_the_flag(void **state)
{
	static const struct {
		const char *line, *want;
	} cases[] = {
		{"-d nosuch front", "--driver: invalid value \"nosuch\": expected one of overlay, bridge, macvlan, ipvlan, vlan"},
		{"--subnet x front", "--subnet: \"x\""},
		{"--gateway 10.0.0.1 front", "--gateway 10.0.0.1: no --subnet holds it"},
		{"--opt =x front", "--opt: \"=x\""},
		{"--label =x front", "--label: \"=x\""},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = ERROR_INIT;

		assert_null(build(cases[i].line, &err));
		assert_int_equal(err.code, ERR_INVALID);
		if (!strstr(err.msg, cases[i].want))
			fail_msg("%s: \"%s\" lacks \"%s\"", cases[i].line, err.msg, cases[i].want);
	}
}

static Skein__NetworkUse *use(const char *kind, const char *name, const char *ipv4, bool ready)
{
	Skein__NetworkUse *u = pb_new(&skein__network_use__descriptor);

	pb_set_str(&u->kind, kind);
	pb_set_str(&u->name, name);
	pb_set_str(&u->ipv4, ipv4);
	pb_set_str(&u->mac, "02:42:0a:00:05:02");
	if (str_eq(kind, "task"))
		pb_set_str(&u->node_name, "h1");
	u->ready = ready;
	return u;
}

static Skein__NetworkResponse *response(void)
{
	struct error err = ERROR_INIT;
	Skein__NetworkResponse *reply = pb_new(&skein__network_response__descriptor);
	Skein__NetworkKey *key = pb_new(&skein__network_key__descriptor);
	pb_network *network = pb_new(&skein__network__descriptor);
	pb_ipam_pool *pool = pb_new(&skein__ipam_pool__descriptor);

	pb_set_str(&network->id, "abcdefghijklmnop");
	network->spec = build("--opt encrypted --label a=b front", &err);
	network->vni = 4096;
	pb_set_str(&pool->subnet, "10.0.5.0/24");
	pb_set_str(&pool->gateway, "10.0.5.1");
	pb_msgs_add(&network->n_pools, &network->pools, pool);
	key->key.len = 4;
	key->key.data = (uint8_t *)xstrdup("\x01\x02\x03\x04");
	pb_msgs_add(&network->n_keys, &network->keys, key);
	reply->network = network;
	pb_msgs_add(&reply->n_uses, &reply->uses, use("vip", "web", "10.0.5.9", false));
	pb_msgs_add(&reply->n_uses, &reply->uses, use("task", "web.10", "10.0.5.3/24", false));
	pb_msgs_add(&reply->n_uses, &reply->uses, use("task", "web.2", "10.0.5.2/24", true));
	pb_kv_set(&reply->n_free, &reply->free, "10.0.5.0/24", "249");
	return reply;
}

static void inspect_for_people(void **state)
{
	_cleanup_pb_ Skein__NetworkResponse *reply = response();
	_cleanup_free_ char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	network_pretty(reply, out);
	fclose(out);
	assert_string_equal(text, "ID:                  abcdefghijklmnop\n"
				  "Name:                front\n"
				  "Labels:\n a=b\n"
				  "Driver:              overlay\n"
				  "Scope:               cluster\n"
				  "VNI:                 4096\n"
				  "Internal:            no\n"
				  "Attachable:          no\n"
				  "IPv6:                no\n"
				  "Options:\n encrypted\n"
				  "Subnets:\n 10.0.5.0/24  gateway 10.0.5.1  249 addresses free\n"
				  "Addresses in use:\n"
				  " KIND   NAME     NODE   IPV4          IPV6   MAC                 READY\n"
				  " task   web.2    h1     10.0.5.2/24          02:42:0a:00:05:02   yes\n"
				  " task   web.10   h1     10.0.5.3/24          02:42:0a:00:05:02   no\n"
				  " vip    web             10.0.5.9             02:42:0a:00:05:02\n");
}

static void inspect_for_programs_hides_keys(void **state)
{
	_cleanup_pb_ Skein__NetworkResponse *reply = response();
	json_t *json = network_json(reply), *at;
	_cleanup_free_ char *text = json_dumps(json, JSON_COMPACT);

	assert_string_equal(json_string_value(pb_json_path(json, "spec.name", &at)), "front");
	assert_int_equal(json_array_size(json_object_get(json, "uses")), 3);
	assert_string_equal(json_string_value(json_object_get(json_object_get(json, "free"), "10.0.5.0/24")), "249");
	assert_null(strstr(text, "01020304"));
	assert_non_null(strstr(text, "\"key\":\"(hidden)\""));
	json_decref(json);
}

static void differences_are_a_table(void **state)
{
	Skein__NetworkDifference missing = SKEIN__NETWORK_DIFFERENCE__INIT, extra = SKEIN__NETWORK_DIFFERENCE__INIT;
	Skein__NetworkDifference *list[] = {&missing, &extra};
	Skein__CheckNetworksResponse bad = SKEIN__CHECK_NETWORKS_RESPONSE__INIT, good = SKEIN__CHECK_NETWORKS_RESPONSE__INIT,
				     dead = SKEIN__CHECK_NETWORKS_RESPONSE__INIT;
	Skein__CheckNetworksResponse *nodes[] = {&bad, &good, &dead};
	struct network_findings f = {0};
	_cleanup_free_ char *text = NULL, *summary = NULL, *clean = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	missing.network = (char *)"front", missing.what = (char *)"fdb", missing.wanted = (char *)"02:42:0a:00:05:02 10.77.0.2";
	missing.repaired = 1;
	extra.what = (char *)"nftables", extra.found = (char *)"a chain";
	bad.node_name = (char *)"h1", bad.n_differences = 2, bad.differences = list, bad.checked = 10;
	good.node_name = (char *)"h2", good.checked = 7;
	dead.node_name = (char *)"h3", dead.error = (char *)"no answer";
	network_check_table(nodes, 3, out);
	fclose(out);
	assert_string_equal(text, "NODE   NETWORK   WHAT       WANTED                        FOUND       REPAIRED\n"
				  "h1     front     fdb        02:42:0a:00:05:02 10.77.0.2   (missing)   yes\n"
				  "h1     (host)    nftables   (nothing)                     a chain     no\n");
	for (unsigned i = 0; i < 3; i++)
		network_findings_add(&f, nodes[i]);
	summary = network_check_summary(&f);
	assert_string_equal(summary, "3 nodes, 17 entries checked: 2 differences, 1 repaired; 1 node could not be asked");
	f = (struct network_findings){0};
	network_findings_add(&f, &good);
	clean = network_check_summary(&f);
	assert_string_equal(clean, "1 node, 7 entries checked: no difference");
}

static void refusals_name_the_flag(void **state)
{
	static const struct {
		const char *field, *flag;
	} cases[] = {
		{"name \"x y\": must be letters", "NETWORK \"x y\": must be letters"},
		{"options[mtu] \"x\": must be a number", "--opt \"x\": must be a number"},
		{"pools[0] \"x\": overlaps", "--subnet \"x\": overlaps"},
		{"driver \"x\": must be", "--driver \"x\": must be"},
		{"namesake", "namesake"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = ERROR_INIT;

		error_set(&err, ERR_INVALID, "%s", cases[i].field);
		network_name_flag(&err);
		assert_string_equal(err.msg, cases[i].flag);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(flags_of_create),
		cmocka_unit_test(mistakes_name_the_flag),
		cmocka_unit_test(inspect_for_people),
		cmocka_unit_test(inspect_for_programs_hides_keys),
		cmocka_unit_test(differences_are_a_table),
		cmocka_unit_test(refusals_name_the_flag),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
