#include "agent/exec/internal.h"

#include "agent/exec/runtime.h"
#include "common/error.h"
#include "common/file.h"
#include "common/id.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"

#include <dirent.h>
#include <string.h>
#include <unistd.h>

#define LOG_MAX_BYTES (INT64_C(16) << 20)
#define LOG_MAX_FILES 3
#define BOOT_ID_MAX 64
#define CHECKS_PER_CORE 16u /* most of them wait for something */

/* ---------------------------------------------------------------- start slots */

static void slot_begin(struct slots *slots, struct slot *slot)
{
	slot->held = true;
	slots->held++;
	slot->run(slot);
}

void slot_acquire(struct slots *slots, struct slot *slot)
{
	if (slots->held < slots->max) {
		slot_begin(slots, slot);
		return;
	}
	slot->queued = true;
	TAILQ_INSERT_TAIL(&slots->waiting, slot, link);
}

void slot_release(struct slots *slots, struct slot *slot)
{
	struct slot *next;

	if (slot->queued) {
		slot->queued = false;
		TAILQ_REMOVE(&slots->waiting, slot, link);
	}
	if (!slot->held)
		return;
	slot->held = false;
	slots->held--;

	next = TAILQ_FIRST(&slots->waiting);
	if (next && slots->held < slots->max) {
		TAILQ_REMOVE(&slots->waiting, next, link);
		next->queued = false;
		slot_begin(slots, next);
	}
}

/* ---------------------------------------------------------------- life */

static char *find_init(const char *wanted)
{
	static const char *const known[] = {"/usr/bin/tini-static", "/usr/bin/catatonit",
					    "/usr/libexec/podman/catatonit"};

	if (wanted)
		return xstrdup(wanted);
	for (size_t i = 0; i < ARRAY_SIZE(known); i++)
		if (access(known[i], X_OK) == 0)
			return xstrdup(known[i]);
	return NULL;
}

static char *read_boot_id(void)
{
	char *text;

	if (file_read("/proc/sys/kernel/random/boot_id", BOOT_ID_MAX, &text, NULL, NULL) < 0)
		return xstrdup("");
	text[strcspn(text, "\n")] = '\0';
	return text;
}

struct exec *exec_new(const struct exec_options *o,
		      void (*ready)(void *data, const struct error *err), void *data)
{
	struct exec *e = xnew(struct exec);
	struct error err = ERROR_INIT;
	long cores = sysconf(_SC_NPROCESSORS_ONLN);

	e->loop = o->loop;
	closer_init(&e->closer);
	e->state_dir = xstrdup(o->state_dir);
	e->run_dir = xstrdup(o->run_dir);
	e->cgroup_parent = xstrdup(o->cgroup_parent ? o->cgroup_parent : "skein");
	e->runtime_option = xstrdup(str_empty(o->runtime) ? "auto" : o->runtime);
	e->init_path = find_init(o->init_path);
	e->tasks_dir = xasprintf("%s/tasks", e->state_dir);
	e->volumes_dir = xasprintf("%s/volumes", e->state_dir);
	e->exec_dir = xasprintf("%s/exec", e->run_dir);
	e->boot_id = read_boot_id();
	e->log_max_bytes = o->log_max_bytes > 0 ? o->log_max_bytes : LOG_MAX_BYTES;
	e->log_max_files = o->log_max_files ? o->log_max_files : LOG_MAX_FILES;
	TAILQ_INIT(&e->starts.waiting);
	TAILQ_INIT(&e->checks.waiting);
	LIST_INIT(&e->readers);
	e->starts.max = (cores > 0 ? (unsigned)cores : 1) + 2;
	e->checks.max = CHECKS_PER_CORE * (cores > 0 ? (unsigned)cores : 1);
	e->probe.cgroup = cgroup_mode(); /* adopting needs it before the probe has ended */
	exec_set_node(e, o->node_id, o->node_hostname);

	if (rotate_open(e, &err) < 0) /* logs just grow then */
		log_warn("log_rotation_off", kv_err(&err));
	exec_probe(e, ready, data);
	return e;
}

