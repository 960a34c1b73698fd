/*
 * doubt - a node does not beat: is its host gone, or only its agent slow?
 * We send it something; the host's kernel acknowledges that even when no process gets to run there.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct session;
struct tcp_table;

/*
 * To be asked again and again (at latest after ret_again_ns) while the silence lasts.
 *   table       made at the first use; the caller's to free
 *   silent_ns   how long there was no beat
 *   busy_ns     with so much of it the node is lost, whatever its kernel says
 *   returns     true: it is not lost yet
 */
bool doubt_spares(struct session *s, struct tcp_table **table, int64_t silent_ns, int64_t busy_ns,
		  int64_t now, int64_t *ret_again_ns);
