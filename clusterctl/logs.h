/* logs - output of containers from all nodes, merged. */
#pragma once
#include "text.h"
#include "verbs.h"

struct ctl;

struct logs_flags {
	bool help, details, follow, no_resolve, no_task_ids, no_trunc, raw, timestamps;
	char *since, *until, *tail;
};
extern const struct option_def logs_options[];

enum ctl_exit logs_run(struct ctl *ctl, const struct verb *verb, void *flags,
		       const struct option_seen *seen, const struct strv *args, struct error *err);

/* ---- pure part: messages to lines */

struct logs_writer;
struct logs_writer *logs_writer_new(const struct logs_flags *flags);
void logs_writer_free(struct logs_writer *w);
/* Append the finished lines of a message; the two streams apart. Parts of a long line wait for the
 * rest. */
void logs_writer_feed(struct logs_writer *w, const Skein__LogsResponse *msg, struct strbuf *out,
		      struct strbuf *errout);
/* What is left of unfinished lines, at the end. */
void logs_writer_end(struct logs_writer *w, struct strbuf *out, struct strbuf *errout);
/* --tail: a number of lines, or "all" = -1. */
int logs_tail(const char *text, int64_t *ret, struct error *err);
