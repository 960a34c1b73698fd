#include "host_usage.h"

#include "common/clock.h"
#include "common/file.h"
#include "common/mem.h"
#include "common/str.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PROC_MAX_BYTES ((size_t)1 << 20)

uint64_t host_usage_busy_ns(const char *stat, long ticks)
{
	uint64_t user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0;

	if (ticks <= 0 || sscanf(stat, "cpu %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64,
				 &user, &nice, &system, &idle, &iowait, &irq, &softirq, &steal) < 4)
		return 0;
	/* `nice` is time of its own; what guests used is in user already. Stolen time was not ours. */
	return (user + nice + system + irq + softirq) * (uint64_t)(NS_PER_SEC / ticks);
}

static uint64_t meminfo_bytes(const char *meminfo, const char *name)
{
	const char *at = strstr(meminfo, name);
	uint64_t kib = 0;

	return at && sscanf(at + strlen(name), " %" SCNu64, &kib) == 1 ? kib << 10 : 0;
}

void host_usage_memory(const char *meminfo, struct host_usage *ret)
{
	uint64_t available = meminfo_bytes(meminfo, "MemAvailable:");

	ret->mem_total_bytes = meminfo_bytes(meminfo, "MemTotal:");
	ret->mem_bytes = ret->mem_total_bytes - MIN(ret->mem_total_bytes, available);
}

/* Links of containers, bridges and tunnels carry again what the host's own interfaces carry. */
static bool is_own(const char *name)
{
	static const char *const others[] = {"lo", "sk", "veth", "docker", "br-", "virbr", "vxlan"};

	for (size_t i = 0; i < ARRAY_SIZE(others); i++)
		if (str_starts(name, others[i]))
			return false;
	return true;
}

void host_usage_traffic(const char *dev, struct host_usage *ret)
{
	ret->rx_bytes = ret->tx_bytes = 0;
	for (const char *line = dev; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
		uint64_t rx, tx;
		char name[32];

		/* "  eth0: bytes packets errs drop fifo frame compressed multicast  bytes ..." */
		if (sscanf(line, " %31[^: \n]: %" SCNu64 " %*u %*u %*u %*u %*u %*u %*u %" SCNu64, name, &rx, &tx) != 3 || !is_own(name))
			continue;
		ret->rx_bytes += rx;
		ret->tx_bytes += tx;
	}
}

void host_usage_read(struct host_usage *ret)
{
	_cleanup_free_ char *stat = NULL, *meminfo = NULL, *dev = NULL;

	*ret = (struct host_usage){0};
	if (file_read("/proc/stat", PROC_MAX_BYTES, &stat, NULL, NULL) == 0)
		ret->busy_ns = host_usage_busy_ns(stat, sysconf(_SC_CLK_TCK));
	if (file_read("/proc/meminfo", PROC_MAX_BYTES, &meminfo, NULL, NULL) == 0)
		host_usage_memory(meminfo, ret);
	if (file_read("/proc/net/dev", PROC_MAX_BYTES, &dev, NULL, NULL) == 0)
		host_usage_traffic(dev, ret);
}
