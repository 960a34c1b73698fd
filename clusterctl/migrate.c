/* task migrate, migrations, cancel-migration. */
#include "conn.h"
#include "ctl.h"
#include "follow.h"
#include "move_model.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"
#include "proto/pb.h"

#include <string.h>

struct migrate_flags {
	bool help, dry_run, detach, quiet;
	char *to;
	int64_t freeze_budget, timeout;
	uint64_t max_rounds;
};
#define M(kind, field) OPT_##kind(struct migrate_flags, field)

static const struct option_def migrate_options[] = {
	HELP_OPTION,
	{"to", 0, M(STR, to), .arg = "NODE", .help = "node that it goes to; without it the cluster chooses"},
	{"dry-run", 0, M(BOOL, dry_run),
	 .help = "only find out whether it could be moved: both nodes look, the task does not notice"},
	{"freeze-budget", 0, M(DURATION, freeze_budget), .def = "500ms", .max = 3600 * NS_PER_SEC,
	 .help = "copy on while it runs until the rest takes no longer than this to send"},
	{"max-rounds", 0, M(U64, max_rounds), .def = "8", .min = 1, .max = 100,
	 .help = "most rounds of copying while it runs; then it is frozen anyway"},
	{"timeout", 0, M(DURATION, timeout), .def = "10m", .max = 24 * 3600 * NS_PER_SEC,
	 .help = "give up when it is not copied by then; it runs on where it is"},
	{"detach", 'd', M(BOOL, detach), .help = "print the migration's id and return at once"},
	{"quiet", 'q', M(BOOL, quiet), .help = "no progress"},
	{0},
};

/* ---------------------------------------------------------------- migrate */

struct moving {
	struct move move;
	struct move_plain plain;
};

static void feed(void *data, const ProtobufCMessage *msg, int64_t now)
{
	move_feed(&((struct moving *)data)->move, (const Skein__MigrationResponse *)msg);
}

static bool over(void *data)
{
	return ((struct moving *)data)->move.over;
}

static void screen(void *data, unsigned width, unsigned height, int64_t now, struct strv *lines)
{
	move_screen(&((struct moving *)data)->move, width, lines);
}

static void plain(void *data, struct strbuf *out)
{
	struct moving *m = data;

	move_plain(&m->plain, &m->move, out);
}

static const struct follow_ops ops = {
	.method = "WatchMigration", .feed = feed, .over = over, .screen = screen, .plain = plain};

static enum ctl_exit conclude(const struct move *m, struct error *err)
{
	_cleanup_strbuf_ struct strbuf text = {0};
	enum ctl_exit status = move_conclude(m, &text);

	if (status == CTL_OK)
		fputs(text.p, stdout);
	else
		error_set(err, ERR_PRECONDITION, "%s", text.p);
	return status;
}

static enum ctl_exit follow(struct ctl *ctl, const char *id, bool quiet, struct error *err)
{
	struct moving m = {0};
	enum ctl_exit status;

	switch (follow_run(ctl, &ops, &m, id, quiet, err)) {
	case FOLLOW_OVER:
		status = conclude(&m.move, err);
		break;
	case FOLLOW_INTERRUPTED:
		fflush(stdout);
		fprintf(stderr, "%sThe migration goes on; to stop it: clusterctl task cancel-migration %s\n",
			follow_draws() ? "\n" : "", id);
		status = CTL_INTERRUPTED;
		break;
	default:
		error_wrap(err, "migration %s was begun, but how it goes on cannot be seen", id);
		status = CTL_FAILED;
	}
	move_fini(&m.move);
	move_plain_fini(&m.plain);
	return status;
}

static enum ctl_exit run_migrate(struct ctl *ctl, const struct verb *verb, void *flags, const struct option_seen *seen,
				 const struct strv *args, struct error *err)
{
	const struct migrate_flags *f = flags;
	Skein__MigrateTaskRequest request = SKEIN__MIGRATE_TASK_REQUEST__INIT;
	pb_migration_options options = SKEIN__MIGRATION_OPTIONS__INIT;
	_cleanup_pb_ Skein__MigrationResponse *reply = NULL;

	if (f->to && str_empty(f->to))
		return ctl_usage(err, "--to \"\": expected the id or the name of a node");
	options.dry_run = f->dry_run;
	options.freeze_budget = f->freeze_budget;
	options.max_rounds = (uint32_t)f->max_rounds;
	options.timeout = f->timeout;
	request.ref = args->v[0];
	request.node = f->to ?: (char *)"";
	request.options = &options;
	if (conn_call(ctl_conn(ctl), CONN_MANAGER, "MigrateTask", &request, CONN_TIMEOUT_MS, &reply, err) < 0)
		return move_refusal(err);
	if (!reply->migration) {
		error_set(err, ERR_INTERNAL, "the manager's answer holds no migration");
		return CTL_FAILED;
	}
	if (f->detach) {
		puts(reply->migration->id);
		return CTL_OK;
	}
	return follow(ctl, reply->migration->id, f->quiet, err);
}

/* ---------------------------------------------------------------- migrations, cancel-migration */

static const struct list_field fields[] = {
	{"ID", "ID"},
	{"Task", "TASK"},
	{"From", "FROM"},
	{"To", "TO"},
	{"State", "STATE"},
	{"Cause", "CAUSE"},
	{"Downtime", "DOWNTIME"},
	{"Bytes", "BYTES"},
	{"Rounds", "ROUNDS"},
	{"CreatedAt", "CREATED"},
	{"Message", "MESSAGE"},
	{"Service", NULL},
	{"SourceTask", NULL},
	{"TargetTask", NULL},
	{"DryRun", NULL},
	{0},
};
#define FILTERS "id|service|task|node|cause|state"
#define MESSAGE_SHOWN 40

