/*
 * dns_world - names over real sockets: a task's namespace with nothing but its loopback, resolvers on this host's loopback that
 * behave as each test wants, and dig(1) as the judge. Needs root.
 */
#pragma once
#include "support/dns_fixture.h"

#include "agent/net/dns.h"
#include "agent/net/dns_conf.h"
#include "agent/net/plan.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/proc.h"
#include "netoverlay/netns.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define UPSTREAMS 3
#define WAIT_NS (30 * NS_PER_SEC)
#define IN_FLIGHT_MAX 100 /* as dns.c bounds them for each task */

/* ---------------------------------------------------------------- resolvers */

enum behaviour {
	ANSWER,          /* 192.0.2.<number of the resolver> */
	SILENT,
	FAIL,            /* SERVFAIL */
	NO_SUCH_NAME,
	TRUNCATE,        /* by UDP; 40 addresses by TCP */
	LIE_FIRST,       /* wrong id, wrong name, then the answer */
};

struct upstream {
	uv_udp_t udp;
	uv_tcp_t tcp;
	uint8_t last;    /* byte of its answers */
	enum behaviour behaviour;
	unsigned by_udp, by_tcp;
	char buf[DNS_PACKET_MAX];
};

/* The question as it came, marked as an answer, with n addresses. */
static inline size_t make_answer(const uint8_t *query, size_t len, uint8_t last, size_t n, uint8_t *out)
{
	size_t at = DNS_HEADER_BYTES;

	while (query[at])
		at += 1 + query[at];
	at += 5;
	assert_true(at <= len);
	memcpy(out, query, at);
	memset(out + 6, 0, 6);
	out[2] |= 0x80;
	out[3] |= 0x80;
	out[7] = (uint8_t)n;
	for (size_t i = 0; i < n; i++) {
		const uint8_t record[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, (uint8_t)(last + i)};

		memcpy(out + at, record, sizeof(record));
		at += sizeof(record);
	}
	return at;
}

static inline void send_datagram(struct upstream *u, const uint8_t *packet, size_t len, const struct sockaddr *to)
{
	uv_buf_t buf = uv_buf_init((char *)packet, (unsigned)len);

	assert_true(uv_udp_try_send(&u->udp, &buf, 1, to) > 0);
}

static inline void answer_datagram(struct upstream *u, const uint8_t *query, size_t len, const struct sockaddr *from)
{
	uint8_t out[2048];
	size_t n = make_answer(query, len, u->last, u->behaviour == ANSWER || u->behaviour == LIE_FIRST, out);

	switch (u->behaviour) {
	case SILENT:
		return;
	case FAIL:
		out[3] |= DNS_SERVFAIL;
		break;
	case NO_SUCH_NAME:
		out[3] |= DNS_NXDOMAIN;
		break;
	case TRUNCATE:
		out[2] |= 0x02;
		break;
	case LIE_FIRST:
		out[0] ^= 1;
		out[n - 1] = 66;
		send_datagram(u, out, n, from);
		out[0] ^= 1;
		out[13] ^= 1;
		send_datagram(u, out, n, from);
		out[13] ^= 1;
		send_datagram(u, out, 5, from);
		out[n - 1] = u->last;
		break;
	case ANSWER:
		break;
	}
	send_datagram(u, out, n, from);
}

static inline void on_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct upstream *u = handle->data;

	*buf = uv_buf_init(u->buf, sizeof(u->buf));
}

static inline void on_question(uv_udp_t *udp, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from, unsigned flags)
{
	struct upstream *u = udp->data;

	if (n <= 0)
		return;
	u->by_udp++;
	answer_datagram(u, (const uint8_t *)buf->base, (size_t)n, from);
}

static inline void on_closed_free(uv_handle_t *handle)
{
	free(handle);
}

static inline void on_tcp_question(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct upstream *u = stream->data;
	uint8_t out[4096];
	size_t len;
	uv_buf_t answer;

	if (n < 0) {
		uv_close((uv_handle_t *)stream, on_closed_free);
		return;
	}
	u->by_tcp++;
	len = make_answer((const uint8_t *)buf->base + 2, (size_t)n - 2, u->last, 40, out + 2);
	out[0] = (uint8_t)(len >> 8);
	out[1] = (uint8_t)len;
	answer = uv_buf_init((char *)out, (unsigned)len + 2);
	assert_int_equal(uv_try_write(stream, &answer, 1), len + 2);
}

static inline void on_tcp_client(uv_stream_t *server, int status)
{
	uv_tcp_t *c = xnew(uv_tcp_t);

	uv_tcp_init(server->loop, c);
	c->data = server->data;
	assert_int_equal(uv_accept(server, (uv_stream_t *)c), 0);
	uv_read_start((uv_stream_t *)c, on_buffer, on_tcp_question);
}

