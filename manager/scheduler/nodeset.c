#include "nodeset.h"

#include "faults.h"
#include "hostports.h"
#include "manager/store/plan.h"

#include "common/mem.h"
#include "common/str.h"

#include <string.h>

const pb_resources *task_reservations(const pb_task *task)
{
	static const pb_resources none = SKEIN__RESOURCES__INIT;
	const Skein__ResourceRequirements *resources = task->spec ? task->spec->resources : NULL;

	return resources && resources->reservations ? resources->reservations : &none;
}

static void reserve(struct nodeinfo *info, const pb_task *task)
{
	const pb_resources *r = task_reservations(task);

	info->cpu_reserved += r->cpu_nano;
	info->mem_reserved += r->mem_bytes;
	info->pids_reserved += r->pids;
}

void nodeinfo_add(struct nodeinfo *info, const pb_task *task)
{
	reserve(info, task);
	info->tasks++;
	info->service_tasks++;
	info->taken_port = info->own_port;
}

static void load_tasks(struct nodeinfo *info, const struct view *view, const pb_task *except)
{
	_cleanup_free_ const pb_task **tasks = NULL;
	size_t n;

	tasks = view_tasks_of_node(view, info->node->id, &n);
	for (size_t i = 0; i < n; i++) {
		/* A task that is being stopped holds its resources until it has stopped. */
		if (!task_on_node(tasks[i]) || (except && str_eq(tasks[i]->id, except->id)))
			continue;
		reserve(info, tasks[i]);
		info->tasks += task_live(tasks[i]);
	}
}

void nodeset_load(struct nodeset *set, const struct view *view, const pb_task *except)
{
	_cleanup_free_ const void **nodes = NULL;

	nodes = view_list(view, KIND_NODE, &set->n);
	set->v = xcalloc(set->n, sizeof(*set->v));
	for (size_t i = 0; i < set->n; i++) {
		struct nodeinfo *info = &set->v[i];
		const pb_node_description *d = ((const pb_node *)nodes[i])->description;

		info->node = nodes[i];
		if (d && d->capacity) {
			info->cpu_nano = d->capacity->cpu_nano;
			info->mem_bytes = d->capacity->mem_bytes;
			info->pids = d->capacity->pids;
		}
		load_tasks(info, view, except);
	}
}

void nodeset_fini(struct nodeset *set)
{
	free(set->v);
	*set = (struct nodeset){0};
}

struct nodeinfo *nodeset_find(const struct nodeset *set, const char *node_id)
{
	size_t low = 0, high = set->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = strcmp(node_id, set->v[mid].node->id);

		if (order == 0)
			return &set->v[mid];
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}

static bool image_is(const pb_image_info *image, const pb_container_spec *container)
{
	if (*container->image_digest)
		return strcmp(image->digest, container->image_digest) == 0;
	for (size_t i = 0; i < image->n_names; i++)
		if (strcmp(image->names[i], container->image) == 0)
			return true;
	return false;
}

static bool holds_image(const pb_node *node, const pb_container_spec *container)
{
	for (size_t i = 0; container && node->description && i < node->description->n_images; i++)
		if (image_is(node->description->images[i], container))
			return true;
	return false;
}

/* A task that is being stopped holds its ports until it has stopped. */
static void focus_ports(struct nodeset *set, const struct view *view, const pb_service *service, const pb_task *except)
{
	_cleanup_free_ const pb_service **rivals = NULL;
	size_t n_rivals, n;

	for (size_t i = 0; i < set->n; i++) {
		set->v[i].own_port = hostports_first(service);
		set->v[i].taken_port = NULL;
	}
	rivals = hostports_rivals(view, service, &n_rivals);
	for (size_t i = 0; i < n_rivals; i++) {
		_cleanup_free_ const pb_task **tasks = view_tasks_of_service(view, rivals[i]->id, &n);

		for (size_t k = 0; k < n; k++) {
			struct nodeinfo *info = NULL;

			if (task_on_node(tasks[k]) && !(except && str_eq(tasks[k]->id, except->id)))
				info = nodeset_find(set, tasks[k]->node_id);
			if (info)
				info->taken_port = hostports_shared(service, rivals[i]);
		}
	}
}

void nodeset_focus(struct nodeset *set, const struct view *view, const pb_task *task,
		   const struct faults *faults, int64_t now, const pb_task *except)
{
	_cleanup_free_ const pb_task **tasks = NULL;
	size_t n;

	for (size_t i = 0; i < set->n; i++) {
		struct nodeinfo *info = &set->v[i];
		unsigned count = faults ? faults_count(faults, task->service_id, task->spec_version,
						       info->node->id, now)
					: 0;

		info->service_tasks = 0;
		info->faults = count >= FAULTS_MANY ? count : 0;
		info->has_image =
			holds_image(info->node, task->spec ? task->spec->container : NULL);
	}
	focus_ports(set, view, view_service(view, task->service_id), except);
	tasks = view_tasks_of_service(view, task->service_id, &n);
	for (size_t i = 0; i < n; i++) {
		struct nodeinfo *info;

		if (!task_live(tasks[i]) || !task_on_node(tasks[i]) ||
		    (except && str_eq(tasks[i]->id, except->id)))
			continue;
		info = nodeset_find(set, tasks[i]->node_id);
		if (info)
			info->service_tasks++;
	}
}
