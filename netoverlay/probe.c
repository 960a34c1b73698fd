#include "netns_internal.h"

#include "common/error.h"
#include "common/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>

static bool works(struct netns *ns, const struct netstate_entry *e)
{
	struct netstate_op op = {.entry = *e};

	return netns_apply(ns, &op, 1, NULL, NULL) == 0;
}

static bool link_works(struct netns *ns, struct netstate_link l)
{
	return works(ns, &(struct netstate_entry){.kind = NETSTATE_LINK, .link = l});
}

static bool esp_works(struct netns *ns)
{
	struct netstate_entry e = {
		.kind = NETSTATE_XFRM_STATE,
		.xfrm_state = {.spi = 0x1000, .reqid = 1, .key = {1, 2, 3}},
	};

	return ipaddr_parse("192.0.2.1", &e.xfrm_state.src, NULL) == 0 &&
	       ipaddr_parse("192.0.2.2", &e.xfrm_state.dst, NULL) == 0 && works(ns, &e);
}

static void try_all(struct netns *ns, struct netns_features *f)
{
	static const char *const rules = "add table inet probe\n"
					 "add chain inet probe c { type nat hook output priority -100; }\n"
					 "add rule inet probe c meta l4proto tcp dnat ip to numgen inc mod 2 map "
					 "{ 0 : 192.0.2.1, 1 : 192.0.2.2 }\n";
	static const char *const egress =
		"add table netdev probe\n"
		"add chain netdev probe c { type filter hook egress device \"probe0\" priority 0; }\n"
		"add rule netdev probe c meta mark 1 ether daddr set 02:00:00:00:00:01\n";
	bool veth = link_works(ns, (struct netstate_link){.name = "probe0", .kind = LINK_VETH, .peer = "probe1", .up = true});

	f->vxlan = link_works(ns, (struct netstate_link){.name = "px", .kind = LINK_VXLAN, .vni = 4096, .port = 4789});
	if (veth) {
		f->macvlan = link_works(ns, (struct netstate_link){.name = "pm", .kind = LINK_MACVLAN, .parent = "probe0"});
		f->vlan = link_works(ns, (struct netstate_link){
						 .name = "pv", .kind = LINK_VLAN, .parent = "probe0", .vlan_id = 2});
		/* A link has children of one of these kinds, not of both. */
		f->ipvlan = link_works(ns, (struct netstate_link){.name = "pi", .kind = LINK_IPVLAN, .parent = "probe1"});
		f->nft_egress = netns_nft(ns, egress, NULL, NULL) == 0;
	}
	f->nftables = netns_nft(ns, rules, NULL, NULL) == 0;
	f->ipvs = netns_need_genl(ns, NULL) == 0;
	f->esp = esp_works(ns);
}

int netns_probe(struct netns_features *ret, struct error *err)
{
	int back = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), r;
	struct netns *ns;

	*ret = (struct netns_features){0};
	if (back < 0)
		return error_set_errno(err, errno, "open this thread's network namespace");
	if (unshare(CLONE_NEWNET) < 0) {
		r = errno;
		close(back);
		return error_set_errno(err, r, "make a network namespace");
	}
	ns = netns_open(NULL, NULL, err);
	if (ns)
		try_all(ns, ret);
	netns_close(ns);
	netns_leave(back); /* the namespace ends with all that was tried in it */
	return ns ? 0 : -1;
}
