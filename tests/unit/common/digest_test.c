#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/digest.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* FIPS 180-2, B.1 */
#define ABC "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static void computes_what_the_standard_says(void **state)
{
	struct digest_sum *sum = digest_sum_new();
	int fd = memfd_create("abc", MFD_CLOEXEC);
	char digest[DIGEST_MAX];
	int64_t len = 0;

	digest_of("abc", 3, digest);
	assert_string_equal(digest, ABC);
	digest_sum_add(sum, "a", 1);
	digest_sum_add(sum, "bc", 2);
	digest_sum_end(sum, digest);
	digest_sum_free(sum);
	assert_string_equal(digest, ABC);
	assert_int_equal(write(fd, "xabc", 4), 4);
	assert_int_equal(lseek(fd, 1, SEEK_SET), 1);
	assert_int_equal(digest_of_fd(fd, digest, &len, NULL), 0);
	assert_string_equal(digest, ABC);
	assert_int_equal(len, 3);
	close(fd);
	assert_int_equal(digest_of_fd(fd, digest, &len, NULL), -1);
}

static void accepts_only_digests(void **state)
{
	char upper[] = ABC;

	assert_true(digest_valid(ABC));
	assert_string_equal(digest_hex(ABC), ABC + 7);
	upper[10] = 'A';
	assert_false(digest_valid(upper));
	assert_false(digest_valid(ABC "0"));
	assert_false(digest_valid(ABC "/"));
	assert_false(digest_valid("sha512:" "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"));
	assert_false(digest_valid("sha256:../../etc/passwd"));
	assert_false(digest_valid(""));
	assert_false(digest_valid(NULL));
}

/* RFC 4231, test cases 2 and 6 (a key that is longer than a block). */
static void macs_are_what_the_standard_says(void **state)
{
	static const uint8_t jefe[] = {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24,
				       0x26, 0x08, 0x95, 0x75, 0xc7, 0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27,
				       0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43};
	static const uint8_t longer[] = {0x60, 0xe4, 0x31, 0x59, 0x1e, 0xe0, 0xb6, 0x7f, 0x0d, 0x8a, 0x26,
					 0xaa, 0xcb, 0xf5, 0xb7, 0x7f, 0x8e, 0x0b, 0xc6, 0x21, 0x37, 0x28,
					 0xc5, 0x14, 0x05, 0x46, 0x04, 0x0f, 0x0e, 0xe3, 0x7f, 0x54};
	static const char text[] = "Test Using Larger Than Block-Size Key - Hash Key First";
	uint8_t mac[DIGEST_MAC_BYTES], key[131];

	digest_mac("Jefe", 4, "what do ya want for nothing?", 28, mac);
	assert_memory_equal(mac, jefe, sizeof(mac));
	memset(key, 0xaa, sizeof(key));
	digest_mac(key, sizeof(key), text, strlen(text), mac);
	assert_memory_equal(mac, longer, sizeof(mac));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(computes_what_the_standard_says),
		cmocka_unit_test(accepts_only_digests),
		cmocka_unit_test(macs_are_what_the_standard_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
