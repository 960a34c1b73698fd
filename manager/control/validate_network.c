#include "validate.h"

#include "common/error.h"
#include "common/ipaddr.h"
#include "common/mem.h"
#include "common/str.h"

#include <ctype.h>
#include <inttypes.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define AUX_MAX 64
#define OPTIONS_MAX 16
#define PREFIX_V4_MIN 8
#define PREFIX_V4_MAX 30
#define PREFIX_V6_MIN 16
#define PREFIX_V6_MAX 126
#define MTU_MIN 576
#define MTU_V6_MIN 1280
#define MTU_MAX 65535
#define VLAN_ID_MAX 4094
#define CUT_PREFIX_MIN 16
#define CUT_PREFIX_MAX 29

/* ---------------------------------------------------------------- drivers and their options */

enum { OPT_MTU = 1, OPT_ENCRYPTED = 2, OPT_PARENT = 4, OPT_MODE = 8, OPT_ID = 16 };

static const struct {
	const char *name;
	unsigned flag;
} option_names[] = {{"encrypted", OPT_ENCRYPTED}, {"mtu", OPT_MTU}, {"parent", OPT_PARENT},
		    {"mode", OPT_MODE},		  {"id", OPT_ID}};

static const struct driver {
	const char *name;
	unsigned options, required;
	const char *modes; /* "|"-separated; the first is the default */
} drivers[] = {
	{"overlay", OPT_MTU | OPT_ENCRYPTED, 0, NULL},
	{"bridge", OPT_MTU, 0, NULL},
	{"macvlan", OPT_MTU | OPT_PARENT | OPT_MODE, OPT_PARENT, "bridge|private|vepa|passthru"},
	{"ipvlan", OPT_MTU | OPT_PARENT | OPT_MODE, OPT_PARENT, "l2|l3|l3s"},
	{"vlan", OPT_MTU | OPT_PARENT | OPT_ID, OPT_PARENT | OPT_ID, NULL},
};

static const struct driver *driver_find(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
		if (str_eq(drivers[i].name, name))
			return &drivers[i];
	return NULL;
}

static unsigned option_flag(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(option_names); i++)
		if (str_eq(option_names[i].name, name))
			return option_names[i].flag;
	return 0;
}

static const char *option(const pb_network_spec *spec, const char *name)
{
	return pb_kv_get(spec->options, spec->n_options, name);
}

static bool in_list(const char *list, const char *word)
{
	size_t len = strlen(word);

	for (const char *p = list; p && len; p = strchr(p, '|')) {
		p += *p == '|';
		if (!strncmp(p, word, len) && (!p[len] || p[len] == '|'))
			return true;
	}
	return false;
}

void validate_normalise_network(pb_network_spec *spec)
{
	const struct driver *driver;
	const char *encrypted, *mode;

	if (str_empty(spec->driver))
		pb_set_str(&spec->driver, "overlay");
	driver = driver_find(spec->driver);
	encrypted = option(spec, "encrypted");
	if (encrypted && in_list("false|0", encrypted))
		pb_kv_del(&spec->n_options, &spec->options, "encrypted");
	else if (encrypted && (!*encrypted || str_eq(encrypted, "1")))
		pb_kv_set(&spec->n_options, &spec->options, "encrypted", "true");
	mode = option(spec, "mode");
	if (driver && driver->modes && str_empty(mode)) {
		_cleanup_free_ char *first =
			xstrndup(driver->modes, strcspn(driver->modes, "|"));

		pb_kv_set(&spec->n_options, &spec->options, "mode", first);
	}
}

static int refuse_option(const pb_kv *o, const char *accepted, struct error *err)
{
	_cleanup_free_ char *text = xasprintf("%s=%s", o->key, o->value);

	return validate_refuse(err, text, accepted, "options");
}

static int unknown_option(const struct driver *driver, const pb_kv *o, struct error *err)
{
	_cleanup_strbuf_ struct strbuf accepted = {0};

	strbuf_printf(&accepted, "driver %s knows", driver->name);
	for (size_t i = 0, n = 0; i < ARRAY_SIZE(option_names); i++)
		if (driver->options & option_names[i].flag)
			strbuf_printf(&accepted, "%s %s", n++ ? "," : "", option_names[i].name);
	return validate_refuse(err, o->key, accepted.p, "options");
}

