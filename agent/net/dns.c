#include "dns_internal.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define UPSTREAM_PORT 53
#define REQUESTS_MAX 100 /* of one task under way elsewhere */
#define DATAGRAMS_MAX 64 /* of one task in one turn of the loop */
#define RESOLV_MAX (64u << 10)
#define RESOLV_LOOK_NS NS_PER_SEC
#define RESOLV_YOUNG_NS (100 * NS_PER_MS)
#define HOSTNAME_CHARS 12

/* ---------------------------------------------------------------- sockets (any thread) */

static int open_one(int type, struct error *err)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(DNS_CONF_PORT)};
	_cleanup_close_ int fd = file_fd_high(socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
	int one = 1;

	inet_pton(AF_INET, DNS_CONF_OURS, &a.sin_addr);
	if (fd < 0)
		return error_set_errno(err, errno, "socket for names");
	/* Connections of an earlier agent may still be ending. */
	if (type == SOCK_STREAM)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0)
		return TAKE_FD(fd);
	if (errno == EADDRINUSE)
		return error_set(err, ERR_EXISTS, "something in the container listens at %s:%d already", DNS_CONF_OURS,
				 DNS_CONF_PORT);
	return error_set_errno(err, errno, "bind %s:%d", DNS_CONF_OURS, DNS_CONF_PORT);
}

int dns_sockets_open(struct dns_sockets *ret, struct error *err)
{
	*ret = DNS_SOCKETS_NONE;
	ret->udp = open_one(SOCK_DGRAM, err);
	if (ret->udp >= 0)
		ret->tcp = open_one(SOCK_STREAM, err);
	if (ret->tcp >= 0)
		return 0;
	dns_sockets_close(ret);
	return -1;
}

void dns_sockets_close(struct dns_sockets *s)
{
	mem_closep(&s->udp);
	mem_closep(&s->tcp);
}

/* ---------------------------------------------------------------- the host's resolvers */

/* A small local file, looked at no more than once per second. */
static void look_at_host(struct dns *d)
{
	_cleanup_free_ char *text = NULL;
	int64_t now = clock_mono_ns();
	struct stat st;

	if (d->host_looked_ns && now - d->host_looked_ns < RESOLV_LOOK_NS)
		return;
	d->host_looked_ns = now;
	if (stat(d->resolv_path, &st) < 0) {
		dns_conf_fini(&d->host);
		d->host_changed = (struct timespec){0};
		return;
	}
	if (st.st_ctim.tv_sec == d->host_changed.tv_sec && st.st_ctim.tv_nsec == d->host_changed.tv_nsec)
		return;
	/* A change within the same tick of the file system's clock shows no difference: what is that young is read again. */
	d->host_changed = clock_wall_ns() - (st.st_ctim.tv_sec * NS_PER_SEC + st.st_ctim.tv_nsec) > RESOLV_YOUNG_NS
				  ? st.st_ctim : (struct timespec){0};
	dns_conf_fini(&d->host);
	if (file_read(d->resolv_path, RESOLV_MAX, &text, NULL, NULL) == 0)
		dns_conf_parse(text, &d->host);
}

char *dns_resolv_conf(struct dns *d, const pb_task *task)
{
	look_at_host(d);
	return dns_conf_text(&d->host, task->spec->container, true);
}

/* ---------------------------------------------------------------- questions */

static void reply(struct dns_task *t, struct dns_client *client, const struct sockaddr_in *from, struct dns_packet *packet)
{
	if (client)
		dns_client_send(client, packet);
	else if (sendto(t->udp_fd, packet->data, packet->len, MSG_DONTWAIT | MSG_NOSIGNAL, (const struct sockaddr *)from,
			sizeof(*from)) < 0)
		log_debug("dns_reply", kv_str("task", t->id), kv_str("error", strerror(errno)));
	free(packet->data);
	packet->data = NULL;
}

void dns_request_free(struct dns_request *r)
{
	if (r->job)
		dns_forward_cancel(r->job);
	LIST_REMOVE(r, of_task);
	if (r->client)
		LIST_REMOVE(r, of_client);
	r->task->n_requests--;
	free(r);
}

static uint64_t random_seed(void)
{
	uint64_t seed = 0;

	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
		seed = (uint64_t)clock_mono_ns();
	return seed;
}

static struct dns_asker asker_of(const struct dns_task *t)
{
	return (struct dns_asker){
		.networks = &t->networks, .search = &t->search, .hostname = t->hostname,
		.addresses = t->addresses, .n_addresses = t->n_addresses, .resolver_inside = t->servers_inside.n,
	};
}

