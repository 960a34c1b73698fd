#include "etcd_json.h"

#include "common/mem.h"
#include "common/str.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <openssl/evp.h>
#include <string.h>

#define NUMBER_MAX 24

/* ---- requests */

/* Only base64, numbers and constants go in, so nothing needs escaping. */
static void put_base64(struct strbuf *b, const char *name, const void *data, size_t len)
{
	_cleanup_free_ unsigned char *text = xmalloc(len / 3 * 4 + 5);
	int n = EVP_EncodeBlock(text, data, (int)len);

	strbuf_printf(b, "\"%s\":\"", name);
	strbuf_add(b, (const char *)text, (size_t)n);
	strbuf_putc(b, '"');
}

static void put_key(struct strbuf *b, const char *name, const char *key)
{
	put_base64(b, name, key, strlen(key));
}

static void put_number(struct strbuf *b, const char *name, uint64_t value)
{
	strbuf_printf(b, ",\"%s\":\"%" PRIu64 "\"", name, value);
}

static void put_range(struct strbuf *b, const char *key, const char *end)
{
	put_key(b, "key", key);
	if (!end)
		return;
	strbuf_putc(b, ',');
	put_key(b, "range_end", end);
}

char *etcd_json_range(const char *key, const char *end, uint64_t revision, uint64_t limit)
{
	struct strbuf b = {0};

	strbuf_putc(&b, '{');
	put_range(&b, key, end);
	if (revision)
		put_number(&b, "revision", revision);
	if (limit)
		put_number(&b, "limit", limit);
	strbuf_putc(&b, '}');
	return strbuf_take(&b);
}

static void put_prefix_compare(struct strbuf *b, const struct etcd_compare *c)
{
	_cleanup_free_ char *end = etcd_prefix_end(c->key);

	strbuf_puts(b, "{\"result\":\"LESS\",\"target\":\"MOD\",");
	put_range(b, c->key, end);
	put_number(b, "mod_revision", c->revision + 1);
	strbuf_putc(b, '}');
}

static void put_compare(struct strbuf *b, const struct etcd_compare *c)
{
	bool mod = c->target == ETCD_CMP_MOD;

	if (c->target == ETCD_CMP_PREFIX_SINCE) {
		put_prefix_compare(b, c);
		return;
	}
	strbuf_printf(b, "{\"result\":\"EQUAL\",\"target\":\"%s\",", mod ? "MOD" : "CREATE");
	put_key(b, "key", c->key);
	put_number(b, mod ? "mod_revision" : "create_revision", c->revision);
	strbuf_putc(b, '}');
}

static void put_op(struct strbuf *b, const struct etcd_op *op)
{
	strbuf_puts(b, op->value ? "{\"request_put\":{" : "{\"request_delete_range\":{");
	put_key(b, "key", op->key);
	if (op->value) {
		strbuf_putc(b, ',');
		put_base64(b, "value", op->value, op->value_len);
	}
	if (op->lease)
		put_number(b, "lease", op->lease);
	strbuf_puts(b, "}}");
}

char *etcd_json_txn(const struct etcd_compare *compares, size_t n_compares, const struct etcd_op *ops,
		    size_t n_ops)
{
	struct strbuf b = {0};

	strbuf_puts(&b, "{\"compare\":[");
	for (size_t i = 0; i < n_compares; i++) {
		if (i)
			strbuf_putc(&b, ',');
		put_compare(&b, &compares[i]);
	}
	strbuf_puts(&b, "],\"success\":[");
	for (size_t i = 0; i < n_ops; i++) {
		if (i)
			strbuf_putc(&b, ',');
		put_op(&b, &ops[i]);
	}
	strbuf_puts(&b, "]}");
	return strbuf_take(&b);
}

char *etcd_json_lease_grant(int64_t ttl_s)
{
	return xasprintf("{\"TTL\":\"%" PRId64 "\"}", ttl_s);
}

char *etcd_json_id(uint64_t id)
{
	return xasprintf("{\"ID\":\"%" PRIu64 "\"}", id);
}

char *etcd_json_watch(const char *key, const char *end, uint64_t start_revision, bool prev_kv)
{
	struct strbuf b = {0};

	strbuf_puts(&b, "{\"create_request\":{");
	put_range(&b, key, end);
	if (start_revision)
		put_number(&b, "start_revision", start_revision);
	if (prev_kv)
		strbuf_puts(&b, ",\"prev_kv\":true");
	strbuf_puts(&b, ",\"progress_notify\":true}}");
	return strbuf_take(&b);
}

char *etcd_json_member_add(const char *peer_url, bool learner)
{
	json_t *json = json_pack("{s:[s],s:b}", "peerURLs", peer_url, "isLearner", learner);
	char *dump = json ? json_dumps(json, JSON_COMPACT) : NULL;
	char *text = xstrdup(dump ? dump : "{}");

	json_decref(json);
	free(dump);
	return text;
}

/* ---- answers */

struct parser {
	char *next;        /* free part of the arena */
	struct error *err;
};

