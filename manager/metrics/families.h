/*
 * families - the metrics of cluster-manager as tables: code, docs/metrics.md and the tests of rules and dashboard read them.
 * What concerns the cluster is told by every manager alike, from its view.
 */
#pragma once
#include "common/metrics/metrics.h"

/* ---- cluster */
extern const struct metric_family family_cluster, family_services, family_networks, family_desired, family_running,
	family_tasks, family_pending, family_nodes, family_node_ready, family_node_certificate;
/* ---- deciding */
extern const struct metric_family family_start, family_plan, family_rounds, family_round_objects;
/* ---- this manager */
extern const struct metric_family family_manager, family_leader, family_leader_changes, family_managers,
	family_managers_reachable, family_sessions, family_registrations, family_beats, family_reports, family_reports_dropped,
	family_nodes_lost, family_certificate, family_ca_certificate, family_api_requests, family_api_seconds;
/* ---- etcd */
extern const struct metric_family family_etcd_seconds, family_etcd_failures, family_etcd_sent, family_etcd_received,
	family_etcd_revision, family_etcd_watch_up, family_etcd_watch_silence, family_etcd_watch_lag, family_etcd_commits,
	family_etcd_events, family_etcd_resyncs, family_etcd_database;

/* All of them, and those of every daemon (process.h). */
extern const struct metric_table *const manager_tables[];
extern const size_t manager_tables_n;
