/* service ls. */
#include "conn.h"
#include "ctl.h"
#include "values_port.h"

#include "common/error.h"
#include "common/imageref.h"
#include "common/mem.h"
#include "proto/pb.h"

#include <string.h>

static const struct list_field service_fields[] = {
	{"ID", "ID"},
	{"Name", "NAME"},
	{"Mode", "MODE"},
	{"Replicas", "REPLICAS"},
	{"Image", "IMAGE"},
	{"Ports", "PORTS"},
	{0},
};
#define SERVICE_FILTERS "id|name|label|mode"

static void add_service(struct listing *l, const Skein__ServiceSummary *summary,
			const struct list_flags *f)
{
	const pb_service_spec *spec = summary->service->spec;
	const pb_task_spec *task = spec->task;
	const char *image = task && task->container ? task->container->image : "";
	uint64_t per_node = task && task->placement ? task->placement->max_replicas_per_node : 0;
	_cleanup_free_ char *limit =
		per_node ? xasprintf(" (max %llu per node)", (unsigned long long)per_node)
			 : xstrdup("");
	const pb_endpoint *endpoint = summary->service->endpoint;
	_cleanup_free_ char *ports = endpoint ? ports_text(endpoint->ports, endpoint->n_ports,
							   PUBLISH_INGRESS)
					      : xstrdup("");
	char buf[TEXT_ID_SHOWN + 1], familiar[IMAGEREF_MAX];
	struct imageref ref;

	listing_cell(l, list_id(f, summary->service->id, buf));
	listing_cell(l, spec->name);
	listing_cell(l,
		     spec->mode_case == SKEIN__SERVICE_SPEC__MODE_GLOBAL ? "global" : "replicated");
	listing_cellf(l, "%llu/%llu%s", (unsigned long long)summary->running,
		      (unsigned long long)summary->desired, limit);
	listing_cell(l, imageref_parse(image, &ref, NULL) == 0 ? imageref_familiar(&ref, familiar)
							       : image);
	listing_cell(l, ports);
}

static enum ctl_exit run_ls(struct ctl *ctl, const struct verb *verb, void *flags,
			    const struct option_seen *seen, const struct strv *args,
			    struct error *err)
{
	const struct list_flags *f = flags;
	_cleanup_listing_ struct listing l = {0};
	_cleanup_pb_ Skein__ListServicesResponse *reply = NULL;
	enum ctl_exit asked = ctl_list(ctl, CONN_MANAGER, "ListServices", verb, f, &l, &reply, err);

	if (asked != CTL_OK)
		return asked;
	for (size_t i = 0; i < reply->n_services; i++)
		if (reply->services[i]->service && reply->services[i]->service->spec)
			add_service(&l, reply->services[i], f);
	listing_print(&l, stdout);
	return CTL_OK;
}

const struct verb service_verbs[] = {
	{
		.noun = "service",
		.name = "ls",
		.aliases = "list",
		.synopsis = "[OPTIONS]",
		.help = "List the services",
		.about = "PORTS are those that all nodes publish; ports of mode=host stand in "
			 "'service ps'.",
		.example = "clusterctl service ls\nclusterctl service ls --format '{{.Name}} "
			   "{{.Replicas}}'",
		.options = list_options,
		.flags_size = sizeof(struct list_flags),
		.fields = service_fields,
		.filters = SERVICE_FILTERS,
		.run = run_ls,
	},
	{0},
};
