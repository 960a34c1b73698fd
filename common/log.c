#include "log.h"

#include "error.h"

#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096

static const char *log_comp = "?";
static enum log_level log_min = LOG_LEVEL_INFO;
static const char *const level_names[] = {"debug", "info", "warn", "error"};

struct line {
	char buf[LINE_MAX_BYTES];
	size_t len;
};

void log_init(const char *comp, enum log_level min_level)
{
	log_comp = comp;
	log_min = min_level;
}

int log_level_parse(const char *name, enum log_level *ret_level)
{
	for (unsigned i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
		if (strcmp(name, level_names[i]) == 0) {
			*ret_level = (enum log_level)i;
			return 0;
		}
	}
	return -1;
}

bool log_enabled(enum log_level level)
{
	return level >= log_min;
}

static void put_char(struct line *l, char c)
{
	if (l->len < sizeof(l->buf) - 1)
		l->buf[l->len++] = c;
}

static void put_str(struct line *l, const char *s)
{
	while (*s)
		put_char(l, *s++);
}

static bool needs_quotes(const char *s)
{
	if (!*s)
		return true;
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c <= ' ' || c == '"' || c == '=' || c == '\\' || c == 0x7f)
			return true;
	}
	return false;
}

static void put_value(struct line *l, const char *s)
{
	if (!s)
		s = "";
	if (!needs_quotes(s)) {
		put_str(l, s);
		return;
	}
	put_char(l, '"');
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;
		char hex[5];

		if (c == '"' || c == '\\') {
			put_char(l, '\\');
			put_char(l, (char)c);
		} else if (c == '\n') {
			put_str(l, "\\n");
		} else if (c < ' ' || c == 0x7f) {
			snprintf(hex, sizeof(hex), "\\x%02x", c);
			put_str(l, hex);
		} else {
			put_char(l, (char)c);
		}
	}
	put_char(l, '"');
}

static void put_kv(struct line *l, const struct log_kv *kv)
{
	char num[24];

	put_char(l, ' ');
	put_str(l, kv->key);
	put_char(l, '=');
	switch (kv->kind) {
	case LOG_KV_STR:
		put_value(l, kv->str);
		break;
	case LOG_KV_I64:
		snprintf(num, sizeof(num), "%lld", (long long)kv->i64);
		put_str(l, num);
		break;
	case LOG_KV_U64:
		snprintf(num, sizeof(num), "%llu", (unsigned long long)kv->u64);
		put_str(l, num);
		break;
	case LOG_KV_ERR:
		put_value(l, kv->err ? kv->err->msg : "");
		break;
	}
}

void log_event(enum log_level level, const char *event, const struct log_kv *kvs, unsigned n)
{
	struct line l = {.len = 0};
	struct timespec now;
	struct tm tm;
	char ts[40];
	size_t len;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &tm);
	len = strftime(ts, sizeof(ts), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(ts + len, sizeof(ts) - len, ".%03ldZ", now.tv_nsec / 1000000);
	put_str(&l, "ts=");
	put_str(&l, ts);
	put_str(&l, " level=");
	put_str(&l, level_names[level]);
	put_str(&l, " comp=");
	put_str(&l, log_comp);
	put_str(&l, " event=");
	put_str(&l, event);
	for (unsigned i = 0; i < n; i++)
		put_kv(&l, &kvs[i]);
	l.buf[l.len++] = '\n';
	if (write(STDERR_FILENO, l.buf, l.len) < 0)
		return;
}
