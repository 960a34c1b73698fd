/* Flags to a service spec: what create and update have in common, and create. */
#include "service_flags.h"

#include "values.h"

#include "common/error.h"
#include "common/imageref.h"
#include "common/mem.h"

#include <assert.h>
#include <string.h>

static int index_of(const char *choices, const char *value)
{
	int i = 0;

	for (const char *p = choices; *p; i++) {
		size_t len = strcspn(p, "|");

		if (strlen(value) == len && strncmp(p, value, len) == 0)
			return i;
		p += len + (p[len] == '|');
	}
	assert(!"options_parse_args checked the choice");
	return 0;
}

static void ensure(void *field, const ProtobufCMessageDescriptor *type)
{
	void **msg = field;

	if (!*msg)
		*msg = pb_new(type);
}

void spec_complete(pb_service_spec *spec)
{
	ensure(&spec->task, &skein__task_spec__descriptor);
	ensure(&spec->task->container, &skein__container_spec__descriptor);
	ensure(&spec->task->resources, &skein__resource_requirements__descriptor);
	ensure(&spec->task->resources->limits, &skein__resources__descriptor);
	ensure(&spec->task->resources->reservations, &skein__resources__descriptor);
	ensure(&spec->task->restart, &skein__restart_policy__descriptor);
	ensure(&spec->task->placement, &skein__placement__descriptor);
	ensure(&spec->update, &skein__update_config__descriptor);
	ensure(&spec->rollback, &skein__update_config__descriptor);
}

int spec_set_image(pb_container_spec *container, const char *flag, const char *image,
		   struct error *err)
{
	char buf[IMAGEREF_MAX];
	struct imageref ref;

	if (imageref_parse(image, &ref, err) < 0)
		return error_wrap(err, "%s", flag);
	pb_set_str(&container->image, imageref_format(&ref, buf));
	pb_set_str(&container->image_digest, ref.digest);
	container->image_origin =
		(Skein__ImageOrigin)IMAGE_FROM_REGISTRY; /* the manager looks it up again */
	return 0;
}

/* ---------------------------------------------------------------- scalars */

struct scope {
	const struct option_def *defs;
	const struct option_seen *seen;
	bool all;
};

static bool given(const struct scope *s, const char *name)
{
	return s->all || option_was_seen(s->defs, s->seen, name);
}

static void apply_container(pb_container_spec *c, const struct service_flags *f,
			    const struct scope *s)
{
	if (given(s, "hostname"))
		pb_set_str(&c->hostname, f->hostname);
	if (given(s, "user"))
		pb_set_str(&c->user, f->user);
	if (given(s, "workdir"))
		pb_set_str(&c->dir, f->workdir);
	if (given(s, "tty"))
		c->tty = f->tty;
	if (given(s, "init"))
		c->init = f->init;
	if (given(s, "read-only"))
		c->read_only = f->read_only;
	if (given(s, "stop-signal"))
		pb_set_str(&c->stop_signal, f->stop_signal);
	if (given(s, "stop-grace-period"))
		c->stop_grace_period = f->stop_grace_period;
	if (given(s, "ready-wait"))
		c->ready_wait = f->ready_wait;
	if (given(s, "oom-score-adj"))
		c->oom_score_adj = (int32_t)f->oom_score_adj;
}

static void apply_resources(Skein__ResourceRequirements *r, const struct service_flags *f,
			    const struct scope *s)
{
	if (given(s, "limit-cpu"))
		r->limits->cpu_nano = f->limit_cpu;
	if (given(s, "limit-memory"))
		r->limits->mem_bytes = f->limit_memory;
	if (given(s, "limit-pids"))
		r->limits->pids = f->limit_pids;
	if (given(s, "reserve-cpu"))
		r->reservations->cpu_nano = f->reserve_cpu;
	if (given(s, "reserve-memory"))
		r->reservations->mem_bytes = f->reserve_memory;
}

