/*
 * proc_fork - the blocking half of proc_spawn(): vfork, set the child up, exec. Used by proc.c only.
 */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

struct error;

struct proc_fork_options {
	const char *path;          /* of the program, already looked up */
	const char *const *argv;
	const char *const *env;
	const char *cwd;           /* NULL = as is */
	const int *fds;            /* become 0, 1, 2, ...; the sources are close-on-exec */
	unsigned n_fds;            /* at least 3 */
	int die_signal;
	bool new_session;          /* else a process group of its own */
};

/*
 * Costs the same for a small and a large process: memory is shared until exec, not copied.
 * Returns the pid when the program was executed; -1 and err (with the step that failed) if not,
 * in which case nothing is left behind. The caller reaps the child.
 */
pid_t proc_fork(const struct proc_fork_options *options, struct error *err);
