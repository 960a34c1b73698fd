#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "manager/control/validate.h"
#include "support/build.h"

#include <stdio.h>

/*
 * A network in one line: "driver key=value ... pool=SUBNET[,gw=IP][,range=SUBNET][,aux=NAME:IP]". Words: ipv6,
 * internal. Options: opt.NAME=VALUE.
 */
static void pool_from(pb_network_spec *spec, char *text)
{
	pb_ipam_pool *pool = pb_new(&skein__ipam_pool__descriptor);
	char *item = strsep(&text, ",");

	pb_set_str(&pool->subnet, item);
	while ((item = strsep(&text, ","))) {
		if (str_starts(item, "gw="))
			pb_set_str(&pool->gateway, item + 3);
		else if (str_starts(item, "range="))
			pb_set_str(&pool->ip_range, item + 6);
		else if (str_starts(item, "aux=")) {
			char *value = strchr(item, ':');
			pb_kv *kv = pb_new(&skein__key_value__descriptor);

			*value++ = '\0';
			pb_set_str(&kv->key, item + 4);
			pb_set_str(&kv->value, value);
			pb_msgs_add(&pool->n_aux_addresses, &pool->aux_addresses, kv);
		} else {
			fail_msg("pool: %s", item);
		}
	}
	pb_msgs_add(&spec->n_pools, &spec->pools, pool);
}

static pb_network_spec *network_of(const char *text)
{
	pb_network_spec *spec = pb_new(&skein__network_spec__descriptor);
	_cleanup_free_ char *copy = xstrdup(text);
	char *rest = copy, *word = strsep(&rest, " ");

	pb_set_str(&spec->name, "front");
	pb_set_str(&spec->driver, word);
	while ((word = strsep(&rest, " "))) {
		if (str_eq(word, "ipv6"))
			spec->ipv6 = true;
		else if (str_eq(word, "internal"))
			spec->internal = true;
		else if (str_starts(word, "name="))
			pb_set_str(&spec->name, word + 5);
		else if (str_starts(word, "pool="))
			pool_from(spec, word + 5);
		else if (str_starts(word, "opt.")) {
			char *value = strchr(word, '=');
			pb_kv *kv = pb_new(&skein__key_value__descriptor);

			if (value)
				*value++ = '\0';
			pb_set_str(&kv->key, word + 4);
			pb_set_str(&kv->value, value);
			pb_msgs_add(&spec->n_options, &spec->options, kv);
		} else {
			fail_msg("word: %s", word);
		}
	}
	validate_normalise_network(spec);
	return spec;
}

static void good_networks(void **state)
{
	static const char *const good[] = {
		"overlay",
		"",
		"overlay opt.encrypted",
		"overlay opt.encrypted=true opt.mtu=1400",
		"overlay pool=10.1.0.0/24",
		"overlay pool=10.1.0.0/24,gw=10.1.0.254,range=10.1.0.128/25,aux=router:10.1.0.2",
		"overlay ipv6 pool=10.1.0.0/24 pool=fd00:1::/64,gw=fd00:1::ffff",
		"overlay ipv6 pool=fd00:1::/64",
		"overlay ipv6 opt.mtu=1280",
		"overlay internal opt.mtu=576",
		"bridge pool=10.0.0.0/8",
		"macvlan opt.parent=eth0 pool=192.168.1.0/24,gw=192.168.1.1",
		"macvlan opt.parent=eth0.50 opt.mode=passthru",
		"ipvlan opt.parent=eth0 opt.mode=l3s",
		"vlan opt.parent=eth0 opt.id=4094",
		"vlan opt.parent=eth0 opt.id=1 opt.mtu=65535",
		"overlay pool=10.1.0.0/30,gw=10.1.0.2",
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		_cleanup_pb_ pb_network_spec *spec = network_of(good[i]);
		struct error err = ERROR_INIT;

		if (validate_network(spec, &err) < 0)
			fail_msg("%s: %s", good[i], err.msg);
	}
}