static void apply_restart(pb_restart_policy *r, const struct service_flags *f,
			  const struct scope *s)
{
	if (given(s, "restart-condition"))
		r->condition = (Skein__RestartCondition)index_of("none|on-failure|any",
								 f->restart_condition);
	if (given(s, "restart-delay"))
		r->delay = f->restart_delay;
	if (given(s, "restart-max-attempts"))
		r->max_attempts = f->restart_max_attempts;
	if (given(s, "restart-window"))
		r->window = f->restart_window;
}

static bool given_of(const struct scope *s, const char *prefix, const char *name)
{
	_cleanup_free_ char *full = xasprintf("%s-%s", prefix, name);

	return given(s, full);
}

static void apply_update(pb_update_config *u, const struct update_flags *f, const char *prefix,
			 const struct scope *s)
{
	if (given_of(s, prefix, "parallelism"))
		u->parallelism = f->parallelism;
	if (given_of(s, prefix, "delay"))
		u->delay = f->delay;
	if (given_of(s, prefix, "monitor"))
		u->monitor = f->monitor;
	if (given_of(s, prefix, "max-failure-ratio"))
		u->max_failure_ratio = (float)f->max_failure_ratio;
	if (given_of(s, prefix, "order"))
		u->order = (Skein__UpdateOrder)index_of("stop-first|start-first", f->order);
	if (given_of(s, prefix, "failure-action"))
		u->failure_action = (Skein__UpdateFailureAction)index_of("pause|continue|rollback",
									 f->failure_action);
}

/* Replace a repeated string field by shell words. */
static int set_words(size_t *n, char ***list, const char *flag, const char *text, struct error *err)
{
	_cleanup_strv_ struct strv words = {0};

	if (value_words(text, &words, err) < 0)
		return error_wrap(err, "--%s", flag);
	while (*n > 0)
		pb_strs_del(n, list, *n - 1);
	for (size_t i = 0; i < words.n; i++)
		pb_strs_add(n, list, words.v[i]);
	return 0;
}

/* A reservation above the limit could never be used: better said here than found in a PENDING task.
 */
static int check_resources(const Skein__ResourceRequirements *r, struct error *err)
{
	char a[STR_HUMAN_MAX], b[STR_HUMAN_MAX];

	if (r->limits->mem_bytes > 0 && r->reservations->mem_bytes > r->limits->mem_bytes)
		return error_set(err, ERR_INVALID, "--reserve-memory %s is above --limit-memory %s",
				 str_bytes_human(r->reservations->mem_bytes, a),
				 str_bytes_human(r->limits->mem_bytes, b));
	if (r->limits->cpu_nano > 0 && r->reservations->cpu_nano > r->limits->cpu_nano)
		return error_set(err, ERR_INVALID, "--reserve-cpu %g is above --limit-cpu %g",
				 (double)r->reservations->cpu_nano / 1e9,
				 (double)r->limits->cpu_nano / 1e9);
	return 0;
}

int spec_apply_scalars(pb_service_spec *spec, const struct option_def *defs,
		       const struct service_flags *f, const struct option_seen *seen, bool all,
		       struct error *err)
{
	const struct scope s = {.defs = defs, .seen = seen, .all = all};
	pb_container_spec *container = spec->task->container;

	apply_container(container, f, &s);
	apply_resources(spec->task->resources, f, &s);
	apply_restart(spec->task->restart, f, &s);
	apply_update(spec->update, &f->update, "update", &s);
	apply_update(spec->rollback, &f->rollback, "rollback", &s);
	if (given(&s, "live-migrate"))
		spec->task->live_migrate = f->live_migrate;
	if (given(&s, "replicas-max-per-node"))
		spec->task->placement->max_replicas_per_node = f->replicas_max_per_node;
	/* as long as it is the default, a spec does not need to say it */
	if (option_was_seen(defs, seen, "endpoint-mode"))
		spec_set_endpoint_mode(spec, f->endpoint_mode);
	if (f->entrypoint && given(&s, "entrypoint") &&
	    set_words(&container->n_command, &container->command, "entrypoint", f->entrypoint,
		      err) < 0)
		return -1;
	if (spec_apply_health(container, defs, f, seen, err) < 0)
		return -1;
	if (f->args && set_words(&container->n_args, &container->args, "args", f->args, err) < 0)
		return -1;
	return check_resources(spec->task->resources, err);
}

