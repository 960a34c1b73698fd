#include "collector.h"

#include "agent/image/image.h"
#include "agent/net/dns.h"
#include "agent/net/stats.h"
#include "agent/task.h"
#include "agent/task_stats.h"
#include "agent/worker.h"
#include "common/clock.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/metrics/process.h"
#include "containers.h"
#include "families.h"

#include <ctype.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#define NET_PATIENCE_MS 1000 /* the net thread may be at something longer: then traffic is left out once */
#define SWEEP_MS 10000       /* files of what has ended are closed, also when nobody scrapes any more */
#define STATES_MAX 32

struct net_ask;

struct collector {
	struct collector_options opt;
	struct containers containers;
	struct strbuf node_labels;         /* node="..." */
	/* the scrape under way */
	bool busy;
	struct net_ask *ask;
	void (*ready)(void *ready_data);
	void *ready_data;
	const struct net_stats *net_stats; /* while collect() runs; NULL = not known */
	uv_timer_t patience, sweep;
	struct closer closer;
};

/* A question to the net thread outlives our patience. */
struct net_ask {
	struct collector *collector;       /* NULL: nobody waits any more */
};

/* ---------------------------------------------------------------- networks first */

static void go_on(struct collector *c, const struct net_stats *stats)
{
	c->ask = NULL;
	uv_timer_stop(&c->patience);
	c->net_stats = stats;
	c->ready(c->ready_data);
	c->net_stats = NULL;
}

static void on_net_stats(void *data, const struct net_stats *stats)
{
	struct net_ask *ask = data;
	struct collector *c = ask->collector;

	free(ask);
	if (c)
		go_on(c, stats);
}

static void on_patience(uv_timer_t *timer)
{
	struct collector *c = container_of(timer, struct collector, patience);

	c->ask->collector = NULL;
	go_on(c, NULL);
}

static void prepare(void *data, void (*ready)(void *ready_data), void *ready_data)
{
	struct collector *c = data;

	c->busy = true;
	c->ready = ready;
	c->ready_data = ready_data;
	c->ask = xnew(struct net_ask);
	c->ask->collector = c;
	uv_timer_start(&c->patience, on_patience, NET_PATIENCE_MS, 0);
	net_stats_read(c->opt.net, on_net_stats, c->ask);
}

/* ---------------------------------------------------------------- tasks */

struct look {
	struct collector *collector;
	unsigned states[STATES_MAX];       /* by state / 32: Swarm's numbers are far apart */
	int64_t cpu_nano, mem_bytes;       /* reserved */
};

static void on_task(void *data, const struct task *t)
{
	struct look *look = data;
	const pb_task *task = task_object(t);
	const pb_resources *reserved = task->spec && task->spec->resources ? task->spec->resources->reservations : NULL;
	struct watched *x = containers_note(&look->collector->containers, task);

	x->restarts = task_stats_restarts(look->collector->opt.task_stats, task);
	if ((unsigned)x->state / 32 < STATES_MAX)
		look->states[x->state / 32]++;
	if (reserved && x->state <= TASK_RUNNING) {
		look->cpu_nano += reserved->cpu_nano;
		look->mem_bytes += reserved->mem_bytes;
	}
}

static void look_at_tasks(struct collector *c, struct look *look)
{
	*look = (struct look){.collector = c};
	containers_begin(&c->containers);
	worker_each(c->opt.worker, on_task, look);
	containers_end(&c->containers);
	if (c->containers.all && !uv_is_active((uv_handle_t *)&c->sweep))
		uv_timer_again(&c->sweep);
}

static void on_sweep(uv_timer_t *timer)
{
	struct collector *c = container_of(timer, struct collector, sweep);
	struct look look;

	if (c->busy)
		return;
	look_at_tasks(c, &look);
	if (!c->containers.all)
		uv_timer_stop(&c->sweep);
}

/* ---------------------------------------------------------------- the node */

static void one(struct collector *c, struct metrics_writer *w, enum node_family family, uint64_t value, unsigned decimals)
{
	metrics_family(w, &node_families[family]);
	metrics_scaled(w, &c->node_labels, NULL, value, decimals);
}

static void write_info(struct collector *c, struct metrics_writer *w, const struct collector_facts *f)
{
	_cleanup_strbuf_ struct strbuf labels = {0};
	struct utsname uts = {.release = ""};

	uname(&uts);
	strbuf_add(&labels, c->node_labels.p, c->node_labels.len);
	metrics_label(&labels, "node_id", f->node_id);
	metrics_label(&labels, "version", SKEIN_VERSION);
	metrics_label(&labels, "kernel", uts.release);
	metrics_label(&labels, "arch", uts.machine);
	metrics_label(&labels, "cgroup", cgroup_mode_name(c->containers.mode));
	metrics_family(w, &node_families[N_INFO]);
	metrics_info(w, &labels);
}

