/*
 * net_nodes - nodes of a cluster in one process tree: each a child process in a network namespace of its own with a struct
 * net, joined by a bridge that stands in another one. The test talks to them by messages; it makes its own traffic from
 * inside the namespaces. Everything is gone when the processes are.
 */
#pragma once
#include "agent/net/net.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/loop.h"
#include "common/mem.h"
#include "support/net_fixture.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum node_op { NODE_STATE, NODE_BEGIN, NODE_ATTACH, NODE_ADOPT, NODE_DETACH, NODE_AWAIT, NODE_DRAIN, NODE_CHECK, NODE_REPAIR, NODE_FEATURES, NODE_RESTART,
	       NODE_LEAVE, NODE_ATTACH_SHUT, NODE_ADOPT_SHUT, NODE_ADOPT_CUT, NODE_CUT, NODE_OPEN,
	       NODE_CAN_MOVE, NODE_EXPORT, NODE_IMPORT, NODE_QUIT };

struct node_message {
	uint32_t op, len;
	int64_t value;
};

/* ---------------------------------------------------------------- the child */

struct node_child {
	uv_loop_t loop;
	uv_poll_t poll;
	int fd;
	struct net *net;
	struct net_options options;
	const char *id, *address;
	bool restart;
};

static inline void child_answer(struct node_child *c, int code, const char *text)
{
	struct node_message m = {.op = (uint32_t)code, .len = (uint32_t)strlen(text) + 1};

	if (write(c->fd, &m, sizeof(m)) != sizeof(m) || write(c->fd, text, m.len) != (ssize_t)m.len)
		_exit(3);
}

static inline void child_done(void *data, const struct error *err)
{
	child_answer(data, err ? (int)err->code : 0, err ? err->msg : "");
}

static inline void child_attached(void *data, const struct net_attachment *a, const struct error *err)
{
	child_answer(data, err ? (int)err->code : 0, err ? err->msg : a->netns);
}

static inline void child_served(void *data, const char *missing)
{
	child_answer(data, 0, missing ? missing : "served");
}

static inline void child_exported(void *data, const uint8_t *bytes, size_t len, const struct error *err)
{
	struct node_child *c = data;
	_cleanup_free_ char *path = xasprintf("%s/flows", c->options.run_dir);
	FILE *f = err ? NULL : fopen(path, "we");

	if (f) {
		if (fwrite(bytes, 1, len, f) != len)
			_exit(6);
		fclose(f);
	}
	child_answer(c, err ? (int)err->code : 0, err ? err->msg : path);
}

/* "TASK FROM PATH" */
static inline void child_import(struct node_child *c, const char *body)
{
	char task[64], from[64], path[128];
	static uint8_t bytes[1 << 20];
	size_t len;
	FILE *f;

	if (sscanf(body, "%63s %63s %127s", task, from, path) != 3 || !(f = fopen(path, "re")))
		_exit(6);
	len = fread(bytes, 1, sizeof(bytes), f);
	fclose(f);
	net_import_flows(c->net, task, from, bytes, len, child_done, c);
}

static inline void child_checked(void *data, const Skein__CheckNetResponse *r, const struct error *err)
{
	struct strbuf b = {0};

	for (size_t i = 0; r && i < r->n_differences; i++)
		strbuf_printf(&b, "%s %s: wanted %s, found %s%s\n", r->differences[i]->network, r->differences[i]->what,
			      r->differences[i]->wanted, r->differences[i]->found, r->differences[i]->repaired ? ", repaired" : "");
	child_answer(data, err ? (int)err->code : 0, err ? err->msg : b.p ? b.p : "");
	strbuf_fini(&b);
}

static inline void child_ready(void *data, const struct error *err)
{
	child_done(data, err);
}

static inline void child_start(struct node_child *c)
{
	c->net = net_new(&c->options, child_ready, c);
	net_set_node(c->net, c->id, c->address);
}

static inline void child_closed(void *data)
{
	struct node_child *c = data;

	if (c->restart)
		child_start(c); /* which answers */
	else
		uv_close((uv_handle_t *)&c->poll, NULL);
}