/* ---------------------------------------------------------------- lists */

static bool has_string(char *const *list, size_t n, const char *s)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(list[i], s))
			return true;
	return false;
}

static void add_unique(size_t *n, char ***list, const char *s)
{
	if (!has_string(*list, *n, s))
		pb_strs_add(n, list, s);
}

static int add_pairs(size_t *n, pb_kv ***list, const struct strv *texts, bool full,
		     const char *flag, const char *suffix, struct error *err)
{
	for (size_t i = 0; i < texts->n; i++) {
		const char *value;
		_cleanup_free_ char *key = full ? value_full_pair(texts->v[i], &value, err)
						: value_pair(texts->v[i], &value, err);

		if (!key)
			return error_wrap(err, "--%s%s", flag, suffix);
		pb_kv_set(n, list, key, value);
	}
	return 0;
}

static int add_env(pb_container_spec *c, const struct service_flags *f, const char *suffix,
		   const struct spec_input *input, struct error *err)
{
	for (size_t i = 0; input->env_file_texts && i < input->env_file_texts->n; i++)
		if (value_env_file(input->env_file_texts->v[i], input->getenv, &c->n_env, &c->env,
				   err) < 0)
			return error_wrap(err, "--env-file %s", f->env_file.v[i]);
	for (size_t i = 0; i < f->env.n; i++)
		if (value_env(f->env.v[i], input->getenv, &c->n_env, &c->env, err) < 0)
			return error_wrap(err, "--env%s", suffix);
	return 0;
}

static int add_mounts(pb_container_spec *c, const struct strv *texts, const char *suffix,
		      bool replace, struct error *err)
{
	for (size_t i = 0; i < texts->n; i++) {
		_cleanup_pb_ pb_mount *mount = value_mount(texts->v[i], err);

		if (!mount)
			return error_wrap(err, "--mount%s", suffix);
		for (size_t k = 0; k < c->n_mounts; k++) {
			if (!str_eq(c->mounts[k]->target, mount->target))
				continue;
			if (!replace)
				return error_set(err, ERR_INVALID,
						 "--mount: two mounts have the target %s",
						 mount->target);
			pb_msgs_del(&c->n_mounts, &c->mounts, k--);
		}
		pb_msgs_add(&c->n_mounts, &c->mounts, TAKE_PTR(mount));
	}
	return 0;
}

static int add_ulimits(pb_container_spec *c, const struct strv *texts, const char *suffix,
		       struct error *err)
{
	for (size_t i = 0; i < texts->n; i++) {
		_cleanup_pb_ pb_ulimit *limit = value_ulimit(texts->v[i], err);

		if (!limit)
			return error_wrap(err, "--ulimit%s", suffix);
		for (size_t k = 0; k < c->n_ulimits; k++)
			if (str_eq(c->ulimits[k]->name, limit->name))
				pb_msgs_del(&c->n_ulimits, &c->ulimits, k--);
		pb_msgs_add(&c->n_ulimits, &c->ulimits, TAKE_PTR(limit));
	}
	return 0;
}

/* As Docker: a capability that is added leaves the drop list, and the other way round. */
static int add_caps(size_t *n, char ***list, size_t *n_other, char ***other,
		    const struct strv *texts, const char *flag, struct error *err)
{
	for (size_t i = 0; i < texts->n; i++) {
		_cleanup_free_ char *cap = value_capability(texts->v[i], err);

		if (!cap)
			return error_wrap(err, "--%s", flag);
		for (size_t k = 0; k < *n_other; k++)
			if (str_eq((*other)[k], cap))
				pb_strs_del(n_other, other, k--);
		add_unique(n, list, cap);
	}
	return 0;
}

