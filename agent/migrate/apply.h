/*
 * apply - entries of a tree that comes in (MoveEntries of proto/peer.proto) become files below a directory, and only below it:
 * paths are relative, without "..", and are walked without leaving the directory (agent/image/tree.h). Blocking, one
 * thread at a time. (Fuzzed.)
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct apply;
struct error;

#define APPLY_MAX_ENTRIES UINT64_C(8000000)

/* The directory is made, with its parents (0700), when it is missing. */
struct apply *apply_new(const char *dir, struct error *err);
/*
 * One block.
 *   Errors  ERR_INVALID not what a sender sends; ERR_DATA_LOSS a path that leads out; ERR_EXHAUSTED disk full (a margin
 *           is left to others), too many entries
 */
int apply_block(struct apply *a, const void *data, size_t len, struct error *err);
/* All blocks are there. Errors: ERR_DATA_LOSS the digest is another one, or a file is not whole. */
int apply_end(struct apply *a, const char *digest, struct error *err);
uint64_t apply_bytes(const struct apply *a); /* of files' contents so far */
void apply_free(struct apply *a);
