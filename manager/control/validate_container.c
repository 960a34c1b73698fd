#include "validate.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/imageref.h"
#include "common/mem.h"
#include "common/str.h"

#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#define HEALTH_SPAN_MIN_NS NS_PER_MS
#define HEALTH_RETRIES_MAX 1000000
#define WORDS_MAX 1024
#define ENV_MAX 1024
#define ULIMITS_MAX 32
#define SYSCTLS_MAX 128
#define CAPS_MAX 64
#define GROUPS_MAX 64
#define HOSTNAME_MAX 253
#define USER_MAX 256
#define PATH_MAX_BYTES 4095
#define AUTH_MAX_BYTES (32u << 10)
#define SYSCTL_VALUE_MAX 1024

static bool is_one_of(const char *s, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(s, list[i]))
			return true;
	return false;
}

static int check_count(const char *field, size_t n, size_t max, struct error *err)
{
	if (n <= max)
		return 0;
	return error_set(err, ERR_EXHAUSTED, "task.container.%s: %zu of them: at most %zu", field,
			 n, max);
}

static int check_image(const pb_container_spec *c, struct error *err)
{
	struct imageref ref;

	if (str_empty(c->image))
		return error_set(
			err, ERR_INVALID,
			"task.container.image: is missing; [host[:port]/]path[:tag][@digest]");
	if (imageref_parse(c->image, &ref, err) < 0)
		return error_wrap(err, "task.container.image");
	return 0;
}

static int check_env(const pb_container_spec *c, struct error *err)
{
	if (check_count("env", c->n_env, ENV_MAX, err) < 0)
		return -1;
	for (size_t i = 0; i < c->n_env; i++) {
		const char *eq = strchr(c->env[i], '=');
		size_t len = eq ? (size_t)(eq - c->env[i]) : 0;

		if (!len || strcspn(c->env[i], " \t\n") < len)
			return validate_refuse(err, c->env[i],
					       "must be NAME=value, without spaces in the name",
					       "task.container.env[%zu]", i);
	}
	return 0;
}

/* Templates are filled in on the node, where the result is checked. */
static int check_hostname(const char *name, struct error *err)
{
	if (str_empty(name) || (strstr(name, "{{") && strlen(name) <= HOSTNAME_MAX) ||
	    validate_is_hostname(name))
		return 0;
	return validate_refuse(err, name,
			       "must be labels of letters, digits and inner -, joined by dots (RFC 1123)",
			       "task.container.hostname");
}

static int check_user(const pb_container_spec *c, struct error *err)
{
	const char *colon = strchr(c->user, ':');

	if (strlen(c->user) > USER_MAX || strpbrk(c->user, " \t\n") || c->user[0] == ':' ||
	    (colon && (!colon[1] || strchr(colon + 1, ':'))))
		return validate_refuse(err, c->user, "must be user or user:group, names or numbers",
				       "task.container.user");
	if (check_count("groups", c->n_groups, GROUPS_MAX, err) < 0)
		return -1;
	for (size_t i = 0; i < c->n_groups; i++)
		if (str_empty(c->groups[i]) || strlen(c->groups[i]) > USER_MAX ||
		    strpbrk(c->groups[i], ": \t\n"))
			return validate_refuse(err, c->groups[i],
					       "must be the name or number of a group",
					       "task.container.groups[%zu]", i);
	return 0;
}

static int check_stop_signal(const char *signal, struct error *err)
{
	static const char *const names[] = {
		"HUP",	 "INT",	 "QUIT", "ILL",	 "TRAP", "ABRT",  "BUS",    "FPE",    "KILL",
		"USR1",	 "SEGV", "USR2", "PIPE", "ALRM", "TERM",  "STKFLT", "CHLD",   "CONT",
		"STOP",	 "TSTP", "TTIN", "TTOU", "URG",	 "XCPU",  "XFSZ",   "VTALRM", "PROF",
		"WINCH", "IO",	 "POLL", "PWR",	 "SYS",	 "RTMIN", "RTMAX",
	};
	const char *name = str_starts(signal, "SIG") ? signal + 3 : signal;
	uint64_t number;

	if (str_empty(signal) || is_one_of(name, names, ARRAY_SIZE(names)))
		return 0;
	if (str_parse_u64(signal, &number, NULL) == 0 && number >= 1 && number <= 64)
		return 0;
	if (str_starts(name, "RTMIN+") && str_parse_u64(name + 6, &number, NULL) == 0 &&
	    number <= 30)
		return 0;
	if (str_starts(name, "RTMAX-") && str_parse_u64(name + 6, &number, NULL) == 0 &&
	    number <= 30)
		return 0;
	return validate_refuse(err, signal, "must be a signal: SIGTERM, TERM, 15, SIGRTMIN+3",
			       "task.container.stop_signal");
}

