#include "common/http/gzip.h"

#include "common/mem.h"

#include <zlib.h>

#define GZIP_WINDOW (15 + 16) /* 16: a gzip header, not zlib's own */
#define WELL_MAX_BYTES ((size_t)256 << 10)
#define LEVEL_WELL 6
#define LEVEL_FAST 1

char *gzip_encode(const char *data, size_t len, size_t *ret_len)
{
	z_stream z = {0};
	char *out;

	if (len == 0 || len > (size_t)1 << 30 ||
	    deflateInit2(&z, len <= WELL_MAX_BYTES ? LEVEL_WELL : LEVEL_FAST, Z_DEFLATED, GZIP_WINDOW, 8,
			 Z_DEFAULT_STRATEGY) != Z_OK)
		return NULL;
	out = xmalloc(len);
	z.next_in = (unsigned char *)data;
	z.avail_in = (unsigned)len;
	z.next_out = (unsigned char *)out;
	z.avail_out = (unsigned)len;
	if (deflate(&z, Z_FINISH) == Z_STREAM_END) {
		*ret_len = z.total_out;
		out = xrealloc(out, *ret_len);
	} else {
		free(out);
		out = NULL;
	}
	deflateEnd(&z);
	return out;
}
