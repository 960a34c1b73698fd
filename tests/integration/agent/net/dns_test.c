/*
 * Names over real sockets: a task's namespace with nothing but its loopback, resolvers on this host's loopback that behave as
 * each test wants, and dig(1) as the judge. Needs root.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/dns_fixture.h"

#include "agent/net/dns.h"
#include "agent/net/dns_conf.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/proc.h"

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
static size_t make_answer(const uint8_t *query, size_t len, uint8_t last, size_t n, uint8_t *out)
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

static void send_datagram(struct upstream *u, const uint8_t *packet, size_t len, const struct sockaddr *to)
{
	uv_buf_t buf = uv_buf_init((char *)packet, (unsigned)len);

	assert_true(uv_udp_try_send(&u->udp, &buf, 1, to) > 0);
}

static void answer_datagram(struct upstream *u, const uint8_t *query, size_t len, const struct sockaddr *from)
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

static void on_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct upstream *u = handle->data;

	*buf = uv_buf_init(u->buf, sizeof(u->buf));
}

static void on_question(uv_udp_t *udp, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from, unsigned flags)
{
	struct upstream *u = udp->data;

	if (n <= 0)
		return;
	u->by_udp++;
	answer_datagram(u, (const uint8_t *)buf->base, (size_t)n, from);
}

static void on_closed_free(uv_handle_t *handle)
{
	free(handle);
}

static void on_tcp_question(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
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

static void on_tcp_client(uv_stream_t *server, int status)
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
	bool closed;
};

static struct world w;

static void on_tick(uv_timer_t *timer)
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

static void *run_inside(void *data)
{
	struct inside *in = data;

	assert_int_equal(setns(w.ns, CLONE_NEWNET), 0);
	in->fn(in->data);
	return NULL;
}

/* In a thread of its own inside the task's namespace. */
static void inside(void (*fn)(void *data), void *data)
{
	struct inside in = {fn, data};
	pthread_t thread;

	assert_int_equal(pthread_create(&thread, NULL, run_inside, &in), 0);
	pthread_join(thread, NULL);
}

static void *make_namespace(void *data)
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

static void open_sockets(void *data)
{
	struct opening *o = data;

	o->r = dns_sockets_open(&o->sockets, &o->err);
}

static void attach(void)
{
	struct opening o = {.err = ERROR_INIT};

	inside(open_sockets, &o);
	if (o.r < 0)
		fail_msg("%s", o.err.msg);
	dns_attach(w.dns, w.task, &o.sockets);
}

static void attach_again(void)
{
	dns_detach(w.dns, w.task->id);
	attach();
}

static void write_resolv(const char *text)
{
	struct error err = ERROR_INIT;

	if (file_write(w.resolv, text, strlen(text), 0644, &err) < 0)
		fail_msg("%s", err.msg);
}

static void open_upstream(struct upstream *u, unsigned i)
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

static pb_task *make_task(void)
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

