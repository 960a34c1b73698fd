/*
 * monitor - what a manager serves over HTTP (port 9641): /metrics, /healthz, /readyz, /sd/prometheus, /ui/ (manager/web).
 *
 * Open from the first moment on: that a manager cannot reach its etcd is told there. TLS with the node's own certificate, unless
 * the options say otherwise. Loop thread.
 */
#pragma once
#include "manager/metrics/counters.h"

struct error;
struct manager;
struct monitor;

/* NULL without an error: it is off. Errors: the address cannot be listened at, a certificate cannot be used. */
struct monitor *monitor_open(struct manager *m, struct error *err);
/* The store, and then the services, are there: they are counted from here on. */
void monitor_store(struct monitor *mon);
void monitor_services(struct monitor *mon);
struct manager_counters *monitor_counters(struct monitor *mon);
/* closed runs once; NULL monitor: at once. Before the store is closed. */
void monitor_close(struct monitor *mon, void (*closed)(void *data), void *data);
