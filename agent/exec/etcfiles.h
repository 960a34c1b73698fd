/*
 * etcfiles - the texts of /etc/hosts and /etc/resolv.conf that a container gets. Pure.
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>

struct etcfiles_input {
	const pb_task *task;
	const char *hostname;
	bool host_network;
	const char *host_hosts, *host_resolv; /* the host's files; NULL = it has none */
	const char *hosts;	 /* further lines, from the network; NULL = none */
	const char *resolv_conf; /* from the network; NULL = none */
};

/*
 * The host's with host network; else localhost, and the host name with the task's addresses (127.0.1.1 without any). Then
 * the spec's lines. Yours.
 */
char *etcfiles_hosts(const struct etcfiles_input *in);
/* The network's; else the host's, or what the spec says instead of it. Yours. */
char *etcfiles_resolv(const struct etcfiles_input *in);
