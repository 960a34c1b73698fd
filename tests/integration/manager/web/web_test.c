/* The page's server side over real HTTP: signing in, what is refused, snapshots and changes, slow and many viewers. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/web_fixture.h"

#include "support/http_client.h"

#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <time.h>

static struct web_fixture f;
static char *token, *token_id;
static char cookie[64], key[64];

static int begin(void **state)
{
	web_fixture_open(&f, 0);
	token = web_fixture_token(&f, 3600 * NS_PER_SEC, &token_id);
	return 0;
}

static int end(void **state)
{
	free(token);
	free(token_id);
	token = token_id = NULL;
	web_fixture_close(&f);
	return 0;
}

/* ---------------------------------------------------------------- asking */

static char *answer;
static size_t answer_len;
static const char *head, *body, *until;

static void ask_thread(void *data)
{
	int fd = client_connect(http_port(f.server));
	char *text = NULL;

	if (asprintf(&text, "%s\r\nHost: x\r\nConnection: close\r\n\r\n%s", head, body ? body : "") < 0)
		abort();
	client_send(fd, text);
	free(text);
	answer = client_read(fd, until, &answer_len);
	close(fd);
}

static const char *ask_until(const char *h, const char *b, const char *u)
{
	free(answer);
	head = h;
	body = b;
	until = u;
	client_run(&f.loop, ask_thread, NULL);
	return answer;
}

static const char *ask(const char *h, const char *b)
{
	return ask_until(h, b, NULL);
}

/* A request of somebody who is signed in; extra headers begin with a line break. */
static const char *ask_signed(const char *path, const char *extra, const char *u)
{
	_cleanup_free_ char *h = xasprintf("GET %s HTTP/1.1\r\nCookie: __Host-skein=%s\r\nX-Skein-Key: %s%s", path, cookie, key, extra);

	return ask_until(h, NULL, u);
}

#define assert_has(text, part)                                                                     \
	do {                                                                                       \
		if (!strstr((text), (part)))                                                       \
			fail_msg("\"%s\" is not in: %.3000s", (part), (text));                     \
	} while (0)
#define assert_lacks(text, part)                                                                   \
	do {                                                                                       \
		if (strstr((text), (part)))                                                        \
			fail_msg("\"%s\" is in: %.3000s", (part), (text));                         \
	} while (0)

static const char *post_sign_in(const char *text, const char *extra)
{
	_cleanup_free_ char *form = xasprintf("token=%s", text);
	_cleanup_free_ char *h = xasprintf("POST /ui/sign-in HTTP/1.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %zu%s",
					   strlen(form), extra);

	return ask(h, form);
}

static void sign_in_ok(void)
{
	assert_has(post_sign_in(token, ""), "HTTP/1.1 200 ");
	assert_int_equal(sscanf(strstr(answer, "__Host-skein="), "__Host-skein=%60[0-9a-z]", cookie), 1);
	assert_int_equal(sscanf(strstr(answer, "\"key\":\""), "\"key\":\"%60[0-9a-z]", key), 1);
}

/* ---------------------------------------------------------------- signing in */

static void a_token_becomes_a_session(void **state)
{
	sign_in_ok();
	assert_has(answer, "; Secure; HttpOnly; SameSite=Strict");
	assert_has(answer, "Path=/;");
	assert_lacks(answer, token);
	assert_has(ask_signed("/ui/node?id=nobody", "", NULL), "HTTP/1.1 404 ");
	assert_has(ask_signed("/ui/events", "", "event: whole"), "event: reset");
}

static void nothing_is_told_without_both_secrets(void **state)
{
	static const char *const paths[] = {"/ui/events", "/ui/node?id=n1", "/ui/service?id=s", "/ui/task?id=t", "/ui/log?task=t", "/ui/usage?nodes=n1"};

	web_fixture_put(&f, node("n1"));
	sign_in_ok();
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		_cleanup_free_ char *none = xasprintf("GET %s HTTP/1.1", paths[i]);
		_cleanup_free_ char *half = xasprintf("GET %s HTTP/1.1\r\nCookie: __Host-skein=%s", paths[i], cookie);
		_cleanup_free_ char *other = xasprintf("GET %s HTTP/1.1\r\nX-Skein-Key: %s", paths[i], key);
		_cleanup_free_ char *token_itself = xasprintf("GET %s HTTP/1.1\r\nCookie: __Host-skein=%s\r\nX-Skein-Key: %s", paths[i], token, token);
		const char *const heads[] = {none, half, other, token_itself};

		for (size_t k = 0; k < ARRAY_SIZE(heads); k++) {
			assert_has(ask(heads[k], NULL), "HTTP/1.1 401 ");
			assert_lacks(answer, "n1");
		}
	}
}

