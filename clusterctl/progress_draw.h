/* progress_draw - the lines that show a struct progress. Pure: text in a buffer, no terminal. */
#pragma once
#include "progress_model.h"

/* Slots up to this number get a line each; beyond there is one bar. */
#define PROGRESS_SLOTS_SHOWN 20

/* For a terminal of `width` columns and `height` rows: all lines of the picture. */
void progress_screen(const struct progress *p, unsigned width, unsigned height, int64_t now_ns,
		     struct strv *lines);

/* For a pipe: only what changed since the last call. Zero-initialise; fini frees. */
struct progress_plain {
	char *counts;
	struct strv reasons;
	bool verifying, rolling_back;
};
void progress_plain(struct progress_plain *last, const struct progress *p, struct strbuf *out);
void progress_plain_fini(struct progress_plain *last);
