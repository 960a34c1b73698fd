/* Migrations: asked for here, carried out by the leader (docs/adr/0019-one-copy-runs.md). */
#include "filters.h"
#include "internal.h"
#include "migrate_rules.h"
#include "redact.h"
#include "resolve.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/id.h"
#include "common/mem.h"
#include "manager/store/plan.h"
#include "manager/store/store.h"

#include <stdio.h>
#include <string.h>

/* ---------------------------------------------------------------- read */

static void reply_migration(struct req *r)
{
	Skein__MigrationResponse response = SKEIN__MIGRATION_RESPONSE__INIT;
	_cleanup_redact_ struct redact redact = {0};
	struct view *v = control_view(r->c);
	const pb_migration *m = view_migration(v, r->id);

	if (!m) {
		req_fail_with(r, ERR_CONFLICT, "migration %s was removed meanwhile", r->id);
		return;
	}
	response.migration = redact_migration(&redact, m);
	redact_node_names(&redact, v, &response.n_node_names, &response.node_names);
	req_reply(r, &response);
}

static bool match_id(const struct view *v, const void *obj, const char *value)
{
	return str_starts(((const pb_migration *)obj)->id, value);
}

static bool match_service(const struct view *v, const void *obj, const char *value)
{
	const pb_migration *m = obj;

	return str_starts(m->service_id, value) || str_eq(m->service_name, value);
}

static bool match_task(const struct view *v, const void *obj, const char *value)
{
	const pb_migration *m = obj;
	char name[PB_TASK_NAME_MAX];

	snprintf(name, sizeof(name), "%s.%llu", m->service_name, (unsigned long long)m->slot);
	return str_eq(name, value) || str_starts(m->source_task, value) || str_starts(m->target_task, value);
}

static bool is_node(const struct view *v, const char *id, const char *value)
{
	const pb_node *node = view_node(v, id);

	return !str_empty(id) && (str_starts(id, value) || (node && str_eq(pb_node_name(node), value)));
}

static bool match_node(const struct view *v, const void *obj, const char *value)
{
	const pb_migration *m = obj;

	return is_node(v, m->source_node, value) || is_node(v, m->target_node, value);
}

static bool match_state(const struct view *v, const void *obj, const char *value)
{
	const pb_migration *m = obj;

	if (str_eq(value, "active"))
		return !pb_migration_ended(m);
	return str_eq(pb_migration_phase_name((int)m->phase), value);
}

static bool match_cause(const struct view *v, const void *obj, const char *value)
{
	return str_eq(((const pb_migration *)obj)->cause, value);
}

static const struct filter_key migration_filters[] = {
	{"id", match_id, NULL},
	{"service", match_service, NULL},
	{"task", match_task, NULL},
	{"node", match_node, NULL},
	{"cause", match_cause, NULL},
	{"state", match_state,
	 "active|new|prepare|copy|freeze|switch|abort|resume|moved|checked|refused|rolled-back|lost"},
	{0},
};

static int newest_first(const void *a, const void *b)
{
	const pb_migration *x = *(pb_migration *const *)a, *y = *(pb_migration *const *)b;
	int64_t at_x = x->meta ? x->meta->created_at : 0, at_y = y->meta ? y->meta->created_at : 0;

	if (at_x != at_y)
		return at_x > at_y ? -1 : 1;
	return strcmp(x->id, y->id);
}

