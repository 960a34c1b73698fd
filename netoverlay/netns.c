#include "netns_internal.h"

#include "common/error.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/str.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/genetlink.h>
#include <linux/if_link.h>
#include <linux/magic.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define OWN_NS "/proc/thread-self/ns/net"
#define UNBOUND "(without a file)" /* of one that no path leads to yet */

/* ---------------------------------------------------------------- entering */

int netns_enter(struct netns *ns, int *ret_back, struct error *err)
{
	_cleanup_close_ int back = -1;

	*ret_back = -1;
	if (!ns->path)
		return 0;
	back = open(OWN_NS, O_RDONLY | O_CLOEXEC);
	if (back < 0)
		return error_set_errno(err, errno, "open %s", OWN_NS);
	if (setns(ns->fd, CLONE_NEWNET) < 0)
		return error_set_errno(err, errno, "enter network namespace %s", ns->path);
	*ret_back = TAKE_FD(back);
	return 0;
}

void netns_leave(int back)
{
	if (back < 0)
		return;
	if (setns(back, CLONE_NEWNET) < 0) {
		/* Whatever this thread did next would happen in somebody else's network. */
		log_error("netns_leave", kv_str("error", strerror(errno)));
		abort();
	}
	close(back);
}

int netns_run(struct netns *ns, void (*fn)(void *data), void *data, struct error *err)
{
	int back;

	if (netns_enter(ns, &back, err) < 0)
		return -1;
	fn(data);
	netns_leave(back);
	return 0;
}

/* ---------------------------------------------------------------- making and removing */

static int loopback_up(struct error *err)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};

	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
		return error_set_errno(err, errno, "bring the loopback device up");
	return 0;
}

static bool is_namespace(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && fs.f_type == NSFS_MAGIC;
}

/* On the thread that is in the new namespace. */
static int bind_own(const char *path, struct error *err)
{
	if (loopback_up(err) < 0)
		return -1;
	if (mount(OWN_NS, path, NULL, MS_BIND, NULL) < 0)
		return error_set_errno(err, errno, "bind a network namespace to %s", path);
	return 0;
}

int netns_create(const char *path, struct error *err)
{
	_cleanup_close_ int back = -1, file = -1;
	int r;

	if (is_namespace(path))
		return 0;
	file = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
	if (file < 0)
		return error_set_errno(err, errno, "create %s", path);
	back = open(OWN_NS, O_RDONLY | O_CLOEXEC);
	if (back < 0)
		return error_set_errno(err, errno, "open %s", OWN_NS);
	if (unshare(CLONE_NEWNET) < 0) {
		r = errno;
		unlink(path);
		return error_set_errno(err, r, "make a network namespace");
	}
	r = bind_own(path, err);
	netns_leave(TAKE_FD(back));
	if (r < 0)
		unlink(path);
	return r;
}

