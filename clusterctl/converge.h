/* converge - wait until a service is as it was asked to be, and show how it goes. */
#pragma once
#include "progress_model.h"
#include "verbs.h"

struct ctl;
struct error;

/*
 * Runs until the service has converged, failed, or the user pressed Ctrl-C (CTL_INTERRUPTED).
 *   quiet   show nothing; the verdict is the same
 */
enum ctl_exit converge_wait(struct ctl *ctl, const char *service_id, const char *name,
			    const struct progress_setup *setup, bool quiet, struct error *err);
