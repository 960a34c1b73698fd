#include "netns_internal.h"

#include "common/error.h"
#include "common/mem.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <string.h>
#include <sys/socket.h>

#define KIND "plug"

struct outcome {
	int errno_value;
	char text[NLSOCK_TEXT_MAX];
};

static void on_failed(void *data, size_t tag, int errno_value, const char *text)
{
	struct outcome *o = data;

	o->errno_value = errno_value;
	strncpy(o->text, text, sizeof(o->text) - 1);
}

static int finish(const struct outcome *o, const char *what, const char *link, struct error *err)
{
	if (!o->errno_value)
		return 0;
	return error_set_errno(err, o->errno_value, "%s %s%s%s", what, link, *o->text ? ": " : "", o->text);
}

/* action -1: remove it. */
static int change(struct netns *ns, const char *link, int action, uint32_t limit, struct outcome *o, struct error *err)
{
	struct tcmsg header = {.tcm_family = AF_UNSPEC, .tcm_parent = TC_H_ROOT};
	struct tc_plug_qopt options = {.action = action, .limit = limit};
	struct nlsock_batch b;
	bool makes = action == TCQ_PLUG_LIMIT;

	header.tcm_ifindex = netns_link_index(ns, link);
	if (!header.tcm_ifindex)
		return error_set(err, ERR_NOT_FOUND, "there is no link %s", link);
	nlsock_batch_init(&b, &ns->rt, on_failed, o);
	if (action < 0) {
		nla_put_string(nlsock_batch_begin(&b, RTM_DELQDISC, 0, &header, sizeof(header)), TCA_KIND, KIND);
	} else {
		struct nl_msg *msg =
			nlsock_batch_begin(&b, RTM_NEWQDISC, makes ? NLM_F_CREATE : 0, &header, sizeof(header));

		nla_put_string(msg, TCA_KIND, KIND);
		nla_put(msg, TCA_OPTIONS, sizeof(options), &options);
	}
	/* Without one of this kind at the root: ENOENT or EINVAL, as the kernel's version has it. */
	nlsock_batch_add(&b, 0, makes ? 0 : ENOENT, makes ? 0 : EINVAL, 0);
	nlsock_batch_flush(&b);
	nlsock_batch_fini(&b);
	return 0;
}

/* As it is made it keeps; one that is there is only told its limit, and goes on as it does. */
int netns_plug(struct netns *ns, const char *link, uint32_t max_bytes, struct error *err)
{
	struct outcome o = {0};

	if (change(ns, link, TCQ_PLUG_LIMIT, max_bytes, &o, err) < 0)
		return -1;
	if (o.errno_value == ENOENT)
		return error_set(err, ERR_UNIMPLEMENTED, "the kernel has no sch_plug");
	return finish(&o, "keep what leaves by", link, err);
}

int netns_plug_release(struct netns *ns, const char *link, struct error *err)
{
	struct outcome o = {0};

	if (change(ns, link, TCQ_PLUG_RELEASE_INDEFINITE, 0, &o, err) < 0)
		return -1;
	return finish(&o, "release what was to leave by", link, err);
}

int netns_plug_remove(struct netns *ns, const char *link, struct error *err)
{
	struct outcome o = {0};

	if (change(ns, link, -1, 0, &o, err) < 0)
		return -1;
	return finish(&o, "no longer keep what leaves by", link, err);
}

int netns_bridge_forget(struct netns *ns, const char *port, const struct mac *mac, struct error *err)
{
	struct ndmsg header = {.ndm_family = AF_BRIDGE, .ndm_flags = NTF_MASTER};
	struct outcome o = {0};
	struct nlsock_batch b;

	header.ndm_ifindex = netns_link_index(ns, port);
	if (!header.ndm_ifindex)
		return error_set(err, ERR_NOT_FOUND, "there is no link %s", port);
	nlsock_batch_init(&b, &ns->rt, on_failed, &o);
	nla_put(nlsock_batch_begin(&b, RTM_DELNEIGH, 0, &header, sizeof(header)), NDA_LLADDR, sizeof(mac->bytes), mac->bytes);
	nlsock_batch_add(&b, 0, ENOENT, 0, 0);
	nlsock_batch_flush(&b);
	nlsock_batch_fini(&b);
	return finish(&o, "forget an address behind", port, err);
}
