/*
 * digest - names of content: "sha256:<64 lower-case hex>". The only algorithm that is accepted.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

#define DIGEST_MAX 72 /* with the NUL */
#define DIGEST_HEX_LEN 64

bool digest_valid(const char *s);
/* The hex behind "sha256:" of a valid digest. */
const char *digest_hex(const char *digest);

/* Of bytes that are already there. */
void digest_of(const void *data, size_t len, char ret[static DIGEST_MAX]);

/* Of a stream. Any thread, one at a time. */
struct digest_sum;
struct digest_sum *digest_sum_new(void);
void digest_sum_add(struct digest_sum *sum, const void *data, size_t len);
void digest_sum_end(struct digest_sum *sum, char ret[static DIGEST_MAX]); /* once */
void digest_sum_free(struct digest_sum *sum);
static inline void digest_sum_freep(struct digest_sum **p)
{
	digest_sum_free(*p);
	*p = NULL;
}

/* Keyed: HMAC-SHA-256 (RFC 2104), for keys that are derived of others. key_len: at most DIGEST_KEY_MAX. */
#define DIGEST_MAC_BYTES 32
#define DIGEST_KEY_MAX 1024
void digest_mac(const void *key, size_t key_len, const void *data, size_t len, uint8_t ret[static DIGEST_MAC_BYTES]);

/* Of all that is left to read from fd; blocking. ret_bytes may be NULL. Errors: of read(2). */
int digest_of_fd(int fd, char ret[static DIGEST_MAX], int64_t *ret_bytes, struct error *err);
