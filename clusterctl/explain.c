/* `service explain`: a tree of tasks and of what each node said. */
#include "ps.h"
#include "service_pretty.h"

#include "common/mem.h"
#include "common/str.h"

#include <string.h>

static void put_task_line(const Skein__TaskExplanation *e, bool last, FILE *out)
{
	_cleanup_free_ char *name = e->task ? ps_task_name(e->task) : xstrdup("(not made yet)");
	const char *state =
		e->task && e->task->status ? ps_state_text((int)e->task->status->state) : "New";

	fprintf(out, "%s %s  %s", last ? "└─" : "├─", name, state);
	if (*e->node_name)
		fprintf(out, " on %s", e->node_name);
	if (e->task)
		fprintf(out, "  (task %.*s)", TEXT_ID_SHOWN, e->task->id);
	fputc('\n', out);
}

static void put_detail(FILE *out, bool last_task, bool last, const char *text)
{
	fprintf(out, "%s  %s %s\n", last_task ? " " : "│", last ? "└─" : "├─", text);
}

/* Of a task that has its node, only what speaks against other nodes is of interest. */
static bool is_shown(const Skein__TaskExplanation *e, const Skein__NodeVerdict *v)
{
	return !v->fits || !e->task || !*e->task->node_id;
}

static void put_task(const Skein__TaskExplanation *e, bool last, FILE *out)
{
	size_t left = 0;

	for (size_t i = 0; i < e->n_nodes; i++)
		left += is_shown(e, e->nodes[i]);
	put_task_line(e, last, out);
	if (*e->summary)
		put_detail(out, last, left == 0, e->summary);
	for (size_t i = 0; i < e->n_nodes; i++) {
		const Skein__NodeVerdict *v = e->nodes[i];

		if (!is_shown(e, v))
			continue;
		_cleanup_free_ char *text =
			xasprintf("%s: %s%s%s", *v->node_name ? v->node_name : v->node_id,
				  v->fits ? "fits" : v->reason, v->fits && *v->reason ? ": " : "",
				  v->fits ? v->reason : "");

		put_detail(out, last, --left == 0, text);
	}
}

static int compare(const void *pa, const void *pb)
{
	const Skein__TaskExplanation *a = *(Skein__TaskExplanation *const *)pa,
				     *b = *(Skein__TaskExplanation *const *)pb;

	if (!a->task || !b->task)
		return (a->task == NULL) - (b->task == NULL);
	if (a->task->slot != b->task->slot)
		return a->task->slot < b->task->slot ? -1 : 1;
	return strcmp(a->node_name, b->node_name);
}

void explain_print(const Skein__ExplainServiceResponse *reply, FILE *out)
{
	const char *name =
		reply->service && reply->service->spec ? reply->service->spec->name : "service";

	/* the manager's summary begins with the name */
	if (str_starts(reply->summary, name))
		fprintf(out, "%s\n", reply->summary);
	else
		fprintf(out, "%s%s%s\n", name, *reply->summary ? ": " : "", reply->summary);
	if (reply->n_tasks > 0)
		qsort(reply->tasks, reply->n_tasks, sizeof(*reply->tasks), compare);
	for (size_t i = 0; i < reply->n_tasks; i++)
		put_task(reply->tasks[i], i + 1 == reply->n_tasks, out);
}
