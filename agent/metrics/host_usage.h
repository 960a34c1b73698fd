/* host_usage - what /proc says about the whole host. The parsers are pure. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

struct host_usage {
	uint64_t busy_ns;              /* CPU time of all cores that was not idle, since the boot */
	uint64_t mem_bytes, mem_total_bytes;
	uint64_t rx_bytes, tx_bytes;   /* of interfaces that are not the loopback's or ours */
};

/* Reads /proc/stat, meminfo and net/dev: any thread, some 50 us. What cannot be read stays 0. */
void host_usage_read(struct host_usage *ret);

/* /proc/stat: CPU time of the first line. ticks: per second. */
uint64_t host_usage_busy_ns(const char *stat, long ticks);
/* /proc/meminfo: used = total - available. */
void host_usage_memory(const char *meminfo, struct host_usage *ret);
/* /proc/net/dev. */
void host_usage_traffic(const char *dev, struct host_usage *ret);
