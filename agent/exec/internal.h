/*
 * internal - what the files of this folder share: the engine and its containers. Loop thread.
 *
 *   exec.c       the engine: options, close, list, start slots
 *   probe.c      which runtime works here
 *   container.c  create, remove, forget
 *   start.c      start: conmon, runtime; watching the end
 *   stop.c       signals
 *   check.c      a health check inside a container, in a control group of its own (check_group.c); when: health.c
 *   adopt.c      take over after a restart of the agent
 *   state.c      container.json, the exit file
 *   rotate.c     log rotation
 *   logs.c       log readers
 *   freeze.c, dump.c, page_*.c, restore.c, mark.c: live migration (checkpoint.h, checkpoint_int.h)
 */
#pragma once
#include "agent/exec/cgroup.h"
#include "agent/exec/exec.h"
#include "agent/exec/prepare.h"
#include "common/loop.h"
#include "common/proc.h"
#include "common/str.h"

#include <sys/queue.h>
#include <uthash.h>

/* What was found out about runtime and kernel. */
struct probe_result {
	bool works;
	char *conmon, *conmon_version;
	char *runtime, *runtime_name, *runtime_version; /* path, "runc", "1.1.5" */
	bool seccomp, apparmor, overlayfs, limit_swap;
	bool has_cpu, has_memory, has_pids;
	enum cgroup_mode cgroup;
	struct strv errors; /* "crun: ..." of each runtime that did not work */
	char *criu, *criu_version;	/* path; NULL = not installed */
	char *checkpoint;		/* path of the runtime that restores; NULL = this node cannot */
	char *checkpoint_error;		/* why not */
	bool mem_track, lazy_pages;
};

/*
 * A turn at starting processes. Only so many containers are started or removed at a time: more
 * would not be faster, each would only take longer. Checks have turns of their own: one that hangs
 * must not keep containers from starting.
 */
struct slot {
	void (*run)(struct slot *slot); /* must end in slot_release() */
	bool queued, held;
	TAILQ_ENTRY(slot) link;
};

struct slots {
	TAILQ_HEAD(, slot) waiting;
	unsigned held, max;
};

struct exec {
	uv_loop_t *loop;
	struct closer closer;
	bool closing;
	char *state_dir, *run_dir, *cgroup_parent, *runtime_option, *init_path;
	char *node_id, *node_hostname;
	char *tasks_dir, *volumes_dir, *exec_dir; /* <state>/tasks, <state>/volumes, <run>/exec */
	char *boot_id;
	int64_t log_max_bytes;
	unsigned log_max_files;

	struct probe_result probe;
	struct probe *probing;

	struct container *containers; /* by id */
	struct slots starts, checks;

	int inotify_fd; /* log files that grow */
	uv_poll_t inotify_poll;
	struct container *by_log_wd;
	LIST_HEAD(, log_reader) readers;

	void (*closed)(void *data);
	void *closed_data;
};

void slot_acquire(struct slots *slots, struct slot *slot);
/* Give it back, or leave the queue. */
void slot_release(struct slots *slots, struct slot *slot);

enum phase {
	PHASE_PREPARING,
	PHASE_CREATED,
	PHASE_STARTING,
	PHASE_RUNNING,
	PHASE_EXITED, /* also: a start that failed */
	PHASE_ADOPTING,
	PHASE_REMOVING,
};

struct container {
	struct exec *exec;
	UT_hash_handle hh, hh_log;
	char *id;
	struct container_paths paths;
	char *upper_dir, *anonymous_dir; /* the writable layer; volumes without a name */
	pb_task *task;
	struct image *image; /* NULL when adopted */
	enum phase phase;
	struct closer closer;
	bool forgotten; /* no callbacks any more */

	container_cb cb; /* of the call under way */
	container_cb
		remove_cb; /* remove was asked for: begins as soon as nothing else is under way */
	container_exit_cb on_exit;
	void *data;

