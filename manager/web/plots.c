/* What some nodes use, for the plots: those that are on the screen. A browser that does not keep up misses samples. */
#include "internal.h"
#include "session.h"
#include "text.h"

#include "common/clock.h"
#include "common/mem.h"
#include "manager/usage/usage.h"
#include "manager/store/view.h"

#include <string.h>

#define NODES_MAX 64
#define UNSENT_MAX_BYTES (16u << 10)

struct plots {
	LIST_ENTRY(plots) entry;
	struct web *w;
	struct http_stream *stream;
	struct usage_sub *sub;
	uint64_t session; /* 0: it is being ended */
	struct strv nodes;
};

/* [node, CPU in 1e-9 cores, bytes, tasks: [[id, CPU, bytes, limit], ...]] */
static json_t *sample_json(const pb_node_usage *sample)
{
	json_t *tasks = json_array(), *a = json_array();

	json_array_append_new(a, text_json(sample->node_id));
	json_array_append_new(a, json_integer((json_int_t)sample->cpu_nano));
	json_array_append_new(a, json_integer((json_int_t)sample->mem_bytes));
	for (size_t i = 0; i < sample->n_tasks; i++) {
		const pb_task_usage *t = sample->tasks[i];
		json_t *task = json_array();

		json_array_append_new(task, text_json(t->task_id));
		json_array_append_new(task, json_integer((json_int_t)t->cpu_nano));
		json_array_append_new(task, json_integer((json_int_t)t->mem_bytes));
		json_array_append_new(task, json_integer((json_int_t)t->mem_limit_bytes));
		json_array_append_new(tasks, task);
	}
	json_array_append_new(a, tasks);
	return a;
}

static void on_sample(void *data, const pb_node_usage *sample)
{
	_cleanup_strbuf_ struct strbuf out = {0};
	struct plots *p = data;

	/* The first sample has no rates yet. */
	if (!p->session || !str_empty(sample->error) || !sample->cpu_nano || !strv_has(&p->nodes, sample->node_id) ||
	    http_stream_unsent(p->stream) > UNSENT_MAX_BYTES)
		return;
	web_event(&out, NULL, NULL, sample_json(sample));
	http_stream_push(p->stream, out.p, out.len);
}

static void plots_free(struct plots *p)
{
	strv_fini(&p->nodes);
	free(p);
}

static void on_close(void *data)
{
	struct plots *p = data;
	struct web *w = p->w;

	usage_unsubscribe(p->sub);
	LIST_REMOVE(p, entry);
	w->n_plots--;
	plots_free(p);
	closer_drop(&w->closer);
}

/* "a,b,c"; what is no node is left out. */
static void add_nodes(struct plots *p, const char *list)
{
	_cleanup_free_ char *copy = xstrdup(list ? list : "");
	char *rest = copy, *id;

	while ((id = strsep(&rest, ",")) && p->nodes.n < NODES_MAX)
		if (*id && view_node(p->w->view, id))
			strv_add(&p->nodes, id);
}

void plots_begin(struct web *w, struct http_request *req)
{
	struct http_stream_options options = {.content_type = "text/event-stream", .heartbeat = ":\n\n", .on_close = on_close};
	uint64_t session = sign_check(w, req);
	struct plots *p;

	if (!session)
		return;
	if (!w->usage) {
		web_refuse(req, 404, "this manager asks no node what it uses");
		return;
	}
	if (w->n_plots >= WEB_PAGES_MAX || w->closer.closing) {
		web_refuse(req, 503, "%d pages show plots of this manager already", WEB_PAGES_MAX);
		return;
	}
	p = xnew(struct plots);
	p->w = w;
	p->session = session;
	add_nodes(p, http_query(req, "nodes"));
	options.data = p;
	p->stream = http_stream_begin(req, &options);
	if (!p->stream) {
		plots_free(p);
		return;
	}
	LIST_INSERT_HEAD(&w->plots, p, entry);
	w->n_plots++;
	closer_hold(&w->closer);
	p->sub = usage_subscribe(w->usage, on_sample, p);
	usage_each(w->usage, on_sample, p);
}

void plots_check(struct web *w)
{
	int64_t now = clock_wall_ns();
	struct plots *p;

	LIST_FOREACH(p, &w->plots, entry)
	{
		if (!p->session || sessions_has(w->sessions, p->session, now))
			continue;
		p->session = 0;
		http_stream_close(p->stream);
	}
}
