/* nodeinfo - what this node is: the description that managers schedule by. */
#pragma once
#include "proto/pb.h"

struct exec;
struct image_store;
struct net;

struct nodeinfo_options {
	const struct exec *exec;           /* features; NULL: none yet */
	const struct net *net;             /* features; NULL: none yet */
	const struct image_store *images;  /* NULL: none */
	char *const *engine_labels;        /* "key=value", NULL-terminated; NULL: none */
	int64_t reserved_mem_bytes;        /* kept for the host: taken off the capacity */
};

/* A new heap message. Reads /proc, /etc/os-release and uname; microseconds. */
pb_node_description *nodeinfo_describe(const struct nodeinfo_options *options);

/* Value of PRETTY_NAME in os-release's text (os-release(5)); "" when there is none. Yours. Pure. */
char *nodeinfo_os_name(const char *os_release);