void step_list_migrations(struct req *r)
{
	const Skein__ListRequest *request = r->msg;
	Skein__ListMigrationsResponse response = SKEIN__LIST_MIGRATIONS_RESPONSE__INIT;
	_cleanup_redact_ struct redact redact = {0};
	_cleanup_free_ const void **all = NULL;
	struct view *v = control_view(r->c);
	struct error err = ERROR_INIT;
	size_t n;

	if (filters_check(migration_filters, request->filters, request->n_filters, &err) < 0) {
		req_fail(r, &err);
		return;
	}
	all = view_list(v, KIND_MIGRATION, &n);
	response.migrations = redact_alloc(&redact, n * sizeof(*response.migrations));
	for (size_t i = 0; i < n; i++)
		if (filters_pass(migration_filters, request->filters, request->n_filters, v, all[i]))
			response.migrations[response.n_migrations++] = redact_migration(&redact, all[i]);
	qsort(response.migrations, response.n_migrations, sizeof(*response.migrations), newest_first);
	redact_node_names(&redact, v, &response.n_node_names, &response.node_names);
	req_reply_bounded(r, &response.base, "migrations");
}

/* ---------------------------------------------------------------- nodes that could take it */

struct places {
	const pb_task *task;
	const char *wanted; /* id; "" = any other node */
	const pb_node *fit;
	size_t n_refused;
	struct strbuf why;
};

static void on_verdict(void *data, const pb_node *node, bool fits, const char *filter, const char *reason)
{
	struct places *p = data;

	if (str_eq(node->id, p->task->node_id) || (*p->wanted && !str_eq(node->id, p->wanted)))
		return;
	if (fits) {
		p->fit = node;
		return;
	}
	strbuf_printf(&p->why, "%s%s: %s", p->n_refused ? "; " : "", pb_node_name(node), reason);
	p->n_refused++;
}

static int check_place(struct req *r, const pb_task *task, const pb_node *target, struct error *err)
{
	struct places p = {.task = task, .wanted = target ? target->id : ""};
	_cleanup_strbuf_ struct strbuf why = {0};
	char name[PB_TASK_NAME_MAX];

	r->c->ops.verdicts(r->c->ops.data, control_view(r->c), task, clock_wall_ns(), on_verdict, &p);
	why = p.why;
	if (p.fit)
		return 0;
	pb_task_name(task, name);
	if (p.n_refused == 0)
		return error_set(err, ERR_PRECONDITION, "task %s cannot be moved: there is no other node", name);
	return error_set(err, ERR_PRECONDITION, target ? "task %s cannot go to node %s" : "no other node can take task %s: %s",
			 name, why.p);
}

/* ---------------------------------------------------------------- ask for */

/* The leader gives it a target task and a ticket. */
static void stage(struct txn *t, const char *id, const pb_task *task, const char *target, const pb_migration_options *options,
		  const char *cause)
{
	pb_migration *m = pb_new(&skein__migration__descriptor);

	pb_set_str(&m->id, id);
	pb_set_str(&m->service_id, task->service_id);
	pb_set_str(&m->service_name, task->service_name);
	m->slot = task->slot;
	pb_set_str(&m->source_task, task->id);
	pb_set_str(&m->source_node, task->node_id);
	pb_set_str(&m->target_node, target);
	pb_set_msg(&m->options, options);
	if (!m->options)
		m->options = pb_new(&skein__migration_options__descriptor);
	pb_set_str(&m->cause, cause);
	m->phase = MIGRATION_NEW;
	m->phase_at = clock_wall_ns();
	txn_put(t, KIND_MIGRATION, m);
	txn_require(t, KIND_TASK, task->id);
}

/* No other migration of these slots came meanwhile. */
static struct txn *begin(struct req *r)
{
	struct txn *t = txn_begin(control_view(r->c));

	txn_require_all(t, KIND_MIGRATION, store_revision(r->c->store));
	return t;
}

void step_migrate_task(struct req *r)
{
	const Skein__MigrateTaskRequest *request = r->msg;
	struct view *v = control_view(r->c);
	const pb_node *target = NULL;
	struct error err = ERROR_INIT;
	const pb_task *task;
	struct txn *t;

	if (migrate_rules_options(request->options, &err) < 0 || !(task = resolve_task(v, request->ref, &err)) ||
	    migrate_rules_task(v, task, &err) < 0 ||
	    (!str_empty(request->node) && !(target = resolve_node(v, request->node, &err))) ||
	    (target && migrate_rules_target(task, target, &err) < 0) || check_place(r, task, target, &err) < 0) {
		req_fail(r, &err);
		return;
	}
	if (!*r->id)
		id_new(r->id);
	t = begin(r);
	stage(t, r->id, task, target ? target->id : "", request->options, "task migrate");
	req_commit(r, t, reply_migration);
}

