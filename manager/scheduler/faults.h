/*
 * faults - which nodes failed which service's tasks lately: FAULTS_MANY failures of one spec
 * version within FAULTS_WINDOW_NS make a node the last choice for it.
 *
 * Fed again and again from the tasks in the view (one failure counts once); remembers those that
 * history has dropped. A fresh one knows what the kept tasks tell.
 */
#pragma once
#include "proto/pb.h"

#include <stdint.h>

#define FAULTS_MANY 5
#define FAULTS_WINDOW_NS INT64_C(300000000000)

struct faults;

struct faults *faults_new(void);
void faults_free(struct faults *f);

/* Note a task when it failed (FAILED or REJECTED) on a node within the window. */
void faults_note(struct faults *f, const pb_task *task, int64_t now);
/* Failures of this version on this node within the window. */
unsigned faults_count(const struct faults *f, const char *service_id, uint64_t spec_version,
		      const char *node_id, int64_t now);
/* Forget what is older than the window. */
void faults_expire(struct faults *f, int64_t now);
