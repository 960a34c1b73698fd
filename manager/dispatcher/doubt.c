#include "doubt.h"

#include "internal.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/tcp.h"
#include "rpc/rpc.h"

#define ANSWER_NS (100 * NS_PER_MS) /* two round trips more are allowed for */
#define SEND_NS (2 * NS_PER_SEC)    /* what we said may wait this long in our own process */
#define ASK_AGAIN_NS NS_PER_SEC
#define LOOK_AGAIN_NS (50 * NS_PER_MS)

static void ask(struct session *s, int64_t now)
{
	s->asked = now;
	session_send_beat(s, 0, dispatcher_period(s->d));
}

bool doubt_spares(struct session *s, struct tcp_table **table, int64_t silent_ns, int64_t busy_ns,
		  int64_t now, int64_t *ret_again_ns)
{
	int64_t waited = now - s->asked;
	struct tcp_facts facts;

	*ret_again_ns = LOOK_AGAIN_NS;
	if (silent_ns >= busy_ns)
		return false;
	if (!s->asked) {
		ask(s, now);
		return true;
	}
	if (!*table)
		*table = tcp_table_new();
	if (tcp_find(*table, rpc_call_peer(s->call)->address, &facts) < 0)
		return false; /* nothing speaks for it */
	if (facts.acked_ns < waited) {
		if (!s->busy)
			log_warn("agent_busy", kv_str("node", s->node_id),
				 kv_i64("silent_ms", silent_ns / NS_PER_MS),
				 kv_str("why", "no beat, but its host answers"));
		s->busy = true;
		if (waited >= ASK_AGAIN_NS)
			ask(s, now);
		return true;
	}
	if (waited < ANSWER_NS + 2 * facts.rtt_ns)
		return true;
	return facts.sent_ns > waited && waited < SEND_NS; /* it was not even asked yet */
}