static void signing_out(void **state)
{
	_cleanup_free_ char *h = NULL, *elsewhere = NULL;

	sign_in_ok();
	h = xasprintf("POST /ui/sign-out HTTP/1.1\r\nContent-Length: 0\r\nCookie: __Host-skein=%s\r\nX-Skein-Key: %s", cookie, key);
	elsewhere = xasprintf("%s\r\nSec-Fetch-Site: cross-site", h);
	assert_has(ask(elsewhere, ""), "HTTP/1.1 403 ");
	assert_lacks(answer, "Max-Age=0");
	assert_has(ask_signed("/ui/node?id=nobody", "", NULL), "HTTP/1.1 404 "); /* still signed in, or it were 401 */
	assert_has(ask(h, ""), "Max-Age=0");
	assert_has(ask_signed("/ui/events", "", NULL), "HTTP/1.1 401 ");
}

static void wrong_tokens(void **state)
{
	/* Not counted: they are not attempts of this address but of another site. */
	for (int i = 0; i < 10; i++)
		assert_has(post_sign_in(token, "\r\nSec-Fetch-Site: cross-site"), "HTTP/1.1 403 ");
	for (int i = 0; i < 5; i++)
		assert_has(post_sign_in("SKEIN-UI-00000000000000000000000000000000000", ""), "HTTP/1.1 403 ");
	/* From now on not even the right one is looked at. */
	assert_has(post_sign_in(token, ""), "HTTP/1.1 429 ");
	assert_has(answer, "Retry-After: ");
}

static void methods(void **state)
{
	assert_has(ask("GET /ui/sign-in HTTP/1.1", NULL), "HTTP/1.1 405 ");
	assert_has(answer, "Allow: POST");
	assert_has(ask("POST /ui/events HTTP/1.1\r\nContent-Length: 0", ""), "HTTP/1.1 405 ");
	assert_has(ask("GET /ui HTTP/1.1", NULL), "Location: /ui/");
	assert_has(ask("GET /ui/../etc/passwd HTTP/1.1", NULL), "HTTP/1.1 404 ");
}

/* ---------------------------------------------------------------- the page */

static void the_page_and_its_policy(void **state)
{
	char etag[64];
	_cleanup_free_ char *h = NULL;

	assert_has(ask("GET /ui/ HTTP/1.1", NULL), "HTTP/1.1 200 ");
	assert_has(answer, "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self';");
	assert_has(answer, "frame-ancestors 'none'");
	assert_has(answer, "Referrer-Policy: no-referrer");
	/* What the policy forbids is not in it. */
	assert_lacks(answer, "<style");
	assert_lacks(answer, " style=");
	assert_lacks(answer, " onclick");
	assert_lacks(answer, "<script>");
	assert_int_equal(sscanf(strstr(answer, "ETag: "), "ETag: %60s", etag), 1);
	h = xasprintf("GET /ui/ HTTP/1.1\r\nIf-None-Match: %s", etag);
	assert_has(ask(h, NULL), "HTTP/1.1 304 ");
	assert_has(ask("GET /ui/app.js HTTP/1.1", NULL), "Content-Type: text/javascript");
	assert_has(ask("GET /ui/app.js HTTP/1.1\r\nAccept-Encoding: gzip", NULL), "Content-Encoding: gzip");
	assert_has(ask("GET /ui/nothing.js HTTP/1.1", NULL), "HTTP/1.1 404 ");
	/* Refusals carry it, too. */
	assert_has(ask("GET /ui/events HTTP/1.1", NULL), "Content-Security-Policy: default-src 'none';");
}

/* ---------------------------------------------------------------- the stream */

/* Something happens in the cluster once the client has seen `when`. */
static atomic_bool seen;
static uv_timer_t timer;
static void (*happens)(void);

static void on_timer(uv_timer_t *t)
{
	if (!atomic_load(&seen))
		return;
	uv_timer_stop(t);
	happens();
}

struct watching {
	const char *first, *then;
	char *before, *after;
};

static void watch_thread(void *data)
{
	struct watching *w = data;
	int fd = client_connect(http_port(f.server));
	_cleanup_free_ char *text = xasprintf("GET /ui/events HTTP/1.1\r\nHost: x\r\nCookie: __Host-skein=%s\r\nX-Skein-Key: %s\r\n\r\n", cookie, key);

	client_send(fd, text);
	w->before = client_read(fd, w->first, NULL);
	atomic_store(&seen, true);
	w->after = client_read(fd, w->then, NULL);
	close(fd);
}

static void watch(struct watching *w, void (*change)(void))
{
	atomic_store(&seen, false);
	happens = change;
	uv_timer_init(&f.loop, &timer);
	uv_timer_start(&timer, on_timer, 5, 5);
	client_run(&f.loop, watch_thread, w);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&f.loop, UV_RUN_NOWAIT);
}

