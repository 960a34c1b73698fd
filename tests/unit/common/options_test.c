#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "common/mem.h"
#include "common/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct config {
	bool verbose, quiet, no_trunc;
	char *listen, *mode, *token;
	uint64_t replicas;
	int64_t score, memory, delay, cpus;
	double ratio;
	struct strv labels;
};

static const struct option_def defs[] = {
	{"verbose", 'v', OPT_BOOL(struct config, verbose), .help = "say more", .def = "true"},
	{"quiet", 'q', OPT_BOOL(struct config, quiet), .help = "say less"},
	{"no-trunc", 0, OPT_BOOL(struct config, no_trunc), .help = "whole ids"},
	{"listen", 'l', OPT_STR(struct config, listen), .def = "0.0.0.0:2377", .arg = "HOST:PORT",
	 .help = "address for agents and clients", .env = "OPTIONS_TEST_LISTEN"},
	{"mode", 0, OPT_ENUM(struct config, mode), .choices = "replicated|global", .def = "replicated", .help = "kind"},
	{"token", 0, OPT_STR(struct config, token), .secret = true, .def = "hush", .help = "join token"},
	{"pin", 0, OPT_U64(struct config, replicas), .secret = true, .hidden = true},
	{"replicas", 'n', OPT_U64(struct config, replicas), .def = "1", .min = 0, .max = 100, .help = "tasks"},
	{"score", 0, OPT_I64(struct config, score), .min = (uint64_t)-1000, .max = 1000, .help = "badness"},
	{"memory", 'm', OPT_BYTES(struct config, memory), .min = 4 << 20, .max = 1 << 30, .help = "limit"},
	{"delay", 0, OPT_DURATION(struct config, delay), .def = "5s", .help = "wait"},
	{"cpus", 0, OPT_CPUS(struct config, cpus), .help = "limit"},
	{"ratio", 0, OPT_FLOAT(struct config, ratio), .min = 0, .max = 1, .help = "share"},
	{"label", 0, OPT_LIST(struct config, labels), .arg = "KEY=VALUE", .def = "a=b", .help = "labels"},
	{0},
};

struct parsed {
	struct config config;
	struct strv args;
	struct option_seen seen;
	struct error err;
	int result;
};

static void parse_argv(struct parsed *p, bool stop, int argc, char **argv)
{
	memset(p, 0, sizeof(*p));
	options_defaults(defs, &p->config);
	p->result = options_parse_args(defs, &p->config, argc, argv, stop, &p->args, &p->seen, &p->err);
}

#define PARSE(p, stop, ...)                                                                        \
	do {                                                                                       \
		char *argv_[] = {__VA_ARGS__};                                                     \
		parse_argv(p, stop, (int)ARRAY_SIZE(argv_), argv_);                                \
	} while (0)

static void fini(struct parsed *p)
{
	options_fini(defs, &p->config);
	strv_fini(&p->args);
}

static void defaults_are_set(void **state)
{
	struct config c = {0};

	options_defaults(defs, &c);
	assert_true(c.verbose);
	assert_string_equal(c.listen, "0.0.0.0:2377");
	assert_string_equal(c.mode, "replicated");
	assert_int_equal(c.replicas, 1);
	assert_int_equal(c.delay, INT64_C(5000000000));
	assert_int_equal(c.labels.n, 1);
	options_fini(defs, &c);
	assert_null(c.listen);
	assert_int_equal(c.labels.n, 0);
}

static void every_form_of_a_flag(void **state)
{
	struct parsed p;

	PARSE(&p, false, "-qn5", "web", "--no-verbose", "--listen=[::]:1", "--mode", "global", "-m=8m", "--score", "-7",
	      "--cpus=.5", "--ratio=0.25", "--delay", "1m", "--label", "x=y", "--label=z", "--no-trunc", "--", "-q");
	assert_int_equal(p.result, 0);
	assert_true(p.config.quiet);
	assert_false(p.config.verbose);
	assert_true(p.config.no_trunc);
	assert_int_equal(p.config.replicas, 5);
	assert_string_equal(p.config.listen, "[::]:1");
	assert_string_equal(p.config.mode, "global");
	assert_int_equal(p.config.memory, 8 << 20);
	assert_int_equal(p.config.score, -7);
	assert_int_equal(p.config.cpus, 500000000);
	assert_true(p.config.ratio == 0.25);
	assert_int_equal(p.config.delay, INT64_C(60000000000));
	assert_int_equal(p.config.labels.n, 2);
	assert_string_equal(p.config.labels.v[0], "x=y");
	assert_int_equal(p.args.n, 2);
	assert_string_equal(p.args.v[0], "web");
	assert_string_equal(p.args.v[1], "-q");
	assert_true(option_was_seen(defs, &p.seen, "verbose"));
	assert_false(option_was_seen(defs, &p.seen, "token"));
	fini(&p);
}

