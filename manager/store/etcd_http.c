#include "etcd_http.h"

#include "common/clock.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/str.h"

#include <assert.h>
#include <curl/curl.h>
#include <string.h>
#include <sys/queue.h>

#define UNIX_PREFIX "unix:"

struct etcd_http_call {
	TAILQ_ENTRY(etcd_http_call) entry;
	struct etcd_http *http;
	CURL *easy;
	struct curl_slist *connect_to;
	char *request;
	struct strbuf body;
	size_t max_body;
	unsigned times_sent;
	bool once;
	bool too_large;
	bool fresh;          /* on_data has not seen all of body */
	etcd_http_data_cb on_data;
	etcd_http_done_cb on_done;
	void *data;
	char why[CURL_ERROR_SIZE];
};

struct etcd_http {
	uv_loop_t *loop;
	CURLM *multi;
	struct curl_slist *headers;
	uv_timer_t timer;
	struct closer closer;
	char *ca_file, *cert_file, *key_file, *server_name;
	TAILQ_HEAD(, etcd_http_call) calls;
	struct etcd_http_call *current; /* whose on_data runs; NULL once it was cancelled in there */
	struct etcd_http_traffic traffic;
};

/* libuv's half of a socket of curl's. */
struct sock {
	uv_poll_t poll;
	struct etcd_http *http;
	curl_socket_t fd;
};

/* ---- calls */

static void call_free(struct etcd_http_call *call)
{
	struct etcd_http *h = call->http;

	TAILQ_REMOVE(&h->calls, call, entry);
	curl_multi_remove_handle(h->multi, call->easy);
	curl_easy_cleanup(call->easy);
	curl_slist_free_all(call->connect_to);
	strbuf_fini(&call->body);
	free(call->request);
	free(call);
}

void etcd_http_cancel(struct etcd_http_call *call)
{
	if (!call)
		return;
	if (call->http->current == call)
		call->http->current = NULL;
	call_free(call);
}

static size_t on_write(char *bytes, size_t size, size_t n, void *data)
{
	struct etcd_http_call *call = data;

	call->http->traffic.received_bytes += size * n;
	if (call->body.len + size * n > call->max_body) {
		call->too_large = true;
		return 0;
	}
	strbuf_add(&call->body, bytes, size * n);
	call->fresh = true;
	return size * n;
}

/*
 * libcurl sends a request again by itself when a kept connection turns out to be dead. The server may
 * have acted on the first one, so a call that must not run twice stops here.
 */
static int on_prereq(void *data, char *ip, char *local_ip, int port, int local_port)
{
	struct etcd_http_call *call = data;

	call->http->traffic.sent_bytes += strlen(call->request);
	return ++call->times_sent > 1 && call->once ? CURL_PREREQFUNC_ABORT : CURL_PREREQFUNC_OK;
}

static void result_of(struct etcd_http_call *call, CURLcode code, struct etcd_http_result *ret)
{
	*ret = (struct etcd_http_result){.sent = call->times_sent > 0};
	if (code == CURLE_OK) {
		curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &ret->status);
		ret->body = call->body.p ? call->body.p : "";
		ret->len = call->body.len;
	} else if (call->too_large) {
		error_set(&ret->error, ERR_EXHAUSTED, "answer is longer than %zu bytes", call->max_body);
	} else {
		bool timed_out = code == CURLE_OPERATION_TIMEDOUT && ret->sent;

		error_set(&ret->error, timed_out ? ERR_TIMEOUT : ERR_UNAVAILABLE, "%s",
			  call->why[0] ? call->why : curl_easy_strerror(code));
	}
}

static void give_data(struct etcd_http *h, struct etcd_http_call *call)
{
	size_t used;

	call->fresh = false;
	h->current = call;
	used = call->on_data(call->data, call->body.p, call->body.len);
	if (h->current != call)
		return;
	h->current = NULL;
	assert(used <= call->body.len);
	memmove(call->body.p, call->body.p + used, call->body.len - used);
	call->body.len -= used;
}

/* Callbacks may cancel any call and start others, so the list is looked at from the start each time. */
static bool give_next_data(struct etcd_http *h)
{
	struct etcd_http_call *call;

	TAILQ_FOREACH(call, &h->calls, entry) {
		if (call->fresh && call->on_data) {
			give_data(h, call);
			return true;
		}
	}
	return false;
}

static bool finish_next(struct etcd_http *h)
{
	struct etcd_http_result result;
	struct etcd_http_call *call;
	CURLMsg *msg;
	int left;

	do {
		msg = curl_multi_info_read(h->multi, &left);
		if (!msg)
			return false;
	} while (msg->msg != CURLMSG_DONE);
	curl_easy_getinfo(msg->easy_handle, CURLINFO_PRIVATE, &call);
	result_of(call, msg->data.result, &result);
	/* Out of the list first: the callback may close everything. */
	curl_multi_remove_handle(h->multi, call->easy);
	TAILQ_REMOVE(&h->calls, call, entry);
	call->on_done(call->data, &result);
	curl_easy_cleanup(call->easy);
	curl_slist_free_all(call->connect_to);
	strbuf_fini(&call->body);
	free(call->request);
	free(call);
	return true;
}