static void on_forwarded(void *data, const uint8_t *answer, size_t len)
{
	struct dns_request *r = data;
	struct dns_client *client = r->client;
	struct dns_task *t = r->task;
	struct sockaddr_in from = r->from;
	struct dns_asker who = asker_of(t);
	struct dns_packet packet;

	r->job = NULL;
	if ((!answer || dns_rcode(answer) == DNS_NXDOMAIN) &&
	    dns_answer_searched(t->dns->model, &who, r->query, r->len, client != NULL, random_seed(), &packet)) {
		t->dns->stats.answered++;
	} else if (answer) {
		t->dns->stats.forwarded++;
		dns_relay(r->query, r->len, client != NULL, answer, len, &packet);
	} else {
		t->dns->stats.failed++;
		dns_failure(r->query, r->len, DNS_SERVFAIL, &packet);
	}
	dns_request_free(r);
	reply(t, client, &from, &packet);
}

/* Out of internal networks nobody is asked but who is in them. */
static const struct strv *resolvers_of(struct dns_task *t)
{
	struct dns_asker who = asker_of(t);

	who.resolver_inside = false;
	if (t->servers_inside.n && !dns_has_way_out(t->dns->model, &who))
		return &t->servers_inside;
	if (t->servers.n)
		return &t->servers;
	look_at_host(t->dns);
	return &t->dns->host.servers;
}

static void choose_resolvers(struct dns_task *t, struct dns_ask *ask)
{
	ask->servers = resolvers_of(t);
	ask->open = t->dns->open;
	ask->open_data = t->dns->open_data;
	ask->task_id = t->id;
	for (size_t i = 0; i < ask->servers->n && i < 32; i++)
		if (strv_has(&t->servers_inside, ask->servers->v[i]))
			ask->inside |= 1u << i;
}

static bool forward(struct dns_task *t, struct dns_client *client, const struct sockaddr_in *from, const uint8_t *data, size_t len)
{
	struct dns_ask ask = {.query = data, .len = len, .tcp = client != NULL};
	struct dns_request *r;

	if (t->n_requests >= REQUESTS_MAX)
		return false;
	choose_resolvers(t, &ask);
	r = xcalloc(1, sizeof(*r) + len);
	r->job = dns_forward(t->dns->forwarder, &ask, on_forwarded, r);
	if (!r->job) {
		free(r);
		return false;
	}
	r->task = t;
	r->client = client;
	if (from)
		r->from = *from;
	r->len = len;
	memcpy(r->query, data, len);
	LIST_INSERT_HEAD(&t->requests, r, of_task);
	t->n_requests++;
	if (client)
		dns_client_add(client, r);
	return true;
}

void dns_take(struct dns_task *t, struct dns_client *client, const struct sockaddr_in *from, const uint8_t *data, size_t len)
{
	struct dns_asker who = asker_of(t);
	struct dns_packet packet = {0};

	switch (dns_answer(t->dns->model, &who, data, len, client != NULL, random_seed(), &packet)) {
	case DNS_DROP:
		t->dns->stats.dropped++;
		return;
	case DNS_REPLY:
		t->dns->stats.answered++;
		break;
	case DNS_FORWARD:
		if (forward(t, client, from, data, len))
			return;
		t->dns->stats.refused++;
		dns_failure(data, len, DNS_REFUSED, &packet);
		break;
	}
	reply(t, client, from, &packet);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	struct dns_task *t = container_of(poll, struct dns_task, udp);

	for (int i = 0; i < DATAGRAMS_MAX; i++) {
		struct sockaddr_in from;
		socklen_t from_len = sizeof(from);
		ssize_t n = recvfrom(t->udp_fd, t->dns->buf, sizeof(t->dns->buf), MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);

		if (n < 0)
			return; /* an error of an earlier reply, or nothing more: the next one is polled for */
		dns_take(t, NULL, &from, t->dns->buf, (size_t)n);
	}
}

/* ---------------------------------------------------------------- tasks */

static void task_free(struct dns_task *t)
{
	strv_fini(&t->networks);
	strv_fini(&t->servers);
	strv_fini(&t->servers_inside);
	strv_fini(&t->search);
	free(t->addresses);
	free(t->hostname);
	free(t->id);
	free(t);
}

static void on_task_closed(void *data)
{
	struct dns_task *t = data;
	struct dns *d = t->dns;

	task_free(t);
	closer_drop(&d->closer);
}

static void task_close(struct dns_task *t)
{
	struct dns_request *r;

	if (!closer_begin(&t->closer, on_task_closed, t))
		return;
	HASH_DEL(t->dns->tasks, t);
	dns_clients_close(t);
	while ((r = LIST_FIRST(&t->requests)))
		dns_request_free(r);
	/* At once: an open socket keeps the namespace. */
	uv_poll_stop(&t->udp);
	mem_closep(&t->udp_fd);
	closer_add(&t->closer, (uv_handle_t *)&t->udp);
	closer_add(&t->closer, (uv_handle_t *)&t->tcp);
	closer_end(&t->closer);
}

static struct dns_task *find(const struct dns *d, const char *task_id)
{
	struct dns_task *t;

