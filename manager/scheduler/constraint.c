#include "constraint.h"

#include "common/error.h"
#include "common/str.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define NODE_LABELS "node.labels."
#define ENGINE_LABELS "engine.labels."
#define PREFIX_LEN(s) (sizeof(s) - 1)

static bool is_alnum(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_space(char c)
{
	return c && strchr(" \t\n\r\f", c);
}

/* Letter or underscore, then at least one of the rest: Swarm's pattern. */
static bool key_ok(const char *s, size_t len)
{
	if (len < 2 || (s[0] >= '0' && s[0] <= '9') || (!is_alnum(s[0]) && s[0] != '_'))
		return false;
	for (size_t i = 1; i < len; i++)
		if (!is_alnum(s[i]) && !memchr("-_.", s[i], 3))
			return false;
	return true;
}

static bool value_ok(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!is_alnum(s[i]) && !is_space(s[i]) && !strchr(":-_.*()?+[]\\^$|/", s[i]))
			return false;
	return len > 0;
}

static void trim(const char **s, size_t *len)
{
	while (*len && is_space(**s)) {
		(*s)++;
		(*len)--;
	}
	while (*len && is_space((*s)[*len - 1]))
		(*len)--;
}

static bool key_is(const char *key, size_t len, const char *name)
{
	return strlen(name) == len && strncasecmp(key, name, len) == 0;
}

static bool has_prefix(const char *key, size_t len, const char *prefix)
{
	size_t n = strlen(prefix);

	return len > n && strncasecmp(key, prefix, n) == 0;
}

/* ---- addresses */

struct net {
	int family;
	unsigned char addr[16];
	unsigned bits; /* of the prefix */
};

/* An address, or a network in CIDR notation; false when it is neither. */
static bool net_parse(const char *s, size_t len, struct net *ret)
{
	char buf[64];
	char *slash;

	if (len >= sizeof(buf))
		return false;
	memcpy(buf, s, len);
	buf[len] = '\0';
	slash = strchr(buf, '/');
	if (slash)
		*slash++ = '\0';
	ret->family = strchr(buf, ':') ? AF_INET6 : AF_INET;
	ret->bits = ret->family == AF_INET6 ? 128 : 32;
	if (inet_pton(ret->family, buf, ret->addr) != 1)
		return false;
	if (slash) {
		uint64_t bits;

		if (str_parse_u64(slash, &bits, NULL) < 0 || bits > ret->bits)
			return false;
		ret->bits = (unsigned)bits;
	}
	return true;
}

static bool net_has(const struct net *net, const struct net *addr)
{
	unsigned whole = net->bits / 8, rest = net->bits % 8;

	if (net->family != addr->family || memcmp(net->addr, addr->addr, whole))
		return false;
	return !rest || (net->addr[whole] ^ addr->addr[whole]) >> (8 - rest) == 0;
}

static bool ip_equal(const struct constraint *c, const char *address)
{
	struct net want, have;

	return net_parse(c->value, c->value_len, &want) &&
	       net_parse(address, strlen(address), &have) && net_has(&want, &have);
}

/* ---- values */

static const char *label_value(pb_kv *const *labels, size_t n, const char *key, size_t len)
{
	for (size_t i = 0; i < n; i++)
		if (strlen(labels[i]->key) == len && memcmp(labels[i]->key, key, len) == 0)
			return labels[i]->value;
	return "";
}

const char *constraint_value(const pb_node *node, const char *key, size_t len)
{
	const pb_node_description *d = node->description;
	const pb_node_spec *spec = node->spec;

	if (key_is(key, len, "node.id"))
		return node->id;
	if (key_is(key, len, "node.hostname"))
		return d ? d->hostname : "";
	if (key_is(key, len, "node.ip"))
		return node->status ? node->status->address : "";
	if (key_is(key, len, "node.role"))
		return pb_role_name(node->role);
	if (key_is(key, len, "node.platform.os"))
		return d ? d->os : "";
	if (key_is(key, len, "node.platform.arch"))
		return d ? d->arch : "";
	if (has_prefix(key, len, NODE_LABELS))
		return !spec ? ""
			     : label_value(spec->labels, spec->n_labels,
					   key + PREFIX_LEN(NODE_LABELS),
					   len - PREFIX_LEN(NODE_LABELS));
	if (has_prefix(key, len, ENGINE_LABELS))
		return !d ? ""
			  : label_value(d->engine_labels, d->n_engine_labels,
					key + PREFIX_LEN(ENGINE_LABELS),
					len - PREFIX_LEN(ENGINE_LABELS));
	return NULL;
}