static inline void child_run(struct node_child *c, const struct node_message *m, void *body)
{
	struct error err = ERROR_INIT;
	pb_task *task;
	pb_net_state *state;
	pb_node_description *desc;
	struct strbuf b = {0};

	switch ((enum node_op)m->op) {
	case NODE_STATE:
		state = pb_unpack(&skein__net_state__descriptor, body, m->len);
		if (!state || net_apply(c->net, state, &err) == 0)
			child_answer(c, state ? 0 : 13, "");
		else
			child_done(c, &err);
		pb_free(state);
		break;
	case NODE_BEGIN:
		net_begin(c->net);
		child_answer(c, 0, "");
		break;
	case NODE_ATTACH:
	case NODE_ADOPT:
		task = pb_unpack(&skein__task__descriptor, body, m->len);
		(m->op == NODE_ATTACH ? net_attach : net_adopt)(c->net, task, child_attached, c);
		pb_free(task);
		break;
	case NODE_ATTACH_SHUT:
		task = pb_unpack(&skein__task__descriptor, body, m->len);
		net_attach_shut(c->net, task, child_attached, c);
		pb_free(task);
		break;
	case NODE_ADOPT_SHUT:
	case NODE_ADOPT_CUT:
		task = pb_unpack(&skein__task__descriptor, body, m->len);
		net_adopt_as(c->net, task, m->op == NODE_ADOPT_SHUT ? NET_SHUT : NET_CUT, child_attached, c);
		pb_free(task);
		break;
	case NODE_EXPORT: /* the answer is the name of a file */
		net_export_flows(c->net, body, child_exported, c);
		break;
	case NODE_IMPORT:
		child_import(c, body);
		break;
	case NODE_CAN_MOVE:
		task = pb_unpack(&skein__task__descriptor, body, m->len);
		net_can_move(c->net, task, &err);
		child_done(c, error_is_set(&err) ? &err : NULL);
		pb_free(task);
		break;
	case NODE_CUT:
	case NODE_OPEN:
		(m->op == NODE_CUT ? net_cut : net_open)(c->net, body, child_done, c);
		break;
	case NODE_DETACH:
		net_detach(c->net, body, child_done, c);
		break;
	case NODE_AWAIT: /* the image exposes 81 */
		if (!net_await(c->net, body, (uint16_t[]){81}, 1, m->value, child_served, c))
			child_answer(c, 0, "nothing");
		break;
	case NODE_DRAIN:
		net_drain(c->net, body, m->value, child_done, c);
		break;
	case NODE_CHECK:
	case NODE_REPAIR:
		net_check(c->net, body, m->op == NODE_REPAIR, child_checked, c);
		break;
	case NODE_FEATURES:
		desc = pb_new(&skein__node_description__descriptor);
		net_features(c->net, desc);
		for (size_t i = 0; i < desc->n_features; i++)
			strbuf_printf(&b, "%s=%s\n", desc->features[i]->key, desc->features[i]->value);
		child_answer(c, 0, b.p ? b.p : "");
		strbuf_fini(&b);
		pb_free(desc);
		break;
	case NODE_LEAVE:
		net_leave(c->net, child_done, c);
		break;
	case NODE_RESTART:
	case NODE_QUIT:
		c->restart = m->op == NODE_RESTART;
		net_close(c->net, child_closed, c);
		break;
	}
}

static inline bool node_read_all(int fd, void *buf, size_t n)
{
	for (size_t done = 0; done < n;) {
		ssize_t r = read(fd, (char *)buf + done, n - done);

		if (r < 0 && errno == EAGAIN) { /* the loop has made it non-blocking */
			poll(&(struct pollfd){fd, POLLIN, 0}, 1, -1);
			continue;
		}
		if (r <= 0)
			return false;
		done += (size_t)r;
	}
	return true;
}

static inline void child_readable(uv_poll_t *poll, int status, int events)
{
	struct node_child *c = poll->data;
	struct node_message m;
	_cleanup_free_ char *body = NULL;

	if (!node_read_all(c->fd, &m, sizeof(m)))
		_exit(0); /* the test is over */
	body = xcalloc(1, m.len + 1);
	if (!node_read_all(c->fd, body, m.len))
		_exit(0);
	child_run(c, &m, body);
}

/* ---------------------------------------------------------------- the test's side */

struct node {
	pid_t pid;
	int fd;
	char id[32], address[64], dir[128];
};

