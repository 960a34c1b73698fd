#include "resolve.h"
#include "internal.h"
#include "migrate_rules.h"

#include "common/error.h"
#include "common/mem.h"
#include "manager/store/view.h"

#include <string.h>

#define REF_MAX 256

static int check_ref(const char *noun, const char *ref, struct error *err)
{
	if (str_empty(ref))
		return error_set(err, ERR_INVALID,
				 "%s is missing: give an id, the beginning of an id, or a name",
				 noun);
	if (strlen(ref) > REF_MAX)
		return error_set(err, ERR_INVALID, "%s \"%.40s...\" has %zu bytes: at most %d",
				 noun, ref, strlen(ref), REF_MAX);
	return 0;
}

static const void *by_prefix(const struct view *v, enum kind kind, const char *ref,
			     const char *noun, struct error *err)
{
	_cleanup_free_ const void **all = NULL;
	const void *found = NULL;
	size_t n, matches = 0;

	all = view_list(v, kind, &n);
	for (size_t i = 0; i < n; i++) {
		if (!str_starts(kind_info(kind)->id(all[i]), ref))
			continue;
		found = all[i];
		matches++;
	}
	if (matches == 1)
		return found;
	if (matches)
		error_set(err, ERR_PRECONDITION, "%s id prefix %s is ambiguous (%zu matches)", noun,
			  ref, matches);
	else
		error_set(err, ERR_NOT_FOUND, "no such %s: %s", noun, ref);
	return NULL;
}

const pb_service *resolve_service(const struct view *v, const char *ref, struct error *err)
{
	const pb_service *service;

	if (check_ref("service", ref, err) < 0)
		return NULL;
	service = view_service(v, ref);
	if (!service)
		service = view_service_by_name(v, ref);
	return service ? service : by_prefix(v, KIND_SERVICE, ref, "service", err);
}

static bool node_is_called(const pb_node *node, const char *name, bool by_hostname)
{
	if (by_hostname)
		return node->description && str_eq(node->description->hostname, name);
	return node->spec && str_eq(node->spec->name, name);
}

/* NULL with matches: more than one has the name. */
static const pb_node *node_by_name(const struct view *v, const char *name, bool by_hostname,
				   size_t *ret_matches)
{
	_cleanup_free_ const void **nodes = NULL;
	const pb_node *found = NULL;
	size_t n;

	*ret_matches = 0;
	nodes = view_list(v, KIND_NODE, &n);
	for (size_t i = 0; i < n; i++) {
		if (!node_is_called(nodes[i], name, by_hostname))
			continue;
		found = nodes[i];
		(*ret_matches)++;
	}
	return *ret_matches == 1 ? found : NULL;
}

const pb_node *resolve_node(const struct view *v, const char *ref, struct error *err)
{
	const pb_node *node;
	size_t matches;

	if (check_ref("node", ref, err) < 0)
		return NULL;
	node = view_node(v, ref);
	for (int by_hostname = 0; !node && by_hostname < 2; by_hostname++) {
		node = node_by_name(v, ref, by_hostname, &matches);
		if (!node && matches) {
			error_set(err, ERR_PRECONDITION,
				  "node name %s is ambiguous (%zu matches): use an id", ref,
				  matches);
			return NULL;
		}
	}
	return node ? node : by_prefix(v, KIND_NODE, ref, "node", err);
}

static const pb_task *task_by_name(const struct view *v, const char *ref)
{
	const char *dot = strchr(ref, '.');
	_cleanup_free_ const pb_task **tasks = NULL;
	_cleanup_free_ char *service_name = NULL;
	const pb_service *service;
	const pb_task *found = NULL;
	size_t n;

	if (!dot)
		return NULL;
	service_name = xstrndup(ref, (size_t)(dot - ref));
	service = view_service_by_name(v, service_name);
	if (!service)
		return NULL;
	tasks = view_tasks_of_service(v, service->id, &n);
	for (size_t i = 0; i < n; i++) {
		char name[PB_TASK_NAME_MAX];
		size_t len = strlen(pb_task_name(tasks[i], name));

		if (strncmp(ref, name, len))
			continue;
		if (ref[len] == '.' && str_eq(ref + len + 1, tasks[i]->id))
			return tasks[i];
		/* Sorted by age inside a slot: the last is the newest. */
		if (!ref[len])
			found = tasks[i];
	}
	return found;
}

const pb_task *resolve_task(const struct view *v, const char *ref, struct error *err)
{
	const pb_task *task;

	if (check_ref("task", ref, err) < 0)
		return NULL;
	task = view_task(v, ref);
	if (!task)
		task = task_by_name(v, ref);
	return task ? task : by_prefix(v, KIND_TASK, ref, "task", err);
}

const pb_network *resolve_network(const struct view *v, const char *ref, struct error *err)
{
	const pb_network *network;

	if (check_ref("network", ref, err) < 0)
		return NULL;
	network = view_network(v, ref);
	if (!network)
		network = view_network_by_name(v, ref);
	return network ? network : by_prefix(v, KIND_NETWORK, ref, "network", err);
}

const pb_token *resolve_token(const struct view *v, const char *ref, struct error *err)
{
	const pb_token *token;

	if (check_ref("token", ref, err) < 0)
		return NULL;
	token = view_token(v, ref);
	return token ? token : by_prefix(v, KIND_TOKEN, ref, "token", err);
}

const pb_ui_token *resolve_ui_token(const struct view *v, const char *ref, struct error *err)
{
	const pb_ui_token *token;

	if (check_ref("token", ref, err) < 0)
		return NULL;
	token = view_ui_token(v, ref);
	return token ? token : by_prefix(v, KIND_UI_TOKEN, ref, "token", err);
}

const pb_migration *resolve_migration(const struct view *v, const char *ref, struct error *err)
{
	struct error none = ERROR_INIT;
	const pb_migration *migration;
	const pb_task *task;

	if (check_ref("migration", ref, err) < 0)
		return NULL;
	migration = view_migration(v, ref);
	if (migration)
		return migration;
	task = resolve_task(v, ref, &none);
	migration = task ? migrate_rules_of_task(v, task->id) : NULL;
	return migration ? migration : by_prefix(v, KIND_MIGRATION, ref, "migration", err);
}
