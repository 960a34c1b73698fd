#include "agent/exec/seccomp.h"

#include "common/mem.h"

#include <errno.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * Names are those of libseccomp; a runtime leaves out what its version does not know, and what
 * the architecture does not have. io_uring is not here: it bypasses the filter (Docker dropped it,
 * too).
 */
static const char allowed[] =
	"accept accept4 access adjtimex alarm bind brk cachestat capget capset chdir "
	"chmod chown chown32 clock_adjtime clock_adjtime64 clock_getres "
	"clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep "
	"clock_nanosleep_time64 close close_range connect copy_file_range creat dup dup2 "
	"dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 "
	"epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group "
	"faccessat faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir "
	"fchmod fchmodat fchmodat2 fchown fchown32 fchownat fcntl fcntl64 fdatasync "
	"fgetxattr flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 "
	"fstatfs fstatfs64 fsync ftruncate ftruncate64 futex futex_requeue futex_time64 "
	"futex_wait futex_waitv futex_wake futimesat getcpu getcwd getdents getdents64 "
	"getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 "
	"getitimer getpeername getpgid getpgrp getpid getppid getpriority getrandom "
	"getresgid getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage "
	"getsid getsockname getsockopt get_thread_area gettid gettimeofday getuid "
	"getuid32 getxattr inotify_add_watch inotify_init inotify_init1 inotify_rm_watch "
	"io_cancel ioctl io_destroy io_getevents io_pgetevents io_pgetevents_time64 "
	"ioprio_get ioprio_set io_setup io_submit ipc kill landlock_add_rule "
	"landlock_create_ruleset landlock_restrict_self lchown lchown32 lgetxattr link "
	"linkat listen listxattr llistxattr _llseek lremovexattr lseek lsetxattr lstat "
	"lstat64 madvise map_shadow_stack membarrier memfd_create memfd_secret mincore "
	"mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 mprotect "
	"mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 "
	"mq_timedsend mq_timedsend_time64 mq_unlink mremap msgctl msgget msgrcv msgsnd "
	"msync munlock munlockall munmap name_to_handle_at nanosleep newfstatat "
	"_newselect open openat openat2 pause pidfd_open pidfd_send_signal pipe pipe2 "
	"pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv "
	"preadv2 prlimit64 process_mrelease process_vm_readv process_vm_writev pselect6 "
	"pselect6_time64 ptrace pwrite64 pwritev pwritev2 read readahead readlink "
	"readlinkat readv recv recvfrom recvmmsg recvmmsg_time64 recvmsg remap_file_pages "
	"removexattr rename renameat renameat2 restart_syscall rmdir rseq rt_sigaction "
	"rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend "
	"rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity "
	"sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min "
	"sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 "
	"sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield "
	"seccomp select semctl semget semop semtimedop semtimedop_time64 send sendfile "
	"sendfile64 sendmmsg sendmsg sendto setfsgid setfsgid32 setfsuid setfsuid32 "
	"setgid setgid32 setgroups setgroups32 setitimer setpgid setpriority setregid "
	"setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 "
	"setrlimit set_robust_list setsid setsockopt set_thread_area set_tid_address "
	"setuid setuid32 setxattr shmat shmctl shmdt shmget shutdown sigaltstack signalfd "
	"signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs "
	"statfs64 statx symlink symlinkat sync sync_file_range syncfs sysinfo tee tgkill "
	"time timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 "
	"timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 "
	"timerfd_settime timerfd_settime64 times tkill truncate truncate64 ugetrlimit "
	"umask uname unlink unlinkat utime utimensat utimensat_time64 utimes vfork "
	"vmsplice wait4 waitid waitpid write writev "
#if defined(__x86_64__)
	"arch_prctl modify_ldt "
#elif defined(__aarch64__)
	"arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls "
#elif defined(__riscv)
	"riscv_flush_icache "
#endif
	;

