/*
 * The web page of a cluster that does not exist, for looking at it and for measuring browsers: nodes, tasks and changes as
 * many as wanted. Prints the page's address and a token.
 *
 *   web_demo NODES TASKS CHANGES-PER-SECOND [PORT]
 */
#include "support/web_fixture.h"

#include <signal.h>

static struct web_fixture f;
static unsigned n_nodes, n_tasks, changes;
static const char *const names[] = {"web", "api", "worker", "db", "cache", "mail", "search", "billing", "auth-proxy", "thumbnails"};
#define N_SERVICES ARRAY_SIZE(names)

static char *task_id(unsigned i, unsigned generation)
{
	return xasprintf("t%07ug%08ux", i, generation);
}

static void put_task(unsigned i, unsigned generation, int state, int desired, const char *err)
{
	_cleanup_free_ char *id = task_id(i, generation), *node_id = xasprintf("n%u", (i * 7919u + generation * 104729u) % n_nodes);
	int64_t now = clock_wall_ns();

	web_fixture_put(&f, task(id, .service = names[i % N_SERVICES], .slot = i / N_SERVICES + 1, .node = state < TASK_ASSIGNED ? NULL : node_id,
				 .state = state, .desired = desired, .created_at = now, .at = now, .err = err));
}

static struct change {
	unsigned generation, step;
} *tasks;

/* A task at random goes on: fails, is replaced, starts. */
static void step(unsigned i)
{
	struct change *c = &tasks[i];

	switch (c->step++) {
	case 0:
		put_task(i, c->generation, random() % 3 ? TASK_RUNNING : TASK_FAILED, TASK_SHUTDOWN, NULL);
		c->generation++;
		put_task(i, c->generation, TASK_PENDING, TASK_RUNNING, "no suitable node (insufficient memory on 3 nodes)");
		break;
	case 1:
		put_task(i, c->generation - 1, TASK_SHUTDOWN, TASK_SHUTDOWN, NULL);
		put_task(i, c->generation, TASK_PREPARING, TASK_RUNNING, NULL);
		break;
	default:
		put_task(i, c->generation, TASK_RUNNING, TASK_RUNNING, NULL);
		c->step = 0;
	}
}

static void on_tick(uv_timer_t *timer)
{
	static double due;

	for (due += changes / 20.0; due >= 1; due--)
		step((unsigned)random() % n_tasks);
}

static void fill(void)
{
	for (unsigned i = 0; i < n_nodes; i++) {
		_cleanup_free_ char *id = xasprintf("n%u", i), *name = xasprintf("node-%u", i + 1);
		_cleanup_free_ char *address = xasprintf("10.77.%u.%u", i / 250, i % 250 + 1);

		web_fixture_put(&f, node(id, .hostname = name, .address = address, .role = i < 3 ? NODE_ROLE_MANAGER : NODE_ROLE_WORKER,
					 .availability = i % 17 == 5 ? AVAILABILITY_DRAIN : AVAILABILITY_ACTIVE,
					 .state = i % 23 == 7 ? NODE_DOWN : NODE_READY, .since = clock_wall_ns()));
	}
	for (unsigned i = 0; i < N_SERVICES; i++)
		web_fixture_put(&f, service(names[i], .image = i % 2 ? "registry.example/team/app:3.1" : "docker.io/library/nginx:1.22",
					    .replicas = n_tasks / N_SERVICES, .update_state = i == 1, .update_started_at = clock_wall_ns()));
	tasks = xcalloc(n_tasks, sizeof(*tasks));
	for (unsigned i = 0; i < n_tasks; i++)
		put_task(i, 0, TASK_RUNNING, TASK_RUNNING, NULL);
}

static void on_signal(uv_signal_t *signal, int signum)
{
	uv_stop(signal->loop);
}

int main(int argc, char **argv)
{
	_cleanup_free_ char *id = NULL, *text = NULL;
	uv_signal_t term;
	uv_timer_t timer;

	if (argc < 4) {
		fprintf(stderr, "usage: web_demo NODES TASKS CHANGES-PER-SECOND [PORT]\n");
		return 2;
	}
	n_nodes = (unsigned)atoi(argv[1]);
	n_tasks = (unsigned)atoi(argv[2]);
	changes = (unsigned)atoi(argv[3]);
	signal(SIGPIPE, SIG_IGN);
	web_fixture_open(&f, argc > 4 ? (uint16_t)atoi(argv[4]) : 0);
	f.leader = "n0";
	web_leader_changed(f.web);
	fill();
	text = web_fixture_token(&f, 8 * 3600 * NS_PER_SEC, &id);
	printf("http://127.0.0.1:%u/ui/ %s\n", http_port(f.server), text);
	fflush(stdout);
	uv_signal_init(&f.loop, &term);
	uv_signal_start(&term, on_signal, SIGTERM);
	uv_timer_init(&f.loop, &timer);
	if (changes)
		uv_timer_start(&timer, on_tick, 50, 50);
	uv_run(&f.loop, UV_RUN_DEFAULT);
	uv_close((uv_handle_t *)&term, NULL);
	uv_close((uv_handle_t *)&timer, NULL);
	web_fixture_close(&f);
	free(tasks);
	return 0;
}
