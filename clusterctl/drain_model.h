/* drain_model - how far a node is emptied, from lists of its tasks and of its migrations. Pure. */
#pragma once
#include "common/str.h"
#include "proto/pb.h"

struct drain {
	char *node;		/* name */
	bool begun;
	struct strv seen;	/* ids of tasks that were there */
	struct strv before;	/* ids of migrations that were over before */
	struct strv waiting;	/* a line for each task that is still there */
	struct strv told;	/* plain lines already printed */
	struct strv stayed;	/* "web.1: REASON": could not be moved, so it is replaced */
	size_t left, moved;
};

void drain_init(struct drain *d, const char *node);
void drain_fini(struct drain *d);

/* `tasks`: those of the node; `migrations`: those from or to it. */
void drain_feed(struct drain *d, const char *node_id, const Skein__ListTasksResponse *tasks,
		const Skein__ListMigrationsResponse *migrations);
bool drain_done(const struct drain *d);

void drain_screen(const struct drain *d, unsigned width, unsigned height, struct strv *lines);
/* For a pipe: what is new. */
void drain_plain(struct drain *d, struct strbuf *out);
/* "h1: drained: 3 tasks were moved, 2 replaced" and what could not be moved, a line each. */
void drain_summary(const struct drain *d, struct strbuf *out);
