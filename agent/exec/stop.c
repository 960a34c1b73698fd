#include "agent/exec/internal.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>

/*
 * Signals go straight to the container's first process, as `runtime kill` sends them, without
 * starting a process for it. The descriptor names this process and never a later one with its
 * number.
 */
int container_open_pidfd(struct container *c)
{
	mem_closep(&c->pidfd);
	if (c->pid <= 0)
		return -1;
	c->pidfd = file_fd_high((int)syscall(SYS_pidfd_open, (pid_t)c->pid, 0));
	if (c->pidfd >= 0 && c->pid_start && proc_start_time((pid_t)c->pid) != c->pid_start)
		mem_closep(&c->pidfd);
	return c->pidfd < 0 ? -1 : 0;
}

int container_send_signal(struct container *c, int signum)
{
	if (c->pidfd < 0)
		return -1;
	if (syscall(SYS_pidfd_send_signal, c->pidfd, signum, NULL, 0) == 0 || errno == ESRCH)
		return 0;
	log_warn("container_signal", kv_str("task", c->id), kv_i64("signal", signum),
		 kv_str("error", strerror(errno)));
	return -1;
}

static void on_grace_over(uv_timer_t *timer)
{
	struct container *c = container_of(timer, struct container, stop_timer);

	log_info("container_killed", kv_str("task", c->id),
		 kv_str("why", "still there after the grace period"));
	container_send_signal(c, SIGKILL);
}

void container_stop(struct container *c, int64_t grace_ns)
{
	int64_t deadline = clock_mono_ns() + MAX(grace_ns, INT64_C(0));
	bool first = c->stop_deadline == 0;

	if (c->phase == PHASE_STARTING)
		c->stop_wanted = true;
	if (c->phase != PHASE_RUNNING)
		return;
	if (!first && deadline >= c->stop_deadline)
		return;
	c->stop_deadline = deadline;
	if (c->freezing) { /* its code does not run again: there is nothing to be told, nothing to wait for */
		container_send_signal(c, SIGKILL);
		return;
	}
	if (first)
		container_send_signal(c, c->stop_signal);
	loop_timer_in(&c->stop_timer, MAX(grace_ns, INT64_C(0)), on_grace_over);
}

void container_kill(struct container *c, int signum)
{
	if (c->phase == PHASE_RUNNING)
		container_send_signal(c, signum);
}
