/* ctl - the running program: global flags, the connection, output habits. */
#pragma once
#include "conn.h"
#include "verbs.h"

#include "common/options.h"

#include <uv.h>

struct error;
struct conn;

struct global_flags {
	bool help, version;
	char *host, *tls_ca, *tls_cert, *tls_key, *run_dir;
};
extern const struct option_def global_options[];

struct ctl {
	struct global_flags global;
	struct conn *conn; /* made at the first request: --help and completion never start gRPC */
};

/* The whole program: parse, run, report. Returns the exit status. */
int ctl_main(int argc, char **argv);

/* For verbs that find a mistake of the user before anything is sent: CTL_USAGE. */
enum ctl_exit ctl_usage(struct error *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

struct conn *ctl_conn(struct ctl *ctl);

/*
 * The beginning of every `ls`: the listing, and what a method of the manager or of the agent that takes a ListRequest answers.
 * *ret_reply is its answer (pb_free). Wrong flags (CTL_USAGE) are found before anybody is asked.
 */
enum ctl_exit ctl_list(struct ctl *ctl, enum conn_end end, const char *method, const struct verb *verb, const struct list_flags *flags,
		       struct listing *l, void *ret_reply, struct error *err);

/* Call a manager's method that takes a RefRequest for each of refs; those done are printed. Every one is tried; the last
 * refusal is the one returned, earlier ones are warnings. */
enum ctl_exit ctl_for_each_ref(struct ctl *ctl, const char *method, const struct strv *refs, struct error *err);

/* Warnings of the manager, on stderr. */
void ctl_warn(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