static int broken(struct parser *p, const char *field)
{
	return error_set(p->err, ERR_DATA_LOSS, "answer of etcd: field %s has not the form expected", field);
}

static int get_bool(struct parser *p, const json_t *obj, const char *field, bool *ret)
{
	const json_t *v = json_object_get(obj, field);

	if (v && !json_is_boolean(v))
		return broken(p, field);
	*ret = json_is_true(v);
	return 0;
}

/* A number, or a string of digits as 64-bit numbers come. */
static int get_u64(struct parser *p, const json_t *obj, const char *field, uint64_t *ret)
{
	const json_t *v = json_object_get(obj, field);
	const char *s = json_string_value(v);
	size_t len = json_string_length(v);

	*ret = 0;
	if (!v)
		return 0;
	if (json_is_integer(v) && json_integer_value(v) >= 0) {
		*ret = (uint64_t)json_integer_value(v);
		return 0;
	}
	if (!s || !len || len > NUMBER_MAX || strspn(s, "0123456789") != len)
		return broken(p, field);
	errno = 0;
	*ret = strtoull(s, NULL, 10);
	return errno ? broken(p, field) : 0;
}

/*
 * All strings of an answer fit into an arena as long as its text: decoding never makes them longer,
 * and the quotes leave room for the NUL.
 */
static int get_text(struct parser *p, const json_t *v, const char *field, const char **ret)
{
	size_t len = json_string_length(v);

	if (v && !json_is_string(v))
		return broken(p, field);
	*ret = p->next;
	if (len)
		memcpy(p->next, json_string_value(v), len);
	p->next[len] = '\0';
	p->next += len + 1;
	return 0;
}

