/*
 * dns - names for tasks: answers at 127.0.0.11 inside each task's namespace, from the model's memory; what it does not know
 * goes to the host's resolvers, or the spec's. Those are asked from the host's namespace, except the spec's that are in
 * one of the task's networks: from the task's own.
 *
 *   dns_lookup.c   which name stands for which addresses (pure)
 *   dns_answer.c   packet in, packet out, or "forward" (pure)
 *   dns_forward.c  questions under way to resolvers
 *   dns_client.c   TCP connections of tasks
 *   dns.c          sockets of tasks
 * Loop thread, except dns_sockets_open().
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct dns;
struct error;
struct model;

/* fd: a socket in the task's namespace, yours; -1 = it could not be had. */
typedef void (*dns_opened_cb)(void *data, int fd);
/* Open one (AF_*, SOCK_*; not blocking); done exactly once, later, on the loop, whatever happens to the task meanwhile. */
typedef void (*dns_open_cb)(void *data, const char *task_id, int family, int type, dns_opened_cb done, void *done_data);

struct dns_options {
	uv_loop_t *loop;
	const struct model *model;    /* read at each question */
	const char *resolv_path;      /* NULL = /etc/resolv.conf: read again when it changes */
	uint16_t upstream_port;       /* 0 = 53 */
	dns_open_cb open;
	void *open_data;
};

struct dns *dns_new(const struct dns_options *options);
/* closed once, later. */
void dns_close(struct dns *d, void (*closed)(void *data), void *data);

struct dns_sockets {
	int udp, tcp;
};
#define DNS_SOCKETS_NONE ((struct dns_sockets){-1, -1})

/*
 * Open the sockets in the namespace that this thread is in (netns_run(): the loopback must be up). Any thread.
 *   Errors  ERR_EXISTS something else listens there
 */
int dns_sockets_open(struct dns_sockets *ret, struct error *err);
void dns_sockets_close(struct dns_sockets *s);

/* Answer a task's questions; takes the sockets over (not opened: it is not served). The task is copied. A task that is there
 * already gets the new sockets. */
void dns_attach(struct dns *d, const pb_task *task, struct dns_sockets *sockets);
/* No more of them. Unknown: fine. Before its namespace is dropped. */
void dns_detach(struct dns *d, const char *task_id);
/* Are its questions answered? */
bool dns_serves(const struct dns *d, const char *task_id);

/* What became of the questions so far. */
struct dns_stats {
	uint64_t answered;  /* from the cluster's own names */
	uint64_t forwarded; /* asked elsewhere, and answered */
	uint64_t failed;    /* asked elsewhere: no resolver answered */
	uint64_t refused;   /* too many under way */
	uint64_t dropped;   /* not a question */
};
const struct dns_stats *dns_stats(const struct dns *d);

/* Text of the task's /etc/resolv.conf. Yours. */
char *dns_resolv_conf(struct dns *d, const pb_task *task);
