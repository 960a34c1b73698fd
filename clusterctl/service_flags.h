/*
 * service_flags - the flags of `service create` and `service update`, and what they make of a spec.
 * spec_build and spec_edit are pure: files and the environment are read by the caller.
 */
#pragma once
#include "common/options.h"
#include "proto/pb.h"

struct error;

struct update_flags {
	uint64_t parallelism;
	int64_t delay, monitor;
	char *order, *failure_action;
	double max_failure_ratio;
};

/* Lists that `update` changes have two flags: X (create: --x, update: --x-add) and X_rm. */
struct service_flags {
	bool help;

	char *name, *mode, *image, *args, *entrypoint;
	uint64_t replicas;
	bool force, rollback_now;

	char *hostname, *user, *workdir, *stop_signal, *endpoint_mode;
	bool tty, init, read_only, live_migrate;
	int64_t stop_grace_period, oom_score_adj;

	char *health_cmd;
	int64_t health_interval, health_timeout, health_start_period, health_start_interval;
	uint64_t health_retries;
	bool no_healthcheck;
	int64_t ready_wait;

	struct strv env, env_rm, env_file;
	struct strv labels, labels_rm, container_labels, container_labels_rm;
	struct strv groups, groups_rm, mounts, mounts_rm, ulimits, ulimits_rm, sysctls, sysctls_rm;
	struct strv cap_add, cap_drop, constraints, constraints_rm, placement_prefs,
		placement_prefs_rm;

	struct strv networks, networks_rm, publish, publish_rm, dns, dns_rm, dns_search,
		dns_search_rm, dns_options, dns_options_rm, hosts, hosts_rm;

	int64_t limit_cpu, limit_memory, limit_pids, reserve_cpu, reserve_memory;
	uint64_t replicas_max_per_node;

	char *restart_condition;
	int64_t restart_delay, restart_window;
	uint64_t restart_max_attempts;

	struct update_flags update, rollback;

	bool with_registry_auth, detach, quiet;
	int64_t verify;
};

extern const struct option_def service_create_options[];
extern const struct option_def service_update_options[];

/* What the pure functions may not fetch themselves. */
struct spec_input {
	char *(*getenv)(const char *name);
	const struct strv *env_file_texts; /* contents of --env-file, in order; may be NULL */
	const char *registry_auth;	   /* NULL = none */
};

/*
 * A complete spec from the flags of `create` and IMAGE [ARG...].
 * NULL on error: ERR_INVALID names flag, value and what is accepted.
 */
pb_service_spec *spec_build(const struct service_flags *flags, const struct option_seen *seen,
			    const struct strv *args, const struct spec_input *input,
			    struct error *err);

/* Change in place what the flags of `update` gave, and nothing else. */
int spec_edit(pb_service_spec *spec, const struct service_flags *flags,
	      const struct option_seen *seen, const struct spec_input *input, struct error *err);

/* ---- shared by the two */

/* Scalars that were seen (`all`: every one, with the flags' defaults). */
int spec_apply_scalars(pb_service_spec *spec, const struct option_def *defs,
		       const struct service_flags *flags, const struct option_seen *seen, bool all,
		       struct error *err);
/* Append or replace entries; `suffix` ("" or "-add") goes into messages. */
int spec_add_lists(pb_service_spec *spec, const struct service_flags *flags, const char *suffix,
		   const struct spec_input *input, struct error *err);
/* spec_net.c: networks, published ports and names. */
int spec_add_net(pb_service_spec *spec, const struct service_flags *flags, const char *suffix,
		 struct error *err);
int spec_remove_net(pb_service_spec *spec, const struct service_flags *flags, struct error *err);
void spec_set_endpoint_mode(pb_service_spec *spec, const char *mode);
/* spec_health.c: how it is found out that a container serves. */
int spec_apply_health(pb_container_spec *container, const struct option_def *defs, const struct service_flags *flags,
		      const struct option_seen *seen, struct error *err);
int spec_set_image(pb_container_spec *container, const char *flag, const char *image,
		   struct error *err);
/* In a refusal by the manager, put the flag of `defs` in place of the field that it sets. */
void spec_name_flag(const struct option_def *defs, struct error *err);
/* Sub-messages that a spec from elsewhere may lack. */
void spec_complete(pb_service_spec *spec);