/* What libcurl's callbacks noted is told from here, where libcurl may be called again. */
static void deliver(struct etcd_http *h)
{
	while (!h->closer.closing && (give_next_data(h) || finish_next(h)))
		;
}

/* ---- libcurl on libuv */

static void on_timer(uv_timer_t *timer)
{
	struct etcd_http *h = container_of(timer, struct etcd_http, timer);
	int running;

	curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	deliver(h);
}

static int on_curl_timer(CURLM *multi, long timeout_ms, void *data)
{
	struct etcd_http *h = data;

	if (h->closer.closing)
		return 0;
	/* libcurl counts from now, libuv from the start of this turn of the loop. */
	if (timeout_ms < 0)
		uv_timer_stop(&h->timer);
	else
		loop_timer_in(&h->timer, (int64_t)timeout_ms * NS_PER_MS, on_timer);
	return 0;
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct sock *sock = container_of(poll, struct sock, poll);
	struct etcd_http *h = sock->http;
	int flags = status < 0 ? CURL_CSELECT_ERR : 0, running;

	if (events & UV_READABLE)
		flags |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		flags |= CURL_CSELECT_OUT;
	curl_multi_socket_action(h->multi, sock->fd, flags, &running);
	deliver(h);
}

static void on_sock_closed(uv_handle_t *handle)
{
	struct sock *sock = container_of((uv_poll_t *)handle, struct sock, poll);

	closer_drop(&sock->http->closer);
	free(sock);
}

static struct sock *sock_new(struct etcd_http *h, curl_socket_t fd)
{
	struct sock *sock = xnew(struct sock);

	sock->http = h;
	sock->fd = fd;
	if (uv_poll_init_socket(h->loop, &sock->poll, fd) < 0) {
		free(sock);
		return NULL;
	}
	closer_hold(&h->closer);
	curl_multi_assign(h->multi, fd, sock);
	return sock;
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *data, void *socket_data)
{
	struct etcd_http *h = data;
	struct sock *sock = socket_data;
	int events = 0;

	if (what == CURL_POLL_REMOVE) {
		if (sock) {
			curl_multi_assign(h->multi, fd, NULL);
			uv_close((uv_handle_t *)&sock->poll, on_sock_closed);
		}
		return 0;
	}
	if (!sock)
		sock = sock_new(h, fd);
	if (!sock)
		return -1;
	if (what & CURL_POLL_IN)
		events |= UV_READABLE;
	if (what & CURL_POLL_OUT)
		events |= UV_WRITABLE;
	uv_poll_start(&sock->poll, events, on_poll);
	return 0;
}

const struct etcd_http_traffic *etcd_http_traffic(const struct etcd_http *h)
{
	return &h->traffic;
}

struct etcd_http *etcd_http_new(uv_loop_t *loop, const struct etcd_http_tls *tls)
{
	struct etcd_http *h = xnew(struct etcd_http);

	h->loop = loop;
	TAILQ_INIT(&h->calls);
	closer_init(&h->closer);
	h->ca_file = xstrdup(tls->ca_file);
	h->cert_file = xstrdup(tls->cert_file);
	h->key_file = xstrdup(tls->key_file);
	h->server_name = xstrdup(tls->server_name);
	uv_timer_init(loop, &h->timer);
	/* An empty "Expect:" saves the wait for "100 Continue" on large bodies. */
	h->headers = curl_slist_append(curl_slist_append(NULL, "Content-Type: application/json"), "Expect:");
	h->multi = curl_multi_init();
	if (!h->multi || !h->headers)
		abort();
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
	return h;
}

struct closing {
	void (*closed)(void *data);
	void *data;
	struct etcd_http *http;
};

static void on_all_closed(void *data)
{
	struct closing c = *(struct closing *)data;
	struct etcd_http *h = c.http;

	free(data);
	curl_slist_free_all(h->headers);
	free(h->ca_file);
	free(h->cert_file);
	free(h->key_file);
	free(h->server_name);
	free(h);
	if (c.closed)
		c.closed(c.data);
}

void etcd_http_close(struct etcd_http *h, void (*closed)(void *data), void *data)
{
	struct closing *c;

	if (h->closer.closing)
		return;
	c = xmalloc(sizeof(*c));
	*c = (struct closing){closed, data, h};
	closer_begin(&h->closer, on_all_closed, c);
	while (!TAILQ_EMPTY(&h->calls))
		etcd_http_cancel(TAILQ_FIRST(&h->calls));
	curl_multi_cleanup(h->multi);
	closer_add(&h->closer, (uv_handle_t *)&h->timer);
	closer_end(&h->closer);
}

/* ---- requests */

static char *url_part(CURLU *url, CURLUPart part)
{
	char *text = NULL, *copy;

	curl_url_get(url, part, &text, 0);
	copy = xstrdup(text);
	curl_free(text);
	return copy;
}

