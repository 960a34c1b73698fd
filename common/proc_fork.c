#include "common/proc_fork.h"

#include "common/error.h"
#include "common/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define STACK_BYTES (128u << 10)
#define KERNEL_SIGNALS 64
#define MAX_FDS 64

enum step { STEP_OK, STEP_DIE_SIGNAL, STEP_SESSION, STEP_DESCRIPTORS, STEP_CWD, STEP_EXEC };

static const char *const step_names[] = {
	[STEP_DIE_SIGNAL] = "set the parent death signal of",
	[STEP_SESSION] = "start a session for",
	[STEP_DESCRIPTORS] = "pass descriptors to",
	[STEP_CWD] = "enter the working directory of",
	[STEP_EXEC] = "execute",
};

struct report {
	int step;
	int errno_value;
};

struct child {
	const struct proc_fork_options *options;
	pid_t parent;
	int report_fd; /* close-on-exec: end of file means executed */
};

/* struct sigaction as the kernel has it; libc's wrapper may keep tables, which we share. */
struct kernel_sigaction {
	uintptr_t handler;
	unsigned long flags;
	uintptr_t restorer;
	uint64_t mask;
};

/*
 * Everything from here to child_main() runs in the child while it shares our memory and we stand
 * still: system calls only, no library state, no exit handlers, nothing that a sanitizer counts.
 */
#define CHILD_SIDE __attribute__((no_sanitize("address", "thread", "undefined")))

CHILD_SIDE static void reset_signals(void)
{
	const struct kernel_sigaction act = {
		0}; /* SIG_DFL, also for what we ignore: exec keeps SIG_IGN */
	const uint64_t none = 0;

	for (int sig = 1; sig <= KERNEL_SIGNALS; sig++) {
		if (sig != SIGKILL && sig != SIGSTOP)
			syscall(SYS_rt_sigaction, sig, &act, NULL, sizeof(act.mask));
	}
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none));
}

/* Put the descriptors in place: first all out of the way, then each to its number. */
CHILD_SIDE static int place_fds(struct child *c)
{
	const struct proc_fork_options *o = c->options;
	int moved[MAX_FDS];
	long fd;

	fd = syscall(SYS_fcntl, c->report_fd, F_DUPFD_CLOEXEC, o->n_fds);
	if (fd < 0)
		return -1;
	c->report_fd = (int)fd;

	for (unsigned i = 0; i < o->n_fds; i++) {
		fd = syscall(SYS_fcntl, o->fds[i], F_DUPFD_CLOEXEC, o->n_fds);
		if (fd < 0)
			return -1;
		moved[i] = (int)fd;
	}
	for (unsigned i = 0; i < o->n_fds; i++) {
		if (syscall(SYS_dup3, moved[i], i, 0) < 0)
			return -1;
	}

	/* Whatever some library opened without close-on-exec. A kernel that cannot is no reason to
	 * fail. */
	syscall(SYS_close_range, o->n_fds, ~0u, CLOSE_RANGE_CLOEXEC);
	return 0;
}

CHILD_SIDE static int set_up(struct child *c)
{
	const struct proc_fork_options *o = c->options;

	if (o->die_signal && syscall(SYS_prctl, PR_SET_PDEATHSIG, o->die_signal, 0, 0, 0) < 0)
		return STEP_DIE_SIGNAL;
	/* The parent may have died before the line above: nobody would send the signal. */
	if (o->die_signal && syscall(SYS_getppid) != c->parent)
		return STEP_DIE_SIGNAL;
	if (o->new_session ? syscall(SYS_setsid) < 0 : syscall(SYS_setpgid, 0, 0) < 0)
		return STEP_SESSION;
	if (place_fds(c) < 0)
		return STEP_DESCRIPTORS;
	if (o->cwd && syscall(SYS_chdir, o->cwd) < 0)
		return STEP_CWD;

	reset_signals();
	syscall(SYS_execve, o->path, o->argv, o->env);
	return STEP_EXEC;
}

CHILD_SIDE static int child_main(void *data)
{
	struct child *c = data;
	struct report report;

	report.step = set_up(c);
	report.errno_value = errno;
	syscall(SYS_write, c->report_fd, &report, sizeof(report));
	return 127; /* clone()'s trampoline exits with it: no exit handlers run */
}

static int reap_failed(pid_t pid, int report_fd, const struct proc_fork_options *o,
		       struct error *err)
{
	struct report report;
	ssize_t n;

	do
		n = read(report_fd, &report, sizeof(report));
	while (n < 0 && errno == EINTR);
	if (n == 0)
		return 0;

	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (n != sizeof(report) || report.step < STEP_DIE_SIGNAL || report.step > STEP_EXEC)
		return error_set(err, ERR_INTERNAL, "start %s: the child ended early", o->path);
	return error_set_errno(err, report.errno_value, "%s %s", step_names[report.step],
			       report.step == STEP_CWD ? o->cwd : o->path);
}

pid_t proc_fork(const struct proc_fork_options *options, struct error *err)
{
	_cleanup_close_ int read_fd = -1;
	struct child c = {.options = options, .parent = getpid()};
	sigset_t all, before;
	int fds[2], saved;
	char *stack;
	pid_t pid;

	if (options->n_fds < 3 || options->n_fds > MAX_FDS)
		return error_set(err, ERR_INVALID,
				 "%u descriptors for a child, accepted are 3 to %u", options->n_fds,
				 MAX_FDS);
	if (pipe2(fds, O_CLOEXEC) < 0)
		return error_set_errno(err, errno, "pipe for %s", options->path);
	read_fd = fds[0];
	c.report_fd = fds[1];

	stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (stack == MAP_FAILED) {
		saved = errno;
		close(fds[1]);
		return error_set_errno(err, saved, "stack for %s", options->path);
	}

	/* No handler of ours may run in the child, where it would see our memory. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	pid = clone(child_main, stack + STACK_BYTES, CLONE_VM | CLONE_VFORK | SIGCHLD, &c);
	saved = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);

	munmap(stack, STACK_BYTES);
	close(fds[1]);
	if (pid < 0)
		return error_set_errno(err, saved, "start %s", options->path);
	return reap_failed(pid, read_fd, options, err) < 0 ? -1 : pid;
}