/* The message names field and value, and what is accepted. */
static void bad_networks(void **state)
{
	static const struct {
		const char *text, *field, *value, *accepted;
	} bad[] = {
		{"overlay name=", "name", "\"\"", "1 to 63"},
		{"overlay name=a/b", "name", "a/b", "letters"},
		{"overlay name=host", "name", "host", "predefined"},
		{"overlay name=ingress", "name", "ingress", "predefined"},
		{"weave", "driver", "weave", "overlay, bridge, macvlan, ipvlan or vlan"},
		{"host", "driver", "host", "overlay"},
		{"overlay opt.color=red", "options", "color", "encrypted, mtu"},
		{"bridge opt.encrypted", "options", "encrypted", "driver bridge knows mtu"},
		{"macvlan opt.parent=eth0 opt.encrypted", "options", "encrypted", "mode"},
		{"overlay opt.parent=eth0", "options", "parent", "encrypted, mtu"},
		{"overlay opt.encrypted=maybe", "options", "encrypted=maybe", "true or false"},
		{"overlay opt.mtu=575", "options", "mtu=575", "576 to 65535"},
		{"overlay opt.mtu=65536", "options", "mtu=65536", "576 to 65535"},
		{"overlay opt.mtu=x", "options", "mtu=x", "576 to 65535"},
		{"overlay ipv6 opt.mtu=1279", "options", "mtu=1279", "1280"},
		{"overlay opt.mtu=1400 opt.mtu=1500", "options", "mtu=1500", "twice"},
		{"macvlan", "options", "parent", "needed"},
		{"ipvlan opt.mode=l2", "options", "parent", "needed"},
		{"vlan opt.parent=eth0", "options", "id", "1 to 4094"},
		{"vlan opt.id=5", "options", "parent", "needed"},
		{"vlan opt.parent=eth0 opt.id=0", "options", "id=0", "1 to 4094"},
		{"vlan opt.parent=eth0 opt.id=4095", "options", "id=4095", "1 to 4094"},
		{"vlan opt.parent=eth0 opt.id=7 opt.mode=l2", "options", "mode", "driver vlan"},
		{"macvlan opt.parent=a/b", "options", "parent=a/b", "interface"},
		{"macvlan opt.parent=..", "options", "parent=..", "interface"},
		{"macvlan opt.parent=0123456789abcdef", "options", "0123456789abcdef", "interface"},
		{"macvlan opt.parent=eth0 opt.mode=l2", "options", "mode=l2", "bridge|private"},
		{"ipvlan opt.parent=eth0 opt.mode=l", "options", "mode=l", "l2|l3|l3s"},
		{"overlay pool=10.1.0.0", "pools.subnet[0]", "10.1.0.0", ""},
		{"overlay pool=10.1.0.1/24", "pools.subnet[0]", "10.1.0.1/24", ""},
		{"overlay pool=x/24", "pools.subnet[0]", "x/24", ""},
		{"overlay pool=10.1.0.0/31", "pools.subnet[0]", "10.1.0.0/31", "8 to 30"},
		{"overlay pool=8.0.0.0/7", "pools.subnet[0]", "8.0.0.0/7", "8 to 30"},
		{"overlay ipv6 pool=fd00::/127", "pools.subnet[0]", "fd00::/127", "16 to 126"},
		{"overlay pool=127.0.0.0/24", "pools.subnet[0]", "127.0.0.0/24", "127.0.0.0/8"},
		{"overlay pool=239.0.0.0/24", "pools.subnet[0]", "239.0.0.0/24", "224.0.0.0/3"},
		{"overlay ipv6 pool=fe80::/64", "pools.subnet[0]", "fe80::/64", "fe80::/10"},
		{"overlay pool=fd00:1::/64", "pools.subnet[0]", "fd00:1::/64", "ipv6"},
		{"overlay pool=10.1.0.0/24 pool=10.2.0.0/24", "pools.subnet[1]", "10.2.0.0/24",
		 "one IPv4 subnet"},
		{"overlay ipv6 pool=10.1.0.0/24 pool=fd00::/64 pool=fd01::/64", "pools.subnet[2]",
		 "fd01::/64", "one IPv6 subnet"},
		{"overlay pool=10.1.0.0/24,gw=10.2.0.1", "pools.gateway[0]", "10.2.0.1",
		 "inside 10.1.0.0/24"},
		{"overlay pool=10.1.0.0/24,gw=10.1.0.1/24", "pools.gateway[0]", "10.1.0.1/24",
		 "an address inside"},
		{"overlay pool=10.1.0.0/24,gw=10.1.0.0", "pools.gateway[0]", "10.1.0.0", "itself"},
		{"overlay pool=10.1.0.0/24,gw=10.1.0.255", "pools.gateway[0]", "10.1.0.255",
		 "itself"},
		{"overlay pool=10.1.0.0/24,gw=x", "pools.gateway[0]", "\"x\"", ""},
		{"overlay pool=10.1.0.0/24,range=10.2.0.0/25", "pools.ip_range[0]", "10.2.0.0/25",
		 "inside 10.1.0.0/24"},
		{"overlay pool=10.1.0.0/24,range=10.0.0.0/8", "pools.ip_range[0]", "10.0.0.0/8",
		 "inside 10.1.0.0/24"},
		{"overlay pool=10.1.0.0/24,aux=r:10.2.0.1", "pools.aux_addresses[0]", "10.2.0.1",
		 "inside 10.1.0.0/24"},
		{"overlay pool=10.1.0.0/24,gw=10.1.0.9,aux=r:10.1.0.9", "pools.aux_addresses[0]",
		 "10.1.0.9", "gateway"},
		{"overlay pool=10.1.0.0/24,aux=r:10.1.0.9,aux=s:10.1.0.9", "pools.aux_addresses[0]",
		 "10.1.0.9", "another"},
		{"overlay pool=10.1.0.0/24,aux=r:10.1.0.9,aux=r:10.1.0.8", "pools.aux_addresses[0]",
		 "\"r\"", "twice"},
		{"overlay pool=10.1.0.0/24,aux=:10.1.0.9", "pools.aux_addresses[0]", "\"\"", "letters"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		_cleanup_pb_ pb_network_spec *spec = network_of(bad[i].text);
		struct error err = ERROR_INIT;

		if (validate_network(spec, &err) == 0)
			fail_msg("accepted: %s", bad[i].text);
		if (err.code != ERR_INVALID || !str_starts(err.msg, bad[i].field) ||
		    !strstr(err.msg, bad[i].value) || !strstr(err.msg, bad[i].accepted))
			fail_msg("%s: %s", bad[i].text, err.msg);
	}
}

static void normal_form(void **state)
{
	static const struct {
		const char *text, *option, *value;
	} cases[] = {
		{"overlay opt.encrypted", "encrypted", "true"},
		{"overlay opt.encrypted=1", "encrypted", "true"},
		{"overlay opt.encrypted=false", "encrypted", NULL},
		{"macvlan opt.parent=eth0", "mode", "bridge"},
		{"ipvlan opt.parent=eth0", "mode", "l2"},
		{"vlan opt.parent=eth0 opt.id=3", "mode", NULL},
	};
	_cleanup_pb_ pb_network_spec *bare = network_of("");

	assert_string_equal(bare->driver, "overlay");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_pb_ pb_network_spec *spec = network_of(cases[i].text), *again = pb_dup(spec);
		const char *value = pb_kv_get(spec->options, spec->n_options, cases[i].option);

		if (!str_eq(value, cases[i].value))
			fail_msg("%s: %s", cases[i].text, value);
		validate_normalise_network(again);
		assert_true(pb_equal(spec, again));
	}
}

