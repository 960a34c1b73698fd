#include "containers.h"

#include "common/clock.h"
#include "common/mem.h"
#include "families.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* ---------------------------------------------------------------- what is simply a number of struct usage */

struct number {
	enum container_family family;
	enum usage_part part;
	uint16_t offset;
	uint8_t decimals;
};
#define NUMBER(family, part, field, decimals) {family, part, offsetof(struct usage, field), decimals}

static const struct number numbers[] = {
	NUMBER(C_CPU, USAGE_CPU, cpu_ns, 9), NUMBER(C_CPU_USER, USAGE_CPU, cpu_user_ns, 9),
	NUMBER(C_CPU_SYSTEM, USAGE_CPU, cpu_system_ns, 9), NUMBER(C_PERIODS, USAGE_THROTTLING, periods, 0),
	NUMBER(C_THROTTLED_PERIODS, USAGE_THROTTLING, throttled_periods, 0),
	NUMBER(C_THROTTLED, USAGE_THROTTLING, throttled_ns, 9), NUMBER(C_MEMORY, USAGE_MEMORY, mem_bytes, 0),
	NUMBER(C_RSS, USAGE_MEMORY_STAT, rss_bytes, 0), NUMBER(C_CACHE, USAGE_MEMORY_STAT, cache_bytes, 0),
	NUMBER(C_SWAP, USAGE_SWAP, swap_bytes, 0), NUMBER(C_FAULTS, USAGE_MEMORY_STAT, faults, 0),
	NUMBER(C_MAJOR_FAULTS, USAGE_MEMORY_STAT, major_faults, 0), NUMBER(C_OOM_KILLS, USAGE_OOM, oom_kills, 0),
	NUMBER(C_PIDS, USAGE_PIDS, pids, 0), NUMBER(C_READ, USAGE_IO, read_bytes, 0), NUMBER(C_WRITTEN, USAGE_IO, written_bytes, 0),
	NUMBER(C_READS, USAGE_IO_COUNT, reads, 0), NUMBER(C_WRITES, USAGE_IO_COUNT, writes, 0),
};

static void write_numbers(const struct containers *c, struct metrics_writer *w)
{
	for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
		const struct number *n = &numbers[i];

		metrics_family(w, &container_families[n->family]);
		for (const struct watched *x = c->all; x; x = x->hh.next) {
			if (x->usable && (x->usage.have & n->part))
				metrics_scaled(w, &x->labels, NULL, *(const uint64_t *)((const char *)&x->usage + n->offset), n->decimals);
		}
	}
}

static void write_working_set(const struct containers *c, struct metrics_writer *w)
{
	const unsigned both = USAGE_MEMORY | USAGE_MEMORY_STAT;

	metrics_family(w, &container_families[C_WORKING_SET]);
	for (const struct watched *x = c->all; x; x = x->hh.next) {
		if (x->usable && (x->usage.have & both) == both)
			metrics_u64(w, &x->labels, NULL, usage_working_set(&x->usage));
	}
}

/* ---------------------------------------------------------------- pressure */

static void write_pressure(const struct containers *c, struct metrics_writer *w, enum container_family family, bool full)
{
	static const struct {
		const char *label;
		enum usage_part part;
		uint16_t offset;
	} kinds[] = {
		{"resource=\"cpu\"", USAGE_PSI_CPU, offsetof(struct usage, psi_cpu)},
		{"resource=\"memory\"", USAGE_PSI_MEMORY, offsetof(struct usage, psi_memory)},
		{"resource=\"io\"", USAGE_PSI_IO, offsetof(struct usage, psi_io)},
	};

	metrics_family(w, &container_families[family]);
	for (const struct watched *x = c->all; x; x = x->hh.next) {
		for (size_t i = 0; x->usable && i < ARRAY_SIZE(kinds); i++) {
			const struct psi *psi = (const struct psi *)((const char *)&x->usage + kinds[i].offset);

			if (x->usage.have & kinds[i].part)
				metrics_scaled(w, &x->labels, kinds[i].label, full ? psi->full_us : psi->some_us, 6);
		}
	}
}

/* ---------------------------------------------------------------- networks */

