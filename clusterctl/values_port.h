/*
 * values_port - ports as users type and read them: --publish, --publish-rm, the PORTS of lists.
 * Pure; messages name the value and what is accepted, without the flag.
 */
#pragma once
#include "common/str.h"
#include "proto/pb.h"

struct error;

/*
 * Append the ports of one --publish; a range gives one for each of its ports.
 *   short  [HOSTIP:]PUBLISHED:TARGET[/PROTOCOL] or TARGET[/PROTOCOL] (the cluster chooses the published
 *          port); an IPv6 address in brackets. An address belongs to one host: it means mode=host.
 *   long   target=,published=,protocol=tcp|udp|sctp,mode=ingress|host,host-ip=
 * Ports may be ranges FIRST-LAST, both of the same length.
 */
int value_publish(const char *text, size_t *n, pb_port ***list, struct error *err);

/* Remove the ports with a target, as --publish-rm names it: TARGET[-LAST][/PROTOCOL], tcp unless said.
 * One that is not there is no mistake. */
int value_publish_rm(const char *text, size_t *n, pb_port ***list, struct error *err);

/*
 * "*:8080->80/tcp, 10.0.0.1:8000-8010->80-90/udp": neighbours that differ by one are shown as a range.
 *   mode   PUBLISH_INGRESS or PUBLISH_HOST; -1 = all
 * Yours.
 */
char *ports_text(pb_port *const *ports, size_t n, int mode);
