/* What a node says of itself. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/nodeinfo.h"
#include "common/mem.h"
#include "common/str.h"

#include <string.h>

static void name_of_the_system(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian\"\n", "Debian GNU/Linux 12 (bookworm)"},
		{"NAME=Alpine\nID=alpine\nPRETTY_NAME='Alpine Linux v3.19'\n", "Alpine Linux v3.19"},
		{"PRETTY_NAME=Void\n", "Void"},
		{"PRETTY_NAME=Void", "Void"},
		{"PRETTY_NAME=\"not closed\nNAME=x\n", "not closed"},
		{"PRETTY_NAME=\n", ""},
		{"PRETTY_NAME=\"\"", ""},
		{"PRETTY_NAME=\"", ""},
		{"XPRETTY_NAME=no\n#PRETTY_NAME=no\n", ""},
		{"\n\n", ""},
		{"", ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *got = nodeinfo_os_name(cases[i].text);

		assert_string_equal(got, cases[i].want);
	}
}

static const char *label(const pb_node_description *d, const char *key)
{
	for (size_t i = 0; i < d->n_engine_labels; i++) {
		if (str_eq(d->engine_labels[i]->key, key))
			return d->engine_labels[i]->value;
	}
	return NULL;
}

static void description_of_this_host(void **state)
{
	char *labels[] = {(char *)"rack=a=b", (char *)"fast", NULL};
	struct nodeinfo_options options = {.engine_labels = labels};
	_cleanup_pb_ pb_node_description *d = nodeinfo_describe(&options), *less = NULL;

	(void)state;
	assert_true(d->hostname[0] && !strchr(d->hostname, '.'));
	assert_string_equal(d->os, "linux");
	assert_true(d->capacity->cpu_nano >= 1000000000);
	assert_true(d->capacity->mem_bytes > 0);
	assert_string_equal(label(d, "rack"), "a=b");
	assert_string_equal(label(d, "fast"), "");
	options.reserved_mem_bytes = 1 << 20;
	less = nodeinfo_describe(&options);
	assert_int_equal(d->capacity->mem_bytes - less->capacity->mem_bytes, 1 << 20);
	pb_free(less);
	options.reserved_mem_bytes = INT64_MAX; /* never less than nothing */
	less = nodeinfo_describe(&options);
	assert_int_equal(less->capacity->mem_bytes, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(name_of_the_system),
		cmocka_unit_test(description_of_this_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
