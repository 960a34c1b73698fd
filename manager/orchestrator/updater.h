/*
 * updater - bring the slots of a service to its present spec, a few at a time; pause or roll back
 * when too many of the new tasks fail.
 *
 * Nothing is remembered between rounds but the service's update status and the tasks: which slots
 * are done, in work or still to do is read from them each time.
 */
#pragma once
#include "slot.h"

/*
 * Count failures of a running update and act on them. Before anything is planned with the service:
 * it may be paused or rolled back (to another spec), so read it again from the view.
 */
void updater_check(struct plan *p, const pb_service *service, const struct slots *slots);

/* Start, go on with or complete the update. After restarts; slots that are gone or frozen are left
 * alone. */
void updater_step(struct plan *p, const pb_service *service, struct slots *slots);

/* Old and new task of a slot may run side by side while it is updated. */
bool updater_starts_first(const pb_service *service);
