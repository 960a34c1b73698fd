/*
 * containers - the tasks of this node as a scrape sees them. The table is the loop's; while a scrape is on the uv pool,
 * the loop does not touch it.
 */
#pragma once
#include "agent/net/stats.h"
#include "cgroup_reader.h"
#include "common/metrics/metrics.h"
#include "proto/pb.h"

#include <uthash.h>

#define IFACES_MAX 16 /* of one container; more networks are not counted */

struct iface {
	struct strbuf labels;          /* the container's, interface, network */
	char name[IFNAMSIZ];
	char *network;
	struct net_traffic traffic;
};

struct watched {
	UT_hash_handle hh;
	char *id;
	struct strbuf labels;          /* rendered once: what they say does not change */
	bool seen;                     /* in the look that is under way */
	bool running;
	int state;
	int health;                    /* HEALTH_NONE: it has no check; < 0: it has no process */
	int64_t started_at;            /* wall ns */
	int64_t cpu_limit_nano, mem_limit_bytes, pids_limit; /* 0 = none */
	uint64_t restarts;
	struct iface ifaces[IFACES_MAX];
	unsigned n_ifaces;
	bool opened;                   /* it was tried: once per container */
	struct cgroup_reader reader;
	struct usage usage;
	bool usable;                   /* usage is of this scrape */
};

struct containers {
	struct watched *all;
	enum cgroup_mode mode;
	char *cgroup_parent;
	char *node;                    /* host name */
	const char *const *label_keys;
};

void containers_init(struct containers *c, const char *cgroup_parent, const char *const *label_keys);
void containers_fini(struct containers *c);

/* A look at the tasks: begin, one note for each, end (what was not noted goes, its files are closed). Loop thread. */
void containers_begin(struct containers *c);
struct watched *containers_note(struct containers *c, const pb_task *task);
void containers_end(struct containers *c);
/* Traffic of all of them; sorted by task as net_stats has it. */
void containers_traffic(struct containers *c, const struct net_stats *stats);

/* Read every running one's files; opens what is new. Blocks: uv pool. */
void containers_read(struct containers *c);
/* Write all families of containers. */
void containers_write(const struct containers *c, struct metrics_writer *w);
