/*
 * constraint - placement constraints: "node.labels.rack==a", "node.role != manager".
 *
 * Keys: node.id, node.hostname, node.ip (address or CIDR), node.role, node.platform.os,
 * node.platform.arch, node.labels.<name>, engine.labels.<name>. A label that a node lacks has the
 * value "". Values compare without regard to case, names of labels with. No patterns. Nothing is
 * allocated: a parsed constraint points into its text.
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>
#include <stddef.h>

struct error;

#define CONSTRAINT_MAX 512
#define CONSTRAINT_KEYS                                                                            \
	"node.id, node.hostname, node.ip, node.role, node.platform.os, "                           \
	"node.platform.arch, node.labels.<name>, engine.labels.<name>"

struct constraint {
	const char *key;
	size_t key_len;
	const char *value;
	size_t value_len;
	bool negate; /* != */
};

/* Errors: ERR_INVALID with the text and what is accepted. (Fuzzed.) */
int constraint_parse(const char *text, struct constraint *ret, struct error *err);

bool constraint_matches(const struct constraint *c, const pb_node *node);

/* All constraints of a placement hold (NULL: none). One that cannot be parsed holds nowhere. */
bool constraint_all_match(const pb_placement *placement, const pb_node *node);
/* The first that does not hold; NULL = all do. Borrowed from the placement. */
const char *constraint_first_mismatch(const pb_placement *placement, const pb_node *node);

/* Value of a key on a node: "" when it has none, NULL when there is no such key. Borrowed from the
 * node. */
const char *constraint_value(const pb_node *node, const char *key, size_t key_len);