static void scale_up_and_fail(void)
{
	web_fixture_put(&f, task("t2", .slot = 2, .node = "n1", .state = TASK_STARTING));
	web_fixture_put(&f, task("t2", .slot = 2, .node = "n1"));
	web_fixture_put(&f, task("t1", .slot = 1, .node = "n1", .state = TASK_SHUTDOWN, .desired = TASK_REMOVE));
	web_fixture_event(&f, KIND_TASK, "t1", NULL);
	web_fixture_put(&f, node("n1", .state = NODE_DOWN));
}

static void small_cluster(void)
{
	web_fixture_put(&f, node("n1", .address = "10.0.0.1"));
	web_fixture_put(&f, service("web", .replicas = 2, .env = "PASSWORD=hidden"));
	web_fixture_put(&f, task("t1", .slot = 1, .node = "n1"));
}

static void snapshot_and_changes(void **state)
{
	struct watching w = {.first = "event: whole\ndata: {}\n\n", .then = "\"gone\":"};

	small_cluster();
	sign_in_ok();
	watch(&w, scale_up_and_fail);
	assert_has(w.before, "Content-Type: text/event-stream");
	assert_has(w.before, "event: reset\n");
	assert_has(w.before, "\"id\":\"n1\"");
	assert_has(w.before, "[\"t1\",");
	assert_lacks(w.before, "hidden");
	/* All of one moment in one message, each object once. */
	assert_has(w.after, "[\"t2\",2,1,2,512,");
	assert_lacks(w.after, "448");
	assert_has(w.after, "[\"task\",\"t1\",640]");
	assert_has(w.after, "\"state\":1");
	free(w.before);
	free(w.after);
}

static void a_reader_comes_back(void **state)
{
	_cleanup_free_ char *last = NULL;
	char id[64];

	small_cluster();
	sign_in_ok();
	ask_signed("/ui/events", "", "event: whole");
	assert_int_equal(sscanf(strstr(answer, "\nid: "), "\nid: %60s", id), 1);
	web_fixture_put(&f, task("t2", .slot = 2, .node = "n1"));
	last = xasprintf("\r\nLast-Event-ID: %s", id);
	/* Only what is new. */
	ask_signed("/ui/events", last, "event: whole");
	assert_lacks(answer, "event: reset");
	assert_lacks(answer, "\"t1\"");
	assert_has(answer, "[\"t2\",");
	/* Positions of another board, or nonsense: everything. */
	assert_has(ask_signed("/ui/events", "\r\nLast-Event-ID: 0123456789-5", "event: whole"), "event: reset");
	assert_has(ask_signed("/ui/events", "\r\nLast-Event-ID: nonsense", "event: whole"), "event: reset");
}

static void revoke_token(void)
{
	web_fixture_event(&f, KIND_UI_TOKEN, token_id, NULL);
}

static void a_revoked_token_ends_its_streams(void **state)
{
	struct watching w = {.first = "event: whole", .then = NULL};

	small_cluster();
	sign_in_ok();
	watch(&w, revoke_token);
	assert_has(w.after, "event: signed-out");
	assert_has(ask_signed("/ui/events", "", NULL), "HTTP/1.1 401 ");
	free(w.before);
	free(w.after);
}

/* ---------------------------------------------------------------- details */

static void details(void **state)
{
	small_cluster();
	web_fixture_put(&f, task("t0", .slot = 1, .node = "n1", .state = TASK_FAILED, .desired = TASK_SHUTDOWN, .created_at = NOW - 9000 * SEC,
				 .err = "task: non-zero exit (1) <b>"));
	sign_in_ok();
	ask_signed("/ui/task?id=t1", "", NULL);
	assert_has(answer, "Content-Type: application/json");
	assert_has(answer, "\"history\":[{\"id\":\"t1\"");
	assert_has(answer, "non-zero exit (1) <b>");
	assert_lacks(answer, "hidden");
	assert_has(ask_signed("/ui/service?id=web", "", NULL), "\"ports\":[]");
	assert_lacks(answer, "hidden");
	assert_has(ask_signed("/ui/node?id=n1", "", NULL), "\"hostname\":\"n1\"");
	assert_has(ask_signed("/ui/task?id=", "", NULL), "HTTP/1.1 404 ");
	assert_has(ask_signed("/ui/log?task=t9", "", NULL), "HTTP/1.1 404 ");
}

/* ---------------------------------------------------------------- many and large */

#define NODES 3000
#define TASKS 20000
#define SERVICES 100

