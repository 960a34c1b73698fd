/*
 * facts - do source and target of a migration go together? What each finds out of itself, and the comparison, which is pure.
 */
#pragma once
#include "proto/pb.h"

#include <stdint.h>

struct error;

/* Clocks further apart than this are not what a container should wake up with. */
#define FACTS_CLOCK_NS INT64_C(5000000000)

/* Of this node: kernel, machine, CPU flags, clock. criu: as the probe found it. Reads small files of /proc. */
Skein__MoveFacts *facts_here(const char *criu);
/* What of the host a task's container is given: sources of bind mounts. */
void facts_add_task(Skein__MoveFacts *facts, const pb_task *task);

/* What the target can say besides. */
struct facts_target {
	uint64_t free_memory, free_disk; /* bytes */
	bool (*exists)(const char *path);
};
/*
 * Errors: ERR_PRECONDITION what does not fit, in words for an operator.
 */
int facts_compare(const Skein__MoveFacts *source, const Skein__MoveFacts *target, const struct facts_target *more, struct error *err);
/* MemAvailable of /proc/meminfo's text, in bytes; 0 = not there. Pure. */
uint64_t facts_parse_available(const char *meminfo);
