/*
 * manager_child - cluster-manager beside this agent: started, watched, restarted with back-off.
 *
 * The manager outlives an agent that is killed or upgraded: a new agent finds it by <run_dir>/manager.pid
 * (pid and start time) and watches it instead of starting a second one.
 */
#pragma once
#include "common/error.h"

#include <stdbool.h>
#include <uv.h>

struct manager_child;

struct manager_child_options {
	uv_loop_t *loop;
	const char *binary;       /* path of cluster-manager */
	const char *config_path;  /* its configuration file, written before */
	const char *run_dir;
	const char *log_level;
	char *const *flags;       /* further ones, NULL-terminated; copied. They go before the file */
};

struct manager_child *manager_child_new(const struct manager_child_options *options);

/* ready: once, when it serves (or was found running), or with why the first start failed (ERR_CANCELLED: it was stopped or
 * given up meanwhile); later failures are logged and retried. While one is being stopped the next starts behind it. */
void manager_child_start(struct manager_child *m, void (*ready)(void *data, const struct error *err), void *data);

/* SIGHUP: read certificates again. */
void manager_child_reload(struct manager_child *m);

/* Do not wait any longer: ready gets ERR_CANCELLED, the manager goes on. */
void manager_child_give_up(struct manager_child *m);

/* Why it does not serve, as it last said or ended; "" = it does, or has not been started. */
const char *manager_child_error(const struct manager_child *m);

/* SIGTERM, SIGKILL after 10 s; stopped (of every call) when it is gone. It is not started again until
 * manager_child_start. */
void manager_child_stop(struct manager_child *m, void (*stopped)(void *data), void *data);

/* The agent ends: the manager goes on. No ready and no stopped any more. */
void manager_child_close(struct manager_child *m, void (*closed)(void *data), void *data);
