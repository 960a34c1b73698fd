#include "filters.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <string.h>

static const struct filter_key *key_find(const struct filter_key *keys, const char *key)
{
	for (; keys->key; keys++)
		if (str_eq(keys->key, key))
			return keys;
	return NULL;
}

static bool is_choice(const char *choices, const char *value)
{
	size_t len = strlen(value);

	if (strchr(value, '|'))
		return false;
	for (const char *p = choices; p; p = strchr(p, '|')) {
		p += *p == '|';
		if (len && !strncmp(p, value, len) && (p[len] == '|' || !p[len]))
			return true;
	}
	return false;
}

static int unknown_key(const struct filter_key *keys, const char *key, struct error *err)
{
	_cleanup_strbuf_ struct strbuf accepted = {0};

	for (; keys->key; keys++)
		strbuf_printf(&accepted, "%s%s", accepted.len ? ", " : "", keys->key);
	return error_set(err, ERR_INVALID, "filter \"%.64s\": unknown; accepted: %s", key,
			 accepted.p);
}

int filters_check(const struct filter_key *keys, pb_kv *const *filters, size_t n, struct error *err)
{
	if (n > FILTERS_MAX)
		return error_set(err, ERR_INVALID, "%zu filters: at most %d", n, FILTERS_MAX);
	for (size_t i = 0; i < n; i++) {
		const struct filter_key *key = key_find(keys, filters[i]->key);

		if (!key)
			return unknown_key(keys, filters[i]->key, err);
		if (str_empty(filters[i]->value))
			return error_set(err, ERR_INVALID, "filter %s: value is missing", key->key);
		if (key->choices && !is_choice(key->choices, filters[i]->value))
			return error_set(err, ERR_INVALID, "filter %s=%.64s: accepted values: %s",
					 key->key, filters[i]->value, key->choices);
	}
	return 0;
}

bool filters_pass(const struct filter_key *keys, pb_kv *const *filters, size_t n,
		  const struct view *v, const void *obj)
{
	for (; keys->key; keys++) {
		bool asked = false, matched = false;

		for (size_t i = 0; i < n && !matched; i++) {
			if (!str_eq(filters[i]->key, keys->key))
				continue;
			asked = true;
			matched = keys->match(v, obj, filters[i]->value);
		}
		if (asked && !matched)
			return false;
	}
	return true;
}

bool filters_label(pb_kv *const *labels, size_t n, const char *value)
{
	const char *eq = strchr(value, '=');
	size_t len = eq ? (size_t)(eq - value) : strlen(value);

	for (size_t i = 0; i < n; i++)
		if (strlen(labels[i]->key) == len && !strncmp(labels[i]->key, value, len) &&
		    (!eq || str_eq(labels[i]->value, eq + 1)))
			return true;
	return false;
}