static void write_traffic(const struct containers *c, struct metrics_writer *w)
{
	static const struct {
		enum container_family family;
		uint16_t offset;
	} kinds[] = {
		{C_RECEIVED, offsetof(struct net_traffic, rx_bytes)}, {C_SENT, offsetof(struct net_traffic, tx_bytes)},
		{C_RECEIVED_PACKETS, offsetof(struct net_traffic, rx_packets)}, {C_SENT_PACKETS, offsetof(struct net_traffic, tx_packets)},
		{C_RECEIVED_ERRORS, offsetof(struct net_traffic, rx_errors)}, {C_SENT_ERRORS, offsetof(struct net_traffic, tx_errors)},
		{C_RECEIVED_DROPS, offsetof(struct net_traffic, rx_dropped)}, {C_SENT_DROPS, offsetof(struct net_traffic, tx_dropped)},
	};

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		metrics_family(w, &container_families[kinds[k].family]);
		for (const struct watched *x = c->all; x; x = x->hh.next) {
			for (unsigned i = 0; x->running && i < x->n_ifaces; i++) {
				const struct net_traffic *t = &x->ifaces[i].traffic;

				if (t->task_id)
					metrics_u64(w, &x->ifaces[i].labels, NULL, *(const uint64_t *)((const char *)t + kinds[k].offset));
			}
		}
	}
}

/* ---------------------------------------------------------------- what the task's object says */

static void write_limits(const struct containers *c, struct metrics_writer *w)
{
	static const struct {
		enum container_family family;
		uint16_t offset;
		uint8_t decimals;
	} kinds[] = {
		{C_CPU_LIMIT, offsetof(struct watched, cpu_limit_nano), 9}, {C_MEMORY_LIMIT, offsetof(struct watched, mem_limit_bytes), 0},
		{C_PIDS_LIMIT, offsetof(struct watched, pids_limit), 0},
	};

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		metrics_family(w, &container_families[kinds[k].family]);
		for (const struct watched *x = c->all; x; x = x->hh.next) {
			int64_t limit = *(const int64_t *)((const char *)x + kinds[k].offset);

			if (x->running && limit > 0)
				metrics_scaled(w, &x->labels, NULL, (uint64_t)limit, kinds[k].decimals);
		}
	}
}

static void write_life(const struct containers *c, struct metrics_writer *w)
{
	metrics_family(w, &container_families[C_START_TIME]);
	for (const struct watched *x = c->all; x; x = x->hh.next) {
		if (x->running)
			metrics_scaled(w, &x->labels, NULL, (uint64_t)x->started_at / 1000000, 3);
	}
	metrics_family(w, &container_families[C_RESTARTS]);
	for (const struct watched *x = c->all; x; x = x->hh.next) {
		if (x->running)
			metrics_u64(w, &x->labels, NULL, x->restarts);
	}
	metrics_family(w, &container_families[C_STATE]);
	for (const struct watched *x = c->all; x; x = x->hh.next) {
		char state[48];
		int n = snprintf(state, sizeof(state), "state=\"%s\"", pb_task_state_name(x->state));

		for (int i = 7; i < n; i++)
			state[i] = (char)tolower((unsigned char)state[i]);
		metrics_u64(w, &x->labels, state, 1);
	}
}

static void write_health(const struct containers *c, struct metrics_writer *w)
{
	static const struct {
		int health;
		const char *label;
	} all[] = {
		{HEALTH_NONE, "health=\"none\""},
		{HEALTH_STARTING, "health=\"starting\""},
		{HEALTH_HEALTHY, "health=\"healthy\""},
		{HEALTH_UNHEALTHY, "health=\"unhealthy\""},
	};

	metrics_family(w, &container_families[C_HEALTH]);
	for (const struct watched *x = c->all; x; x = x->hh.next) {
		size_t n = x->health < 0 ? 0 : x->health == HEALTH_NONE ? 1 : ARRAY_SIZE(all);

		for (size_t i = 0; i < n; i++)
			metrics_u64(w, &x->labels, all[i].label, x->health == all[i].health);
	}
}

void containers_write(const struct containers *c, struct metrics_writer *w)
{
	write_numbers(c, w);
	write_working_set(c, w);
	write_pressure(c, w, C_WAITING, false);
	write_pressure(c, w, C_STALLED, true);
	write_traffic(c, w);
	write_limits(c, w);
	write_life(c, w);
	write_health(c, w);
}
