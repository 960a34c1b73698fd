/*
 * membership - who belongs to the managers' etcd: decisions (pure), joining and leaving.
 *
 * A manager joins as a learner: it receives everything and votes only after it has caught up and was
 * promoted. So a join that is interrupted never costs the quorum, not even that of a single manager.
 */
#pragma once
#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct etcd;
struct etcd_member;

/* ---- decisions */

struct membership_node {
	uint64_t id;             /* of the etcd member */
	const char *name;        /* for messages: name or id of the node */
	bool healthy;
};

/*
 * May this member be taken out (demoted, removed)?
 *   Errors  ERR_PRECONDITION it is the last one, or the healthy ones that stay are no quorum of those that stay;
 *           ERR_UNAVAILABLE the quorum is lost already, nothing can be removed; ERR_NOT_FOUND
 */
int membership_may_remove(const struct membership_node *members, size_t n, uint64_t id, struct error *err);

enum membership_step {
	MEMBERSHIP_ADD,          /* no trace of it yet */
	MEMBERSHIP_REUSE,        /* *ret_id: its own entry of an earlier try */
	MEMBERSHIP_REPLACE,      /* *ret_id: its own entry, which has run: its data is lost, so it begins anew */
	MEMBERSHIP_WAIT,         /* *ret_id: another learner is in the way (etcd takes one at a time) */
	MEMBERSHIP_REFUSE,       /* err */
};
enum membership_step membership_plan_add(const struct etcd_member *members, size_t n, const char *name,
					 const char *peer_url, uint64_t *ret_id, struct error *err);

/* etcd's --initial-cluster for the member with that peer URL, which will have that name. Yours. */
char *membership_initial_cluster(const struct etcd_member *members, size_t n, const char *name,
				 const char *peer_url);

/* ---- doing it; loop thread, callbacks exactly once and never inside the starting function */

struct membership;

struct membership *membership_new(uv_loop_t *loop, struct etcd *etcd);
/* Open calls get ERR_CANCELLED; promotions under way end (the joiner asks again). */
void membership_close(struct membership *m, void (*closed)(void *data), void *data);

struct membership_added {
	uint64_t member_id;
	const char *initial_cluster;
	size_t n_members;        /* with the new one */
};
typedef void (*membership_added_cb)(void *data, const struct membership_added *added, const struct error *err);

/*
 * Enter a new manager (as learner) and go on promoting it in the background once it has started. Safe to repeat:
 * the same peer URL and name find their own entry again.
 *   Errors  ERR_EXISTS the peer URL belongs to another manager; ERR_UNAVAILABLE, ERR_TIMEOUT
 */
void membership_add(struct membership *m, const char *name, const char *peer_url, membership_added_cb cb,
		    void *data);

/* Take a member out; one that is not there (any more) is success. Ask membership_may_remove() first. */
typedef void (*membership_removed_cb)(void *data, const struct error *err);
void membership_remove(struct membership *m, uint64_t member_id, membership_removed_cb cb, void *data);
