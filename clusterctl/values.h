/*
 * values - what users type into flags, turned into messages. Pure; every message names the value
 * and what is accepted, without the flag: the caller puts that in front.
 */
#pragma once
#include "common/str.h"
#include "proto/pb.h"

struct error;

/* One record of comma-separated values, "..." quoting as RFC 4180 has it: `a=b,"c=d,e"`. */
int value_csv(const char *text, struct strv *ret, struct error *err);

/* Words as a shell would split them (quotes and backslashes, no expansion): --entrypoint, --args.
 */
int value_words(const char *text, struct strv *ret, struct error *err);

/* --mount type=bind|volume|tmpfs,source=,target=,readonly,... NULL on error. */
pb_mount *value_mount(const char *text, struct error *err);

/* --ulimit NAME=SOFT[:HARD], -1 is unlimited. NULL on error. */
pb_ulimit *value_ulimit(const char *text, struct error *err);

/* --placement-pref spread=node.labels.X: the part behind "spread=", borrowed. NULL on error. */
const char *value_placement_pref(const char *text, struct error *err);

/* --constraint: one of == and != with something on both sides. */
int value_constraint(const char *text, struct error *err);

/* "net_admin" or "CAP_NET_ADMIN" to "CAP_NET_ADMIN"; "all" to "ALL". Yours; NULL on error. */
char *value_capability(const char *text, struct error *err);

/* KEY or KEY=VALUE. Yours: the key; *ret_value borrowed, "" without "=". NULL on error. */
char *value_pair(const char *text, const char **ret_value, struct error *err);

/* As value_pair, but "=" is needed: --sysctl, --filter. */
char *value_full_pair(const char *text, const char **ret_value, struct error *err);

/*
 * --env: NAME=VALUE as it is; a bare NAME takes its value from `lookup` (getenv) and is left out
 * when that has none. A later value of the same name replaces the earlier one.
 */
int value_env(const char *text, char *(*lookup)(const char *name), size_t *n, char ***list,
	      struct error *err);

/* The text of an --env-file: a variable per line as for --env, '#' comments, empty lines. */
int value_env_file(const char *text, char *(*lookup)(const char *name), size_t *n, char ***list,
		   struct error *err);

/*
 * --filter KEY=VALUE with KEY one of `keys` ("id|name|node"); appends to the list of a request.
 */
int value_filter(const char *text, const char *keys, size_t *n, pb_kv ***list, struct error *err);

/* The same from its parts. */
void value_filter_add(const char *key, const char *value, size_t *n, pb_kv ***list);

/* --since: RFC 3339, a date, seconds since the epoch, or a duration before `now_ns`. ns since the
 * epoch. */
int value_time(const char *text, int64_t now_ns, int64_t *ret_ns, struct error *err);
