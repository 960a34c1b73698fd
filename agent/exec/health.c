#include "agent/exec/health.h"

#include "common/clock.h"
#include "common/mem.h"
#include "common/str.h"

#define INTERVAL_NS (30 * NS_PER_SEC)
#define TIMEOUT_NS (30 * NS_PER_SEC)
#define START_INTERVAL_NS (5 * NS_PER_SEC)
#define RETRIES 3
#define IMAGE_SPAN_MAX_NS (365 * 24 * 3600 * NS_PER_SEC)
#define FIRST_DISTANCE_NS (50 * NS_PER_MS)

/* ---------------------------------------------------------------- which check */

static void take_test(pb_health_check *to, const pb_health_check *from)
{
	if (to->n_test || !from)
		return;
	for (size_t i = 0; i < from->n_test; i++)
		pb_strs_add(&to->n_test, &to->test, from->test[i]);
}

/* The manager has looked at the service's; an image's below Docker's minimum (1 ms) or beyond a year is none. */
static int64_t span_of(int64_t spec, int64_t image, int64_t otherwise)
{
	if (spec > 0)
		return spec;
	return image >= NS_PER_MS && image <= IMAGE_SPAN_MAX_NS ? image : otherwise;
}

bool health_is_check(const pb_health_check *c)
{
	if (!c || c->n_test < 2)
		return false;
	return str_eq(c->test[0], "CMD") || (str_eq(c->test[0], "CMD-SHELL") && c->n_test == 2);
}

pb_health_check *health_resolve(const pb_health_check *spec, const pb_health_check *image)
{
	static const pb_health_check none = {.base = PROTOBUF_C_MESSAGE_INIT(&skein__health_check__descriptor)};
	_cleanup_pb_ pb_health_check *c = pb_new(&skein__health_check__descriptor);

	take_test(c, spec);
	take_test(c, image);
	if (!health_is_check(c))
		return NULL;
	spec = spec ? spec : &none;
	image = image ? image : &none;
	c->interval = span_of(spec->interval, image->interval, INTERVAL_NS);
	c->timeout = span_of(spec->timeout, image->timeout, TIMEOUT_NS);
	c->start_period = span_of(spec->start_period, image->start_period, 0);
	c->start_interval = span_of(spec->start_interval, image->start_interval, START_INTERVAL_NS);
	c->retries = spec->retries ?: image->retries ?: RETRIES;
	return TAKE_PTR(c);
}

/* ---------------------------------------------------------------- results */

void health_begin(struct health *h, int64_t now, bool passed)
{
	*h = (struct health){.began = now, .counted = now, .distance = FIRST_DISTANCE_NS, .passed = passed};
}

/* Many checks of a slow start are no more failures than the regular ones would have been. */
static bool counts(const struct health *h, const pb_health_check *check, int64_t now)
{
	return h->passed || (now - h->began >= check->start_period && now - h->counted >= check->interval);
}

enum health_verdict health_result(struct health *h, const pb_health_check *check, bool ok, int64_t now)
{
	bool first = !h->passed;

	if (ok) {
		h->streak = 0;
		h->passed = true;
		return first ? HEALTH_PASSED : HEALTH_SAME;
	}
	if (!counts(h, check, now))
		return HEALTH_SAME;
	h->counted = now;
	return ++h->streak >= check->retries ? HEALTH_FAILED : HEALTH_SAME;
}

int64_t health_distance(struct health *h, const pb_health_check *check)
{
	int64_t distance = MIN(h->distance, MIN(check->start_interval, check->interval));

	if (h->passed)
		return check->interval;
	h->distance = distance + distance / 2;
	return distance;
}
