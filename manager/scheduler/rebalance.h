/*
 * rebalance - which running tasks of a service to move so that it is spread again. Pure.
 *
 * Spread is what ranking.h makes of the preferences, and then of the nodes. A task moves only when the place that
 * it comes to has at least two fewer, so that a spread service stays as it is, and a plan carried out has no successor.
 */
#pragma once
#include "proto/pb.h"

#include <stddef.h>
#include <stdint.h>

struct view;

#define REBALANCE_MOVES_MAX 50 /* of one plan: they are written in one transaction */

struct rebalance_move {
	const pb_task *task;
	const pb_node *to;
};

/*
 * What is moved already counts where it goes to, and stays. Only RUNNING tasks with live_migrate on nodes that
 * are READY move, and only to nodes that the filters accept, with the room that the moves before leave.
 *   ret_moves  borrowed from the view; in the order in which they are best made
 * Returns their number.
 */
size_t rebalance_plan(const struct view *view, const pb_service *service, int64_t now,
		      struct rebalance_move ret_moves[static REBALANCE_MOVES_MAX]);
