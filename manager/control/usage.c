/* Usage: samples of the nodes as they come, for `clusterctl top`. A client that does not keep up misses some. */
#include "internal.h"
#include "resolve.h"
#include "text.h"

#include "common/error.h"
#include "common/mem.h"
#include "manager/usage/usage.h"
#include "rpc/rpc.h"

#define CALLS_MAX 100
#define UNSENT_MAX_BYTES (2u << 20)

struct usage_call {
	LIST_ENTRY(usage_call) entry;
	struct control *c;
	struct rpc_call *call;
	struct usage_sub *sub;
	struct strv nodes; /* ids; none = all */
	bool ended;
};

static void on_sample(void *data, const pb_node_usage *sample)
{
	Skein__UsageResponse out = SKEIN__USAGE_RESPONSE__INIT;
	struct usage_call *k = data;
	struct error err = ERROR_INIT;

	if (k->ended || rpc_call_unsent(k->call) > UNSENT_MAX_BYTES)
		return;
	if (k->nodes.n && !strv_has(&k->nodes, sample->node_id))
		return;
	out.usage = (pb_node_usage *)sample;
	if (rpc_call_send(k->call, &out.base, &err) < 0) {
		k->ended = true;
		rpc_call_fail(k->call, &err);
	}
}

static int find_nodes(const struct control *c, const Skein__UsageRequest *request, struct strv *ids, struct error *err)
{
	for (size_t i = 0; i < request->n_nodes; i++) {
		const pb_node *node = resolve_node(control_view(c), request->nodes[i], err);

		if (!node)
			return -1;
		strv_add(ids, node->id);
	}
	return 0;
}

void usage_on_message(struct rpc_call *call, const ProtobufCMessage *raw, void *data)
{
	_cleanup_pb_ Skein__UsageRequest *request = NULL;
	_cleanup_strv_ struct strv ids = {0};
	struct error err = ERROR_INIT;
	struct control *c = data;
	struct usage_call *k;

	if (rpc_call_data(call))
		return; /* one request per call */
	request = text_checked_dup(raw, &err);
	if (request && c->n_usages >= CALLS_MAX)
		error_set(&err, ERR_EXHAUSTED, "%zu calls for usage are under way here: at most %d", c->n_usages, CALLS_MAX);
	else if (request)
		find_nodes(c, request, &ids, &err);
	if (err.code) {
		rpc_call_fail(call, &err);
		return;
	}
	k = xnew(struct usage_call);
	k->c = c;
	k->call = call;
	k->nodes = ids;
	ids = (struct strv){0};
	LIST_INSERT_HEAD(&c->usages, k, entry);
	c->n_usages++;
	rpc_call_set_data(call, k);
	k->sub = usage_subscribe(c->usage, on_sample, k);
	usage_each(c->usage, on_sample, k);
}

void usage_on_done(struct rpc_call *call, void *data)
{
	struct usage_call *k = rpc_call_data(call);

	if (!k)
		return;
	usage_unsubscribe(k->sub);
	LIST_REMOVE(k, entry);
	k->c->n_usages--;
	strv_fini(&k->nodes);
	free(k);
}
