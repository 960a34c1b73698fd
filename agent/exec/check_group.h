/*
 * check_group - the control group of a container's health checks, below the container's own: what a check starts stays in it,
 * whatever session, process group or parent it moves to. Nothing is limited by it.
 *
 * Blocking (kernel files; it waits for killed processes): any thread but the loop's.
 */
#pragma once
#include "agent/exec/cgroup.h"

/*
 * What the runtime's `exec` is told to put a process into the group; NULL: there are no such groups here.
 *   runtime  its path; on cgroup v1 only runc can name a single hierarchy
 */
const char *check_group_option(enum cgroup_mode mode, const char *runtime);

/* Make it, when it is not there. path: the container's, "/parent/id". A failure is told by the runtime, which cannot use it. */
void check_group_make(enum cgroup_mode mode, const char *path);

/* Kill all that is in it, until nothing is. Returns whether there was anything. */
bool check_group_kill(enum cgroup_mode mode, const char *path);
