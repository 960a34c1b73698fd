/*
 * netindex - which agents have which network, and whom an event concerns.
 *
 * One per dispatcher, kept current by the store's events. An event costs what it changes: the feeds
 * of agents that know the object are touched, others are not looked at. No I/O.
 */
#pragma once
#include "manager/store/view.h"

struct idset;
struct netfeed;
struct netindex;

struct netindex *netindex_new(void);
void netindex_free(struct netindex *ix); /* its feeds are gone */

/* An object was created (old NULL), changed, or deleted (now NULL); the view has its new state. */
void netindex_event(struct netindex *ix, const struct view *v, enum kind kind, const char *id,
		    const void *old, const void *now);

/* ---- for feeds */

/* One of them per node. */
void netindex_add(struct netindex *ix, struct netfeed *feed);
void netindex_remove(struct netindex *ix, struct netfeed *feed);

/* The agent of the feed has (no longer) this network. The handle is netindex_leave's to free. */
struct netmember;
struct netmember *netindex_join(struct netindex *ix, struct netfeed *feed, const char *network_id);
void netindex_leave(struct netindex *ix, struct netmember *member);

/* Services with ports that are open on every node; borrowed until the next event. */
const struct idset *netindex_ingress_services(const struct netindex *ix);
