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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(computes_what_the_standard_says),
		cmocka_unit_test(accepts_only_digests),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