static void write_capacity(struct collector *c, struct metrics_writer *w, const struct collector_facts *f, const struct look *look)
{
	struct sysinfo info = {.mem_unit = 1};
	uint64_t cores = 0, mem;
	cpu_set_t cpus;

	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		cores = (uint64_t)CPU_COUNT(&cpus);
	sysinfo(&info);
	mem = (uint64_t)info.totalram * info.mem_unit;
	one(c, w, N_CPU_CAPACITY, cores, 0);
	one(c, w, N_MEMORY_CAPACITY, mem, 0);
	one(c, w, N_CPU_RESERVED, (uint64_t)look->cpu_nano, 9);
	one(c, w, N_MEMORY_RESERVED, (uint64_t)look->mem_bytes, 0);
	one(c, w, N_CPU_ALLOCATABLE, cores, 0);
	one(c, w, N_MEMORY_ALLOCATABLE, mem - MIN(mem, (uint64_t)f->reserved_mem_bytes), 0);
}

static void write_states(struct collector *c, struct metrics_writer *w, const struct look *look)
{
	char label[48];

	metrics_family(w, &node_families[N_TASKS]);
	for (int i = 0; i < STATES_MAX; i++) {
		int n = look->states[i] ? snprintf(label, sizeof(label), "state=\"%s\"", pb_task_state_name(i * 32)) : 0;

		for (int k = 7; k < n; k++)
			label[k] = (char)tolower((unsigned char)label[k]);
		if (n > 0)
			metrics_u64(w, &c->node_labels, label, look->states[i]);
	}
}

static void write_node(struct collector *c, struct metrics_writer *w, const struct collector_facts *f, const struct look *look)
{
	write_info(c, w, f);
	write_capacity(c, w, f, look);
	write_states(c, w, look);
	one(c, w, N_SESSION_UP, f->session_up, 0);
	one(c, w, N_SESSIONS, f->sessions, 0);
	one(c, w, N_RUNTIME_UP, f->runtime_up, 0);
	one(c, w, N_NETWORK_UP, f->network_up, 0);
	if (f->cert_expires_at > 0)
		one(c, w, N_CERTIFICATE, (uint64_t)f->cert_expires_at / 1000000, 3);
}

/* ---------------------------------------------------------------- what the agent does */

static void write_images(struct collector *c, struct metrics_writer *w)
{
	static const char *const names[IMAGE_SOURCES] = {
		[IMAGE_SOURCE_REGISTRY] = "registry", [IMAGE_SOURCE_PEERS] = "peers", [IMAGE_SOURCE_ARCHIVE] = "archive",
	};
	const struct image_stats *stats = image_stats(c->opt.images);
	uint64_t bytes = 0;
	char label[64];
	size_t n;
	pb_image_info *const *list = image_list(c->opt.images, &n);

	for (size_t i = 0; i < n; i++)
		bytes += (uint64_t)list[i]->size_bytes;
	metrics_family(w, &work_families[W_IMAGES]);
	metrics_u64(w, &c->node_labels, NULL, n);
	metrics_family(w, &work_families[W_IMAGE_BYTES]);
	metrics_u64(w, &c->node_labels, NULL, bytes);
	metrics_family(w, &work_families[W_FETCHES]);
	for (int i = 0; i < IMAGE_SOURCES; i++) {
		snprintf(label, sizeof(label), "source=\"%s\",result=\"ok\"", names[i]);
		metrics_u64(w, &c->node_labels, label, stats->got[i]);
		snprintf(label, sizeof(label), "source=\"%s\",result=\"failed\"", names[i]);
		metrics_u64(w, &c->node_labels, label, stats->failed[i]);
	}
}

static void write_starts(struct collector *c, struct metrics_writer *w)
{
	char label[32];

	metrics_family(w, &work_families[W_START_DURATION]);
	for (int i = 0; i < START_PHASES; i++) {
		snprintf(label, sizeof(label), "phase=\"%s\"", start_phase_names[i]);
		metrics_histogram(w, &c->node_labels, label, task_stats_histogram(c->opt.task_stats, (enum start_phase)i));
	}
	metrics_family(w, &work_families[W_START_FAILURES]);
	for (int i = 0; i < START_PHASES; i++) {
		snprintf(label, sizeof(label), "phase=\"%s\"", start_phase_names[i]);
		metrics_u64(w, &c->node_labels, label, task_stats_failures(c->opt.task_stats, (enum start_phase)i));
	}
}

