/*
 * values_net - networks, names and addresses as users type them into flags. Pure; messages name the
 * value and what is accepted, without the flag.
 */
#pragma once
#include "common/str.h"
#include "proto/pb.h"

struct error;

/*
 * --network NAME, or name=NAME,alias=X,...,ip=A,ip6=A. network_id holds what the user named: the
 * manager finds the network. NULL on error.
 */
pb_attachment_config *value_network(const char *text, struct error *err);

/* --dns: an address, in its usual form. Yours; NULL on error. */
char *value_dns_server(const char *text, struct error *err);
/* --dns-search: a domain, or "." for none. */
int value_dns_search(const char *text, struct error *err);
/* --dns-option: a word of resolv.conf, "ndots:2". */
int value_dns_option(const char *text, struct error *err);

/* --host NAME:IP (IPv6 also in brackets) to a line of /etc/hosts, "IP NAME". Yours; NULL on error. */
char *value_host(const char *text, struct error *err);
/* Remove what --host-rm names, NAME or NAME:IP, from lines of /etc/hosts. */
int value_host_rm(const char *text, size_t *n, char ***lines, struct error *err);

/* What the pool flags of `network create` gave. */
struct pool_flags {
	const struct strv *subnets, *gateways, *ip_ranges, *aux_addresses;
	bool ipv6;
};
/* Pools from them: gateways, ranges and auxiliary addresses (NAME=IP) go to the subnet that holds
 * them. The message begins with the flag. */
int value_pools(const struct pool_flags *flags, size_t *n, pb_ipam_pool ***pools, struct error *err);

/* --default-addr-pool: an IPv4 subnet out of which subnets of length `prefix` can be cut. */
int value_addr_pool(const char *text, uint64_t prefix, struct error *err);