static int setup(void **state)
{
	struct dns_options options = {.loop = &w.loop};
	pthread_t thread;

	memset(&w, 0, sizeof(w));
	uv_loop_init(&w.loop);
	strcpy(w.dir, "/tmp/skein-dns-XXXXXX");
	assert_non_null(mkdtemp(w.dir));
	w.resolv = xasprintf("%s/resolv.conf", w.dir);
	write_resolv("nameserver 127.0.7.1\nnameserver 127.0.7.2\nnameserver 127.0.7.3\nsearch corp.example\n");
	assert_int_equal(pthread_create(&thread, NULL, make_namespace, NULL), 0);
	pthread_join(thread, NULL);
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

static void on_closed(void *data)
{
	w.closed = true;
}

static int teardown(void **state)
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

static void on_dig(void *data, struct proc *proc, const struct proc_exit *exit)
{
	struct dig *d = data;

	d->ended = true;
	snprintf(d->text, sizeof(d->text), "%s", exit->out);
}

static const char *const quick[] = {"+tries=1", "+time=10", "@" DNS_CONF_OURS};

/* Its output for arguments apart by spaces; valid until the next one. */
static const char *dig(const char *arguments)
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

static void says(const char *arguments, const char *want)
{
	const char *got = dig(arguments);

	if (strcmp(got, want) != 0)
		fail_msg("dig %s: got\n%s\nwant\n%s", arguments, got, want);
}

static void contains(const char *arguments, const char *want)
{
	const char *got = dig(arguments);

	if (!strstr(got, want))
		fail_msg("dig %s: no \"%s\" in\n%s", arguments, want, got);
}

/* ---------------------------------------------------------------- names of ours */

static void names_of_the_cluster(void **state)
{
	says("+short web", "10.0.1.2\n");
	says("+short +tcp web", "10.0.1.2\n");
	says("+short web AAAA", "fd00:1::2\n");
	says("+short web.2", "10.0.1.12\n");
	says("+short -x 10.0.1.11", "web.1.front.\n");
	says("+short -x fd00:1::2", "web.front.\n");
	contains("web MX", "status: NOERROR");
	contains("-x 10.0.1.99", "status: NXDOMAIN");
	contains("web", "\t5\tIN\tA\t10.0.1.2");
	contains("tasks.db", "ANSWER: 2,");
	contains("+noedns web", "ADDITIONAL: 0");
	/* nobody else was asked */
	for (unsigned i = 0; i < UPSTREAMS; i++)
		assert_int_equal(w.upstreams[i].by_udp + w.upstreams[i].by_tcp, 0);
}

/* ---------------------------------------------------------------- names of others */

static void the_first_two_are_asked_at_once(void **state)
{
	const char *got = dig("+short www.example.com");

	assert_true(str_eq(got, "192.0.2.1\n") || str_eq(got, "192.0.2.2\n"));
	assert_int_equal(w.upstreams[0].by_udp, 1);
	assert_int_equal(w.upstreams[1].by_udp, 1);
	assert_int_equal(w.upstreams[2].by_udp, 0);
	contains("+tcp www.example.com", "ANSWER: 1,");
	assert_int_equal(w.upstreams[0].by_tcp, 0); /* it was not truncated */
}

static void one_silent_resolver_costs_no_time(void **state)
{
	int64_t begin = clock_mono_ns();

	w.upstreams[0].behaviour = SILENT;
	says("+short www.example.com", "192.0.2.2\n");
	assert_true(clock_mono_ns() - begin < 2 * NS_PER_SEC);
}

static void one_that_fails_neither(void **state)
{
	int64_t begin = clock_mono_ns();

	w.upstreams[0].behaviour = w.upstreams[1].behaviour = FAIL;
	says("+short www.example.com", "192.0.2.3\n");
	assert_true(clock_mono_ns() - begin < 2 * NS_PER_SEC);
}

static void one_that_is_not_there_neither(void **state)
{
	int64_t begin;

	write_resolv("nameserver 127.0.7.77\nnameserver 127.0.7.78\nnameserver 127.0.7.3\n");
	until(str_eq(dig("+short www.example.com"), "192.0.2.3\n")); /* it has been read */
	begin = clock_mono_ns();
	says("+short www.example.com", "192.0.2.3\n");
	assert_true(clock_mono_ns() - begin < 2 * NS_PER_SEC);
}

static void the_others_come_after_two_seconds(void **state)
{
	int64_t begin = clock_mono_ns();

	w.upstreams[0].behaviour = w.upstreams[1].behaviour = SILENT;
	says("+short www.example.com", "192.0.2.3\n");
	assert_true(clock_mono_ns() - begin >= 2 * NS_PER_SEC);
}

static void without_any_answer_it_fails(void **state)
{
	for (unsigned i = 0; i < UPSTREAMS; i++)
		w.upstreams[i].behaviour = SILENT;
	contains("www.example.com", "status: SERVFAIL");
}

static void without_any_resolver_too(void **state)
{
	write_resolv("# none\n");
	until(strstr(dig("www.example.com"), "status: SERVFAIL"));
	says("+short web", "10.0.1.2\n");
}

/* A service's first label must not hide a name of the outside; what nobody there has is ours. */
static void search_domains_of_others_come_first(void **state)
{
	w.upstreams[0].behaviour = SILENT;
	says("+short web.corp.example", "192.0.2.2\n");
	for (unsigned i = 0; i < UPSTREAMS; i++)
		w.upstreams[i].behaviour = NO_SUCH_NAME;
	says("+short web.corp.example", "10.0.1.2\n");
	says("+short +tcp web.1.front.corp.example AAAA", "fd00:1::11\n");
	contains("nothing.corp.example", "status: NXDOMAIN");
}

static void the_last_word_of_a_resolver_is_passed_on(void **state)
{
	for (unsigned i = 0; i < UPSTREAMS; i++)
		w.upstreams[i].behaviour = i == 0 ? NO_SUCH_NAME : SILENT;
	contains("nosuch.example.com", "status: NXDOMAIN");
}

static void forged_answers_are_not_taken(void **state)
{
	w.upstreams[0].behaviour = LIE_FIRST;
	w.upstreams[1].behaviour = SILENT;
	says("+short www.example.com", "192.0.2.1\n");
}

static void large_answers_come_by_tcp(void **state)
{
	w.upstreams[0].behaviour = TRUNCATE;
	w.upstreams[1].behaviour = SILENT;
	contains("+ignore www.example.com", "flags: qr tc");
	assert_int_equal(w.upstreams[0].by_tcp, 0);
	contains("+tcp www.example.com", "ANSWER: 40,");
	assert_int_equal(w.upstreams[0].by_tcp, 1);
	/* dig itself goes on by TCP */
	contains("www.example.com", "ANSWER: 40,");
	assert_int_equal(w.upstreams[0].by_tcp, 2);
}

static void the_specs_resolvers_are_asked_instead(void **state)
{
	pb_container_spec *spec = w.task->spec->container;

	pb_strs_add(&spec->n_dns_servers, &spec->dns_servers, "127.0.7.3");
	attach_again();
	says("+short www.example.com", "192.0.2.3\n");
	assert_int_equal(w.upstreams[0].by_udp, 0);
}

static void a_changed_resolv_conf_counts(void **state)
{
	says("+short web", "10.0.1.2\n");
	contains("www.example.com", "ANSWER: 1,");
	write_resolv("nameserver 127.0.7.3\n");
	until(str_eq(dig("+short www.example.com"), "192.0.2.3\n"));
}

static void internal_networks_do_not_lead_out(void **state)
{
	pb_set_str(&w.task->networks[0]->network_id, "back-id");
	attach_again();
	contains("www.example.com", "status: REFUSED");
	says("+short other", "10.0.2.2\n");
	assert_int_equal(w.upstreams[0].by_udp, 0);
}

/* ---------------------------------------------------------------- bounds */

static struct sockaddr_in ours(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(53)};

	inet_pton(AF_INET, DNS_CONF_OURS, &a.sin_addr);
	return a;
}

