/*
 * tls - the one TLS connection that is not gRPC's: a look at a server's certificates before anything
 * is trusted or sent. Blocking: runs on the uv pool. The process ignores SIGPIPE.
 */
#pragma once
#include <stdint.h>

struct error;

/*
 * Connect, shake hands, take the certificates that the server sends (leaf first, at most 8), close. The
 * chain is NOT verified here: see pki_chain_find and pki_verify. Each address of the host is tried.
 *   timeout_ms  for everything but the look-up of a name, which has the resolver's own limits
 *   Errors  ERR_UNAVAILABLE cannot connect, or no TLS there; ERR_TIMEOUT
 */
int tls_fetch_chain(const char *host, uint16_t port, uint64_t timeout_ms, char **ret_chain_pem,
		    struct error *err);
