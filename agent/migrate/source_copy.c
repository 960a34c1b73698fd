/* What takes a source's time: passes over files and over memory. */
#include "agent/migrate/move.h"

#include "agent/exec/checkpoint.h"
#include "agent/migrate/outgoing.h"
#include "agent/net/net.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static void free_snapshot(struct snapshot *s)
{
	if (s)
		snapshot_fini(s);
	free(s);
}

static char *round_dir(const struct move *v, uint32_t round)
{
	return xasprintf("%s/%u", v->s.dir, round);
}

/* ---------------------------------------------------------------- files */

static void on_volumes(void *data, struct snapshot *now, uint64_t bytes, const struct error *err)
{
	struct move *v = data;

	v->s.volumes = now;
	move_rep(v)->file_bytes += bytes;
	source_files_over(v, err);
}

static void on_upper(void *data, struct snapshot *now, uint64_t bytes, const struct error *err)
{
	struct move *v = data;
	struct container *c = v->host.container(v->host.data);
	struct send_tree_options options = {.name = "volumes", .still = v->s.is_frozen};

	v->s.upper = now;
	move_rep(v)->file_bytes += bytes;
	if (err || !c) {
		source_files_over(v, err);
		return;
	}
	options.dir = container_volumes_dir(c);
	options.before = TAKE_PTR(v->s.volumes);
	send_tree(v->s.out, &options, on_volumes, v);
}

void source_send_files(struct move *v)
{
	struct container *c = v->host.container(v->host.data);
	struct send_tree_options options = {.name = "upper", .before = TAKE_PTR(v->s.upper), .still = v->s.is_frozen};

	v->s.files_busy = true;
	if (!v->s.is_frozen)
		move_say(v, "copying files");
	options.dir = container_upper_dir(c);
	send_tree(v->s.out, &options, on_upper, v);
}

/* ---------------------------------------------------------------- memory */

static void add_round(struct move *v, const struct checkpoint_stats *stats)
{
	struct source *s = &v->s;
	pb_migration_round *r = pb_new(&skein__migration_round__descriptor);

	s->rounds[s->n_rounds++] = (struct converge_round){s->round_bytes, s->round_began, clock_mono_ns() - s->round_began};
	r->bytes = s->round_bytes;
	r->took = s->rounds[s->n_rounds - 1].took;
	r->frozen = s->round_frozen;
	r->dirty_per_second = converge_dirty_rate(s->rounds, s->n_rounds);
	pb_msgs_add(&move_rep(v)->n_rounds, &move_rep(v)->rounds, r);
}

static void round_over(struct move *v)
{
	struct source *s = &v->s;
	const pb_migration_options *o = v->state->order->options;

	s->busy = false;
	if (!s->out) {
		; /* it was given up meanwhile */
	} else if (error_is_set(&s->half_err)) {
		move_fail(v, &s->half_err);
		s->ask_due = true;
	} else if (s->is_frozen) {
		s->dumped = true;
		s->dumped_at = clock_mono_ns();
		move_rep(v)->dump = s->dumped_at - s->froze_at;
	} else {
		add_round(v, NULL);
		/* The last one is the freeze's. */
		s->rounds_done = s->n_rounds + 1 >= FRAMES_ROUNDS_MAX ||
				 converge_decide(s->rounds, s->n_rounds, o ? o->freeze_budget : 0, o ? o->max_rounds : 0) != CONVERGE_AGAIN;
		move_report(v);
	}
	move_advance(v);
}

/* What criu says of a failure counts more than that its stream broke off. */
static void half_over(struct move *v, unsigned half, const struct error *err)
{
	struct source *s = &v->s;

	if (err && (half == HALF_DUMP || !error_is_set(&s->half_err)))
		s->half_err = *err;
	s->halves &= ~half;
	if (s->halves == 0)
		round_over(v);
}

