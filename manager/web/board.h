/*
 * board - which objects the page shows: all nodes and services, and of the tasks those that are wanted or still run, or
 * that a slot ended with. Follows the store's events and tells the feed. Plain data, no I/O.
 */
#pragma once
#include "feed.h"

#include "manager/store/store.h"

struct board;
struct view;

/* What is in the view now. Borrowed: must outlive the board, and every change of it must come to board_events. */
struct board *board_new(const struct view *v);
void board_free(struct board *b);
struct feed *board_feed(struct board *b);

/* The view is already at the new state. */
void board_events(struct board *b, const struct store_event *events, size_t n);
/* Something about this node changed that is not in the view (who leads). */
void board_touch_node(struct board *b, const char *node_id);
