/* The page itself: files that are part of the program, compressed once. They hold nothing secret: no session is asked for. */
#include "internal.h"
#include "page_files.h"

#include "common/mem.h"

#include <string.h>

static const char *type_of(const char *name)
{
	static const struct {
		const char *ending, *type;
	} types[] = {
		{".html", "text/html; charset=utf-8"},
		{".css", "text/css; charset=utf-8"},
		{".js", "text/javascript; charset=utf-8"},
		{".svg", "image/svg+xml"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(types); i++)
		if (str_ends(name, types[i].ending))
			return types[i].type;
	return "application/octet-stream";
}

void files_open(struct web *w)
{
	w->files = xcalloc(page_files_n, sizeof(*w->files));
	for (size_t i = 0; i < page_files_n; i++)
		w->files[i] = http_body_new(xmemdup(page_files[i].data, page_files[i].len), page_files[i].len);
}

void files_close(struct web *w)
{
	for (size_t i = 0; i < page_files_n; i++)
		http_body_unref(w->files[i]);
	free(w->files);
}

static void serve(struct web *w, struct http_request *req, size_t i)
{
	const struct page_file *file = &page_files[i];
	const char *has = http_header(req, "If-None-Match");

	/* Kept, but asked for each time: another version of the manager has other files under the same names. */
	http_add_header(req, "Cache-Control", "no-cache");
	http_add_header(req, "ETag", file->etag);
	if (has && strstr(has, file->etag))
		http_answer(req, 304, NULL, NULL, 0);
	else
		http_answer_body(req, 200, type_of(file->name), w->files[i]);
}

void files_serve(struct web *w, struct http_request *req)
{
	const char *name = http_path(req) + strlen("/ui/");

	if (!web_admit(w, req))
		return;
	for (size_t i = 0; i < page_files_n; i++) {
		if (str_eq(page_files[i].name, *name ? name : "index.html")) {
			serve(w, req, i);
			return;
		}
	}
	http_answer_text(req, 404, "there is no such page; the cluster is at /ui/");
}
