/*
 * etcd - client of etcd v3's JSON gateway: libcurl multi on the loop, jansson.
 * Fails over between endpoints; every request has a deadline. Loop thread; callbacks exactly once, after
 * the starting function has returned.
 */
#pragma once
#include "common/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct etcd;
struct etcd_request;

struct etcd_options {
	const char *const *endpoints; /* NULL-terminated: "https://10.0.0.1:2379", "unix:/run/skein/etcd.sock:1" (path) */
	const char *ca_file, *cert_file, *key_file; /* NULL for http and unix */
	const char *server_name;      /* name checked in the certificate instead of the host; NULL = the host */
	uint64_t timeout_ms;          /* of one request; 0 = 5000 */
};

struct etcd *etcd_new(uv_loop_t *loop, const struct etcd_options *options, struct error *err);
/* Open requests are cancelled, watches end. */
void etcd_close(struct etcd *e, void (*closed)(void *data), void *data);
/*
 * Replace the endpoint list (members came or went). Reads in flight go on; of a transaction that was sent to an
 * endpoint that is not listed any more it is told that it timed out.
 */
void etcd_set_endpoints(struct etcd *e, const char *const *endpoints);
/*
 * Go (back) to this endpoint of the list: requests from now on, and the watches, which lose nothing by it. For the
 * local member once it is ready again; otherwise whoever helped out meanwhile stays in use.
 */
void etcd_use_endpoint(struct etcd *e, const char *endpoint);

struct etcd_kv {
	const char *key; size_t key_len;
	const void *value; size_t value_len;
	uint64_t create_revision, mod_revision, lease;
};

/* ---- range */
struct etcd_range_result {
	uint64_t revision;
	const struct etcd_kv *kvs;
	size_t n;
	bool more;
};
typedef void (*etcd_range_cb)(void *data, const struct etcd_range_result *result, const struct error *err);
/* end: NULL = the one key; etcd_prefix_end() for a prefix. limit 0 = all. revision 0 = latest. */
struct etcd_request *etcd_range(struct etcd *e, const char *key, const char *end, uint64_t revision,
				uint64_t limit, etcd_range_cb cb, void *data);
/* First key behind all keys with the prefix; heap, yours. */
char *etcd_prefix_end(const char *prefix);

/* ---- txn */
/* The key's revision is this one; all keys with the prefix have been as they are since this one or longer. */
enum etcd_compare_target { ETCD_CMP_MOD, ETCD_CMP_CREATE, ETCD_CMP_PREFIX_SINCE };
struct etcd_compare {
	const char *key;
	enum etcd_compare_target target;
	uint64_t revision;
};
struct etcd_op {
	const char *key;
	const void *value; size_t value_len; /* value NULL = delete */
	uint64_t lease;
};
struct etcd_txn_result { bool succeeded; uint64_t revision; };
typedef void (*etcd_txn_cb)(void *data, const struct etcd_txn_result *result, const struct error *err);
/*
 * All compares hold -> all ops. On ERR_UNAVAILABLE / ERR_TIMEOUT it may have been applied. Never retried here.
 * ERR_TIMEOUT comes early when etcd has no leader, or has elected another one since it was sent: it is lost as a rule.
 */
struct etcd_request *etcd_txn(struct etcd *e, const struct etcd_compare *compares, size_t n_compares,
			      const struct etcd_op *ops, size_t n_ops, etcd_txn_cb cb, void *data);
/*
 * As etcd_txn with a time of its own: what a member forwards to a leader that is just being lost gets no answer for
 * etcd's own 5 s, and neither does what is asked of a host that is; the same asked again elsewhere is answered at once.
 */
struct etcd_request *etcd_txn_within(struct etcd *e, uint64_t timeout_ms, const struct etcd_compare *compares,
				     size_t n_compares, const struct etcd_op *ops, size_t n_ops, etcd_txn_cb cb,
				     void *data);

/* ---- lease */
typedef void (*etcd_lease_cb)(void *data, uint64_t lease, int64_t ttl_s, const struct error *err);
struct etcd_request *etcd_lease_grant(struct etcd *e, int64_t ttl_s, etcd_lease_cb cb, void *data);
struct etcd_request *etcd_lease_keepalive(struct etcd *e, uint64_t lease, etcd_lease_cb cb, void *data); /* gone: ERR_NOT_FOUND */
struct etcd_request *etcd_lease_revoke(struct etcd *e, uint64_t lease, etcd_lease_cb cb, void *data);

/* ---- watch */
struct etcd_event { bool is_delete; struct etcd_kv kv, prev; /* prev.key NULL = none, or not asked for */ };
struct etcd_watch_handlers {
	/* All events of one answer, in order of revision. revision: etcd's at that time (also sent alone, as progress). */
	void (*on_events)(void *data, uint64_t revision, const struct etcd_event *events, size_t n);
	/* The start revision is gone (compacted): the watch has ended; load everything and watch again. */
	void (*on_compacted)(void *data, uint64_t compact_revision);
	/* Up / lost; reconnecting goes on by itself from the last revision seen. err NULL = up. */
	void (*on_state)(void *data, const struct error *err);
	bool prev;               /* events carry what the key held before; costs as much again */
};
struct etcd_watch;
/* Watch [key, end) from start_revision on; survives disconnects, a silent member (nothing for 10 s) and fail-over. */
struct etcd_watch *etcd_watch(struct etcd *e, const char *key, const char *end, uint64_t start_revision,
			      const struct etcd_watch_handlers *handlers, void *data);
/* No callback any more; may be called inside one. NULL is fine. After on_compacted the watch is gone already. */
void etcd_watch_cancel(struct etcd_watch *w);

/* ---- members and health (embedded etcd) */
struct etcd_member {
	uint64_t id;
	const char *name;        /* "" = added, but never started */
	bool is_learner;         /* receives everything, does not vote yet */
	const char *const *peer_urls; size_t n_peer_urls;
	const char *const *client_urls; size_t n_client_urls;
};
typedef void (*etcd_members_cb)(void *data, const struct etcd_member *members, size_t n, const struct error *err);
struct etcd_request *etcd_member_list(struct etcd *e, etcd_members_cb cb, void *data);
struct etcd_request *etcd_member_add(struct etcd *e, const char *peer_url, bool learner, etcd_members_cb cb,
				     void *data);
/* A learner becomes a voter. ERR_PRECONDITION while it has not caught up. */
struct etcd_request *etcd_member_promote(struct etcd *e, uint64_t id, etcd_members_cb cb, void *data);
struct etcd_request *etcd_member_remove(struct etcd *e, uint64_t id, etcd_members_cb cb, void *data);

/* ---- for metrics */
enum etcd_operation { ETCD_READ, ETCD_TXN, ETCD_LEASE, ETCD_MEMBERS, ETCD_OPERATIONS };
/* After each request (retries included) that was not cancelled: how long it took, and ERR_OK or why it failed. */
typedef void (*etcd_observer)(void *data, enum etcd_operation operation, int64_t took_ns, enum error_code code);
void etcd_set_observer(struct etcd *e, etcd_observer cb, void *data);
/* Bytes of requests and answers since the start, watches included. */
void etcd_traffic(const struct etcd *e, uint64_t *ret_sent, uint64_t *ret_received);

/* The callback comes with ERR_CANCELLED, before this returns. */
void etcd_request_cancel(struct etcd_request *r);
