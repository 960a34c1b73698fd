#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "common/imageref.h"
#include "common/mem.h"

#include <stdio.h>
#include <string.h>

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void normal_and_familiar_forms(void **state)
{
	static const struct {
		const char *text, *full, *familiar;
	} cases[] = {
		{"web", "docker.io/library/web:latest", "web:latest"},
		{"web:1.25-alpine", "docker.io/library/web:1.25-alpine", "web:1.25-alpine"},
		{"me/web", "docker.io/me/web:latest", "me/web:latest"},
		{"docker.io/web", "docker.io/library/web:latest", "web:latest"},
		{"index.docker.io/library/web", "docker.io/library/web:latest", "web:latest"},
		{"docker.io/library/a/b", "docker.io/library/a/b:latest", "library/a/b:latest"},
		{"localhost/web", "localhost/web:latest", "localhost/web:latest"},
		{"localhost:5000/a/b:x", "localhost:5000/a/b:x", "localhost:5000/a/b:x"},
		{"10.0.0.1:5000/a", "10.0.0.1:5000/a:latest", "10.0.0.1:5000/a:latest"},
		{"[fd00::1]:5000/a", "[fd00::1]:5000/a:latest", "[fd00::1]:5000/a:latest"},
		{"Registry/a", "Registry/a:latest", "Registry/a:latest"},
		{"a__b/c---d.e_f", "docker.io/a__b/c---d.e_f:latest", "a__b/c---d.e_f:latest"},
		{"docker.io/cker.io/a", "docker.io/cker.io/a:latest", "docker.io/cker.io/a:latest"},
		{"docker.io/" HEX, "docker.io/library/" HEX ":latest", "docker.io/" HEX ":latest"},
		{"web@sha256:" HEX, "docker.io/library/web@sha256:" HEX, "web@sha256:" HEX},
		{"r.example/web:1@sha256:" HEX, "r.example/web:1@sha256:" HEX, "r.example/web:1@sha256:" HEX},
	};
	char buf[IMAGEREF_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct imageref ref, again;

		assert_int_equal(imageref_parse(cases[i].text, &ref, NULL), 0);
		assert_string_equal(imageref_format(&ref, buf), cases[i].full);
		assert_int_equal(imageref_parse(buf, &again, NULL), 0);
		assert_string_equal(imageref_format(&again, buf), cases[i].full);
		assert_string_equal(imageref_familiar(&ref, buf), cases[i].familiar);
	}
}

static void refused(void **state)
{
	static const char *const bad[] = {
		"", "Web", "web:", "web:-x", "web@", "web@sha256:abc", "web@sha512:" HEX, "/web", "web/",
		"a//b", "a/../b", "-a", "a-", "a___b", "a..b", "web latest", "web:a/b:c d", HEX, "host:x/web",
		":80/web", "[zz]/web", "[]/web", "[::1/web", "host.:1/web", "-h.x/web", "a.b:123456/c",
		"web\n", "w\xc3\xa9", "http://host/web", "web@sha256:" HEX "@sha256:" HEX,
	};
	struct error err = ERROR_INIT;
	struct imageref ref;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (imageref_parse(bad[i], &ref, &err) == 0)
			fail_msg("accepted \"%s\"", bad[i]);
		assert_int_equal(err.code, ERR_INVALID);
	}
}

static void lengths(void **state)
{
	char text[700], buf[IMAGEREF_MAX];
	struct imageref ref;

	memset(text, 'a', sizeof(text));
	memcpy(text, "r.example/", 10);
	text[255] = '\0';
	snprintf(text + 255, sizeof(text) - 255, ":%0128d@sha256:" HEX, 1);
	assert_int_equal(imageref_parse(text, &ref, NULL), 0);
	assert_string_equal(imageref_format(&ref, buf), text);

	memset(text, 'a', sizeof(text));
	memcpy(text, "r.example/", 10);
	text[256] = '\0';
	assert_int_equal(imageref_parse(text, &ref, NULL), -1);

	memset(text, 'a', sizeof(text)); /* becomes longer by "docker.io/library/" */
	text[250] = '\0';
	assert_int_equal(imageref_parse(text, &ref, NULL), -1);
	text[255 - 18] = '\0';
	assert_int_equal(imageref_parse(text, &ref, NULL), 0);

	memset(text, 'a', sizeof(text));
	text[699] = '\0';
	assert_int_equal(imageref_parse(text, &ref, NULL), -1);
	snprintf(text, sizeof(text), "web:%0129d", 1);
	assert_int_equal(imageref_parse(text, &ref, NULL), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(normal_and_familiar_forms),
		cmocka_unit_test(refused),
		cmocka_unit_test(lengths),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