static void open_client(void *data)
{
	struct sockaddr_in a = ours();
	int type = *(int *)data, fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	fcntl(fd, F_SETFL, O_NONBLOCK);
	*(int *)data = fd;
}

/* A connected socket inside the task's namespace. */
static int client(int type)
{
	inside(open_client, &type);
	return type;
}

static void only_so_many_are_under_way(void **state)
{
	uint8_t query[600], in[600];
	size_t len = dns_question(query, "www.example.com", 1, 0);
	unsigned refused = 0;
	int fd = client(SOCK_DGRAM);

	w.upstreams[0].behaviour = w.upstreams[1].behaviour = SILENT;
	for (unsigned i = 0; i < IN_FLIGHT_MAX + 20; i++) {
		query[1] = (uint8_t)i;
		assert_int_equal(send(fd, query, len, 0), len);
	}
	while (refused < 20) {
		ssize_t n;

		until((n = recv(fd, in, sizeof(in), 0)) > 0);
		assert_int_equal(dns_rcode(in), DNS_REFUSED);
		refused++;
	}
	/* a task that floods does not keep others, nor itself, from names of the cluster */
	says("+short web", "10.0.1.2\n");
	close(fd);
}

static void packets_that_are_none_do_no_harm(void **state)
{
	static const char *const junk[] = {"", "x", "xxxxxxxxxxx", "\x12\x34\x01\0\0\1\0\0\0\0\0\0\xc0\x0c"};
	int fd = client(SOCK_DGRAM);

	for (size_t i = 0; i < ARRAY_SIZE(junk); i++)
		assert_true(send(fd, junk[i], i == 3 ? 14 : strlen(junk[i]), 0) >= 0);
	says("+short web", "10.0.1.2\n");
	close(fd);
}

