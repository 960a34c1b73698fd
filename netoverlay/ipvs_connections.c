#include "ipvs_connections.h"
#include "netns.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define FILE_NAME "/proc/thread-self/net/ip_vs_conn"

/* As the kernel writes them: IPv4 as a number in hexadecimal digits, IPv6 with colons and all its zeroes. */
static bool parse_address(const char *text, struct ipaddr *ret)
{
	char *end;
	unsigned long four;
	uint32_t bytes;

	if (strchr(text, ':')) {
		*ret = (struct ipaddr){.family = AF_INET6, .prefix = 128};
		return inet_pton(AF_INET6, text, ret->bytes) == 1;
	}
	four = strtoul(text, &end, 16);
	if (*end || strlen(text) != 8)
		return false;
	*ret = (struct ipaddr){.family = AF_INET, .prefix = 32};
	bytes = htonl((uint32_t)four);
	memcpy(ret->bytes, &bytes, sizeof(bytes));
	return true;
}

bool ipvs_connection_parse(const char *line, struct ipvs_connection *ret)
{
	char protocol[8], client[64], service[64], endpoint[64], state[32];
	unsigned client_port, service_port, endpoint_port, timeout;

	if (sscanf(line, "%7s %63s %x %63s %x %63s %x %31s %u", protocol, client, &client_port, service, &service_port, endpoint,
		   &endpoint_port, state, &timeout) != 9 ||
	    client_port > UINT16_MAX || service_port > UINT16_MAX || endpoint_port > UINT16_MAX)
		return false;
	*ret = (struct ipvs_connection){.protocol = str_eq(protocol, "TCP") ? IPPROTO_TCP : IPPROTO_UDP,
					.client_port = (uint16_t)client_port, .service_port = (uint16_t)service_port,
					.endpoint_port = (uint16_t)endpoint_port, .timeout_s = timeout};
	if (!str_eq(protocol, "TCP") && !str_eq(protocol, "UDP"))
		return false;
	ret->established = ret->protocol == IPPROTO_UDP || str_eq(state, "ESTABLISHED");
	return parse_address(client, &ret->client) && parse_address(service, &ret->service) &&
	       parse_address(endpoint, &ret->endpoint);
}

struct reading {
	const struct ipaddr *client;
	struct ipvs_connection *v;
	size_t n;
	int errno_value;
};

static void read_file(void *data)
{
	struct reading *r = data;
	struct ipvs_connection c;
	FILE *f = fopen(FILE_NAME, "re");
	char line[512];
	size_t cap = 0;

	if (!f) {
		r->errno_value = errno;
		return;
	}
	while (r->n < IPVS_CONNECTIONS_MAX && fgets(line, sizeof(line), f)) {
		if (!ipvs_connection_parse(line, &c) || !ipaddr_same_host(&c.client, r->client))
			continue;
		if (r->n == cap) {
			cap = cap ? cap * 2 : 32;
			r->v = xreallocarray(r->v, cap, sizeof(*r->v));
		}
		r->v[r->n++] = c;
	}
	fclose(f);
}

int netns_ipvs_connections(struct netns *ns, const struct ipaddr *client, struct ipvs_connection **ret, size_t *ret_n,
			   struct error *err)
{
	struct reading r = {.client = client};

	*ret = NULL;
	*ret_n = 0;
	if (netns_run(ns, read_file, &r, err) < 0)
		return -1;
	if (r.errno_value && r.errno_value != ENOENT)
		return error_set_errno(err, r.errno_value, "read %s", FILE_NAME);
	*ret = r.v;
	*ret_n = r.n;
	return 0;
}
