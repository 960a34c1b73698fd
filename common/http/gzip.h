/* gzip - the gzip form of bytes (RFC 1952), by zlib. Pure; any thread. */
#pragma once
#include <stddef.h>

/* Yours; NULL when it would not be smaller. Large inputs are compressed fast rather than well. */
char *gzip_encode(const char *data, size_t len, size_t *ret_len);
