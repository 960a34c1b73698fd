/*
 * log - one line per event on stderr, logfmt.
 *
 *   log_info("task_state", kv_str("task", id), kv_str("to", "RUNNING"), kv_u64("took_ms", ms));
 *   ts=2026-11-23T16:07:34.123Z level=info comp=agent event=task_state task=k3x9 to=RUNNING took_ms=41
 *
 * `event` is constant, so it can be counted; values go into keys, and are quoted when they need it.
 * Any thread; a line is one write(2). Secrets and tokens never become a kv.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct error;

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARN, LOG_LEVEL_ERROR };

struct log_kv {
	const char *key;
	enum { LOG_KV_STR, LOG_KV_I64, LOG_KV_U64, LOG_KV_ERR } kind;
	union {
		const char *str;
		int64_t i64;
		uint64_t u64;
		const struct error *err;
	};
};

#define kv_str(k, v) ((struct log_kv){.key = (k), .kind = LOG_KV_STR, .str = (v)})
#define kv_i64(k, v) ((struct log_kv){.key = (k), .kind = LOG_KV_I64, .i64 = (v)})
#define kv_u64(k, v) ((struct log_kv){.key = (k), .kind = LOG_KV_U64, .u64 = (v)})
#define kv_bool(k, v) kv_str(k, (v) ? "true" : "false")
#define kv_err(e) ((struct log_kv){.key = "error", .kind = LOG_KV_ERR, .err = (e)})

/* comp: "agent", "manager", ... kept, not copied. Before the first thread starts. */
void log_init(const char *comp, enum log_level min_level);
/* name: debug, info, warn, error. Returns 0 / -1 when it is none of them. */
int log_level_parse(const char *name, enum log_level *ret_level);
bool log_enabled(enum log_level level);
void log_event(enum log_level level, const char *event, const struct log_kv *kvs, unsigned n);

#define LOG_AT_(level, event, ...)                                                                 \
	do {                                                                                       \
		if (log_enabled(level)) {                                                          \
			const struct log_kv kvs_[] = {__VA_ARGS__};                                \
			log_event(level, event, kvs_, sizeof(kvs_) / sizeof(struct log_kv));       \
		}                                                                                  \
	} while (0)

#define log_debug(event, ...) LOG_AT_(LOG_LEVEL_DEBUG, event, __VA_ARGS__)
#define log_info(event, ...) LOG_AT_(LOG_LEVEL_INFO, event, __VA_ARGS__)
#define log_warn(event, ...) LOG_AT_(LOG_LEVEL_WARN, event, __VA_ARGS__)
#define log_error(event, ...) LOG_AT_(LOG_LEVEL_ERROR, event, __VA_ARGS__)
