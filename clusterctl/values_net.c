#include "values_net.h"

#include "values.h"

#include "common/error.h"
#include "common/ipaddr.h"
#include "common/mem.h"

#include <ctype.h>
#include <string.h>
#include <sys/socket.h>

#define SHOWN 200
#define DOMAIN_MAX 253

/* An address without a prefix length. */
static int parse_address(const char *text, struct ipaddr *ret)
{
	return strchr(text, '/') ? -1 : ipaddr_parse(text, ret, NULL);
}

static bool has_blank(const char *text)
{
	for (; *text; text++)
		if (isspace((unsigned char)*text) || iscntrl((unsigned char)*text))
			return true;
	return false;
}

/* ---------------------------------------------------------------- --network */

static int set_address(char **field, const char *key, const char *value, int family,
		       struct error *err)
{
	char text[IPADDR_TEXT_MAX];
	struct ipaddr a;

	if (parse_address(value, &a) < 0 || a.family != family)
		return error_set(err, ERR_INVALID, "%s=\"%.*s\": expected an %s address", key,
				 SHOWN, value, family == AF_INET ? "IPv4" : "IPv6");
	pb_set_str(field, ipaddr_format_host(&a, text));
	return 0;
}

static int set_network_field(pb_attachment_config *c, char *field, struct error *err)
{
	char *value = strchr(field, '=');

	if (!value)
		return error_set(err, ERR_INVALID,
				 "\"%.*s\": expected NAME or name=NAME,alias=...,ip=...,ip6=...",
				 SHOWN, field);
	*value++ = '\0';
	if (str_eq(field, "name")) {
		pb_set_str(&c->network_id, value);
		return 0;
	}
	if (str_eq(field, "alias")) {
		if (!*value || has_blank(value))
			return error_set(err, ERR_INVALID,
					 "alias=\"%.*s\": expected a name without blanks", SHOWN,
					 value);
		pb_strs_add(&c->n_aliases, &c->aliases, value);
		return 0;
	}
	if (str_eq(field, "ip"))
		return set_address(&c->ipv4, "ip", value, AF_INET, err);
	if (str_eq(field, "ip6"))
		return set_address(&c->ipv6, "ip6", value, AF_INET6, err);
	return error_set(err, ERR_INVALID, "unknown key \"%.*s\": expected name, alias, ip, ip6",
			 SHOWN, field);
}

pb_attachment_config *value_network(const char *text, struct error *err)
{
	_cleanup_pb_ pb_attachment_config *c =
		pb_new(&skein__network_attachment_config__descriptor);
	_cleanup_strv_ struct strv fields = {0};

	if (!strchr(text, '=') && !strchr(text, ',')) {
		pb_set_str(&c->network_id, text);
	} else {
		if (value_csv(text, &fields, err) < 0)
			return NULL;
		for (size_t i = 0; i < fields.n; i++)
			if (set_network_field(c, fields.v[i], err) < 0)
				return NULL;
	}
	if (!*c->network_id || has_blank(c->network_id)) {
		error_set(err, ERR_INVALID,
			  "\"%.*s\": expected the name of a network, or "
			  "name=NAME,alias=...,ip=...,ip6=...",
			  SHOWN, text);
		return NULL;
	}
	return TAKE_PTR(c);
}

/* ---------------------------------------------------------------- names */

char *value_dns_server(const char *text, struct error *err)
{
	char buf[IPADDR_TEXT_MAX];
	struct ipaddr a;

	if (parse_address(text, &a) < 0) {
		error_set(err, ERR_INVALID,
			  "\"%.*s\": expected the IP address of a name server, such as 10.0.0.53",
			  SHOWN, text);
		return NULL;
	}
	return xstrdup(ipaddr_format_host(&a, buf));
}

/* Labels of letters, digits, '-' and '_', divided by single dots; a dot at the end is fine. */
static bool is_domain(const char *text)
{
	size_t len = strlen(text);

	if (len == 0 || len > DOMAIN_MAX)
		return false;
	for (const char *p = text; *p;) {
		size_t label = strcspn(p, ".");

		if (label == 0 || label > 63 || p[0] == '-' || p[label - 1] == '-')
			return false;
		for (size_t i = 0; i < label; i++)
			if (!isalnum((unsigned char)p[i]) && p[i] != '-' && p[i] != '_')
				return false;
		p += label + (p[label] == '.');
	}
	return true;
}

