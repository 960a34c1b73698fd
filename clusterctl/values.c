#include "values.h"

#include "common/error.h"
#include "common/mem.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define SHOWN 200

int value_csv(const char *text, struct strv *ret, struct error *err)
{
	const char *p = text;

	for (;;) {
		_cleanup_strbuf_ struct strbuf field = {0};

		strbuf_puts(&field, "");
		if (*p == '"') {
			for (p++; *p && (*p != '"' || p[1] == '"'); p++) {
				p += *p == '"';
				strbuf_putc(&field, *p);
			}
			if (*p != '"' || (p[1] && p[1] != ','))
				return error_set(err, ERR_INVALID,
						 "\"%.*s\": a quote is not closed", SHOWN, text);
			p++;
		} else {
			size_t len = strcspn(p, ",");

			if (memchr(p, '"', len))
				return error_set(
					err, ERR_INVALID,
					"\"%.*s\": a quote may only stand around a whole field",
					SHOWN, text);
			strbuf_add(&field, p, len);
			p += len;
		}
		strv_add(ret, field.p ? field.p : "");
		if (!*p++)
			return 0;
	}
}

/* One word from *p on; false when a quote is open at the end. */
static bool take_word(const char **p, struct strbuf *word)
{
	char quote = '\0';

	for (; **p && (quote || !isspace((unsigned char)**p)); (*p)++) {
		char c = **p;

		if (c == '\\' && quote != '\'' && (*p)[1]) {
			strbuf_putc(word, *++*p);
		} else if (quote ? c == quote : c == '\'' || c == '"') {
			quote = quote ? '\0' : c;
		} else {
			strbuf_putc(word, c);
		}
	}
	return !quote;
}

int value_words(const char *text, struct strv *ret, struct error *err)
{
	const char *p = text;

	for (;;) {
		_cleanup_strbuf_ struct strbuf word = {0};

		while (isspace((unsigned char)*p))
			p++;
		if (!*p)
			return 0;
		strbuf_puts(&word, "");
		if (!take_word(&p, &word))
			return error_set(err, ERR_INVALID, "\"%.*s\": a quote is not closed", SHOWN,
					 text);
		strv_add(ret, word.p ? word.p : "");
	}
}

/* ---------------------------------------------------------------- mounts */

struct mount_key {
	const char *name;
	int (*set)(pb_mount *mount, const char *value);
	int only; /* a mount type, -1 = any */
	const char *accepts;
};

static int set_type(pb_mount *mount, const char *value)
{
	static const char *const names[] = {
		[MOUNT_BIND] = "bind", [MOUNT_VOLUME] = "volume", [MOUNT_TMPFS] = "tmpfs"};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (str_eq(value, names[i])) {
			mount->type = (Skein__MountType)i;
			return 0;
		}
	}
	return -1;
}

static int set_source(pb_mount *mount, const char *value)
{
	pb_set_str(&mount->source, value);
	return *value ? 0 : -1;
}

static int set_target(pb_mount *mount, const char *value)
{
	pb_set_str(&mount->target, value);
	return *value == '/' ? 0 : -1;
}

static int set_flag(protobuf_c_boolean *field, const char *value)
{
	if (!*value || str_eq(value, "true") || str_eq(value, "1"))
		*field = 1;
	else if (str_eq(value, "false") || str_eq(value, "0"))
		*field = 0;
	else
		return -1;
	return 0;
}

static int set_read_only(pb_mount *mount, const char *value)
{
	return set_flag(&mount->read_only, value);
}

static int set_nocopy(pb_mount *mount, const char *value)
{
	return set_flag(&mount->volume_nocopy, value);
}

static int set_propagation(pb_mount *mount, const char *value)
{
	static const char *const names[] = {"rprivate", "private", "rshared",
					    "shared",	"rslave",  "slave"};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (str_eq(value, names[i])) {
			pb_set_str(&mount->propagation, value);
			return 0;
		}
	}
	return -1;
}

static int set_tmpfs_size(pb_mount *mount, const char *value)
{
	return str_parse_bytes(value, &mount->tmpfs_size_bytes, NULL) < 0 ||
			       mount->tmpfs_size_bytes < 0
		       ? -1
		       : 0;
}

static int set_tmpfs_mode(pb_mount *mount, const char *value)
{
	size_t len = strlen(value);

	if (len == 0 || len > 5 || strspn(value, "01234567") != len)
		return -1;
	mount->tmpfs_mode = (uint32_t)strtoul(value, NULL, 8);
	return mount->tmpfs_mode <= 07777 ? 0 : -1;
}

static int set_label(pb_mount *mount, const char *value)
{
	const char *text;
	_cleanup_free_ char *key = value_pair(value, &text, NULL);

	if (!key)
		return -1;
	pb_kv_set(&mount->n_labels, &mount->labels, key, text);
	return 0;
}

#define YES_NO "nothing, true or false"

