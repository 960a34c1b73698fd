/* Health checks in a service spec. What no flag says is left to the image. */
#include "service_flags.h"

#include "common/error.h"
#include "common/mem.h"

static const char *const flags_of_check[] = {"health-cmd",	   "health-interval",	  "health-timeout",
					     "health-retries", "health-start-period", "health-start-interval"};

static void set_test(pb_health_check *h, const char *kind, const char *command)
{
	while (h->n_test > 0)
		pb_strs_del(&h->n_test, &h->test, h->n_test - 1);
	if (kind)
		pb_strs_add(&h->n_test, &h->test, kind);
	if (command)
		pb_strs_add(&h->n_test, &h->test, command);
}

static const char *first_seen(const struct option_def *defs, const struct option_seen *seen)
{
	for (size_t i = 0; i < ARRAY_SIZE(flags_of_check); i++)
		if (option_was_seen(defs, seen, flags_of_check[i]))
			return flags_of_check[i];
	return NULL;
}

int spec_apply_health(pb_container_spec *container, const struct option_def *defs, const struct service_flags *f,
		      const struct option_seen *seen, struct error *err)
{
	const char *first = first_seen(defs, seen);
	pb_health_check *h;

	if (f->no_healthcheck && first)
		return error_set(err, ERR_INVALID, "--no-healthcheck and --%s exclude each other", first);
	if (!f->no_healthcheck && !first)
		return 0;
	if (!container->health)
		container->health = pb_new(&skein__health_check__descriptor);
	h = container->health;
	if (f->no_healthcheck) {
		set_test(h, "NONE", NULL);
		return 0;
	}
	/* Empty: the image's again. A flag of a check that was switched off switches it on. */
	if (option_was_seen(defs, seen, "health-cmd") || (h->n_test && str_eq(h->test[0], "NONE")))
		set_test(h, str_empty(f->health_cmd) ? NULL : "CMD-SHELL", str_empty(f->health_cmd) ? NULL : f->health_cmd);
	if (option_was_seen(defs, seen, "health-interval"))
		h->interval = f->health_interval;
	if (option_was_seen(defs, seen, "health-timeout"))
		h->timeout = f->health_timeout;
	if (option_was_seen(defs, seen, "health-retries"))
		h->retries = (uint32_t)f->health_retries;
	if (option_was_seen(defs, seen, "health-start-period"))
		h->start_period = f->health_start_period;
	if (option_was_seen(defs, seen, "health-start-interval"))
		h->start_interval = f->health_start_interval;
	return 0;
}
