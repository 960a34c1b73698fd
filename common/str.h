/* str - growing strings, string vectors, small parsers of numbers and durations. */
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

static inline bool str_eq(const char *a, const char *b)
{
	return a == b || (a && b && __builtin_strcmp(a, b) == 0);
}

static inline bool str_empty(const char *s)
{
	return !s || !*s;
}

bool str_starts(const char *s, const char *prefix);
bool str_ends(const char *s, const char *suffix);

/* A buffer that grows. Zero-initialise; str.p is NUL-terminated once something was added. */
struct strbuf {
	char *p;
	size_t len, cap;
};

void strbuf_add(struct strbuf *b, const char *data, size_t len);
void strbuf_puts(struct strbuf *b, const char *s);
void strbuf_putc(struct strbuf *b, char c);
void strbuf_printf(struct strbuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Room for so many more bytes and a NUL: who writes them there adds to len. */
void strbuf_reserve(struct strbuf *b, size_t more);
void strbuf_fini(struct strbuf *b);
/* Yours, never NULL; the buffer is empty afterwards. */
char *strbuf_take(struct strbuf *b);
#define _cleanup_strbuf_ __attribute__((cleanup(strbuf_fini)))

/* A NULL-terminated vector of strings that grows (execve's form). Zero-initialise. */
struct strv {
	char **v;
	size_t n;
};

void strv_add(struct strv *v, const char *s);              /* copies */
void strv_addf(struct strv *v, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void strv_fini(struct strv *v);
bool strv_has(const struct strv *v, const char *s);
#define _cleanup_strv_ __attribute__((cleanup(strv_fini)))

/*
 * Decimal integer, the whole string. Errors: ERR_INVALID with the value in the message.
 */
int str_parse_u64(const char *s, uint64_t *ret, struct error *err);
int str_parse_i64(const char *s, int64_t *ret, struct error *err);

/* "512", "64k", "64KiB", "1.5g", "2GB": binary units as Docker has them (k = 1024). Bytes. */
int str_parse_bytes(const char *s, int64_t *ret_bytes, struct error *err);

/* Go's durations: "1h30m", "10s", "500ms", "1.5s", "100us", "0". Nanoseconds; may be negative. */
int str_parse_duration(const char *s, int64_t *ret_ns, struct error *err);

/* "0.5", "2", ".25" cores to units of 1e-9; at most nine decimals. */
int str_parse_cpus(const char *s, int64_t *ret_nano, struct error *err);

/* Human forms. Into a caller's buffer, which is returned. */
#define STR_HUMAN_MAX 40
const char *str_bytes_human(int64_t bytes, char buf[static STR_HUMAN_MAX]);     /* "1.2GiB" */
const char *str_duration(int64_t ns, char buf[static STR_HUMAN_MAX]);           /* "1h30m0s", "500ms" */
const char *str_duration_human(int64_t ns, char buf[static STR_HUMAN_MAX]);     /* "3 minutes" */
