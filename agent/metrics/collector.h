/*
 * collector - the numbers of this node: what is in memory on the loop, what the kernel says on the uv pool.
 *
 *   containers.c  the containers that are looked at: labels, open files, what was read
 *   collector.c   one scrape: networks are asked, tasks are looked up, files are read, all is written
 */
#pragma once
#include "common/metrics/endpoint.h"
#include "proto/pb.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct collector;
struct http_server;
struct image_store;
struct net;
struct task_stats;
struct worker;

/* What only the agent's object knows. */
struct collector_facts {
	const char *node_id;           /* "" = in no cluster */
	bool session_up, runtime_up, network_up;
	uint64_t sessions;             /* so far */
	int64_t cert_expires_at;       /* wall ns; 0 = none */
	int64_t reserved_mem_bytes;    /* of the host */
	const struct http_server *http;
};

struct collector_options {
	uv_loop_t *loop;
	const struct worker *worker;
	const struct image_store *images;
	const struct task_stats *task_stats;
	struct net *net;
	const char *cgroup_parent;     /* "skein" */
	const char *const *labels;     /* keys of service labels that become labels of containers; NULL-terminated; borrowed */
	void (*facts)(void *data, struct collector_facts *ret);
	void *data;
};

struct collector *collector_new(const struct collector_options *options);
/* For metrics_endpoint_new(). */
struct metrics_source collector_source(struct collector *c);
/* When no scrape is under way any more. Closes at once, frees later. */
void collector_close(struct collector *c);
