/* plan_fixture - a node as plans see it, and entries as sorted lines of text. */
#pragma once
#include "agent/net/plan.h"
#include "support/net_fixture.h"

#include <stdio.h>
#include <sys/socket.h>

static inline struct ipaddr plan_addr(const char *text)
{
	struct ipaddr a;

	if (ipaddr_parse(text, &a, NULL) < 0)
		abort();
	return a;
}

static inline struct plan_self plan_node1(bool ipvs)
{
	return (struct plan_self){.node_id = "n1",
				  .address = plan_addr("10.77.0.1"),
				  .underlay_mtu = 1500,
				  .vxlan_port = 4789,
				  .gateway4 = plan_addr("172.30.0.1/16"),
				  .gateway6 = plan_addr("fd53:6b00::1/64"),
				  .ipvs = ipvs,
				  .egress = true};
}

/* n1 (us) and n2; front with service web (port 8080 -> 80) of t1 here and t2 there, both ready. */
static inline struct model *plan_model(void)
{
	struct model *m = model_new(NULL);
	pb_net_state *s = net_state(true, 0, 1);

	net_network(s, "front", "overlay", 4097, "10.0.1.0/24", "fd00:1::/64");
	net_network(s, "ingress", "overlay", 4096, "10.255.0.0/16", NULL)->spec->ingress = true;
	net_node(s, "n1", "10.77.0.1", 1);
	net_node(s, "n2", "10.77.0.2", 2);
	net_port(net_service(s, "web", "front", "10.0.1.2", "fd00:1::2"), "tcp", 8080, 80, false);
	net_endpoint(s, "t1", "web", "n1", true, "front", "10.0.1.11/24", "fd00:1::b/64");
	net_endpoint(s, "t2", "web", "n2", true, "front", "10.0.1.12/24", "fd00:1::c/64");
	net_take(m, s);
	return m;
}

struct plan_lines {
	char **v;
	size_t n;
};

static inline bool plan_add_line(void *data, const struct netstate_entry *e)
{
	struct plan_lines *l = data;
	char text[NETSTATE_ENTRY_TEXT_MAX];

	l->v = xreallocarray(l->v, l->n + 1, sizeof(*l->v));
	l->v[l->n++] = xasprintf("%s %s\n", netstate_kind_name(e->kind), netstate_entry_text(e, text));
	return true;
}

static inline int plan_by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All entries, one per line, sorted. Yours. */
static inline char *plan_text(const struct netstate *s)
{
	struct plan_lines l = {0};
	struct strbuf b = {0};

	netstate_each(s, plan_add_line, &l);
	if (l.n)
		qsort(l.v, l.n, sizeof(*l.v), plan_by_text);
	for (size_t i = 0; i < l.n; i++) {
		strbuf_puts(&b, l.v[i]);
		free(l.v[i]);
	}
	free(l.v);
	return strbuf_take(&b);
}

#define assert_has(text, part)                                                                     \
	do {                                                                                       \
		if (!strstr(text, part))                                                           \
			fail_msg("\"%s\" is not in:\n%s", part, text);                             \
	} while (0)
#define assert_hasnt(text, part)                                                                   \
	do {                                                                                       \
		if (strstr(text, part))                                                            \
			fail_msg("\"%s\" is in:\n%s", part, text);                                 \
	} while (0)