/* Names that the kernel takes for links. */
static bool is_link_name(const char *s)
{
	size_t len = strlen(s);

	if (!len || len >= IFNAMSIZ || str_eq(s, ".") || str_eq(s, ".."))
		return false;
	for (; *s; s++)
		if (!isgraph((unsigned char)*s) || *s == '/' || *s == ':')
			return false;
	return true;
}

static int check_mtu(const pb_kv *o, bool ipv6, struct error *err)
{
	uint64_t mtu;

	if (str_parse_u64(o->value, &mtu, NULL) == 0 && mtu >= (ipv6 ? MTU_V6_MIN : MTU_MIN) &&
	    mtu <= MTU_MAX)
		return 0;
	return refuse_option(o,
			     ipv6 ? "must be 1280 (IPv6) to 65535" : "must be 576 to 65535", err);
}

static int check_option(const pb_network_spec *spec, const struct driver *driver, const pb_kv *o,
			struct error *err)
{
	unsigned flag = option_flag(o->key);
	uint64_t number;

	if (!(driver->options & flag))
		return unknown_option(driver, o, err);
	switch (flag) {
	case OPT_MTU:
		return check_mtu(o, spec->ipv6, err);
	case OPT_ENCRYPTED:
		return str_eq(o->value, "true") ? 0
						: refuse_option(o, "must be true or false", err);
	case OPT_PARENT:
		return is_link_name(o->value)
			       ? 0
			       : refuse_option(o, "must be the name of an interface of the nodes", err);
	case OPT_MODE:
		if (!in_list(driver->modes, o->value)) {
			_cleanup_free_ char *accepted =
				xasprintf("must be one of %s", driver->modes);

			return refuse_option(o, accepted, err);
		}
		return 0;
	default:
		if (str_parse_u64(o->value, &number, NULL) < 0 || !number || number > VLAN_ID_MAX)
			return refuse_option(o, "must be a VLAN, 1 to 4094", err);
		return 0;
	}
}

static int check_options(const pb_network_spec *spec, struct error *err)
{
	const struct driver *driver = driver_find(spec->driver);
	unsigned given = 0;

	if (!driver)
		return validate_refuse(err, spec->driver,
				       "must be overlay, bridge, macvlan, ipvlan or vlan", "driver");
	if (spec->n_options > OPTIONS_MAX)
		return error_set(err, ERR_EXHAUSTED, "options: %zu of them: at most %d",
				 spec->n_options, OPTIONS_MAX);
	for (size_t i = 0; i < spec->n_options; i++) {
		unsigned flag = option_flag(spec->options[i]->key);

		if (check_option(spec, driver, spec->options[i], err) < 0)
			return -1;
		if (given & flag)
			return refuse_option(spec->options[i], "is there twice", err);
		given |= flag;
	}
	for (size_t i = 0; i < ARRAY_SIZE(option_names); i++)
		if (driver->required & ~given & option_names[i].flag)
			return validate_refuse(err, option_names[i].name,
					       option_names[i].flag == OPT_ID
						       ? "is needed: the VLAN, 1 to 4094"
						       : "is needed: an interface of the nodes, like eth0",
					       "options");
	return 0;
}

/* ---------------------------------------------------------------- pools */

static int check_prefix(const char *field, const char *text, const struct ipaddr *subnet,
			struct error *err)
{
	bool v4 = subnet->family == AF_INET;
	unsigned min = v4 ? PREFIX_V4_MIN : PREFIX_V6_MIN, max = v4 ? PREFIX_V4_MAX : PREFIX_V6_MAX;
	char accepted[64];

	if (subnet->prefix >= min && subnet->prefix <= max)
		return 0;
	snprintf(accepted, sizeof(accepted), "the prefix length must be %u to %u", min, max);
	return validate_refuse(err, text, accepted, "%s", field);
}

/* RFC 6890: what is no address of a host in any network that could be made. */
static int check_special(const char *field, const char *text, const struct ipaddr *subnet,
			 struct error *err)
{
	static const char *const special[] = {"0.0.0.0/8",   "127.0.0.0/8", "169.254.0.0/16",
					      "224.0.0.0/3", "::/128",	    "::1/128",
					      "::ffff:0:0/96", "fe80::/10", "ff00::/8"};