static inline int node_open_ns(pid_t pid)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/ns/net", pid);

	return open(path, O_RDONLY | O_CLOEXEC);
}

#define run_ok(...)                                                                                \
	do {                                                                                       \
		_cleanup_free_ char *cmd_ = xasprintf(__VA_ARGS__);                                \
		int r_ = system(cmd_);                                                             \
		if (r_ != 0)                                                                       \
			fail_msg("exit %d of: %s", r_, cmd_);                                      \
	} while (0)

/* A child in a fresh network namespace; it waits until `go` is written to. */
static inline pid_t node_fork(int *ret_fd)
{
	int fds[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		abort();
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(fds[0]);
		if (unshare(CLONE_NEWNET) < 0)
			_exit(1);
		if (write(fds[1], "r", 1) != 1)
			_exit(1);
		*ret_fd = fds[1];
		return 0;
	}
	close(fds[1]);
	fcntl(fds[0], F_SETFD, FD_CLOEXEC);
	*ret_fd = fds[0];
	if (!node_read_all(fds[0], &(char){0}, 1))
		abort();
	return pid;
}

/* The wire between the nodes. */
static inline pid_t underlay_new(unsigned mtu)
{
	int fd;
	pid_t pid = node_fork(&fd);

	if (pid == 0) {
		for (;;)
			pause();
	}
	run_ok("nsenter -t %d -n sh -c 'ip link set lo up; ip link add name wire type bridge; ip link set dev wire mtu %u up'", pid, mtu);
	return pid;
}

static inline void underlay_join(pid_t underlay, pid_t pid, const char *name, const char *addresses, unsigned mtu)
{
	run_ok("nsenter -t %d -n ip link add u-%s mtu %u type veth peer name eth0 mtu %u netns %d", underlay, name, mtu, mtu, pid);
	run_ok("nsenter -t %d -n ip link set u-%s master wire up", underlay, name);
	run_ok("nsenter -t %d -n sh -c 'echo 0 > /proc/sys/net/ipv6/conf/eth0/accept_dad; ip link set lo up; ip link set eth0 up; "
	       "for a in %s; do ip addr add $a dev eth0 nodad; done'",
	       pid, addresses);
}