static void bool_values(void **state)
{
	struct parsed p;

	PARSE(&p, false, "--verbose=false", "--quiet=true", "--no-trunc=false", "-q=false");
	assert_int_equal(p.result, 0);
	assert_false(p.config.verbose);
	assert_false(p.config.quiet);
	assert_false(p.config.no_trunc);
	fini(&p);
}

static void nothing_is_read_behind_the_first_argument(void **state)
{
	struct parsed p;

	PARSE(&p, true, "-q", "image", "--replicas", "-v", "--");
	assert_int_equal(p.result, 0);
	assert_int_equal(p.args.n, 4);
	assert_string_equal(p.args.v[1], "--replicas");
	assert_string_equal(p.args.v[3], "--");
	fini(&p);
}

static void bad_values_name_flag_value_and_what_is_accepted(void **state)
{
	static const struct {
		char *arg;
		const char *want;
	} cases[] = {
		{"--replicas=abc", "--replicas: invalid value \"abc\": expected a whole number from 0 to 100"},
		{"--replicas=101", "--replicas: invalid value \"101\": expected a whole number from 0 to 100"},
		{"-n-1", "--replicas: invalid value \"-1\": expected a whole number from 0 to 100"},
		{"--score=1001", "--score: invalid value \"1001\": expected a whole number from -1000 to 1000"},
		{"--score=-1001", "--score: invalid value \"-1001\": expected a whole number from -1000 to 1000"},
		{"--mode=glob", "--mode: invalid value \"glob\": expected one of replicated, global"},
		{"--mode=", "--mode: invalid value \"\": expected one of replicated, global"},
		{"--mode=replicated|global", "--mode: invalid value \"replicated|global\": expected one of replicated, global"},
		{"--delay=-1s", "--delay: invalid value \"-1s\": expected a duration such as 10s, 500ms or 1h30m"},
		{"--delay=10", "--delay: invalid value \"10\": expected a duration such as 10s, 500ms or 1h30m"},
		{"--cpus=-1", "--cpus: invalid value \"-1\": expected a number of cores such as 0.5 or 2"},
		{"--ratio=2", "--ratio: invalid value \"2\": expected a number such as 0.1 from 0 to 1"},
		{"--ratio=nan", "--ratio: invalid value \"nan\": expected a number such as 0.1 from 0 to 1"},
		{"--ratio=0x1", "--ratio: invalid value \"0x1\": expected a number such as 0.1 from 0 to 1"},
		{"--ratio=", "--ratio: invalid value \"\": expected a number such as 0.1 from 0 to 1"},
		{"--quiet=maybe", "--quiet: invalid value \"maybe\": expected true or false"},
		{"--pin=s3cret", "--pin: invalid value \"(hidden)\": expected a whole number"},
		{"--listen", "--listen needs a value: text"},
		{"--mode", "--mode needs a value: one of replicated, global"},
		{"--replica=3", "unknown flag --replica: did you mean --replicas?"},
		{"--lable=x", "unknown flag --lable: did you mean --label?"},
		{"--frobnicate", "unknown flag --frobnicate"},
		{"--no-listen", "unknown flag --no-listen: did you mean --listen?"},
		{"--no-quiet=true", "unknown flag --no-quiet: did you mean --quiet?"},
		{"--=x", "unknown flag --"},
		{"-x", "unknown flag -x"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct parsed p;

		PARSE(&p, false, cases[i].arg);
		assert_int_equal(p.result, -1);
		assert_int_equal(p.err.code, ERR_INVALID);
		assert_string_equal(p.err.msg, cases[i].want);
		fini(&p);
	}
}

static void size_bounds_are_named_as_sizes(void **state)
{
	struct parsed p;

	PARSE(&p, false, "--memory=1k");
	assert_int_equal(p.result, -1);
	assert_non_null(strstr(p.err.msg, "\"1k\": expected a size such as 512m, 1.5g or 4096 from 4MiB to 1GiB"));
	fini(&p);
}

static void environment_is_weaker_than_the_flag(void **state)
{
	struct parsed p;

	setenv("OPTIONS_TEST_LISTEN", "from-env", 1);
	PARSE(&p, false, "-q");
	assert_string_equal(p.config.listen, "from-env");
	assert_true(option_was_seen(defs, &p.seen, "listen"));
	fini(&p);
	PARSE(&p, false, "-l", "flag");
	assert_string_equal(p.config.listen, "flag");
	fini(&p);
	unsetenv("OPTIONS_TEST_LISTEN");
}

static int parse_text(struct config *c, struct option_seen *seen, const char *text, struct error *err)
{
	return options_parse_text(defs, c, "agent.conf", text, seen, err);
}

static void file_is_weaker_than_flags(void **state)
{
	struct error err = ERROR_INIT;
	struct parsed p;

	PARSE(&p, false, "--replicas=7", "--label=flag");
	assert_int_equal(parse_text(&p.config, &p.seen,
				    "# a comment\n\n  mode = global \r\nreplicas=3\nlabel = file\nlisten = a = b\nquiet=true\ntoken =", &err), 0);
	assert_int_equal(p.config.replicas, 7);
	assert_string_equal(p.config.mode, "global");
	assert_string_equal(p.config.listen, "a = b");
	assert_string_equal(p.config.token, "");
	assert_true(p.config.quiet);
	assert_int_equal(p.config.labels.n, 1);
	assert_string_equal(p.config.labels.v[0], "flag");
	fini(&p);
}

static void list_in_a_file_replaces_the_default(void **state)
{
	struct option_seen seen = {0};
	struct error err = ERROR_INIT;
	struct config c = {0};

	options_defaults(defs, &c);
	assert_int_equal(parse_text(&c, &seen, "label = x\nlabel = y\n", &err), 0);
	assert_int_equal(c.labels.n, 2);
	assert_string_equal(c.labels.v[0], "x");
	assert_string_equal(c.labels.v[1], "y");
	options_fini(defs, &c);
}

static void bad_lines_are_named(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"\nlisten", "agent.conf:2: \"listen\": expected key = value"},
		{"lsten = x", "agent.conf:1: unknown key lsten: did you mean listen?"},
		{"= x", "agent.conf:1: unknown key "},
		{"replicas = 3\nreplicas = 4", "agent.conf:2: replicas is given twice"},
		{"replicas = many", "agent.conf:1: replicas: invalid value \"many\": expected a whole number from 0 to 100"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = ERROR_INIT;
		struct config c = {0};

		options_defaults(defs, &c);
		assert_int_equal(parse_text(&c, NULL, cases[i].text, &err), -1);
		assert_string_equal(err.msg, cases[i].want);
		options_fini(defs, &c);
	}
}

