#include "manager_conf.h"

#include "common/error.h"
#include "common/hostport.h"
#include "common/mem.h"

#include <inttypes.h>
#include <stdio.h>
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

static void add_flag(struct strv *flags, const char *name, const char *value)
{
	if (!str_empty(value))
		strv_addf(flags, "--%s=%s", name, value);
}

void manager_conf_http_flags(const struct agent_config *agent, struct strv *flags)
{
	add_flag(flags, "http-listen", agent->manager_http_listen);
	add_flag(flags, "http-tls", agent->manager_http_tls ? "true" : "false");
	add_flag(flags, "http-cert", agent->manager_http_cert);
	add_flag(flags, "http-key", agent->manager_http_key);
	add_flag(flags, "http-client-ca", agent->manager_http_client_ca);
}

const char *manager_conf_http_where(const struct agent_config *agent, char buf[static MANAGER_CONF_WHERE_MAX])
{
	struct hostport at;

	buf[0] = '\0';
	if (!str_eq(agent->manager_http_listen, "off") && hostport_parse(agent->manager_http_listen, 9641, &at, NULL) == 0)
		snprintf(buf, MANAGER_CONF_WHERE_MAX, "%s:%u", agent->manager_http_tls ? "https" : "http", at.port);
	return buf;
}
