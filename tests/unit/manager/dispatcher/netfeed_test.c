#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "manager/dispatcher/netfeed.h"
#include "manager/dispatcher/netindex.h"
#include "manager/dispatcher/netobj.h"
#include "manager/store/plan.h"
#include "support/build.h"

#include <stdio.h>

/* ---------------------------------------------------------------- a cluster and its agents */

#define NODES 4

struct agent {
	struct netfeed *feed;
	unsigned touched;
	uint64_t sequence;
};

struct world {
	struct view *view;
	struct netindex *index;
	struct agent agents[NODES]; /* n0, n1, ... */
	uint64_t revision;
};

static void on_touched(void *data)
{
	((struct agent *)data)->touched++;
}

/* As the store does: first the view, then the event. */
static void change(struct world *w, enum kind kind, void *now)
{
	const char *id = kind_info(kind)->id(now);
	_cleanup_pb_ void *old = view_put(w->view, kind, now);

	netindex_event(w->index, w->view, kind, id, old, now);
	w->revision++;
}

static void gone(struct world *w, enum kind kind, const char *id)
{
	_cleanup_pb_ void *old = view_del(w->view, kind, id);

	assert_non_null(old);
	netindex_event(w->index, w->view, kind, kind_info(kind)->id(old), old, NULL);
	w->revision++;
}

static void put_node(struct world *w, const char *id, const char *address, uint32_t index)
{
	struct built b = node(id, .address = address);

	((pb_node *)b.obj)->index = index;
	change(w, KIND_NODE, b.obj);
}

static void put_network(struct world *w, const char *id)
{
	pb_network *n = pb_new(&skein__network__descriptor);
	Skein__NetworkKey *key = pb_new(&skein__network_key__descriptor);

	pb_set_str(&n->id, id);
	n->spec = pb_new(&skein__network_spec__descriptor);
	pb_set_str(&n->spec->name, id);
	n->vni = 4096;
	key->id = 1;
	pb_msgs_add(&n->n_keys, &n->keys, key);
	change(w, KIND_NETWORK, n);
}

static void add_vip(pb_service *s, const char *network, const char *ipv4)
{
	pb_vip *vip = pb_new(&skein__virtual_ip__descriptor);
	pb_attachment_config *config = pb_new(&skein__network_attachment_config__descriptor);

	pb_set_str(&config->network_id, network);
	pb_msgs_add(&s->spec->task->n_networks, &s->spec->task->networks, config);
	pb_set_str(&vip->network_id, network);
	pb_set_str(&vip->ipv4, ipv4);
	pb_msgs_add(&s->endpoint->n_vips, &s->endpoint->vips, vip);
}

static pb_service *new_service(const char *id, const char *network)
{
	pb_service *s = service(id).obj;

	s->endpoint = pb_new(&skein__endpoint__descriptor);
	if (network)
		add_vip(s, network, "10.0.1.2");
	return s;
}

static void publish(pb_service *s, uint32_t port, int mode)
{
	pb_port *p = pb_new(&skein__port_config__descriptor);

	pb_set_str(&p->protocol, "tcp");
	p->target = 80;
	p->published = port;
	p->mode = (Skein__PublishMode)mode;
	pb_msgs_add(&s->endpoint->n_ports, &s->endpoint->ports, p);
}

static void attach(pb_task *t, const char *network)
{
	pb_attachment *a = pb_new(&skein__network_attachment__descriptor);

	pb_set_str(&a->network_id, network);
	pb_set_str(&a->ipv4, "10.0.1.9/24");
	pb_msgs_add(&t->n_networks, &t->networks, a);
}

static void put_task(struct world *w, const char *id, const char *service_id, const char *node_id,
		     const char *network, int state, int desired)
{
	pb_task *t = task(id, .service = service_id, .node = node_id, .slot = 1, .state = state,
			  .desired = desired)
			     .obj;

	if (network)
		attach(t, network);
	change(w, KIND_TASK, t);
}

