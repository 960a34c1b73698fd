#include "health.h"

#include "common/clock.h"
#include "common/mem.h"
#include "manager/store/view.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NAMED_MAX 3 /* objects that a sentence names */
#define CERT_SOON_NS (7 * 24 * 3600 * NS_PER_SEC)
#define VERSIONS_MAX 8

void health_fini(struct health *h)
{
	strv_fini(&h->what);
	strv_fini(&h->advice);
}

/* ---------------------------------------------------------------- names in a sentence: "h1, h2, h3 and 4 more" */

struct named {
	struct strbuf text;
	size_t n;
	char first[256];
};

static void named_add(struct named *named, const char *name)
{
	if (named->n == 0)
		snprintf(named->first, sizeof(named->first), "%s", name);
	if (named->n < NAMED_MAX)
		strbuf_printf(&named->text, "%s%s", named->n ? ", " : "", name);
	named->n++;
}

static const char *named_text(struct named *named)
{
	if (named->n > NAMED_MAX)
		strbuf_printf(&named->text, " and %zu more", named->n - NAMED_MAX);
	return named->text.p;
}

static const char *plural(size_t n)
{
	return n == 1 ? "" : "s";
}

/* ---------------------------------------------------------------- managers */

static void check_etcd(const struct health_facts *f, struct health *ret)
{
	if (f->connected)
		return;
	strv_add(&ret->what, "etcd is not reachable from this manager: what it shows may be old, and nothing can change");
	strv_add(&ret->advice, f->embedded ? "see the log of the agent here, and whether the other managers answer: clusterctl node ls --filter role=manager"
					   : "see whether the external etcd answers at its endpoints");
}

static void check_quorum(const struct health_facts *f, struct health *ret)
{
	uint32_t quorum = f->managers / 2 + 1;

	if (!f->embedded)
		return;
	if (f->managers_ready < quorum) {
		strv_addf(&ret->what,
			  "the managers have lost their quorum: %" PRIu32 " of %" PRIu32 " are healthy, %" PRIu32
			  " are needed; containers go on, but nothing can change",
			  f->managers_ready, f->managers, quorum);
		strv_add(&ret->advice, "start the missing managers again; if they are lost for good, on one that is left: clusterctl init --force-new-cluster");
	} else if (f->managers == 2) {
		strv_add(&ret->what, "2 managers: losing either one loses the quorum; a third one would make it safe");
		strv_add(&ret->advice, "clusterctl node promote NODE, or join one with the token of clusterctl join-token manager");
	} else if (f->managers > 2 && f->managers_ready <= quorum && f->managers_ready < f->managers) {
		strv_addf(&ret->what, "%" PRIu32 " of %" PRIu32 " managers are healthy: the quorum is lost when one more manager fails",
			  f->managers_ready, f->managers);
		strv_add(&ret->advice, "clusterctl node ls --filter role=manager; start it again, or replace it: demote it, then promote another");
	} else if (f->managers > 2 && f->managers % 2 == 0) {
		strv_addf(&ret->what, "%" PRIu32 " managers: an even number tolerates no more failures than one less", f->managers);
		strv_add(&ret->advice, "clusterctl node promote NODE, or demote one");
	}
}

static void check_leader(const struct health_facts *f, struct health *ret)
{
	if (f->has_leader || !f->connected)
		return;
	strv_add(&ret->what, "no manager leads: nothing is decided at the moment");
	strv_add(&ret->advice, "it heals by itself within seconds; if it lasts, see the logs of the managers");
}

static void check_complaint(const struct health_facts *f, struct health *ret)
{
	if (str_empty(f->complaint))
		return;
	strv_addf(&ret->what, "this manager serves no metrics and no page: %s", f->complaint);
	strv_add(&ret->advice, "free the port, or choose another: manager-http-listen in /etc/skein/agent.conf");
}

/* ---------------------------------------------------------------- nodes */

struct node_check {
	struct named unready, expiring;
	const char *versions[VERSIONS_MAX];
	size_t n_versions, n;
	int64_t now;
};

static void note_version(struct node_check *c, const pb_node *node)
{
	const char *version = node->description ? node->description->agent_version : "";

	if (str_empty(version))
		return;
	for (size_t i = 0; i < c->n_versions; i++)
		if (str_eq(c->versions[i], version))
			return;
	if (c->n_versions < VERSIONS_MAX)
		c->versions[c->n_versions++] = version;
}

static void note_node(struct node_check *c, const pb_node *node)
{
	c->n++;
	if (!node->status || (int)node->status->state != NODE_READY)
		named_add(&c->unready, pb_node_name(node));
	if (node->cert_expires_at && node->cert_expires_at - c->now < CERT_SOON_NS)
		named_add(&c->expiring, pb_node_name(node));
	note_version(c, node);
}

