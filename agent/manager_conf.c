#include "manager_conf.h"

#include "common/error.h"
#include "common/mem.h"

#include <inttypes.h>
#include <string.h>

struct writer {
	struct strbuf out;
	struct error *err;
	int result;
};

static void put(struct writer *w, const char *key, const char *value)
{
	if (str_empty(value))
		return;
	if (value[strcspn(value, "\n\r#")] != '\0')
		w->result = error_set(w->err, ERR_INVALID, "%s: \"%s\" must not contain a line break or '#'", key, value);
	strbuf_printf(&w->out, "%s = %s\n", key, value);
}

static void put_list(struct writer *w, const char *key, char *const *values)
{
	for (; values && *values; values++)
		put(w, key, *values);
}

char *manager_conf_text(const struct manager_conf *conf, struct error *err)
{
	struct writer w = {.err = err};

	strbuf_puts(&w.out, "# Written by cluster-agent; changes are lost.\n");
	put(&w, "state-dir", conf->agent->state_dir);
	put(&w, "run-dir", conf->agent->run_dir);
	put(&w, "listen", conf->listen);
	put(&w, "advertise-address", conf->advertise);
	put_list(&w, "join", conf->join);
	put_list(&w, "etcd-endpoint", conf->etcd_endpoints);
	put(&w, "etcd-ca", conf->etcd_ca);
	put(&w, "etcd-cert", conf->etcd_cert);
	put(&w, "etcd-key", conf->etcd_key);
	put(&w, "auth-file", conf->agent->auth_file);
	put(&w, "certs-dir", conf->agent->certs_dir);
	strbuf_printf(&w.out, "etcd-client-port = %" PRIu64 "\n", conf->agent->etcd_client_port);
	strbuf_printf(&w.out, "etcd-peer-port = %" PRIu64 "\n", conf->agent->etcd_peer_port);
	if (conf->force_new_cluster)
		strbuf_puts(&w.out, "force-new-cluster = true\n");
	if (w.result < 0) {
		strbuf_fini(&w.out);
		return NULL;
	}
	return strbuf_take(&w.out);
}
