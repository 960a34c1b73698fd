/* utf8 - one code point at a time. Pure; any thread. Source: RFC 3629. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/* Length of the sequence at p (p < end), 0 when it is none: malformed, overlong, a surrogate, beyond U+10FFFF, cut off. */
size_t utf8_sequence(const uint8_t *p, const uint8_t *end, uint32_t *ret);
