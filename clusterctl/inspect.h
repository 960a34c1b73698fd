/* inspect - objects as JSON, or through a template. */
#pragma once
#include "verbs.h"

#include <jansson.h>

struct ctl;
struct error;
struct template;

struct inspect_flags {
	bool help, pretty;
	char *format;
};
extern const struct option_def inspect_options[];	/* format, pretty */
extern const struct option_def inspect_plain_options[]; /* format */

/*
 * Print what `fetch` finds for each argument: a JSON array, a line per object with --format, or
 * text with --pretty. Objects that are found are printed even when others are not. fetch   a heap
 * message, or NULL with err pretty  may be NULL
 */
enum ctl_exit inspect_run(struct ctl *ctl, const struct inspect_flags *flags,
			  const struct strv *args,
			  void *(*fetch)(struct ctl *ctl, const char *ref, struct error *err),
			  void (*pretty)(const void *msg, FILE *out), struct error *err);

/* The same for objects whose JSON is not just their message's. */
enum ctl_exit inspect_run_as(struct ctl *ctl, const struct inspect_flags *flags,
			     const struct strv *args,
			     void *(*fetch)(struct ctl *ctl, const char *ref, struct error *err),
			     json_t *(*to_json)(const void *msg),
			     void (*pretty)(const void *msg, FILE *out), struct error *err);

/* A template's line for one object. Errors: ERR_INVALID a path that the object has not, and those that it has. */
int inspect_print_template(const struct template *t, json_t *object, FILE *out, struct error *err);
