/*
 * validate - Swarm's rules and our bounds for what users may ask. Pure.
 * Every error names the field, its value and what is accepted (always ERR_INVALID, ERR_EXHAUSTED
 * for sizes).
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

#define VALIDATE_SPEC_MAX_BYTES (256u << 10)
#define VALIDATE_REPLICAS_MAX 100000
#define VALIDATE_LABELS_MAX 512
#define VALIDATE_ADDRESS_POOLS_MAX 16

struct validate_ops {
	void *data;
	/* Syntax of one placement constraint. */
	int (*constraint_check)(void *data, const char *expr, struct error *err);
};

/*
 * Bring a spec into the one form that is stored: defaults (Swarm's), image reference normalised,
 * capabilities as "CAP_X", network "bridge" when none was given, ports with a protocol. What cannot
 * be brought into form is left for the check.
 */
void validate_normalise_service(pb_service_spec *spec);

/* A normalised service spec. (Fuzzed.) */
int validate_service(const pb_service_spec *spec, const struct validate_ops *ops,
		     struct error *err);

/*
 * A network: driver "overlay" unless given, option "encrypted" is "true" or not there, a mode where the
 * driver has some. The check is of the spec alone: see network_rules.h for what others have.
 */
void validate_normalise_network(pb_network_spec *spec);
int validate_network(const pb_network_spec *spec, struct error *err);

int validate_cluster_spec(const pb_cluster_spec *spec, struct error *err);
int validate_node_spec(const pb_node_spec *spec, struct error *err);
int validate_token_request(const Skein__CreateTokenRequest *request, struct error *err);

/* ---- parts, used by each other */

int validate_labels(const char *field, pb_kv *const *labels, size_t n, struct error *err);
/* Swarm's names of services: [a-zA-Z0-9], single or repeated - and _ inside, at most 63. */
int validate_name(const char *field, const char *name, struct error *err);
int validate_container(const pb_container_spec *c, const char *network, struct error *err);
/* Attachments, ports, and the labels that choose how to balance; see service_networks.h for the rest. */
int validate_endpoint(const pb_service_spec *spec, struct error *err);
/* Name servers, search domains, options, lines of /etc/hosts. */
int validate_names(const pb_container_spec *c, struct error *err);
/* Labels of letters, digits and inner -, joined by dots (RFC 1123 2.1); at most 253 bytes. */
bool validate_is_hostname(const char *name);
/* What the subnets of networks are cut from; prefix 0 = 24. */
int validate_address_pools(char *const *pools, size_t n, uint32_t prefix, struct error *err);
int validate_mounts(const pb_container_spec *c, struct error *err);
/* duration in ns: 0 to a year. */
int validate_duration(const char *field, int64_t ns, struct error *err);
/* `what` accepts; always -1. */
int validate_refuse(struct error *err, const char *value, const char *accepted,
		    const char *field_fmt, ...) __attribute__((format(printf, 4, 5)));
