#include "monitor.h"

#include "manager_internal.h"

#include "common/clock.h"
#include "common/hostport.h"
#include "common/http/health.h"
#include "common/http/http.h"
#include "common/log.h"
#include "common/mem.h"
#include "common/metrics/endpoint.h"
#include "common/metrics/process.h"
#include "common/pki.h"
#include "common/str.h"
#include "decider.h"
#include "etcd_child.h"
#include "explain.h"
#include "leader.h"
#include "manager/dispatcher/dispatcher.h"
#include "manager/metrics/cluster.h"
#include "manager/metrics/discovery.h"
#include "manager/metrics/families.h"
#include "manager/scheduler/filter.h"
#include "manager/store/etcd.h"
#include "manager/store/store.h"
#include "manager/web/web.h"
#include "presence.h"
#include "rpc/rpc.h"

#include <string.h>
#include <sys/stat.h>

#define MONITOR_PORT 9641
#define ROUTES_MAX 8

struct monitor {
	struct manager *m;
	struct manager_counters counters;
	struct metrics_endpoint *endpoint;
	struct http_server *server;
	struct http_route routes[ROUTES_MAX];
	size_t n_routes;
	struct store_sub *sub;
	int64_t root_not_after_ns;
	char *database; /* file of the embedded etcd */
	void (*closed)(void *data);
	void *closed_data;
};

static bool is_loaded(const struct manager *m)
{
	return m->store && store_revision(m->store) > 0;
}

/* ---------------------------------------------------------------- metrics */

static uint64_t global_wanted(void *data, const struct view *v, const pb_service *service)
{
	return explain_global_wanted(v, service);
}

static const char *refused_by(void *data, const pb_task *task)
{
	return filter_of_summary(task->status->err);
}

static void write_result(struct metrics_writer *w, const struct metric_family *family, uint64_t ok, uint64_t conflicts,
			 uint64_t failures)
{
	metrics_family(w, family);
	metrics_u64(w, NULL, "result=\"ok\"", ok);
	metrics_u64(w, NULL, "result=\"conflict\"", conflicts);
	metrics_u64(w, NULL, "result=\"failure\"", failures);
}

static void write_store(struct metrics_writer *w, const struct monitor *mon)
{
	const struct store_stats *stats = store_stats(mon->m->store);

	metrics_one_u64(w, &family_etcd_revision, store_revision(mon->m->store));
	metrics_one_u64(w, &family_etcd_watch_up, store_connected(mon->m->store));
	metrics_one_double(w, &family_etcd_watch_silence, (double)store_behind_ns(mon->m->store) / (double)NS_PER_SEC);
	write_result(w, &family_etcd_commits, stats->commits, stats->conflicts, stats->failures);
	metrics_one_u64(w, &family_etcd_events, stats->events);
	metrics_one_u64(w, &family_etcd_resyncs, stats->resyncs);
}

static void write_etcd(struct metrics_writer *w, const struct monitor *mon)
{
	uint64_t sent = 0, received = 0;
	struct stat st;

	counters_write_etcd(w, &mon->counters);
	if (mon->m->etcd)
		etcd_traffic(mon->m->etcd, &sent, &received);
	metrics_one_u64(w, &family_etcd_sent, sent);
	metrics_one_u64(w, &family_etcd_received, received);
	if (mon->m->etcd_child && stat(mon->database, &st) == 0)
		metrics_one_u64(w, &family_etcd_database, (uint64_t)st.st_size);
}

static void write_managers(struct metrics_writer *w, const struct monitor *mon)
{
	_cleanup_free_ const void **nodes = NULL;
	uint64_t managers = 0, reachable = 0;
	size_t n;

	nodes = view_list(store_view(mon->m->store), KIND_NODE, &n);
	for (size_t i = 0; i < n; i++) {
		const pb_node *node = nodes[i];
		bool self = str_eq(node->id, mon->m->identity.node_id);

		managers += node->manager != NULL;
		reachable += node->manager && (self || presence_alive(mon->m->presence, node->id));
	}
	metrics_one_u64(w, &family_managers, managers);
	metrics_one_u64(w, &family_managers_reachable, reachable);
}

static void write_services(struct metrics_writer *w, const struct monitor *mon)
{
	const struct dispatcher_stats *sessions = dispatcher_stats(mon->m->dispatcher);
	const struct decider_stats *rounds = decider_stats(mon->m->decider);

	metrics_family(w, &family_start);
	metrics_histogram(w, NULL, NULL, &mon->counters.start);
	metrics_family(w, &family_plan);
	metrics_histogram(w, NULL, NULL, &mon->counters.plan);
	write_result(w, &family_rounds, rounds->commits, rounds->conflicts, rounds->failures);
	metrics_one_u64(w, &family_round_objects, rounds->ops);
	metrics_one_u64(w, &family_leader, mon->m->leader && leader_is_self(mon->m->leader));
	metrics_one_u64(w, &family_leader_changes, mon->counters.leader_changes);
	write_managers(w, mon);
	metrics_one_u64(w, &family_sessions, sessions->sessions);
	metrics_one_u64(w, &family_registrations, sessions->registrations);
	metrics_one_u64(w, &family_beats, sessions->beats);
	metrics_one_u64(w, &family_reports, sessions->reports);
	metrics_one_u64(w, &family_reports_dropped, sessions->reports_dropped);
	metrics_one_u64(w, &family_nodes_lost, sessions->nodes_down);
	counters_write_api(w, &mon->counters);
}

