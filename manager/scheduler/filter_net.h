/*
 * filter_net - the filters that concern networks: what the drivers of a task's networks need of a node's kernel, and
 * host-mode ports.
 */
#pragma once
#include "filter.h"

/* What the networks of want->task need; free with want_net_fini. */
void want_net_init(struct want *want, const struct view *view);
void want_net_fini(struct want *want);

bool driver_check(const struct want *want, const struct nodeinfo *info);
void driver_reason(const struct want *want, const struct nodeinfo *info, struct strbuf *out);
void driver_summary(const struct want *want, const struct nodeinfo *const *infos, size_t n, struct strbuf *out);

bool host_port_check(const struct want *want, const struct nodeinfo *info);
void host_port_reason(const struct want *want, const struct nodeinfo *info, struct strbuf *out);
void host_port_summary(const struct want *want, const struct nodeinfo *const *infos, size_t n, struct strbuf *out);
