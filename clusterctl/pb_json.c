#include "pb_json.h"

#include "common/clock.h"
#include "common/mem.h"
#include "common/str.h"

#include <ctype.h>
#include <string.h>

static bool is_one_of(const char *name, const char *const *names)
{
	for (; *names; names++)
		if (str_eq(name, *names))
			return true;
	return false;
}

static bool is_secret(const char *name)
{
	static const char *const names[] = {"registry_auth", "root_key_pem",  "etcd_key_pem",
					    "secret",	     "secret_sha256", "token",
					    "worker_token",  "manager_token", "key",	 NULL};

	return is_one_of(name, names);
}

static bool is_duration(const char *name)
{
	static const char *const names[] = {"delay",
					    "window",
					    "monitor",
					    "stop_grace_period",
					    "ready_wait",
					    "interval",
					    "timeout",
					    "start_period",
					    "start_interval",
					    "heartbeat_period",
					    "cert_expiry",
					    "beat_period",
					    "ttl",
					    NULL};

	return is_one_of(name, names);
}

static bool is_time(const char *name)
{
	static const char *const names[] = {"at", "since", "until", "start_after", NULL};

	return is_one_of(name, names) || str_ends(name, "_at");
}

/* "RESTART_ON_FAILURE" among RESTART_*: "on-failure". Only a prefix that all values share is
 * dropped. */
static json_t *enum_json(const ProtobufCEnumDescriptor *type, int value)
{
	const ProtobufCEnumValue *found = protobuf_c_enum_descriptor_get_value(type, value);
	const char *underscore = found ? strchr(found->name, '_') : NULL;
	size_t prefix = underscore ? (size_t)(underscore - found->name) + 1 : 0;
	_cleanup_free_ char *name = NULL;

	if (!found)
		return json_integer(value);
	for (unsigned i = 0; i < type->n_values; i++)
		if (strncmp(type->values[i].name, found->name, prefix) != 0)
			prefix = 0;
	name = xstrdup(found->name + prefix);
	for (char *p = name; *p; p++)
		*p = *p == '_' ? '-' : (char)tolower((unsigned char)*p);
	return json_string(name);
}

static json_t *bytes_json(const ProtobufCBinaryData *data)
{
	_cleanup_strbuf_ struct strbuf hex = {0};

	for (size_t i = 0; i < data->len; i++)
		strbuf_printf(&hex, "%02x", data->data[i]);
	return json_string(hex.p ? hex.p : "");
}

static json_t *unsigned_json(uint64_t value)
{
	char text[24];

	if (value <= INT64_MAX)
		return json_integer((json_int_t)value);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	return json_string(text);
}

/* One element at p, of a singular or a repeated field. */
static json_t *value_json(const ProtobufCFieldDescriptor *field, const void *p)
{
	switch (field->type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
		return json_integer(*(const int32_t *)p);
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
		return json_integer(*(const uint32_t *)p);
	case PROTOBUF_C_TYPE_INT64:
	case PROTOBUF_C_TYPE_SINT64:
	case PROTOBUF_C_TYPE_SFIXED64:
		return json_integer(*(const int64_t *)p);
	case PROTOBUF_C_TYPE_UINT64:
	case PROTOBUF_C_TYPE_FIXED64:
		return unsigned_json(*(const uint64_t *)p);
	case PROTOBUF_C_TYPE_FLOAT:
		return json_real((double)*(const float *)p);
	case PROTOBUF_C_TYPE_DOUBLE:
		return json_real(*(const double *)p);
	case PROTOBUF_C_TYPE_BOOL:
		return json_boolean(*(const protobuf_c_boolean *)p);
	case PROTOBUF_C_TYPE_ENUM:
		return enum_json(field->descriptor, *(const int *)p);
	case PROTOBUF_C_TYPE_STRING:
		return json_string(*(char *const *)p ?: "");
	case PROTOBUF_C_TYPE_BYTES:
		return bytes_json(p);
	case PROTOBUF_C_TYPE_MESSAGE:
		return pb_json(*(const ProtobufCMessage *const *)p);
	}
	return json_null();
}

static size_t element_size(ProtobufCType type)
{
	switch (type) {
	case PROTOBUF_C_TYPE_INT32:
	case PROTOBUF_C_TYPE_SINT32:
	case PROTOBUF_C_TYPE_SFIXED32:
	case PROTOBUF_C_TYPE_UINT32:
	case PROTOBUF_C_TYPE_FIXED32:
	case PROTOBUF_C_TYPE_FLOAT:
		return sizeof(uint32_t);
	case PROTOBUF_C_TYPE_ENUM:
		return sizeof(int);
	case PROTOBUF_C_TYPE_BOOL:
		return sizeof(protobuf_c_boolean);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	case PROTOBUF_C_TYPE_BYTES:
		return sizeof(ProtobufCBinaryData);
	default:
		return sizeof(uint64_t);
	}
}

static bool is_key_value(const ProtobufCFieldDescriptor *field)
{
	const ProtobufCMessageDescriptor *type = field->descriptor;

	return field->type == PROTOBUF_C_TYPE_MESSAGE && str_eq(type->name, "skein.KeyValue");
}

