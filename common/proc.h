/*
 * proc - child processes on the loop, and foreign ones watched by pidfd.
 * Children get a clean environment and only the descriptors named; posix_spawn-like cost.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

struct error;
struct proc;

/* How a child or a watched process ended. */
struct proc_exit {
	int exit_code;      /* -1 when a signal ended it; for a process that is not our child: unknown = -1 */
	int signal;         /* 0 = none */
	bool timed_out;     /* killed because of timeout_ms */
	const char *out;    /* what was captured, NUL-terminated; valid during the callback */
	size_t out_len;
	const char *errout; /* the last bytes of stderr (at most max_capture), NUL-terminated */
	size_t errout_len;
};

typedef void (*proc_exit_cb)(void *data, struct proc *proc, const struct proc_exit *exit);
/* One line of output without its newline; longer lines come in parts of at most 4 KiB. */
typedef void (*proc_line_cb)(void *data, const char *line, bool is_stderr);

struct proc_options {
	const char *const *argv;      /* NULL-terminated; argv[0] is a path or is looked up in PATH */
	const char *const *env;       /* NULL-terminated; NULL = PATH, HOME, LANG=C.UTF-8 only */
	const char *cwd;              /* NULL = as is */
	const char *stdin_data;       /* written to the child's stdin, which is then closed; NULL = /dev/null */
	size_t stdin_len;
	size_t max_capture;           /* of stdout and of stderr, bytes; 0 = not captured (to our stderr if !on_line) */
	proc_line_cb on_line;         /* instead of capture */
	uint64_t timeout_ms;          /* SIGKILL to the process group after this long; 0 = none */
	int die_signal;               /* PR_SET_PDEATHSIG (when the calling thread ends); 0 = survives us */
	bool new_session;             /* setsid: survives and gets no signals of our terminal */
	const int *extra_fds;         /* inherited as 3, 4, ... */
	unsigned n_extra_fds;
	proc_exit_cb on_exit;         /* exactly once, on the loop thread, after all output; proc is freed behind it */
	void *data;
};

/*
 * Start a child. Returns NULL and err when it cannot be started (on_exit is not called then).
 * The returned pointer is valid until on_exit has returned.
 */
struct proc *proc_spawn(uv_loop_t *loop, const struct proc_options *options, struct error *err);

pid_t proc_pid(const struct proc *proc);
/* Signal to the process; harmless when it has ended. */
void proc_kill(struct proc *proc, int signum);
/*
 * Forget it: no callback any more; the child goes on (or dies with us if die_signal is set). Output that
 * was captured has no reader any more. Its handles close with the next turn of the loop; a child
 * is reaped at a later proc_spawn(), or by init when we end.
 */
void proc_detach(struct proc *proc);

/*
 * Watch a process that is not our child (pidfd_open(2)): on_exit once it is gone, with
 * exit_code -1. Errors: ERR_NOT_FOUND when there is no such process.
 *   start_time  field 22 of /proc/<pid>/stat, to be sure that the pid was not reused; 0 = do not check
 */
struct proc *proc_watch(uv_loop_t *loop, pid_t pid, uint64_t start_time, proc_exit_cb on_exit, void *data,
			struct error *err);
/* Start time of a process in clock ticks since boot, 0 when there is none. */
uint64_t proc_start_time(pid_t pid);
