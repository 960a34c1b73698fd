#include "nodestate.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <string.h>

static int check_text(const char *field, const char *value, struct error *err)
{
	if (strlen(value) <= NODESTATE_TEXT_MAX)
		return 0;
	return error_set(err, ERR_INVALID,
			 "node description: %s \"%.40s...\" has %zu bytes: at most %d", field,
			 value, strlen(value), NODESTATE_TEXT_MAX);
}

static int check_list(const char *field, pb_kv *const *list, size_t n, struct error *err)
{
	if (n > NODESTATE_LABELS_MAX)
		return error_set(err, ERR_EXHAUSTED, "node description: %zu %s: at most %d", n,
				 field, NODESTATE_LABELS_MAX);
	for (size_t i = 0; i < n; i++)
		if (check_text(field, list[i]->key, err) < 0 ||
		    check_text(field, list[i]->value, err) < 0)
			return -1;
	return 0;
}

static int check_image(const pb_image_info *image, struct error *err)
{
	const char *hex = image->digest + strlen("sha256:");

	if (!str_starts(image->digest, "sha256:") || strlen(hex) != 64 ||
	    strspn(hex, "0123456789abcdef") != 64)
		return error_set(
			err, ERR_INVALID,
			"node description: image digest \"%.80s\": must be sha256:<64 hex digits>",
			image->digest);
	if (image->n_names > NODESTATE_IMAGE_NAMES_MAX)
		return error_set(err, ERR_EXHAUSTED,
				 "node description: image %s has %zu names: at most %d",
				 image->digest, image->n_names, NODESTATE_IMAGE_NAMES_MAX);
	for (size_t i = 0; i < image->n_names; i++)
		if (check_text("image name", image->names[i], err) < 0)
			return -1;
	if (image->size_bytes < 0)
		return error_set(err, ERR_INVALID,
				 "node description: size of image %s is %" PRId64
				 ": must not be negative",
				 image->digest, image->size_bytes);
	return 0;
}

int nodestate_check_description(const pb_node_description *d, struct error *err)
{
	const pb_resources *capacity = d->capacity;
	size_t bytes = protobuf_c_message_get_packed_size(&d->base);

	if (bytes > NODESTATE_DESCRIPTION_MAX_BYTES)
		return error_set(err, ERR_EXHAUSTED, "node description has %zu bytes: at most %u",
				 bytes, NODESTATE_DESCRIPTION_MAX_BYTES);
	if (check_text("hostname", d->hostname, err) < 0 || check_text("os", d->os, err) < 0 ||
	    check_text("arch", d->arch, err) < 0 || check_text("kernel", d->kernel, err) < 0 ||
	    check_text("os_name", d->os_name, err) < 0 ||
	    check_text("agent_version", d->agent_version, err) < 0)
		return -1;
	if (capacity && (capacity->cpu_nano < 0 || capacity->mem_bytes < 0 || capacity->pids < 0))
		return error_set(err, ERR_INVALID,
				 "node description: capacity cpu=%" PRId64 " memory=%" PRId64
				 " pids=%" PRId64 ": none may be negative",
				 capacity->cpu_nano, capacity->mem_bytes, capacity->pids);
	if (check_list("engine labels", d->engine_labels, d->n_engine_labels, err) < 0 ||
	    check_list("features", d->features, d->n_features, err) < 0)
		return -1;
	if (d->n_images > NODESTATE_IMAGES_MAX)
		return error_set(err, ERR_EXHAUSTED, "node description: %zu images: at most %d",
				 d->n_images, NODESTATE_IMAGES_MAX);
	for (size_t i = 0; i < d->n_images; i++)
		if (check_image(d->images[i], err) < 0)
			return -1;
	return 0;
}

int nodestate_check_register(const Skein__Register *r, struct error *err)
{
	unsigned char binary[16];

	if (inet_pton(AF_INET, r->address, binary) != 1 &&
	    inet_pton(AF_INET6, r->address, binary) != 1)
		return error_set(err, ERR_INVALID,
				 "register: address \"%.80s\": must be an IPv4 or IPv6 address "
				 "without a port",
				 r->address);
	if (r->peer_port < 1 || r->peer_port > 65535)
		return error_set(err, ERR_INVALID,
				 "register: peer_port %" PRIu32 ": must be 1 to 65535",
				 r->peer_port);
	if (!r->description)
		return error_set(err, ERR_INVALID, "register: description is missing");
	return nodestate_check_description(r->description, err);
}

static bool set_str(char **field, const char *value)
{
	if (str_eq(*field, value))
		return false;
	pb_set_str(field, value);
	return true;
}

static bool set_status(pb_node *node, int state, const char *message, const char *manager_id,
		       int64_t now)
{
	bool changed = false;

	if (!node->status) {
		node->status = pb_new(&skein__node_status__descriptor);
		changed = true;
	}
	if ((int)node->status->state != state || !node->status->since) {
		node->status->state = (Skein__NodeState)state;
		node->status->since = now;
		changed = true;
	}
	changed |= set_str(&node->status->message, message);
	changed |= set_str(&node->status->manager_id, manager_id);
	return changed;
}

bool nodestate_ready(pb_node *node, const Skein__Register *r, int role, const char *manager_id,
		     int64_t now)
{
	bool changed = set_status(node, NODE_READY, "", manager_id, now);

	changed |= set_str(&node->status->address, r->address);
	if (!pb_equal(node->description, r->description)) {
		pb_set_msg(&node->description, r->description);
		changed = true;
	}
	if ((int)node->role != role || node->peer_port != r->peer_port ||
	    node->cert_expires_at != r->cert_expires_at) {
		node->role = (Skein__NodeRole)role;
		node->peer_port = r->peer_port;
		node->cert_expires_at = r->cert_expires_at;
		changed = true;
	}
	return changed;
}

bool nodestate_describe(pb_node *node, const pb_node_description *d)
{
	_cleanup_pb_ pb_node_description *merged = pb_dup(d);
	const pb_node_description *old = node->description;

	if (old) {
		if (str_empty(merged->hostname))
			pb_set_str(&merged->hostname, old->hostname);
		if (str_empty(merged->os))
			pb_set_str(&merged->os, old->os);
		if (str_empty(merged->arch))
			pb_set_str(&merged->arch, old->arch);
		if (str_empty(merged->kernel))
			pb_set_str(&merged->kernel, old->kernel);
		if (str_empty(merged->os_name))
			pb_set_str(&merged->os_name, old->os_name);
		if (str_empty(merged->agent_version))
			pb_set_str(&merged->agent_version, old->agent_version);
		if (!merged->capacity)
			merged->capacity = pb_dup(old->capacity);
		for (size_t i = 0; !d->n_engine_labels && i < old->n_engine_labels; i++)
			pb_msgs_add(&merged->n_engine_labels, &merged->engine_labels,
				    pb_dup(old->engine_labels[i]));
	}
	if (pb_equal(old, merged))
		return false;
	pb_set_msg(&node->description, merged);
	return true;
}

bool nodestate_down(pb_node *node, const char *manager_id, const char *message, int64_t now)
{
	const pb_node_status *status = node->status;

	if (status && (int)status->state == NODE_DOWN)
		return false;
	if (!str_eq(status ? status->manager_id : "", manager_id))
		return false;
	return set_status(node, NODE_DOWN, message, "", now);
}
