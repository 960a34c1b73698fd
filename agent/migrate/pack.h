/*
 * pack - a tree as blocks of entries (MoveEntries of proto/peer.proto), made one at a time: bounded memory at any size of tree
 * and file. Blocking: uv pool, one call at a time.
 */
#pragma once
#include "agent/migrate/snapshot.h"

#include <stdbool.h>
#include <stdint.h>

struct error;
struct pack;

/* Of a block's entries. A file's content is cut into parts of at most PACK_PART_BYTES. */
#define PACK_BLOCK_BYTES (256u << 10)
#define PACK_PART_BYTES (128u << 10)
#define PACK_BLOCK_MAX (1u << 20)

/*
 * Of a directory, what `changes` names. Both snapshots and the changes must stay until pack_free(); before may be NULL.
 *   still  nothing writes to the tree: what has vanished is an error
 */
struct pack *pack_new(const char *dir, const struct snapshot *before, const struct snapshot *now,
		      const struct snapshot_changes *changes, bool still, struct error *err);
/*
 * The next block, packed; borrowed until the next call. Length 0: the end. Files that vanish or shrink meanwhile are left out or
 * cut: the next pass finds them changed.
 */
int pack_next(struct pack *p, const uint8_t **ret, size_t *ret_len, struct error *err);
/* At the end: of all blocks, as in MoveEnd. */
const char *pack_digest(const struct pack *p);
void pack_free(struct pack *p);
