/* page_files - the files of page/, in the program since it was built (cmake/embed.cmake). */
#pragma once
#include <stddef.h>

struct page_file {
	const char *name; /* "index.html" */
	const char *etag; /* with its quotes: of the content */
	const unsigned char *data;
	size_t len;
};

extern const struct page_file page_files[];
extern const size_t page_files_n;
