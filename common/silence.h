/*
 * silence - has the host at the other end of a connection fallen silent?
 *
 * A process that does not answer may be busy, or it is we who do not get to run. What tells is the kernel at the other
 * end: it acknowledges what ours has sent, however busy its programs are. Silent is a host that has for a while left
 * unacknowledged what is on its way to it; nothing that this process does late can look like that.
 * Loop thread.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct tcp_facts;

/* What was seen so far. Plain data: time is an argument. */
struct silence_look {
	int64_t since; /* when something unacknowledged was first seen; 0 = it was not */
};

/*
 * One look at the connection. True: the host is silent. NULL = there is no connection to judge by (which says
 * nothing). Looks have to follow each other for some hundred milliseconds for a verdict.
 */
bool silence_judge(struct silence_look *look, const struct tcp_facts *facts, int64_t now);

struct silence {
	uv_timer_t timer;
	struct silence_look look;
	char peer[64];
	void (*on_silent)(void *data);
	void *data;
};

/* on_silent runs at most once per silence_asked(). Close `timer` with the owner's other handles. */
void silence_init(struct silence *s, uv_loop_t *loop, void (*on_silent)(void *data), void *data);
/* Something was sent that is to be answered. peer: as tcp_find() takes it. While it is not answered: looks. */
void silence_asked(struct silence *s, const char *peer);
/* It was answered, or nothing is awaited any more. */
void silence_over(struct silence *s);