static void ingress_is_not_made(void **state)
{
	_cleanup_pb_ pb_network_spec *spec = network_of("overlay");
	struct error err = ERROR_INIT;

	spec->ingress = true;
	assert_int_equal(validate_network(spec, &err), -1);
	assert_non_null(strstr(err.msg, "ingress"));
}

static void pools_of_the_cluster(void **state)
{
	static const struct {
		const char *pools;
		uint32_t prefix;
		const char *error; /* NULL: accepted */
	} cases[] = {
		{"", 0, NULL},
		{"10.0.0.0/8", 0, NULL},
		{"10.20.0.0/16;192.168.0.0/16", 26, NULL},
		{"10.0.0.0/24", 24, NULL},
		{"10.0.0.0/24", 16, "spec.address_pools[0] \"10.0.0.0/24\""},
		{"10.0.0.0/25", 0, "spec.address_pools[0] \"10.0.0.0/25\""},
		{"10.0.0.0/8", 15, "spec.address_pool_prefix 15: must be 16 to 29"},
		{"10.0.0.0/8", 30, "spec.address_pool_prefix 30"},
		{"10.0.0.0/8;10.1.0.0/16", 24, "spec.address_pools[1] \"10.1.0.0/16\": overlaps"},
		{"fd00::/48", 0, "spec.address_pools[0] \"fd00::/48\": must be IPv4"},
		{"ten", 0, "spec.address_pools[0] \"ten\""},
		{"127.0.0.0/8", 0, "spec.address_pools[0] \"127.0.0.0/8\": overlaps"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_pb_ pb_cluster_spec *spec = pb_new(&skein__cluster_spec__descriptor);
		struct error err = ERROR_INIT;

		if (cases[i].pools[0])
			add_strings(&spec->n_address_pools, &spec->address_pools, cases[i].pools);
		spec->address_pool_prefix = cases[i].prefix;
		if ((validate_cluster_spec(spec, &err) == 0) != !cases[i].error)
			fail_msg("%s/%u: %s", cases[i].pools, cases[i].prefix, err.msg);
		if (cases[i].error && !str_starts(err.msg, cases[i].error))
			fail_msg("%s: %s", cases[i].pools, err.msg);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_networks),       cmocka_unit_test(bad_networks),
		cmocka_unit_test(normal_form),	       cmocka_unit_test(ingress_is_not_made),
		cmocka_unit_test(pools_of_the_cluster),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
