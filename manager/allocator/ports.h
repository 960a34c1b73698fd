/*
 * ports - published ports of services. An ingress port belongs to one service of the cluster; what a spec leaves open
 * is chosen from PORTS_FIRST to PORTS_LAST. Host-mode ports may be shared: the scheduler keeps their tasks apart.
 */
#pragma once
#include "proto/pb.h"

#include "common/str.h"

struct plan;

#define PORTS_FIRST 30000u
#define PORTS_LAST 32767u

/* Published ports of all services, read when the first one is asked about. For one round. */
struct ports;
struct ports *ports_new(struct plan *p);
void ports_free(struct ports *ports);

/* Fill in endpoint->ports; what the service has already stays. Reasons for what is missing are added to `why`. */
void ports_give(struct ports *ports, const pb_service *service, pb_endpoint *endpoint, struct strbuf *why);
