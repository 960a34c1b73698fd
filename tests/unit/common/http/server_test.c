#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/http/health.h"
#include "common/http/http.h"
#include "common/mem.h"
#include "support/http_client.h"

#include <zlib.h>

struct fixture {
	uv_loop_t loop;
	struct http_server *server;
	uint16_t port;
	struct http_request *later;
	uv_timer_t timer;
	struct http_stream *stream;
	unsigned streams_closed;
	bool closed;
};

static struct fixture f;

/* ---- handlers */

static void on_hello(struct http_request *req, void *data)
{
	http_add_header(req, "X-Own", "yes");
	http_answer_text(req, 200, "hello %s of %s", http_query(req, "name") ? http_query(req, "name") : "nobody", http_peer(req));
}

static void on_big(struct http_request *req, void *data)
{
	size_t len = 4u << 20;
	char *text = malloc(len);

	memset(text, 'x', len);
	http_answer(req, 200, "text/plain", text, len);
	free(text);
}

static void on_timer(uv_timer_t *timer)
{
	http_answer_text(f.later, 200, "later");
	f.later = NULL;
}

static void on_later(struct http_request *req, void *data)
{
	f.later = req;
	uv_timer_start(&f.timer, on_timer, 30, 0);
}

static void on_never(struct http_request *req, void *data)
{
	__atomic_store_n(&f.later, req, __ATOMIC_RELEASE); /* the client's thread waits for it */
}

static void on_form(struct http_request *req, void *data)
{
	const char *token = http_form(req, "token");

	http_answer_text(req, 200, "[%s] [%s]", token ? token : "none", http_cookie(req, "a") ? http_cookie(req, "a") : "none");
}

static void on_stream_closed(void *data)
{
	f.streams_closed++;
	f.stream = NULL;
}

static void on_events(struct http_request *req, void *data)
{
	struct http_stream_options options = {.content_type = "text/event-stream", .buffer_max_bytes = 64 << 10, .on_close = on_stream_closed};

	f.stream = http_stream_begin(req, &options);
	if (f.stream)
		http_stream_push(f.stream, "data: first\n\n", 13);
}

/* A body in pieces, each when the one before was taken; then it ends. */
#define PIECES 50
#define PIECE_BYTES 60000
static unsigned drained;

static void on_drained(void *data)
{
	static char piece[PIECE_BYTES];

	assert_int_equal(http_stream_unsent(f.stream), 0);
	memset(piece, 'p', sizeof(piece));
	if (++drained > PIECES)
		http_stream_close(f.stream);
	else
		assert_int_equal(http_stream_push(f.stream, piece, sizeof(piece)), 0);
}

static void on_pieces(struct http_request *req, void *data)
{
	struct http_stream_options options = {
		.content_type = "text/plain", .buffer_max_bytes = 64 << 10, .on_close = on_stream_closed, .on_drain = on_drained,
	};

	drained = 0;
	f.stream = http_stream_begin(req, &options);
	assert_int_equal(http_stream_push(f.stream, "begin", 5), 0);
	assert_int_equal(http_stream_unsent(f.stream), 5);
}

static void push_second(uv_timer_t *timer)
{
	assert_int_equal(http_stream_push(f.stream, "data: second\n\n", 14), 0);
	http_stream_close(f.stream);
}

static bool is_fine(void *data, struct error *err)
{
	return true;
}

static bool is_broken(void *data, struct error *err)
{
	error_set(err, ERR_UNAVAILABLE, "no\nruntime works");
	return false;
}

static void on_health(struct http_request *req, void *data)
{
	static const struct health_check checks[] = {{"session", is_fine}, {"runtime", is_broken}};

	health_answer(req, checks, data ? 1 : 2, NULL);
}

static const struct http_route routes[] = {
	{"/hello", HTTP_GET, on_hello}, {"/big", HTTP_GET, on_big}, {"/later", HTTP_GET, on_later}, {"/never", HTTP_GET, on_never},
	{"/pieces", HTTP_GET, on_pieces}, {"/form", HTTP_POST, on_form}, {"/events", HTTP_GET, on_events}, {"/health", HTTP_GET, on_health},
	{"/fine", HTTP_GET, on_health, &f}, {"/tree/*", HTTP_GET, on_hello},
};
static const struct http_header headers[] = {{"X-Content-Type-Options", "nosniff"}};

