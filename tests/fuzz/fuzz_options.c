// links: common
#include "common/error.h"
#include "common/mem.h"
#include "common/options.h"

#include <string.h>

struct config {
	bool flag;
	char *text, *mode;
	uint64_t number;
	int64_t score, size, delay, cpus;
	double ratio;
	struct strv list;
};

static const struct option_def defs[] = {
	{"flag", 'f', OPT_BOOL(struct config, flag)},
	{"text", 't', OPT_STR(struct config, text), .def = "x"},
	{"mode", 0, OPT_ENUM(struct config, mode), .choices = "one|two", .def = "one"},
	{"number", 'n', OPT_U64(struct config, number), .max = 10},
	{"score", 0, OPT_I64(struct config, score), .min = (uint64_t)-5, .max = 5},
	{"size", 0, OPT_BYTES(struct config, size), .min = 1, .max = 1 << 20},
	{"delay", 0, OPT_DURATION(struct config, delay)},
	{"cpus", 0, OPT_CPUS(struct config, cpus)},
	{"ratio", 0, OPT_FLOAT(struct config, ratio), .max = 1},
	{"list", 'l', OPT_LIST(struct config, list), .secret = true},
	{0},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct config *c)
{
	if (c->number > 10 || c->score < -5 || c->score > 5 || c->delay < 0 || c->cpus < 0 || !c->text || !c->mode)
		abort();
	if (!(c->ratio >= 0 && c->ratio <= 1) || !(str_eq(c->mode, "one") || str_eq(c->mode, "two")))
		abort();
}

/* The same bytes as a configuration file and, line by line, as arguments. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, size);
	_cleanup_strv_ struct strv argv = {0}, args = {0};
	struct config c = {0};
	struct error err;

	options_defaults(defs, &c);
	options_parse_text(defs, &c, "fuzz", text, NULL, &err);
	check(&c);
	options_fini(defs, &c);

	for (char *rest = text, *line; (line = strsep(&rest, "\n"));)
		strv_add(&argv, line);
	memset(&c, 0, sizeof(c));
	options_defaults(defs, &c);
	options_parse_args(defs, &c, (int)argv.n, argv.v, size & 1, &args, NULL, &err);
	check(&c);
	options_fini(defs, &c);
	return 0;
}