static inline void node_died(struct node *n, int op)
{
	int status = 0;

	waitpid(n->pid, &status, 0);
	fail_msg("node %s died (operation %d, exit %d, signal %d)", n->id, op, WIFEXITED(status) ? WEXITSTATUS(status) : -1,
		 WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

static inline char *node_call_raw(struct node *n, enum node_op op, const void *body, size_t len, int64_t value, int *ret_code)
{
	struct node_message m = {.op = op, .len = (uint32_t)len, .value = value};
	char *text;

	if (write(n->fd, &m, sizeof(m)) != sizeof(m) || (len && write(n->fd, body, len) != (ssize_t)len))
		node_died(n, (int)op);
	if (!node_read_all(n->fd, &m, sizeof(m)))
		node_died(n, (int)op);
	text = xcalloc(1, m.len + 1);
	if (!node_read_all(n->fd, text, m.len))
		node_died(n, (int)op);
	*ret_code = (int)m.op;
	return text;
}

/* The answer's text, yours; fails the test when it is an error. */
static inline char *node_call(struct node *n, enum node_op op, const char *body, int64_t value)
{
	int code;
	char *text = node_call_raw(n, op, body, body ? strlen(body) + 1 : 0, value, &code);

	if (code)
		fail_msg("node %s, operation %d: %s", n->id, op, text);
	return text;
}

static inline void node_do(struct node *n, enum node_op op, const char *body, int64_t value)
{
	free(node_call(n, op, body, value));
}

static inline void node_run(struct node *n, const char *balancer)
{
	struct node_child c = {.fd = n->fd, .id = n->id, .address = n->address};
	char go;

	if (!node_read_all(n->fd, &go, 1))
		_exit(1);
	uv_loop_init(&c.loop);
	c.options = (struct net_options){.loop = &c.loop, .state_dir = n->dir, .run_dir = n->dir, .balancer = balancer};
	uv_poll_init(&c.loop, &c.poll, c.fd);
	c.poll.data = &c;
	uv_poll_start(&c.poll, UV_READABLE, child_readable);
	child_start(&c);
	uv_run(&c.loop, UV_RUN_DEFAULT);
	uv_run(&c.loop, UV_RUN_DEFAULT);
	exit(uv_loop_close(&c.loop) == 0 ? 0 : 4); /* 4: a handle was left open */
}

/* addresses: "10.77.0.1/24 fd77::1/64"; the first one is the node's. The answer of net_new()'s ready must be good. */
static inline void node_start(struct node *n, pid_t underlay, const char *id, const char *addresses, const char *dir,
			      const char *balancer)
{
	_cleanup_free_ char *text = NULL;
	struct node_message m;

	*n = (struct node){.fd = -1};
	snprintf(n->id, sizeof(n->id), "%s", id);
	snprintf(n->address, sizeof(n->address), "%.*s", (int)strcspn(addresses, "/"), addresses);
	snprintf(n->dir, sizeof(n->dir), "%s/%s", dir, id);
	mkdir(n->dir, 0700);
	n->pid = node_fork(&n->fd);
	if (n->pid == 0)
		node_run(n, balancer);
	underlay_join(underlay, n->pid, id, addresses, 1500);
	assert_int_equal(write(n->fd, "g", 1), 1);
	assert_true(node_read_all(n->fd, &m, sizeof(m)));
	text = xcalloc(1, m.len + 1);
	assert_true(node_read_all(n->fd, text, m.len));
	if (m.op)
		fail_msg("node %s: %s", id, text);
}

static inline void node_send_state(struct node *n, const pb_net_state *s)
{
	size_t len = protobuf_c_message_get_packed_size(&s->base);
	_cleanup_free_ uint8_t *bytes = xmalloc(len + 1);
	_cleanup_free_ char *text = NULL;
	int code;

	protobuf_c_message_pack(&s->base, bytes);
	text = node_call_raw(n, NODE_STATE, bytes, len, 0, &code);
	if (code)
		fail_msg("node %s: state: %s", n->id, text);
}

/* Path of the task's namespace (or the error's text, code set). Yours. */
static inline char *node_task(struct node *n, enum node_op op, const pb_task *task, int *ret_code)
{
	size_t len = protobuf_c_message_get_packed_size(&task->base);
	_cleanup_free_ uint8_t *bytes = xmalloc(len + 1);

	protobuf_c_message_pack(&task->base, bytes);
	return node_call_raw(n, op, bytes, len, 0, ret_code);
}

static inline int node_quit(struct node *n)
{
	struct node_message m = {.op = NODE_QUIT};
	int status = -1;

	if (write(n->fd, &m, sizeof(m)) == sizeof(m))
		waitpid(n->pid, &status, 0);
	close(n->fd);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* The directory of all nodes, with the namespaces that are still bound there. */
static inline void nodes_clean(const char *dir)
{
	run_ok("for f in %s/*/net/* %s/*/net/.[!.]*; do umount -l $f 2>/dev/null; done; rm -rf --one-file-system %s", dir, dir, dir);
}

/* ---------------------------------------------------------------- traffic */

static inline int ns_of_path(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		fail_msg("open %s: %s", path, strerror(errno));
	return fd;
}

/* A socket in another namespace: it stays there. */
static inline int ns_socket(int ns, int family, int type)
{
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd;

	assert_int_equal(setns(ns, CLONE_NEWNET), 0);
	fd = socket(family, type | SOCK_CLOEXEC, 0);
	assert_int_equal(setns(home, CLONE_NEWNET), 0);
	close(home);
	assert_true(fd >= 0);
	return fd;
}

static inline socklen_t sockaddr_of(const char *address, uint16_t port, struct sockaddr_storage *ret)
{
	struct sockaddr_in *in = (void *)ret;
	struct sockaddr_in6 *in6 = (void *)ret;

	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, address, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		return sizeof(*in);
	}
	assert_int_equal(inet_pton(AF_INET6, address, &in6->sin6_addr), 1);
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	return sizeof(*in6);
}

static inline void set_timeout(int fd, int ms)
{
	struct timeval tv = {ms / 1000, ms % 1000 * 1000};

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv));
}

/* A connected socket; -1 with errno. */
static inline int ns_connect(int ns, const char *address, uint16_t port, int type)
{
	struct sockaddr_storage sa;
	socklen_t len = sockaddr_of(address, port, &sa);
	int fd = ns_socket(ns, sa.ss_family, type), e;

	set_timeout(fd, 3000);
	if (connect(fd, (struct sockaddr *)&sa, len) == 0)
		return fd;
	e = errno;
	close(fd);
	errno = e;
	return -1;
}