/* ---- set up */

static void open_with(struct http_options options)
{
	struct error err = ERROR_INIT;

	memset(&f, 0, sizeof(f));
	uv_loop_init(&f.loop);
	uv_timer_init(&f.loop, &f.timer);
	options.loop = &f.loop;
	options.address = "127.0.0.1";
	options.routes = routes;
	options.n_routes = ARRAY_SIZE(routes);
	options.headers = headers;
	options.n_headers = 1;
	f.server = http_open(&options, &err);
	if (!f.server)
		fail_msg("%s", err.msg);
	f.port = http_port(f.server);
	assert_int_not_equal(f.port, 0);
}

static void on_closed(void *data)
{
	f.closed = true;
}

static int teardown(void **state)
{
	if (f.server)
		http_close(f.server, on_closed, NULL);
	uv_close((uv_handle_t *)&f.timer, NULL);
	uv_run(&f.loop, UV_RUN_DEFAULT);
	if (f.later)
		http_answer_text(f.later, 200, "goes nowhere");
	assert_true(f.closed);
	assert_int_equal(uv_loop_close(&f.loop), 0);
	return 0;
}

static struct http_stats stats(void)
{
	struct http_stats s;

	http_stats(f.server, &s);
	return s;
}

/* ---- plain requests */

static char *answer;
static size_t answer_len;
static const char *ask_head, *ask_body;

static void ask_thread(void *data)
{
	answer = client_ask(f.port, ask_head, ask_body, &answer_len);
}

static const char *ask(const char *head, const char *body)
{
	free(answer);
	ask_head = head;
	ask_body = body;
	client_run(&f.loop, ask_thread, NULL);
	return answer;
}

#define assert_has(text, part) \
	do { if (!strstr((text), (part))) fail_msg("\"%s\" is not in: %s", (part), (text)); } while (0)
#define assert_lacks(text, part) \
	do { if (strstr((text), (part))) fail_msg("\"%s\" is in: %s", (part), (text)); } while (0)

static void answers_by_route(void **state)
{
	open_with((struct http_options){0});
	assert_has(ask("GET /hello?name=a%20b HTTP/1.1", NULL), "HTTP/1.1 200 ");
	assert_has(answer, "\r\n\r\nhello a b of 127.0.0.1\n");
	assert_has(answer, "X-Own: yes\r\n");
	assert_has(answer, "X-Content-Type-Options: nosniff\r\n");
	assert_has(answer, "Content-Type: text/plain; charset=utf-8\r\n");
	assert_has(ask("GET /tree/a/b HTTP/1.1", NULL), "hello nobody");
	assert_has(ask("GET /other HTTP/1.1", NULL), "HTTP/1.1 404 ");
	assert_has(ask("POST /hello HTTP/1.1\r\nContent-Length: 0", NULL), "HTTP/1.1 405 ");
	assert_has(answer, "Allow: GET, HEAD\r\n");
	assert_has(ask("DELETE /hello HTTP/1.1", NULL), "HTTP/1.1 405 ");
	assert_has(ask("HEAD /hello HTTP/1.1", NULL), "HTTP/1.1 200 ");
	assert_lacks(answer, "hello");
	assert_lacks(ask("GARBAGE", NULL), "hello");
	assert_lacks(ask("GET /hello HTTP/9.9", NULL), "hello");
	assert_int_equal(stats().connections, 0);
}

static void answers_later(void **state)
{
	open_with((struct http_options){0});
	assert_has(ask("GET /later HTTP/1.1", NULL), "\r\n\r\nlater\n");
}

static void a_stream_at_its_readers_pace(void **state)
{
	open_with((struct http_options){0});
	ask("GET /pieces HTTP/1.1", NULL);
	assert_int_equal(drained, PIECES + 1);
	assert_true(answer_len > PIECES * PIECE_BYTES);
	assert_int_equal(f.streams_closed, 1);
}

static void post_of_a_form(void **state)
{
	open_with((struct http_options){.body_max_bytes = 64});
	assert_has(ask("POST /form HTTP/1.1\r\nCookie: a=b; c=d\r\nContent-Length: 22", "x=1&token=a+b%26%3c&y=2"), "[a b&<] [b]");
	assert_has(ask("POST /form HTTP/1.1\r\nContent-Length: 100",
		       "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"),
		   "HTTP/1.1 413 ");
}