static int check_ulimits(const pb_container_spec *c, struct error *err)
{
	static const char *const names[] = {"core",    "cpu",	   "data",   "fsize",	   "locks",
					    "memlock", "msgqueue", "nice",   "nofile",	   "nproc",
					    "rss",     "rtprio",   "rttime", "sigpending", "stack"};

	if (check_count("ulimits", c->n_ulimits, ULIMITS_MAX, err) < 0)
		return -1;
	for (size_t i = 0; i < c->n_ulimits; i++) {
		const pb_ulimit *u = c->ulimits[i];

		if (!is_one_of(u->name, names, ARRAY_SIZE(names)))
			return validate_refuse(
				err, u->name,
				"must be one of core, cpu, data, fsize, locks, memlock, msgqueue, "
				"nice, nofile, nproc, rss, rtprio, rttime, sigpending, stack",
				"task.container.ulimits[%zu]", i);
		if (u->soft < -1 || u->hard < -1 ||
		    (u->hard != -1 && (u->soft == -1 || u->soft > u->hard)))
			return error_set(err, ERR_INVALID,
					 "task.container.ulimits[%zu] %s=%" PRId64 ":%" PRId64
					 ": must be -1 (unlimited) or more, soft not above hard",
					 i, u->name, u->soft, u->hard);
		for (size_t k = 0; k < i; k++)
			if (str_eq(c->ulimits[k]->name, u->name))
				return validate_refuse(err, u->name, "is there twice",
						       "task.container.ulimits[%zu]", i);
	}
	return 0;
}

/* Only what belongs to a namespace of the container: everything else would change the host. */
static int check_sysctl(const pb_kv *sysctl, size_t i, const char *network, struct error *err)
{
	static const char *const ipc[] = {"kernel.msgmax", "kernel.msgmnb",	    "kernel.msgmni",
					  "kernel.sem",	   "kernel.shmall",	    "kernel.shmmax",
					  "kernel.shmmni", "kernel.shm_rmid_forced"};
	const char *name = sysctl->key;
	bool is_net = str_starts(name, "net.");

	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("._-/", *p))
			return validate_refuse(err, name, "must be letters, digits and . _ - /",
					       "task.container.sysctls[%zu]", i);
	if (strstr(name, "..") || strlen(name) > 256)
		return validate_refuse(err, name, "must be a name like net.core.somaxconn",
				       "task.container.sysctls[%zu]", i);
	if (!is_net && !str_starts(name, "fs.mqueue.") && !is_one_of(name, ipc, ARRAY_SIZE(ipc)))
		return validate_refuse(
			err, name,
			"must be net.*, fs.mqueue.*, kernel.msg{max,mnb,mni}, kernel.sem or "
			"kernel.shm{all,max,mni,_rmid_forced}",
			"task.container.sysctls[%zu]", i);
	if (is_net && str_eq(network, "host"))
		return validate_refuse(err, name,
				       "would change the host, whose network the service uses",
				       "task.container.sysctls[%zu]", i);
	if (str_empty(sysctl->value) || strlen(sysctl->value) > SYSCTL_VALUE_MAX)
		return validate_refuse(err, sysctl->value, "must be 1 to 1024 bytes",
				       "task.container.sysctls[%zu] %s", i, name);
	return 0;
}

static int check_sysctls(const pb_container_spec *c, const char *network, struct error *err)
{
	if (check_count("sysctls", c->n_sysctls, SYSCTLS_MAX, err) < 0)
		return -1;
	for (size_t i = 0; i < c->n_sysctls; i++)
		if (check_sysctl(c->sysctls[i], i, network, err) < 0)
			return -1;
	return 0;
}

static int check_caps(const char *field, char *const *caps, size_t n, struct error *err)
{
	static const char *const names[] = {
		"CHOWN",
		"DAC_OVERRIDE",
		"DAC_READ_SEARCH",
		"FOWNER",
		"FSETID",
		"KILL",
		"SETGID",
		"SETUID",
		"SETPCAP",
		"LINUX_IMMUTABLE",
		"NET_BIND_SERVICE",
		"NET_BROADCAST",
		"NET_ADMIN",
		"NET_RAW",
		"IPC_LOCK",
		"IPC_OWNER",
		"SYS_MODULE",
		"SYS_RAWIO",
		"SYS_CHROOT",
		"SYS_PTRACE",
		"SYS_PACCT",
		"SYS_ADMIN",
		"SYS_BOOT",
		"SYS_NICE",
		"SYS_RESOURCE",
		"SYS_TIME",
		"SYS_TTY_CONFIG",
		"MKNOD",
		"LEASE",
		"AUDIT_WRITE",
		"AUDIT_CONTROL",
		"SETFCAP",
		"MAC_OVERRIDE",
		"MAC_ADMIN",
		"SYSLOG",
		"WAKE_ALARM",
		"BLOCK_SUSPEND",
		"AUDIT_READ",
		"PERFMON",
		"BPF",
		"CHECKPOINT_RESTORE",
	};

	if (check_count(field, n, CAPS_MAX, err) < 0)
		return -1;
	for (size_t i = 0; i < n; i++) {
		const char *name = str_starts(caps[i], "CAP_") ? caps[i] + 4 : "";

		if (!str_eq(caps[i], "ALL") && !is_one_of(name, names, ARRAY_SIZE(names)))
			return validate_refuse(err, caps[i],
					       "must be ALL or a capability of capabilities(7), "
					       "like CAP_NET_ADMIN",
					       "task.container.%s[%zu]", field, i);
	}
	return 0;
}