static void large_cluster(void)
{
	for (unsigned i = 0; i < NODES; i++) {
		_cleanup_free_ char *id = xasprintf("node%021u", i);

		view_add(f.view, node(id, .address = "10.0.0.1"));
	}
	for (unsigned i = 0; i < SERVICES; i++) {
		_cleanup_free_ char *id = xasprintf("service%018u", i);

		view_add(f.view, service(id, .replicas = TASKS / SERVICES));
	}
	for (unsigned i = 0; i < TASKS; i++) {
		_cleanup_free_ char *id = xasprintf("task%021u", i), *on = xasprintf("node%021u", i % NODES), *of = xasprintf("service%018u", i % SERVICES);

		view_add(f.view, task(id, .service = of, .slot = i / SERVICES + 1, .node = on));
	}
}

static unsigned occurrences(const char *text, const char *part)
{
	unsigned n = 0;

	for (; (text = strstr(text, part)); text += strlen(part))
		n++;
	return n;
}

/* Who does not read; the kernel's buffers take some of it. */
static int deaf_client(void)
{
	int fd = client_connect(http_port(f.server)), small = 4096;
	_cleanup_free_ char *text = xasprintf("GET /ui/events HTTP/1.1\r\nHost: x\r\nCookie: __Host-skein=%s\r\nX-Skein-Key: %s\r\n\r\n", cookie, key);

	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	client_send(fd, text);
	return fd;
}

/* Of this thread, which is the loop's; other programs on the machine do not count. */
static int64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * NS_PER_SEC + t.tv_nsec;
}

static void a_large_cluster_and_deaf_readers(void **state)
{
	int deaf[8];
	int64_t began, board;

	large_cluster();
	sign_in_ok();
	deaf[0] = deaf_client();
	began = cpu_ns();
	for (struct http_stats s = {0}; s.streams < 1; http_stats(f.server, &s))
		uv_run(&f.loop, UV_RUN_ONCE);
	board = cpu_ns() - began;
	for (size_t i = 1; i < ARRAY_SIZE(deaf); i++)
		deaf[i] = deaf_client();
	for (struct http_stats s = {0}; s.streams < ARRAY_SIZE(deaf); http_stats(f.server, &s))
		uv_run(&f.loop, UV_RUN_ONCE);
	began = cpu_ns();
	ask_signed("/ui/events", "", "event: whole");
	print_message("the board: %" PRId64 " ms of CPU; a snapshot of %zu bytes: %" PRId64 " ms\n",
		      board / NS_PER_MS, answer_len, (cpu_ns() - began) / NS_PER_MS);
	assert_int_equal(occurrences(answer, "\"id\":\"node"), NODES);
	assert_int_equal(occurrences(answer, "[\"task"), TASKS);
	assert_true(answer_len < 3u << 20);
	/* Everything changes many times: what is kept for the deaf ones does not grow with it. */
	for (unsigned round = 0; round < 20; round++) {
		for (unsigned i = 0; i < 1000; i++) {
			_cleanup_free_ char *id = xasprintf("task%021u", i), *of = xasprintf("service%018u", i % SERVICES);

			web_fixture_put(&f, task(id, .service = of, .slot = i / SERVICES + 1, .node = "node000000000000000000001",
						 .at = NOW + round * SEC));
		}
		uv_run(&f.loop, UV_RUN_NOWAIT);
	}
	assert_has(ask_signed("/ui/events", "", "event: whole"), "event: whole");
	for (size_t i = 0; i < ARRAY_SIZE(deaf); i++)
		close(deaf[i]);
}

static void many_readers(void **state)
{
	int fds[32];

	small_cluster();
	sign_in_ok();
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = deaf_client();
	for (struct http_stats s = {0}; s.streams < ARRAY_SIZE(fds); http_stats(f.server, &s))
		uv_run(&f.loop, UV_RUN_ONCE);
	assert_has(ask_signed("/ui/events", "", NULL), "HTTP/1.1 503 ");
	close(fds[0]);
	for (struct http_stats s = {.streams = 32}; s.streams == ARRAY_SIZE(fds); http_stats(f.server, &s))
		uv_run(&f.loop, UV_RUN_ONCE);
	assert_has(ask_signed("/ui/events", "", "event: whole"), "event: whole");
	for (size_t i = 1; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, begin, end)
	const struct CMUnitTest tests[] = {
		T(a_token_becomes_a_session), T(nothing_is_told_without_both_secrets), T(signing_out), T(wrong_tokens), T(methods),
		T(the_page_and_its_policy), T(snapshot_and_changes), T(a_reader_comes_back), T(a_revoked_token_ends_its_streams), T(details),
		T(a_large_cluster_and_deaf_readers), T(many_readers),
	};
	int failed;

	signal(SIGPIPE, SIG_IGN);
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	free(answer);
	return failed;
}