static void head_is_bounded(void **state)
{
	_cleanup_free_ char *head = malloc(70000);
	int n = sprintf(head, "GET /hello HTTP/1.1\r\nX-Long: ");

	open_with((struct http_options){0});
	memset(head + n, 'a', 20000);
	head[n + 20000] = '\0';
	assert_lacks(ask(head, NULL), "hello");
	memset(head + n, 'a', 60000);
	head[n + 60000] = '\0';
	assert_lacks(ask(head, NULL), "hello");
	assert_has(ask("GET /hello HTTP/1.1", NULL), "hello");
}

static void compresses_when_asked(void **state)
{
	z_stream z = {0};
	const char *body;
	size_t len = 4u << 20;
	_cleanup_free_ char *plain = malloc(len + 1);

	open_with((struct http_options){0});
	ask("GET /big HTTP/1.1\r\nAccept-Encoding: deflate, gzip;q=0.5", NULL);
	assert_has(answer, "Content-Encoding: gzip\r\n");
	assert_has(answer, "Vary: ");
	body = strstr(answer, "\r\n\r\n") + 4;
	assert_int_equal(inflateInit2(&z, 31), Z_OK);
	z.next_in = (unsigned char *)body;
	z.avail_in = (unsigned)(answer_len - (size_t)(body - answer));
	z.next_out = (unsigned char *)plain;
	z.avail_out = (unsigned)len + 1;
	assert_int_equal(inflate(&z, Z_FINISH), Z_STREAM_END);
	assert_int_equal(z.total_out, len);
	inflateEnd(&z);
	ask("GET /big HTTP/1.1\r\nAccept-Encoding: gzip;q=0", NULL);
	assert_lacks(answer, "Content-Encoding");
	assert_true(answer_len > len);
	assert_int_equal(stats().answer_bytes, 0);
}

/* ---- keeping connections */

