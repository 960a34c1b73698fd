/*
 * options - one table is command-line flags, configuration file keys, --help, completion and man page.
 *
 *   static const struct option_def defs[] = {
 *     {"listen", 'l', OPT_STR(struct config, listen), .def = "0.0.0.0:2377", .arg = "HOST:PORT",
 *      .help = "address for agents and clients"},
 *     {"label", 0, OPT_LIST(struct config, labels), .arg = "KEY=VALUE", .help = "..."},
 *     {0}};
 */
#pragma once
#include "str.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct error;

enum option_kind {
	OPTION_BOOL,      /* bool; --x, --x=true|false, --no-x */
	OPTION_STR,       /* char * (owned) */
	OPTION_U64,
	OPTION_I64,
	OPTION_BYTES,     /* int64_t bytes */
	OPTION_DURATION,  /* int64_t ns */
	OPTION_CPUS,      /* int64_t 1e-9 cores */
	OPTION_FLOAT,     /* double */
	OPTION_ENUM,      /* char * (owned), one of .choices "a|b|c" */
	OPTION_LIST,      /* struct strv; may be repeated */
};

struct option_def {
	const char *name;      /* without dashes */
	char letter;           /* 0 = none */
	enum option_kind kind;
	size_t offset;         /* of the value in the caller's struct */
	const char *def;       /* default as text; NULL = zero */
	const char *arg;       /* name of the argument in --help */
	const char *help;      /* one sentence, lower case, no full stop */
	const char *choices;   /* "a|b|c" */
	uint64_t min, max;     /* of numbers, when max > 0 */
	const char *env;       /* environment variable that sets it, weaker than the flag */
	bool hidden;
	bool secret;           /* never printed */
};

#define OPT_BOOL(type, field) OPTION_BOOL, offsetof(type, field)
#define OPT_STR(type, field) OPTION_STR, offsetof(type, field)
#define OPT_U64(type, field) OPTION_U64, offsetof(type, field)
#define OPT_I64(type, field) OPTION_I64, offsetof(type, field)
#define OPT_BYTES(type, field) OPTION_BYTES, offsetof(type, field)
#define OPT_DURATION(type, field) OPTION_DURATION, offsetof(type, field)
#define OPT_CPUS(type, field) OPTION_CPUS, offsetof(type, field)
#define OPT_FLOAT(type, field) OPTION_FLOAT, offsetof(type, field)
#define OPT_ENUM(type, field) OPTION_ENUM, offsetof(type, field)
#define OPT_LIST(type, field) OPTION_LIST, offsetof(type, field)

/* Which options were given explicitly: bit i for defs[i]. */
struct option_seen {
	uint64_t bits[4];
};

bool option_was_seen(const struct option_def *defs, const struct option_seen *seen, const char *name);

/* Set all defaults in the (zeroed) struct `values`. Values set later free the earlier ones. */
void options_defaults(const struct option_def *defs, void *values);
void options_fini(const struct option_def *defs, void *values);

/*
 * The flag comes first, then the environment variable of the option, then the file, then `def`.
 * A list's default is replaced by the first value given. Sizes, durations and cores are never negative
 * unless `min` says so (signed kinds read min and max as int64_t).
 *
 * Read flags and positional arguments (without the program's name: argc - 1, argv + 1 of main). Flags may
 * stand anywhere before "--". With stop_at_first_arg, everything from the first positional on is positional (docker's
 * IMAGE [COMMAND...]): no flag is read behind it.
 *   Errors  ERR_INVALID: unknown flag (with the nearest known one), missing or bad value - the
 *           message names flag, value and what is accepted.
 */
int options_parse_args(const struct option_def *defs, void *values, int argc, char **argv,
		       bool stop_at_first_arg, struct strv *ret_args, struct option_seen *seen,
		       struct error *err);

/*
 * Read a configuration file: "key = value" lines, '#' comments, a list key may be repeated.
 * Unknown keys are errors with file and line. Values already in `seen` (flags) are not changed.
 * A missing file is ERR_NOT_FOUND.
 */
int options_parse_file(const struct option_def *defs, void *values, const char *path,
		       struct option_seen *seen, struct error *err);
/* Same for text in memory; `name` stands in messages. (Fuzzed.) */
int options_parse_text(const struct option_def *defs, void *values, const char *name, const char *text,
		       struct option_seen *seen, struct error *err);

/* The "Options:" part of --help, aligned and wrapped to `width` columns. */
void options_print_help(const struct option_def *defs, FILE *out, unsigned width);
/* The same without the heading, for programs with several groups. */
void options_print_list(const struct option_def *defs, FILE *out, unsigned width);
/* The OPTIONS part of a man page (man(7) macros). */
void options_print_man(const struct option_def *defs, FILE *out);
