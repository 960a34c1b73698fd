#include "common/digest.h"

#include "common/error.h"
#include "common/mem.h"

#include <assert.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>
#include <unistd.h>

#define PREFIX "sha256:"
#define READ_BYTES (256u << 10)

struct digest_sum {
	EVP_MD_CTX *ctx;
};

bool digest_valid(const char *s)
{
	if (!s || strncmp(s, PREFIX, strlen(PREFIX)) != 0)
		return false;
	s += strlen(PREFIX);
	return strlen(s) == DIGEST_HEX_LEN && strspn(s, "0123456789abcdef") == DIGEST_HEX_LEN;
}

const char *digest_hex(const char *digest)
{
	assert(digest_valid(digest));
	return digest + strlen(PREFIX);
}

struct digest_sum *digest_sum_new(void)
{
	struct digest_sum *sum = xnew(struct digest_sum);
	int ok;

	sum->ctx = EVP_MD_CTX_new();
	ok = sum->ctx && EVP_DigestInit_ex(sum->ctx, EVP_sha256(), NULL);
	if (!ok)
		abort(); /* out of memory: as xmalloc */
	return sum;
}

void digest_sum_add(struct digest_sum *sum, const void *data, size_t len)
{
	int ok = EVP_DigestUpdate(sum->ctx, data, len);

	assert(ok);
	(void)ok;
}

void digest_sum_end(struct digest_sum *sum, char ret[static DIGEST_MAX])
{
	static const char hex[] = "0123456789abcdef";
	unsigned char md[EVP_MAX_MD_SIZE];
	unsigned len = 0;
	int ok = EVP_DigestFinal_ex(sum->ctx, md, &len);
	char *p = ret + strlen(PREFIX);

	assert(ok && len * 2 == DIGEST_HEX_LEN);
	(void)ok;
	memcpy(ret, PREFIX, strlen(PREFIX));
	for (unsigned i = 0; i < len; i++) {
		*p++ = hex[md[i] >> 4];
		*p++ = hex[md[i] & 15];
	}
	*p = '\0';
}

void digest_sum_free(struct digest_sum *sum)
{
	if (!sum)
		return;
	EVP_MD_CTX_free(sum->ctx);
	free(sum);
}

void digest_of(const void *data, size_t len, char ret[static DIGEST_MAX])
{
	_cleanup_(digest_sum_freep) struct digest_sum *sum = digest_sum_new();

	digest_sum_add(sum, data, len);
	digest_sum_end(sum, ret);
}

void digest_mac(const void *key, size_t key_len, const void *data, size_t len, uint8_t ret[static DIGEST_MAC_BYTES])
{
	unsigned n = 0;

	assert(key_len <= DIGEST_KEY_MAX);
	if (!HMAC(EVP_sha256(), key, (int)key_len, data, len, ret, &n) || n != DIGEST_MAC_BYTES)
		abort(); /* out of memory */
}

int digest_of_fd(int fd, char ret[static DIGEST_MAX], int64_t *ret_bytes, struct error *err)
{
	_cleanup_(digest_sum_freep) struct digest_sum *sum = digest_sum_new();
	_cleanup_free_ char *buf = xmalloc(READ_BYTES);
	int64_t total = 0;

	for (;;) {
		ssize_t n = read(fd, buf, READ_BYTES);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return error_set_errno(err, errno, "read");
		if (n == 0)
			break;
		digest_sum_add(sum, buf, (size_t)n);
		total += n;
	}
	digest_sum_end(sum, ret);
	if (ret_bytes)
		*ret_bytes = total;
	return 0;
}
