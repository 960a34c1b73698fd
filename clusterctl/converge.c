#include "converge.h"

#include "ctl.h"
#include "follow.h"
#include "progress_draw.h"

#include "common/error.h"
#include "common/mem.h"

#define REASONS_SHOWN 5

struct converge {
	struct progress progress;
	struct progress_plain plain;
};

static void feed(void *data, const ProtobufCMessage *msg, int64_t now)
{
	progress_feed(&((struct converge *)data)->progress, (const Skein__WatchServiceResponse *)msg, now);
}

static bool over(void *data)
{
	return ((struct converge *)data)->progress.verdict != PROGRESS_WAIT;
}

static void tick(void *data, int64_t now)
{
	progress_tick(&((struct converge *)data)->progress, now);
}

static int64_t wake_at(void *data)
{
	return progress_wake_at(&((struct converge *)data)->progress);
}

static void screen(void *data, unsigned width, unsigned height, int64_t now, struct strv *lines)
{
	const struct converge *c = data;

	if (c->progress.name)
		progress_screen(&c->progress, width, height, now, lines);
}

static void plain(void *data, struct strbuf *out)
{
	struct converge *c = data;

	progress_plain(&c->plain, &c->progress, out);
}

static const struct follow_ops ops = {
	.method = "WatchService",
	.feed = feed,
	.over = over,
	.tick = tick,
	.wake_at = wake_at,
	.screen = screen,
	.plain = plain,
};

static enum ctl_exit interrupted(const char *name)
{
	fflush(stdout);
	fprintf(stderr, "%sThe service keeps converging in the background; see: clusterctl service ps %s\n",
		follow_draws() ? "\n" : "", name);
	return CTL_INTERRUPTED;
}

static enum ctl_exit conclude(const struct converge *c, const char *name, bool quiet, struct error *err)
{
	_cleanup_strv_ struct strv reasons = {0};
	_cleanup_strbuf_ struct strbuf text = {0};

	if (c->progress.verdict == PROGRESS_DONE) {
		if (!quiet && !follow_draws())
			printf("%s: converged\n", name);
		return CTL_OK;
	}
	progress_reasons(&c->progress, &reasons);
	strbuf_printf(&text, "service %s: %s", name, c->progress.message);
	for (size_t i = 0; i < reasons.n && i < REASONS_SHOWN; i++)
		strbuf_printf(&text, "\n  %s", reasons.v[i]);
	error_set(err, ERR_PRECONDITION, "%s", text.p);
	return CTL_FAILED;
}

enum ctl_exit converge_wait(struct ctl *ctl, const char *service_id, const char *name,
			    const struct progress_setup *setup, bool quiet, struct error *err)
{
	struct converge c = {0};
	enum ctl_exit status;

	progress_init(&c.progress, setup);
	switch (follow_run(ctl, &ops, &c, service_id, quiet, err)) {
	case FOLLOW_OVER:
		status = conclude(&c, name, quiet, err);
		break;
	case FOLLOW_INTERRUPTED:
		status = interrupted(name);
		break;
	default:
		error_wrap(err, "service %s was changed, but how it goes on cannot be seen", name);
		status = CTL_FAILED;
	}
	progress_fini(&c.progress);
	progress_plain_fini(&c.plain);
	return status;
}