static void set_task(struct world *w, const char *id, int state, int desired)
{
	pb_task *t = pb_dup(view_task(w->view, id));

	t->status->state = (Skein__TaskState)state;
	t->desired = (Skein__TaskState)desired;
	change(w, KIND_TASK, t);
}

static void agent_start(struct world *w, unsigned i)
{
	char id[8];

	snprintf(id, sizeof(id), "n%u", i);
	w->agents[i].feed = netfeed_new(w->index, id, on_touched, &w->agents[i]);
}

/* n0 to n3, networks ingress, a and b; no agent yet. */
static struct world *world_new(void)
{
	struct world *w = xnew(struct world);

	w->view = view_new();
	w->index = netindex_new();
	for (unsigned i = 0; i < NODES; i++) {
		char id[8], address[16];

		snprintf(id, sizeof(id), "n%u", i);
		snprintf(address, sizeof(address), "192.0.2.%u", i + 1);
		put_node(w, id, address, i + 1);
	}
	put_network(w, "ingress");
	put_network(w, "a");
	put_network(w, "b");
	return w;
}

static void world_free(struct world *w)
{
	for (unsigned i = 0; i < NODES; i++)
		netfeed_free(w->agents[i].feed);
	netindex_free(w->index);
	view_free(w->view);
	free(w);
}

/* The next message of an agent; its sequence must fit. */
static Skein__NetState *next(struct world *w, unsigned i)
{
	struct agent *a = &w->agents[i];
	Skein__NetState *s = netfeed_next(a->feed, w->view, w->revision);

	if (!s)
		return NULL;
	assert_int_equal(s->applies_to, a->sequence);
	assert_int_equal(s->complete, a->sequence == 0);
	assert_int_equal(s->results_in, a->sequence + 1);
	assert_int_equal(s->revision, w->revision);
	a->sequence = s->results_in;
	return s;
}

static void quiet(struct world *w, unsigned i)
{
	_cleanup_pb_ Skein__NetState *s = next(w, i);

	assert_null(s);
}

/* Bring an agent up to date without looking. */
static void catch_up(struct world *w, unsigned i)
{
	Skein__NetState *s;

	while ((s = next(w, i)))
		pb_free(s);
	w->agents[i].touched = 0;
}

static size_t all_of(const Skein__NetState *s)
{
	return s->n_networks + s->n_nodes + s->n_services + s->n_endpoints + s->n_remove_networks +
	       s->n_remove_nodes + s->n_remove_services + s->n_remove_endpoints;
}

/* ---------------------------------------------------------------- tests */

static void every_agent_knows_nodes_and_ingress(void **state)
{
	struct world *w = world_new();
	_cleanup_pb_ Skein__NetState *s = NULL, *more = NULL, *less = NULL;

	put_node(w, "n9", "192.0.2.9", 0); /* has no place yet */
	agent_start(w, 0);
	s = next(w, 0);
	assert_false(s->more);
	assert_int_equal(s->n_networks, 1);
	assert_string_equal(s->networks[0]->id, "ingress");
	assert_null(s->networks[0]->meta);
	assert_int_equal(s->n_nodes, NODES);
	assert_int_equal(all_of(s), NODES + 1);
	quiet(w, 0);
	w->agents[0].touched = 0;
	put_node(w, "n9", "192.0.2.9", 9);
	assert_int_equal(w->agents[0].touched, 1);
	more = next(w, 0);
	assert_int_equal(all_of(more), 1);
	assert_string_equal(more->nodes[0]->address, "192.0.2.9");
	assert_int_equal(more->nodes[0]->index, 9);
	gone(w, KIND_NODE, "n9");
	less = next(w, 0);
	assert_int_equal(all_of(less), 1);
	assert_string_equal(less->remove_nodes[0], "n9");
	world_free(w);
}

