/* curl against our TLS: with and without client certificates, a certificate renewed while it serves, plain text and slow handshakes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "common/file.h"
#include "common/http/http.h"
#include "common/mem.h"
#include "support/http_client.h"

#include <signal.h>
#include <sys/wait.h>

static uv_loop_t loop;
static struct http_server *server;
static char dir[] = "/tmp/skein-tls-XXXXXX";
static bool closed;

static void on_big(struct http_request *req, void *data)
{
	size_t len = 3u << 20;
	char *text = malloc(len);

	memset(text, 'x', len);
	assert_true(http_is_tls(req));
	assert_string_equal(http_peer(req), "127.0.0.1");
	http_answer(req, 200, "application/octet-stream", text, len);
	free(text);
}

static const struct http_route routes[] = {{"/big", HTTP_GET, on_big}};

static int sh(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static int sh(const char *fmt, ...)
{
	char command[2048];
	va_list ap;
	int r;

	va_start(ap, fmt);
	vsnprintf(command, sizeof(command), fmt, ap);
	va_end(ap);
	r = system(command);
	return WIFEXITED(r) ? WEXITSTATUS(r) : -1;
}

static void make_cert(const char *name, const char *serial)
{
	assert_int_equal(sh("cd %s && openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout %s.key -subj /CN=%s -out %s.csr "
			    "2>/dev/null && printf 'subjectAltName=IP:127.0.0.1' >ext && openssl x509 -req -in %s.csr -CA ca.crt -CAkey ca.key "
			    "-set_serial %s -days 2 -extfile ext -out %s.crt 2>/dev/null", dir, name, name, name, name, serial, name), 0);
}

static int setup(void **state)
{
	if (!mkdtemp(dir))
		return -1;
	if (sh("cd %s && for ca in ca other; do openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout $ca.key "
	       "-subj /CN=$ca -days 2 -out $ca.crt 2>/dev/null; done", dir) != 0)
		return -1;
	make_cert("server", "100");
	make_cert("client", "200");
	return 0;
}

static int cleanup(void **state)
{
	return file_remove_tree(dir, NULL);
}

static void open_server(bool clients, unsigned timeout_ms)
{
	_cleanup_free_ char *cert = xasprintf("%s/server.crt", dir), *key = xasprintf("%s/server.key", dir), *ca = xasprintf("%s/ca.crt", dir);
	struct http_options options = {
		.loop = &loop, .address = "127.0.0.1", .routes = routes, .n_routes = 1, .cert_file = cert, .key_file = key,
		.client_ca_file = clients ? ca : NULL, .request_timeout_ms = timeout_ms,
	};
	struct error err = ERROR_INIT;

	uv_loop_init(&loop);
	server = http_open(&options, &err);
	if (!server)
		fail_msg("%s", err.msg);
}

static void on_closed(void *data)
{
	closed = true;
}

static int teardown(void **state)
{
	closed = false;
	http_close(server, on_closed, NULL);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_true(closed);
	return uv_loop_close(&loop);
}

struct get {
	const char *args;
	int status;
};

static void get_thread(void *data)
{
	struct get *g = data;

	g->status = sh("curl -sS --max-time 10 --cacert %s/ca.crt %s -o %s/out https://127.0.0.1:%u/big 2>%s/err", dir, g->args, dir,
		       http_port(server), dir);
}

static int get(const char *args)
{
	struct get g = {.args = args};

	client_run(&loop, get_thread, &g);
	return g.status;
}

static void anybody(void **state)
{
	open_server(false, 0);
	assert_int_equal(get(""), 0);
	assert_int_equal(sh("test $(stat -c %%s %s/out) = %u", dir, 3u << 20), 0);
	assert_int_equal(get("--tls-max 1.2"), 0);
	assert_int_not_equal(get("--tls-max 1.1"), 0);
}

static void only_who_has_a_certificate(void **state)
{
	_cleanup_free_ char *good = xasprintf("--cert %s/client.crt --key %s/client.key", dir, dir);
	_cleanup_free_ char *wrong = xasprintf("--cert %s/other.crt --key %s/other.key", dir, dir);

	open_server(true, 0);
	assert_int_equal(get(good), 0);
	assert_int_not_equal(get(""), 0);
	assert_int_not_equal(get(wrong), 0);
}

/* 4242 = 0x1092 */
static void serial_thread(void *data)
{
	*(int *)data = sh("echo | timeout 10 openssl s_client -connect 127.0.0.1:%u 2>/dev/null | openssl x509 -noout -serial | grep -qx serial=1092",
			  http_port(server));
}

static void a_renewed_certificate_is_used(void **state)
{
	int status = -1;

	open_server(false, 0);
	assert_int_equal(get(""), 0);
	/* Half of a renewal: the old pair goes on. */
	assert_int_equal(sh("cd %s && cp server.key old.key && cp server.crt old.crt && openssl ecparam -genkey -name prime256v1 -noout -out new.key "
			    "&& mv new.key server.key", dir), 0);
	assert_int_equal(get(""), 0);
	make_cert("server", "4242");
	client_run(&loop, serial_thread, &status);
	assert_int_equal(status, 0);
	assert_int_equal(get(""), 0);
}

/* ---- who does not speak TLS, or never ends its handshake */

static void silent_thread(void *data)
{
	int fd = client_connect(http_port(server));

	client_send(fd, data);
	free(client_read(fd, NULL, NULL));
	close(fd);
}

static void bad_handshakes_end(void **state)
{
	struct http_stats stats;

	open_server(false, 200);
	client_run(&loop, silent_thread, "");
	client_run(&loop, silent_thread, "\x16\x03\x01");
	client_run(&loop, silent_thread, "GET / HTTP/1.1\r\n\r\n");
	while (http_stats(server, &stats), stats.connections > 0)
		uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(stats.timeouts, 2);
	assert_int_equal(get(""), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(anybody, teardown),
		cmocka_unit_test_teardown(only_who_has_a_certificate, teardown),
		cmocka_unit_test_teardown(a_renewed_certificate_is_used, teardown),
		cmocka_unit_test_teardown(bad_handshakes_end, teardown),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, setup, cleanup);
}
