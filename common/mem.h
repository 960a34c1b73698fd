/*
 * mem - allocation that aborts instead of failing, and scope cleanup.
 * Out of memory ends the process on purpose: the branches behind a failed malloc are never
 * tested, a restart is. Sizes that come from outside must be bounded before they come here.
 */
#pragma once
#include <stddef.h>
#include <stdlib.h>
#include <sys/param.h> /* MIN, MAX: libuv's header brings them as well */
#include <unistd.h>

void *xmalloc(size_t size);
void *xcalloc(size_t n, size_t size);
void *xrealloc(void *ptr, size_t size);
void *xreallocarray(void *ptr, size_t n, size_t size);
void *xmemdup(const void *ptr, size_t size);
char *xstrdup(const char *s);              /* NULL gives NULL */
char *xstrndup(const char *s, size_t max);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

#define xnew(type) ((type *)xcalloc(1, sizeof(type)))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define container_of(ptr, type, member) ((type *)((char *)(ptr) - offsetof(type, member)))

/* Run fn(&variable) when the variable goes out of scope. */
#define _cleanup_(fn) __attribute__((cleanup(fn)))
#define _cleanup_free_ _cleanup_(mem_freep)
#define _cleanup_close_ _cleanup_(mem_closep)

/* Hand an owned pointer / descriptor on: the variable no longer owns it. */
#define TAKE_PTR(p) ({ __typeof__(p) *take_ = &(p); __typeof__(p) val_ = *take_; *take_ = NULL; val_; })
#define TAKE_FD(fd) ({ int *take_ = &(fd); int val_ = *take_; *take_ = -1; val_; })

static inline void mem_freep(void *p)
{
	free(*(void **)p);
	*(void **)p = NULL;
}

static inline void mem_closep(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* Define a cleanup function `fn##p` for objects that `fn` frees; `fn` accepts NULL. */
#define DEFINE_CLEANUP(type, fn)                                                                   \
	static inline void fn##p(type *p)                                                          \
	{                                                                                          \
		if (*p)                                                                            \
			fn(*p);                                                                    \
		*p = NULL;                                                                         \
	}

/* Overwrite memory that held a secret; not optimised away. */
void mem_wipe(void *ptr, size_t size);