static void check_nodes(const struct view *v, const struct health_facts *f, struct health *ret)
{
	struct node_check c = {.now = f->now};
	_cleanup_free_ const void **nodes = NULL;
	size_t n;

	nodes = view_list(v, KIND_NODE, &n);
	for (size_t i = 0; i < n; i++)
		note_node(&c, nodes[i]);
	if (c.unready.n) {
		strv_addf(&ret->what, "%zu of %zu nodes are not ready: %s", c.unready.n, c.n, named_text(&c.unready));
		strv_addf(&ret->advice, "clusterctl node inspect --pretty %s; see whether the host is up and its cluster-agent runs", c.unready.first);
	}
	if (c.expiring.n) {
		strv_addf(&ret->what, "the certificate%s of %s end%s within a week", plural(c.expiring.n), named_text(&c.expiring),
			  c.expiring.n == 1 ? "s" : "");
		strv_add(&ret->advice, "agents renew theirs in time by themselves: see the log of the agent there, and its clock");
	}
	if (c.n_versions > 1) {
		strv_addf(&ret->what, "agents of %zu versions: %s, %s%s", c.n_versions, c.versions[0], c.versions[1],
			  c.n_versions > 2 ? ", ..." : "");
		strv_add(&ret->advice, "finish the upgrade: clusterctl node ls shows the versions");
	}
	strbuf_fini(&c.unready.text);
	strbuf_fini(&c.expiring.text);
}

/* ---------------------------------------------------------------- services and networks */

static bool is_paused(const pb_service *service)
{
	unsigned state = service->update ? (unsigned)service->update->state : 0;

	return state == SKEIN__UPDATE_STATE__UPDATE_PAUSED || state == SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_PAUSED;
}

/* An update under way replaces tasks: too few of them for a moment is no news. */
static bool is_updating(const pb_service *service)
{
	unsigned state = service->update ? (unsigned)service->update->state : 0;

	return state == SKEIN__UPDATE_STATE__UPDATE_UPDATING || state == SKEIN__UPDATE_STATE__UPDATE_ROLLBACK_STARTED;
}

static uint64_t running(const struct view *v, const pb_service *service)
{
	_cleanup_free_ const pb_task **tasks = NULL;
	uint64_t count = 0;
	size_t n;

	tasks = view_tasks_of_service(v, service->id, &n);
	for (size_t i = 0; i < n; i++)
		count += (int)tasks[i]->desired <= TASK_RUNNING && tasks[i]->status && (int)tasks[i]->status->state == TASK_RUNNING;
	return count;
}

static const char *service_name(const pb_service *service)
{
	return service->spec ? service->spec->name : service->id;
}

static void check_services(const struct view *v, const struct health_facts *f, struct health *ret)
{
	struct named below = {0}, paused = {0}, unallocated = {0};
	_cleanup_free_ const void **services = NULL;
	size_t n;

	services = view_list(v, KIND_SERVICE, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_service *service = services[i];

		if (is_paused(service))
			named_add(&paused, service_name(service));
		else if (!is_updating(service) && running(v, service) < f->desired(f->data, service))
			named_add(&below, service_name(service));
		if (service->endpoint && !str_empty(service->endpoint->err))
			named_add(&unallocated, service_name(service));
	}
	if (below.n) {
		strv_addf(&ret->what, "%zu service%s below the number of tasks wanted: %s", below.n, below.n == 1 ? " is" : "s are",
			  named_text(&below));
		strv_addf(&ret->advice, "clusterctl service explain %s", below.first);
	}
	if (paused.n) {
		strv_addf(&ret->what, "%zu update%s paused after failures: %s", paused.n, paused.n == 1 ? " is" : "s are", named_text(&paused));
		strv_addf(&ret->advice, "clusterctl service inspect --pretty %s says why; then clusterctl service rollback %s, or update it again",
			  paused.first, paused.first);
	}
	if (unallocated.n) {
		strv_addf(&ret->what, "address or port of %zu service%s could not be given: %s", unallocated.n, plural(unallocated.n),
			  named_text(&unallocated));
		strv_addf(&ret->advice, "clusterctl service explain %s", unallocated.first);
	}
	strbuf_fini(&below.text);
	strbuf_fini(&paused.text);
	strbuf_fini(&unallocated.text);
}

static void check_networks(const struct view *v, struct health *ret)
{
	_cleanup_free_ const void **networks = NULL;
	struct named broken = {0};
	size_t n;

	networks = view_list(v, KIND_NETWORK, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_network *network = networks[i];

		if (!str_empty(network->err) && network->spec)
			named_add(&broken, network->spec->name);
	}
	if (broken.n) {
		strv_addf(&ret->what, "%zu network%s got no subnet or number: %s", broken.n, plural(broken.n), named_text(&broken));
		strv_addf(&ret->advice, "clusterctl network inspect %s says why", broken.first);
	}
	strbuf_fini(&broken.text);
}

void health_check(const struct view *v, const struct health_facts *facts, struct health *ret)
{
	check_etcd(facts, ret);
	check_quorum(facts, ret);
	check_leader(facts, ret);
	check_nodes(v, facts, ret);
	check_services(v, facts, ret);
	check_networks(v, ret);
	check_complaint(facts, ret);
}
