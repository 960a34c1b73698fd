#include "pb.h"

#include "common/clock.h"
#include "common/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STOP_GRACE_DEFAULT_NS (10 * NS_PER_SEC)
#define READY_WAIT_DEFAULT_NS (10 * NS_PER_SEC)
#define RESTART_DELAY_DEFAULT_NS (5 * NS_PER_SEC)
#define UPDATE_MONITOR_DEFAULT_NS (5 * NS_PER_SEC)

static const char *enum_name(const ProtobufCEnumDescriptor *type, int value, const char *prefix)
{
	const ProtobufCEnumValue *v = protobuf_c_enum_descriptor_get_value(type, value);
	size_t n = strlen(prefix);

	if (!v)
		return "UNKNOWN";
	return strncmp(v->name, prefix, n) ? v->name : v->name + n;
}

const char *pb_task_state_name(int state)
{
	return enum_name(&skein__task_state__descriptor, state, "TASK_");
}

const char *pb_node_state_name(int state)
{
	return enum_name(&skein__node_state__descriptor, state, "NODE_");
}

const char *pb_migration_phase_name(int phase)
{
	static const struct {
		int phase;
		const char *name;
	} names[] = {
		{MIGRATION_NEW, "new"},		{MIGRATION_PREPARE, "prepare"},
		{MIGRATION_COPY, "copy"},	{MIGRATION_FREEZE, "freeze"},
		{MIGRATION_SWITCH, "switch"},	{MIGRATION_ABORT, "abort"},
		{MIGRATION_RESUME, "resume"},	{MIGRATION_MOVED, "moved"},
		{MIGRATION_CHECKED, "checked"}, {MIGRATION_REFUSED, "refused"},
		{MIGRATION_LOST, "lost"},	{MIGRATION_ROLLED_BACK, "rolled-back"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].phase == phase)
			return names[i].name;
	return "unknown";
}

const char *pb_role_name(int role)
{
	return role == NODE_ROLE_MANAGER ? "manager" : role == NODE_ROLE_WORKER ? "worker" : "unknown";
}

const char *pb_availability_name(int availability)
{
	switch (availability) {
	case AVAILABILITY_ACTIVE:
		return "active";
	case AVAILABILITY_PAUSE:
		return "pause";
	case AVAILABILITY_DRAIN:
		return "drain";
	default:
		return "unknown";
	}
}

/* ---- names */

const char *pb_task_name(const pb_task *task, char buf[static PB_TASK_NAME_MAX])
{
	if (task->slot)
		snprintf(buf, PB_TASK_NAME_MAX, "%s.%" PRIu64, task->service_name, task->slot);
	else
		snprintf(buf, PB_TASK_NAME_MAX, "%s.%s", task->service_name, *task->node_id ? task->node_id : task->id);
	return buf;
}

const char *pb_node_name(const pb_node *node)
{
	if (node->spec && *node->spec->name)
		return node->spec->name;
	if (node->description && *node->description->hostname)
		return node->description->hostname;
	return node->id;
}

/* ---- copies */

static void *packed(const ProtobufCMessage *msg, size_t *ret_len)
{
	uint8_t *bytes;

	*ret_len = protobuf_c_message_get_packed_size(msg);
	bytes = xmalloc(*ret_len);
	protobuf_c_message_pack(msg, bytes);
	return bytes;
}

void *pb_dup(const void *msg)
{
	_cleanup_free_ uint8_t *bytes = NULL;
	ProtobufCMessage *copy;
	size_t len;

	if (!msg)
		return NULL;
	bytes = packed(msg, &len);
	copy = protobuf_c_message_unpack(((const ProtobufCMessage *)msg)->descriptor, NULL, len, bytes);
	/* What was just packed unpacks, unless memory is out. */
	if (!copy)
		abort();
	return copy;
}

void pb_free(void *msg)
{
	if (msg)
		protobuf_c_message_free_unpacked(msg, NULL);
}

void *pb_new(const ProtobufCMessageDescriptor *type)
{
	void *msg = xmalloc(type->sizeof_message);

	protobuf_c_message_init(type, msg);
	return msg;
}

bool pb_equal(const void *a, const void *b)
{
	_cleanup_free_ void *bytes_a = NULL, *bytes_b = NULL;
	const ProtobufCMessage *x = a, *y = b;
	size_t len_a, len_b;

	if (a == b)
		return true;
	if (!a || !b || x->descriptor != y->descriptor)
		return false;
	if (protobuf_c_message_get_packed_size(x) != protobuf_c_message_get_packed_size(y))
		return false;
	bytes_a = packed(x, &len_a);
	bytes_b = packed(y, &len_b);
	return len_a == len_b && memcmp(bytes_a, bytes_b, len_a) == 0;
}

