/*
 * dns_lookup - which name stands for which addresses, as one task sees it: only networks that it shares count.
 *
 *   web              the service's virtual addresses; mode dnsrr: its ready endpoints
 *   tasks.web        its ready endpoints
 *   web.1            that endpoint, ready or not (peers that wait for each other must find each other); also web.1.<task id>
 *   an alias         every service (or endpoint, mode dnsrr) that has it
 *   the own host name
 * Each also with the name of one of the networks behind it ("web.front"). Case is ignored. Pure.
 */
#pragma once
#include "model.h"

#include "common/str.h"

#include <stdbool.h>
#include <stddef.h>

/* Wire limit of a name in text form, escapes not counted (RFC 1035 2.3.4). */
#define DNS_NAME_MAX 255
/* Of one name; a packet holds not more. */
#define DNS_ADDRESSES_MAX 4000

/* Who asks. */
struct dns_asker {
	const struct strv *networks;      /* ids of its networks */
	const struct strv *search;        /* search domains */
	const char *hostname;             /* NULL = none */
	const struct ipaddr *addresses;   /* its own */
	size_t n_addresses;
	bool resolver_inside;             /* one that its spec names is in its networks */
};

struct dns_addresses {
	struct ipaddr *v;
	size_t n, cap;
};
void dns_addresses_fini(struct dns_addresses *a);

/* name: without the dot at its end. False: not a name of ours. A name of ours may have no address now. Sorted, each once. */
bool dns_lookup_name(const struct model *m, const struct dns_asker *who, const char *name, struct dns_addresses *ret);
/*
 * The same for a name with one of the asker's search domains behind it ("web.corp.example"). It may as well be somebody
 * else's, who comes first: an outside name is never hidden by a service that happens to have its first label.
 */
bool dns_lookup_searched(const struct model *m, const struct dns_asker *who, const char *name, struct dns_addresses *ret);

/*
 * The name of an address: "web.1.front", "web.front". False: it is in none of the asker's networks. "" = it is, and
 * nobody has it.
 */
bool dns_lookup_address(const struct model *m, const struct dns_asker *who, const struct ipaddr *address,
			char ret[static DNS_NAME_MAX + 1]);

/* May it ask for names of the outside? When all its networks are internal only a resolver in them. */
bool dns_has_way_out(const struct model *m, const struct dns_asker *who);