int etcd_http_check_endpoint(const char *endpoint, struct error *err)
{
	_cleanup_free_ char *host = NULL, *port = NULL, *scheme = NULL, *path = NULL;
	CURLU *url;

	if (str_starts(endpoint, UNIX_PREFIX "/"))
		return 0;
	url = curl_url();
	if (url && curl_url_set(url, CURLUPART_URL, endpoint, 0) == CURLUE_OK) {
		scheme = url_part(url, CURLUPART_SCHEME);
		host = url_part(url, CURLUPART_HOST);
		port = url_part(url, CURLUPART_PORT);
		path = url_part(url, CURLUPART_PATH);
	}
	curl_url_cleanup(url);
	if ((str_eq(scheme, "http") || str_eq(scheme, "https")) && host && port && str_eq(path, "/"))
		return 0;
	return error_set(err, ERR_INVALID,
			 "endpoint %s: expected http://HOST:PORT, https://HOST:PORT or unix:/PATH", endpoint);
}

/* The name in the URL is the one checked in the certificate; where to connect to is told apart from it. */
static void set_named_url(struct etcd_http_call *call, const char *endpoint, const char *path, const char *name)
{
	_cleanup_free_ char *host = NULL, *port = NULL, *full = NULL, *where = NULL;
	CURLU *url = curl_url();

	curl_url_set(url, CURLUPART_URL, endpoint, 0);
	host = url_part(url, CURLUPART_HOST);
	port = url_part(url, CURLUPART_PORT);
	curl_url_cleanup(url);
	full = xasprintf("https://%s:%s%s", name, port, path);
	where = xasprintf("%s:%s:%s:%s", name, port, host, port);
	call->connect_to = curl_slist_append(NULL, where);
	curl_easy_setopt(call->easy, CURLOPT_URL, full);
	curl_easy_setopt(call->easy, CURLOPT_CONNECT_TO, call->connect_to);
}

static void set_endpoint(struct etcd_http_call *call, const char *endpoint, const char *path)
{
	struct etcd_http *h = call->http;
	_cleanup_free_ char *url = NULL;

	if (str_starts(endpoint, UNIX_PREFIX)) {
		url = xasprintf("http://localhost%s", path);
		curl_easy_setopt(call->easy, CURLOPT_UNIX_SOCKET_PATH, endpoint + strlen(UNIX_PREFIX));
		curl_easy_setopt(call->easy, CURLOPT_URL, url);
	} else if (h->server_name && str_starts(endpoint, "https:")) {
		set_named_url(call, endpoint, path, h->server_name);
	} else {
		url = xasprintf("%s%s", endpoint, path);
		curl_easy_setopt(call->easy, CURLOPT_URL, url);
	}
}

static void set_tls(struct etcd_http_call *call)
{
	struct etcd_http *h = call->http;

	curl_easy_setopt(call->easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (h->ca_file)
		curl_easy_setopt(call->easy, CURLOPT_CAINFO, h->ca_file);
	if (h->cert_file)
		curl_easy_setopt(call->easy, CURLOPT_SSLCERT, h->cert_file);
	if (h->key_file)
		curl_easy_setopt(call->easy, CURLOPT_SSLKEY, h->key_file);
	/* Certificates are renewed under the same names. */
	curl_easy_setopt(call->easy, CURLOPT_CA_CACHE_TIMEOUT, 0L);
}

static void set_limits(struct etcd_http_call *call, const struct etcd_http_post *post)
{
	curl_easy_setopt(call->easy, CURLOPT_TIMEOUT_MS, (long)post->timeout_ms);
	curl_easy_setopt(call->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)post->connect_timeout_ms);
	curl_easy_setopt(call->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(call->easy, CURLOPT_PROTOCOLS_STR, "http,https");
	/* No proxy from the environment: etcd is reached directly or not at all. */
	curl_easy_setopt(call->easy, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(call->easy, CURLOPT_TCP_KEEPALIVE, 1L);
}

struct etcd_http_call *etcd_http_post(struct etcd_http *h, const struct etcd_http_post *post)
{
	struct etcd_http_call *call = xnew(struct etcd_http_call);
	CURL *easy = curl_easy_init();

	if (!easy)
		abort();
	call->http = h;
	call->easy = easy;
	call->request = post->body;
	call->max_body = post->max_body;
	call->once = post->once;
	call->on_data = post->on_data;
	call->on_done = post->on_done;
	call->data = post->data;
	set_endpoint(call, post->endpoint, post->path);
	set_tls(call);
	set_limits(call, post);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->request);
	curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(call->request));
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, h->headers);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_write);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
	curl_easy_setopt(easy, CURLOPT_PREREQFUNCTION, on_prereq);
	curl_easy_setopt(easy, CURLOPT_PREREQDATA, call);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->why);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
	TAILQ_INSERT_TAIL(&h->calls, call, entry);
	if (curl_multi_add_handle(h->multi, easy) != CURLM_OK)
		abort();
	return call;
}
