/*
 * runtime - command lines of conmon and of the OCI runtime, and what they say. Pure but for
 * runtime_find(). No secret may come in here: command lines are readable by everybody on the host.
 */
#pragma once
#include "common/str.h"

#include <stdbool.h>
#include <stdint.h>

/* Options of the runtime that stand before every verb: its state directory, JSON messages. */
void runtime_args(struct strv *argv, const char *runtime, const char *root);

struct conmon_args {
	const char *conmon, *runtime, *root; /* root: the runtime's state directory */
	const char *id, *bundle, *run_dir;
	bool tty;
	const char *restore; /* images to restore from; NULL = create */
};
/* conmon's command line; it runs with the bundle as working directory (the log path is relative).
 */
void runtime_conmon_args(struct strv *argv, const struct conmon_args *args);

/*
 * What conmon writes to its sync pipe: {"pid": N} once the container is created, {"pid": -1,
 * "message": ...} when the runtime refused. Returns the pid or -1; *ret_message (yours, may be
 * NULL) is set when there is one.
 */
int64_t runtime_parse_sync(const char *line, size_t len, char **ret_message);

/* The human part of a runtime's stderr: the last message, without time and level. Yours. */
char *runtime_message(const char *text);

/* "1.1.5" out of `--version` output: first word that begins with a digit. Yours; "" when there is
 * none. */
char *runtime_version(const char *text);

/* "running", "created", "stopped" of `state` output; yours, NULL when it is something else. */
char *runtime_parse_state(const char *text, size_t len);

/* Path of a program by path or name (PATH, then the sbin directories); yours, NULL when there is
 * none. */
char *runtime_find(const char *name);
