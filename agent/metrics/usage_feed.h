/*
 * usage_feed - what this node and its containers use, sampled about every second while somebody wants it (a manager, for
 * `clusterctl top` and the page); nothing is read otherwise. Loop thread; the kernel's files are read on the uv pool.
 */
#pragma once
#include "proto/pb.h"

#include <uv.h>

struct net;
struct usage_feed;
struct usage_feed_sub;
struct worker;

struct usage_feed_options {
	uv_loop_t *loop;
	const struct worker *worker; /* borrowed, as net */
	struct net *net;
	const char *cgroup_parent;   /* "skein" */
};

struct usage_feed *usage_feed_new(const struct usage_feed_options *options);
/* closed runs once, when nothing is being read any more; subscribers are not called again. Before worker and net close. */
void usage_feed_close(struct usage_feed *f, void (*closed)(void *data), void *data);

/* A sample at once, then every second; rates are 0 in the first one that anybody gets. Borrowed. Never inside subscribe. */
struct usage_feed_sub *usage_feed_subscribe(struct usage_feed *f, void (*cb)(void *data, const pb_node_usage *sample), void *data);
void usage_feed_unsubscribe(struct usage_feed_sub *sub); /* NULL is fine; also inside the callback */
