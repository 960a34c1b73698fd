#include "id.h"

#include "mem.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define ID_BYTES 16
#define MAX_BYTES 64

void id_new(char ret_id[static ID_LEN + 1])
{
	unsigned char bytes[ID_BYTES];

	/* 16 bytes are never cut short; only a kernel without getrandom(2) fails. */
	while (getrandom(bytes, sizeof(bytes), 0) != sizeof(bytes)) {
		if (errno != EINTR)
			abort();
	}
	base36_encode(bytes, sizeof(bytes), ret_id, ID_LEN);
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 10;
	return -1;
}

bool id_valid(const char *s)
{
	size_t n = 0;

	if (!s)
		return false;
	for (; s[n]; n++) {
		if (n >= ID_LEN || digit_of(s[n]) < 0)
			return false;
	}
	return n == ID_LEN;
}

void base36_encode(const unsigned char *bytes, size_t n, char *ret, size_t width)
{
	unsigned char rest[MAX_BYTES];

	assert(n <= sizeof(rest));
	memcpy(rest, bytes, n);
	for (size_t pos = width; pos-- > 0;) {
		unsigned carry = 0;

		for (size_t i = 0; i < n; i++) {
			unsigned value = carry << 8 | rest[i];

			rest[i] = (unsigned char)(value / 36);
			carry = value % 36;
		}
		ret[pos] = "0123456789abcdefghijklmnopqrstuvwxyz"[carry];
	}
	ret[width] = '\0';
	for (size_t i = 0; i < n; i++)
		assert(rest[i] == 0); /* width is large enough for every value of n bytes */
	mem_wipe(rest, sizeof(rest));
}

int base36_decode(const char *s, size_t len, unsigned char *ret, size_t n)
{
	memset(ret, 0, n);
	for (size_t pos = 0; pos < len; pos++) {
		int digit = digit_of(s[pos]);
		unsigned carry = (unsigned)digit;

		if (digit < 0)
			return -1;
		for (size_t i = n; i-- > 0;) {
			unsigned value = ret[i] * 36u + carry;

			ret[i] = (unsigned char)value;
			carry = value >> 8;
		}
		if (carry)
			return -1;
	}
	return 0;
}
