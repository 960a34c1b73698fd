#include "allocator.h"

#include "addresses.h"
#include "endpoints.h"
#include "pools.h"
#include "predefined.h"

#include "manager/store/plan.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* What a task gets, until it is known that it gets all of it. */
struct gift {
	const pb_network *network;
	const pb_attachment_config *config;
	struct ipaddr ipv4, ipv6;
};

static int give_family(struct addresses *a, const pb_task *task, struct gift *gift, int family, const char *want,
		       struct ipaddr *ret, struct error *err)
{
	if (!pools_find(gift->network, family) && str_empty(want))
		return 0;
	return addresses_take(a, gift->network, family, want, task->id, ret, err);
}

static int give(struct addresses *a, const pb_task *task, struct gift *gift, struct error *err)
{
	const pb_network *network = gift->network;

	if (network->predefined)
		return error_set(err, ERR_INVALID, "network %s is not for tasks", network->spec->name);
	if (!str_empty(network->err))
		return error_set(err, ERR_EXHAUSTED, "network %s: %.400s", network->spec->name, network->err);
	if (!network->n_pools)
		return error_set(err, ERR_UNAVAILABLE, "network %s has no subnet yet", network->spec->name);
	if (give_family(a, task, gift, AF_INET, gift->config->ipv4, &gift->ipv4, err) < 0)
		return -1;
	return give_family(a, task, gift, AF_INET6, gift->config->ipv6, &gift->ipv6, err);
}

static void give_back(struct addresses *a, const struct gift *gifts, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		/* A wanted address is kept for its service in any case. */
		if (ipaddr_is_set(&gifts[i].ipv4) && str_empty(gifts[i].config->ipv4))
			addresses_give_back(a, gifts[i].network, &gifts[i].ipv4);
		if (ipaddr_is_set(&gifts[i].ipv6) && str_empty(gifts[i].config->ipv6))
			addresses_give_back(a, gifts[i].network, &gifts[i].ipv6);
	}
}

static int give_all(struct plan *p, struct addresses *a, const pb_task *task, struct gift *gifts, size_t *ret_n,
		    struct error *err)
{
	const char *network = task->spec ? task->spec->network : NULL;
	size_t n = 0;

	if (!str_empty(network) && !predefined_is_local(network))
		return error_set(err, ERR_NOT_FOUND, "network \"%s\" is not there (known: bridge, host, none)", network);
	for (size_t i = 0; task->spec && i < task->spec->n_networks; i++) {
		const pb_attachment_config *config = task->spec->networks[i];
		struct gift gift = {.network = view_network(p->view, config->network_id), .config = config};

		if (predefined_is_local(config->network_id))
			continue;
		gifts[n++] = gift;
		if (gift.network ? give(a, task, &gifts[n - 1], err) == 0
				 : error_set(err, ERR_NOT_FOUND, "network %s (%s) is not there", config->network_name,
					     config->network_id) == 0)
			continue;
		give_back(a, gifts, n);
		return -1;
	}
	*ret_n = n;
	return 0;
}

static pb_attachment *attachment_of(const struct gift *gift)
{
	pb_attachment *at = pb_new(&skein__network_attachment__descriptor);
	struct mac mac = mac_of_address(ipaddr_is_set(&gift->ipv4) ? &gift->ipv4 : &gift->ipv6);
	char text[IPADDR_TEXT_MAX], mac_text[MAC_TEXT_MAX];

	pb_set_str(&at->network_id, gift->network->id);
	pb_set_str(&at->ipv4, ipaddr_format(&gift->ipv4, text));
	pb_set_str(&at->ipv6, ipaddr_format(&gift->ipv6, text));
	pb_set_str(&at->mac, mac_format(&mac, mac_text));
	for (size_t i = 0; i < gift->config->n_aliases; i++)
		pb_strs_add(&at->n_aliases, &at->aliases, gift->config->aliases[i]);
	return at;
}

static void allocate(struct plan *p, struct addresses *a, const pb_task *task)
{
	_cleanup_free_ struct gift *gifts = xcalloc(task->spec ? task->spec->n_networks : 0, sizeof(*gifts));
	struct error err = ERROR_INIT;
	pb_task *copy;
	size_t n = 0;

	if (give_all(p, a, task, gifts, &n, &err) < 0) {
		if (task->status && str_eq(task->status->err, err.msg))
			return;
		copy = plan_edit(p, task);
		plan_status(p, copy, TASK_NEW, "waiting for network", err.msg);
		plan_put(p, copy);
		return;
	}
	copy = plan_edit(p, task);
	for (size_t i = 0; i < n; i++)
		pb_msgs_add(&copy->n_networks, &copy->networks, attachment_of(&gifts[i]));
	plan_status(p, copy, TASK_PENDING, "pending task scheduling", NULL);
	plan_put(p, copy);
}

/* It could end differently than when it was last tried. */
static bool worth_trying(struct plan *p, const pb_task *task)
{
	if (p->dirty->all || idset_has(&p->scope, task->service_id))
		return true;
	for (size_t i = 0; task->spec && i < task->spec->n_networks; i++)
		if (idset_has(&p->dirty->networks, task->spec->networks[i]->network_id))
			return true;
	return false;
}

/* Who waits longest comes first. */
static int by_wait(const void *a, const void *b)
{
	const pb_task *x = *(pb_task *const *)a, *y = *(pb_task *const *)b;
	int order;

	if (task_created_at(x) != task_created_at(y))
		return task_created_at(x) < task_created_at(y) ? -1 : 1;
	order = strcmp(x->service_id, y->service_id);
	if (order)
		return order;
	if (x->slot != y->slot)
		return x->slot < y->slot ? -1 : 1;
	return strcmp(x->id, y->id);
}

static void allocate_tasks(struct plan *p, struct addresses *a)
{
	_cleanup_free_ const pb_task **tasks = NULL;
	size_t n, n_new = 0;

	tasks = view_tasks_unassigned(p->view, &n);
	for (size_t i = 0; i < n; i++)
		if (task_state(tasks[i]) == TASK_NEW && worth_trying(p, tasks[i]))
			tasks[n_new++] = tasks[i];
	qsort(tasks, n_new, sizeof(*tasks), by_wait);
	for (size_t i = 0; i < n_new; i++)
		allocate(p, a, tasks[i]);
}

void allocator_plan(struct plan *p)
{
	struct addresses *a = addresses_new(p);

	endpoints_plan(p, a);
	allocate_tasks(p, a);
	addresses_free(a);
}
