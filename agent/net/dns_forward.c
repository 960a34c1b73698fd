#include "dns_forward.h"

#include "common/clock.h"
#include "common/loop.h"
#include "common/mem.h"
#include "dns_answer.h"

#include <assert.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define JOBS_MAX 1024
#define SERVERS_MAX 8
#define FIRST_SERVERS 2
#define TURN_NS (2 * NS_PER_SEC)
#define STRANGE_MAX 64 /* packets that are not the answer; somebody is guessing */

struct dns_forwarder {
	uv_loop_t *loop;
	uint16_t port;
	unsigned jobs;
	struct closer closer;
	char buf[DNS_PACKET_MAX];
};

/* One resolver being asked. Outlives its job until its handle is closed. */
struct attempt {
	struct dns_forwarder *f;
	struct dns_job *job; /* NULL: over */
	union {
		uv_handle_t handle;
		uv_udp_t udp;
		uv_tcp_t tcp;
	} u;
	uv_connect_t connect;
	uv_write_t write;
	struct sockaddr_storage server;
	bool by_tcp, inside;
	bool opening, closed; /* its socket is under way; its handle is closed meanwhile */
	uint16_t id;
	unsigned strange;
	uint8_t *out;        /* the question with our id, behind its length */
	size_t out_len;
	uint8_t *in;         /* TCP: what has come, its length first */
	size_t in_len;
	struct attempt *next;
};

struct dns_job {
	struct dns_forwarder *f;
	uint8_t *query;
	size_t len;
	bool tcp;
	struct resolver {
		struct sockaddr_storage address;
		bool inside;
	} servers[SERVERS_MAX];
	size_t n_servers, next;
	dns_open_cb open;
	void *open_data;
	char *task_id;
	struct attempt *attempts;
	unsigned waiting;    /* attempts that may still answer */
	uint8_t *bad;        /* the last answer that was an error */
	size_t bad_len;
	uv_timer_t timer;
	dns_forwarded_cb cb;
	void *data;
};

struct dns_forwarder *dns_forwarder_new(uv_loop_t *loop, uint16_t port)
{
	struct dns_forwarder *f = xnew(struct dns_forwarder);

	f->loop = loop;
	f->port = port;
	closer_init(&f->closer);
	return f;
}

struct closing {
	struct dns_forwarder *f;
	void (*closed)(void *data);
	void *data;
};

static void on_forwarder_closed(void *data)
{
	struct closing c = *(struct closing *)data;

	free(data);
	free(c.f);
	c.closed(c.data);
}

void dns_forwarder_close(struct dns_forwarder *f, void (*closed)(void *data), void *data)
{
	struct closing *c = xnew(struct closing);

	assert(f->jobs == 0);
	*c = (struct closing){f, closed, data};
	closer_begin(&f->closer, on_forwarder_closed, c);
	closer_end(&f->closer);
}

/* ---------------------------------------------------------------- the end of things */

static void attempt_free(struct attempt *a)
{
	struct dns_forwarder *f = a->f;

	free(a->out);
	free(a->in);
	free(a);
	closer_drop(&f->closer);
}

static void on_attempt_closed(uv_handle_t *handle)
{
	struct attempt *a = handle->data;

	a->closed = true;
	if (!a->opening)
		attempt_free(a);
}

static void attempt_end(struct attempt *a)
{
	a->job = NULL;
	uv_close(&a->u.handle, on_attempt_closed);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct dns_job *job = handle->data;
	struct dns_forwarder *f = job->f;

	free(job->query);
	free(job->task_id);
	free(job->bad);
	free(job);
	closer_drop(&f->closer);
}

void dns_forward_cancel(struct dns_job *job)
{
	struct attempt *a = job->attempts;

	while (a) {
		struct attempt *next = a->next;

		attempt_end(a);
		a = next;
	}
	job->attempts = NULL;
	job->cb = NULL;
	job->f->jobs--;
	uv_close((uv_handle_t *)&job->timer, on_timer_closed);
}

static void finish(struct dns_job *job, const uint8_t *answer, size_t len)
{
	dns_forwarded_cb cb = job->cb;

	cb(job->data, answer, len);
	dns_forward_cancel(job);
}

static void next_turn(struct dns_job *job);

static void attempt_failed(struct attempt *a)
{
	struct dns_job *job = a->job;

	for (struct attempt **p = &job->attempts; *p; p = &(*p)->next) {
		if (*p == a) {
			*p = a->next;
			break;
		}
	}
	attempt_end(a);
	if (--job->waiting == 0)
		next_turn(job);
}