static const struct mount_key mount_keys[] = {
	{"type", set_type, -1, "bind, volume or tmpfs"},
	{"source", set_source, -1, "a directory (bind) or a volume's name"},
	{"src", set_source, -1, "a directory (bind) or a volume's name"},
	{"target", set_target, -1, "an absolute path"},
	{"destination", set_target, -1, "an absolute path"},
	{"dst", set_target, -1, "an absolute path"},
	{"readonly", set_read_only, -1, YES_NO},
	{"ro", set_read_only, -1, YES_NO},
	{"bind-propagation", set_propagation, MOUNT_BIND,
	 "rprivate, private, rshared, shared, rslave or slave"},
	{"volume-nocopy", set_nocopy, MOUNT_VOLUME, YES_NO},
	{"volume-label", set_label, MOUNT_VOLUME, "KEY=VALUE"},
	{"tmpfs-size", set_tmpfs_size, MOUNT_TMPFS, "a size such as 64m"},
	{"tmpfs-mode", set_tmpfs_mode, MOUNT_TMPFS, "an octal mode such as 1777"},
};

/* `used` collects which keys were given: bit i for mount_keys[i]. */
static int set_mount_field(pb_mount *mount, char *field, unsigned *used, struct error *err)
{
	char *equals = strchr(field, '=');
	const char *value = equals ? equals + 1 : "";

	if (equals)
		*equals = '\0';
	for (unsigned i = 0; i < ARRAY_SIZE(mount_keys); i++) {
		const struct mount_key *key = &mount_keys[i];

		if (strcasecmp(field, key->name) != 0)
			continue;
		*used |= 1u << i;
		if (key->set(mount, value) < 0)
			return error_set(err, ERR_INVALID, "%s=\"%.*s\": expected %s", key->name,
					 SHOWN, value, key->accepts);
		return 0;
	}
	return error_set(
		err, ERR_INVALID,
		"unknown key \"%.*s\": expected type, source, target, readonly, bind-propagation, "
		"volume-nocopy, volume-label, tmpfs-size, tmpfs-mode",
		SHOWN, field);
}

static int check_mount(const pb_mount *mount, unsigned used, struct error *err)
{
	static const char *const names[] = {
		[MOUNT_BIND] = "bind", [MOUNT_VOLUME] = "volume", [MOUNT_TMPFS] = "tmpfs"};

	if (!*mount->target)
		return error_set(err, ERR_INVALID,
				 "target= is missing: expected an absolute path in the container");
	for (unsigned i = 0; i < ARRAY_SIZE(mount_keys); i++)
		if ((used >> i & 1) && mount_keys[i].only >= 0 &&
		    mount_keys[i].only != (int)mount->type)
			return error_set(
				err, ERR_INVALID, "%s= goes only with type=%s, not with type=%s",
				mount_keys[i].name, names[mount_keys[i].only], names[mount->type]);
	if ((int)mount->type == MOUNT_BIND && *mount->source != '/')
		return error_set(
			err, ERR_INVALID,
			"source=\"%.*s\": expected an absolute path on the host for type=bind",
			SHOWN, mount->source);
	if ((int)mount->type == MOUNT_VOLUME && strchr(mount->source, '/'))
		return error_set(
			err, ERR_INVALID,
			"source=\"%.*s\": expected a volume's name; a path needs type=bind", SHOWN,
			mount->source);
	if ((int)mount->type == MOUNT_TMPFS && *mount->source)
		return error_set(err, ERR_INVALID, "source=\"%.*s\": a tmpfs has no source", SHOWN,
				 mount->source);
	return 0;
}

pb_mount *value_mount(const char *text, struct error *err)
{
	_cleanup_pb_ pb_mount *mount = pb_new(&skein__mount__descriptor);
	_cleanup_strv_ struct strv fields = {0};
	unsigned used = 0;

	mount->type = (Skein__MountType)MOUNT_VOLUME;
	if (value_csv(text, &fields, err) < 0)
		return NULL;
	for (size_t i = 0; i < fields.n; i++)
		if (set_mount_field(mount, fields.v[i], &used, err) < 0)
			return NULL;
	if (check_mount(mount, used, err) < 0)
		return NULL;
	return TAKE_PTR(mount);
}

/* ---------------------------------------------------------------- small values */

static int parse_limit(const char *text, int64_t *ret)
{
	return str_parse_i64(text, ret, NULL) < 0 || *ret < -1 ? -1 : 0;
}

/* -1 is the largest of all. */
static bool limit_above(int64_t a, int64_t b)
{
	return b != -1 && (a == -1 || a > b);
}