int netns_destroy(const char *path, struct error *err)
{
	/* Bound more than once: one at a time. */
	while (is_namespace(path))
		if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
			return error_set_errno(err, errno, "unmount %s", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return error_set_errno(err, errno, "remove %s", path);
	return 0;
}

/* ---------------------------------------------------------------- handles */

static struct netns *handle_new(const char *path, struct netns *outer)
{
	struct netns *ns = xnew(struct netns);

	ns->path = path ? xstrdup(path) : NULL;
	ns->outer = outer;
	ns->fd = ns->watch_fd = ns->watch_seen = -1;
	return ns;
}

struct netns *netns_open(const char *path, struct netns *outer, struct error *err)
{
	struct netns *ns = handle_new(path, outer);
	int back = -1, r;

	ns->fd = file_fd_high(open(path ?: OWN_NS, O_RDONLY | O_CLOEXEC));
	if (ns->fd < 0) {
		r = errno;
		error_set_errno(err, r, "open network namespace %s", path ?: "of the host");
		goto fail;
	}
	if (netns_enter(ns, &back, err) < 0)
		goto fail;
	r = nlsock_open(&ns->rt, NETLINK_ROUTE, err);
	netns_leave(back);
	if (r == 0)
		return ns;
fail:
	netns_close(ns);
	return NULL;
}

/* On the thread that is in the new namespace. */
static int open_own(struct netns *ns, struct error *err)
{
	if (loopback_up(err) < 0)
		return -1;
	ns->fd = file_fd_high(open(OWN_NS, O_RDONLY | O_CLOEXEC));
	if (ns->fd < 0)
		return error_set_errno(err, errno, "open %s", OWN_NS);
	return nlsock_open(&ns->rt, NETLINK_ROUTE, err);
}

struct netns *netns_new(struct netns *outer, struct error *err)
{
	struct netns *ns = handle_new(UNBOUND, outer);
	_cleanup_close_ int back = open(OWN_NS, O_RDONLY | O_CLOEXEC);
	int r;

	if (back < 0) {
		error_set_errno(err, errno, "open %s", OWN_NS);
		goto fail;
	}
	if (unshare(CLONE_NEWNET) < 0) {
		error_set_errno(err, errno, "make a network namespace");
		goto fail;
	}
	r = open_own(ns, err);
	netns_leave(TAKE_FD(back));
	if (r == 0)
		return ns;
fail:
	netns_close(ns);
	return NULL;
}

int netns_bind(struct netns *ns, const char *path, struct error *err)
{
	_cleanup_free_ char *own = xasprintf("/proc/self/fd/%d", ns->fd);
	_cleanup_close_ int file = -1;
	int e;

	if (is_namespace(path))
		return error_set(err, ERR_EXISTS, "network namespace %s is there already", path);
	file = open(path, O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
	if (file < 0)
		return error_set_errno(err, errno, "create %s", path);
	if (mount(own, path, NULL, MS_BIND, NULL) < 0) {
		e = errno;
		unlink(path);
		return error_set_errno(err, e, "bind a network namespace to %s", path);
	}
	free(ns->path);
	ns->path = xstrdup(path);
	return 0;
}

void netns_close(struct netns *ns)
{
	if (!ns)
		return;
	nlsock_close(&ns->rt);
	nlsock_close(&ns->genl);
	nlsock_close(&ns->xfrm);
	watch_close(ns);
	netns_rest(ns);
	if (ns->fd >= 0)
		close(ns->fd);
	free(ns->path);
	free(ns);
}

static int need(struct netns *ns, struct nlsock *nl, int protocol, struct error *err)
{
	int back, r;

	if (nl->sock)
		return 0;
	if (netns_enter(ns, &back, err) < 0)
		return -1;
	r = nlsock_open(nl, protocol, err);
	netns_leave(back);
	return r;
}

int netns_need_xfrm(struct netns *ns, struct error *err)
{
	return need(ns, &ns->xfrm, NETLINK_XFRM, err);
}

static bool on_family(void *data, const struct nlmsghdr *nlh, struct error *err)
{
	struct netns *ns = data;
	struct nlattr *tb[CTRL_ATTR_MAX + 1];

	if (nlmsg_parse((struct nlmsghdr *)nlh, GENL_HDRLEN, tb, CTRL_ATTR_MAX, NULL) >= 0 &&
	    tb[CTRL_ATTR_FAMILY_ID] && nla_len(tb[CTRL_ATTR_FAMILY_ID]) >= 2)
		ns->ipvs_family = nla_get_u16(tb[CTRL_ATTR_FAMILY_ID]);
	return true;
}

int netns_need_genl(struct netns *ns, struct error *err)
{
	struct genlmsghdr header = {.cmd = CTRL_CMD_GETFAMILY, .version = 1};
	struct nl_msg *msg;
	int r;

	if (need(ns, &ns->genl, NETLINK_GENERIC, err) < 0)
		return -1;
	if (ns->ipvs_family)
		return 0;
	msg = nlsock_msg(GENL_ID_CTRL, 0, &header, sizeof(header));
	nla_put_string(msg, CTRL_ATTR_FAMILY_NAME, "IPVS");
	r = nlsock_read(&ns->genl, msg, on_family, ns, err);
	nlmsg_free(msg);
	if (r < 0 || !ns->ipvs_family)
		return error_set(err, ERR_UNIMPLEMENTED, "this kernel has no IPVS");
	return 0;
}

/* ---------------------------------------------------------------- links by name */

static bool on_index(void *data, const struct nlmsghdr *nlh, struct error *err)
{
	const struct ifinfomsg *ifi = nlsock_header(nlh, sizeof(*ifi));

	if (ifi)
		*(int *)data = ifi->ifi_index;
	return true;
}

int netns_link_index(struct netns *ns, const char *name)
{
	struct ifinfomsg header = {.ifi_family = AF_UNSPEC};
	struct nl_msg *msg = nlsock_msg(RTM_GETLINK, 0, &header, sizeof(header));
	int index = 0;

	nla_put_string(msg, IFLA_IFNAME, name);
	if (nlsock_read(&ns->rt, msg, on_index, &index, NULL) < 0)
		index = 0;
	nlmsg_free(msg);
	return index;
}
