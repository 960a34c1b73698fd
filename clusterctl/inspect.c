#include "inspect.h"

#include "pb_json.h"
#include "template.h"

#include "common/error.h"
#include "common/mem.h"
#include "proto/pb.h"

#include <string.h>

#define FORMAT_OPTION                                                                              \
	{                                                                                          \
		"format", 0, OPT_STR(struct inspect_flags, format),                                \
			.arg = "FORMAT",                                                           \
			.help = "json, or a template of paths such as '{{.spec.name}}'"            \
	}

const struct option_def inspect_options[] = {
	HELP_OPTION,
	FORMAT_OPTION,
	{"pretty", 0, OPT_BOOL(struct inspect_flags, pretty), .help = "print text for people"},
	{0},
};
const struct option_def inspect_plain_options[] = {HELP_OPTION, FORMAT_OPTION, {0}};

static int unknown_path(const char *path, json_t *at, struct error *err)
{
	_cleanup_strbuf_ struct strbuf known = {0};
	const char *key;
	json_t *value;

	json_object_foreach(at, key, value)
		strbuf_printf(&known, "%s%s", known.len ? ", " : "", key);
	return error_set(err, ERR_INVALID, "--format: no field .%.100s: expected one of %s", path,
			 known.len ? known.p : "(it is not an object)");
}

int inspect_print_template(const struct template *t, json_t *object, FILE *out, struct error *err)
{
	_cleanup_strbuf_ struct strbuf line = {0};

	for (size_t i = 0; i < t->n; i++) {
		const struct template_part *part = &t->parts[i];
		json_t *at, *value = part->kind == TEMPLATE_TEXT
					     ? NULL
					     : pb_json_path(object, part->text, &at);
		_cleanup_free_ char *text = NULL;

		if (part->kind == TEMPLATE_TEXT) {
			strbuf_puts(&line, part->text);
			continue;
		}
		if (!value)
			return unknown_path(part->text, at, err);
		text = part->kind == TEMPLATE_JSON ? json_dumps(value, JSON_ENCODE_ANY)
						   : pb_json_text(value);
		strbuf_puts(&line, text ?: "");
	}
	fprintf(out, "%s\n", line.p ?: "");
	return 0;
}

static void print_array(json_t *array)
{
	char *text = json_dumps(array, JSON_INDENT(4));

	puts(text ?: "[]");
	free(text);
}

/* How an object is shown. */
struct form {
	json_t *(*to_json)(const void *msg);
	void (*pretty)(const void *msg, FILE *out);
};

static int print_one(const void *msg, const struct inspect_flags *flags, const struct template *t,
		     json_t *array, const struct form *form, struct error *err)
{
	json_t *object;
	int r;

	if (flags->pretty && form->pretty) {
		form->pretty(msg, stdout);
		return 0;
	}
	object = form->to_json(msg);
	if (t->n == 0) {
		json_array_append_new(array, object);
		return 0;
	}
	r = inspect_print_template(t, object, stdout, err);
	json_decref(object);
	return r;
}

enum ctl_exit inspect_run_as(struct ctl *ctl, const struct inspect_flags *flags,
			     const struct strv *args,
			     void *(*fetch)(struct ctl *ctl, const char *ref, struct error *err),
			     json_t *(*to_json)(const void *msg),
			     void (*pretty)(const void *msg, FILE *out), struct error *err)
{
	const struct form form = {.to_json = to_json, .pretty = pretty};
	_cleanup_template_ struct template t = {0};
	bool as_json = str_empty(flags->format) || str_eq(flags->format, "json");
	json_t *array = json_array();
	int r = 0;

	if (!as_json && template_parse(flags->format, &t, err) < 0) {
		json_decref(array);
		error_wrap(err, "--format");
		return CTL_USAGE;
	}
	for (size_t i = 0; i < args->n && r == 0; i++) {
		_cleanup_pb_ void *msg = fetch(ctl, args->v[i], err);

		r = msg ? print_one(msg, flags, &t, array, &form, err) : -1;
	}
	if (as_json && !flags->pretty)
		print_array(array);
	json_decref(array);
	return r < 0 ? CTL_FAILED : CTL_OK;
}

static json_t *message_json(const void *msg)
{
	return pb_json(msg);
}

enum ctl_exit inspect_run(struct ctl *ctl, const struct inspect_flags *flags,
			  const struct strv *args,
			  void *(*fetch)(struct ctl *ctl, const char *ref, struct error *err),
			  void (*pretty)(const void *msg, FILE *out), struct error *err)
{
	return inspect_run_as(ctl, flags, args, fetch, message_json, pretty, err);
}
