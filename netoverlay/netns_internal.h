/*
 * netns_internal - what the files of a namespace handle share. Internal to netoverlay.
 *
 *   netns.c        namespaces and handles     netns_apply.c  operations into requests
 *   netns_dump.c   the kernel's state         ipvs.c, xfrm.c messages of these two
 *   nft.c          rulesets                   watch.c        notifications
 *   counters.c     links' and IPVS' counters
 *   plug.c         what is kept back
 *   sockdiag.c     connections                probe.c        what this kernel can do
 */
#pragma once
#include "netns.h"
#include "nlsock.h"

struct nft_ctx;

struct netns {
	char *path; /* NULL = the one that the process is in */
	int fd;
	struct netns *outer;
	struct nlsock rt, genl, xfrm; /* the last two are opened when they are needed */
	uint16_t ipvs_family;         /* 0 = not looked up */
	struct nft_ctx *nft;
	struct nlsock watch;
	int watch_fd, watch_seen;     /* what is polled; an eventfd: something was seen and not told yet */
};

/* Enter the namespace; returns a descriptor to come back with (netns_leave), or -1. For the host: nothing is entered. */
int netns_enter(struct netns *ns, int *ret_back, struct error *err);
void netns_leave(int back);

/* Sockets, opened at the first use. */
int netns_need_genl(struct netns *ns, struct error *err); /* and IPVS' family: ERR_UNIMPLEMENTED without it */
int netns_need_xfrm(struct netns *ns, struct error *err);

/* Index of a link by name, 0 = there is none. One request. */
int netns_link_index(struct netns *ns, const char *name);

/* A link as the kernel has it, its bridge and parent by name. Its index; 0 = there is none. */
int netns_read_link(struct netns *ns, const char *name, struct netstate_link *ret);

/* Path of a sysctl; false when the name leads out of the namespace's own. */
#define NETNS_SYSCTL_PATH_MAX 128
bool netns_sysctl_path(const char *name, char ret[static NETNS_SYSCTL_PATH_MAX]);

/* ---- ipvs.c: messages; `change` instead of new ones */
void ipvs_head(uint16_t family, uint8_t cmd, uint16_t *ret_type, uint8_t ret_header[4]);
uint8_t ipvs_command(const struct netstate_entry *e, bool del, bool change);
void ipvs_attrs(struct nl_msg *msg, const struct netstate_entry *e, bool del);
bool ipvs_decode_service(const struct nlmsghdr *nlh, struct netstate_ipvs_service *ret);
bool ipvs_decode_dest(const struct nlmsghdr *nlh, const struct netstate_ipvs_service *s, struct netstate_ipvs_dest *ret);
/* Requests, after netns_need_genl(); the caller's. */
struct nl_msg *ipvs_dump_services_msg(struct netns *ns);
struct nl_msg *ipvs_dump_dests_msg(struct netns *ns, const struct netstate_ipvs_service *s);
int ipvs_dump(struct netns *ns, struct netstate *ret, struct error *err);

/* ---- xfrm.c */
struct xfrm_request {
	uint16_t type;
	uint8_t header[256];
	size_t header_len;
	int tolerate;
};
void xfrm_request_of(const struct netstate_entry *e, bool del, struct xfrm_request *ret);
void xfrm_attrs(struct nl_msg *msg, const struct netstate_entry *e, bool del);
bool xfrm_decode_state(const struct nlmsghdr *nlh, struct netstate_xfrm_state *ret);
bool xfrm_decode_policy(const struct nlmsghdr *nlh, struct netstate_xfrm_policy *ret);
/* Only those whose request id is one of `want`; NULL = all of our form. */
int xfrm_dump(struct netns *ns, unsigned kinds, const struct netstate *want, struct netstate *ret, struct error *err);

/* ---- watch.c: what was notified so far is looked at before we change something, and dropped afterwards. */
void watch_before(struct netns *ns);
void watch_after(struct netns *ns);
void watch_close(struct netns *ns);
