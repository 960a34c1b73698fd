#include "agent/migrate/squeeze.h"

#include "common/error.h"
#include "common/mem.h"

#include <zstd.h>

#define LEVEL 1
#define TINY_BYTES 512   /* not worth a try */
#define POOR_MAX 4       /* in a row: it is off for */
#define SKIP_BLOCKS 32
/* Below this a block is worth being sent compressed: less than a tenth saved costs more time than it saves on most links. */
#define GOOD_PERCENT 90

struct squeeze {
	ZSTD_CCtx *ctx;
	struct squeeze_sight sight;
};

bool squeeze_try(struct squeeze_sight *s)
{
	if (s->skip == 0)
		return true;
	s->skip--;
	return false;
}

void squeeze_saw(struct squeeze_sight *s, size_t plain, size_t packed)
{
	if (packed <= plain / 100 * GOOD_PERCENT) {
		s->poor = 0;
		return;
	}
	if (++s->poor < POOR_MAX)
		return;
	s->poor = POOR_MAX - 1; /* one more poor one is enough to turn it off again */
	s->skip = SKIP_BLOCKS;
}

struct squeeze *squeeze_new(void)
{
	struct squeeze *s = xnew(struct squeeze);

	s->ctx = ZSTD_createCCtx();
	if (!s->ctx)
		abort();
	return s;
}

void squeeze_free(struct squeeze *s)
{
	if (!s)
		return;
	ZSTD_freeCCtx(s->ctx);
	free(s);
}

size_t squeeze_bound(size_t len)
{
	return ZSTD_compressBound(len);
}

size_t squeeze_block(struct squeeze *s, const void *data, size_t len, void *ret, size_t ret_size)
{
	size_t n;

	if (len < TINY_BYTES || !squeeze_try(&s->sight))
		return 0;
	n = ZSTD_compressCCtx(s->ctx, ret, ret_size, data, len, LEVEL);
	if (ZSTD_isError(n))
		return 0;
	squeeze_saw(&s->sight, len, n);
	return n <= len / 100 * GOOD_PERCENT ? n : 0;
}

int squeeze_expand(const void *data, size_t len, void *ret, size_t plain_len, struct error *err)
{
	size_t n = ZSTD_decompress(ret, plain_len, data, len);

	if (ZSTD_isError(n))
		return error_set(err, ERR_DATA_LOSS, "compressed block is damaged: %s", ZSTD_getErrorName(n));
	if (n != plain_len)
		return error_set(err, ERR_DATA_LOSS, "compressed block has %zu bytes, announced are %zu", n, plain_len);
	return 0;
}
