/* task ls, inspect, logs. */
#include "conn.h"
#include "ctl.h"
#include "inspect.h"
#include "logs.h"
#include "ps.h"

#include "common/error.h"
#include "common/mem.h"
#include "proto/pb.h"

static enum ctl_exit run_ls(struct ctl *ctl, const struct verb *verb, void *flags,
			    const struct option_seen *seen, const struct strv *args,
			    struct error *err)
{
	return ps_run(ctl, verb, flags, NULL, NULL, err);
}

static void *fetch_task(struct ctl *ctl, const char *ref, struct error *err)
{
	Skein__RefRequest request = SKEIN__REF_REQUEST__INIT;
	_cleanup_pb_ Skein__TaskResponse *reply = NULL;

	request.ref = (char *)ref;
	if (conn_call(ctl_conn(ctl), CONN_MANAGER, "GetTask", &request, CONN_TIMEOUT_MS, &reply,
		      err) < 0)
		return NULL;
	if (!reply->task)
		error_set(err, ERR_INTERNAL, "the manager's answer holds no task");
	return TAKE_PTR(reply->task);
}

static enum ctl_exit run_inspect(struct ctl *ctl, const struct verb *verb, void *flags,
				 const struct option_seen *seen, const struct strv *args,
				 struct error *err)
{
	return inspect_run(ctl, flags, args, fetch_task, NULL, err);
}

const struct verb task_verbs[] = {
	{
		.noun = "task",
		.name = "ls",
		.aliases = "list|ps",
		.synopsis = "[OPTIONS]",
		.help = "List the tasks of all services",
		.example = "clusterctl task ls --filter node=h2 --filter desired-state=running",
		.options = ps_options,
		.flags_size = sizeof(struct list_flags),
		.fields = ps_fields,
		.filters = PS_FILTERS,
		.run = run_ls,
	},
	{
		.noun = "task",
		.name = "inspect",
		.synopsis = "[OPTIONS] TASK...",
		.help = "Show all that is known of tasks, as JSON",
		.example = "clusterctl task inspect --format '{{.status.state}}' k3x9w2",
		.options = inspect_plain_options,
		.flags_size = sizeof(struct inspect_flags),
		.min_args = 1,
		.max_args = ANY_NUMBER,
		.object = OBJECT_TASK,
		.run = run_inspect,
	},
	{
		.noun = "task",
		.name = "logs",
		.synopsis = "[OPTIONS] TASK",
		.help = "Show what a task's container wrote",
		.example = "clusterctl task logs -f k3x9w2",
		.options = logs_options,
		.flags_size = sizeof(struct logs_flags),
		.min_args = 1,
		.max_args = 1,
		.object = OBJECT_TASK,
		.run = logs_run,
	},
	{0},
};