/* Go's and uname's names for one architecture. */
static bool arch_equal(const struct constraint *c, const char *arch)
{
	static const char *const same[][2] = {{"amd64", "x86_64"}, {"arm64", "aarch64"}};

	for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
		for (size_t k = 0; k < 2; k++)
			if (key_is(c->value, c->value_len, same[i][k]) &&
			    strcasecmp(arch, same[i][!k]) == 0)
				return true;
	return key_is(c->value, c->value_len, arch);
}

bool constraint_matches(const struct constraint *c, const pb_node *node)
{
	const char *have = constraint_value(node, c->key, c->key_len);
	bool equal;

	if (!have)
		return false;
	if (key_is(c->key, c->key_len, "node.ip"))
		equal = ip_equal(c, have);
	else if (key_is(c->key, c->key_len, "node.platform.arch"))
		equal = arch_equal(c, have);
	else
		equal = key_is(c->value, c->value_len, have);
	return equal != c->negate;
}

const char *constraint_first_mismatch(const pb_placement *placement, const pb_node *node)
{
	struct constraint c;

	for (size_t i = 0; placement && i < placement->n_constraints; i++)
		if (constraint_parse(placement->constraints[i], &c, NULL) < 0 ||
		    !constraint_matches(&c, node))
			return placement->constraints[i];
	return NULL;
}

bool constraint_all_match(const pb_placement *placement, const pb_node *node)
{
	return constraint_first_mismatch(placement, node) == NULL;
}

/* ---- parsing */

/* The first "==" or "!=". */
static const char *find_operator(const char *text)
{
	for (const char *p = text; *p; p++)
		if ((p[0] == '=' || p[0] == '!') && p[1] == '=')
			return p;
	return NULL;
}

static bool key_known(const char *key, size_t len)
{
	static const pb_node none = SKEIN__NODE__INIT;

	return constraint_value(&none, key, len) != NULL;
}

static int check(const char *text, const struct constraint *c, struct error *err)
{
	struct net net;

	if (!key_ok(c->key, c->key_len) || !key_known(c->key, c->key_len))
		return error_set(err, ERR_INVALID,
				 "constraint \"%s\": unknown key \"%.*s\" (accepted: %s)", text,
				 (int)c->key_len, c->key, CONSTRAINT_KEYS);
	if (!value_ok(c->value, c->value_len))
		return error_set(
			err, ERR_INVALID,
			"constraint \"%s\": value \"%.*s\" is invalid (accepted: letters, digits, "
			"spaces and :-_.*()?+[]\\^$|/, at least one)",
			text, (int)c->value_len, c->value);
	if (key_is(c->key, c->key_len, "node.ip") && !net_parse(c->value, c->value_len, &net))
		return error_set(
			err, ERR_INVALID,
			"constraint \"%s\": value \"%.*s\" is invalid (accepted: an IP address "
			"or a network such as 10.0.0.0/8)",
			text, (int)c->value_len, c->value);
	return 0;
}

int constraint_parse(const char *text, struct constraint *ret, struct error *err)
{
	struct constraint c = {0};
	const char *op;

	if (strlen(text) > CONSTRAINT_MAX)
		return error_set(err, ERR_INVALID,
				 "constraint \"%.32s...\" is longer than %d characters", text,
				 CONSTRAINT_MAX);
	op = find_operator(text);
	if (!op)
		return error_set(
			err, ERR_INVALID,
			"constraint \"%s\": constraint expected one operator from ==, !=", text);
	c.negate = op[0] == '!';
	c.key = text;
	c.key_len = (size_t)(op - text);
	c.value = op + 2;
	c.value_len = strlen(c.value);
	trim(&c.key, &c.key_len);
	trim(&c.value, &c.value_len);
	if (check(text, &c, err) < 0)
		return -1;
	*ret = c;
	return 0;
}