/* ---------------------------------------------------------------- the world */

struct world {
	uv_loop_t loop;
	struct model *model;
	struct dns *dns;
	struct upstream upstreams[UPSTREAMS];
	uint16_t port;
	char dir[64], *resolv;
	int ns;
	pb_task *task;
	unsigned opened; /* sockets in the task's namespace, for resolvers there */
	bool closed;
};

static struct world w;

static inline void on_tick(uv_timer_t *timer)
{
}

#define until(condition)                                                                           \
	do {                                                                                       \
		int64_t end_ = clock_mono_ns() + WAIT_NS;                                          \
		uv_timer_t tick_;                                                                  \
		uv_timer_init(&w.loop, &tick_);                                                    \
		uv_timer_start(&tick_, on_tick, 5, 5);                                             \
		while (!(condition)) {                                                             \
			if (clock_mono_ns() > end_)                                                \
				fail_msg("gave up waiting for: %s", #condition);                   \
			uv_run(&w.loop, UV_RUN_ONCE);                                              \
		}                                                                                  \
		uv_close((uv_handle_t *)&tick_, NULL);                                             \
		uv_run(&w.loop, UV_RUN_NOWAIT);                                                    \
	} while (0)

struct inside {
	void (*fn)(void *data);
	void *data;
};

static inline void *run_inside(void *data)
{
	struct inside *in = data;

	assert_int_equal(setns(w.ns, CLONE_NEWNET), 0);
	in->fn(in->data);
	return NULL;
}

/* In a thread of its own inside the task's namespace. */
static inline void inside(void (*fn)(void *data), void *data)
{
	struct inside in = {fn, data};
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, run_inside, &in), 0);
	pthread_join(thread, NULL);
}

static inline void *make_namespace(void *data)
{
	struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING};
	int fd;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	fd = socket(AF_INET, SOCK_DGRAM, 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
	close(fd);
	w.ns = open("/proc/thread-self/ns/net", O_RDONLY);
	assert_true(w.ns >= 0);
	return NULL;
}

struct opening {
	struct dns_sockets sockets;
	struct error err;
	int r;
};

static inline void open_sockets(void *data)
{
	struct opening *o = data;

	o->r = dns_sockets_open(&o->sockets, &o->err);
}

/* As the agent prepares each task's namespace. */
static inline void load_ruleset(void *data)
{
	struct error err = ERROR_INIT;
	struct netns *here = netns_open(NULL, NULL, &err);

	if (!here || netns_nft(here, plan_names_text(), NULL, &err) < 0)
		fail_msg("%s", err.msg);
	netns_close(here);
}

struct asked_for {
	uv_timer_t timer;
	int family, type, fd;
	dns_opened_cb done;
	void *data;
};