static int check_dir(const char *dir, struct error *err)
{
	if (!str_empty(dir) && (dir[0] != '/' || strlen(dir) > PATH_MAX_BYTES))
		return validate_refuse(err, dir, "must be an absolute path", "task.container.dir");
	return 0;
}

static int check_span(const char *field, int64_t ns, struct error *err)
{
	if (ns && ns < HEALTH_SPAN_MIN_NS)
		return error_set(err, ERR_INVALID, "%s %" PRId64 " ns: must be 0 (the image's) or at least 1 ms", field, ns);
	return validate_duration(field, ns, err);
}

static int check_test(const pb_health_check *h, struct error *err)
{
	const char *kind = h->n_test ? h->test[0] : "";
	size_t words = str_eq(kind, "CMD-SHELL") ? 2 : str_eq(kind, "NONE") ? 1 : 0;

	if (!h->n_test)
		return 0;
	if (!words && !str_eq(kind, "CMD"))
		return validate_refuse(err, kind, "must be CMD, CMD-SHELL or NONE", "task.container.health.test[0]");
	if (words ? h->n_test != words : h->n_test < 2)
		return error_set(err, ERR_INVALID, "task.container.health.test has %zu words: %s takes %s", h->n_test, kind,
				 words == 1 ? "none" : words == 2 ? "one line" : "a program and its arguments");
	if (words != 1 && str_empty(h->test[1]))
		return error_set(err, ERR_INVALID, "task.container.health.test[1] \"\": must name a command");
	return check_count("health.test", h->n_test, WORDS_MAX, err);
}

static int check_health(const pb_health_check *h, struct error *err)
{
	if (!h)
		return 0;
	if (check_test(h, err) < 0 || check_span("task.container.health.interval", h->interval, err) < 0 ||
	    check_span("task.container.health.timeout", h->timeout, err) < 0 ||
	    check_span("task.container.health.start_period", h->start_period, err) < 0 ||
	    check_span("task.container.health.start_interval", h->start_interval, err) < 0)
		return -1;
	if (h->retries > HEALTH_RETRIES_MAX)
		return error_set(err, ERR_INVALID, "task.container.health.retries %" PRIu32 ": must be 0 (the image's) to %d",
				 h->retries, HEALTH_RETRIES_MAX);
	return 0;
}

int validate_container(const pb_container_spec *c, const char *network, struct error *err)
{
	if (check_image(c, err) < 0 || check_count("command", c->n_command, WORDS_MAX, err) < 0 ||
	    check_count("args", c->n_args, WORDS_MAX, err) < 0 || check_env(c, err) < 0 ||
	    validate_labels("task.container.labels", c->labels, c->n_labels, err) < 0 ||
	    check_hostname(c->hostname, err) < 0 || check_user(c, err) < 0 ||
	    check_dir(c->dir, err) < 0 || check_stop_signal(c->stop_signal, err) < 0 ||
	    validate_duration("task.container.stop_grace_period", c->stop_grace_period, err) < 0 ||
	    validate_duration("task.container.ready_wait", c->ready_wait, err) < 0 || check_health(c->health, err) < 0 ||
	    validate_mounts(c, err) < 0 || check_ulimits(c, err) < 0 ||
	    check_sysctls(c, network, err) < 0 || validate_names(c, err) < 0 ||
	    check_caps("cap_add", c->cap_add, c->n_cap_add, err) < 0 ||
	    check_caps("cap_drop", c->cap_drop, c->n_cap_drop, err) < 0)
		return -1;
	if (c->n_command && str_empty(c->command[0]))
		return error_set(err, ERR_INVALID,
				 "task.container.command[0] \"\": must name a program");
	if (c->oom_score_adj < -1000 || c->oom_score_adj > 1000)
		return error_set(err, ERR_INVALID,
				 "task.container.oom_score_adj %" PRId32 ": must be -1000 to 1000",
				 c->oom_score_adj);
	if (strlen(c->registry_auth) > AUTH_MAX_BYTES)
		return error_set(err, ERR_EXHAUSTED,
				 "task.container.registry_auth has %zu bytes: at most %u",
				 strlen(c->registry_auth), AUTH_MAX_BYTES);
	return 0;
}
