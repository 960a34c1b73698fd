#include "containers.h"

#include "agent/exec/cgroup.h"
#include "agent/exec/health.h"
#include "common/mem.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#define CGROUP_ROOT "/sys/fs/cgroup"
#define SHORT_ID 12 /* as `docker ps` has it */

void containers_init(struct containers *c, const char *cgroup_parent, const char *const *label_keys)
{
	struct utsname uts = {.nodename = ""};

	uname(&uts);
	*c = (struct containers){
		.mode = cgroup_mode(),
		.cgroup_parent = xstrdup(cgroup_parent),
		.node = xstrndup(uts.nodename, strcspn(uts.nodename, ".")), /* as the node's description has it */
		.label_keys = label_keys,
	};
}

/* ---------------------------------------------------------------- one of them */

static void drop_ifaces(struct watched *x)
{
	for (unsigned i = 0; i < x->n_ifaces; i++) {
		strbuf_fini(&x->ifaces[i].labels);
		free(x->ifaces[i].network);
	}
	memset(x->ifaces, 0, sizeof(x->ifaces));
	x->n_ifaces = 0;
}

static void drop(struct containers *c, struct watched *x)
{
	HASH_DEL(c->all, x);
	cgroup_reader_close(&x->reader);
	drop_ifaces(x);
	strbuf_fini(&x->labels);
	free(x->id);
	free(x);
}

void containers_fini(struct containers *c)
{
	while (c->all)
		drop(c, c->all);
	free(c->cgroup_parent);
	free(c->node);
	*c = (struct containers){0};
}

static void render_labels(const struct containers *c, const pb_task *task, struct strbuf *labels)
{
	char text[32];

	metrics_label(labels, "node", c->node);
	metrics_label(labels, "service", task->service_name);
	metrics_label(labels, "task", task->id);
	snprintf(text, sizeof(text), "%" PRIu64, task->slot);
	metrics_label(labels, "slot", text);
	snprintf(text, sizeof(text), "%.*s", SHORT_ID, task->id); /* the runtime's name of it is the task's id */
	metrics_label(labels, "container", text);
	metrics_label(labels, "image", task->spec && task->spec->container ? task->spec->container->image : "");
	for (const char *const *key = c->label_keys; key && *key; key++) {
		const char *value = pb_kv_get(task->service_labels, task->n_service_labels, *key);
		_cleanup_free_ char *name = metrics_label_name("label_", *key);

		if (value)
			metrics_label(labels, name, value);
	}
}

static struct watched *add(struct containers *c, const pb_task *task)
{
	struct watched *x = xnew(struct watched);

	x->id = xstrdup(task->id);
	render_labels(c, task, &x->labels);
	HASH_ADD_KEYPTR(hh, c->all, x->id, strlen(x->id), x);
	return x;
}

/* ---------------------------------------------------------------- a look at the tasks */

void containers_begin(struct containers *c)
{
	for (struct watched *x = c->all; x; x = x->hh.next)
		x->seen = false;
}

static int health_of(const pb_task *task)
{
	int state = (int)task->status->state;

	if (state < TASK_STARTING || state > TASK_RUNNING)
		return -1;
	if (!task->spec || !task->spec->container || !health_is_check(task->spec->container->health))
		return HEALTH_NONE;
	return task->status->health ? (int)task->status->health->state : HEALTH_STARTING;
}

struct watched *containers_note(struct containers *c, const pb_task *task)
{
	const pb_resources *limits = task->spec && task->spec->resources ? task->spec->resources->limits : NULL;
	struct watched *x;

	HASH_FIND_STR(c->all, task->id, x);
	if (!x)
		x = add(c, task);
	x->seen = true;
	x->state = (int)task->status->state;
	x->running = x->state == TASK_RUNNING;
	x->health = health_of(task);
	x->started_at = task->status->at;
	x->cpu_limit_nano = limits ? limits->cpu_nano : 0;
	x->mem_limit_bytes = limits ? limits->mem_bytes : 0;
	x->pids_limit = limits ? limits->pids : 0;
	return x;
}

void containers_end(struct containers *c)
{
	struct watched *x, *next;

	HASH_ITER(hh, c->all, x, next) {
		if (!x->seen)
			drop(c, x);
		else if (!x->running) /* its group is going: an open file would keep some of it */
			cgroup_reader_close(&x->reader);
	}
}

static struct iface *iface_of(struct watched *x, const struct net_traffic *t)
{
	struct iface *f;

	for (unsigned i = 0; i < x->n_ifaces; i++) {
		if (strcmp(x->ifaces[i].name, t->interface) == 0 && str_eq(x->ifaces[i].network, t->network))
			return &x->ifaces[i];
	}
	if (x->n_ifaces == IFACES_MAX)
		return NULL;
	f = &x->ifaces[x->n_ifaces++];
	memcpy(f->name, t->interface, sizeof(f->name));
	f->network = xstrdup(t->network);
	strbuf_add(&f->labels, x->labels.p, x->labels.len);
	metrics_label(&f->labels, "interface", t->interface);
	metrics_label(&f->labels, "network", t->network);
	return f;
}

void containers_traffic(struct containers *c, const struct net_stats *stats)
{
	struct watched *x = NULL;

	for (struct watched *y = c->all; y; y = y->hh.next) {
		for (unsigned i = 0; i < y->n_ifaces; i++)
			y->ifaces[i].traffic.task_id = NULL; /* not known this time */
	}
	for (size_t i = 0; i < stats->n_traffic; i++) {
		const struct net_traffic *t = &stats->traffic[i];
		struct iface *f;

		if (!x || strcmp(x->id, t->task_id) != 0)
			HASH_FIND_STR(c->all, t->task_id, x);
		f = x ? iface_of(x, t) : NULL;
		if (!f)
			continue;
		f->traffic = *t;
		f->traffic.task_id = x->id;
		f->traffic.network = f->network;
	}
}

/* ---------------------------------------------------------------- reading */

void containers_read(struct containers *c)
{
	for (struct watched *x = c->all; x; x = x->hh.next) {
		x->usable = false;
		if (!x->running)
			continue;
		if (!x->opened) {
			_cleanup_free_ char *path = xasprintf("/%s/%s", c->cgroup_parent, x->id);

			x->opened = cgroup_reader_open(&x->reader, c->mode, CGROUP_ROOT, path);
		}
		x->usable = x->reader.open && cgroup_reader_read(&x->reader, &x->usage);
	}
}
