/*
 * cgroup - what the kernel's control groups can do here, and what happened in a container's one.
 * Short blocking reads of kernel files; any thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum cgroup_mode { CGROUP_V1, CGROUP_V2, CGROUP_HYBRID };

enum cgroup_mode cgroup_mode(void);
const char *cgroup_mode_name(enum cgroup_mode mode); /* "v1", "v2", "hybrid" */

/* Is there a controller ("cpu", "memory", "pids") that limits can be set with? */
bool cgroup_has(enum cgroup_mode mode, const char *controller);

/* Can swap be limited, and is there any? */
bool cgroup_limits_swap(enum cgroup_mode mode);

/* Has the kernel killed a process of this group for want of memory? path: "/parent/id". */
bool cgroup_oom_killed(enum cgroup_mode mode, const char *path);

/* Remove a group's directories in all hierarchies (missing is fine), after killing who is left in
 * them. */
void cgroup_remove(enum cgroup_mode mode, const char *path);
/* Remove them only where nothing is in them. */
void cgroup_remove_empty(enum cgroup_mode mode, const char *path);

/* Kill those members of a container's group that belong to the session or process group of this process, and itself. */
void cgroup_kill_session(enum cgroup_mode mode, const char *path, int64_t pid);
