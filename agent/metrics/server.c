#include "server.h"

#include "common/clock.h"
#include "common/http/http.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"

#define RETRY_NS (10 * NS_PER_SEC)

struct metrics_server {
	struct metrics_server_options opt;
	struct http_route routes[4];
	struct collector *collector;
	struct metrics_endpoint *endpoint;
	struct http_server *http;      /* NULL while it cannot listen */
	bool complained;
	uv_timer_t retry;
	struct closer closer;
	void (*closed)(void *data);
	void *closed_data;
};

static const struct http_header headers[] = {
	{"X-Content-Type-Options", "nosniff"},
	{"Content-Security-Policy", "default-src 'none'"},
};

static void on_alive(struct http_request *req, void *data)
{
	struct metrics_server *s = data;

	health_answer(req, s->opt.alive, s->opt.n_alive, s->opt.collector.data);
}

static void on_ready(struct http_request *req, void *data)
{
	struct metrics_server *s = data;

	health_answer(req, s->opt.ready, s->opt.n_ready, s->opt.collector.data);
}

static void on_index(struct http_request *req, void *data)
{
	http_answer_text(req, 200, "/metrics\n/healthz\n/readyz");
}

static void facts(void *data, struct collector_facts *ret)
{
	struct metrics_server *s = data;

	s->opt.collector.facts(s->opt.collector.data, ret);
	ret->http = s->http;
}

static void on_retry(uv_timer_t *timer);

static void listen_now(struct metrics_server *s)
{
	struct http_options options = {
		.loop = s->opt.collector.loop, .address = s->opt.address, .port = s->opt.port,
		.cert_file = s->opt.cert_file, .key_file = s->opt.key_file, .client_ca_file = s->opt.client_ca_file,
		.routes = s->routes, .n_routes = ARRAY_SIZE(s->routes), .headers = headers, .n_headers = ARRAY_SIZE(headers),
	};
	struct error err = ERROR_INIT;

	s->http = http_open(&options, &err);
	if (s->http) {
		log_info("metrics", kv_str("address", s->opt.address), kv_u64("port", http_port(s->http)),
			 kv_bool("tls", s->opt.cert_file));
		return;
	}
	if (!s->complained)
		log_error("metrics", kv_err(&err));
	s->complained = true;
	loop_timer_in(&s->retry, RETRY_NS, on_retry);
}

static void on_retry(uv_timer_t *timer)
{
	listen_now(container_of(timer, struct metrics_server, retry));
}

struct metrics_server *metrics_server_new(const struct metrics_server_options *options)
{
	struct metrics_server *s = xnew(struct metrics_server);
	struct collector_options collector = options->collector;
	struct metrics_source source;

	s->opt = *options;
	collector.facts = facts;
	collector.data = s;
	s->collector = collector_new(&collector);
	source = collector_source(s->collector);
	s->endpoint = metrics_endpoint_new(collector.loop, &source);
	s->routes[0] = (struct http_route){"/metrics", HTTP_GET, metrics_endpoint_handle, s->endpoint};
	s->routes[1] = (struct http_route){"/healthz", HTTP_GET, on_alive, s};
	s->routes[2] = (struct http_route){"/readyz", HTTP_GET, on_ready, s};
	s->routes[3] = (struct http_route){"/", HTTP_GET, on_index, s};
	closer_init(&s->closer);
	uv_timer_init(collector.loop, &s->retry);
	listen_now(s);
	return s;
}

static void on_closed(void *data)
{
	struct metrics_server *s = data;
	void (*closed)(void *) = s->closed;
	void *closed_data = s->closed_data;

	free(s);
	closed(closed_data);
}

static void on_endpoint_closed(void *data)
{
	struct metrics_server *s = data;

	collector_close(s->collector);
	closer_begin(&s->closer, on_closed, s);
	closer_add(&s->closer, (uv_handle_t *)&s->retry);
	closer_end(&s->closer);
}

static void on_http_closed(void *data)
{
	struct metrics_server *s = data;

	metrics_endpoint_close(s->endpoint, on_endpoint_closed, s);
}

void metrics_server_close(struct metrics_server *s, void (*closed)(void *data), void *data)
{
	if (!s) {
		closed(data);
		return;
	}
	s->closed = closed;
	s->closed_data = data;
	uv_timer_stop(&s->retry);
	http_close(s->http, on_http_closed, s);
}
