#include "agent/exec/caps.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <linux/capability.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>

/* In the order of linux/capability.h. */
static const char *const names[] = {
	"CAP_CHOWN",
	"CAP_DAC_OVERRIDE",
	"CAP_DAC_READ_SEARCH",
	"CAP_FOWNER",
	"CAP_FSETID",
	"CAP_KILL",
	"CAP_SETGID",
	"CAP_SETUID",
	"CAP_SETPCAP",
	"CAP_LINUX_IMMUTABLE",
	"CAP_NET_BIND_SERVICE",
	"CAP_NET_BROADCAST",
	"CAP_NET_ADMIN",
	"CAP_NET_RAW",
	"CAP_IPC_LOCK",
	"CAP_IPC_OWNER",
	"CAP_SYS_MODULE",
	"CAP_SYS_RAWIO",
	"CAP_SYS_CHROOT",
	"CAP_SYS_PTRACE",
	"CAP_SYS_PACCT",
	"CAP_SYS_ADMIN",
	"CAP_SYS_BOOT",
	"CAP_SYS_NICE",
	"CAP_SYS_RESOURCE",
	"CAP_SYS_TIME",
	"CAP_SYS_TTY_CONFIG",
	"CAP_MKNOD",
	"CAP_LEASE",
	"CAP_AUDIT_WRITE",
	"CAP_AUDIT_CONTROL",
	"CAP_SETFCAP",
	"CAP_MAC_OVERRIDE",
	"CAP_MAC_ADMIN",
	"CAP_SYSLOG",
	"CAP_WAKE_ALARM",
	"CAP_BLOCK_SUSPEND",
	"CAP_AUDIT_READ",
	"CAP_PERFMON",
	"CAP_BPF",
	"CAP_CHECKPOINT_RESTORE",
};

#define BIT(cap) (UINT64_C(1) << (cap))

const char *caps_name(unsigned number)
{
	return number < ARRAY_SIZE(names) ? names[number] : NULL;
}

uint64_t caps_default(void)
{
	return BIT(CAP_CHOWN) | BIT(CAP_DAC_OVERRIDE) | BIT(CAP_FSETID) | BIT(CAP_FOWNER) |
	       BIT(CAP_MKNOD) | BIT(CAP_NET_RAW) | BIT(CAP_SETGID) | BIT(CAP_SETUID) |
	       BIT(CAP_SETFCAP) | BIT(CAP_SETPCAP) | BIT(CAP_NET_BIND_SERVICE) |
	       BIT(CAP_SYS_CHROOT) | BIT(CAP_KILL) | BIT(CAP_AUDIT_WRITE);
}

static int find(const char *name)
{
	const char *bare = strncasecmp(name, "CAP_", 4) == 0 ? name + 4 : name;

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (strcasecmp(names[i] + 4, bare) == 0)
			return (int)i;
	return -1;
}

/* The named ones as a mask; ALL (or CAP_ALL) is told apart because it changes the rule. */
static int parse(const char *what, char *const *list, size_t n, uint64_t *ret_mask, bool *ret_all,
		 struct error *err)
{
	*ret_mask = 0;
	*ret_all = false;
	for (size_t i = 0; i < n; i++) {
		int cap;

		if (strcasecmp(list[i], "ALL") == 0 || strcasecmp(list[i], "CAP_ALL") == 0) {
			*ret_all = true;
			continue;
		}
		cap = find(list[i]);
		if (cap < 0)
			return error_set(
				err, ERR_INVALID,
				"%s: unknown capability \"%.64s\" (accepted: ALL or a name of "
				"capabilities(7) such as CAP_NET_ADMIN)",
				what, list[i]);
		*ret_mask |= BIT(cap);
	}
	return 0;
}

int caps_build(char *const *add, size_t n_add, char *const *drop, size_t n_drop, uint64_t available,
	       uint64_t *ret, struct error *err)
{
	uint64_t add_mask, drop_mask, missing;
	bool add_all, drop_all;

	if (parse("cap-add", add, n_add, &add_mask, &add_all, err) < 0 ||
	    parse("cap-drop", drop, n_drop, &drop_mask, &drop_all, err) < 0)
		return -1;

	missing = add_mask & ~available;
	if (missing)
		return error_set(
			err, ERR_INVALID,
			"cap-add: %s is not available on this node (the agent does not hold it)",
			caps_name((unsigned)__builtin_ctzll(missing)));

	if (add_all)
		*ret = available & ~drop_mask;
	else if (drop_all)
		*ret = add_mask;
	else
		*ret = (caps_default() & available & ~drop_mask) | add_mask;
	return 0;
}

uint64_t caps_available(void)
{
	uint64_t mask = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++)
		if (prctl(PR_CAPBSET_READ, i, 0, 0, 0) == 1)
			mask |= BIT(i);
	return mask;
}
