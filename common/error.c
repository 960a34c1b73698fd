#include "error.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static enum error_code code_of_errno(int errno_value)
{
	switch (errno_value) {
	case ENOENT:
	case ESRCH:
		return ERR_NOT_FOUND;
	case EEXIST:
		return ERR_EXISTS;
	case EACCES:
	case EPERM:
		return ERR_DENIED;
	case EINVAL:
		return ERR_INVALID;
	case ENOSPC:
	case EDQUOT:
	case EMFILE:
	case ENFILE:
		return ERR_EXHAUSTED;
	case ETIMEDOUT:
		return ERR_TIMEOUT;
	case EAGAIN:
	case ECONNREFUSED:
	case ECONNRESET:
	case EHOSTUNREACH:
	case ENETUNREACH:
	case EPIPE:
		return ERR_UNAVAILABLE;
	case ECANCELED:
		return ERR_CANCELLED;
	default:
		return ERR_INTERNAL;
	}
}

int error_set(struct error *err, enum error_code code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return -1;
	err->code = code;
	va_start(ap, fmt);
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	return -1;
}

int error_set_errno(struct error *err, int errno_value, const char *fmt, ...)
{
	const char *text = strerrordesc_np(errno_value);
	va_list ap;
	size_t len;

	if (!err)
		return -1;
	err->code = code_of_errno(errno_value);
	va_start(ap, fmt);
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	len = strlen(err->msg);
	snprintf(err->msg + len, sizeof(err->msg) - len, ": %s", text ? text : "unknown error");
	return -1;
}

int error_wrap(struct error *err, const char *fmt, ...)
{
	char inner[ERROR_MSG_MAX];
	va_list ap;
	size_t len;

	if (!err)
		return -1;
	memcpy(inner, err->msg, sizeof(inner));
	va_start(ap, fmt);
	vsnprintf(err->msg, sizeof(err->msg), fmt, ap);
	va_end(ap);
	len = strlen(err->msg);
	if (len < sizeof(err->msg) - 3) {
		memcpy(err->msg + len, ": ", 2);
		len += 2;
		inner[sizeof(inner) - 1 - len] = '\0';
		strcpy(err->msg + len, inner);
	}
	return -1;
}

const char *error_code_name(enum error_code code)
{
	static const char *const names[] = {
		"OK", "CANCELLED", "UNKNOWN", "INVALID", "TIMEOUT", "NOT_FOUND", "EXISTS", "DENIED",
		"EXHAUSTED", "PRECONDITION", "CONFLICT", "RANGE", "UNIMPLEMENTED", "INTERNAL",
		"UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
	};

	return (unsigned)code < sizeof(names) / sizeof(names[0]) ? names[code] : "UNKNOWN";
}
