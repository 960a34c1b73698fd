#include "readiness.h"

#include "agent/exec/exec.h"
#include "agent/exec/health.h"
#include "agent/net/net.h"
#include "common/clock.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/str.h"

#include <stdio.h>
#include <string.h>

#define EXPOSED_MAX 1000
#define TOLD_OUTPUT_MAX 200 /* of a failure's reason; the whole output stands in the task's health */
/* A check that fails every other time is no reason to write to etcd each time. */
#define TELL_NS (5 * NS_PER_SEC)

struct readiness {
	struct readiness_options o;
	char *task_id;
	pb_health_check *check; /* NULL = none */
	struct health health;
	pb_task_health *status;
	pb_task_health *told;
	int64_t told_at;
	struct container_check *running;
	uv_timer_t timer;
	int64_t ready_wait;
	bool awaiting, closing;
};

/* ---------------------------------------------------------------- telling */

static void tell(struct readiness *r)
{
	r->told_at = clock_mono_ns();
	pb_free(r->told);
	r->told = pb_dup(r->status);
	r->o.changed(r->o.data, r->status);
}

static void tell_now_and_then(struct readiness *r)
{
	const pb_task_health *now = r->status, *before = r->told;
	bool other = !now->failing_streak != !before->failing_streak;

	/* Who waits for it to come up wants to know why it does not. */
	if (now->state == HEALTH_STARTING)
		other |= now->exit_code != before->exit_code || !str_eq(now->output, before->output);
	if (other && clock_mono_ns() - r->told_at >= TELL_NS)
		tell(r);
}

/* ---------------------------------------------------------------- checks */

static void next_check(struct readiness *r, int64_t distance);

static void take_result(struct readiness *r, const struct check_end *end)
{
	pb_task_health *s = r->status;
	char seconds[STR_HUMAN_MAX];

	s->checked_at = clock_wall_ns();
	s->exit_code = end->exit_code;
	s->failing_streak = r->health.streak;
	if (end->timed_out) {
		_cleanup_free_ char *text = xasprintf("not over after %s%s%s", str_duration(r->check->timeout, seconds),
						      *end->output ? ": " : "", end->output);

		pb_set_str(&s->output, text);
	} else {
		pb_set_str(&s->output, end->output);
	}
}

static char *reason(const struct readiness *r)
{
	const pb_task_health *s = r->status;
	const char *output = s->output;
	size_t len = strlen(output), from = len > TOLD_OUTPUT_MAX ? len - TOLD_OUTPUT_MAX : 0;

	return xasprintf("unhealthy: check failed %u times (exit %d)%s%s%s", r->health.streak, s->exit_code,
			 len ? ": " : "", from ? "..." : "", output + from);
}

static void on_checked(void *data, const struct check_end *end)
{
	struct readiness *r = data;
	enum health_verdict verdict;
	_cleanup_free_ char *why = NULL;

	r->running = NULL;
	if (end->gone) { /* the news of its end is on the way */
		if (!r->closing)
			next_check(r, r->check->interval);
		return;
	}
	verdict = health_result(&r->health, r->check, end->exit_code == 0, clock_mono_ns());
	take_result(r, end);
	switch (verdict) {
	case HEALTH_PASSED:
		r->status->state = HEALTH_HEALTHY;
		tell(r);
		if (!r->closing)
			r->o.ready(r->o.data, "healthy");
		break;
	case HEALTH_FAILED:
		r->status->state = HEALTH_UNHEALTHY;
		why = reason(r);
		tell(r);
		if (!r->closing)
			r->o.unhealthy(r->o.data, why);
		return;
	case HEALTH_SAME:
		tell_now_and_then(r);
		break;
	}
	if (!r->closing)
		next_check(r, health_distance(&r->health, r->check));
}

static void on_due(uv_timer_t *timer)
{
	struct readiness *r = container_of(timer, struct readiness, timer);

	r->running = container_check(r->o.container, r->check->timeout, on_checked, r);
}

static void next_check(struct readiness *r, int64_t distance)
{
	loop_timer_in(&r->timer, distance, on_due);
}