/* One question on a socket; answer into buf, "" when there is none. */
static inline const char *ask_on(int fd, char *buf, size_t size)
{
	ssize_t n = send(fd, "who\n", 4, MSG_NOSIGNAL);

	if (n == 4)
		n = recv(fd, buf, size - 1, 0);
	buf[n > 0 ? n : 0] = 0;
	return buf;
}

/* "name client-address", or "error: ..." */
static inline const char *ask(int ns, const char *address, uint16_t port, int type, char *buf, size_t size)
{
	int fd = ns_connect(ns, address, port, type);

	if (fd < 0) {
		snprintf(buf, size, "error: %s", strerror(errno));
		return buf;
	}
	ask_on(fd, buf, size);
	close(fd);
	return buf;
}

static inline void peer_text(const struct sockaddr_storage *sa, char *ret, size_t size)
{
	const struct sockaddr_in *in = (const void *)sa;
	const struct sockaddr_in6 *in6 = (const void *)sa;

	if (sa->ss_family == AF_INET)
		inet_ntop(AF_INET, &in->sin_addr, ret, (socklen_t)size);
	else if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
		inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], ret, (socklen_t)size);
	else
		inet_ntop(AF_INET6, &in6->sin6_addr, ret, (socklen_t)size);
}

static inline int server_socket(int type, uint16_t port)
{
	struct sockaddr_in6 sa = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	int fd = socket(AF_INET6, type, 0), on = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || (type == SOCK_STREAM && listen(fd, 64) < 0)) {
		perror("bind or listen in a task's namespace");
		_exit(5);
	}
	return fd;
}

static inline void serve_datagram(int fd, const char *name)
{
	char in[64], out[128], peer[INET6_ADDRSTRLEN];
	struct sockaddr_storage sa;
	socklen_t len = sizeof(sa);

	if (recvfrom(fd, in, sizeof(in), 0, (struct sockaddr *)&sa, &len) < 0)
		return;
	peer_text(&sa, peer, sizeof(peer));
	snprintf(out, sizeof(out), "%s %s", name, peer);
	sendto(fd, out, strlen(out), 0, (struct sockaddr *)&sa, len); /* it does not say from where */
}

/* Answers each line on TCP 80 and each datagram on UDP 5300 with "name client-address", IPv4 and IPv6. */
static inline pid_t server_start(const char *path, const char *name)
{
	int ready[2], ns = ns_of_path(path);
	pid_t pid;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid) {
		close(ready[1]);
		assert_int_equal(read(ready[0], &(char){0}, 1), 1);
		close(ready[0]);
		close(ns);
		return pid;
	}
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (setns(ns, CLONE_NEWNET) < 0)
		_exit(1);
	struct pollfd fds[66] = {{server_socket(SOCK_STREAM, 80), POLLIN, 0}, {server_socket(SOCK_DGRAM, 5300), POLLIN, 0}};
	char peers[66][INET6_ADDRSTRLEN];
	int n = 2;

	if (write(ready[1], "r", 1) != 1)
		_exit(1);
	for (;;) {
		poll(fds, (nfds_t)n, -1);
		if (fds[1].revents)
			serve_datagram(fds[1].fd, name);
		for (int i = 2; i < n; i++) {
			char buf[64], out[128];

			if (!fds[i].revents)
				continue;
			if (read(fds[i].fd, buf, sizeof(buf)) <= 0) {
				close(fds[i].fd);
				fds[i] = fds[--n];
				memcpy(peers[i], peers[n], sizeof(peers[i]));
				break;
			}
			snprintf(out, sizeof(out), "%s %s", name, peers[i]);
			if (write(fds[i].fd, out, strlen(out)) < 0)
				continue;
		}
		if (fds[0].revents && n < 66) {
			struct sockaddr_storage sa;
			socklen_t len = sizeof(sa);

			fds[n] = (struct pollfd){accept(fds[0].fd, (struct sockaddr *)&sa, &len), POLLIN, 0};
			peer_text(&sa, peers[n], sizeof(peers[n]));
			n++;
		}
	}
}
