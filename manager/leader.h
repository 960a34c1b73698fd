/*
 * leader - which manager decides: election by a key in etcd that lives as long as its owner's lease.
 *
 * Who creates the key is the leader; its create revision is the fence that goes into every decision
 * (store_set_fence), so that a leader who does not know yet that it was deposed cannot write.
 * Loop thread. Callbacks never run inside leader_start(); on_deposed runs inside leader_resign().
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct etcd;
struct leader;

#define LEADER_TTL_DEFAULT_S 2

struct leader_options {
	uv_loop_t *loop;
	struct etcd *etcd;       /* borrowed; must live longer */
	const char *key;         /* "<prefix>/leader" */
	const char *node_id;     /* value of the key */
	int64_t ttl_s;           /* of the lease; 0 = LEADER_TTL_DEFAULT_S (etcd takes no less than 1.5 election timeouts) */

	void (*on_elected)(void *data, uint64_t create_revision);
	/* No decision any more. The lease is lost, could not be refreshed in time, or somebody took the key away. */
	void (*on_deposed)(void *data, const char *why);
	/* The present leader, which may be this node, and the create revision of its key; "" and 0 = none. Told on every change. */
	void (*on_leader)(void *data, const char *node_id, uint64_t create_revision);
	void *data;
};

/* Strings are copied. Campaigns until it is closed or resigns; while etcd is away it tries again for ever. */
struct leader *leader_start(const struct leader_options *options);
/* Without leader_resign() the key stays until its lease expires, as after a crash. No callback of the options any more. */
void leader_close(struct leader *l, void (*closed)(void *data), void *data);

bool leader_is_self(const struct leader *l);
uint64_t leader_create_revision(const struct leader *l);  /* 0 unless this node leads */
const char *leader_present(const struct leader *l);       /* node id; "" = none or not known yet */

/*
 * Clean stop: give the key and the lease back, so that the next leader is elected at once. No campaign any more.
 * done comes once, after etcd answered or 1 s.
 */
void leader_resign(struct leader *l, void (*done)(void *data), void *data);

/*
 * That manager is lost: the stream to it broke, or its host fell silent. If it is the present leader, its key is
 * deleted, so that a new one is elected now instead of after the lease; tried for 10 s, until etcd answers. Safe: all
 * decisions are fenced; a leader that lives after all is deposed and campaigns again.
 */
void leader_challenge(struct leader *l, const char *node_id);