void step_cancel_migration(struct req *r)
{
	const Skein__RefRequest *request = r->msg;
	struct view *v = control_view(r->c);
	struct error err = ERROR_INIT;
	const pb_migration *m = resolve_migration(v, *r->id ? r->id : request->ref, &err);
	pb_migration *edited;
	struct txn *t;

	if (!m || migrate_rules_cancel(m, &err) < 0) {
		req_fail(r, &err);
		return;
	}
	snprintf(r->id, sizeof(r->id), "%s", m->id);
	if (m->cancelled) {
		reply_migration(r);
		return;
	}
	t = txn_begin(v);
	edited = txn_edit(t, KIND_MIGRATION, r->id);
	edited->cancelled = true;
	txn_put(t, KIND_MIGRATION, edited);
	req_commit(r, t, reply_migration);
}

/* ---------------------------------------------------------------- rebalance */

/* A plan: what the answer tells, and what is staged besides. */
struct rebalancing {
	const struct view *view;
	Skein__RebalanceResponse *response;
	struct txn *t; /* NULL: dry run */
};

static void on_move(void *data, const pb_task *task, const pb_node *to)
{
	struct rebalancing *b = data;
	const pb_node *from = view_node(b->view, task->node_id);
	Skein__RebalanceMove *move = pb_new(&skein__rebalance_move__descriptor);
	char name[PB_TASK_NAME_MAX], id[ID_LEN + 1];

	pb_set_str(&move->task_id, task->id);
	pb_set_str(&move->task_name, pb_task_name(task, name));
	pb_set_str(&move->from_node, from ? pb_node_name(from) : task->node_id);
	pb_set_str(&move->to_node, pb_node_name(to));
	pb_msgs_add(&b->response->n_moves, &b->response->moves, move);
	if (!b->t)
		return;
	id_new(id);
	stage(b->t, id, task, to->id, NULL, "rebalance");
}

static int check_rebalance(const pb_service *service, struct error *err)
{
	const pb_task_spec *spec = service_task_spec(service);
	const char *name = service->spec->name;

	if (service_is_global(service))
		return error_set(err, ERR_PRECONDITION, "service %s is global: it has one task on every node, none moves", name);
	if (!spec || !spec->live_migrate)
		return error_set(err, ERR_PRECONDITION,
				 "service %s runs without --live-migrate: its tasks cannot be moved (service update "
				 "--live-migrate %s replaces them by ones that can)",
				 name, name);
	return 0;
}

static void reply_moves(struct req *r)
{
	req_reply(r, r->answer);
}

void step_rebalance(struct req *r)
{
	const Skein__RebalanceRequest *request = r->msg;
	struct view *v = control_view(r->c);
	struct rebalancing b = {.view = v};
	struct error err = ERROR_INIT;
	const pb_service *service = resolve_service(v, request->ref, &err);

	if (!service || check_rebalance(service, &err) < 0) {
		req_fail(r, &err);
		return;
	}
	pb_free(r->answer); /* of an attempt that met a conflict */
	r->answer = b.response = pb_new(&skein__rebalance_response__descriptor);
	b.t = request->dry_run ? NULL : begin(r);
	r->c->ops.rebalance(r->c->ops.data, v, service, clock_wall_ns(), on_move, &b);
	if (b.t && b.response->n_moves > 0) {
		req_commit(r, b.t, reply_moves);
		return;
	}
	if (b.t)
		txn_free(b.t);
	reply_moves(r);
}
