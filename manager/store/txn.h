/*
 * txn - changes to a view, staged: visible in the view at once, undone when the transaction ends,
 * committed to etcd by store_commit().
 *
 * A plan function therefore sees what it (and the plan before it) already decided, and needs no second
 * data structure. Everything between txn_begin and txn_end is synchronous; one at a time per view.
 */
#pragma once
#include "view.h"

#include <stdbool.h>

struct txn;

struct txn *txn_begin(struct view *v);

/* Stage a new or changed object (heap message, taken over). The revision that etcd must still have is that
 * of the object present in the view when first touched; 0 (must not exist) when there was none. */
void txn_put(struct txn *t, enum kind kind, void *obj);
void txn_del(struct txn *t, enum kind kind, const char *id);

/* Dup an object of the view for changing; put it back with txn_put. NULL when absent. */
void *txn_edit(struct txn *t, enum kind kind, const char *id);

/* An extra condition: the object must still have the revision that it has in the view, though it is not changed. */
void txn_require(struct txn *t, enum kind kind, const char *id);
/* The same for all objects of a kind: none was written, and no new one came, since that revision (store_revision()). */
void txn_require_all(struct txn *t, enum kind kind, uint64_t since);
/* Revision of txn_require_all(); 0 = not asked for. */
uint64_t txn_required_since(const struct txn *t, enum kind kind);

struct txn_change {
	enum kind kind;
	const char *id;
	const void *obj;        /* NULL = delete */
	const void *old;        /* what the view had before; NULL = nothing. The view's again after txn_end */
	const char *old_name;   /* unique name of `old`, "" = none; lives as long as the transaction */
	uint64_t revision;      /* etcd must have this mod_revision; 0 = absent */
	bool check_only;
};

/* Staged changes in order of first touch, one per object. Borrowed until txn_free. */
const struct txn_change *txn_changes(const struct txn *t, size_t *ret_n);
bool txn_empty(const struct txn *t);

/* Put the view back as it was. The staged changes stay readable. */
void txn_end(struct txn *t);
/* txn_end if it was not called, then free everything. */
void txn_free(struct txn *t);