int value_dns_search(const char *text, struct error *err)
{
	if (str_eq(text, ".") || is_domain(text))
		return 0;
	return error_set(err, ERR_INVALID,
			 "\"%.*s\": expected a domain such as example.com, or . for none", SHOWN,
			 text);
}

int value_dns_option(const char *text, struct error *err)
{
	if (*text && !has_blank(text))
		return 0;
	return error_set(err, ERR_INVALID,
			 "\"%.*s\": expected an option of resolv.conf such as ndots:2 or rotate",
			 SHOWN, text);
}

/* NAME:IP or NAME=IP as they are typed. The name is yours; NULL: neither. */
static char *split_host(const char *text, struct ipaddr *ret)
{
	size_t len = strcspn(text, ":=");
	_cleanup_free_ char *name = xstrndup(text, len);
	_cleanup_free_ char *address = NULL;
	const char *rest = text[len] ? text + len + 1 : "";
	size_t rest_len = strlen(rest);

	if (rest_len > 2 && rest[0] == '[' && rest[rest_len - 1] == ']')
		address = xstrndup(rest + 1, rest_len - 2);
	if (!is_domain(name) || parse_address(address ?: rest, ret) < 0)
		return NULL;
	return TAKE_PTR(name);
}

char *value_host(const char *text, struct error *err)
{
	struct ipaddr a;
	_cleanup_free_ char *name = split_host(text, &a);
	char buf[IPADDR_TEXT_MAX];

	if (!name) {
		error_set(err, ERR_INVALID,
			  "\"%.*s\": expected NAME:IP, such as db:10.0.0.5 or db:fd00::5", SHOWN,
			  text);
		return NULL;
	}
	return xasprintf("%s %s", ipaddr_format_host(&a, buf), name);
}

/* Does a line "IP NAME [NAME...]" give this name? */
static bool line_has(const char *line, const char *name)
{
	size_t len = strlen(name);

	for (const char *p = line + strcspn(line, " \t"); *p;) {
		size_t word;

		p += strspn(p, " \t");
		word = strcspn(p, " \t");
		if (word == len && len > 0 && strncmp(p, name, len) == 0)
			return true;
		p += word;
	}
	return false;
}

int value_host_rm(const char *text, size_t *n, char ***lines, struct error *err)
{
	_cleanup_free_ char *line = NULL;

	if (strpbrk(text, ":=")) {
		line = value_host(text, err);
		if (!line)
			return -1;
	} else if (!is_domain(text)) {
		return error_set(err, ERR_INVALID, "\"%.*s\": expected NAME or NAME:IP", SHOWN,
				 text);
	}
	for (size_t i = 0; i < *n; i++)
		if (line ? str_eq((*lines)[i], line) : line_has((*lines)[i], text))
			pb_strs_del(n, lines, i--);
	return 0;
}

/* ---------------------------------------------------------------- pools */

/* With its prefix length, also when that is a host's. */
static void set_subnet(char **field, const struct ipaddr *a)
{
	char buf[IPADDR_TEXT_MAX];
	_cleanup_free_ char *text = xasprintf("%s/%u", ipaddr_format_host(a, buf), a->prefix);

	pb_set_str(field, text);
}

static int add_subnet(const struct pool_flags *f, const char *text, size_t *n,
		      pb_ipam_pool ***pools, struct error *err)
{
	pb_ipam_pool *pool;
	struct ipaddr a, other;

	if (ipaddr_parse_subnet(text, &a, err) < 0)
		return error_wrap(err, "--subnet");
	if (a.family == AF_INET6 && !f->ipv6)
		return error_set(err, ERR_INVALID, "--subnet %.*s: goes only with --ipv6", SHOWN,
				 text);
	for (size_t i = 0; i < *n; i++)
		if (ipaddr_parse_subnet((*pools)[i]->subnet, &other, NULL) == 0 &&
		    ipaddr_overlaps(&a, &other))
			return error_set(err, ERR_INVALID, "--subnet %.*s: overlaps with %s", SHOWN,
					 text, (*pools)[i]->subnet);
	pool = pb_new(&skein__ipam_pool__descriptor);
	set_subnet(&pool->subnet, &a);
	pb_msgs_add(n, pools, pool);
	return 0;
}

