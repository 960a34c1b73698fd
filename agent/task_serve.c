#include "task_internal.h"

#include "agent/exec/health.h"
#include "agent/readiness.h"
#include "common/log.h"
#include "common/mem.h"

void task_resolve_health(struct task *t)
{
	pb_container_spec *c = t->obj->spec->container;
	pb_health_check *check = health_resolve(c->health, t->image->health);

	/* What says NONE goes on saying so: nothing at all would mean the image's check to the next agent. */
	if (!check && c->health && c->health->n_test)
		return;
	pb_free(c->health);
	c->health = check;
}

static void on_ready(void *data, const char *message)
{
	struct task *t = data;

	t->ready = true;
	free(t->ready_message);
	t->ready_message = xstrdup(message);
	task_advance(t);
}

static void on_health(void *data, const pb_task_health *health)
{
	struct task *t = data;

	pb_set_msg(&task_status_of(t)->health, health);
	task_save(t);
	/* Before RUNNING the status that says so is on its way. */
	if (task_status_of(t)->state >= TASK_RUNNING || health->state != HEALTH_HEALTHY)
		t->env->on_status(t->env->data, t);
}

static void on_unhealthy(void *data, const char *why)
{
	struct task *t = data;

	log_warn("task_unhealthy", kv_str("task", t->obj->id), kv_str("service", t->obj->service_name),
		 kv_str("why", why));
	t->unhealthy = xstrdup(why);
	task_advance(t);
}

/* An earlier agent was about to stop it. */
static bool is_unhealthy(const struct task *t)
{
	const pb_task_health *health = t->obj->status->health;

	return health && health->state == HEALTH_UNHEALTHY;
}

static void begin_health(struct task *t, bool passed)
{
	pb_task_status *s = task_status_of(t);

	if (!health_is_check(t->obj->spec->container->health) || s->health)
		return;
	s->health = pb_new(&skein__task_health__descriptor);
	s->health->state = passed ? HEALTH_HEALTHY : HEALTH_STARTING;
}

/* The report of STARTING has not gone out yet when the start was fast. */
static void say(struct task *t, const char *what)
{
	pb_set_str(&task_status_of(t)->message, what);
	t->env->on_status(t->env->data, t);
}

void task_watch_serving(struct task *t, bool adopted)
{
	struct readiness_options options = {
		.loop = t->env->loop,
		.container = t->container,
		.net = t->env->net,
		.task = t->obj,
		.image = t->image,
		.adopted = adopted,
		.passed = task_status_of(t)->state >= TASK_RUNNING,
		.ready = on_ready,
		.changed = on_health,
		.unhealthy = on_unhealthy,
		.data = t,
	};

	if (adopted && is_unhealthy(t)) {
		t->unhealthy = xasprintf("unhealthy: %s", task_status_of(t)->health->output);
		return;
	}
	begin_health(t, options.passed);
	t->readiness = readiness_new(&options);
	if (!options.passed && readiness_waits_for(t->readiness))
		say(t, readiness_waits_for(t->readiness));
}

void task_unwatch_serving(struct task *t)
{
	readiness_close(t->readiness);
	t->readiness = NULL;
}
