/* hostport - "host", "host:port", "[v6]:port" and bare IPv6 addresses. */
#pragma once
#include <stdint.h>

struct error;

struct hostport {
	char host[256]; /* without brackets */
	uint16_t port;
};

/*
 * default_port: when the text has none; 0 = then it must have one. A host is 1 to 255 letters,
 * digits, '.', '-', '_' or an IPv6 address; a port 1 to 65535.
 *   Errors  ERR_INVALID with the value and what is accepted. (Fuzzed.)
 */
int hostport_parse(const char *s, uint16_t default_port, struct hostport *ret, struct error *err);

/* "host:port", "[v6]:port", into buf, which is returned. */
#define HOSTPORT_MAX 272
const char *hostport_format(const struct hostport *hp, char buf[static HOSTPORT_MAX]);
