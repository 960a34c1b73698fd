/*
 * squeeze - compression of blocks on their way, as long as it pays. zstd's fastest level; the only <zstd.h>.
 *
 * It is measured as it goes: a run of blocks that hardly shrink turns it off for a while, then one is tried again. Any thread, one
 * at a time per object.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct squeeze;

struct squeeze *squeeze_new(void);
void squeeze_free(struct squeeze *s);

/*
 * Compress a block.
 *   ret  at least squeeze_bound(len) bytes
 * Returns the length, or 0: send it as it is.
 */
size_t squeeze_block(struct squeeze *s, const void *data, size_t len, void *ret, size_t ret_size);
size_t squeeze_bound(size_t len);
/* The opposite: exactly `plain_len` bytes come out. Errors: ERR_DATA_LOSS. */
int squeeze_expand(const void *data, size_t len, void *ret, size_t plain_len, struct error *err);

/* ---- pure, for tests: does it pay to try the next block? */
struct squeeze_sight {
	unsigned poor;  /* blocks in a row that hardly shrank */
	unsigned skip;  /* blocks not to be tried */
};
bool squeeze_try(struct squeeze_sight *s);
void squeeze_saw(struct squeeze_sight *s, size_t plain, size_t packed);
