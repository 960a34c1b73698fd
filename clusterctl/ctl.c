#include "ctl.h"

#include "complete.h"
#include "conn.h"
#include "help.h"

#include "common/error.h"
#include "common/hostport.h"
#include "common/log.h"
#include "common/mem.h"
#include "proto/pb.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MANAGER_PORT 2377
#define G(kind, field) OPT_##kind(struct global_flags, field)

const struct option_def global_options[] = {
	HELP_OPTION,
	{"version", 0, G(BOOL, version), .help = "print the version"},
	{"host", 'H', G(STR, host), .arg = "HOST[:PORT],...", .env = "CLUSTERCTL_HOST",
	 .help = "manager to talk to (of several the first that answers); without it, the one on this host through its socket"},
	{"tls-ca", 0, G(STR, tls_ca), .arg = "FILE", .env = "CLUSTERCTL_TLS_CA",
	 .help = "root certificate of the cluster, for --host"},
	{"tls-cert", 0, G(STR, tls_cert), .arg = "FILE", .env = "CLUSTERCTL_TLS_CERT",
	 .help = "certificate of a manager, for --host"},
	{"tls-key", 0, G(STR, tls_key), .arg = "FILE", .env = "CLUSTERCTL_TLS_KEY",
	 .help = "key of that certificate"},
	{"run-dir", 0, G(STR, run_dir), .arg = "DIR", .def = "/run/skein", .env = "SKEIN_RUN_DIR",
	 .help = "directory of the daemons' sockets"},
	{0},
};

enum ctl_exit ctl_usage(struct error *err, const char *fmt, ...)
{
	char text[ERROR_MSG_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	error_set(err, ERR_INVALID, "%s", text);
	return CTL_USAGE;
}

struct conn *ctl_conn(struct ctl *ctl)
{
	if (!ctl->conn)
		ctl->conn = conn_new(&ctl->global);
	return ctl->conn;
}

enum ctl_exit ctl_list(struct ctl *ctl, enum conn_end end, const char *method, const struct verb *verb, const struct list_flags *flags,
		       struct listing *l, void *ret_reply, struct error *err)
{
	_cleanup_pb_ Skein__ListRequest *request = pb_new(&skein__list_request__descriptor);

	if (list_prepare(l, verb, flags, &request->n_filters, &request->filters, err) < 0)
		return CTL_USAGE;
	if (conn_call(ctl_conn(ctl), end, method, request, CONN_TIMEOUT_MS, ret_reply, err) < 0)
		return CTL_FAILED;
	return CTL_OK;
}

enum ctl_exit ctl_for_each_ref(struct ctl *ctl, const char *method, const struct strv *refs, struct error *err)
{
	enum ctl_exit status = CTL_OK;

