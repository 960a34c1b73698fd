#include "agent/exec/checkpoint_int.h"

#include "agent/exec/criu.h"
#include "agent/exec/crstats.h"
#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"

#include <signal.h>
#include <string.h>

#define OUTPUT_MAX 4096

struct page_server {
	struct exec *exec; /* held */
	char *log;
	page_server_cb cb;
	void *data;
	struct proc *proc;
};

static void server_free(struct page_server *p)
{
	struct exec *e = p->exec;

	free(p->log);
	free(p);
	closer_drop(&e->closer);
}

static void explain(const struct page_server *p, const struct proc_exit *exit, struct error *err)
{
	_cleanup_free_ char *text = NULL, *reason = NULL;
	size_t len;

	if (file_read(p->log, CRSTATS_LOG_MAX, &text, &len, NULL) == 0)
		reason = crstats_reason(text, len);
	error_set(err, ERR_UNAVAILABLE, "receive memory: %s",
		  reason ? reason : exit->errout_len ? exit->errout : "the connection was lost");
}

static void on_gone(void *data, struct proc *proc, const struct proc_exit *exit)
{
	struct page_server *p = data;
	struct error err = ERROR_INIT;

	if (exit->exit_code != 0)
		explain(p, exit, &err);
	else
		unlink(p->log); /* the directory is for images */
	p->cb(p->data, exit->exit_code != 0 ? &err : NULL);
	server_free(p);
}

struct page_server *page_server_open(struct exec *e, const char *images, const char *parent, int pages_fd,
				     page_server_cb cb, void *data, struct error *err)
{
	_cleanup_close_ int fd = pages_fd;
	_cleanup_strv_ struct strv argv = {0};
	struct proc_options options = {
		.max_capture = OUTPUT_MAX,
		.extra_fds = &fd,
		.n_extra_fds = 1,
		.die_signal = SIGKILL, /* nobody would know what it has received */
		.on_exit = on_gone,
	};
	struct page_server *p;
	const char *why;

	if (!exec_can_checkpoint(e, &why)) {
		error_set(err, ERR_UNAVAILABLE, "this node cannot copy containers: %s", why);
		return NULL;
	}
	p = xnew(struct page_server);
	*p = (struct page_server){.exec = e, .cb = cb, .data = data, .log = xasprintf("%s/" CRIU_LOG, images)};
	criu_page_server_args(&argv, e->probe.criu, images, parent, images);
	options.argv = (const char *const *)argv.v;
	options.data = p;
	closer_hold(&e->closer);
	p->proc = proc_spawn(e->loop, &options, err);
	if (!p->proc) {
		server_free(p);
		return NULL;
	}
	return p;
}

void page_server_close(struct page_server *p)
{
	proc_kill(p->proc, SIGKILL);
	proc_detach(p->proc);
	server_free(p);
}