static void on_dumped(void *data, struct container *c, const struct checkpoint_stats *stats, const struct error *err)
{
	struct move *v = data;

	if (stats)
		v->s.round_frozen = stats->frozen_ns;
	half_over(v, HALF_DUMP, err);
}

static void on_pages(void *data, uint64_t bytes, const struct error *err)
{
	struct move *v = data;

	v->s.round_bytes = bytes;
	half_over(v, HALF_SEND, err);
}

static int begin_round(struct move *v, int fds[2], char **ret_dir, struct error *err)
{
	struct source *s = &v->s;

	if (!s->dir)
		s->dir = migrate_images_dir(v->m, v->state->order->id, false, 0, err);
	if (!s->dir)
		return -1;
	*ret_dir = round_dir(v, s->round + 1);
	if (mkdir(*ret_dir, 0700) < 0)
		return error_set_errno(err, errno, "make directory %s", *ret_dir);
	return page_socket_pair(fds, err);
}

void source_round(struct move *v, bool final)
{
	struct source *s = &v->s;
	struct container *c = v->host.container(v->host.data);
	_cleanup_free_ char *dir = NULL, *parent = NULL;
	struct checkpoint_options options = {0};
	struct error err = ERROR_INIT;
	char doing[64];
	int fds[2];

	if (begin_round(v, fds, &dir, &err) < 0) {
		move_fail(v, &err);
		s->ask_due = final;
		return;
	}
	parent = s->round ? round_dir(v, s->round) : NULL;
	s->round++;
	options = (struct checkpoint_options){.images = dir, .parent = parent, .pages_fd = fds[0]};
	s->busy = true;
	s->halves = HALF_DUMP | HALF_SEND;
	s->half_err = ERROR_INIT;
	s->round_bytes = 0;
	s->round_began = clock_mono_ns();
	if (!final) {
		snprintf(doing, sizeof(doing), "copying memory, round %u", s->round);
		move_say(v, doing);
	}
	send_pages(s->out, s->round, s->round - 1, fds[1], on_pages, v);
	if (final)
		container_dump(c, &options, on_dumped, v);
	else
		container_predump(c, &options, on_dumped, v);
}

/* ---------------------------------------------------------------- images */

static void images_failed(struct move *v, const struct error *err)
{
	v->s.busy = v->s.files_busy = false;
	move_fail(v, err);
	v->s.ask_due = true;
	move_advance(v);
}

static void on_images(void *data, struct snapshot *now, uint64_t bytes, const struct error *err)
{
	struct move *v = data;

	free_snapshot(now);
	if (err) {
		images_failed(v, err);
		return;
	}
	v->s.files_busy = false;
	v->s.images = true;
	move_advance(v);
}

static void send_images(struct move *v)
{
	_cleanup_free_ char *dir = round_dir(v, v->s.round), *name = xasprintf("images/%u", v->s.round);
	struct send_tree_options options = {.dir = dir, .name = name, .still = true};

	v->s.busy = false;
	v->s.files_busy = v->s.out != NULL;
	if (v->s.out)
		send_tree(v->s.out, &options, on_images, v);
	else
		move_advance(v);
}

/* What the kernel remembers of the connections goes along as a file. */
static void on_flows(void *data, const uint8_t *bytes, size_t len, const struct error *err)
{
	struct move *v = data;
	_cleanup_free_ char *path = NULL;
	struct error failed = ERROR_INIT;

	if (v->freeing)
		return;
	path = xasprintf("%s/%u/" MOVE_FLOWS_FILE, v->s.dir, v->s.round);
	if (err || file_put(path, bytes, len, 0600, &failed) < 0)
		images_failed(v, err ? err : &failed);
	else
		send_images(v);
}

void source_send_images(struct move *v)
{
	const pb_task *task = v->host.task(v->host.data);

	v->s.busy = true;
	if (net_wanted(task))
		net_export_flows(v->m->o.net, task->id, on_flows, v);
	else
		send_images(v);
}
