/*
 * etcd_gate - lets the other managers at the local etcd: TLS in front of its unix socket.
 *
 * etcd 3.4 could serve https itself, but not ours: --client-cert-allowed-hostname, which has to keep the workers
 * (certificates of the same CA) out, also refuses the JSON gateway's own connection to etcd. Here the client's
 * certificate must be of the CA and carry PKI_MANAGER_NAME; then bytes are passed on as they are. Loop thread.
 */
#pragma once
#include <stdint.h>
#include <uv.h>

struct error;
struct etcd_gate;

struct etcd_gate_options {
	uv_loop_t *loop;
	const char *address;   /* literal IP address */
	uint16_t port;
	const char *socket;    /* path of etcd's socket */
	const char *ca_file, *cert_file, *key_file; /* read anew for each connection: certificates are renewed */
};

/* Strings are copied. Errors: the address cannot be listened on, the certificate cannot be used. */
struct etcd_gate *etcd_gate_open(const struct etcd_gate_options *options, struct error *err);
void etcd_gate_close(struct etcd_gate *g, void (*closed)(void *data), void *data);
