/* `service update`: change a spec that came from the manager, and only what was asked for. */
#include "service_flags.h"

#include "values.h"

#include "common/error.h"
#include "common/mem.h"

#include <string.h>

static bool given(const struct option_seen *seen, const char *name)
{
	return option_was_seen(service_update_options, seen, name);
}

/* A name to remove may be one that is not there: removing twice is no mistake (as in Docker). */
static void remove_strings(size_t *n, char ***list, const struct strv *names)
{
	for (size_t i = 0; i < *n; i++)
		if (strv_has(names, (*list)[i]))
			pb_strs_del(n, list, i--);
}

static void remove_pairs(size_t *n, pb_kv ***list, const struct strv *names)
{
	for (size_t i = 0; i < names->n; i++)
		pb_kv_del(n, list, names->v[i]);
}

static void remove_env(pb_container_spec *c, const struct strv *names)
{
	for (size_t i = 0; i < c->n_env; i++) {
		_cleanup_free_ char *name = xstrndup(c->env[i], strcspn(c->env[i], "="));

		if (strv_has(names, name))
			pb_strs_del(&c->n_env, &c->env, i--);
	}
}

static int remove_spread(pb_placement *p, const struct strv *prefs, struct error *err)
{
	for (size_t i = 0; i < prefs->n; i++) {
		const char *label = value_placement_pref(prefs->v[i], err);

		if (!label)
			return error_wrap(err, "--placement-pref-rm");
		for (size_t k = 0; k < p->n_spread; k++)
			if (str_eq(p->spread[k], label))
				pb_strs_del(&p->n_spread, &p->spread, k--);
	}
	return 0;
}

static int remove_lists(pb_service_spec *spec, const struct service_flags *f, struct error *err)
{
	pb_container_spec *c = spec->task->container;
	pb_placement *p = spec->task->placement;

	remove_env(c, &f->env_rm);
	remove_pairs(&spec->n_labels, &spec->labels, &f->labels_rm);
	remove_pairs(&c->n_labels, &c->labels, &f->container_labels_rm);
	remove_pairs(&c->n_sysctls, &c->sysctls, &f->sysctls_rm);
	remove_strings(&c->n_groups, &c->groups, &f->groups_rm);
	remove_strings(&p->n_constraints, &p->constraints, &f->constraints_rm);
	for (size_t i = 0; i < c->n_mounts; i++)
		if (strv_has(&f->mounts_rm, c->mounts[i]->target))
			pb_msgs_del(&c->n_mounts, &c->mounts, i--);
	for (size_t i = 0; i < c->n_ulimits; i++)
		if (strv_has(&f->ulimits_rm, c->ulimits[i]->name))
			pb_msgs_del(&c->n_ulimits, &c->ulimits, i--);
	if (spec_remove_net(spec, f, err) < 0)
		return -1;
	return remove_spread(p, &f->placement_prefs_rm, err);
}

int spec_edit(pb_service_spec *spec, const struct service_flags *f, const struct option_seen *seen,
	      const struct spec_input *input, struct error *err)
{
	spec_complete(spec);
	if (given(seen, "replicas")) {
		if (spec->mode_case != SKEIN__SERVICE_SPEC__MODE_REPLICATED)
			return error_set(
				err, ERR_INVALID,
				"--replicas: the service is global: it has one task on every node");
		spec->replicated->replicas = f->replicas;
	}
	if (given(seen, "image") &&
	    spec_set_image(spec->task->container, "--image", f->image, err) < 0)
		return -1;
	/* removal first: "--x-rm A --x-add A" replaces */
	if (spec_apply_scalars(spec, service_update_options, f, seen, false, err) < 0 ||
	    remove_lists(spec, f, err) < 0 || spec_add_lists(spec, f, "-add", input, err) < 0)
		return -1;
	if (f->force)
		spec->task->force_update++;
	if (input->registry_auth)
		pb_set_str(&spec->task->container->registry_auth, input->registry_auth);
	return 0;
}