/* Open with the capability, without it denied like everything else. */
static const struct {
	unsigned cap;
	const char *names;
} by_cap[] = {
	{CAP_DAC_READ_SEARCH, "open_by_handle_at"},
	{CAP_SYS_ADMIN,
	 "bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie mount "
	 "mount_setattr move_mount open_tree perf_event_open quotactl quotactl_fd "
	 "setdomainname sethostname setns syslog umount umount2 unshare"},
	{CAP_SYS_BOOT, "reboot"},
	{CAP_SYS_CHROOT, "chroot"},
	{CAP_SYS_MODULE, "delete_module init_module finit_module"},
	{CAP_SYS_PACCT, "acct"},
	{CAP_SYS_PTRACE, "kcmp pidfd_getfd process_madvise"},
	{CAP_SYS_RAWIO, "iopl ioperm"},
	{CAP_SYS_TIME, "settimeofday stime clock_settime clock_settime64"},
	{CAP_SYS_TTY_CONFIG, "vhangup"},
	{CAP_SYS_NICE, "get_mempolicy mbind set_mempolicy set_mempolicy_home_node"},
	{CAP_SYSLOG, "syslog"},
	{CAP_BPF, "bpf"},
	{CAP_PERFMON, "perf_event_open"},
};

/* personality(2): Linux, UNAME26 and the 32-bit PER_LINUX32 of both, and the query. */
static const int64_t personalities[] = {0x0, 0x0008, 0x20000, 0x20008, 0xffffffff};

static const char *const architectures[] = {
#if defined(__x86_64__)
	"SCMP_ARCH_X86_64",
	"SCMP_ARCH_X86",
#elif defined(__aarch64__)
	"SCMP_ARCH_AARCH64",
	"SCMP_ARCH_ARM",
#elif defined(__riscv)
	"SCMP_ARCH_RISCV64",
#else
#error "name this architecture for seccomp"
#endif
};

/*
 * Few kernels run x32 programs, and compiling its part of the filter costs each start a fifth of
 * its CPU time. Under a filter of our own the question could be deadly: then it is not asked.
 */
static bool kernel_runs_x32(void)
{
#if defined(__x86_64__)
	const long x32_bit = 0x40000000;

	return prctl(PR_GET_SECCOMP) != 0 || syscall(x32_bit | SYS_getpid) > 0;
#else
	return false;
#endif
}

static json_t *split(const char *words)
{
	json_t *list = json_array();

	for (const char *p = words; *p;) {
		size_t len = strcspn(p, " ");

		json_array_append_new(list, json_stringn(p, len));
		p += len;
		p += strspn(p, " ");
	}
	return list;
}

static void allow(json_t *rules, const char *words)
{
	json_array_append_new(
		rules, json_pack("{s:o,s:s}", "names", split(words), "action", "SCMP_ACT_ALLOW"));
}

static void allow_if(json_t *rules, const char *name, int64_t value, int64_t value_two,
		     const char *op)
{
	json_array_append_new(rules, json_pack("{s:[s],s:s,s:[{s:i,s:I,s:I,s:s}]}", "names", name,
					       "action", "SCMP_ACT_ALLOW", "args", "index", 0,
					       "value", (json_int_t)value, "valueTwo",
					       (json_int_t)value_two, "op", op));
}

json_t *seccomp_profile(uint64_t caps)
{
	json_t *rules = json_array(), *archs = json_array();
	bool admin = caps & UINT64_C(1) << CAP_SYS_ADMIN;

	for (size_t i = 0; i < ARRAY_SIZE(architectures); i++)
		json_array_append_new(archs, json_string(architectures[i]));
	if (kernel_runs_x32())
		json_array_append_new(archs, json_string("SCMP_ARCH_X32"));

	allow(rules, allowed);
	allow_if(rules, "socket", AF_VSOCK, 0, "SCMP_CMP_NE");
	for (size_t i = 0; i < ARRAY_SIZE(personalities); i++)
		allow_if(rules, "personality", personalities[i], 0, "SCMP_CMP_EQ");
	for (size_t i = 0; i < ARRAY_SIZE(by_cap); i++)
		if (caps & UINT64_C(1) << by_cap[i].cap)
			allow(rules, by_cap[i].names);
	if (!admin) {
		allow_if(rules, "clone",
			 CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |
				 CLONE_NEWNET | CLONE_NEWCGROUP,
			 0, "SCMP_CMP_MASKED_EQ");
		/* Its flags are behind a pointer: ENOSYS makes libc fall back to clone(2). */
		json_array_append_new(rules,
				      json_pack("{s:[s],s:s,s:i}", "names", "clone3", "action",
						"SCMP_ACT_ERRNO", "errnoRet", ENOSYS));
	}
	return json_pack("{s:s,s:i,s:o,s:o}", "defaultAction", "SCMP_ACT_ERRNO", "defaultErrnoRet",
			 EPERM, "architectures", archs, "syscalls", rules);
}
