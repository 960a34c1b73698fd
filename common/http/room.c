#include "internal.h"

bool room_for(const struct room_look *look, bool *ret_same_address)
{
	*ret_same_address = look->of_address >= look->per_address_max;
	return !*ret_same_address && look->connections < look->connections_max;
}

bool room_may_go(const struct http_conn *c)
{
	return !c->doomed && (c->state == CONN_READING || c->state == CONN_IDLE || c->state == CONN_DRAINING);
}

/* Who has never asked for anything goes first, then the one that has been silent longest. */
bool room_goes_before(const struct http_conn *a, const struct http_conn *b)
{
	if ((a->asked > 0) != (b->asked > 0))
		return a->asked == 0;
	return a->since < b->since;
}
