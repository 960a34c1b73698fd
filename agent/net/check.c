#include "net_internal.h"

#include "common/error.h"
#include "common/mem.h"

#include <stdlib.h>
#include <string.h>

/* Comparing on demand: the same as healing does, with an answer instead of a log. */

struct check {
	struct net *net;
	net_check_cb cb;
	void *data;
	struct part {
		char *name; /* of the network; "" = the host's part */
		const struct work_sync *sync;
	} *parts;
	size_t n;
	Skein__CheckNetResponse *result;
};

static void add_part(struct check *c, struct work_job *job, const char *name, struct work_sync sync)
{
	c->parts = xreallocarray(c->parts, c->n + 1, sizeof(*c->parts));
	c->parts[c->n++] = (struct part){xstrdup(name), work_sync(job, &sync)};
}

static void add_difference(struct check *c, const char *network, const char *what, const char *wanted, const char *found,
			   bool repaired)
{
	Skein__NetworkDifference *d = pb_new(&skein__network_difference__descriptor);

	pb_set_str(&d->network, network);
	pb_set_str(&d->what, what);
	pb_set_str(&d->wanted, wanted);
	pb_set_str(&d->found, found);
	d->repaired = repaired;
	pb_msgs_add(&c->result->n_differences, &c->result->differences, d);
}

static void done(void *data, struct work_job *job, const struct error *err)
{
	struct check *c = data;

	for (size_t i = 0; i < c->n; i++) {
		const struct work_sync *s = c->parts[i].sync;

		c->result->checked += (uint32_t)s->checked;
		for (size_t k = 0; k < s->n_diffs; k++)
			add_difference(c, c->parts[i].name, s->diffs[k].what, s->diffs[k].wanted, s->diffs[k].found,
				       s->diffs[k].repaired);
		free(c->parts[i].name);
	}
	c->cb(c->data, err ? NULL : c->result, err);
	pb_free(c->result);
	free(c->parts);
	free(c);
}

/* A name for a task's namespace: that of its first network that was asked for. */
static const char *task_network(const struct net *n, const struct attached *a, const char *network_id)
{
	if (*network_id)
		return net_name(n, network_id);
	return a->task->n_networks ? net_name(n, a->task->networks[0]->network_id) : "bridge";
}

static void check_names(struct check *c, const struct attached *a, const char *network)
{
	_cleanup_free_ char *wanted = xasprintf("answers for task %s", a->id);

	c->result->checked++;
	if (!dns_serves(c->net->dns, a->id))
		add_difference(c, network, "dns", wanted, "", false);
}

static bool host_part(const struct net *n, const char *network_id)
{
	const struct model_network *network = model_network(n->model, network_id);

	return n->host_facts.base && (!*network_id || (network && network->driver != NETWORK_OVERLAY) ||
				      (network && network->ingress));
}

void net_check(struct net *n, const char *network_id, bool repair, net_check_cb cb, void *data)
{
	struct check *c = xnew(struct check);
	struct work_job *job = work_job_new();
	struct overlay *o, *o_next;
	struct attached *a, *a_next;

	*c = (struct check){.net = n, .cb = cb, .data = data, .result = pb_new(&skein__check_net_response__descriptor)};
	c->result->revision = model_revision(n->model);
	if (host_part(n, network_id))
		add_part(c, job, "", sync_of_host(n, true, repair));
	HASH_ITER(hh, n->overlays, o, o_next)
		if (!*network_id || str_eq(o->id, network_id))
			add_part(c, job, net_name(n, o->id), sync_of_overlay(o, true, repair));
	HASH_ITER(hh, n->attached, a, a_next) {
		const char *name = task_network(n, a, network_id);

		if (!a->planned || a->state != ATTACHED_UP || (*network_id && !attached_in(a, network_id)))
			continue;
		add_part(c, job, name, sync_of_attached(a, true, repair));
		check_names(c, a, name);
	}
	work_run(n->work, job, done, c);
}
