/* network_flags - the flags of `network create` and `network check`, and the spec that they make. Pure. */
#pragma once
#include "common/options.h"
#include "proto/pb.h"

struct error;

struct network_flags {
	bool help, ipv6, internal, attachable, repair;
	char *driver, *format;
	struct strv subnets, gateways, ip_ranges, aux_addresses, options, labels;
};
extern const struct option_def network_create_options[];
extern const struct option_def network_check_options[];

/* NULL on error: ERR_INVALID names flag, value and what is accepted. */
pb_network_spec *network_build(const struct network_flags *flags, const char *name,
			       struct error *err);
/* In a refusal by the manager, put the flag in place of the field that it sets. */
void network_name_flag(struct error *err);
