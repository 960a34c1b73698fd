#include "silence.h"

#include "clock.h"
#include "mem.h"
#include "tcp.h"

#include <stdio.h>

#define LOOK_MS 50
/* Long enough for two retransmissions (after 200 and 400 ms more), with what else was sent meanwhile. */
#define UNACKED_NS (300 * NS_PER_MS)
#define SILENT_NS (500 * NS_PER_MS)

bool silence_judge(struct silence_look *look, const struct tcp_facts *facts, int64_t now)
{
	int64_t trips;

	if (!facts || !facts->unacked) {
		look->since = 0;
		return false;
	}
	/* What waits now may be younger than an acknowledgement that came meanwhile. */
	if (!look->since || facts->acked_ns < now - look->since)
		look->since = now;
	trips = 2 * facts->rtt_ns;
	return now - look->since >= UNACKED_NS + trips && facts->acked_ns >= SILENT_NS + trips;
}

static void on_look(uv_timer_t *timer)
{
	struct silence *s = container_of(timer, struct silence, timer);
	struct tcp_table *table = tcp_table_new();
	struct tcp_facts facts;
	bool known = tcp_find(table, s->peer, &facts) == 0;

	tcp_table_free(table);
	if (silence_judge(&s->look, known ? &facts : NULL, clock_mono_ns())) {
		silence_over(s);
		s->on_silent(s->data);
	}
}

void silence_init(struct silence *s, uv_loop_t *loop, void (*on_silent)(void *data), void *data)
{
	*s = (struct silence){.on_silent = on_silent, .data = data};
	uv_timer_init(loop, &s->timer);
}

void silence_asked(struct silence *s, const char *peer)
{
	if (uv_is_active((uv_handle_t *)&s->timer))
		return;
	snprintf(s->peer, sizeof(s->peer), "%s", peer);
	s->look = (struct silence_look){0};
	uv_timer_start(&s->timer, on_look, LOOK_MS, LOOK_MS);
}

void silence_over(struct silence *s)
{
	uv_timer_stop(&s->timer);
}
