/*
 * metrics_bench - what a scrape of many containers costs, against a loop that only reads the same files.
 *
 *   metrics_bench read N ROUNDS    N groups with a process each: floor, reading, reading and writing; medians per scrape
 *   metrics_bench serve N          serve them at a port of the loopback (printed), until stdin ends
 * Root: it makes control groups, and removes them.
 */
#include "agent/metrics/containers.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/http/gzip.h"
#include "common/http/http.h"
#include "common/mem.h"
#include "common/metrics/endpoint.h"
#include "common/metrics/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#define PARENT "skein-bench"
#define GROUPS_MAX 5000

static pid_t children[GROUPS_MAX];
static unsigned n_groups;
static struct containers containers;

/* ---------------------------------------------------------------- groups */

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		fprintf(stderr, "write %s: %m\n", path);
	if (fd >= 0)
		close(fd);
}

static void group_id(unsigned i, char id[static 32])
{
	snprintf(id, 32, "bench%020u", i);
}

static void join_group(const char *hierarchy, const char *id, pid_t pid)
{
	_cleanup_free_ char *parent = xasprintf("%s/" PARENT, hierarchy), *dir = xasprintf("%s/%s", parent, id);
	_cleanup_free_ char *procs = xasprintf("%s/cgroup.procs", dir), *control = xasprintf("%s/cgroup.subtree_control", parent);
	char text[16];

	mkdir(parent, 0755);
	if (containers.mode == CGROUP_V2)
		put(control, "+cpu +memory +pids +io");
	mkdir(dir, 0755);
	snprintf(text, sizeof(text), "%d", (int)pid);
	put(procs, text);
}

static void make_groups(unsigned n)
{
	static const char *const controllers[] = {"cpu", "cpuacct", "memory", "pids", "blkio"};

	for (n_groups = 0; n_groups < n; n_groups++) {
		pid_t pid = fork();
		char id[32];

		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			for (;;)
				pause();
		}
		children[n_groups] = pid;
		group_id(n_groups, id);
		if (containers.mode == CGROUP_V2)
			join_group("/sys/fs/cgroup", id, pid);
		for (size_t i = 0; containers.mode != CGROUP_V2 && i < ARRAY_SIZE(controllers); i++) {
			_cleanup_free_ char *hierarchy = xasprintf("/sys/fs/cgroup/%s", controllers[i]);

			join_group(hierarchy, id, pid);
		}
	}
}

static void remove_groups(void)
{
	for (unsigned i = 0; i < n_groups; i++)
		kill(children[i], SIGKILL);
	for (unsigned i = 0; i < n_groups; i++) {
		_cleanup_free_ char *path = NULL;
		char id[32];

		waitpid(children[i], NULL, 0);
		group_id(i, id);
		path = xasprintf("/" PARENT "/%s", id);
		cgroup_remove(containers.mode, path);
	}
	cgroup_remove_empty(containers.mode, "/" PARENT);
}

static void look(void)
{
	containers_begin(&containers);
	for (unsigned i = 0; i < n_groups; i++) {
		_cleanup_pb_ pb_task *t = pb_new(&skein__task__descriptor);
		char id[32];

		group_id(i, id);
		pb_set_str(&t->id, id);
		pb_set_str(&t->service_name, "bench");
		t->slot = i + 1;
		t->spec = pb_new(&skein__task_spec__descriptor);
		t->spec->container = pb_new(&skein__container_spec__descriptor);
		pb_set_str(&t->spec->container->image, "docker.io/library/bench:1");
		t->status = pb_new(&skein__task_status__descriptor);
		t->status->state = TASK_RUNNING;
		t->status->at = clock_wall_ns();
		containers_note(&containers, t);
	}
	containers_end(&containers);
}

/* ---------------------------------------------------------------- read */

/* What nobody can do without: the same descriptors, one pread each, nothing done with it. */
static unsigned floor_read(void)
{
	static char text[32 << 10];
	unsigned n = 0;

	for (struct watched *x = containers.all; x; x = x->hh.next) {
		for (size_t i = 0; x->reader.open && x->reader.files[i].name; i++)
			n += x->reader.fds[i] >= 0 && pread(x->reader.fds[i], text, sizeof(text) - 1, 0) >= 0;
	}
	return n;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), by_value);
	return v[n / 2];
}

/* CPU, not the clock: on a machine that does other things as well it is what can be compared. */
static int64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return t.tv_sec * NS_PER_SEC + t.tv_nsec;
}