/* Absent bytes are the empty string of the arena's first byte. */
static int get_bytes(struct parser *p, const json_t *obj, const char *field, const void **ret, size_t *ret_len)
{
	const json_t *v = json_object_get(obj, field);
	const char *s = json_string_value(v);
	size_t len = json_string_length(v), padding = 0;
	int n;

	*ret = "";
	*ret_len = 0;
	if (!v || (s && !len))
		return 0;
	if (!s || len % 4 || strspn(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=") != len)
		return broken(p, field);
	padding = len - strcspn(s, "=");
	n = EVP_DecodeBlock((unsigned char *)p->next, (const unsigned char *)s, (int)len);
	if (n < 0 || padding > 2 || (size_t)n < padding)
		return broken(p, field);
	*ret = p->next;
	*ret_len = (size_t)n - padding;
	p->next[*ret_len] = '\0';
	p->next += *ret_len + 1;
	return 0;
}

static int get_kv(struct parser *p, const json_t *obj, struct etcd_kv *kv)
{
	if (!json_is_object(obj))
		return broken(p, "kv");
	if (get_bytes(p, obj, "key", (const void **)&kv->key, &kv->key_len) < 0 ||
	    get_bytes(p, obj, "value", &kv->value, &kv->value_len) < 0 ||
	    get_u64(p, obj, "create_revision", &kv->create_revision) < 0 ||
	    get_u64(p, obj, "mod_revision", &kv->mod_revision) < 0 ||
	    get_u64(p, obj, "lease", &kv->lease) < 0)
		return -1;
	return kv->key_len ? 0 : broken(p, "key");
}

/* The array of that name, its length in *ret_n; NULL and 0 when absent. */
static int get_array(struct parser *p, const json_t *obj, const char *field, const json_t **ret, size_t *ret_n)
{
	*ret = json_object_get(obj, field);
	*ret_n = json_array_size(*ret);
	if (*ret && !json_is_array(*ret))
		return broken(p, field);
	return 0;
}

static int get_kvs(struct parser *p, const json_t *obj, struct etcd_answer *a)
{
	const json_t *list;
	size_t n;

	if (get_array(p, obj, "kvs", &list, &n) < 0)
		return -1;
	a->kvs = n ? xcalloc(n, sizeof(*a->kvs)) : NULL;
	for (; a->n_kvs < n; a->n_kvs++)
		if (get_kv(p, json_array_get(list, a->n_kvs), &a->kvs[a->n_kvs]) < 0)
			return -1;
	return 0;
}

static int get_event(struct parser *p, const json_t *obj, struct etcd_event *event)
{
	const char *type = json_string_value(json_object_get(obj, "type"));
	const json_t *prev = json_object_get(obj, "prev_kv");

	event->is_delete = str_eq(type, "DELETE");
	if (type && !event->is_delete && !str_eq(type, "PUT"))
		return broken(p, "type");
	if (get_kv(p, json_object_get(obj, "kv"), &event->kv) < 0)
		return -1;
	return prev ? get_kv(p, prev, &event->prev) : 0;
}

static int get_events(struct parser *p, const json_t *obj, struct etcd_answer *a)
{
	const json_t *list;
	size_t n;

	if (get_array(p, obj, "events", &list, &n) < 0)
		return -1;
	a->events = n ? xcalloc(n, sizeof(*a->events)) : NULL;
	for (; a->n_events < n; a->n_events++)
		if (get_event(p, json_array_get(list, a->n_events), &a->events[a->n_events]) < 0)
			return -1;
	return 0;
}

static int get_texts(struct parser *p, const json_t *obj, const char *field, const char *const **ret,
		     size_t *ret_n)
{
	const char **texts;
	const json_t *list;
	size_t n;

	if (get_array(p, obj, field, &list, &n) < 0)
		return -1;
	*ret = texts = n ? xcalloc(n, sizeof(*texts)) : NULL;
	*ret_n = n;
	for (size_t i = 0; i < n; i++) {
		texts[i] = "";
		if (get_text(p, json_array_get(list, i), field, &texts[i]) < 0)
			return -1;
	}
	return 0;
}

static int get_member(struct parser *p, const json_t *obj, struct etcd_member *m)
{
	const json_t *name = json_object_get(obj, "name");

	m->name = "";
	if (name && get_text(p, name, "name", &m->name) < 0)
		return -1;
	if (get_u64(p, obj, "ID", &m->id) < 0 || get_bool(p, obj, "isLearner", &m->is_learner) < 0 ||
	    get_texts(p, obj, "peerURLs", &m->peer_urls, &m->n_peer_urls) < 0 ||
	    get_texts(p, obj, "clientURLs", &m->client_urls, &m->n_client_urls) < 0)
		return -1;
	return m->id ? 0 : broken(p, "ID");
}

static int get_members(struct parser *p, const json_t *obj, struct etcd_answer *a)
{
	const json_t *list;
	size_t n;

	if (get_array(p, obj, "members", &list, &n) < 0)
		return -1;
	a->members = n ? xcalloc(n, sizeof(*a->members)) : NULL;
	while (a->n_members < n) {
		size_t i = a->n_members++;

		if (get_member(p, json_array_get(list, i), &a->members[i]) < 0)
			return -1;
	}
	return 0;
}

/* Both forms of errors; gRPC's codes are ours. */
static void get_error(const json_t *root, struct error *ret)
{
	const json_t *error = json_object_get(root, "error");
	bool nested = json_is_object(error);
	const json_t *code = nested ? json_object_get(error, "grpc_code") : json_object_get(root, "code");
	const char *text = json_string_value(nested ? json_object_get(error, "message") : error);
	json_int_t n = json_integer_value(code);

	/* The members have no leader at the moment; etcd gives that no code of its own. */
	if (text && strstr(text, "raft proposal dropped"))
		n = ERR_TIMEOUT;
	if (n <= ERR_OK || n > ERR_UNAUTHENTICATED)
		n = ERR_UNKNOWN;
	error_set(ret, (enum error_code)n, "etcd: %s", text ? text : "no reason given");
}

static int get_answer(struct parser *p, const json_t *obj, struct etcd_answer *a)
{
	const json_t *header = json_object_get(obj, "header");
	uint64_t ttl_s;

	if (get_u64(p, header, "revision", &a->revision) < 0 || get_u64(p, header, "raft_term", &a->term) < 0 ||
	    get_bool(p, obj, "succeeded", &a->succeeded) < 0 || get_bool(p, obj, "more", &a->more) < 0 ||
	    get_bool(p, obj, "created", &a->created) < 0 || get_bool(p, obj, "canceled", &a->canceled) < 0 ||
	    get_u64(p, obj, "compact_revision", &a->compact_revision) < 0 ||
	    get_u64(p, obj, "ID", &a->id) < 0 || get_u64(p, obj, "TTL", &ttl_s) < 0)
		return -1;
	if (ttl_s > INT32_MAX)
		return broken(p, "TTL");
	a->ttl_s = (int64_t)ttl_s;
	if (get_kvs(p, obj, a) < 0 || get_events(p, obj, a) < 0)
		return -1;
	return get_members(p, obj, a);
}

int etcd_json_parse(const char *text, size_t len, struct etcd_answer *ret, struct error *err)
{
	struct parser p = {.err = err};
	json_error_t why;
	json_t *root = json_loadb(text, len, 0, &why);
	const json_t *result = json_object_get(root, "result");
	int r;

	*ret = (struct etcd_answer){0};
	if (!json_is_object(root) || (result && !json_is_object(result))) {
		json_decref(root);
		return error_set(err, ERR_DATA_LOSS, "answer of etcd is not JSON as expected");
	}
	if (json_object_get(root, "error")) {
		get_error(root, &ret->error);
		json_decref(root);
		return 0;
	}
	p.next = ret->arena = xmalloc(len + 1);
	r = get_answer(&p, result ? result : root, ret);
	json_decref(root);
	if (r < 0)
		etcd_answer_fini(ret);
	return r;
}

void etcd_answer_fini(struct etcd_answer *answer)
{
	for (size_t i = 0; i < answer->n_members; i++) {
		free((void *)answer->members[i].peer_urls);
		free((void *)answer->members[i].client_urls);
	}
	free(answer->members);
	free(answer->kvs);
	free(answer->events);
	free(answer->arena);
	*answer = (struct etcd_answer){0};
}