static inline void open_one_inside(void *data)
{
	struct asked_for *a = data;

	a->fd = socket(a->family, a->type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

static inline void on_timer_closed(uv_handle_t *handle)
{
	free(handle);
}

static inline void on_asked_for(uv_timer_t *timer)
{
	struct asked_for *a = (struct asked_for *)timer;

	inside(open_one_inside, a);
	a->done(a->data, a->fd);
	uv_close((uv_handle_t *)timer, on_timer_closed);
}

/* Later, as from the agent's thread. */
static inline void open_for_dns(void *data, const char *task_id, int family, int type, dns_opened_cb done, void *done_data)
{
	struct asked_for *a = xnew(struct asked_for);

	a->family = family;
	a->type = type;
	a->done = done;
	a->data = done_data;
	w.opened++;
	uv_timer_init(&w.loop, &a->timer);
	uv_timer_start(&a->timer, on_asked_for, 1, 0);
}

static inline void attach(void)
{
	struct opening o = {.err = ERROR_INIT};

	inside(open_sockets, &o);
	if (o.r < 0)
		fail_msg("%s", o.err.msg);
	dns_attach(w.dns, w.task, &o.sockets);
}

static inline void attach_again(void)
{
	dns_detach(w.dns, w.task->id);
	attach();
}

static inline void write_resolv(const char *text)
{
	struct error err = ERROR_INIT;

	if (file_write(w.resolv, text, strlen(text), 0644, &err) < 0)
		fail_msg("%s", err.msg);
}

static inline void open_upstream(struct upstream *u, unsigned i)
{
	struct sockaddr_in a;
	char ip[32];
	int len = sizeof(a);

	snprintf(ip, sizeof(ip), "127.0.7.%u", i + 1);
	uv_ip4_addr(ip, w.port, &a);
	uv_tcp_init(&w.loop, &u->tcp);
	uv_udp_init(&w.loop, &u->udp);
	u->tcp.data = u->udp.data = u;
	u->last = (uint8_t)(i + 1);
	assert_int_equal(uv_tcp_bind(&u->tcp, (struct sockaddr *)&a, 0), 0);
	assert_int_equal(uv_listen((uv_stream_t *)&u->tcp, 16, on_tcp_client), 0);
	assert_int_equal(uv_tcp_getsockname(&u->tcp, (struct sockaddr *)&a, &len), 0);
	w.port = ntohs(a.sin_port);
	assert_int_equal(uv_udp_bind(&u->udp, (struct sockaddr *)&a, 0), 0);
	assert_int_equal(uv_udp_recv_start(&u->udp, on_buffer, on_question), 0);
}

static inline pb_task *make_task(void)
{
	pb_task *t = pb_new(&skein__task__descriptor);
	pb_attachment *a = pb_new(&skein__network_attachment__descriptor);

	pb_set_str(&t->id, "askeraskeraskeraskerasker");
	t->spec = pb_new(&skein__task_spec__descriptor);
	t->spec->container = pb_new(&skein__container_spec__descriptor);
	pb_set_str(&a->network_id, "front-id");
	pb_set_str(&a->ipv4, "10.0.1.40/24");
	pb_msgs_add(&t->n_networks, &t->networks, a);
	return t;
}

static inline int setup(void **state)
{
	struct dns_options options = {.loop = &w.loop, .open = open_for_dns};
	pthread_t thread;

	memset(&w, 0, sizeof(w));
	uv_loop_init(&w.loop);
	strcpy(w.dir, "/tmp/skein-dns-XXXXXX");
	assert_non_null(mkdtemp(w.dir));
	w.resolv = xasprintf("%s/resolv.conf", w.dir);
	write_resolv("nameserver 127.0.7.1\nnameserver 127.0.7.2\nnameserver 127.0.7.3\nsearch corp.example\n");
	assert_int_equal(pthread_create(&thread, NULL, make_namespace, NULL), 0);
	pthread_join(thread, NULL);
	inside(load_ruleset, NULL);
	for (unsigned i = 0; i < UPSTREAMS; i++)
		open_upstream(&w.upstreams[i], i);
	w.model = dns_model();
	w.task = make_task();
	options.model = w.model;
	options.resolv_path = w.resolv;
	options.upstream_port = w.port;
	w.dns = dns_new(&options);
	attach();
	return 0;
}

static inline void on_closed(void *data)
{
	w.closed = true;
}

static inline int teardown(void **state)
{
	dns_close(w.dns, on_closed, NULL);
	until(w.closed);
	for (unsigned i = 0; i < UPSTREAMS; i++) {
		uv_close((uv_handle_t *)&w.upstreams[i].udp, NULL);
		uv_close((uv_handle_t *)&w.upstreams[i].tcp, NULL);
	}
	uv_run(&w.loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&w.loop), 0); /* nothing was left open */
	model_free(w.model);
	pb_free(w.task);
	close(w.ns);
	file_remove_tree(w.dir, NULL);
	free(w.resolv);
	return 0;
}

/* ---------------------------------------------------------------- dig */

struct dig {
	bool ended;
	char text[65536];
};

static inline void on_dig(void *data, struct proc *proc, const struct proc_exit *exit)
{
	struct dig *d = data;

	d->ended = true;
	snprintf(d->text, sizeof(d->text), "%s", exit->out);
}

static const char *const quick[] = {"+tries=1", "+time=10", "@" DNS_CONF_OURS};

/* Its output for arguments apart by spaces; valid until the next one. */
static inline const char *dig(const char *arguments)
{
	static struct dig d;
	_cleanup_free_ char *ns = xasprintf("--net=/proc/%d/fd/%d", (int)getpid(), w.ns), *copy = xstrdup(arguments);
	_cleanup_strv_ struct strv argv = {0};
	struct proc_options options = {.max_capture = sizeof(d.text), .timeout_ms = 30000, .on_exit = on_dig, .data = &d};
	struct error err = ERROR_INIT;
	char *save = NULL;

	strv_add(&argv, "nsenter");
	strv_add(&argv, ns);
	strv_add(&argv, "dig");
	for (size_t i = 0; i < ARRAY_SIZE(quick); i++)
		strv_add(&argv, quick[i]);
	for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
		strv_add(&argv, word);
	options.argv = (const char *const *)argv.v;
	d.ended = false;
	if (!proc_spawn(&w.loop, &options, &err))
		fail_msg("%s", err.msg);
	until(d.ended);
	return d.text;
}

static inline void says(const char *arguments, const char *want)
{
	const char *got = dig(arguments);

	if (strcmp(got, want) != 0)
		fail_msg("dig %s: got\n%s\nwant\n%s", arguments, got, want);
}

static inline void contains(const char *arguments, const char *want)
{
	const char *got = dig(arguments);

	if (!strstr(got, want))
		fail_msg("dig %s: no \"%s\" in\n%s", arguments, want, got);
}
