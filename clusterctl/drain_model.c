#include "drain_model.h"

#include "text.h"

#include "common/mem.h"

#include <ctype.h>
#include <string.h>

void drain_init(struct drain *d, const char *node)
{
	*d = (struct drain){.node = xstrdup(node)};
}

void drain_fini(struct drain *d)
{
	free(d->node);
	strv_fini(&d->seen);
	strv_fini(&d->before);
	strv_fini(&d->waiting);
	strv_fini(&d->told);
	strv_fini(&d->stayed);
}

/* It runs there, or may: what waits for a node or has ended is none of its tasks. */
static bool is_there(const pb_task *task)
{
	int state = task->status ? (int)task->status->state : TASK_NEW;

	return state >= TASK_ASSIGNED && state <= TASK_RUNNING;
}

static const pb_migration *way_of(const Skein__ListMigrationsResponse *r, const pb_task *task)
{
	for (size_t i = 0; i < r->n_migrations; i++)
		if (!pb_migration_ended(r->migrations[i]) && str_eq(r->migrations[i]->source_task, task->id))
			return r->migrations[i];
	return NULL;
}

static void add_waiting(struct drain *d, const pb_task *task, const Skein__ListMigrationsResponse *r)
{
	const pb_migration *m = way_of(r, task);
	const char *to = m ? pb_kv_get(r->node_names, r->n_node_names, m->target_node) : NULL;
	char name[PB_TASK_NAME_MAX], state[32];
	size_t n = 0;

	pb_task_name(task, name);
	if (m) {
		strv_addf(&d->waiting, "%s: moves%s%s: %s", name, to ? " to " : "", to ?: "",
			  pb_migration_phase_name((int)m->phase));
		return;
	}
	for (const char *p = pb_task_state_name((int)task->status->state); *p && n + 1 < sizeof(state); p++)
		state[n++] = (char)tolower((unsigned char)*p);
	state[n] = '\0';
	strv_addf(&d->waiting, "%s: %s", name, (int)task->desired > TASK_RUNNING ? "stops" : state);
}

static void read_ended(struct drain *d, const char *node_id, const pb_migration *m)
{
	if (!pb_migration_ended(m) || !str_eq(m->source_node, node_id) || strv_has(&d->before, m->id))
		return;
	strv_add(&d->before, m->id);
	/* What was over when the waiting began is not of this drain. */
	if (!d->begun)
		return;
	if ((int)m->phase == MIGRATION_MOVED)
		d->moved++;
	else if (!(m->options && m->options->dry_run))
		strv_addf(&d->stayed, "%s.%llu could not be moved: %s", m->service_name, (unsigned long long)m->slot,
			  str_empty(m->message) ? pb_migration_phase_name((int)m->phase) : m->message);
}

void drain_feed(struct drain *d, const char *node_id, const Skein__ListTasksResponse *tasks,
		const Skein__ListMigrationsResponse *migrations)
{
	strv_fini(&d->waiting);
	d->waiting = (struct strv){0};
	d->left = 0;
	for (size_t i = 0; i < tasks->n_tasks; i++) {
		const pb_task *task = tasks->tasks[i];

		if (!is_there(task))
			continue;
		d->left++;
		if (!strv_has(&d->seen, task->id))
			strv_add(&d->seen, task->id);
		add_waiting(d, task, migrations);
	}
	for (size_t i = 0; i < migrations->n_migrations; i++)
		read_ended(d, node_id, migrations->migrations[i]);
	d->begun = true;
}

bool drain_done(const struct drain *d)
{
	return d->begun && d->left == 0;
}

static void add_cut(struct strv *lines, const char *text, unsigned width)
{
	_cleanup_strbuf_ struct strbuf cut = {0};

	text_cut(&cut, text, width > 1 ? width - 1 : 1);
	strv_add(lines, cut.p ?: "");
}

void drain_screen(const struct drain *d, unsigned width, unsigned height, struct strv *lines)
{
	_cleanup_free_ char *head = xasprintf("%s: %zu of %zu tasks are gone", d->node, d->seen.n - d->left, d->seen.n);
	size_t room = height > 3 ? height - 3 : 1;

	add_cut(lines, head, width);
	for (size_t i = 0; i < d->waiting.n && i < room; i++) {
		_cleanup_free_ char *line = xasprintf("  %s", d->waiting.v[i]);

		add_cut(lines, line, width);
	}
}

static void tell(struct drain *d, struct strbuf *out, const char *line)
{
	_cleanup_strbuf_ struct strbuf clean = {0};

	text_cut(&clean, line, TEXT_NO_LIMIT);
	if (strv_has(&d->told, clean.p ?: ""))
		return;
	strv_add(&d->told, clean.p ?: "");
	strbuf_printf(out, "%s\n", clean.p ?: "");
}

void drain_plain(struct drain *d, struct strbuf *out)
{
	_cleanup_free_ char *head = xasprintf("%s: %zu of %zu tasks are gone", d->node, d->seen.n - d->left, d->seen.n);

	tell(d, out, head);
	for (size_t i = 0; i < d->waiting.n; i++)
		tell(d, out, d->waiting.v[i]);
	for (size_t i = 0; i < d->stayed.n; i++)
		tell(d, out, d->stayed.v[i]);
}

void drain_summary(const struct drain *d, struct strbuf *out)
{
	size_t gone = d->seen.n - d->left, moved = d->moved < gone ? d->moved : gone;

	if (gone == 0 && d->left == 0) {
		strbuf_printf(out, "%s: drained: it had no tasks\n", d->node);
		return;
	}
	strbuf_printf(out, "%s: %s: %zu task%s moved, %zu stopped\n", d->node, d->left ? "not drained" : "drained", moved,
		      moved == 1 ? "" : "s", gone - moved);
	for (size_t i = 0; i < d->stayed.n; i++)
		strbuf_printf(out, "  %s\n", d->stayed.v[i]);
}