static void a_task_brings_its_network_with_all_in_it(void **state)
{
	struct world *w = world_new();
	_cleanup_pb_ Skein__NetState *s = NULL;

	change(w, KIND_SERVICE, new_service("web", "a"));
	change(w, KIND_SERVICE, new_service("db", "b"));
	put_task(w, "t1", "web", "n1", "a", TASK_RUNNING, TASK_RUNNING);
	put_task(w, "t2", "db", "n1", "b", TASK_RUNNING, TASK_RUNNING);
	agent_start(w, 0);
	catch_up(w, 0);
	put_task(w, "t3", "web", "n0", "a", TASK_ASSIGNED, TASK_RUNNING);
	s = next(w, 0);
	assert_int_equal(s->n_networks, 1);
	assert_string_equal(s->networks[0]->id, "a");
	assert_int_equal(s->networks[0]->n_keys, 1);
	assert_int_equal(s->n_services, 1);
	assert_string_equal(s->services[0]->name, "web");
	assert_string_equal(s->services[0]->vips[0]->ipv4, "10.0.1.2");
	assert_string_equal(s->services[0]->scheduler, "rr");
	assert_int_equal(s->n_endpoints, 2);
	for (size_t i = 0; i < 2; i++) {
		assert_string_equal(s->endpoints[i]->networks[0]->ipv4, "10.0.1.9/24");
		assert_int_equal(s->endpoints[i]->ready, str_eq(s->endpoints[i]->task_id, "t1"));
		assert_int_equal(s->endpoints[i]->weight, 1);
		assert_string_equal(s->endpoints[i]->name, "web.1");
	}
	world_free(w);
}

static void the_last_task_takes_its_network_along(void **state)
{
	struct world *w = world_new();
	_cleanup_pb_ Skein__NetState *one = NULL, *last = NULL;

	change(w, KIND_SERVICE, new_service("web", "a"));
	put_task(w, "t1", "web", "n1", "a", TASK_RUNNING, TASK_RUNNING);
	put_task(w, "t2", "web", "n0", "a", TASK_RUNNING, TASK_RUNNING);
	put_task(w, "t3", "web", "n0", "a", TASK_RUNNING, TASK_RUNNING);
	agent_start(w, 0);
	catch_up(w, 0);
	set_task(w, "t2", TASK_SHUTDOWN, TASK_SHUTDOWN);
	one = next(w, 0);
	assert_int_equal(all_of(one), 1);
	assert_string_equal(one->remove_endpoints[0], "t2");
	/* Stopping, it still has its network. */
	set_task(w, "t3", TASK_RUNNING, TASK_SHUTDOWN);
	catch_up(w, 0);
	set_task(w, "t3", TASK_SHUTDOWN, TASK_SHUTDOWN);
	last = next(w, 0);
	assert_int_equal(last->n_remove_networks, 1);
	assert_string_equal(last->remove_networks[0], "a");
	assert_int_equal(last->n_remove_services, 1);
	assert_int_equal(last->n_remove_endpoints, 2);
	assert_int_equal(all_of(last), 4);
	/* What happens there is no longer its business. */
	w->agents[0].touched = 0;
	set_task(w, "t1", TASK_SHUTDOWN, TASK_SHUTDOWN);
	assert_int_equal(w->agents[0].touched, 0);
	quiet(w, 0);
	world_free(w);
}

/* ready: RUNNING, and wanted so; nothing else about a task's way is told. */
static void ready_flips_with_running_and_desired(void **state)
{
	static const struct {
		int state, desired;
		bool told, ready;
	} steps[] = {
		{TASK_ACCEPTED, TASK_RUNNING, false, false},
		{TASK_PREPARING, TASK_RUNNING, false, false},
		{TASK_READY, TASK_READY, false, false},
		{TASK_STARTING, TASK_RUNNING, false, false},
		{TASK_RUNNING, TASK_RUNNING, true, true},
		{TASK_RUNNING, TASK_SHUTDOWN, true, false},
	};
	struct world *w = world_new();

	change(w, KIND_SERVICE, new_service("web", "a"));
	put_task(w, "t0", "web", "n0", "a", TASK_RUNNING, TASK_RUNNING);
	put_task(w, "t1", "web", "n1", "a", TASK_ASSIGNED, TASK_RUNNING);
	agent_start(w, 0);
	catch_up(w, 0);
	for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
		_cleanup_pb_ Skein__NetState *s = NULL;

		set_task(w, "t1", steps[i].state, steps[i].desired);
		s = next(w, 0);
		assert_int_equal(s != NULL, steps[i].told);
		if (!s)
			continue;
		assert_int_equal(all_of(s), 1);
		assert_string_equal(s->endpoints[0]->task_id, "t1");
		assert_int_equal(s->endpoints[0]->ready, steps[i].ready);
	}
	world_free(w);
}