	for (size_t i = 0; i < ARRAY_SIZE(special); i++) {
		struct ipaddr s;

		if (ipaddr_parse_subnet(special[i], &s, NULL) < 0 || !ipaddr_overlaps(&s, subnet))
			continue;
		return error_set(err, ERR_INVALID,
				 "%s \"%.80s\": overlaps with %s, whose addresses are not for hosts",
				 field, text, special[i]);
	}
	return 0;
}

static int parse_subnet(const char *field, const char *text, struct ipaddr *ret, struct error *err)
{
	struct error why = ERROR_INIT;

	if (ipaddr_parse_subnet(text, ret, &why) < 0)
		return error_set(err, ERR_INVALID, "%s \"%.80s\": %s", field, text, why.msg);
	if (check_prefix(field, text, ret, err) < 0)
		return -1;
	return check_special(field, text, ret, err);
}

/* An address of the subnet that a host can have. */
static int check_host(const char *field, const char *text, const struct ipaddr *subnet,
		      const char *subnet_text, struct ipaddr *ret, struct error *err)
{
	struct ipaddr last = ipaddr_last(subnet), first = ipaddr_nth(subnet, 0);
	struct error why = ERROR_INIT;

	if (ipaddr_parse(text, ret, &why) < 0)
		return error_set(err, ERR_INVALID, "%s \"%.80s\": %s", field, text, why.msg);
	if (strchr(text, '/') || !ipaddr_contains(subnet, ret))
		return error_set(err, ERR_INVALID, "%s \"%.80s\": must be an address inside %s",
				 field, text, subnet_text);
	if (ipaddr_same_host(ret, &first) ||
	    (subnet->family == AF_INET && ipaddr_same_host(ret, &last)))
		return error_set(err, ERR_INVALID,
				 "%s \"%.80s\": is the address of the network %s itself", field,
				 text, subnet_text);
	return 0;
}

static int check_range(const pb_ipam_pool *pool, size_t i, const struct ipaddr *subnet,
		       struct error *err)
{
	struct error why = ERROR_INIT;
	struct ipaddr range;

	if (str_empty(pool->ip_range))
		return 0;
	if (ipaddr_parse_subnet(pool->ip_range, &range, &why) < 0)
		return error_set(err, ERR_INVALID, "pools.ip_range[%zu] \"%.80s\": %s", i,
				 pool->ip_range, why.msg);
	if (!ipaddr_contains(subnet, &range))
		return error_set(err, ERR_INVALID,
				 "pools.ip_range[%zu] \"%.80s\": must be a subnet inside %s", i,
				 pool->ip_range, pool->subnet);
	return 0;
}

static int check_aux(const pb_ipam_pool *pool, size_t i, const struct ipaddr *subnet,
		     struct error *err)
{
	struct ipaddr taken[AUX_MAX + 1];
	size_t n = 0;

	if (pool->n_aux_addresses > AUX_MAX)
		return error_set(err, ERR_EXHAUSTED, "pools.aux_addresses: %zu of them: at most %d",
				 pool->n_aux_addresses, AUX_MAX);
	if (!str_empty(pool->gateway) && ipaddr_parse(pool->gateway, &taken[n], NULL) == 0)
		n++;
	for (size_t k = 0; k < pool->n_aux_addresses; k++) {
		const pb_kv *aux = pool->aux_addresses[k];
		char field[64];

		snprintf(field, sizeof(field), "pools.aux_addresses[%zu]", i);
		if (validate_name(field, aux->key, err) < 0)
			return -1;
		for (size_t m = 0; m < k; m++)
			if (str_eq(pool->aux_addresses[m]->key, aux->key))
				return validate_refuse(err, aux->key, "is there twice", "%s", field);
		if (check_host(field, aux->value, subnet, pool->subnet, &taken[n], err) < 0)
			return -1;
		for (size_t m = 0; m < n; m++)
			if (ipaddr_same_host(&taken[m], &taken[n]))
				return validate_refuse(err, aux->value,
						       "is the gateway or another one already", "%s",
						       field);
		n++;
	}
	return 0;
}

