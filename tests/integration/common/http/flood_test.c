/*
 * 500 scrapers that read slowly, or never finish what they ask: the loop turns on, memory stays, and who behaves is served.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/http/http.h"
#include "common/mem.h"
#include "common/metrics/endpoint.h"
#include "common/metrics/metrics.h"
#include "support/http_client.h"

#include <errno.h>
#include <signal.h>
#include <fcntl.h>
#include <sys/resource.h>

#define FLOOD 500
#define SERIES 30000 /* about 4 MiB: 500 containers and more */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define MEMORY_MAX_BYTES (512u << 20) /* AddressSanitizer keeps 256 MiB of what was freed, ThreadSanitizer shadows everything */
#else
#define MEMORY_MAX_BYTES (96u << 20)
#endif
#define TURN_MAX_NS (30 * NS_PER_MS) /* of CPU: on a busy machine a turn may take longer by the clock */

static uv_loop_t loop;
static struct http_server *server;
static uint16_t port;
static unsigned collections, stop;

static const struct metric_family family = {"skein_flood_bytes", METRIC_GAUGE, "bytes", "Something", "n", "many"};

/* ---- CPU time of the loop's thread per turn */

static uv_prepare_t turns;
static int64_t turn_began, longest;

static int64_t own_cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * NS_PER_SEC + t.tv_nsec;
}

static void on_turn(uv_prepare_t *prepare)
{
	int64_t now = own_cpu_ns();

	longest = MAX(longest, now - turn_began);
	turn_began = now;
}

/* ---- what is served */

static void collect(void *data, struct metrics_writer *w)
{
	collections++;
}

static void collect_pool(void *data, struct metrics_writer *w)
{
	_cleanup_strbuf_ struct strbuf labels = {0};

	metrics_label(&labels, "n", "some text that is as long as the labels of a container are, more or less: 0123456789 0123456789");
	metrics_family(w, &family);
	for (unsigned i = 0; i < SERIES; i++)
		metrics_u64(w, &labels, NULL, i * 1000003ull);
}

static uint64_t resident_bytes(void)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "r");

	assert_non_null(f);
	assert_int_equal(fscanf(f, "%*u %lu", &pages), 1);
	fclose(f);
	return pages * 4096ull;
}

/* ---- the other side: in a process of its own, so that its memory is not ours */

static const char *const manners[] = {
	"",                                                        /* connects and says nothing */
	"GET /met",                                                /* half a request */
	"GET /metrics HTTP/1.1\r\nHost: x\r\nX-Slow: ",            /* half a header */
	"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n",                /* asks, and reads nothing */
	"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\n",
};

static void flood(void)
{
	struct rlimit limit = {4096, 4096};
	int fds[FLOOD], small = 4096;
	char byte;

	setrlimit(RLIMIT_NOFILE, &limit);
	for (int i = 0; i < FLOOD; i++) {
		fds[i] = client_connect(port);
		setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
		client_send(fds[i], manners[i % ARRAY_SIZE(manners)]);
	}
	/* Drip: a byte every now and then, so that nobody is idle; who was closed comes again. */
	for (;;) {
		for (int i = 0; i < FLOOD; i++) {
			bool dead = i % ARRAY_SIZE(manners) < 3 ? send(fds[i], "a", 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN
								: recv(fds[i], &byte, 1, MSG_DONTWAIT) == 0;

			if (!dead)
				continue;
			close(fds[i]);
			fds[i] = client_connect(port);
			client_send(fds[i], manners[i % ARRAY_SIZE(manners)]);
		}
		usleep(10000);
	}
}

/* ---- who behaves */

static unsigned good_answers, good_tries;

static void good_thread(void *data)
{
	int64_t end = clock_mono_ns() + 6 * NS_PER_SEC;

	/* From an address of its own: places are also counted by address. */
	while (clock_mono_ns() < end) {
		struct sockaddr_in own = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002)};
		struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		size_t len;
		char *text;

		bind(fd, (struct sockaddr *)&own, sizeof(own));
		good_tries++;
		if (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0) {
			client_send(fd, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
			text = client_read(fd, NULL, &len);
			good_answers += strncmp(text, "HTTP/1.1 200 ", 13) == 0 && len > SERIES * 100;
			free(text);
		}
		close(fd);
		usleep(100000);
	}
}

static void on_closed(void *data)
{
	stop = 1;
}

static void five_hundred_slow_ones(void **state)
{
	struct metrics_source source = {.collect = collect, .collect_pool = collect_pool};
	struct metrics_endpoint *endpoint;
	struct http_route route = {"/metrics", HTTP_GET, metrics_endpoint_handle};
	struct http_options options = {
		.loop = &loop, .address = "127.0.0.1", .routes = &route, .n_routes = 1,
		.request_timeout_ms = 1000, .answer_timeout_ms = 2000, .idle_timeout_ms = 3000,
	};
	struct error err = ERROR_INIT;
	struct http_stats stats;
	uint64_t before, peak = 0;
	pid_t pid;

	uv_loop_init(&loop);
	endpoint = metrics_endpoint_new(&loop, &source);
	route.data = endpoint;
	server = http_open(&options, &err);
	assert_non_null(server);
	port = http_port(server);
	before = resident_bytes();
	pid = fork();
	if (pid == 0)
		flood();
	turn_began = own_cpu_ns();
	uv_prepare_init(&loop, &turns);
	uv_prepare_start(&turns, on_turn);
	client_run(&loop, good_thread, NULL);
	uv_close((uv_handle_t *)&turns, NULL);
	peak = resident_bytes();
	http_stats(server, &stats);
	kill(pid, 9);
	print_message("%u of %u good scrapes, %u collections, longest turn %.1f ms, memory %+.1f MiB, %u connections, %lu evicted, %lu timed out\n",
		      good_answers, good_tries, collections, (double)longest / 1e6, ((double)peak - (double)before) / 1048576,
		      stats.connections, (unsigned long)stats.evicted_connections, (unsigned long)stats.timeouts);
	assert_true(good_tries >= 5);
	assert_int_equal(good_answers, good_tries);
	assert_true(stats.connections <= 64 + 2); /* of one address, and the good one's */
	assert_true(stats.evicted_connections > 0);
	assert_true(stats.timeouts > 0);
	assert_true(peak < before + MEMORY_MAX_BYTES);
	assert_true(longest < TURN_MAX_NS);
	http_close(server, on_closed, NULL);
	while (!stop)
		uv_run(&loop, UV_RUN_ONCE);
	stop = 0;
	metrics_endpoint_close(endpoint, on_closed, NULL);
	while (!stop)
		uv_run(&loop, UV_RUN_ONCE);
	uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(five_hundred_slow_ones)};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