/* ---- strings and lists inside heap messages */

void pb_set_str(char **field, const char *value)
{
	/* Copied first: the value may be (part of) the old string. */
	char *copy = value && *value ? xstrdup(value) : (char *)protobuf_c_empty_string;

	if (*field != protobuf_c_empty_string)
		free(*field);
	*field = copy;
}

void pb_set_msg(void *field, const void *msg)
{
	void **f = field;
	void *copy = pb_dup(msg);

	pb_free(*f);
	*f = copy;
}

void pb_msgs_add(size_t *n, void *list, void *msg)
{
	void ***l = list;

	*l = xreallocarray(*l, *n + 1, sizeof(void *));
	(*l)[(*n)++] = msg;
}

void pb_strs_add(size_t *n, char ***list, const char *s)
{
	/* Elements of a list are always heap memory: the library frees each of them. */
	pb_msgs_add(n, list, xstrdup(s ? s : ""));
}

static void *list_take(size_t *n, void *list, size_t i)
{
	void ***l = list;
	void *gone;

	if (i >= *n)
		return NULL;
	gone = (*l)[i];
	memmove(*l + i, *l + i + 1, (*n - i - 1) * sizeof(void *));
	(*n)--;
	return gone;
}

void pb_msgs_del(size_t *n, void *list, size_t i)
{
	pb_free(list_take(n, list, i));
}

void pb_strs_del(size_t *n, char ***list, size_t i)
{
	char *s = list_take(n, list, i);

	/* An empty element that came off the wire is the library's shared string. */
	if (s != protobuf_c_empty_string)
		free(s);
}

static size_t kv_find(pb_kv *const *list, size_t n, const char *key)
{
	size_t i = 0;

	while (i < n && strcmp(list[i]->key, key))
		i++;
	return i;
}

const char *pb_kv_get(pb_kv *const *list, size_t n, const char *key)
{
	size_t i = kv_find(list, n, key);

	return i < n ? list[i]->value : NULL;
}

void pb_kv_set(size_t *n, pb_kv ***list, const char *key, const char *value)
{
	size_t i = kv_find(*list, *n, key);

	if (i == *n) {
		pb_kv *kv = pb_new(&skein__key_value__descriptor);

		pb_set_str(&kv->key, key);
		pb_msgs_add(n, list, kv);
	}
	pb_set_str(&(*list)[i]->value, value);
}

bool pb_kv_del(size_t *n, pb_kv ***list, const char *key)
{
	size_t i = kv_find(*list, *n, key);

	if (i == *n)
		return false;
	pb_msgs_del(n, list, i);
	return true;
}

/* ---- defaults */

static void *ensure(void *field, const ProtobufCMessageDescriptor *type)
{
	void **f = field;

	if (*f)
		return NULL;
	*f = pb_new(type);
	return *f;
}

static void update_config_defaults(pb_update_config **field)
{
	pb_update_config *config = ensure(field, &skein__update_config__descriptor);

	if (!config)
		return;
	config->parallelism = 1;
	config->monitor = UPDATE_MONITOR_DEFAULT_NS;
	config->failure_action = SKEIN__UPDATE_FAILURE_ACTION__FAILURE_PAUSE;
	config->order = SKEIN__UPDATE_ORDER__STOP_FIRST;
}

static void task_spec_defaults(pb_task_spec *task)
{
	pb_container_spec *container = ensure(&task->container, &skein__container_spec__descriptor);
	pb_restart_policy *restart = ensure(&task->restart, &skein__restart_policy__descriptor);

	if (container) {
		container->stop_grace_period = STOP_GRACE_DEFAULT_NS;
		container->ready_wait = READY_WAIT_DEFAULT_NS;
	}
	if (restart) {
		restart->condition = (Skein__RestartCondition)RESTART_ANY;
		restart->delay = RESTART_DELAY_DEFAULT_NS;
	}
	ensure(&task->resources, &skein__resource_requirements__descriptor);
	ensure(&task->resources->limits, &skein__resources__descriptor);
	ensure(&task->resources->reservations, &skein__resources__descriptor);
	ensure(&task->placement, &skein__placement__descriptor);
}

void pb_service_spec_defaults(pb_service_spec *spec)
{
	if (spec->mode_case == SKEIN__SERVICE_SPEC__MODE__NOT_SET) {
		spec->replicated = pb_new(&skein__replicated_mode__descriptor);
		spec->replicated->replicas = 1;
		spec->mode_case = SKEIN__SERVICE_SPEC__MODE_REPLICATED;
	}
	ensure(&spec->task, &skein__task_spec__descriptor);
	task_spec_defaults(spec->task);
	update_config_defaults(&spec->update);
	update_config_defaults(&spec->rollback);
}