static void events_touch_only_who_knows(void **state)
{
	struct world *w = world_new();

	change(w, KIND_SERVICE, new_service("web", "a"));
	put_task(w, "t0", "web", "n0", "a", TASK_RUNNING, TASK_RUNNING);
	put_task(w, "t1", "web", "n1", "a", TASK_RUNNING, TASK_RUNNING);
	put_task(w, "t2", "web", "n2", NULL, TASK_RUNNING, TASK_RUNNING);
	for (unsigned i = 0; i < NODES; i++) {
		agent_start(w, i);
		catch_up(w, i);
	}
	set_task(w, "t1", TASK_RUNNING, TASK_SHUTDOWN);
	assert_true(w->agents[0].touched && w->agents[1].touched);
	assert_false(w->agents[2].touched || w->agents[3].touched);
	catch_up(w, 0);
	catch_up(w, 1);
	/* Neither a network nor a port. */
	set_task(w, "t2", TASK_RUNNING, TASK_SHUTDOWN);
	for (unsigned i = 0; i < NODES; i++)
		assert_false(w->agents[i].touched);
	/* The orchestrator writes to services all the time. */
	{
		pb_service *s = pb_dup(view_service(w->view, "web"));

		s->update = pb_new(&skein__update_status__descriptor);
		s->spec->replicated->replicas = 7;
		change(w, KIND_SERVICE, s);
	}
	for (unsigned i = 0; i < NODES; i++)
		assert_false(w->agents[i].touched);
	world_free(w);
}

static void ingress_services_are_known_everywhere(void **state)
{
	struct world *w = world_new();
	_cleanup_pb_ Skein__NetState *s = NULL, *closed = NULL, *again = NULL;
	pb_service *web = new_service("web", "a");

	publish(web, 8080, PUBLISH_INGRESS);
	change(w, KIND_SERVICE, web);
	put_task(w, "t1", "web", "n1", "a", TASK_RUNNING, TASK_RUNNING);
	agent_start(w, 0);
	s = next(w, 0);
	assert_int_equal(s->n_services, 1);
	assert_int_equal(s->services[0]->ports[0]->published, 8080);
	assert_int_equal(s->services[0]->n_vips, 0); /* it is not in that network */
	assert_int_equal(s->n_endpoints, 1);
	assert_int_equal(s->endpoints[0]->n_networks, 0);
	assert_true(s->endpoints[0]->ready);
	assert_string_equal(s->endpoints[0]->node_id, "n1");
	/* The port is closed: the service is of no interest here any more. */
	change(w, KIND_SERVICE, new_service("web", "a"));
	closed = next(w, 0);
	assert_int_equal(all_of(closed), 2);
	assert_int_equal(closed->n_remove_services, 1);
	assert_int_equal(closed->n_remove_endpoints, 1);
	web = new_service("web", "a");
	publish(web, 8081, PUBLISH_INGRESS);
	change(w, KIND_SERVICE, web);
	again = next(w, 0);
	assert_int_equal(again->n_services, 1);
	assert_int_equal(again->n_endpoints, 1);
	world_free(w);
}

