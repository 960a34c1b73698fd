/*
 * ipaddr - IPv4 and IPv6 addresses and subnets as values: parse, print, compare, count.
 * Pure; any thread. Text forms: RFC 4632 (IPv4 CIDR), RFC 5952 (IPv6).
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

/* An address with a prefix length. Zero-initialised: none. Bytes in network order; IPv4 uses the first four. */
struct ipaddr {
	uint8_t family; /* AF_INET, AF_INET6; 0 = none */
	uint8_t prefix; /* 32 or 128 for a host */
	uint8_t bytes[16];
};

#define IPADDR_TEXT_MAX 64

/* "10.0.0.1", "10.0.0.1/24", "fd00::1/64". Without a prefix length: that of a host. The whole text must be one.
 *   Errors  ERR_INVALID with the value and what is accepted. (Fuzzed.) */
int ipaddr_parse(const char *s, struct ipaddr *ret, struct error *err);
/* A subnet: prefix length given, no bits behind it set. */
int ipaddr_parse_subnet(const char *s, struct ipaddr *ret, struct error *err);

/* Into buf, which is returned; the prefix length only when it is not that of a host / never. "" for none. */
const char *ipaddr_format(const struct ipaddr *a, char buf[static IPADDR_TEXT_MAX]);
const char *ipaddr_format_host(const struct ipaddr *a, char buf[static IPADDR_TEXT_MAX]);

static inline bool ipaddr_is_set(const struct ipaddr *a)
{
	return a->family != 0;
}
bool ipaddr_equal(const struct ipaddr *a, const struct ipaddr *b); /* prefix lengths count */
bool ipaddr_same_host(const struct ipaddr *a, const struct ipaddr *b);
int ipaddr_cmp(const struct ipaddr *a, const struct ipaddr *b); /* family, bytes, prefix */
bool ipaddr_contains(const struct ipaddr *subnet, const struct ipaddr *host_or_subnet);
bool ipaddr_overlaps(const struct ipaddr *a, const struct ipaddr *b);

/* Network part; the address with a host's prefix length; the subnet's n-th address (host prefix length); its last one. */
struct ipaddr ipaddr_network(const struct ipaddr *a);
struct ipaddr ipaddr_host(const struct ipaddr *a);
struct ipaddr ipaddr_nth(const struct ipaddr *subnet, uint64_t n);
struct ipaddr ipaddr_last(const struct ipaddr *subnet);
/* Distance of an address from the start of the subnet; UINT64_MAX when it is not inside or does not fit. */
uint64_t ipaddr_index(const struct ipaddr *subnet, const struct ipaddr *host);
/* Number of addresses, at most UINT64_MAX. */
uint64_t ipaddr_count(const struct ipaddr *subnet);

/* MAC of an IPv4 address: 02:42 and its four bytes; of an IPv6 one: 02:43 and its last four. */
struct mac {
	uint8_t bytes[6];
};
#define MAC_TEXT_MAX 18
struct mac mac_of_address(const struct ipaddr *a);
/* MAC of a node in the ingress network: 02:53:4b:00 and its index. */
struct mac mac_of_node(uint32_t index);
int mac_parse(const char *s, struct mac *ret, struct error *err);
const char *mac_format(const struct mac *m, char buf[static MAC_TEXT_MAX]);
