/*
 * CheckNetworks: every node is asked to compare its kernel with what it was told; the answers go out as
 * they come.
 */
#include "internal.h"
#include "resolve.h"
#include "text.h"

#include "common/error.h"
#include "common/mem.h"
#include "manager/store/store.h"
#include "rpc/rpc.h"

#include <stdio.h>
#include <string.h>

#define CHECKS_MAX 20
#define PARALLEL_MAX 32
#define NODE_TIMEOUT_MS 20000
#define UNSENT_MAX_BYTES (1u << 20)

/* One node being asked. */
struct probe {
	LIST_ENTRY(probe) entry;
	struct net_check *check;
	struct rpc_channel *channel;
	struct rpc_call *call;
	char node_id[64];
};

struct net_check {
	LIST_ENTRY(net_check) entry;
	struct control *c;
	struct rpc_call *call; /* the client's; NULL: gone */
	Skein__CheckNetRequest request;
	char network_id[64];
	char **nodes; /* ids; those before `next` were asked */
	size_t n_nodes, next, n_probes;
	LIST_HEAD(, probe) probes;
};

static void check_free(struct net_check *k)
{
	struct control *c = k->c;

	for (size_t i = 0; i < k->n_nodes; i++)
		free(k->nodes[i]);
	free(k->nodes);
	LIST_REMOVE(k, entry);
	c->n_net_checks--;
	free(k);
	closer_drop(&c->closer);
}

/* ---------------------------------------------------------------- answers */

/* Their answers interest nobody any more. */
static void cancel_probes(struct net_check *k)
{
	struct probe *p;

	LIST_FOREACH(p, &k->probes, entry)
	rpc_call_cancel(p->call);
}

static void end(struct net_check *k, const struct error *err)
{
	struct rpc_call *call = TAKE_PTR(k->call);

	if (!call)
		return;
	rpc_call_set_data(call, NULL);
	cancel_probes(k);
	if (err)
		rpc_call_fail(call, err);
	else
		rpc_call_finish(call);
}

static void answer(struct net_check *k, const char *node_id, const Skein__CheckNetResponse *result,
		   const char *error)
{
	Skein__CheckNetworksResponse msg = SKEIN__CHECK_NETWORKS_RESPONSE__INIT;
	const pb_node *node = view_node(control_view(k->c), node_id);
	struct error err = ERROR_INIT;

	if (!k->call)
		return;
	msg.node_id = (char *)node_id;
	msg.node_name = (char *)(node ? pb_node_name(node) : node_id);
	if (error)
		msg.error = (char *)error;
	if (result) {
		msg.revision = result->revision;
		msg.checked = result->checked;
		msg.differences = result->differences;
		msg.n_differences = result->n_differences;
	}
	if (rpc_call_send(k->call, &msg.base, &err) < 0)
		end(k, &err);
}

static void ask_more(struct net_check *k);

static void on_probed(void *data, const ProtobufCMessage *reply, const struct error *err)
{
	struct probe *p = data;
	struct net_check *k = p->check;
	/* Text of an agent goes to a terminal. */
	_cleanup_pb_ Skein__CheckNetResponse *clean = reply ? pb_dup_clean(reply) : NULL;

	answer(k, p->node_id, clean, err ? err->msg : NULL);
	LIST_REMOVE(p, entry);
	k->n_probes--;
	rpc_channel_close(p->channel);
	free(p);
	ask_more(k);
}

/* ---------------------------------------------------------------- asking */

static const char *why_not(const pb_node *node)
{
	if (!node)
		return "its node was removed";
	if (!node->status || str_empty(node->status->address) || !node->peer_port)
		return "the node never told its address";
	if ((int)node->status->state == NODE_DOWN)
		return "the node is down";
	return NULL;
}

