/*
 * filter_move - where containers that may be moved can run, and where one that is being moved can go on: a runtime that
 * can checkpoint, and for the latter also another node of the same kind.
 */
#pragma once
#include "filter.h"

bool checkpoint_check(const struct want *want, const struct nodeinfo *info);
void checkpoint_reason(const struct want *want, const struct nodeinfo *info, struct strbuf *out);
void checkpoint_summary(const struct want *want, const struct nodeinfo *const *infos, size_t n, struct strbuf *out);

/* want->from is set: the node that the container leaves. */
bool move_check(const struct want *want, const struct nodeinfo *info);
void move_reason(const struct want *want, const struct nodeinfo *info, struct strbuf *out);
void move_summary(const struct want *want, const struct nodeinfo *const *infos, size_t n, struct strbuf *out);
