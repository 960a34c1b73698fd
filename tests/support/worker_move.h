/*
 * worker_move - migrations as a worker's tasks see them, played: what an end wants is what the test says. Included by worker_play.h.
 */
#pragma once
#include "agent/exec/checkpoint.h"
#include "agent/migrate/migrate.h"

struct move {
	pb_migration_order *order;
	struct move_host host;
	bool adopted;
};

static struct {
	struct move *v;              /* of the only task that moves */
	enum move_want want;
	unsigned begun, ended, orders, exits, restorings;
	bool restored;
	struct error restore_error;
	enum net_gate gate;          /* that a network was taken over with */
} moving;

struct move *move_new(struct migrate *m, const pb_migration_order *order, const Skein__MigrationState *saved,
		      const struct move_host *host)
{
	struct move *v = xnew(struct move);

	assert_null(moving.v);
	v->order = pb_dup(order);
	v->host = *host;
	v->adopted = saved != NULL;
	moving.v = v;
	moving.begun++;
	return v;
}

void move_free(struct move *v)
{
	if (!v)
		return;
	moving.ended++;
	moving.v = NULL;
	pb_free(v->order);
	free(v);
}

void move_order(struct move *v, const pb_migration_order *order)
{
	moving.orders++;
	pb_set_msg(&v->order, order);
}

const char *move_migration_id(const struct move *v)
{
	return v->order->id;
}

enum move_want move_wants(const struct move *v)
{
	return moving.want;
}

const char *move_images(const struct move *v)
{
	return "/images/3";
}

void move_task_changed(struct move *v)
{
}

void move_restoring(struct move *v)
{
	moving.restorings++;
}

void move_restored(struct move *v, const struct error *err)
{
	moving.restored = err == NULL;
	if (err)
		moving.want = MOVE_DISCARD;
}

void move_exited(struct move *v)
{
	moving.exits++;
}

/* What it wants has changed. */
static inline void move_now(enum move_want want)
{
	moving.want = want;
	moving.v->host.changed(moving.v->host.data);
}
