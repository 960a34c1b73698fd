/*
 * plan - the next step of one migration (docs/adr/0019-one-copy-runs.md). Pure: what is known of both ends goes in, what
 * the leader writes comes out.
 *
 * NEW is not its matter (migrator.c looks for a place), and what has come to an end stays as it is.
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>
#include <stdint.h>

#define MIGRATION_PREPARE_NS INT64_C(600000000000)	/* images are pulled in it */
#define MIGRATION_COPY_DEFAULT_NS INT64_C(600000000000) /* options.timeout */
#define MIGRATION_FREEZE_NS INT64_C(60000000000)
#define MIGRATION_SWITCH_NS INT64_C(60000000000)
#define MIGRATION_MESSAGE_MAX 512

/* One end as the cluster knows it. */
struct migration_end {
	const pb_task *task;		   /* NULL = there is none (any more) */
	const pb_node *node;		   /* NULL = it was removed */
	const pb_migration_report *report; /* NULL = nothing was heard */
};

/* What becomes of an end's task. */
enum migration_fate {
	FATE_STAY,     /* as it is */
	FATE_RELEASE,  /* it is moved no more: the orchestrator's again */
	FATE_SHUTDOWN, /* it is elsewhere */
	FATE_REMOVE,   /* it was never the slot's */
};

struct migration_verdict {
	int phase;			     /* the next one; the same: nothing to write */
	char message[MIGRATION_MESSAGE_MAX]; /* "" = the one that it has stays */
	enum migration_fate source, target;
	int64_t look_at; /* wall time at which time alone changes something; INT64_MAX = never */
};

/*
 * stop  why the slot is needed otherwise ("the service was removed"); NULL = nobody minds. It ends a migration up to
 *       FREEZE; behind it the container goes where it goes, and what was wished happens there.
 * now   wall clock
 */
void migration_plan(const pb_migration *m, const struct migration_end *source, const struct migration_end *target, const char *stop,
		    int64_t now, struct migration_verdict *ret);

/* When its phase is given up (INT64_MAX: it has no deadline). NEW waits as long as the copying may take. */
int64_t migration_deadline(const pb_migration *m);
/* "PREPARE", ...; static. */
const char *migration_phase_name(int phase);
