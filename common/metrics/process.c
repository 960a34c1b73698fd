#include "common/metrics/process.h"

#include "common/clock.h"
#include "common/file.h"
#include "common/http/http.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/proc.h"

#include <dirent.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
	CPU, RSS, FDS, MAX_FDS, START_TIME, TURN, REQUESTS, CONNECTIONS, STREAMS, REFUSED, EVICTED, TIMEOUTS, ANSWERS, N_FAMILIES,
};

static const struct metric_family families[N_FAMILIES] = {
	[CPU] = {"process_cpu_seconds", METRIC_COUNTER, "seconds", "CPU time of the daemon, user and system", .series = "1"},
	[RSS] = {"process_resident_memory_bytes", METRIC_GAUGE, "bytes", "Resident memory of the daemon", .series = "1"},
	[FDS] = {"process_open_fds", METRIC_GAUGE, NULL, "Open file descriptors of the daemon", .series = "1"},
	[MAX_FDS] = {"process_max_fds", METRIC_GAUGE, NULL, "How many file descriptors it may have open", .series = "1"},
	[START_TIME] = {"process_start_time_seconds", METRIC_GAUGE, "seconds", "When the daemon was started, since the epoch", .series = "1"},
	[TURN] = {"skein_loop_longest_turn_seconds", METRIC_GAUGE, "seconds",
		  "Longest turn of the event loop since the scrape before: how late anything can have been", .series = "1"},
	[REQUESTS] = {"skein_http_requests", METRIC_COUNTER, NULL, "HTTP requests that were answered", .series = "1"},
	[CONNECTIONS] = {"skein_http_connections", METRIC_GAUGE, NULL, "Open HTTP connections", .series = "1"},
	[STREAMS] = {"skein_http_streams", METRIC_GAUGE, NULL, "Open server-sent event streams", .series = "1"},
	[REFUSED] = {"skein_http_refused_connections", METRIC_COUNTER, NULL, "HTTP connections closed at once for want of room", .series = "1"},
	[EVICTED] = {"skein_http_evicted_connections", METRIC_COUNTER, NULL, "Silent HTTP connections closed to make room", .series = "1"},
	[TIMEOUTS] = {"skein_http_timeouts", METRIC_COUNTER, NULL, "HTTP connections and requests that took too long", .series = "1"},
	[ANSWERS] = {"skein_http_answer_bytes", METRIC_GAUGE, "bytes", "Bodies held for clients that have not taken them yet", .series = "1"},
};

const struct metric_table process_table = {"The daemon itself", families, N_FAMILIES};

void process_collect(struct metrics_writer *w, const struct http_server *http)
{
	struct http_stats stats = {0};

	metrics_family(w, &families[TURN]);
	metrics_scaled(w, NULL, NULL, (uint64_t)loop_watch_lag_ns(), 9);
	if (!http)
		return;
	http_stats(http, &stats);
	metrics_one_u64(w, &families[REQUESTS], stats.requests);
	metrics_one_u64(w, &families[CONNECTIONS], stats.connections);
	metrics_one_u64(w, &families[STREAMS], stats.streams);
	metrics_one_u64(w, &families[REFUSED], stats.refused_connections);
	metrics_one_u64(w, &families[EVICTED], stats.evicted_connections);
	metrics_one_u64(w, &families[TIMEOUTS], stats.timeouts);
	metrics_one_u64(w, &families[ANSWERS], stats.answer_bytes);
}

static uint64_t resident_bytes(void)
{
	_cleanup_free_ char *text = NULL;
	unsigned long pages = 0;

	if (file_read("/proc/self/statm", 4096, &text, NULL, NULL) < 0 || sscanf(text, "%*u %lu", &pages) != 1)
		return 0;
	return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static uint64_t open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	uint64_t n = 0;

	while (dir && (entry = readdir(dir)))
		n += entry->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return n > 0 ? n - 1 : 0; /* the directory's own */
}

/* Ticks since boot, moved to the epoch; rounded by the clock tick. */
static uint64_t start_time_ms(void)
{
	static _Atomic uint64_t known; /* once: clocks are set, and a change of it means a restart to those who read it */
	struct timespec boot;
	uint64_t none = 0;
	int64_t up_ms;

	if (known)
		return known;
	up_ms = (int64_t)(proc_start_time(getpid()) * 1000 / (uint64_t)sysconf(_SC_CLK_TCK));
	clock_gettime(CLOCK_BOOTTIME, &boot);
	atomic_compare_exchange_strong(&known, &none, (uint64_t)(clock_wall_ns() / NS_PER_MS -
					(boot.tv_sec * 1000 + boot.tv_nsec / NS_PER_MS) + up_ms));
	return known;
}

void process_collect_pool(struct metrics_writer *w)
{
	struct rlimit limit = {0};
	struct rusage usage = {0};

	getrusage(RUSAGE_SELF, &usage);
	metrics_family(w, &families[CPU]);
	metrics_scaled(w, NULL, NULL,
		       (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 +
			       (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec), 6);
	metrics_one_u64(w, &families[RSS], resident_bytes());
	metrics_one_u64(w, &families[FDS], open_descriptors());
	getrlimit(RLIMIT_NOFILE, &limit);
	metrics_one_u64(w, &families[MAX_FDS], limit.rlim_cur);
	metrics_family(w, &families[START_TIME]);
	metrics_scaled(w, NULL, NULL, start_time_ms(), 3);
}
