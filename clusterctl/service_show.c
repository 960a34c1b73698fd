/* service inspect, ps, logs, explain. */
#include "conn.h"
#include "ctl.h"
#include "inspect.h"
#include "logs.h"
#include "ps.h"
#include "service_pretty.h"

#include "common/error.h"
#include "common/mem.h"
#include "pb_json.h"
#include "proto/pb.h"

static void *fetch_service(struct ctl *ctl, const char *ref, struct error *err)
{
	Skein__RefRequest request = SKEIN__REF_REQUEST__INIT;
	_cleanup_pb_ Skein__ServiceResponse *reply = NULL;

	request.ref = (char *)ref;
	if (conn_call(ctl_conn(ctl), CONN_MANAGER, "GetService", &request, CONN_TIMEOUT_MS, &reply,
		      err) < 0)
		return NULL;
	if (!reply->service || !reply->service->spec) {
		error_set(err, ERR_INTERNAL, "the manager's answer holds no service");
		return NULL;
	}
	return TAKE_PTR(reply->service);
}

static enum ctl_exit run_inspect(struct ctl *ctl, const struct verb *verb, void *flags,
				 const struct option_seen *seen, const struct strv *args,
				 struct error *err)
{
	return inspect_run(ctl, flags, args, fetch_service, service_pretty, err);
}

static enum ctl_exit run_ps(struct ctl *ctl, const struct verb *verb, void *flags,
			    const struct option_seen *seen, const struct strv *args,
			    struct error *err)
{
	return ps_run(ctl, verb, flags, args, NULL, err);
}

struct explain_flags {
	bool help;
	char *format;
};
static const struct option_def explain_options[] = {
	HELP_OPTION,
	{"format", 0, OPT_ENUM(struct explain_flags, format), .choices = "tree|json", .def = "tree",
	 .help = "how to print it"},
	{0},
};

static enum ctl_exit run_explain(struct ctl *ctl, const struct verb *verb, void *flags,
				 const struct option_seen *seen, const struct strv *args,
				 struct error *err)
{
	Skein__RefRequest request = SKEIN__REF_REQUEST__INIT;
	_cleanup_pb_ Skein__ExplainServiceResponse *reply = NULL;

	request.ref = args->v[0];
	if (conn_call(ctl_conn(ctl), CONN_MANAGER, "ExplainService", &request, CONN_TIMEOUT_MS,
		      &reply, err) < 0)
		return CTL_FAILED;
	if (str_eq(((struct explain_flags *)flags)->format, "json")) {
		json_t *json = pb_json(&reply->base);
		_cleanup_free_ char *text = json_dumps(json, JSON_INDENT(4));

		puts(text ?: "{}");
		json_decref(json);
	} else {
		explain_print(reply, stdout);
	}
	return CTL_OK;
}

const struct verb service_show_verbs[] = {
	{
		.noun = "service",
		.name = "ps",
		.synopsis = "[OPTIONS] SERVICE...",
		.help = "List the tasks of services",
		.about = "Earlier tasks of the same slot stand below the present one, marked with "
			 "\\_.",
		.example = "clusterctl service ps web\nclusterctl service ps --filter "
			   "desired-state=running -q web",
		.options = ps_options,
		.flags_size = sizeof(struct list_flags),
		.min_args = 1,
		.max_args = ANY_NUMBER,
		.object = OBJECT_SERVICE,
		.fields = ps_fields,
		.filters = PS_FILTERS,
		.run = run_ps,
	},
	{
		.noun = "service",
		.name = "inspect",
		.synopsis = "[OPTIONS] SERVICE...",
		.help = "Show all that is known of services, as JSON",
		.about = "Durations are in nanoseconds, with a readable twin (\"delay_text\"). "
			 "Secrets are not shown.",
		.example = "clusterctl service inspect --pretty web\nclusterctl service inspect "
			   "--format '{{.spec.task.container.image}}' web",
		.options = inspect_options,
		.flags_size = sizeof(struct inspect_flags),
		.min_args = 1,
		.max_args = ANY_NUMBER,
		.object = OBJECT_SERVICE,
		.run = run_inspect,
	},
	{
		.noun = "service",
		.name = "logs",
		.synopsis = "[OPTIONS] SERVICE|TASK",
		.help = "Show what the containers of a service wrote",
		.about = "Lines of all tasks on all nodes, as they arrive, each with its task and "
			 "node in front. What was written\n"
			 "to standard error goes to standard error.",
		.example = "clusterctl service logs -f --tail 10 web\nclusterctl service logs "
			   "--since 10m -t web",
		.options = logs_options,
		.flags_size = sizeof(struct logs_flags),
		.min_args = 1,
		.max_args = 1,
		.object = OBJECT_SERVICE,
		.run = logs_run,
	},
	{
		.noun = "service",
		.name = "explain",
		.synopsis = "[OPTIONS] SERVICE",
		.help = "Say for every task why it is where it is, or why it does not run",
		.about = "For a task that is not placed, every node is listed with what it lacks.",
		.example = "clusterctl service explain web",
		.options = explain_options,
		.flags_size = sizeof(struct explain_flags),
		.min_args = 1,
		.max_args = 1,
		.object = OBJECT_SERVICE,
		.run = run_explain,
	},
	{0},
};