pb_ulimit *value_ulimit(const char *text, struct error *err)
{
	static const char known[] = " as core cpu data fsize locks memlock msgqueue nice nofile "
				    "nproc rss rtprio rttime "
				    "sigpending stack ";
	_cleanup_pb_ pb_ulimit *limit = pb_new(&skein__ulimit__descriptor);
	const char *value;
	_cleanup_free_ char *name = value_full_pair(text, &value, NULL);
	_cleanup_free_ char *padded = name ? xasprintf(" %s ", name) : NULL;
	_cleanup_free_ char *soft = NULL;
	const char *colon;

	if (!name || strchr(name, ' ') || !strstr(known, padded)) {
		error_set(err, ERR_INVALID,
			  "\"%.*s\": expected NAME=SOFT[:HARD] with NAME one of%.*s", SHOWN, text,
			  (int)sizeof(known) - 2, known);
		return NULL;
	}
	colon = strchr(value, ':');
	soft = colon ? xstrndup(value, (size_t)(colon - value)) : xstrdup(value);
	if (parse_limit(soft, &limit->soft) < 0 ||
	    parse_limit(colon ? colon + 1 : soft, &limit->hard) < 0) {
		error_set(err, ERR_INVALID, "\"%.*s\": expected whole numbers, or -1 for unlimited",
			  SHOWN, text);
		return NULL;
	}
	if (limit_above(limit->soft, limit->hard)) {
		error_set(err, ERR_INVALID, "\"%.*s\": the soft limit is above the hard limit",
			  SHOWN, text);
		return NULL;
	}
	pb_set_str(&limit->name, name);
	return TAKE_PTR(limit);
}

const char *value_placement_pref(const char *text, struct error *err)
{
	static const char *const prefixes[] = {"spread=node.labels.", "spread=engine.labels."};

	for (unsigned i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (str_starts(text, prefixes[i]) && text[strlen(prefixes[i])])
			return text + strlen("spread=");
	error_set(err, ERR_INVALID,
		  "\"%.*s\": expected spread=node.labels.NAME or spread=engine.labels.NAME", SHOWN,
		  text);
	return NULL;
}

static bool is_blank(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!isspace((unsigned char)text[i]))
			return false;
	return true;
}

int value_constraint(const char *text, struct error *err)
{
	const char *equal = strstr(text, "=="), *unequal = strstr(text, "!=");
	const char *op = !equal ? unequal : !unequal ? equal : MIN(equal, unequal);

	if (!op || is_blank(text, (size_t)(op - text)) || is_blank(op + 2, strlen(op + 2)))
		return error_set(err, ERR_INVALID,
				 "\"%.*s\": expected KEY==VALUE or KEY!=VALUE, such as "
				 "node.labels.rack==a or node.role!=manager",
				 SHOWN, text);
	return 0;
}

char *value_capability(const char *text, struct error *err)
{
	const char *name = strncasecmp(text, "CAP_", 4) == 0 ? text + 4 : text;
	char *cap;

	if (strcasecmp(text, "ALL") == 0)
		return xstrdup("ALL");
	if (!*name || strlen(name) > 32 ||
	    name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")]) {
		error_set(err, ERR_INVALID,
			  "\"%.*s\": expected a capability such as NET_ADMIN, or ALL", SHOWN, text);
		return NULL;
	}
	cap = xasprintf("CAP_%s", name);
	for (char *p = cap; *p; p++)
		*p = (char)toupper((unsigned char)*p);
	return cap;
}

char *value_pair(const char *text, const char **ret_value, struct error *err)
{
	size_t len = strcspn(text, "=");

	if (len == 0 || strcspn(text, " \t\n") < len) {
		error_set(err, ERR_INVALID, "\"%.*s\": expected KEY=VALUE without blanks in KEY",
			  SHOWN, text);
		return NULL;
	}
	*ret_value = text[len] ? text + len + 1 : "";
	return xstrndup(text, len);
}

char *value_full_pair(const char *text, const char **ret_value, struct error *err)
{
	if (!strchr(text, '=')) {
		error_set(err, ERR_INVALID, "\"%.*s\": expected KEY=VALUE", SHOWN, text);
		return NULL;
	}
	return value_pair(text, ret_value, err);
}

void value_filter_add(const char *key, const char *value, size_t *n, pb_kv ***list)
{
	/* not pb_kv_set(): the same key twice means "or" */
	pb_kv *kv = pb_new(&skein__key_value__descriptor);

	pb_set_str(&kv->key, key);
	pb_set_str(&kv->value, value);
	pb_msgs_add(n, list, kv);
}

int value_filter(const char *text, const char *keys, size_t *n, pb_kv ***list, struct error *err)
{
	const char *value;
	_cleanup_free_ char *key = value_full_pair(text, &value, err);

	if (!key)
		return -1;
	for (const char *p = keys;;) {
		size_t len = strcspn(p, "|");

		if (strlen(key) == len && strncmp(p, key, len) == 0)
			break;
		if (!p[len])
			return error_set(err, ERR_INVALID,
					 "unknown filter \"%.*s\": expected one of %s", SHOWN, key,
					 keys);
		p += len + 1;
	}
	value_filter_add(key, value, n, list);
	return 0;
}
