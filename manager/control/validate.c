#include "validate.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NAME_MAX_BYTES 63
#define LABEL_KEY_MAX 256
#define LABEL_VALUE_MAX 4096
#define SHOWN_MAX 80
#define DURATION_MAX_NS (366 * 24 * 3600 * NS_PER_SEC)
#define HEARTBEAT_MIN_NS (50 * NS_PER_MS)
#define HEARTBEAT_MAX_NS (60 * NS_PER_SEC)
#define CERT_EXPIRY_MIN_NS (3600 * NS_PER_SEC)
#define CERT_EXPIRY_MAX_NS (20 * DURATION_MAX_NS)
#define TASK_HISTORY_MAX 1000

int validate_refuse(struct error *err, const char *value, const char *accepted,
		    const char *field_fmt, ...)
{
	char field[200];
	va_list ap;

	va_start(ap, field_fmt);
	vsnprintf(field, sizeof(field), field_fmt, ap);
	va_end(ap);
	return error_set(err, ERR_INVALID, "%s \"%.*s%s\": %s", field, SHOWN_MAX, value,
			 strlen(value) > SHOWN_MAX ? "..." : "", accepted);
}

int validate_name(const char *field, const char *name, struct error *err)
{
	static const char accepted[] =
		"must be 1 to 63 letters and digits, with - and _ between them";
	size_t len = strlen(name);

	if (!len || len > NAME_MAX_BYTES)
		return validate_refuse(err, name, accepted, "%s", field);
	for (size_t i = 0; i < len; i++) {
		bool inside = i > 0 && i + 1 < len;

		if (!isalnum((unsigned char)name[i]) &&
		    !(inside && (name[i] == '-' || name[i] == '_')))
			return validate_refuse(err, name, accepted, "%s", field);
	}
	return 0;
}

int validate_labels(const char *field, pb_kv *const *labels, size_t n, struct error *err)
{
	if (n > VALIDATE_LABELS_MAX)
		return error_set(err, ERR_EXHAUSTED, "%s: %zu labels: at most %d", field, n,
				 VALIDATE_LABELS_MAX);
	for (size_t i = 0; i < n; i++) {
		const char *key = labels[i]->key;

		if (str_empty(key) || strlen(key) > LABEL_KEY_MAX || strpbrk(key, "= \t\n"))
			return validate_refuse(err, key,
					       "must be 1 to 256 bytes without spaces and \"=\"",
					       "%s[%zu] key", field, i);
		if (strlen(labels[i]->value) > LABEL_VALUE_MAX)
			return validate_refuse(err, labels[i]->value, "must be at most 4096 bytes",
					       "%s[%zu] value of %.40s", field, i, key);
		for (size_t k = 0; k < i; k++)
			if (str_eq(labels[k]->key, key))
				return validate_refuse(err, key,
						       "is there twice; a label has one value",
						       "%s[%zu] key", field, i);
	}
	return 0;
}

static int out_of_range(const char *field, int64_t ns, int64_t min_ns, int64_t max_ns,
			struct error *err)
{
	char value[STR_HUMAN_MAX], min[STR_HUMAN_MAX], max[STR_HUMAN_MAX];

	return error_set(err, ERR_INVALID, "%s %s: must be %s to %s", field,
			 str_duration(ns, value), str_duration(min_ns, min),
			 str_duration(max_ns, max));
}

int validate_duration(const char *field, int64_t ns, struct error *err)
{
	if (ns < 0 || ns > DURATION_MAX_NS)
		return out_of_range(field, ns, 0, DURATION_MAX_NS, err);
	return 0;
}

int validate_cluster_spec(const pb_cluster_spec *spec, struct error *err)
{
	if (!spec)
		return error_set(err, ERR_INVALID, "spec is missing");
	if (spec->heartbeat_period && (spec->heartbeat_period < HEARTBEAT_MIN_NS ||
				       spec->heartbeat_period > HEARTBEAT_MAX_NS))
		return out_of_range("spec.heartbeat_period", spec->heartbeat_period,
				    HEARTBEAT_MIN_NS, HEARTBEAT_MAX_NS, err);
	if (spec->cert_expiry &&
	    (spec->cert_expiry < CERT_EXPIRY_MIN_NS || spec->cert_expiry > CERT_EXPIRY_MAX_NS))
		return out_of_range("spec.cert_expiry", spec->cert_expiry, CERT_EXPIRY_MIN_NS,
				    CERT_EXPIRY_MAX_NS, err);
	if (spec->task_history_limit > TASK_HISTORY_MAX)
		return error_set(err, ERR_INVALID,
				 "spec.task_history_limit %" PRIu32 ": must be 0 (default) to %d",
				 spec->task_history_limit, TASK_HISTORY_MAX);
	if (validate_address_pools(spec->address_pools, spec->n_address_pools,
				   spec->address_pool_prefix, err) < 0)
		return -1;
	return validate_labels("spec.labels", spec->labels, spec->n_labels, err);
}

int validate_node_spec(const pb_node_spec *spec, struct error *err)
{
	if (!spec)
		return error_set(err, ERR_INVALID, "spec is missing");
	if (!str_empty(spec->name) && validate_name("spec.name", spec->name, err) < 0)
		return -1;
	if ((int)spec->role != NODE_ROLE_WORKER && (int)spec->role != NODE_ROLE_MANAGER)
		return error_set(err, ERR_INVALID, "spec.role %d: must be worker or manager",
				 (int)spec->role);
	if ((int)spec->availability < AVAILABILITY_ACTIVE ||
	    (int)spec->availability > AVAILABILITY_DRAIN)
		return error_set(err, ERR_INVALID,
				 "spec.availability %d: must be active, pause or drain",
				 (int)spec->availability);
	return validate_labels("spec.labels", spec->labels, spec->n_labels, err);
}

int validate_token_request(const Skein__CreateTokenRequest *request, struct error *err)
{
	if ((int)request->role != NODE_ROLE_WORKER && (int)request->role != NODE_ROLE_MANAGER)
		return error_set(err, ERR_INVALID, "role %d: must be worker or manager",
				 (int)request->role);
	if (validate_duration("ttl", request->ttl, err) < 0)
		return -1;
	return validate_labels("labels", request->labels, request->n_labels, err);
}
