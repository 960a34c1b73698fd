/*
 * error - what went wrong, as a value.
 * Nothing to free; can be copied into a task status or a gRPC status. Codes map one to one
 * to gRPC's, so they survive the wire.
 */
#pragma once
#include <stdarg.h>
#include <stdbool.h>

enum error_code {
	ERR_OK = 0,
	ERR_CANCELLED = 1,
	ERR_UNKNOWN = 2,
	ERR_INVALID = 3,       /* the caller's fault: bad value, bad bytes */
	ERR_TIMEOUT = 4,
	ERR_NOT_FOUND = 5,
	ERR_EXISTS = 6,
	ERR_DENIED = 7,
	ERR_EXHAUSTED = 8,     /* a bound was reached */
	ERR_PRECONDITION = 9,  /* not in this state; will not help to repeat */
	ERR_CONFLICT = 10,     /* somebody else wrote first: read again (gRPC ABORTED) */
	ERR_RANGE = 11,
	ERR_UNIMPLEMENTED = 12,
	ERR_INTERNAL = 13,
	ERR_UNAVAILABLE = 14,  /* try later */
	ERR_DATA_LOSS = 15,    /* digest or format of something stored is wrong */
	ERR_UNAUTHENTICATED = 16,
};

#define ERROR_MSG_MAX 1024

struct error {
	enum error_code code;
	char msg[ERROR_MSG_MAX];
};

#define ERROR_INIT ((struct error){.code = ERR_OK})

/* Set code and message; `err` may be NULL. Always returns -1, for `return error_set(...)`. */
int error_set(struct error *err, enum error_code code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* As error_set, with ": <strerror(errno_value)>" behind; the code follows from errno_value. */
int error_set_errno(struct error *err, int errno_value, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Put "what: " before the message of an error that is set. Returns -1. */
int error_wrap(struct error *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static inline bool error_is_set(const struct error *err)
{
	return err && err->code != ERR_OK;
}

/* "NOT_FOUND", ... Static string. */
const char *error_code_name(enum error_code code);