static int add_placement(pb_placement *p, const struct service_flags *f, const char *suffix,
			 struct error *err)
{
	for (size_t i = 0; i < f->constraints.n; i++) {
		if (value_constraint(f->constraints.v[i], err) < 0)
			return error_wrap(err, "--constraint%s", suffix);
		add_unique(&p->n_constraints, &p->constraints, f->constraints.v[i]);
	}
	for (size_t i = 0; i < f->placement_prefs.n; i++) {
		const char *label = value_placement_pref(f->placement_prefs.v[i], err);

		if (!label)
			return error_wrap(err, "--placement-pref%s", suffix);
		add_unique(&p->n_spread, &p->spread, label);
	}
	return 0;
}

int spec_add_lists(pb_service_spec *spec, const struct service_flags *f, const char *suffix,
		   const struct spec_input *input, struct error *err)
{
	pb_container_spec *c = spec->task->container;

	for (size_t i = 0; i < f->groups.n; i++)
		add_unique(&c->n_groups, &c->groups, f->groups.v[i]);
	if (add_env(c, f, suffix, input, err) < 0 ||
	    add_pairs(&spec->n_labels, &spec->labels, &f->labels, false, "label", suffix, err) <
		    0 ||
	    add_pairs(&c->n_labels, &c->labels, &f->container_labels, false, "container-label",
		      suffix, err) < 0 ||
	    add_pairs(&c->n_sysctls, &c->sysctls, &f->sysctls, true, "sysctl", suffix, err) < 0 ||
	    add_mounts(c, &f->mounts, suffix, *suffix != '\0', err) < 0 ||
	    add_ulimits(c, &f->ulimits, suffix, err) < 0 ||
	    add_caps(&c->n_cap_add, &c->cap_add, &c->n_cap_drop, &c->cap_drop, &f->cap_add,
		     "cap-add", err) < 0 ||
	    add_caps(&c->n_cap_drop, &c->cap_drop, &c->n_cap_add, &c->cap_add, &f->cap_drop,
		     "cap-drop", err) < 0 ||
	    spec_add_net(spec, f, suffix, err) < 0)
		return -1;
	return add_placement(spec->task->placement, f, suffix, err);
}

/* ---------------------------------------------------------------- create */

static int set_mode(pb_service_spec *spec, const struct service_flags *f,
		    const struct option_seen *seen, struct error *err)
{
	if (str_eq(f->mode, "global")) {
		if (option_was_seen(service_create_options, seen, "replicas"))
			return error_set(err, ERR_INVALID,
					 "--replicas goes only with --mode replicated: a global "
					 "service has one task on every node");
		spec->global = pb_new(&skein__global_mode__descriptor);
		spec->mode_case = SKEIN__SERVICE_SPEC__MODE_GLOBAL;
		return 0;
	}
	spec->replicated = pb_new(&skein__replicated_mode__descriptor);
	spec->replicated->replicas = f->replicas;
	spec->mode_case = SKEIN__SERVICE_SPEC__MODE_REPLICATED;
	return 0;
}

pb_service_spec *spec_build(const struct service_flags *f, const struct option_seen *seen,
			    const struct strv *args, const struct spec_input *input,
			    struct error *err)
{
	_cleanup_pb_ pb_service_spec *spec = pb_new(&skein__service_spec__descriptor);
	pb_container_spec *container;

	assert(args->n > 0);
	spec_complete(spec);
	container = spec->task->container;
	pb_set_str(&spec->name, f->name);
	if (f->networks.n == 0)
		pb_set_str(&spec->task->network, "bridge");
	if (spec_set_image(container, "IMAGE", args->v[0], err) < 0 ||
	    set_mode(spec, f, seen, err) < 0 ||
	    spec_apply_scalars(spec, service_create_options, f, seen, true, err) < 0 ||
	    spec_add_lists(spec, f, "", input, err) < 0)
		return NULL;
	for (size_t i = 1; i < args->n; i++)
		pb_strs_add(&container->n_args, &container->args, args->v[i]);
	pb_set_str(&container->registry_auth, input->registry_auth);
	return TAKE_PTR(spec);
}
