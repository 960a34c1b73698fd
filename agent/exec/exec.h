/*
 * exec - runs containers: OCI bundle + conmon + runtime (crun, runc). One container per task.
 *
 *   <state_dir>/tasks/<task id>/   bundle (config.json), upper and work directory, logs/, container.json, exit code
 *   <state_dir>/volumes/<name>/    named volumes
 *   <run_dir>/exec/                pid files, rootfs mount points, the runtime's own state (.runtime)
 *
 * Containers survive the agent: conmon is their parent, writes the exit code to a file. After a restart
 * container_adopt() finds them again. Loop thread; blocking steps (mounts, trees) run on the uv pool.
 */
#pragma once
#include "agent/image/image.h"
#include "common/error.h"
#include "proto/pb.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct exec;
struct container;
struct net_attachment;

struct exec_options {
	uv_loop_t *loop;
	const char *state_dir, *run_dir;
	const char *cgroup_parent;   /* "skein": cgroups are <parent>/<task id> */
	const char *runtime;         /* "crun", "runc", a path; NULL or "auto": the fastest that works (probed) */
	const char *init_path;       /* for --init; NULL = /usr/bin/tini-static or catatonit, whichever is there */
	int64_t log_max_bytes;       /* per file; 0 = 16 MiB */
	unsigned log_max_files;      /* 0 = 3 */
	const char *node_id, *node_hostname; /* for templates; may be set later with exec_set_node */
};

/* Probe runtimes and kernel by running a real container of a tiny static program; `ready` once. An error means
 * that no runtime works (the message says what each answered); the agent goes on and reports it. */
struct exec *exec_new(const struct exec_options *options,
		      void (*ready)(void *data, const struct error *err), void *data);
void exec_close(struct exec *e, void (*closed)(void *data), void *data); /* containers go on */

/* What the probe found: runtime, runtime.version, cgroup (v1|v2|hybrid), seccomp, apparmor, overlayfs,
 * conmon.version, pids-limit ...: appended to a node description's features. Also error per failed runtime. */
void exec_features(const struct exec *e, pb_node_description *desc);
/* Node id and host name for templates of containers that are created from now on. */
void exec_set_node(struct exec *e, const char *node_id, const char *node_hostname);

/* Probe again (after "missing runtime" was reported and, say, the package was installed). */
void exec_probe(struct exec *e, void (*ready)(void *data, const struct error *err), void *data);

/* What happened to a container. */
struct container_exit {
	int exit_code;        /* 128+signal when a signal ended it */
	bool oom_killed;
	int64_t finished_at;  /* wall ns; from the exit file when it ended while no agent ran */
};
typedef void (*container_cb)(void *data, struct container *c, const struct error *err);
typedef void (*container_exit_cb)(void *data, struct container *c, const struct container_exit *exit);

/*
 * Prepare: rootfs (overlayfs over the image's layers), mounts, volumes, config.json. READY afterwards.
 *   network  of its own, borrowed for the call; NULL: the host's, or an empty one, as the task's spec says
 *   on_exit  once, after a successful container_start, when the container's process has ended
 *   Errors   ERR_INVALID the task's spec cannot be satisfied here (unknown user, missing bind source, bad sysctl): rejected.
 * cb exactly once. On error the container is gone again (nothing half-made stays).
 */
struct container *container_create(struct exec *e, const pb_task *task, struct image *image,
				   const struct net_attachment *network, container_exit_cb on_exit,
				   container_cb cb, void *data);

/* Run it: conmon -> runtime create -> start. cb when the user's process runs (or why not, in the runtime's words). */
void container_start(struct container *c, container_cb cb);

/* Stop signal, then SIGKILL after the grace period; on_exit tells when it is over. Repeatable; a shorter grace wins.
 * While it starts: it does not get to run, container_start's cb says ERR_CANCELLED. */
void container_stop(struct container *c, int64_t grace_ns);
void container_kill(struct container *c, int signum);

/* Runtime delete, unmount, remove the directory (logs too). cb exactly once, then c is freed.
 * A running container is killed first. Errors are logged and retried once; the rest is reported. */
void container_remove(struct container *c, container_cb cb);

/* Let go of it without touching the container (agent stops). */
void container_forget(struct container *c);

const char *container_task_id(const struct container *c);
int64_t container_pid(const struct container *c);   /* 0 unless running */

/* After an agent restart: task ids that have a directory under state_dir; NULL-terminated, each and the array yours. */
char **exec_list(const struct exec *e);

enum container_found { CONTAINER_GONE, CONTAINER_CREATED, CONTAINER_RUNNING, CONTAINER_EXITED };
/*
 * Take over what an earlier agent started: RUNNING is watched (on_exit comes as usual), EXITED has its exit code at once,
 * CREATED (prepared or half-started) and GONE must be removed or prepared again.
 */
typedef void (*container_adopted_cb)(void *data, struct container *c, enum container_found found,
				     const struct container_exit *exit);
struct container *container_adopt(struct exec *e, const pb_task *task, container_exit_cb on_exit,
				  container_adopted_cb cb, void *data);

/* ---- health checks (check.c) */
struct container_check;
struct check_end {
	int exit_code;        /* 128+signal when a signal ended it; -1: it was not over in time, or did not begin */
	bool timed_out;
	bool gone;            /* its process has ended, or was frozen meanwhile: the check says nothing about its health */
	const char *output;   /* what it said, stdout first, at most HEALTH_OUTPUT_MAX bytes; or why it did not begin */
};
typedef void (*container_check_cb)(void *data, const struct check_end *end);
/*
 * Run the check that the task's spec (as container_create() got it) names, in the namespaces, groups and environment of
 * the running container, as its user. cb exactly once, later; at most one at a time. Behind the timeout it is
 * killed, and what it has started does not outlive it in any case. Waits for its turn when many are under way.
 */
struct container_check *container_check(struct container *c, int64_t timeout_ns, container_check_cb cb, void *data);
/* No callback any more; what runs is killed. Before the container is removed or forgotten. */
void container_check_cancel(struct container_check *k);

/* ---- logs (logs.c) */
struct log_query {
	bool follow;
	int64_t tail;         /* lines; -1 = all */
	int64_t since, until; /* wall ns; 0 = unbounded */
	uint64_t skip;        /* so many lines (parts) of exactly `since` are left out: they were read before */
};
struct log_reader;
/* Lines in order, in batches of at most 64 KiB; done once, at the end (of the container when following) or on error.
 * Pull model: after on_lines returned false no more comes until log_reader_resume. The reader stays until
 * log_reader_close, also behind done (which may call it). exec_close ends all readers with ERR_CANCELLED. */
typedef bool (*log_lines_cb)(void *data, pb_log_line *const *lines, size_t n);
typedef void (*log_done_cb)(void *data, const struct error *err);
struct log_reader *log_reader_open(struct exec *e, const char *task_id, const struct log_query *query,
				   log_lines_cb on_lines, log_done_cb done, void *data);
void log_reader_resume(struct log_reader *r);
void log_reader_close(struct log_reader *r); /* no callback behind it */