/* After a restart of the agent not all containers are checked at the same moment. */
static int64_t first_distance(struct readiness *r)
{
	uint64_t h = 5381;

	if (!r->o.passed)
		return health_distance(&r->health, r->check);
	for (const char *p = r->task_id; *p; p++)
		h = h * 33 + (unsigned char)*p;
	return (int64_t)(h % (uint64_t)r->check->interval);
}

static void begin_checks(struct readiness *r, const pb_task_health *before)
{
	r->status = before ? pb_dup(before) : pb_new(&skein__task_health__descriptor);
	if (!before)
		r->status->state = r->o.passed ? HEALTH_HEALTHY : HEALTH_STARTING;
	r->told = pb_dup(r->status);
	r->told_at = clock_mono_ns();
	health_begin(&r->health, clock_mono_ns(), r->o.passed);
	next_check(r, first_distance(r));
}

/* ---------------------------------------------------------------- without a check */

uint16_t readiness_exposed_port(const char *text)
{
	_cleanup_free_ char *number = xstrndup(text, strcspn(text, "/"));
	const char *protocol = text + strlen(number);
	uint64_t port;

	if ((*protocol && !str_eq(protocol, "/tcp")) || str_parse_u64(number, &port, NULL) < 0 || port > UINT16_MAX)
		return 0;
	return (uint16_t)port;
}

static void on_served(void *data, const char *missing)
{
	struct readiness *r = data;
	_cleanup_free_ char *message = NULL;
	char wait[STR_HUMAN_MAX];

	r->awaiting = false;
	if (missing)
		message = xasprintf("started; nobody listens on port %s after %s", missing,
				    str_duration(r->ready_wait, wait));
	r->o.ready(r->o.data, message ? message : "started");
}

static void on_no_wait(uv_timer_t *timer)
{
	struct readiness *r = container_of(timer, struct readiness, timer);

	r->o.ready(r->o.data, "started");
}

static void await_ports(struct readiness *r, const struct image *image)
{
	uint16_t exposed[EXPOSED_MAX];
	size_t n = 0;

	for (char *const *p = image ? image->exposed_ports : NULL; p && *p && n < EXPOSED_MAX; p++) {
		exposed[n] = readiness_exposed_port(*p);
		n += exposed[n] != 0;
	}
	r->awaiting = net_await(r->o.net, r->task_id, exposed, n, r->ready_wait, on_served, r);
	if (!r->awaiting)
		loop_timer_in(&r->timer, 0, on_no_wait);
}

/* ---------------------------------------------------------------- life */

struct readiness *readiness_new(const struct readiness_options *options)
{
	struct readiness *r = xnew(struct readiness);
	const pb_task *task = options->task;

	r->o = *options;
	r->o.task = NULL;
	r->o.image = NULL;
	r->task_id = xstrdup(task->id);
	r->ready_wait = task->spec->container->ready_wait;
	uv_timer_init(options->loop, &r->timer);
	if (health_is_check(task->spec->container->health))
		r->check = pb_dup(task->spec->container->health);
	if (r->check)
		begin_checks(r, options->adopted && task->status ? task->status->health : NULL);
	else if (!options->passed)
		await_ports(r, options->image);
	return r;
}

const char *readiness_waits_for(const struct readiness *r)
{
	if (r->check)
		return "waits for the first successful health check";
	return r->awaiting ? "waits until somebody listens on its ports" : NULL;
}

static void on_closed(uv_handle_t *handle)
{
	struct readiness *r = container_of((uv_timer_t *)handle, struct readiness, timer);

	pb_free(r->check);
	pb_free(r->status);
	pb_free(r->told);
	free(r->task_id);
	free(r);
}

void readiness_close(struct readiness *r)
{
	if (!r || r->closing)
		return;
	r->closing = true;
	if (r->running)
		container_check_cancel(r->running);
	if (r->awaiting)
		net_await_cancel(r->o.net, r->task_id);
	uv_close((uv_handle_t *)&r->timer, on_closed);
}
