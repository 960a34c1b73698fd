/* dns_internal - between dns.c (tasks, datagrams, forwarding) and dns_client.c (TCP connections). Loop thread. */
#pragma once
#include "dns.h"
#include "dns_answer.h"
#include "dns_conf.h"
#include "dns_forward.h"

#include "common/loop.h"

#include <netinet/in.h>
#include <sys/queue.h>
#include <uthash.h>

struct dns_client;

/* A question that is being asked elsewhere. */
struct dns_request {
	LIST_ENTRY(dns_request) of_task, of_client;
	struct dns_task *task;
	struct dns_client *client;    /* NULL: by UDP, from: */
	struct sockaddr_in from;
	struct dns_job *job;
	size_t len;
	uint8_t query[];
};

struct dns_task {
	UT_hash_handle hh;
	char *id;
	struct dns *dns;
	struct strv networks, servers, search; /* servers: of the spec; none = the host's */
	struct strv servers_inside;            /* those of them that are in its networks */
	char *hostname;
	struct ipaddr *addresses;
	size_t n_addresses;
	int udp_fd;
	uv_poll_t udp;
	uv_tcp_t tcp;
	LIST_HEAD(, dns_client) clients;
	LIST_HEAD(, dns_request) requests;
	unsigned n_clients, n_requests;
	struct closer closer;
};

struct dns {
	uv_loop_t *loop;
	const struct model *model;
	char *resolv_path;
	struct dns_conf host;
	struct timespec host_changed; /* of the file that was read */
	int64_t host_looked_ns;
	struct dns_forwarder *forwarder;
	dns_open_cb open;
	void *open_data;
	struct dns_task *tasks;
	struct dns_stats stats;
	struct closer closer;
	uint8_t buf[DNS_PACKET_MAX];
};

/* A packet from the task: answers at once or asks elsewhere. client NULL: by UDP, from: */
void dns_take(struct dns_task *t, struct dns_client *client, const struct sockaddr_in *from, const uint8_t *data, size_t len);
/* Give up what is asked elsewhere. */
void dns_request_free(struct dns_request *r);

/* ---- dns_client.c */
int dns_clients_listen(struct dns_task *t, int fd, struct error *err);
void dns_clients_close(struct dns_task *t);
void dns_client_send(struct dns_client *c, const struct dns_packet *packet);
void dns_client_add(struct dns_client *c, struct dns_request *r);
