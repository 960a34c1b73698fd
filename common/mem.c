#include "mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void *checked(void *ptr, size_t size)
{
	if (!ptr && size) {
		fputs("out of memory\n", stderr);
		abort();
	}
	return ptr;
}

void *xmalloc(size_t size)
{
	return checked(malloc(size ? size : 1), 1);
}

void *xcalloc(size_t n, size_t size)
{
	return checked(calloc(n ? n : 1, size ? size : 1), 1);
}

void *xrealloc(void *ptr, size_t size)
{
	return checked(realloc(ptr, size ? size : 1), 1);
}

void *xreallocarray(void *ptr, size_t n, size_t size)
{
	return checked(reallocarray(ptr, n ? n : 1, size ? size : 1), 1);
}

void *xmemdup(const void *ptr, size_t size)
{
	void *copy = xmalloc(size);

	if (size)
		memcpy(copy, ptr, size);
	return copy;
}

char *xstrdup(const char *s)
{
	return s ? checked(strdup(s), 1) : NULL;
}

char *xstrndup(const char *s, size_t max)
{
	return s ? checked(strndup(s, max), 1) : NULL;
}

char *xasprintf(const char *fmt, ...)
{
	char *s = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&s, fmt, ap) < 0)
		s = NULL;
	va_end(ap);
	return checked(s, 1);
}

void mem_wipe(void *ptr, size_t size)
{
	if (ptr)
		explicit_bzero(ptr, size);
}