/* The pool whose subnet holds an address or range. */
static pb_ipam_pool *pool_of(const struct ipaddr *a, pb_ipam_pool *const *pools, size_t n)
{
	struct ipaddr subnet;

	for (size_t i = 0; i < n; i++)
		if (ipaddr_parse_subnet(pools[i]->subnet, &subnet, NULL) == 0 &&
		    ipaddr_contains(&subnet, a))
			return pools[i];
	return NULL;
}

static int outside(const char *flag, const char *text, struct error *err)
{
	return error_set(err, ERR_INVALID, "--%s %.*s: no --subnet holds it", flag, SHOWN, text);
}

static int twice(const char *flag, const char *text, const char *subnet, struct error *err)
{
	return error_set(err, ERR_INVALID, "--%s %.*s: subnet %s has one already", flag, SHOWN,
			 text, subnet);
}

static int add_gateway(const char *text, pb_ipam_pool *const *pools, size_t n, struct error *err)
{
	char buf[IPADDR_TEXT_MAX];
	pb_ipam_pool *pool;
	struct ipaddr a;

	if (parse_address(text, &a) < 0)
		return error_set(err, ERR_INVALID, "--gateway: \"%.*s\": expected an IP address",
				 SHOWN, text);
	pool = pool_of(&a, pools, n);
	if (!pool)
		return outside("gateway", text, err);
	if (*pool->gateway)
		return twice("gateway", text, pool->subnet, err);
	pb_set_str(&pool->gateway, ipaddr_format_host(&a, buf));
	return 0;
}

static int add_ip_range(const char *text, pb_ipam_pool *const *pools, size_t n, struct error *err)
{
	pb_ipam_pool *pool;
	struct ipaddr a;

	if (ipaddr_parse_subnet(text, &a, err) < 0)
		return error_wrap(err, "--ip-range");
	pool = pool_of(&a, pools, n);
	if (!pool)
		return outside("ip-range", text, err);
	if (*pool->ip_range)
		return twice("ip-range", text, pool->subnet, err);
	set_subnet(&pool->ip_range, &a);
	return 0;
}

static int add_aux(const char *text, pb_ipam_pool *const *pools, size_t n, struct error *err)
{
	const char *address;
	_cleanup_free_ char *name = value_full_pair(text, &address, NULL);
	char buf[IPADDR_TEXT_MAX];
	pb_ipam_pool *pool;
	struct ipaddr a;

	if (!name || parse_address(address, &a) < 0)
		return error_set(err, ERR_INVALID,
				 "--aux-address: \"%.*s\": expected NAME=IP, such as "
				 "router=10.0.5.254",
				 SHOWN, text);
	pool = pool_of(&a, pools, n);
	if (!pool)
		return outside("aux-address", text, err);
	pb_kv_set(&pool->n_aux_addresses, &pool->aux_addresses, name, ipaddr_format_host(&a, buf));
	return 0;
}

int value_pools(const struct pool_flags *f, size_t *n, pb_ipam_pool ***pools, struct error *err)
{
	for (size_t i = 0; i < f->subnets->n; i++)
		if (add_subnet(f, f->subnets->v[i], n, pools, err) < 0)
			return -1;
	for (size_t i = 0; i < f->gateways->n; i++)
		if (add_gateway(f->gateways->v[i], *pools, *n, err) < 0)
			return -1;
	for (size_t i = 0; i < f->ip_ranges->n; i++)
		if (add_ip_range(f->ip_ranges->v[i], *pools, *n, err) < 0)
			return -1;
	for (size_t i = 0; i < f->aux_addresses->n; i++)
		if (add_aux(f->aux_addresses->v[i], *pools, *n, err) < 0)
			return -1;
	return 0;
}

int value_addr_pool(const char *text, uint64_t prefix, struct error *err)
{
	struct ipaddr a;

	if (ipaddr_parse_subnet(text, &a, err) < 0)
		return -1;
	if (a.family != AF_INET)
		return error_set(err, ERR_INVALID,
				 "\"%.*s\": expected an IPv4 subnet such as 10.20.0.0/16 (IPv6 "
				 "subnets are derived from the cluster's id)",
				 SHOWN, text);
	if (a.prefix > prefix)
		return error_set(err, ERR_INVALID,
				 "\"%.*s\": too small for one subnet with a mask of %u bits", SHOWN,
				 text, (unsigned)prefix);
	return 0;
}