	HASH_FIND_STR(d->tasks, task_id, t);
	return t;
}

static void add_address(struct dns_task *t, const char *text)
{
	if (!str_empty(text) && ipaddr_parse(text, &t->addresses[t->n_addresses], NULL) == 0)
		t->n_addresses++;
}

static bool is_inside(const struct dns_task *t, const char *server)
{
	struct ipaddr a;

	if (!t->dns->open || ipaddr_parse(server, &a, NULL) < 0)
		return false;
	for (size_t i = 0; i < t->n_addresses; i++)
		if (ipaddr_contains(&t->addresses[i], &a))
			return true;
	return false;
}

static struct dns_task *task_new(struct dns *d, const pb_task *task)
{
	const pb_container_spec *spec = task->spec->container;
	struct dns_task *t = xnew(struct dns_task);

	t->dns = d;
	t->id = xstrdup(task->id);
	/* One with placeholders is found in the container's own /etc/hosts. */
	t->hostname = str_empty(spec->hostname) ? xstrndup(task->id, HOSTNAME_CHARS) : xstrdup(spec->hostname);
	t->addresses = xcalloc(2 * task->n_networks + 1, sizeof(*t->addresses));
	for (size_t i = 0; i < task->n_networks; i++) {
		strv_add(&t->networks, task->networks[i]->network_id);
		add_address(t, task->networks[i]->ipv4);
		add_address(t, task->networks[i]->ipv6);
	}
	for (size_t i = 0; i < spec->n_dns_servers; i++) {
		strv_add(&t->servers, spec->dns_servers[i]);
		if (is_inside(t, spec->dns_servers[i]))
			strv_add(&t->servers_inside, spec->dns_servers[i]);
	}
	look_at_host(d);
	for (size_t i = 0; i < (spec->n_dns_search ? spec->n_dns_search : d->host.search.n); i++)
		strv_add(&t->search, spec->n_dns_search ? spec->dns_search[i] : d->host.search.v[i]);
	return t;
}

void dns_attach(struct dns *d, const pb_task *task, struct dns_sockets *sockets)
{
	struct dns_task *t;
	struct error err = ERROR_INIT;

	dns_detach(d, task->id);
	if (sockets->udp < 0 || sockets->tcp < 0) {
		log_error("dns_attach", kv_str("task", task->id), kv_str("error", "its sockets were not opened"));
		dns_sockets_close(sockets);
		return;
	}
	t = task_new(d, task);
	closer_init(&t->closer);
	closer_hold(&d->closer);
	HASH_ADD_KEYPTR(hh, d->tasks, t->id, strlen(t->id), t);
	t->udp_fd = TAKE_FD(sockets->udp);
	uv_poll_init(d->loop, &t->udp, t->udp_fd);
	uv_poll_start(&t->udp, UV_READABLE, on_readable);
	uv_tcp_init(d->loop, &t->tcp);
	if (dns_clients_listen(t, TAKE_FD(sockets->tcp), &err) < 0) /* most questions come by UDP */
		log_error("dns_listen", kv_str("task", t->id), kv_err(&err));
}

void dns_detach(struct dns *d, const char *task_id)
{
	struct dns_task *t = find(d, task_id);

	if (t)
		task_close(t);
}

bool dns_serves(const struct dns *d, const char *task_id)
{
	return find(d, task_id) != NULL;
}

const struct dns_stats *dns_stats(const struct dns *d)
{
	return &d->stats;
}

/* ---------------------------------------------------------------- all */

struct dns *dns_new(const struct dns_options *options)
{
	struct dns *d = xnew(struct dns);

	d->loop = options->loop;
	d->model = options->model;
	d->resolv_path = xstrdup(options->resolv_path ? options->resolv_path : "/etc/resolv.conf");
	d->open = options->open;
	d->open_data = options->open_data;
	d->forwarder = dns_forwarder_new(options->loop, options->upstream_port ? options->upstream_port : UPSTREAM_PORT);
	closer_init(&d->closer);
	return d;
}

struct closing {
	struct dns *dns;
	void (*closed)(void *data);
	void *data;
};

static void on_forwarder_closed(void *data)
{
	struct closing c = *(struct closing *)data;

	free(data);
	dns_conf_fini(&c.dns->host);
	free(c.dns->resolv_path);
	free(c.dns);
	c.closed(c.data);
}

static void on_tasks_closed(void *data)
{
	struct closing *c = data;

	dns_forwarder_close(c->dns->forwarder, on_forwarder_closed, c);
}

void dns_close(struct dns *d, void (*closed)(void *data), void *data)
{
	struct closing *c = xnew(struct closing);
	struct dns_task *t, *next;

	*c = (struct closing){d, closed, data};
	closer_begin(&d->closer, on_tasks_closed, c);
	HASH_ITER(hh, d->tasks, t, next)
		task_close(t);
	closer_end(&d->closer);
}
