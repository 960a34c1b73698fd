/*
 * converge - is another round of copying memory worth while, or is it time to freeze? Pure.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define CONVERGE_BUDGET_NS INT64_C(500000000)
#define CONVERGE_ROUNDS 8

/* One round that is over. */
struct converge_round {
	uint64_t bytes;
	int64_t began, took;         /* mono ns, ns */
};

enum converge {
	CONVERGE_AGAIN,
	CONVERGE_FITS,               /* what is written meanwhile can be sent within the budget */
	CONVERGE_ENOUGH,             /* the rounds are used up, or do not get smaller */
};

/* budget_ns, max_rounds: 0 = the defaults above. */
enum converge converge_decide(const struct converge_round *rounds, size_t n, int64_t budget_ns, uint32_t max_rounds);
/* Bytes that the container writes per second, as round n - 1 found; 0 when there is only one. */
uint64_t converge_dirty_rate(const struct converge_round *rounds, size_t n);
