/*
 * unpack - one layer (tar; plain, gzip or zstd) into a directory, in one pass: the digest of the bytes as they
 * came and of the tar inside are computed while it is unpacked.
 *
 *   .wh.NAME        a character device 0/0, overlayfs' "there is nothing"
 *   .wh..wh..opq    trusted.overlay.opaque on its directory
 *
 * Kept are types, numeric owners, modes with setuid bits, times, hard links, devices, user.* and
 * security.capability attributes, ACLs as attributes. Blocking: uv pool. (Fuzzed.)
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct error;

#define UNPACK_MAX_ENTRIES UINT64_C(2000000)

struct unpack_options {
	const char *blob_path;
	const char *blob_digest;     /* expected; NULL = not checked (fuzzing) */
	const char *diff_id;         /* expected digest of the tar; NULL = not checked */
	const char *root;            /* existing empty directory; NULL = only check both digests */
	int64_t max_bytes;           /* of files' contents; 0 = as the disk allows */
	uint64_t max_entries;        /* 0 = UNPACK_MAX_ENTRIES */
	const atomic_bool *cancel;   /* NULL or: stop when it becomes true */
};

/*
 * On failure the directory holds a part of the layer: remove it.
 *   Errors  ERR_DATA_LOSS  digest mismatch, damaged or hostile archive
 *           ERR_EXHAUSTED  disk full (a margin is left to others), too many entries
 *           ERR_CANCELLED
 */
int unpack_layer(const struct unpack_options *options, struct error *err);