static void keep_thread(void *data)
{
	int fd = client_connect(f.port);

	for (int i = 0; i < 3; i++) {
		char *text;

		client_send(fd, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
		text = client_read(fd, "127.0.0.1\n", NULL);
		assert_non_null(strstr(text, "hello nobody"));
		free(text);
	}
	close(fd);
}

static void keeps_a_connection(void **state)
{
	open_with((struct http_options){0});
	client_run(&f.loop, keep_thread, NULL);
	assert_int_equal(stats().requests, 3);
}

/* ---- deadlines */

static void half_thread(void *data)
{
	int fd = client_connect(f.port);

	client_send(fd, data);
	free(client_read(fd, NULL, NULL)); /* until we are closed: the test's own time-out otherwise */
	close(fd);
}

static void half_requests_end(void **state)
{
	int64_t began = clock_mono_ns();

	open_with((struct http_options){.request_timeout_ms = 200, .idle_timeout_ms = 200});
	client_run(&f.loop, half_thread, "");
	client_run(&f.loop, half_thread, "GET /hel");
	client_run(&f.loop, half_thread, "GET /hello HTTP/1.1\r\nHost:");
	client_run(&f.loop, half_thread, "POST /form HTTP/1.1\r\nContent-Length: 10\r\n\r\nab");
	assert_true(clock_mono_ns() - began < 5 * NS_PER_SEC);
	assert_int_equal(stats().timeouts, 4);
	assert_int_equal(stats().connections, 0);
}

static void slow_handler_is_not_waited_for(void **state)
{
	open_with((struct http_options){.handler_timeout_ms = 150});
	assert_has(ask("GET /never HTTP/1.1", NULL), "HTTP/1.1 503 ");
	http_answer_text(f.later, 200, "too late");
	f.later = NULL;
	assert_has(ask("GET /hello HTTP/1.1", NULL), "hello");
}

static void slow_thread(void *data)
{
	int fd = client_connect(f.port), size = 4096;

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	client_send(fd, "GET /big HTTP/1.1\r\nHost: x\r\n\r\n");
	/* Takes nothing until the other side has given up. */
	while (__atomic_load_n((unsigned *)data, __ATOMIC_ACQUIRE) == 0)
		usleep(2000);
	close(fd);
}

static unsigned gave_up;

static void look_for_timeout(uv_timer_t *timer)
{
	if (stats().timeouts > 0 && stats().connections == 0) {
		__atomic_store_n(&gave_up, 1, __ATOMIC_RELEASE);
		uv_timer_stop(timer);
	}
}

static void slow_reader_is_closed(void **state)
{
	open_with((struct http_options){.answer_timeout_ms = 200});
	gave_up = 0;
	uv_timer_start(&f.timer, look_for_timeout, 20, 20);
	client_run(&f.loop, slow_thread, &gave_up);
	assert_int_equal(stats().timeouts, 1);
	assert_int_equal(stats().answer_bytes, 0);
}

static void too_much_held_is_refused(void **state)
{
	open_with((struct http_options){.answers_max_bytes = 1 << 20});
	assert_has(ask("GET /big HTTP/1.1", NULL), "HTTP/1.1 503 ");
	assert_has(answer, "Retry-After: 5\r\n");
	assert_has(ask("GET /hello HTTP/1.1", NULL), "hello");
}

/* ---- room */

enum { HOLDERS = 20 };

static void holders_thread(void *data)
{
	int fds[HOLDERS];
	char *text;

	for (int i = 0; i < HOLDERS; i++) {
		fds[i] = client_connect(f.port);
		client_send(fds[i], "GET /h");
	}
	text = client_ask(f.port, "GET /hello HTTP/1.1", NULL, NULL);
	assert_non_null(strstr(text, "hello nobody"));
	free(text);
	for (int i = 0; i < HOLDERS; i++)
		close(fds[i]);
}

static void silent_ones_make_room(void **state)
{
	open_with((struct http_options){.per_address_max = 5});
	client_run(&f.loop, holders_thread, NULL);
	assert_true(stats().evicted_connections >= HOLDERS + 1 - 5);
	assert_int_equal(stats().refused_connections, 0);
}

static void busy_thread(void *data)
{
	int a = client_connect(f.port), b;
	char *text;

	client_send(a, "GET /never HTTP/1.1\r\nHost: x\r\n\r\n");
	while (!__atomic_load_n(&f.later, __ATOMIC_ACQUIRE))
		usleep(1000);
	b = client_connect(f.port);
	client_send(b, "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
	text = client_read(b, NULL, NULL);
	assert_string_equal(text, "");
	free(text);
	close(a);
	close(b);
}

static void those_at_work_keep_their_place(void **state)
{
	open_with((struct http_options){.connections_max = 1});
	client_run(&f.loop, busy_thread, NULL);
	assert_int_equal(stats().refused_connections, 1);
	assert_int_equal(stats().evicted_connections, 0);
}

/* ---- streams */

static void events_thread(void *data)
{
	answer = client_ask(f.port, "GET /events HTTP/1.1", NULL, &answer_len);
}

static void start_second(uv_timer_t *timer)
{
	if (f.stream)
		push_second(timer);
	else
		uv_timer_start(timer, start_second, 10, 0);
}

static void stream_goes_on_and_ends(void **state)
{
	open_with((struct http_options){0});
	free(answer);
	uv_timer_start(&f.timer, start_second, 50, 0);
	client_run(&f.loop, events_thread, NULL);
	assert_has(answer, "Content-Type: text/event-stream\r\n");
	assert_has(answer, "data: first\n\n");
	assert_has(answer, "data: second\n\n");
	while (f.streams_closed == 0)
		uv_run(&f.loop, UV_RUN_ONCE);
}

static void flood(uv_timer_t *timer)
{
	static const char line[1024] = "data: ";

	if (!f.stream && f.streams_closed) {
		__atomic_store_n(&gave_up, 1, __ATOMIC_RELEASE);
		uv_timer_stop(timer);
		return;
	}
	for (int i = 0; i < 64 && f.stream; i++) {
		if (http_stream_push(f.stream, line, sizeof(line)) < 0)
			break;
	}
}

static void slow_events_thread(void *data)
{
	int fd = client_connect(f.port);

	client_send(fd, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
	while (__atomic_load_n(&gave_up, __ATOMIC_ACQUIRE) == 0)
		usleep(2000);
	close(fd);
}

static void slow_stream_is_dropped(void **state)
{
	open_with((struct http_options){0});
	gave_up = 0;
	uv_timer_start(&f.timer, flood, 5, 5);
	client_run(&f.loop, slow_events_thread, NULL);
	assert_int_equal(f.streams_closed, 1);
	assert_int_equal(stats().streams, 0);
}

static void leave_thread(void *data)
{
	int fd = client_connect(f.port);

	client_send(fd, "GET /events HTTP/1.1\r\nHost: x\r\n\r\n");
	free(client_read(fd, "first", NULL));
	if (!data)
		close(fd);
}

static void stream_ends_with_the_server(void **state)
{
	open_with((struct http_options){.streams_max = 1});
	client_run(&f.loop, leave_thread, &f);
	assert_int_equal(f.streams_closed, 0);
	assert_has(ask("GET /events HTTP/1.1", NULL), "HTTP/1.1 503 ");
	http_close(f.server, on_closed, NULL);
	f.server = NULL;
	assert_int_equal(f.streams_closed, 1);
}

static void gone_client_is_noticed_at_the_next_push(void **state)
{
	open_with((struct http_options){0});
	client_run(&f.loop, leave_thread, NULL);
	for (int i = 0; i < 1000 && f.stream; i++) {
		http_stream_push(f.stream, "data: x\n\n", 9);
		uv_run(&f.loop, UV_RUN_ONCE);
	}
	assert_int_equal(f.streams_closed, 1);
}

/* ---- health */

static void health_says_why(void **state)
{
	open_with((struct http_options){0});
	assert_has(ask("GET /health HTTP/1.1", NULL), "HTTP/1.1 503 ");
	assert_has(answer, "ok session\nfailed runtime: no runtime works\n");
	assert_has(ask("GET /fine HTTP/1.1", NULL), "HTTP/1.1 200 ");
}

static void a_port_that_is_taken(void **state)
{
	struct http_options options = {.loop = &f.loop, .address = "127.0.0.1"};
	struct error err = ERROR_INIT;

	open_with((struct http_options){0});
	options.port = f.port;
	assert_null(http_open(&options, &err));
	assert_int_equal(err.code, ERR_UNAVAILABLE);
	assert_non_null(strstr(err.msg, "address already in use"));
	options.port = 0;
	options.cert_file = options.key_file = "/nonexistent";
	assert_null(http_open(&options, &err));
	assert_int_equal(err.code, ERR_INVALID);
	options.cert_file = options.key_file = NULL;
	options.address = "not-an-address";
	assert_null(http_open(&options, &err));
	assert_has(ask("GET /hello HTTP/1.1", NULL), "hello");
}

static void closes_while_a_handler_is_at_work(void **state)
{
	open_with((struct http_options){0});
	client_run(&f.loop, leave_thread, &f); /* a stream */
	assert_non_null(f.stream);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(answers_by_route, teardown),
		cmocka_unit_test_teardown(answers_later, teardown),
		cmocka_unit_test_teardown(a_stream_at_its_readers_pace, teardown),
		cmocka_unit_test_teardown(post_of_a_form, teardown),
		cmocka_unit_test_teardown(head_is_bounded, teardown),
		cmocka_unit_test_teardown(compresses_when_asked, teardown),
		cmocka_unit_test_teardown(keeps_a_connection, teardown),
		cmocka_unit_test_teardown(half_requests_end, teardown),
		cmocka_unit_test_teardown(slow_handler_is_not_waited_for, teardown),
		cmocka_unit_test_teardown(slow_reader_is_closed, teardown),
		cmocka_unit_test_teardown(too_much_held_is_refused, teardown),
		cmocka_unit_test_teardown(silent_ones_make_room, teardown),
		cmocka_unit_test_teardown(those_at_work_keep_their_place, teardown),
		cmocka_unit_test_teardown(stream_goes_on_and_ends, teardown),
		cmocka_unit_test_teardown(slow_stream_is_dropped, teardown),
		cmocka_unit_test_teardown(stream_ends_with_the_server, teardown),
		cmocka_unit_test_teardown(gone_client_is_noticed_at_the_next_push, teardown),
		cmocka_unit_test_teardown(health_says_why, teardown),
		cmocka_unit_test_teardown(a_port_that_is_taken, teardown),
		cmocka_unit_test_teardown(closes_while_a_handler_is_at_work, teardown),
	};
	int r = cmocka_run_group_tests(tests, NULL, NULL);

	free(answer);
	return r;
}