static void services_and_tasks_go_in_any_order(void **state)
{
	for (int service_first = 0; service_first < 2; service_first++) {
		struct world *w = world_new();
		_cleanup_pb_ Skein__NetState *s = NULL;
		pb_service *web = new_service("web", NULL);

		publish(web, 8080, PUBLISH_INGRESS);
		change(w, KIND_SERVICE, web);
		put_task(w, "t1", "web", "n1", NULL, TASK_RUNNING, TASK_RUNNING);
		put_task(w, "t2", "web", "n2", NULL, TASK_RUNNING, TASK_RUNNING);
		agent_start(w, 0);
		catch_up(w, 0);
		if (service_first)
			gone(w, KIND_SERVICE, "web");
		gone(w, KIND_TASK, "t1");
		gone(w, KIND_TASK, "t2");
		if (!service_first)
			gone(w, KIND_SERVICE, "web");
		s = next(w, 0);
		assert_int_equal(all_of(s), 3);
		assert_int_equal(s->n_remove_services, 1);
		assert_int_equal(s->n_remove_endpoints, 2);
		quiet(w, 0);
		world_free(w);
	}
}

static void host_ports_are_for_their_node(void **state)
{
	struct world *w = world_new();
	_cleanup_pb_ Skein__NetState *mine = NULL, *gone_again = NULL;
	pb_service *web = new_service("web", NULL);

	publish(web, 8080, PUBLISH_HOST);
	change(w, KIND_SERVICE, web);
	agent_start(w, 0);
	agent_start(w, 1);
	catch_up(w, 0);
	catch_up(w, 1);
	put_task(w, "t1", "web", "n1", NULL, TASK_ASSIGNED, TASK_RUNNING);
	assert_int_equal(w->agents[0].touched, 0);
	mine = next(w, 1);
	assert_int_equal(mine->n_services, 1);
	assert_int_equal(mine->services[0]->ports[0]->mode, PUBLISH_HOST);
	assert_int_equal(mine->n_endpoints, 1);
	set_task(w, "t1", TASK_FAILED, TASK_RUNNING);
	gone_again = next(w, 1);
	assert_int_equal(all_of(gone_again), 2);
	assert_int_equal(gone_again->n_remove_services, 1);
	world_free(w);
}

static void labels_choose_scheduler_and_weight(void **state)
{
	static const struct {
		const char *weight;
		unsigned result;
	} cases[] = {{"3", 3}, {"0", 1}, {"256", 256}, {"257", 1}, {"x", 1}, {"", 1}};
	struct world *w = world_new();

	change(w, KIND_SERVICE, new_service("web", "a"));
	put_task(w, "t0", "web", "n0", "a", TASK_RUNNING, TASK_RUNNING);
	agent_start(w, 0);
	catch_up(w, 0);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		pb_service *s = pb_dup(view_service(w->view, "web"));

		pb_kv_set(&s->spec->n_labels, &s->spec->labels, "skein.lb.scheduler", "wrr");
		pb_kv_set(&s->spec->n_labels, &s->spec->labels, "skein.lb.weight", cases[i].weight);
		assert_int_equal(netobj_service_weight(s), cases[i].result);
		change(w, KIND_SERVICE, s);
		if (i == 0) {
			_cleanup_pb_ Skein__NetState *state_ = next(w, 0);

			assert_int_equal(all_of(state_), 2);
			assert_string_equal(state_->services[0]->scheduler, "wrr");
			assert_int_equal(state_->endpoints[0]->weight, 3);
		}
	}
	world_free(w);
}

/* What happened and was undone before the agent was asked is not told. */
static void there_and_back_is_nothing(void **state)
{
	struct world *w = world_new();

	change(w, KIND_SERVICE, new_service("web", "a"));
	put_task(w, "t0", "web", "n0", "a", TASK_RUNNING, TASK_RUNNING);
	agent_start(w, 0);
	catch_up(w, 0);
	put_task(w, "t9", "web", "n1", "a", TASK_RUNNING, TASK_RUNNING);
	gone(w, KIND_TASK, "t9");
	set_task(w, "t0", TASK_RUNNING, TASK_SHUTDOWN);
	set_task(w, "t0", TASK_RUNNING, TASK_RUNNING);
	quiet(w, 0);
	world_free(w);
}