/* ---------------------------------------------------------------- answers */

static void ask_by_tcp(struct dns_job *job, const struct resolver *server);

static bool is_good(const uint8_t *answer)
{
	return dns_rcode(answer) == DNS_NOERROR || dns_rcode(answer) == DNS_NXDOMAIN;
}

static void take(struct attempt *a, const uint8_t *answer, size_t len)
{
	struct dns_job *job = a->job;

	if (!dns_is_answer(job->query, job->len, a->id, answer, len)) {
		if (a->by_tcp || ++a->strange > STRANGE_MAX)
			attempt_failed(a);
	} else if (!is_good(answer)) {
		free(job->bad);
		job->bad = xmemdup(answer, len);
		job->bad_len = len;
		attempt_failed(a);
	} else if (dns_is_truncated(answer) && job->tcp && !a->by_tcp) {
		struct resolver server = {a->server, a->inside};

		ask_by_tcp(job, &server);
		attempt_failed(a);
	} else {
		finish(job, answer, len);
	}
}

/* ---------------------------------------------------------------- UDP */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct attempt *a = handle->data;

	*buf = uv_buf_init(a->f->buf, sizeof(a->f->buf));
}

static void on_datagram(uv_udp_t *udp, ssize_t n, const uv_buf_t *buf, const struct sockaddr *from, unsigned flags)
{
	struct attempt *a = udp->data;

	if (!a->job || (n == 0 && !from)) /* nothing more to read now */
		return;
	if (n < 0)
		attempt_failed(a); /* nobody listens there */
	else
		take(a, (const uint8_t *)buf->base, (size_t)n);
}

static struct attempt *attempt_new(struct dns_job *job, const struct resolver *server, bool by_tcp)
{
	struct attempt *a = xnew(struct attempt);

	a->f = job->f;
	a->job = job;
	a->server = server->address;
	a->inside = server->inside;
	a->by_tcp = by_tcp;
	/* The kernel's generator does not block once the machine is up, and does not fail for two bytes. */
	if (getrandom(&a->id, sizeof(a->id), 0) != sizeof(a->id))
		abort();
	a->out_len = job->len + 2;
	a->out = xmalloc(a->out_len);
	a->out[0] = (uint8_t)(job->len >> 8);
	a->out[1] = (uint8_t)job->len;
	memcpy(a->out + 2, job->query, job->len);
	a->out[2] = (uint8_t)(a->id >> 8);
	a->out[3] = (uint8_t)a->id;
	if (by_tcp)
		uv_tcp_init(job->f->loop, &a->u.tcp);
	else
		uv_udp_init(job->f->loop, &a->u.udp);
	a->u.handle.data = a;
	closer_hold(&job->f->closer);
	a->next = job->attempts;
	job->attempts = a;
	job->waiting++;
	return a;
}

/* False: it failed at once (no route, no descriptors). */
static bool send_question(struct attempt *a)
{
	uv_buf_t buf = uv_buf_init((char *)a->out + 2, (unsigned)(a->out_len - 2));

	/* Connected: the kernel gives it a random port and takes packets from there only. */
	return uv_udp_connect(&a->u.udp, (const struct sockaddr *)&a->server) == 0 &&
	       uv_udp_recv_start(&a->u.udp, on_alloc, on_datagram) == 0 && uv_udp_try_send(&a->u.udp, &buf, 1, NULL) >= 0;
}

static void open_inside(struct attempt *a, int type);

static bool ask_by_udp(struct dns_job *job, const struct resolver *server)
{
	struct attempt *a = attempt_new(job, server, false);

	if (!server->inside)
		return send_question(a);
	open_inside(a, SOCK_DGRAM);
	return true;
}

/* ---------------------------------------------------------------- TCP */

static void on_tcp_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
	struct attempt *a = handle->data;

	*buf = uv_buf_init((char *)a->in + a->in_len, (unsigned)(DNS_PACKET_MAX + 2 - a->in_len));
}

static void on_tcp_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *buf)
{
	struct attempt *a = stream->data;
	size_t want;

	if (!a->job)
		return;
	if (n < 0) {
		attempt_failed(a);
		return;
	}
	a->in_len += (size_t)n;
	want = a->in_len >= 2 ? (size_t)(a->in[0] << 8 | a->in[1]) + 2 : SIZE_MAX;
	if (a->in_len >= want)
		take(a, a->in + 2, want - 2);
}

static void on_tcp_written(uv_write_t *write, int status)
{
	struct attempt *a = write->data;

	if (status < 0 && a->job)
		attempt_failed(a);
}

