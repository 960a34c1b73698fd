/* Namespaces of a test on the real kernel, each with what it should hold. Mounts and links are the test's own. */
#pragma once
#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"
#include "netoverlay/netns.h"
#include "netoverlay/netstate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define RTNL_KINDS                                                                                                   \
	(1u << NETSTATE_LINK | 1u << NETSTATE_ADDR | 1u << NETSTATE_ROUTE | 1u << NETSTATE_RULE | 1u << NETSTATE_NEIGH | \
	 1u << NETSTATE_FDB | 1u << NETSTATE_SYSCTL)

static char dir[64]; /* of the test's namespaces */

static inline void ok(int r, const struct error *err)
{
	if (r < 0)
		print_error("%s\n", err->msg);
	assert_int_equal(r, 0);
}

static inline struct ipaddr ip(const char *s)
{
	struct ipaddr a;
	struct error err = ERROR_INIT;

	ok(ipaddr_parse(s, &a, &err), &err);
	return a;
}

static inline struct mac mac(const char *s)
{
	struct mac m;
	struct error err = ERROR_INIT;

	ok(mac_parse(s, &m, &err), &err);
	return m;
}

/* ---- a namespace of the test with its wishes */

struct place {
	char path[128];
	struct netns *ns;
	struct netstate *want;
};

static inline void place_open(struct place *p, const char *name, struct netns *outer)
{
	struct error err = ERROR_INIT;

	snprintf(p->path, sizeof(p->path), "%s/%.40s", dir, name);
	ok(netns_create(p->path, &err), &err);
	p->ns = netns_open(p->path, outer, &err);
	ok(p->ns ? 0 : -1, &err);
	p->want = netstate_new();
}

static inline void place_close(struct place *p)
{
	struct error err = ERROR_INIT;

	netns_close(p->ns);
	netstate_free(p->want);
	ok(netns_destroy(p->path, &err), &err);
	ok(netns_destroy(p->path, &err), &err); /* again: fine */
}

static inline void want(struct place *p, struct netstate_entry e)
{
	netstate_put(p->want, &e);
}

static inline void link_(struct place *p, struct netstate_link l)
{
	want(p, (struct netstate_entry){.kind = NETSTATE_LINK, .link = l});
}

static inline void addr(struct place *p, const char *link, const char *a)
{
	struct netstate_entry e = {.kind = NETSTATE_ADDR, .addr.addr = ip(a)};

	strcpy(e.addr.link, link);
	want(p, e);
}

static inline void neigh(struct place *p, const char *link, const char *a, const char *m)
{
	struct netstate_entry e = {.kind = NETSTATE_NEIGH, .neigh = {.addr = ip(a), .mac = mac(m)}};

	strcpy(e.neigh.link, link);
	want(p, e);
}

static inline void fdb(struct place *p, const char *link, const char *m, const char *dst)
{
	struct netstate_entry e = {.kind = NETSTATE_FDB, .fdb = {.mac = mac(m), .dst = ip(dst)}};

	strcpy(e.fdb.link, link);
	want(p, e);
}

static inline void route(struct place *p, struct netstate_route r)
{
	want(p, (struct netstate_entry){.kind = NETSTATE_ROUTE, .route = r});
}

static inline size_t apply(struct place *p)
{
	struct netstate_ops ops;
	struct error err = ERROR_INIT;
	size_t n;

	netstate_take_changes(p->want, &ops);
	ok(netns_apply(p->ns, ops.v, ops.n, NULL, &err), &err);
	n = ops.n;
	netstate_ops_fini(&ops);
	return n;
}

/* What differs between wishes and the kernel. */
static inline size_t differences(struct place *p, struct netstate_ops *ret)
{
	struct netstate *have = netstate_new();
	struct netstate_ops ops;
	struct error err = ERROR_INIT;

	ok(netns_dump(p->ns, RTNL_KINDS, p->want, have, &err), &err);
	netstate_diff(p->want, have, RTNL_KINDS, &ops);
	netstate_free(have);
	for (size_t i = 0; i < ops.n && !ret; i++) {
		char text[NETSTATE_ENTRY_TEXT_MAX];

		print_message("%s %s %s\n", ops.v[i].del ? "extra" : "missing", netstate_kind_name(ops.v[i].entry.kind),
			      netstate_entry_text(&ops.v[i].entry, text));
	}
	size_t n = ops.n;

	if (ret)
		*ret = ops;
	else
		netstate_ops_fini(&ops);
	return n;
}