static int check_pool(const pb_network_spec *spec, size_t i, struct ipaddr *ret, struct error *err)
{
	const pb_ipam_pool *pool = spec->pools[i];
	struct ipaddr gateway;
	char field[64];

	snprintf(field, sizeof(field), "pools.subnet[%zu]", i);
	if (parse_subnet(field, pool->subnet, ret, err) < 0)
		return -1;
	if (ret->family == AF_INET6 && !spec->ipv6)
		return validate_refuse(err, pool->subnet, "the network must be made with ipv6",
				       "%s", field);
	snprintf(field, sizeof(field), "pools.gateway[%zu]", i);
	if (!str_empty(pool->gateway) &&
	    check_host(field, pool->gateway, ret, pool->subnet, &gateway, err) < 0)
		return -1;
	if (check_range(pool, i, ret, err) < 0)
		return -1;
	return check_aux(pool, i, ret, err);
}

static int check_pools(const pb_network_spec *spec, struct error *err)
{
	struct ipaddr subnets[2];

	for (size_t i = 0; i < spec->n_pools; i++) {
		if (i >= 2)
			return validate_refuse(err, spec->pools[i]->subnet,
					       "a network has one IPv4 subnet and one IPv6 subnet",
					       "pools.subnet[%zu]", i);
		if (check_pool(spec, i, &subnets[i], err) < 0)
			return -1;
		if (i && subnets[0].family == subnets[1].family)
			return error_set(err, ERR_INVALID,
					 "pools.subnet[%zu] \"%.80s\": there is %s already; a network "
					 "has one IPv4 subnet and one IPv6 subnet",
					 i, spec->pools[i]->subnet, spec->pools[0]->subnet);
	}
	return 0;
}

int validate_network(const pb_network_spec *spec, struct error *err)
{
	static const char *const predefined[] = {"host", "none", "bridge", "ingress"};
	size_t bytes = protobuf_c_message_get_packed_size(&spec->base);

	if (bytes > VALIDATE_SPEC_MAX_BYTES)
		return error_set(err, ERR_EXHAUSTED, "spec has %zu bytes: at most %u", bytes,
				 VALIDATE_SPEC_MAX_BYTES);
	if (validate_name("name", spec->name, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(predefined); i++)
		if (str_eq(spec->name, predefined[i]))
			return validate_refuse(err, spec->name,
					       "is the name of a predefined network", "name");
	if (spec->ingress)
		return error_set(err, ERR_INVALID,
				 "ingress true: the cluster has its ingress network already");
	if (validate_labels("labels", spec->labels, spec->n_labels, err) < 0 ||
	    check_options(spec, err) < 0)
		return -1;
	return check_pools(spec, err);
}

/* ---------------------------------------------------------------- the cluster's pools */

int validate_address_pools(char *const *pools, size_t n, uint32_t prefix, struct error *err)
{
	struct ipaddr parsed[VALIDATE_ADDRESS_POOLS_MAX];

	if (n > VALIDATE_ADDRESS_POOLS_MAX)
		return error_set(err, ERR_EXHAUSTED, "spec.address_pools: %zu of them: at most %d",
				 n, VALIDATE_ADDRESS_POOLS_MAX);
	if (prefix && (prefix < CUT_PREFIX_MIN || prefix > CUT_PREFIX_MAX))
		return error_set(err, ERR_INVALID,
				 "spec.address_pool_prefix %" PRIu32 ": must be %d to %d, or 0 for 24",
				 prefix, CUT_PREFIX_MIN, CUT_PREFIX_MAX);
	for (size_t i = 0; i < n; i++) {
		char field[64];

		snprintf(field, sizeof(field), "spec.address_pools[%zu]", i);
		if (parse_subnet(field, pools[i], &parsed[i], err) < 0)
			return -1;
		if (parsed[i].family != AF_INET)
			return validate_refuse(err, pools[i],
					       "must be IPv4: IPv6 subnets are cut from the cluster's "
					       "unique local prefix",
					       "%s", field);
		if (parsed[i].prefix > (prefix ? prefix : 24))
			return error_set(err, ERR_INVALID,
					 "%s \"%.80s\": subnets with prefix length %u do not fit", field,
					 pools[i], prefix ? prefix : 24);
		for (size_t k = 0; k < i; k++)
			if (ipaddr_overlaps(&parsed[k], &parsed[i]))
				return error_set(err, ERR_INVALID, "%s \"%.80s\": overlaps with %s",
						 field, pools[i], pools[k]);
	}
	return 0;
}
