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
