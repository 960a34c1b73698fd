/* manager_conf - the configuration file that the agent writes for the manager beside it. Pure. */
#pragma once
#include "config.h"

struct manager_conf {
	const struct agent_config *agent;
	const char *listen;            /* "0.0.0.0:2377" */
	const char *advertise;         /* "10.0.0.1:2377" */
	char *const *join;             /* managers to become a member through, "host:port", NULL-terminated; NULL = none */
	char *const *etcd_endpoints;   /* external etcd; NULL = embedded */
	const char *etcd_ca, *etcd_cert, *etcd_key;
	bool force_new_cluster;
};

/* The text; yours. Values that cannot stand on one line are refused with ERR_INVALID. */
char *manager_conf_text(const struct manager_conf *conf, struct error *err);

/*
 * What the manager is told by flags at each start, because it may change between two of them: where it serves metrics and its
 * page. Appends "--http-listen=..." and so on.
 */
void manager_conf_http_flags(const struct agent_config *agent, struct strv *flags);
/* The same as managers tell Prometheus: "https:9641"; "" = off. Into the buffer, which is returned. */
#define MANAGER_CONF_WHERE_MAX 16
const char *manager_conf_http_where(const struct agent_config *agent, char buf[static MANAGER_CONF_WHERE_MAX]);
