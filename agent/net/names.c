#include "net_internal.h"

#include "common/error.h"
#include "common/mem.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* Sockets for names in the namespaces of tasks: those that answer the task, and those that ask resolvers from there. */

/* ---------------------------------------------------------------- serial thread */

struct opening {
	struct dns_sockets *sockets;
	int family, type, fd;
	struct error *err;
	dns_opened_cb done;
	void *data;
};

static void listen_inside(void *data)
{
	struct opening *o = data;

	if (dns_sockets_open(o->sockets, o->err) < 0)
		*o->sockets = DNS_SOCKETS_NONE;
}

int names_open(struct netns *ns, struct dns_sockets *ret, struct error *err)
{
	struct error why = ERROR_INIT;
	struct opening o = {.sockets = ret, .err = &why};

	*ret = DNS_SOCKETS_NONE;
	if (netns_run(ns, listen_inside, &o, err) < 0)
		return -1;
	if (!error_is_set(&why))
		return 0;
	if (err)
		*err = why;
	return -1;
}

void attached_open_names(void *data, struct netns *ns, struct error *err)
{
	struct attached *a = data;

	names_open(ns, &a->sockets, err);
}

static void socket_inside(void *data)
{
	struct opening *o = data;

	o->fd = socket(o->family, o->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (o->fd < 0)
		error_set_errno(o->err, errno, "socket to a resolver");
}

static void ask_inside(void *data, struct netns *ns, struct error *err)
{
	struct opening *o = data;
	struct error why = ERROR_INIT;

	o->err = &why;
	if (netns_run(ns, socket_inside, o, err) == 0 && error_is_set(&why))
		*err = why;
}

/* ---------------------------------------------------------------- loop */

static void opened(void *data, struct work_job *job, const struct error *err)
{
	struct opening o = *(struct opening *)data;

	free(data);
	o.done(o.data, o.fd);
}

void names_open_inside(void *data, const char *task_id, int family, int type, dns_opened_cb done, void *done_data)
{
	struct net *n = data;
	struct opening *o = xnew(struct opening);
	struct work_job *job = work_job_new();
	struct attached *a;

	*o = (struct opening){.family = family, .type = type, .fd = -1, .done = done, .data = done_data};
	HASH_FIND_STR(n->attached, task_id, a);
	if (a && a->state != ATTACHED_DROPPING)
		work_call(job, a->space.path, ask_inside, o);
	work_run(n->work, job, opened, o);
}