/* 60,000 endpoints do not fit into one message; changes meanwhile are not lost. */
static void large_states_are_split(void **state)
{
	enum { MANY = 60000 };
	struct world *w = world_new();
	size_t n = 0, messages = 0;
	bool more = true;

	change(w, KIND_SERVICE, new_service("web", "a"));
	put_task(w, "t0", "web", "n0", "a", TASK_RUNNING, TASK_RUNNING);
	for (int i = 1; i < MANY; i++) {
		char id[16];

		snprintf(id, sizeof(id), "t%d", i);
		put_task(w, id, "web", "n1", "a", TASK_RUNNING, TASK_RUNNING);
	}
	agent_start(w, 0);
	while (more) {
		_cleanup_pb_ Skein__NetState *s = next(w, 0);

		assert_non_null(s);
		assert_true(protobuf_c_message_get_packed_size(&s->base) < (15u << 18));
		assert_int_equal(s->n_remove_endpoints, 0);
		n += s->n_endpoints;
		more = s->more;
		/* Told already: taken back behind the end of the complete state. */
		if (messages++ == 0)
			gone(w, KIND_TASK, s->endpoints[s->n_endpoints - 1]->task_id);
	}
	assert_int_equal(n, MANY);
	assert_in_range(messages, 2, 4);
	{
		_cleanup_pb_ Skein__NetState *s = next(w, 0);

		assert_false(s->complete || s->more);
		assert_int_equal(all_of(s), 1);
		assert_int_equal(s->n_remove_endpoints, 1);
	}
	quiet(w, 0);
	world_free(w);
}

/* An agent that is told every difference ends up with what a new one is told at once. */
static void know(struct idset *all, char kind, const ProtobufCMessage *msg, const char *id)
{
	char text[128];

	snprintf(text, sizeof(text), "%c %s %llx", kind, id,
		 msg ? (unsigned long long)netobj_fingerprint(msg) : 0ull);
	idset_add(all, text);
}

static void forget(struct idset *all, char kind, const char *id)
{
	struct idset_entry *e, *following;
	char prefix[128];
	int len = snprintf(prefix, sizeof(prefix), "%c %s ", kind, id);

	HASH_ITER(hh, all->entries, e, following)
	{
		if (strncmp(e->id, prefix, (size_t)len))
			continue;
		HASH_DEL(all->entries, e);
		free(e);
	}
}

