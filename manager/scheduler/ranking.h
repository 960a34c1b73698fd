/*
 * ranking - the order in which nodes that fit get the tasks of one service.
 *
 * First the spread preferences: a tree with one level per preference, where the branch with the
 * fewest tasks of the service comes first (nodes without the label form a branch of their own).
 * Within a branch: fewer recent failures, fewer tasks of the service, fewer tasks, holds the image,
 * lower id.
 */
#pragma once
#include "filter.h"
#include "nodeset.h"

struct ranking;

/* Levels beyond this many preferences are ignored. */
#define RANKING_SPREAD_MAX 8

/* The set must be focused on the service. Both are borrowed. */
struct ranking *ranking_new(struct nodeset *set, const struct want *want);
void ranking_free(struct ranking *r);

/* The best node for one more task, which is accounted there (nodeinfo_add). NULL = none fits any
 * more. */
struct nodeinfo *ranking_take(struct ranking *r);