static void on_tcp_connected(uv_connect_t *connect, int status)
{
	struct attempt *a = connect->data;
	uv_buf_t buf = uv_buf_init((char *)a->out, (unsigned)a->out_len);

	if (!a->job)
		return;
	a->in = xmalloc(DNS_PACKET_MAX + 2);
	a->write.data = a;
	if (status < 0 || uv_read_start((uv_stream_t *)&a->u.tcp, on_tcp_alloc, on_tcp_read) < 0 ||
	    uv_write(&a->write, (uv_stream_t *)&a->u.tcp, &buf, 1, on_tcp_written) < 0)
		attempt_failed(a);
}

static void on_turn_over(uv_timer_t *timer)
{
	next_turn(timer->data);
}

static bool begin_connection(struct attempt *a)
{
	a->connect.data = a;
	return uv_tcp_connect(&a->connect, &a->u.tcp, (const struct sockaddr *)&a->server, on_tcp_connected) == 0;
}

static void ask_by_tcp(struct dns_job *job, const struct resolver *server)
{
	struct attempt *a = attempt_new(job, server, true);

	loop_timer_in(&job->timer, TURN_NS, on_turn_over);
	if (server->inside)
		open_inside(a, SOCK_STREAM);
	else if (!begin_connection(a))
		attempt_failed(a);
}

/* ---------------------------------------------------------------- sockets of another namespace */

static void on_opened(void *data, int fd)
{
	struct attempt *a = data;
	bool good = false;

	a->opening = false;
	if (!a->job) { /* nobody waits any more */
		if (fd >= 0)
			close(fd);
		if (a->closed)
			attempt_free(a);
		return;
	}
	if (fd >= 0 && (a->by_tcp ? uv_tcp_open(&a->u.tcp, fd) : uv_udp_open(&a->u.udp, fd)) < 0)
		close(fd);
	else if (fd >= 0)
		good = a->by_tcp ? begin_connection(a) : send_question(a);
	if (!good)
		attempt_failed(a);
}

static void open_inside(struct attempt *a, int type)
{
	struct dns_job *job = a->job;

	a->opening = true;
	job->open(job->open_data, job->task_id, a->server.ss_family, type, on_opened, a);
}

/* ---------------------------------------------------------------- turns */

/* The next resolvers, if there are any; else the end. Earlier ones may still answer meanwhile. */
static void next_turn(struct dns_job *job)
{
	size_t end = job->next == 0 ? MIN(job->n_servers, FIRST_SERVERS) : job->n_servers;

	if (job->next >= job->n_servers) {
		finish(job, job->bad, job->bad_len);
		return;
	}
	loop_timer_in(&job->timer, TURN_NS, on_turn_over);
	job->waiting++; /* ours, so that a failure at once does not end it in the middle */
	while (job->next < end) {
		const struct resolver *server = &job->servers[job->next++];

		if (!ask_by_udp(job, server))
			attempt_failed(job->attempts);
	}
	if (--job->waiting == 0)
		next_turn(job);
}

static void add_server(struct dns_job *job, const char *address, bool inside)
{
	struct sockaddr_storage *s = &job->servers[job->n_servers].address;

	job->servers[MIN(job->n_servers, SERVERS_MAX - 1)].inside = inside;

	if (job->n_servers < SERVERS_MAX && (uv_ip4_addr(address, job->f->port, (struct sockaddr_in *)s) == 0 ||
					     uv_ip6_addr(address, job->f->port, (struct sockaddr_in6 *)s) == 0))
		job->n_servers++;
}

struct dns_job *dns_forward(struct dns_forwarder *f, const struct dns_ask *ask, dns_forwarded_cb cb, void *data)
{
	struct dns_job *job;

	if (f->jobs >= JOBS_MAX)
		return NULL;
	job = xnew(struct dns_job);
	job->f = f;
	job->query = xmemdup(ask->query, ask->len);
	job->len = ask->len;
	job->tcp = ask->tcp;
	job->cb = cb;
	job->data = data;
	job->open = ask->open;
	job->open_data = ask->open_data;
	job->task_id = xstrdup(ask->task_id);
	for (size_t i = 0; i < ask->servers->n; i++)
		add_server(job, ask->servers->v[i], i < 32 && ask->inside >> i & 1);
	f->jobs++;
	closer_hold(&f->closer);
	uv_timer_init(f->loop, &job->timer);
	job->timer.data = job;
	/* In a turn of its own: cb must not run in here. */
	loop_timer_in(&job->timer, 0, on_turn_over);
	return job;
}
