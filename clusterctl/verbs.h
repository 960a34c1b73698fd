/*
 * verbs - one table of everything that clusterctl can do: parsing, --help, completion and man pages
 * come from it. A noun's file fills in its verbs; verbs.c joins them.
 */
#pragma once
#include "common/options.h"
#include "listing.h"
#include "proto/pb.h"

struct ctl;
struct error;

/* Exit statuses, documented in --help and the man page. */
enum ctl_exit {
	CTL_OK = 0,
	CTL_FAILED = 1,
	CTL_USAGE = 2, /* flags or arguments are wrong: nothing was asked of the cluster */
	CTL_REFUSED = 3,     /* task migrate: it cannot be moved; nothing was touched */
	CTL_ROLLED_BACK = 4, /* task migrate: it runs where it did */
	CTL_INTERRUPTED = 130,
};

/* What an argument names, for completion. */
enum ctl_object {
	OBJECT_NONE,
	OBJECT_SERVICE,
	OBJECT_NODE,
	OBJECT_TASK,
	OBJECT_IMAGE,
	OBJECT_NETWORK,
	OBJECT_ROLE,
	OBJECT_TOKEN,
	OBJECT_UI_TOKEN,
	OBJECT_SHELL,
};

struct verb {
	const char *noun;		  /* NULL: `clusterctl init` */
	const char *name;		  /* "": what the noun alone does */
	const char *aliases;		  /* "list|dir"; may be NULL */
	const char *synopsis;		  /* behind the name: "[OPTIONS] IMAGE [ARG...]" */
	const char *help;		  /* one line, capital first, no full stop */
	const char *about;		  /* paragraphs; may be NULL */
	const char *example;		  /* lines as typed */
	const struct option_def *options; /* the first one is HELP_OPTION */
	size_t flags_size; /* of the struct that `options` fills; begins with `bool help` */
	unsigned min_args, max_args;
	bool stop_at_first_arg;		 /* what follows the first argument is passed on as it is */
	enum ctl_object object;		 /* of the arguments */
	const struct list_field *fields; /* of a list, for --format; NULL otherwise */
	const char *filters;		 /* "id|name"; NULL: no --filter */
	/* err is set for every status but CTL_OK and CTL_INTERRUPTED. */
	enum ctl_exit (*run)(struct ctl *ctl, const struct verb *verb, void *flags,
			     const struct option_seen *seen, const struct strv *args,
			     struct error *err);
};

#define ANY_NUMBER 10000

/* clang-format off */
#define HELP_OPTION {"help", 'h', OPTION_BOOL, 0, .help = "print this help"}
/* clang-format on */

/* A noun and the line that says what its verbs are about. */
struct noun {
	const char *name, *help;
};
extern const struct noun nouns[]; /* ends with {0} */

/* All verbs, noun by noun. */
const struct verb *const *verbs_all(void); /* ends with NULL */
/* By name or alias; noun NULL: top-level. NULL when there is none. */
const struct verb *verb_find(const char *noun, const char *name);
const struct noun *noun_find(const char *name);

/* ---- flags that all lists share */
struct list_flags {
	bool help, quiet, no_trunc, no_resolve, all;
	char *format;
	struct strv filters;
};
/* clang-format off */
#define LIST_FORMAT_OPTION                                                                         \
	{"format", 0, OPT_STR(struct list_flags, format), .arg = "FORMAT",                         \
	 .help = "table, json (an object per line) or a template such as '{{.ID}}'"}
#define LIST_FILTER_OPTION                                                                         \
	{"filter", 'f', OPT_LIST(struct list_flags, filters), .arg = "KEY=VALUE",                  \
	 .help = "show only what matches"}
#define LIST_QUIET_OPTION                                                                          \
	{"quiet", 'q', OPT_BOOL(struct list_flags, quiet), .help = "print ids only"}
#define LIST_NO_TRUNC_OPTION                                                                       \
	{"no-trunc", 0, OPT_BOOL(struct list_flags, no_trunc),                                     \
	 .help = "do not shorten ids and texts"}
#define LIST_NO_RESOLVE_OPTION                                                                     \
	{"no-resolve", 0, OPT_BOOL(struct list_flags, no_resolve),                                 \
	 .help = "show ids instead of names"}
/* clang-format on */

extern const struct option_def list_options[]; /* format, filter, quiet, no-trunc */
extern const struct option_def ps_options[];   /* and no-resolve */

/* Check --format and --filter of a list before anything is sent. */
int list_prepare(struct listing *l, const struct verb *verb, const struct list_flags *flags,
		 size_t *n_filters, pb_kv ***filters, struct error *err);
/* An id as lists show it: shortened unless --no-trunc. `buf` is returned. */
const char *list_id(const struct list_flags *flags, const char *id,
		    char buf[static TEXT_ID_SHOWN + 1]);

struct no_flags {
	bool help;
};
extern const struct option_def no_options[];

/* The verbs of each file; end with {0}. */
extern const struct verb cluster_verbs[], token_verbs[], ui_token_verbs[], node_verbs[], drain_verbs[], service_verbs[],
	service_change_verbs[], service_show_verbs[], rebalance_verbs[], network_verbs[], task_verbs[], migrate_verbs[], image_verbs[], events_verbs[], top_verbs[], self_verbs[];