void exec_set_node(struct exec *e, const char *node_id, const char *node_hostname)
{
	free(e->node_id);
	free(e->node_hostname);
	e->node_id = xstrdup(node_id ? node_id : "");
	e->node_hostname = xstrdup(node_hostname ? node_hostname : "");
}

static void on_closed(void *data)
{
	struct exec *e = data;
	void (*closed)(void *) = e->closed;
	void *closed_data = e->closed_data;
	_cleanup_free_ char *parent = xasprintf("/%s", e->cgroup_parent);

	/* Only if no container is left: the kernel refuses otherwise. */
	cgroup_remove_empty(e->probe.cgroup, parent);
	probe_result_fini(&e->probe);
	free(e->state_dir);
	free(e->run_dir);
	free(e->cgroup_parent);
	free(e->runtime_option);
	free(e->init_path);
	free(e->node_id);
	free(e->node_hostname);
	free(e->tasks_dir);
	free(e->volumes_dir);
	free(e->exec_dir);
	free(e->boot_id);
	free(e);
	if (closed)
		closed(closed_data);
}

void exec_close(struct exec *e, void (*closed)(void *data), void *data)
{
	struct container *c, *next;

	e->closed = closed;
	e->closed_data = data;
	e->closing = true;
	if (!closer_begin(&e->closer, on_closed, e))
		return;
	HASH_ITER(hh, e->containers, c, next)
	container_forget(c);
	log_readers_close(e);
	probe_cancel(e);
	rotate_close(e);
	closer_end(&e->closer);
}

char **exec_list(const struct exec *e)
{
	struct strv ids = {0};
	DIR *dir = opendir(e->tasks_dir);
	struct dirent *entry;

	while (dir && (entry = readdir(dir)))
		if (id_valid(entry->d_name))
			strv_add(&ids, entry->d_name);
	if (dir)
		closedir(dir);
	return ids.v ? ids.v : xcalloc(1, sizeof(char *));
}

/* ---------------------------------------------------------------- features */

static void put(pb_node_description *desc, const char *key, const char *value)
{
	pb_kv_set(&desc->n_features, &desc->features, key, value ? value : "");
}

static void put_bool(pb_node_description *desc, const char *key, bool value)
{
	put(desc, key, value ? "true" : "false");
}

void exec_features(const struct exec *e, pb_node_description *desc)
{
	const struct probe_result *p = &e->probe;

	put(desc, "runtime", p->works ? p->runtime_name : "none");
	put(desc, "runtime.version", p->runtime_version);
	put(desc, "conmon.version", p->conmon_version);
	put(desc, "cgroup", cgroup_mode_name(p->cgroup));
	put_bool(desc, "cpu-limit", p->has_cpu);
	put_bool(desc, "memory-limit", p->has_memory);
	put_bool(desc, "pids-limit", p->has_pids);
	put_bool(desc, "swap-limit", p->limit_swap);
	put_bool(desc, "seccomp", p->seccomp);
	put_bool(desc, "apparmor", p->apparmor);
	put_bool(desc, "overlayfs", p->overlayfs);
	put_bool(desc, "init", e->init_path != NULL);
	put(desc, "criu", p->criu_version);
	put(desc, "checkpoint", p->checkpoint ? strrchr(p->checkpoint, '/') + 1 : "");
	if (p->checkpoint_error)
		put(desc, "checkpoint.error", p->checkpoint_error);
	put_bool(desc, "mem-track", p->mem_track);
	put_bool(desc, "lazy-pages", p->lazy_pages);
	for (size_t i = 0; i < p->errors.n; i++) {
		_cleanup_free_ char *key = xasprintf(
			"runtime.error.%.*s", (int)strcspn(p->errors.v[i], ":"), p->errors.v[i]);

		put(desc, key, p->errors.v[i]);
	}
}
