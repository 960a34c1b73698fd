/*
 * netstate_entry - what makes two entries the same one, and what makes them equal.
 * Pure; used by the set and by differences only.
 */
#pragma once
#include "netstate.h"

#define NETSTATE_KEY_MAX 128

/* The key as bytes; their number is returned. Equal keys have equal bytes, of entries of all kinds. */
size_t netstate_entry_key(const struct netstate_entry *e, uint8_t ret[static NETSTATE_KEY_MAX]);

/* All that was said is the same (keys included). */
bool netstate_entry_equal(const struct netstate_entry *a, const struct netstate_entry *b);
/* What the kernel has satisfies the wish; keys are known to be equal. */
bool netstate_entry_fulfils(const struct netstate_entry *have, const struct netstate_entry *want);

/* A link that cannot be changed into the other one: it has to be made anew. */
bool netstate_link_remade(const struct netstate_link *old, const struct netstate_link *new);
/* Name of the link that the entry stands on and is lost with; "" for none. */
const char *netstate_entry_base(const struct netstate_entry *e);