	char *runtime; /* path of the one that it was created with */
	int stop_signal;
	struct start *start; /* while it starts */
	struct freeze *freeze;	 /* while it is frozen or thawed */
	struct dump *dump;	 /* while it is copied out */
	struct restore *restore; /* while it is restored */
	bool freezing, frozen;	 /* asked for; stands still */
	unsigned freezes;
	int64_t criu_pid; /* of a criu that works on it; 0 = none */
	uint64_t criu_start;
	struct slot slot;    /* for removing */
	bool remove_retried;

	int64_t pid, conmon_pid;
	uint64_t pid_start, conmon_start; /* start times: the numbers may be reused */
	int pidfd;
	struct proc *conmon, *init; /* watches */
	bool monitor_gone;	    /* conmon ended while the start was still under way */
	struct container_exit exit;

	uv_timer_t defer_timer; /* what must not happen inside the caller's call */
	uv_timer_t stop_timer;
	int64_t stop_deadline; /* monotonic; 0 = not stopping */
	bool stop_wanted;      /* asked while starting */

	uv_timer_t log_timer;
	int log_wd; /* -1 = not watched */
	int64_t log_size, log_checked_at;
	bool log_rotating;
};

/* container.c */
struct container *container_new(struct exec *e, const pb_task *task, container_exit_cb on_exit,
				void *data);
void container_free_later(struct container *c); /* once nothing is under way */
/* After each step: begin the removal that was asked for meanwhile. */
void container_settled(struct container *c);

/* start.c */
/* Watch a running container's end through its monitor. */
void container_watch(struct container *c);
void container_unwatch(struct container *c);
void start_cancel(struct container *c);
/* container_start() or, with the directory of images, a restore: c->restore's callback instead of cb. */
void start_begin(struct container *c, const char *images, container_cb cb);

/* stop.c */
int container_send_signal(struct container *c, int signum);
int container_open_pidfd(struct container *c);

/* state.c: the file container.json in the bundle. */
struct container_state {
	bool started, same_boot;
	char *runtime;
	int stop_signal;
	int64_t pid, conmon_pid;
	uint64_t pid_start, conmon_start;
};
int container_state_save(const struct container *c, bool started, struct error *err);
/* Pure part, for tests and adopting; ret->runtime is yours. */
int container_state_parse(const char *text, size_t len, const char *boot_id,
			  struct container_state *ret, struct error *err);
int container_state_load(const char *task_dir, const char *boot_id, struct container_state *ret,
			 struct error *err);
/* conmon's exit file: a decimal number. -1 = not a valid one. */
int exit_file_parse(const char *text, size_t len, int *ret_code);
/* Reads exit and oom files. False: there is no (valid) exit file. */
bool container_exit_load(const struct container_paths *paths, enum cgroup_mode mode,
			 struct container_exit *ret);

/* Replace a small file of the bundle. Not synced: it is good for one boot only. */
int container_file_replace(const char *dir, const char *name, const void *data, size_t len, struct error *err);

/* A pid file ("pid", "conmon.pid") of the run directory; 0 = none. */
int64_t container_read_pid(const struct container_paths *paths, const char *name);

/* rotate.c */
int rotate_open(struct exec *e, struct error *err);
void rotate_close(struct exec *e);
void rotate_watch(struct container *c); /* running: look after its log */
void rotate_unwatch(struct container *c);

/* logs.c */
void log_readers_wake(struct exec *e,
		      const char *task_id); /* something about this task has changed */
void log_readers_close(struct exec *e);

/* probe.c */
void probe_result_fini(struct probe_result *r);
void probe_cancel(struct exec *e);

/* probe_criu.c: the last part of a probe. done once, later; the child can be killed through *child meanwhile. */
void probe_criu(struct exec *e, struct probe_result *result, struct proc **child, void (*done)(void *data), void *data);

/* freeze.c */
void freeze_cancel(struct container *c); /* it has ended, or we stop */
/* What an earlier agent left: a criu at work is waited for, what was frozen stays frozen. done once, later. */
void checkpoint_adopt(struct container *c, void (*done)(void *data), void *data);
/* dump.c */
void dump_cancel(struct container *c); /* we stop */
/* restore.c */
struct error;
/* Pool: the root anew, the images made to fit this container. */
int restore_prepare(struct container *c, const char *images, struct error *err);
/* What the runtime said is less than what criu said. */
void restore_explain(const struct container *c, struct error *err);