static void missing_file_is_not_found(void **state)
{
	struct error err = ERROR_INIT;
	struct config c = {0};

	assert_int_equal(options_parse_file(defs, &c, "/nonexistent/agent.conf", NULL, &err), -1);
	assert_int_equal(err.code, ERR_NOT_FOUND);
}

static char *printed(void (*print)(FILE *out))
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	print(out);
	fclose(out);
	return text;
}

static void print_help(FILE *out)
{
	options_print_help(defs, out, 72);
}

static void print_man(FILE *out)
{
	options_print_man(defs, out);
}

static void help_is_aligned_and_wrapped(void **state)
{
	_cleanup_free_ char *text = printed(print_help);
	char *line, *rest = text;

	assert_non_null(strstr(text, "Options:\n  -v, --verbose"));
	assert_non_null(strstr(text, "  -l, --listen HOST:PORT "));
	assert_non_null(strstr(text, "[$OPTIONS_TEST_LISTEN]"));
	assert_non_null(strstr(text, "--mode replicated|global"));
	assert_non_null(strstr(text, "(default 5s)"));
	assert_null(strstr(text, "hush"));
	assert_null(strstr(text, "--pin"));
	while ((line = strsep(&rest, "\n")))
		assert_true(strlen(line) <= 72);
}

static void man_page_escapes_hyphens(void **state)
{
	_cleanup_free_ char *text = printed(print_man);

	assert_non_null(strstr(text, ".TP\n\\fB\\-q\\fR, \\fB\\-\\-quiet\\fR\nSay less.\n"));
	assert_non_null(strstr(text, "\\fB\\-\\-no\\-trunc\\fR"));
	assert_null(strstr(text, "hush"));
	assert_null(strstr(text, "pin"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(defaults_are_set),
		cmocka_unit_test(every_form_of_a_flag),
		cmocka_unit_test(bool_values),
		cmocka_unit_test(nothing_is_read_behind_the_first_argument),
		cmocka_unit_test(bad_values_name_flag_value_and_what_is_accepted),
		cmocka_unit_test(size_bounds_are_named_as_sizes),
		cmocka_unit_test(environment_is_weaker_than_the_flag),
		cmocka_unit_test(file_is_weaker_than_flags),
		cmocka_unit_test(list_in_a_file_replaces_the_default),
		cmocka_unit_test(bad_lines_are_named),
		cmocka_unit_test(missing_file_is_not_found),
		cmocka_unit_test(help_is_aligned_and_wrapped),
		cmocka_unit_test(man_page_escapes_hyphens),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
