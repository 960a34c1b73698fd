/*
 * dns_conf - resolv.conf(5): what the host's says, and the text that a container gets. Pure, any thread.
 */
#pragma once
#include "common/str.h"
#include "proto/pb.h"

#define DNS_CONF_SERVERS_MAX 8
#define DNS_CONF_SEARCH_MAX 32
/* Where tasks with networks of their own find our answers. */
#define DNS_CONF_OURS "127.0.0.11"
/*
 * The port that we listen on there. The task's own packets to and from port 53 of that address are rewritten (plan_names_text()),
 * so that port 53 is free for the container, at 0.0.0.0 as well. One that no service was ever given.
 *   Source  IANA Service Name and Transport Protocol Port Number Registry: 4 is unassigned
 */
#define DNS_CONF_PORT 4

struct dns_conf {
	struct strv servers; /* address literals, as written */
	struct strv search;
	struct strv options;
};

/* What cannot be understood is left out, as resolvers do. Later "search" and "domain" lines replace earlier ones. (Fuzzed.) */
void dns_conf_parse(const char *text, struct dns_conf *ret);
void dns_conf_fini(struct dns_conf *conf);

/*
 * A container's file. ours: it asks us at DNS_CONF_OURS, and ndots is 0 unless the spec says otherwise, so that names of
 * services are asked as they are. Otherwise the spec's or the host's servers. The spec's search domains ("." = none) and
 * options stand for the host's. Yours.
 */
char *dns_conf_text(const struct dns_conf *host, const pb_container_spec *spec, bool ours);

/* Does the spec say anything about names? */
bool dns_conf_wanted(const pb_container_spec *spec);
