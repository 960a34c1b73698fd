/*
 * server - GET /metrics, /healthz and /readyz of cluster-agent. Loop thread.
 *
 * When its address cannot be listened at, that is logged and tried again: the node's containers do not depend on it.
 */
#pragma once
#include "collector.h"

#include "common/http/health.h"

struct metrics_server;

struct metrics_server_options {
	struct collector_options collector; /* its facts' `http` is set here */
	const char *address;           /* literal IP address */
	uint16_t port;
	const char *cert_file, *key_file, *client_ca_file; /* NULL = without TLS / client certificates */
	const struct health_check *alive, *ready; /* what /healthz and /readyz look at; data is the collector's */
	size_t n_alive, n_ready;
};

/* Strings are borrowed for as long as it lives. */
struct metrics_server *metrics_server_new(const struct metrics_server_options *options);
/* NULL: at once. Before worker, images and net close. */
void metrics_server_close(struct metrics_server *s, void (*closed)(void *data), void *data);