static void ask(struct net_check *k, const pb_node *node)
{
	bool v6 = strchr(node->status->address, ':') != NULL;
	char target[128];
	struct rpc_channel_options options = {.target = target,
					      .creds = k->c->creds,
					      .server_name = RPC_NODE_NAME,
					      .keepalive_ms = 5000,
					      .keepalive_timeout_ms = 5000};
	struct probe *p = xnew(struct probe);

	snprintf(target, sizeof(target), v6 ? "[%s]:%u" : "%s:%u", node->status->address,
		 node->peer_port);
	p->check = k;
	snprintf(p->node_id, sizeof(p->node_id), "%s", node->id);
	p->channel = rpc_channel_new(k->c->rpc, &options);
	LIST_INSERT_HEAD(&k->probes, p, entry);
	k->n_probes++;
	p->call = rpc_unary(p->channel, &skein__peer__descriptor, "CheckNet", &k->request.base,
			    NODE_TIMEOUT_MS, on_probed, p);
}

/* As many as may be at a time; the last answer ends it. A client that is gone has no more asked. */
static void ask_more(struct net_check *k)
{
	while (k->call && k->next < k->n_nodes && k->n_probes < PARALLEL_MAX &&
	       rpc_call_unsent(k->call) < UNSENT_MAX_BYTES) {
		const char *id = k->nodes[k->next++];
		const pb_node *node = view_node(control_view(k->c), id);
		const char *why = why_not(node);

		if (why)
			answer(k, id, NULL, why);
		else
			ask(k, node);
	}
	if (k->n_probes)
		return;
	if (k->call && k->next == k->n_nodes)
		end(k, NULL);
	if (!k->call)
		check_free(k);
}

static void list_nodes(struct net_check *k)
{
	_cleanup_free_ const void **nodes = NULL;

	nodes = view_list(control_view(k->c), KIND_NODE, &k->n_nodes);
	k->nodes = xcalloc(k->n_nodes + 1, sizeof(*k->nodes));
	for (size_t i = 0; i < k->n_nodes; i++)
		k->nodes[i] = xstrdup(((const pb_node *)nodes[i])->id);
}

static struct net_check *check_new(struct control *c, struct rpc_call *call,
				   const Skein__CheckNetworksRequest *request)
{
	struct net_check *k = xnew(struct net_check);

	k->c = c;
	k->call = call;
	k->request = (Skein__CheckNetRequest)SKEIN__CHECK_NET_REQUEST__INIT;
	k->request.network_id = k->network_id;
	k->request.repair = request->repair;
	LIST_INIT(&k->probes);
	closer_hold(&c->closer);
	LIST_INSERT_HEAD(&c->net_checks, k, entry);
	c->n_net_checks++;
	rpc_call_set_data(call, k);
	return k;
}

void net_check_on_message(struct rpc_call *call, const ProtobufCMessage *raw, void *data)
{
	_cleanup_pb_ Skein__CheckNetworksRequest *request = NULL;
	const pb_network *network = NULL;
	struct error err = ERROR_INIT;
	struct control *c = data;
	struct net_check *k;

	if (rpc_call_data(call))
		return; /* one request per call */
	request = text_checked_dup(raw, &err);
	if (request && c->n_net_checks >= CHECKS_MAX)
		error_set(&err, ERR_EXHAUSTED, "%zu checks of networks are under way here: at most %d",
			  c->n_net_checks, CHECKS_MAX);
	else if (request && !str_empty(request->ref))
		network = resolve_network(control_view(c), request->ref, &err);
	if (err.code) {
		rpc_call_fail(call, &err);
		return;
	}
	k = check_new(c, call, request);
	if (network)
		snprintf(k->network_id, sizeof(k->network_id), "%s", network->id);
	list_nodes(k);
	ask_more(k);
}

void net_check_on_drain(struct rpc_call *call, void *data)
{
	struct net_check *k = rpc_call_data(call);

	if (k)
		ask_more(k);
}

void net_check_on_done(struct rpc_call *call, void *data)
{
	struct net_check *k = rpc_call_data(call);

	if (!k)
		return;
	k->call = NULL;
	cancel_probes(k);
	if (!k->n_probes)
		check_free(k);
}