static void write_dns(struct collector *c, struct metrics_writer *w)
{
	const struct dns_stats *s = net_dns_stats(c->opt.net);

	metrics_family(w, &work_families[W_DNS]);
	metrics_u64(w, &c->node_labels, "result=\"answered\"", s->answered);
	metrics_u64(w, &c->node_labels, "result=\"forwarded\"", s->forwarded);
	metrics_u64(w, &c->node_labels, "result=\"failed\"", s->failed);
	metrics_u64(w, &c->node_labels, "result=\"refused\"", s->refused);
	metrics_u64(w, &c->node_labels, "result=\"dropped\"", s->dropped);
}

static uint64_t overlay_value(const struct net_overlay_stats *o, enum work_family family)
{
	return family == W_OVERLAY_TASKS ? o->tasks : family == W_OVERLAY_PEERS ? o->peers :
	       family == W_LB_SERVICES ? o->services : o->endpoints;
}

static void write_overlays(struct collector *c, struct metrics_writer *w, const struct net_stats *stats)
{
	static const enum work_family simple[] = {W_OVERLAY_TASKS, W_OVERLAY_PEERS, W_LB_SERVICES, W_LB_ENDPOINTS};

	for (size_t k = 0; k <= ARRAY_SIZE(simple); k++) {
		bool connections = k == ARRAY_SIZE(simple);

		metrics_family(w, &work_families[connections ? W_LB_CONNECTIONS : simple[k]]);
		for (size_t i = 0; i < stats->n_overlays; i++) {
			const struct net_overlay_stats *o = &stats->overlays[i];
			_cleanup_strbuf_ struct strbuf labels = {0};

			if (!o->balanced && (connections || simple[k] == W_LB_SERVICES || simple[k] == W_LB_ENDPOINTS))
				continue;
			strbuf_add(&labels, c->node_labels.p, c->node_labels.len);
			metrics_label(&labels, "network", o->network);
			if (connections) {
				metrics_u64(w, &labels, "state=\"active\"", o->active);
				metrics_u64(w, &labels, "state=\"inactive\"", o->inactive);
			} else {
				metrics_u64(w, &labels, NULL, overlay_value(o, simple[k]));
			}
		}
	}
}

/* ---------------------------------------------------------------- one scrape */

static void collect(void *data, struct metrics_writer *w)
{
	struct collector *c = data;
	static const struct net_stats nothing;
	const struct net_stats *stats = c->net_stats ? c->net_stats : &nothing;
	struct collector_facts facts = {0};
	struct look look;

	c->opt.facts(c->opt.data, &facts);
	look_at_tasks(c, &look);
	containers_traffic(&c->containers, stats);
	process_collect(w, facts.http);
	write_node(c, w, &facts, &look);
	write_images(c, w);
	write_starts(c, w);
	write_dns(c, w);
	write_overlays(c, w, stats);
}

static void collect_pool(void *data, struct metrics_writer *w)
{
	struct collector *c = data;

	process_collect_pool(w);
	containers_read(&c->containers);
	containers_write(&c->containers, w);
}

static void done(void *data)
{
	struct collector *c = data;

	c->busy = false;
}

struct metrics_source collector_source(struct collector *c)
{
	return (struct metrics_source){
		.prepare = prepare, .collect = collect, .collect_pool = collect_pool, .done = done, .data = c,
	};
}

/* ---------------------------------------------------------------- life */

struct collector *collector_new(const struct collector_options *options)
{
	struct collector *c = xnew(struct collector);

	c->opt = *options;
	containers_init(&c->containers, options->cgroup_parent, options->labels);
	metrics_label(&c->node_labels, "node", c->containers.node);
	closer_init(&c->closer);
	uv_timer_init(options->loop, &c->patience);
	uv_timer_init(options->loop, &c->sweep);
	uv_timer_start(&c->sweep, on_sweep, SWEEP_MS, SWEEP_MS);
	uv_unref((uv_handle_t *)&c->sweep);
	return c;
}

static void on_closed(void *data)
{
	struct collector *c = data;

	strbuf_fini(&c->node_labels);
	free(c);
}

void collector_close(struct collector *c)
{
	closer_begin(&c->closer, on_closed, c);
	containers_fini(&c->containers);
	closer_add(&c->closer, (uv_handle_t *)&c->patience);
	closer_add(&c->closer, (uv_handle_t *)&c->sweep);
	closer_end(&c->closer);
}