static void write_manager(struct metrics_writer *w, const struct monitor *mon)
{
	const struct manager *m = mon->m;
	const pb_node *node = is_loaded(m) ? view_node(store_view(m->store), m->identity.node_id) : NULL;
	_cleanup_strbuf_ struct strbuf labels = {0};

	metrics_label(&labels, "node", node ? pb_node_name(node) : "");
	metrics_label(&labels, "node_id", m->identity.node_id);
	metrics_label(&labels, "version", SKEIN_VERSION);
	metrics_family(w, &family_manager);
	metrics_info(w, &labels);
	metrics_one_u64(w, &family_certificate, (uint64_t)(m->identity.not_after_ns / NS_PER_SEC));
	metrics_one_u64(w, &family_ca_certificate, (uint64_t)(mon->root_not_after_ns / NS_PER_SEC));
}

static void collect(void *data, struct metrics_writer *w)
{
	const struct cluster_ops ops = {.global_wanted = global_wanted, .refused_by = refused_by};
	const struct monitor *mon = data;

	write_manager(w, mon);
	write_etcd(w, mon);
	if (mon->m->store)
		write_store(w, mon);
	/* Before, zeros would say that there is nothing in the cluster. */
	if (is_loaded(mon->m))
		cluster_write(w, store_view(mon->m->store), &ops);
	if (mon->m->serving)
		write_services(w, mon);
	process_collect(w, mon->server);
}

static void collect_pool(void *data, struct metrics_writer *w)
{
	process_collect_pool(w);
}

/* ---------------------------------------------------------------- health */

static bool certificate_valid(void *data, struct error *err)
{
	const struct monitor *mon = data;

	if (clock_wall_ns() < mon->m->identity.not_after_ns)
		return true;
	error_set(err, ERR_PRECONDITION, "this manager's certificate has ended; its agent renews it as soon as another manager is reached");
	return false;
}

static bool etcd_reachable(void *data, struct error *err)
{
	const struct manager *m = ((const struct monitor *)data)->m;
	const char *why = m->etcd_child ? etcd_child_last_error(m->etcd_child) : "";

	if (is_loaded(m) && store_connected(m->store))
		return true;
	error_set(err, ERR_UNAVAILABLE, "%s%s%s",
		  is_loaded(m) ? "etcd is not reachable" : "the state is not loaded from etcd yet", *why ? ": " : "", why);
	return false;
}

static bool services_open(void *data, struct error *err)
{
	const struct manager *m = ((const struct monitor *)data)->m;

	if (m->serving && !m->closing)
		return true;
	error_set(err, ERR_UNAVAILABLE, m->closing ? "the manager stops" : "the manager starts");
	return false;
}

/* Without a quorum the key of the last leader stays, but nobody can act on it: this one is deposed, another is not in touch. */
static bool leader_known(void *data, struct error *err)
{
	const struct manager *m = ((const struct monitor *)data)->m;
	const char *leader = m->leader ? leader_present(m->leader) : "";

	if (*leader && (str_eq(leader, m->identity.node_id) ? leader_is_self(m->leader) : presence_alive(m->presence, leader)))
		return true;
	error_set(err, ERR_UNAVAILABLE, "no manager leads: nothing is decided");
	return false;
}

/* Alive: to be started again if not. Ready: can do what it is there for. */
static const struct health_check checks[] = {
	{"certificate", certificate_valid},
	{"etcd", etcd_reachable},
	{"services", services_open},
	{"leader", leader_known},
};
#define ALIVE_CHECKS 1

static void on_healthz(struct http_request *req, void *data)
{
	health_answer(req, checks, ALIVE_CHECKS, data);
}

static void on_readyz(struct http_request *req, void *data)
{
	health_answer(req, checks, ARRAY_SIZE(checks), data);
}

/* ---------------------------------------------------------------- discovery */

static void on_discovery(struct http_request *req, void *data)
{
	const struct manager *m = ((const struct monitor *)data)->m;
	_cleanup_free_ char *json = NULL;

	/* An empty list would make Prometheus forget all targets; behind an error it keeps them. */
	if (!is_loaded(m)) {
		http_answer_text(req, 503, "the state is not loaded from etcd yet");
		return;
	}
	json = discovery_json(store_view(m->store));
	http_answer(req, 200, "application/json", json, strlen(json));
}

/* ---------------------------------------------------------------- the web page */

static void on_ui(struct http_request *req, void *data)
{
	const struct manager *m = ((const struct monitor *)data)->m;

	if (m->web)
		web_handle(m->web, req);
	else
		http_answer_text(req, 503, "the manager starts: /readyz tells what it waits for");
}

/* ---------------------------------------------------------------- life */

