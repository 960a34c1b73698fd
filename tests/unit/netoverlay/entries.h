/* Entries of a netstate in one line each. */
#pragma once
#include "common/ipaddr.h"
#include "netoverlay/netstate.h"

#include <stdio.h>
#include <string.h>

static inline struct ipaddr ip(const char *s)
{
	struct ipaddr a;

	assert_int_equal(ipaddr_parse(s, &a, NULL), 0);
	return a;
}

static inline struct netstate_entry link_of(const char *name, enum link_kind kind, const char *master)
{
	struct netstate_entry e = {.kind = NETSTATE_LINK, .link = {.kind = kind}};

	strcpy(e.link.name, name);
	strcpy(e.link.master, master);
	return e;
}

static inline struct netstate_entry vxlan(const char *name, uint32_t vni, const char *master)
{
	struct netstate_entry e = link_of(name, LINK_VXLAN, master);

	e.link.vni = vni;
	e.link.port = 4789;
	e.link.local = ip("10.77.0.1");
	return e;
}

static inline struct netstate_entry addr_on(const char *link, const char *a)
{
	struct netstate_entry e = {.kind = NETSTATE_ADDR, .addr.addr = ip(a)};

	strcpy(e.addr.link, link);
	return e;
}

static inline struct netstate_entry fdb_on(const char *link, uint8_t last, const char *dst)
{
	struct netstate_entry e = {.kind = NETSTATE_FDB, .fdb = {.mac.bytes = {2, 0, 0, 0, 0, last}, .dst = ip(dst)}};

	strcpy(e.fdb.link, link);
	return e;
}

static inline struct netstate_entry neigh_on(const char *link, const char *a, uint8_t last)
{
	struct netstate_entry e = {.kind = NETSTATE_NEIGH, .neigh = {.addr = ip(a), .mac.bytes = {2, 0, 0, 0, 0, last}}};

	strcpy(e.neigh.link, link);
	return e;
}

/* "+link br0 bridge, -fdb ..., ~..." (added, deleted, changed), in order. */
static inline const char *ops_text(const struct netstate_ops *ops, char *buf, size_t size)
{
	char text[NETSTATE_ENTRY_TEXT_MAX];
	size_t len = 0;

	*buf = '\0';
	for (size_t i = 0; i < ops->n; i++) {
		const struct netstate_op *op = &ops->v[i];

		len += snprintf(buf + len, size - len, "%s%c%s %s", i ? ", " : "", op->del ? '-' : op->replaces ? '~' : '+',
				netstate_kind_name(op->entry.kind), netstate_entry_text(&op->entry, text));
		assert_true(len < size);
	}
	return buf;
}