#define LEARN(kind, field, id)                                                                     \
	for (size_t i = 0; i < s->n_##field; i++) {                                                \
		forget(all, kind, s->field[i]->id);                                                \
		know(all, kind, &s->field[i]->base, s->field[i]->id);                              \
	}                                                                                          \
	for (size_t i = 0; i < s->n_remove_##field; i++)                                           \
		forget(all, kind, s->remove_##field[i]);

static void learn(struct world *w, unsigned agent, struct idset *all)
{
	Skein__NetState *s;

	while ((s = next(w, agent))) {
		LEARN('N', networks, id)
		LEARN('n', nodes, node_id)
		LEARN('s', services, service_id)
		LEARN('e', endpoints, task_id)
		pb_free(s);
	}
}

static unsigned pick(uint64_t *seed, unsigned n)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(*seed >> 33) % n;
}

static void random_step(struct world *w, uint64_t *seed)
{
	static const char *const networks[] = {"a", "b", NULL};
	static const int states[] = {TASK_ASSIGNED, TASK_STARTING, TASK_RUNNING, TASK_SHUTDOWN,
				     TASK_ORPHANED};
	static const int desired[] = {TASK_RUNNING, TASK_RUNNING, TASK_SHUTDOWN};
	char task_id[8], service_id[8], node_id[8];

	snprintf(task_id, sizeof(task_id), "t%u", pick(seed, 12));
	snprintf(service_id, sizeof(service_id), "s%u", (unsigned)(task_id[1] - '0') % 3);
	snprintf(node_id, sizeof(node_id), "n%u", pick(seed, NODES));
	switch (pick(seed, 12)) {
	case 0:
		if (view_service(w->view, service_id))
			gone(w, KIND_SERVICE, service_id);
		break;
	case 1: {
		pb_service *s = new_service(service_id, networks[pick(seed, 3)]);

		if (pick(seed, 3) == 0)
			publish(s, 80, PUBLISH_INGRESS);
		if (pick(seed, 3) == 0)
			publish(s, 81, PUBLISH_HOST);
		if (pick(seed, 4) == 0)
			pb_kv_set(&s->spec->n_labels, &s->spec->labels, "skein.lb.weight", "5");
		change(w, KIND_SERVICE, s);
		break;
	}
	case 2:
		if (view_node(w->view, node_id))
			gone(w, KIND_NODE, node_id);
		break;
	case 3:
		put_node(w, node_id, pick(seed, 2) ? "192.0.2.7" : "192.0.2.8", pick(seed, 3));
		break;
	case 4:
		if (view_network(w->view, "b"))
			gone(w, KIND_NETWORK, "b");
		else
			put_network(w, "b");
		break;
	case 5:
		if (view_task(w->view, task_id))
			gone(w, KIND_TASK, task_id);
		break;
	default:
		if (view_task(w->view, task_id) && pick(seed, 3))
			set_task(w, task_id, states[pick(seed, 5)], desired[pick(seed, 3)]);
		else
			put_task(w, task_id, service_id, node_id, networks[pick(seed, 3)],
				 states[pick(seed, 5)], desired[pick(seed, 3)]);
	}
}

static void differences_add_up_to_the_whole(void **state)
{
	struct world *w = world_new();
	struct idset known = {0};
	uint64_t seed = 1;

	agent_start(w, 0);
	for (int round = 0; round < 3000; round++) {
		unsigned steps = 1 + pick(&seed, 4);
		struct idset fresh = {0};

		for (unsigned i = 0; i < steps; i++)
			random_step(w, &seed);
		learn(w, 0, &known);
		/* Another agent in its place. */
		if (round % 10 == 0) {
			struct world twin = {.view = w->view, .index = netindex_new(),
					     .revision = w->revision};
			_cleanup_free_ const void **services = NULL;
			size_t n;

			services = view_list(w->view, KIND_SERVICE, &n);
			for (size_t i = 0; i < n; i++)
				netindex_event(twin.index, w->view, KIND_SERVICE,
					       ((const pb_service *)services[i])->id, NULL,
					       services[i]);
			agent_start(&twin, 0);
			learn(&twin, 0, &fresh);
			netfeed_free(twin.agents[0].feed);
			netindex_free(twin.index);
			for (struct idset_entry *e = fresh.entries; e; e = e->hh.next)
				if (!idset_has(&known, e->id))
					fail_msg("round %d: not known: %s", round, e->id);
			for (struct idset_entry *e = known.entries; e; e = e->hh.next)
				if (!idset_has(&fresh, e->id))
					fail_msg("round %d: known still: %s", round, e->id);
		}
		idset_clear(&fresh);
	}
	idset_clear(&known);
	world_free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_agent_knows_nodes_and_ingress),
		cmocka_unit_test(a_task_brings_its_network_with_all_in_it),
		cmocka_unit_test(the_last_task_takes_its_network_along),
		cmocka_unit_test(ready_flips_with_running_and_desired),
		cmocka_unit_test(events_touch_only_who_knows),
		cmocka_unit_test(ingress_services_are_known_everywhere),
		cmocka_unit_test(services_and_tasks_go_in_any_order),
		cmocka_unit_test(host_ports_are_for_their_node),
		cmocka_unit_test(labels_choose_scheduler_and_weight),
		cmocka_unit_test(there_and_back_is_nothing),
		cmocka_unit_test(large_states_are_split),
		cmocka_unit_test(differences_add_up_to_the_whole),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
