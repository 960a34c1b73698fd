#include "agent/migrate/converge.h"

#include "common/clock.h"
#include "common/mem.h"

/* A round that is not at least this much smaller than the one before is no progress. */
#define SMALLER_PERCENT 90

/* The last round took what had been written since the one before it had begun. */
uint64_t converge_dirty_rate(const struct converge_round *rounds, size_t n)
{
	int64_t since;

	if (n < 2)
		return 0;
	since = MAX(rounds[n - 1].began - rounds[n - 2].began, 1);
	return (uint64_t)((double)rounds[n - 1].bytes * NS_PER_SEC / (double)since);
}

/* Small rounds say little of it: the best counts. */
static double bandwidth(const struct converge_round *rounds, size_t n)
{
	double best = 1;

	for (size_t i = 0; i < n; i++)
		best = MAX(best, (double)rounds[i].bytes * NS_PER_SEC / (double)MAX(rounds[i].took, 1));
	return best;
}

enum converge converge_decide(const struct converge_round *rounds, size_t n, int64_t budget_ns, uint32_t max_rounds)
{
	double left;

	if (budget_ns <= 0)
		budget_ns = CONVERGE_BUDGET_NS;
	if (max_rounds == 0)
		max_rounds = CONVERGE_ROUNDS;
	if (n >= 2) {
		left = (double)converge_dirty_rate(rounds, n) * (double)rounds[n - 1].took / NS_PER_SEC;
		if (left / bandwidth(rounds, n) * NS_PER_SEC <= (double)budget_ns)
			return CONVERGE_FITS;
	}
	if (n >= max_rounds)
		return CONVERGE_ENOUGH;
	if (n >= 3 && rounds[n - 1].bytes >= rounds[n - 2].bytes / 100 * SMALLER_PERCENT)
		return CONVERGE_ENOUGH;
	return CONVERGE_AGAIN;
}