enum { FLOOR, READ, ALL, GZIP, KINDS };

static void bench_read(unsigned rounds)
{
	double *times[KINDS];
	unsigned files = 0;
	uint64_t samples = 0;
	size_t bytes = 0, packed = 0;

	for (int k = 0; k < KINDS; k++)
		times[k] = xcalloc(rounds, sizeof(double));
	look();
	containers_read(&containers); /* opens */
	for (unsigned i = 0; i < rounds; i++) {
		struct metrics_writer w;
		int64_t at[KINDS + 1];
		char *gz;

		at[0] = cpu_ns();
		files = floor_read();
		at[1] = cpu_ns();
		containers_read(&containers);
		at[2] = cpu_ns();
		metrics_begin(&w, METRICS_PROMETHEUS);
		strbuf_reserve(&w.text, bytes + 4096);
		containers_write(&containers, &w);
		metrics_end(&w);
		at[3] = cpu_ns();
		samples = w.samples;
		bytes = w.text.len;
		gz = gzip_encode(w.text.p, w.text.len, &packed);
		at[4] = cpu_ns();
		free(gz);
		metrics_fini(&w);
		times[FLOOR][i] = (double)(at[1] - at[0]) / 1e6;
		times[READ][i] = (double)(at[2] - at[1]) / 1e6;
		times[ALL][i] = (double)(at[3] - at[1]) / 1e6;
		times[GZIP][i] = (double)(at[4] - at[3]) / 1e6;
	}
	printf("containers=%u files=%u series=%lu bytes=%zu packed=%zu\n", n_groups, files, (unsigned long)samples, bytes, packed);
	printf("floor_ms=%.2f read_ms=%.2f scrape_ms=%.2f gzip_ms=%.2f", median(times[FLOOR], rounds), median(times[READ], rounds),
	       median(times[ALL], rounds), median(times[GZIP], rounds));
	printf(" ratio=%.2f\n", times[ALL][rounds / 2] / times[FLOOR][rounds / 2]);
	for (int k = 0; k < KINDS; k++)
		free(times[k]);
}

/* ---------------------------------------------------------------- serve */

static void collect(void *data, struct metrics_writer *w)
{
	look();
	process_collect(w, NULL);
}

static void collect_pool(void *data, struct metrics_writer *w)
{
	process_collect_pool(w);
	containers_read(&containers);
	containers_write(&containers, w);
}

static void on_input(uv_poll_t *poll, int status, int events)
{
	uv_stop(poll->loop);
}

static int serve(void)
{
	struct metrics_source source = {.collect = collect, .collect_pool = collect_pool};
	struct http_route route = {"/metrics", HTTP_GET, metrics_endpoint_handle};
	struct http_options options = {.address = "127.0.0.1", .routes = &route, .n_routes = 1};
	struct error err = ERROR_INIT;
	struct http_server *server;
	uv_poll_t input;
	uv_loop_t loop;

	uv_loop_init(&loop);
	options.loop = &loop;
	route.data = metrics_endpoint_new(&loop, &source);
	server = http_open(&options, &err);
	if (!server) {
		fprintf(stderr, "%s\n", err.msg);
		return 1;
	}
	printf("%u\n", http_port(server));
	fflush(stdout);
	uv_poll_init(&loop, &input, 0);
	uv_poll_start(&input, UV_READABLE | UV_DISCONNECT, on_input);
	uv_run(&loop, UV_RUN_DEFAULT);
	return 0;
}

int main(int argc, char **argv)
{
	struct rlimit limit = {20000, 20000};
	int n = argc > 2 ? atoi(argv[2]) : 0, rounds = argc > 3 ? atoi(argv[3]) : 0, r = 0;
	bool serving = argc == 3 && strcmp(argv[1], "serve") == 0;

	if ((!serving && (argc != 4 || strcmp(argv[1], "read") != 0 || rounds < 1)) || n < 1 || n > GROUPS_MAX) {
		fprintf(stderr, "usage: metrics_bench read N ROUNDS | serve N   (N at most %d)\n", GROUPS_MAX);
		return 2;
	}
	setrlimit(RLIMIT_NOFILE, &limit);
	signal(SIGPIPE, SIG_IGN);
	containers_init(&containers, PARENT, NULL);
	make_groups((unsigned)n);
	if (serving)
		r = serve();
	else
		bench_read((unsigned)rounds);
	containers_fini(&containers);
	remove_groups();
	return r;
}