/* Both fields of a KeyValue by descriptor: this file knows no message by its C type. */
static const char *string_field(const ProtobufCMessage *msg, const char *name)
{
	const ProtobufCFieldDescriptor *field =
		protobuf_c_message_descriptor_get_field_by_name(msg->descriptor, name);

	return *(char *const *)((const char *)msg + field->offset) ?: "";
}

static json_t *repeated_json(const ProtobufCFieldDescriptor *field, const char *list, size_t n)
{
	json_t *ret = is_key_value(field) ? json_object() : json_array();

	for (size_t i = 0; i < n; i++) {
		const void *p = list + i * element_size(field->type);

		if (is_key_value(field)) {
			const ProtobufCMessage *kv = *(const ProtobufCMessage *const *)p;

			json_object_set_new(ret, string_field(kv, "key"),
					    json_string(string_field(kv, "value")));
		} else {
			json_array_append_new(ret, value_json(field, p));
		}
	}
	return ret;
}

static json_t *time_json(int64_t ns)
{
	char text[CLOCK_RFC3339_MAX];

	return ns == 0 ? json_null() : json_string(clock_rfc3339(ns, text));
}

static bool is_absent(const ProtobufCMessage *msg, const ProtobufCFieldDescriptor *field,
		      const void *p)
{
	if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF)
		return *(const uint32_t *)((const char *)msg + field->quantifier_offset) !=
		       field->id;
	return field->type == PROTOBUF_C_TYPE_MESSAGE &&
	       field->label != PROTOBUF_C_LABEL_REPEATED && !*(const ProtobufCMessage *const *)p;
}

static bool is_zero(const ProtobufCFieldDescriptor *field, const void *p)
{
	if (field->type == PROTOBUF_C_TYPE_STRING)
		return str_empty(*(char *const *)p);
	return field->type == PROTOBUF_C_TYPE_BYTES && ((const ProtobufCBinaryData *)p)->len == 0;
}

static void add_duration(json_t *object, const char *name, int64_t ns)
{
	_cleanup_free_ char *twin = xasprintf("%s_text", name);
	char text[STR_HUMAN_MAX];

	json_object_set_new(object, name, json_integer(ns));
	json_object_set_new(object, twin, json_string(str_duration(ns, text)));
}

static void add_field(json_t *object, const ProtobufCMessage *msg,
		      const ProtobufCFieldDescriptor *field)
{
	const char *p = (const char *)msg + field->offset;

	if (is_absent(msg, field, p))
		return;
	if (is_secret(field->name)) {
		if (!is_zero(field, p))
			json_object_set_new(object, field->name, json_string("(hidden)"));
	} else if (field->label == PROTOBUF_C_LABEL_REPEATED) {
		size_t n = *(const size_t *)((const char *)msg + field->quantifier_offset);

		json_object_set_new(object, field->name,
				    repeated_json(field, *(char *const *)p, n));
	} else if (field->type == PROTOBUF_C_TYPE_INT64 && is_duration(field->name)) {
		add_duration(object, field->name, *(const int64_t *)p);
	} else if (field->type == PROTOBUF_C_TYPE_INT64 && is_time(field->name)) {
		json_object_set_new(object, field->name, time_json(*(const int64_t *)p));
	} else {
		json_object_set_new(object, field->name, value_json(field, p));
	}
}

json_t *pb_json(const ProtobufCMessage *msg)
{
	json_t *object;

	if (!msg)
		return json_null();
	object = json_object();
	for (unsigned i = 0; i < msg->descriptor->n_fields; i++)
		add_field(object, msg, &msg->descriptor->fields[i]);
	return object;
}

/* ---------------------------------------------------------------- paths */

static bool same_name(const char *key, const char *name, size_t len)
{
	const char *end = name + len;

	for (; *key || name < end; key++, name++) {
		while (*key == '_')
			key++;
		while (name < end && *name == '_')
			name++;
		if (name >= end || !*key)
			return name >= end && !*key;
		if (tolower((unsigned char)*key) != tolower((unsigned char)*name))
			return false;
	}
	return true;
}

static json_t *member(json_t *object, const char *name, size_t len)
{
	const char *key;
	json_t *value;

	/* labels may differ in just this: the exact name comes first */
	json_object_foreach(object, key, value) if (strlen(key) == len &&
						    strncmp(key, name, len) == 0) return value;
	json_object_foreach(object, key, value) if (same_name(key, name, len)) return value;
	return NULL;
}

json_t *pb_json_path(json_t *root, const char *path, json_t **ret_at)
{
	*ret_at = root;
	while (*path) {
		size_t len = strcspn(path, ".");
		json_t *next = json_is_object(root) ? member(root, path, len) : NULL;

		if (!next)
			return NULL;
		*ret_at = root = next;
		path += len + (path[len] == '.');
	}
	return root;
}

char *pb_json_text(json_t *value)
{
	char *dump;

	if (json_is_string(value))
		return xstrdup(json_string_value(value));
	dump = json_dumps(value, JSON_ENCODE_ANY);
	return dump ? dump : xstrdup("");
}
