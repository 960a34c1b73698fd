/* ipvs_connections - which endpoint IPVS has chosen for a client's connections, in a namespace. Blocking; the thread of the handle. */
#pragma once
#include "common/ipaddr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct netns;

struct ipvs_connection {
	uint8_t protocol;                     /* IPPROTO_TCP, IPPROTO_UDP */
	struct ipaddr client, service, endpoint;
	uint16_t client_port, service_port, endpoint_port;
	bool established;                     /* TCP: neither being begun nor being ended; UDP: always */
	uint32_t timeout_s;
};

#define IPVS_CONNECTIONS_MAX 16384

/* Of one client (a host); at most IPVS_CONNECTIONS_MAX. A kernel without IPVS: none. *ret is yours. */
int netns_ipvs_connections(struct netns *ns, const struct ipaddr *client, struct ipvs_connection **ret, size_t *ret_n,
			   struct error *err);

/* A line of /proc/net/ip_vs_conn; false: its head, or nothing that is known here. */
bool ipvs_connection_parse(const char *line, struct ipvs_connection *ret);
