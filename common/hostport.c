#include "hostport.h"

#include "error.h"
#include "str.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static bool is_ipv6(const char *s)
{
	unsigned char addr[16];

	return inet_pton(AF_INET6, s, addr) == 1;
}

static bool name_ok(const char *s)
{
	size_t len = strlen(s);

	return len && strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == len;
}

/* Copy len bytes as host; -1 when they do not fit. */
static int set_host(struct hostport *hp, const char *s, size_t len)
{
	if (len >= sizeof(hp->host))
		return -1;
	memcpy(hp->host, s, len);
	hp->host[len] = '\0';
	return 0;
}

/* The host into hp; *ret_port is the text behind its colon, NULL when there is none. */
static int split(const char *s, struct hostport *hp, const char **ret_port)
{
	const char *end = strchr(s, ']'), *colon = strchr(s, ':');

	*ret_port = NULL;
	if (*s == '[') {
		if (!end || set_host(hp, s + 1, (size_t)(end - s - 1)) < 0 || !is_ipv6(hp->host))
			return -1;
		if (end[1] == ':')
			*ret_port = end + 2;
		return end[1] == ':' || !end[1] ? 0 : -1;
	}
	if (colon && strchr(colon + 1, ':')) /* bare IPv6 */
		return set_host(hp, s, strlen(s)) == 0 && is_ipv6(hp->host) ? 0 : -1;
	if (colon)
		*ret_port = colon + 1;
	return set_host(hp, s, colon ? (size_t)(colon - s) : strlen(s)) == 0 && name_ok(hp->host) ? 0 : -1;
}

int hostport_parse(const char *s, uint16_t default_port, struct hostport *ret, struct error *err)
{
	struct hostport hp = {.port = default_port};
	const char *port;
	uint64_t number = default_port;

	if (split(s ? s : "", &hp, &port) < 0 || (port && str_parse_u64(port, &number, NULL) < 0) || !number ||
	    number > UINT16_MAX)
		return error_set(err, ERR_INVALID,
				 "\"%.280s\" is not an address: accepted is HOST:PORT, with [] around IPv6%s",
				 s ? s : "", default_port ? ", or HOST" : "");
	hp.port = (uint16_t)number;
	*ret = hp;
	return 0;
}

const char *hostport_format(const struct hostport *hp, char buf[static HOSTPORT_MAX])
{
	bool v6 = strchr(hp->host, ':') != NULL;

	snprintf(buf, HOSTPORT_MAX, "%s%s%s:%u", v6 ? "[" : "", hp->host, v6 ? "]" : "", hp->port);
	return buf;
}
