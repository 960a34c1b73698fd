/*
 * etcd_json - the text that etcd v3's JSON gateway takes and gives. Pure functions.
 *
 * What the gateway does (3.4): 64-bit numbers are strings, bytes are base64, whatever has its
 * default value is absent; streams and keepalives wrap each message in {"result":...}; errors are
 * {"error","message","code"} or, in a stream, {"error":{"grpc_code","message"}}.
 */
#pragma once
#include "etcd.h"

/* ---- requests: heap text, yours */

char *etcd_json_range(const char *key, const char *end, uint64_t revision, uint64_t limit);
char *etcd_json_txn(const struct etcd_compare *compares, size_t n_compares, const struct etcd_op *ops,
		    size_t n_ops);
char *etcd_json_lease_grant(int64_t ttl_s);
char *etcd_json_id(uint64_t id); /* {"ID":"..."}: keepalive, revoke, member remove, promote */
char *etcd_json_watch(const char *key, const char *end, uint64_t start_revision, bool prev_kv);
char *etcd_json_member_add(const char *peer_url, bool learner);

/* ---- answers */

/* Everything an answer of any of the calls can hold; absent = zero. */
struct etcd_answer {
	struct error error;          /* set: etcd refused; nothing else is */
	uint64_t revision;           /* of the header */
	uint64_t term;               /* of the header: grows with each election of etcd */
	bool succeeded;              /* txn */
	bool more;                   /* range */
	bool created, canceled;      /* watch */
	uint64_t compact_revision;   /* watch */
	uint64_t id;                 /* lease */
	int64_t ttl_s;               /* lease; 0 = it is gone */
	struct etcd_kv *kvs;         /* range */
	size_t n_kvs;
	struct etcd_event *events;   /* watch */
	size_t n_events;
	struct etcd_member *members;
	size_t n_members;
	char *arena;                 /* strings and bytes that the above point to */
};

/*
 * Parse one answer (one line of a stream). (Fuzzed.)
 *   Errors  ERR_DATA_LOSS not what etcd sends; ret is then empty
 */
int etcd_json_parse(const char *text, size_t len, struct etcd_answer *ret, struct error *err);
void etcd_answer_fini(struct etcd_answer *answer);
#define _cleanup_answer_ __attribute__((cleanup(etcd_answer_fini)))