/* The host's part: an underlay device. */
static inline void underlay(struct place *p, const char *peer_ns, const char *name, const char *peer, const char *address)
{
	struct netstate_link l = {.kind = LINK_VETH, .mtu = 1500, .up = true};

	if (!*peer_ns) { /* one host alone: any device does */
		l.kind = LINK_BRIDGE;
		peer = "";
	}
	strcpy(l.name, name);
	strcpy(l.peer, peer);
	strcpy(l.peer_ns, peer_ns);
	link_(p, l);
	addr(p, name, address);
}

static inline void overlay(struct place *p, const char *local, const char *gateway)
{
	link_(p, (struct netstate_link){.name = "br0", .kind = LINK_BRIDGE, .mtu = 1450, .mac = mac("02:42:0a:00:01:01"), .up = true});
	link_(p, (struct netstate_link){.name = "vx0", .kind = LINK_VXLAN, .vni = 4100, .port = 4789, .local = ip(local),
					.mtu = 1450, .master = "br0", .up = true});
	addr(p, "br0", gateway);
	want(p, (struct netstate_entry){.kind = NETSTATE_SYSCTL, .sysctl = {.name = "net/ipv4/conf/br0/rp_filter", .value = "0"}});
	want(p, (struct netstate_entry){.kind = NETSTATE_RULE, .rule = {.family = AF_INET, .priority = 94, .table = 94,
									   .fwmark = 0x5e000000, .fwmask = 0xff000000}});
	route(p, (struct netstate_route){.table = 94, .dst = {.family = AF_INET}, .link = "br0", .via = ip("10.0.1.200"), .onlink = true});
	route(p, (struct netstate_route){.dst = ip("10.0.1.77"), .local = true, .link = "lo", .src = ip(gateway)});
}

static inline int group_setup(void **state)
{
	strcpy(dir, "/tmp/skein-netns.XXXXXX");
	/* Mounts and links of this test are its own. */
	return !mkdtemp(dir) || unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0;
}

static inline int group_teardown(void **state)
{
	return rmdir(dir);
}

/* A command of the shell inside a namespace. */
static inline void __attribute__((format(printf, 2, 3))) inside(const struct place *p, const char *fmt, ...)
{
	char commands[1024], line[1200];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(commands, sizeof(commands), fmt, ap);
	va_end(ap);
	snprintf(line, sizeof(line), "exec nsenter --net=%s sh -ec '%s'", p->path, commands);
	assert_int_equal(system(line), 0);
}

/* The same with other kinds than those of rtnetlink. */
static inline size_t differences_of(struct place *p, unsigned kinds)
{
	struct netstate *have = netstate_new();
	struct netstate_ops ops;
	struct error err = ERROR_INIT;
	char text[NETSTATE_ENTRY_TEXT_MAX];
	size_t n;

	ok(netns_dump(p->ns, kinds, p->want, have, &err), &err);
	netstate_diff(p->want, have, kinds, &ops);
	for (size_t i = 0; i < ops.n; i++)
		print_message("%c %s %s\n", ops.v[i].del ? '-' : '+', netstate_kind_name(ops.v[i].entry.kind),
			      netstate_entry_text(&ops.v[i].entry, text));
	n = ops.n;
	netstate_ops_fini(&ops);
	netstate_free(have);
	return n;
}

/* Make everything that is wanted so, whatever was applied before: as a new agent does. */
static inline void apply_all(struct place *p)
{
	struct netstate *none = netstate_new();
	struct netstate_ops ops;
	struct error err = ERROR_INIT;

	netstate_diff(p->want, none, ~0u, &ops);
	ok(netns_apply(p->ns, ops.v, ops.n, NULL, &err), &err);
	netstate_ops_fini(&ops);
	netstate_free(none);
}