static void add_route(struct monitor *mon, const char *path, unsigned methods, http_handler handler, void *data)
{
	mon->routes[mon->n_routes++] = (struct http_route){path, methods, handler, data};
}

static int open_server(struct monitor *mon, struct error *err)
{
	const struct manager_config *config = mon->m->config;
	static const struct http_header headers[] = {{"X-Content-Type-Options", "nosniff"}};
	struct hostport at;
	struct http_options options = {
		.loop = mon->m->loop,
		.address = at.host,
		.routes = mon->routes,
		.headers = headers,
		.n_headers = ARRAY_SIZE(headers),
		.streams_max = WEB_STREAMS_MAX,
	};

	if (hostport_parse(config->http_listen, MONITOR_PORT, &at, err) < 0)
		return -1;
	options.port = at.port;
	options.n_routes = mon->n_routes;
	if (config->http_tls) {
		options.cert_file = str_empty(config->http_cert) ? mon->m->cert_file : config->http_cert;
		options.key_file = str_empty(config->http_key) ? mon->m->key_file : config->http_key;
		options.client_ca_file = str_empty(config->http_client_ca) ? NULL : config->http_client_ca;
	}
	mon->server = http_open(&options, err);
	return mon->server ? 0 : -1;
}

static int64_t root_not_after(const struct manager *m)
{
	struct pki_cert cert;

	return pki_cert_parse(m->identity.root_pem, &cert, NULL) == 0 ? cert.not_after_ns : 0;
}

static void monitor_free(struct monitor *mon)
{
	counters_fini(&mon->counters);
	free(mon->database);
	free(mon);
}

struct monitor *monitor_open(struct manager *m, struct error *err)
{
	struct monitor *mon;
	struct metrics_source source = {.collect = collect, .collect_pool = collect_pool};

	if (str_eq(m->config->http_listen, "off"))
		return NULL;
	mon = xnew(struct monitor);
	mon->m = m;
	mon->root_not_after_ns = root_not_after(m);
	mon->database = xasprintf("%s/etcd/member/snap/db", m->config->state_dir);
	source.data = mon;
	mon->endpoint = metrics_endpoint_new(m->loop, &source);
	add_route(mon, "/metrics", HTTP_GET, metrics_endpoint_handle, mon->endpoint);
	add_route(mon, "/healthz", HTTP_GET, on_healthz, mon);
	add_route(mon, "/readyz", HTTP_GET, on_readyz, mon);
	add_route(mon, "/sd/prometheus", HTTP_GET, on_discovery, mon);
	add_route(mon, "/ui", HTTP_GET, on_ui, mon);
	add_route(mon, "/ui/*", HTTP_GET | HTTP_POST, on_ui, mon);
	if (open_server(mon, err) < 0) {
		metrics_endpoint_close(mon->endpoint, (void (*)(void *))monitor_free, mon);
		return NULL;
	}
	log_info("http", kv_str("listen", m->config->http_listen), kv_bool("tls", m->config->http_tls));
	return mon;
}

void monitor_store(struct monitor *mon)
{
	if (!mon)
		return;
	etcd_set_observer(mon->m->etcd, counters_on_etcd, &mon->counters);
	store_set_lag_observer(mon->m->store, counters_on_lag, &mon->counters);
}

void monitor_services(struct monitor *mon)
{
	if (!mon)
		return;
	decider_set_observer(mon->m->decider, counters_on_plan, &mon->counters);
	rpc_server_set_observer(mon->m->tls_server, counters_on_call, &mon->counters);
	rpc_server_set_observer(mon->m->unix_server, counters_on_call, &mon->counters);
	mon->sub = store_subscribe(mon->m->store, counters_on_events, &mon->counters);
}

struct manager_counters *monitor_counters(struct monitor *mon)
{
	return &mon->counters;
}

static void on_endpoint_closed(void *data)
{
	struct monitor *mon = data;
	void (*closed)(void *) = mon->closed;
	void *closed_data = mon->closed_data;

	monitor_free(mon);
	closed(closed_data);
}

static void on_server_closed(void *data)
{
	struct monitor *mon = data;

	metrics_endpoint_close(mon->endpoint, on_endpoint_closed, mon);
}

void monitor_close(struct monitor *mon, void (*closed)(void *data), void *data)
{
	if (!mon) {
		closed(data);
		return;
	}
	mon->closed = closed;
	mon->closed_data = data;
	if (mon->m->etcd)
		etcd_set_observer(mon->m->etcd, NULL, NULL);
	if (mon->m->store)
		store_set_lag_observer(mon->m->store, NULL, NULL);
	if (mon->m->decider)
		decider_set_observer(mon->m->decider, NULL, NULL);
	/* Calls that are cancelled now end after we are gone. */
	if (mon->m->tls_server)
		rpc_server_set_observer(mon->m->tls_server, NULL, NULL);
	if (mon->m->unix_server)
		rpc_server_set_observer(mon->m->unix_server, NULL, NULL);
	store_unsubscribe(mon->sub);
	http_close(mon->server, on_server_closed, mon);
}