	for (size_t i = 0; i < refs->n; i++) {
		Skein__RefRequest request = SKEIN__REF_REQUEST__INIT;
		struct error one = ERROR_INIT;

		request.ref = refs->v[i];
		if (conn_call(ctl_conn(ctl), CONN_MANAGER, method, &request, CONN_TIMEOUT_MS, NULL, &one) == 0) {
			puts(refs->v[i]);
			continue;
		}
		if (status != CTL_OK)
			ctl_warn("%s", err->msg);
		*err = one;
		status = CTL_FAILED;
	}
	return status;
}

void ctl_warn(const char *fmt, ...)
{
	va_list ap;

	fflush(stdout);
	fputs("WARNING: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static void report(const struct verb *verb, enum ctl_exit status, const struct error *err)
{
	_cleanup_free_ char *command = verb ? help_command(verb) : xstrdup("clusterctl");

	fflush(stdout);
	if (error_is_set(err))
		fprintf(stderr, "clusterctl: %s\n", err->msg);
	if (status == CTL_USAGE)
		fprintf(stderr, "See '%s --help'.\n", command);
}

static int check_count(const struct verb *verb, const struct strv *args, struct error *err)
{
	if (args->n < verb->min_args)
		return error_set(err, ERR_INVALID, "%s argument: expected %s",
				 args->n ? "missing" : "missing an", verb->synopsis);
	if (args->n > verb->max_args)
		return error_set(err, ERR_INVALID, "unexpected argument \"%.200s\": expected %s",
				 args->v[verb->max_args],
				 *verb->synopsis ? verb->synopsis : "none");
	return 0;
}

/* A global flag behind the command gets a better answer than "unknown". */
static void hint_global(struct error *err)
{
	for (const struct option_def *def = global_options; def->name; def++) {
		_cleanup_free_ char *name = xasprintf("unknown flag --%s", def->name);
		_cleanup_free_ char *letter = xasprintf("unknown flag -%c", def->letter ?: '?');
		size_t len = strlen(name);

		if ((strncmp(err->msg, name, len) == 0 &&
		     (!err->msg[len] || err->msg[len] == ':')) ||
		    (def->letter && str_eq(err->msg, letter))) {
			error_set(err, ERR_INVALID,
				  "--%s is a global flag: it stands before the command", def->name);
			return;
		}
	}
}

static int run_verb(struct ctl *ctl, const struct verb *verb, int argc, char **argv)
{
	_cleanup_free_ void *flags = xcalloc(1, verb->flags_size);
	_cleanup_strv_ struct strv args = {0};
	struct option_seen seen = {0};
	struct error err = ERROR_INIT;
	enum ctl_exit status = CTL_USAGE;

	options_defaults(verb->options, flags);
	if (options_parse_args(verb->options, flags, argc, argv, verb->stop_at_first_arg, &args,
			       &seen, &err) < 0) {
		hint_global(&err);
	} else if (*(bool *)flags) {
		if (*verb->name)
			help_verb(verb, stdout);
		else
			help_noun(noun_find(verb->noun), stdout);
		status = CTL_OK;
	} else if (check_count(verb, &args, &err) == 0) {
		status = verb->run(ctl, verb, flags, &seen, &args, &err);
	}
	report(verb, status, &err);
	options_fini(verb->options, flags);
	return status;
}

static int unknown_command(const char *noun, const char *word)
{
	const char *near = help_nearest(noun, word);

	fprintf(stderr, "clusterctl: unknown command \"%s%s%.100s\"", noun ?: "", noun ? " " : "",
		word);
	if (near)
		fprintf(stderr, ": did you mean \"%s%s%s\"?", noun ?: "", noun ? " " : "", near);
	fprintf(stderr, "\nSee 'clusterctl%s%s --help'.\n", noun ? " " : "", noun ?: "");
	return CTL_USAGE;
}

static bool is_help(const char *word)
{
	return str_eq(word, "--help") || str_eq(word, "-h") || str_eq(word, "help");
}

static int run_noun(struct ctl *ctl, const struct noun *noun, int argc, char **argv)
{
	const struct verb *verb = argc > 0 ? verb_find(noun->name, argv[0]) : NULL;
	const struct verb *alone = verb_find(noun->name, "");

	if (argc > 0 && is_help(argv[0])) {
		help_noun(noun, stdout);
		return CTL_OK;
	}
	if (verb && *verb->name)
		return run_verb(ctl, verb, argc - 1, argv + 1);
	if (alone && argc > 0)
		return run_verb(ctl, alone, argc, argv);
	if (argc > 0)
		return unknown_command(noun->name, argv[0]);
	help_noun(noun, stderr);
	return CTL_USAGE;
}

static int run_help(int argc, char **argv)
{
	const struct noun *noun = argc > 0 ? noun_find(argv[0]) : NULL;
	const struct verb *verb = argc > 1 && noun ? verb_find(argv[0], argv[1])
				  : argc > 0	   ? verb_find(NULL, argv[0])
						   : NULL;

	if (verb)
		help_verb(verb, stdout);
	else if (noun)
		help_noun(noun, stdout);
	else if (argc > 0)
		return unknown_command(NULL, argv[0]);
	else
		help_program(stdout);
	return CTL_OK;
}

static int dispatch(struct ctl *ctl, struct strv *args)
{
	const char *word = args->v[0];
	int argc = (int)args->n - 1;
	char **argv = args->v + 1;
	const struct noun *noun = noun_find(word);
	const struct verb *verb = verb_find(NULL, word);

	if (str_eq(word, "help"))
		return run_help(argc, argv);
	if (str_eq(word, "__complete"))
		return complete_run(ctl, argc, argv);
	if (str_eq(word, "__man") && argc == 1) {
		struct error err = ERROR_INIT;

		if (man_write(argv[0], &err) < 0) {
			report(NULL, CTL_FAILED, &err);
			return CTL_FAILED;
		}
		return CTL_OK;
	}
	if (noun)
		return run_noun(ctl, noun, argc, argv);
	return verb ? run_verb(ctl, verb, argc, argv) : unknown_command(NULL, word);
}

static int check_hosts(const char *text, struct error *err)
{
	for (size_t len; *text; text += len + (text[len] == ',')) {
		_cleanup_free_ char *one = xstrndup(text, len = strcspn(text, ","));
		struct hostport hp;

		if (hostport_parse(one, MANAGER_PORT, &hp, err) < 0)
			return error_wrap(err, "--host");
	}
	return 0;
}

static int parse_global(struct ctl *ctl, int argc, char **argv, struct strv *args,
			struct error *err)
{
	const struct global_flags *g = &ctl->global;

	if (options_parse_args(global_options, &ctl->global, argc - 1, argv + 1, true, args, NULL,
			       err) < 0)
		return -1;
	if (!g->help && !g->version && !str_empty(g->host) &&
	    (str_empty(g->tls_ca) || str_empty(g->tls_cert) || str_empty(g->tls_key)))
		return error_set(err, ERR_INVALID,
				 "--host needs --tls-ca, --tls-cert and --tls-key as well: on a "
				 "manager, root.crt, node.crt and "
				 "node.key in /var/lib/skein/identity");
	return str_empty(g->host) ? 0 : check_hosts(g->host, err);
}

int ctl_main(int argc, char **argv)
{
	_cleanup_strv_ struct strv args = {0};
	struct ctl ctl = {0};
	struct error err = ERROR_INIT;
	int status = CTL_USAGE;

	/* a reader that went away (`| head`) is seen as an error of write, not as death in the
	 * middle of gRPC */
	signal(SIGPIPE, SIG_IGN);
	log_init("ctl", getenv("CLUSTERCTL_DEBUG") ? LOG_LEVEL_DEBUG : LOG_LEVEL_ERROR);
	options_defaults(global_options, &ctl.global);
	if (parse_global(&ctl, argc, argv, &args, &err) < 0) {
		report(NULL, status, &err);
	} else if (ctl.global.version) {
		puts("clusterctl " SKEIN_VERSION);
		status = CTL_OK;
	} else if (ctl.global.help) {
		help_program(stdout);
		status = CTL_OK;
	} else if (args.n == 0) {
		help_program(stderr);
	} else {
		status = dispatch(&ctl, &args);
	}
	conn_free(ctl.conn);
	options_fini(global_options, &ctl.global);
	if (fflush(stdout) != 0 && status == CTL_OK)
		status = CTL_FAILED;
	return status;
}