static void add_numbers(struct listing *l, const pb_migration *m)
{
	const pb_migration_report *source = m->source;
	bool moved = source && (int)m->phase == MIGRATION_MOVED;
	char text[STR_HUMAN_MAX];

	listing_cell(l, moved ? move_took(source->downtime, text) : "");
	listing_cell(l, source && source->bytes_sent ? str_bytes_human((int64_t)source->bytes_sent, text) : "");
	listing_cellf(l, "%zu", source ? source->n_rounds : 0);
}

static void add_migration(struct listing *l, const pb_migration *m, const Skein__ListMigrationsResponse *r,
			  const struct list_flags *f)
{
	const char *from = f->no_resolve ? NULL : pb_kv_get(r->node_names, r->n_node_names, m->source_node);
	const char *to = f->no_resolve ? NULL : pb_kv_get(r->node_names, r->n_node_names, m->target_node);
	_cleanup_free_ char *ago = text_ago(m->meta ? m->meta->created_at : 0, clock_wall_ns());
	_cleanup_strbuf_ struct strbuf message = {0};
	char buf[TEXT_ID_SHOWN + 1];

	text_cut(&message, m->message, f->no_trunc || l->kind != LISTING_TABLE ? TEXT_NO_LIMIT : MESSAGE_SHOWN);
	listing_cell(l, list_id(f, m->id, buf));
	listing_cellf(l, "%s.%llu", m->service_name, (unsigned long long)m->slot);
	listing_cell(l, from ?: m->source_node);
	listing_cell(l, to ?: m->target_node);
	listing_cell(l, pb_migration_phase_name((int)m->phase));
	listing_cell(l, m->cause);
	add_numbers(l, m);
	listing_cell(l, ago);
	listing_cell(l, message.p ?: "");
	listing_cell(l, m->service_name);
	listing_cell(l, m->source_task);
	listing_cell(l, m->target_task);
	listing_cell(l, m->options && m->options->dry_run ? "true" : "false");
}

static enum ctl_exit run_migrations(struct ctl *ctl, const struct verb *verb, void *flags, const struct option_seen *seen,
				    const struct strv *args, struct error *err)
{
	const struct list_flags *f = flags;
	_cleanup_listing_ struct listing l = {0};
	_cleanup_pb_ Skein__ListMigrationsResponse *reply = NULL;
	enum ctl_exit asked = ctl_list(ctl, CONN_MANAGER, "ListMigrations", verb, f, &l, &reply, err);

	if (asked != CTL_OK)
		return asked;
	for (size_t i = 0; i < reply->n_migrations; i++)
		add_migration(&l, reply->migrations[i], reply, f);
	listing_print(&l, stdout);
	return CTL_OK;
}

static enum ctl_exit run_cancel(struct ctl *ctl, const struct verb *verb, void *flags, const struct option_seen *seen,
				const struct strv *args, struct error *err)
{
	return ctl_for_each_ref(ctl, "CancelMigration", args, err);
}

/* ---------------------------------------------------------------- verbs */

const struct verb migrate_verbs[] = {
	{
		.noun = "task",
		.name = "migrate",
		.synopsis = "[OPTIONS] TASK",
		.help = "Move a running task to another node, with its memory, files and connections",
		.about = "For services made with --live-migrate. The task runs on while its memory is copied, stands still "
			 "for the\n"
			 "rest, and goes on at the other node with the same addresses. It is shown how far that is, and at the "
			 "end\n"
			 "how long the task stood still.\n\n"
			 "Whatever fails, one copy runs. Exit status: 0 it was moved (with --dry-run: it could be); 3 it was "
			 "refused,\n"
			 "nothing was touched; 4 it was rolled back, and runs where it did; 1 it was lost, or how it went on "
			 "could\n"
			 "not be seen. Ctrl-C ends the waiting, not the migration.",
		.example = "clusterctl task migrate --to h2 web.1\n"
			   "clusterctl task migrate --dry-run web.1\n"
			   "clusterctl task migrate --freeze-budget 100ms --max-rounds 20 db.1",
		.options = migrate_options,
		.flags_size = sizeof(struct migrate_flags),
		.min_args = 1,
		.max_args = 1,
		.object = OBJECT_TASK,
		.run = run_migrate,
	},
	{
		.noun = "task",
		.name = "migrations",
		.synopsis = "[OPTIONS]",
		.help = "List the migrations of tasks, those that are over included",
		.about = "Newest first. --filter state=active shows those that are under way.",
		.example = "clusterctl task migrations --filter service=web --filter state=active",
		.options = ps_options,
		.flags_size = sizeof(struct list_flags),
		.fields = fields,
		.filters = FILTERS,
		.run = run_migrations,
	},
	{
		.noun = "task",
		.name = "cancel-migration",
		.synopsis = "TASK|MIGRATION...",
		.help = "Let tasks that are being moved stay where they are",
		.about = "As long as the task has not all gone over; it is then rolled back, and runs where it did.",
		.example = "clusterctl task cancel-migration web.1",
		.options = no_options,
		.flags_size = sizeof(struct no_flags),
		.min_args = 1,
		.max_args = ANY_NUMBER,
		.object = OBJECT_TASK,
		.run = run_cancel,
	},
	{0},
};