static void questions_by_tcp_come_in_pieces_and_together(void **state)
{
	uint8_t query[600], in[600];
	size_t len = dns_question(query + 2, "web", 1, 0), have = 0;
	int fd = client(SOCK_STREAM);

	query[0] = 0;
	query[1] = (uint8_t)len;
	for (size_t i = 0; i < len + 2; i++) {
		assert_int_equal(send(fd, query + i, 1, 0), 1);
		uv_run(&w.loop, UV_RUN_NOWAIT);
	}
	until((have = (size_t)MAX(recv(fd, in, sizeof(in), MSG_PEEK), 0)) == 2 + len + 16);
	assert_int_equal(in[1], len + 16);
	assert_int_equal(recv(fd, in, sizeof(in), 0), have);
	/* two at once, the first of them empty */
	memmove(query + 2, query, len + 2);
	query[0] = query[1] = 0;
	assert_int_equal(send(fd, query, len + 4, 0), len + 4);
	until(recv(fd, in, sizeof(in), 0) == (ssize_t)(2 + len + 16));
	close(fd);
}

static bool is_closed(int fd)
{
	char byte;

	return recv(fd, &byte, 1, 0) == 0;
}

static void connections_are_bounded(void **state)
{
	int fds[40];
	unsigned open = 0;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = client(SOCK_STREAM);
		uv_run(&w.loop, UV_RUN_NOWAIT);
	}
	until(is_closed(fds[ARRAY_SIZE(fds) - 1]));
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		open += !is_closed(fds[i]);
	assert_int_equal(open, 32);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	says("+short +tcp web", "10.0.1.2\n");
}

/* ---------------------------------------------------------------- the end */

static void detaching_frees_the_namespace(void **state)
{
	struct opening o = {.err = ERROR_INIT};
	uint8_t query[600];
	size_t len = dns_question(query, "www.example.com", 1, 0);
	int udp = client(SOCK_DGRAM), tcp = client(SOCK_STREAM);

	assert_true(dns_serves(w.dns, w.task->id));
	inside(open_sockets, &o);
	assert_int_equal(o.r, -1);
	assert_int_equal(o.err.code, ERR_EXISTS);
	/* with a question under way */
	w.upstreams[0].behaviour = w.upstreams[1].behaviour = SILENT;
	assert_int_equal(send(udp, query, len, 0), len);
	until(w.upstreams[0].by_udp == 1);
	dns_detach(w.dns, w.task->id);
	assert_false(dns_serves(w.dns, w.task->id));
	until(is_closed(tcp));
	close(udp);
	close(tcp);
	o.err = ERROR_INIT;
	inside(open_sockets, &o);
	assert_int_equal(o.r, 0);
	dns_sockets_close(&o.sockets);
	dns_detach(w.dns, "unknown");
}

static void the_file_that_containers_get(void **state)
{
	_cleanup_free_ char *text = dns_resolv_conf(w.dns, w.task);

	assert_string_equal(text, "nameserver 127.0.0.11\nsearch corp.example\noptions ndots:0\n");
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(names_of_the_cluster),
		T(the_first_two_are_asked_at_once),
		T(one_silent_resolver_costs_no_time),
		T(one_that_fails_neither),
		T(one_that_is_not_there_neither),
		T(the_others_come_after_two_seconds),
		T(without_any_answer_it_fails),
		T(without_any_resolver_too),
		T(search_domains_of_others_come_first),
		T(the_last_word_of_a_resolver_is_passed_on),
		T(forged_answers_are_not_taken),
		T(large_answers_come_by_tcp),
		T(the_specs_resolvers_are_asked_instead),
		T(a_changed_resolv_conf_counts),
		T(internal_networks_do_not_lead_out),
		T(only_so_many_are_under_way),
		T(packets_that_are_none_do_no_harm),
		T(questions_by_tcp_come_in_pieces_and_together),
		T(connections_are_bounded),
		T(detaching_frees_the_namespace),
		T(the_file_that_containers_get),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
