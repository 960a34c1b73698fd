/* service rebalance. */
#include "conn.h"
#include "ctl.h"

#include "common/mem.h"
#include "proto/pb.h"

struct rebalance_flags {
	bool help, dry_run;
};

static const struct option_def options[] = {
	HELP_OPTION,
	{"dry-run", 0, OPT_BOOL(struct rebalance_flags, dry_run), .help = "only show what would be moved"},
	{0},
};

static enum ctl_exit run_rebalance(struct ctl *ctl, const struct verb *verb, void *flags, const struct option_seen *seen,
				   const struct strv *args, struct error *err)
{
	const struct rebalance_flags *f = flags;
	Skein__RebalanceRequest request = SKEIN__REBALANCE_REQUEST__INIT;
	_cleanup_pb_ Skein__RebalanceResponse *reply = NULL;

	request.ref = args->v[0];
	request.dry_run = f->dry_run;
	if (conn_call(ctl_conn(ctl), CONN_MANAGER, "Rebalance", &request, CONN_TIMEOUT_MS, &reply, err) < 0)
		return CTL_FAILED;
	for (size_t i = 0; i < reply->n_moves; i++)
		printf("%s: %s -> %s\n", reply->moves[i]->task_name, reply->moves[i]->from_node, reply->moves[i]->to_node);
	if (reply->n_moves == 0)
		printf("%s is spread already\n", args->v[0]);
	else
		printf("%zu task%s %s\n", reply->n_moves, reply->n_moves == 1 ? "" : "s",
		       f->dry_run ? "would move" : "will move, a few at a time; see: clusterctl task migrations");
	return CTL_OK;
}

const struct verb rebalance_verbs[] = {
	{
		.noun = "service",
		.name = "rebalance",
		.synopsis = "[OPTIONS] SERVICE",
		.help = "Move running tasks so that a service is spread over the nodes again",
		.about = "After nodes came or returned. For services made with --live-migrate: tasks move with their memory and "
			 "connections,\n"
			 "and only where it makes a difference. Placement preferences count as when tasks are placed. Returns at "
			 "once;\n"
			 "the moves follow a few at a time.",
		.example = "clusterctl service rebalance --dry-run web\nclusterctl service rebalance web",
		.options = options,
		.flags_size = sizeof(struct rebalance_flags),
		.min_args = 1,
		.max_args = 1,
		.object = OBJECT_SERVICE,
		.run = run_rebalance,
	},
	{0},
};
