#include "external_etcd.h"

#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"
#include "common/options.h"
#include "config.h"

#include <string.h>

#define PEM_MAX_BYTES (256u << 10)
#define ENDPOINTS_MAX 32
#define ENDPOINT_MAX_BYTES 512

/* The file has the keys of cluster-manager's own configuration. */
static const struct option_def kept_options[] = {
	{"etcd-endpoint", 0, OPT_LIST(struct external_etcd, endpoints)},
	{"etcd-ca", 0, OPT_STR(struct external_etcd, ca)},
	{"etcd-cert", 0, OPT_STR(struct external_etcd, cert)},
	{"etcd-key", 0, OPT_STR(struct external_etcd, key)},
	{0},
};

void external_etcd_fini(struct external_etcd *e)
{
	options_fini(kept_options, e);
	*e = (struct external_etcd){0};
}

static char *kept_path(const char *state_dir, const char *name)
{
	return xasprintf("%s/manager/%s", state_dir, name);
}

static char *copy_or_null(const char *s)
{
	return str_empty(s) ? NULL : xstrdup(s);
}

int external_etcd_load(const struct manager_config *config, struct external_etcd *ret, struct error *err)
{
	_cleanup_free_ char *path = kept_path(config->state_dir, "etcd.conf");
	struct external_etcd e = {0};
	struct option_seen seen = {0};

	if (config->etcd_endpoints.n > 0) {
		for (size_t i = 0; i < config->etcd_endpoints.n; i++)
			strv_add(&e.endpoints, config->etcd_endpoints.v[i]);
		e.ca = copy_or_null(config->etcd_ca);
		e.cert = copy_or_null(config->etcd_cert);
		e.key = copy_or_null(config->etcd_key);
	} else if (options_parse_file(kept_options, &e, path, &seen, err) < 0) {
		external_etcd_fini(&e);
		return -1;
	} else if (e.endpoints.n == 0) {
		external_etcd_fini(&e);
		return error_set(err, ERR_INVALID, "%s: no etcd-endpoint", path);
	}
	*ret = e;
	return 0;
}

/* ---- to another manager */

static int read_pem(const char *path, char **ret, struct error *err)
{
	_cleanup_free_ char *text = NULL;

	if (!path)
		return 0;
	if (file_read(path, PEM_MAX_BYTES, &text, NULL, err) < 0)
		return error_wrap(err, "certificates of the external etcd");
	pb_set_str(ret, text);
	mem_wipe(text, strlen(text));
	return 0;
}

int external_etcd_answer(const struct external_etcd *e, Skein__AddMemberResponse *response, struct error *err)
{
	response->external = true;
	for (size_t i = 0; i < e->endpoints.n; i++)
		pb_strs_add(&response->n_etcd_endpoints, &response->etcd_endpoints, e->endpoints.v[i]);
	if (read_pem(e->ca, &response->etcd_ca_pem, err) < 0 ||
	    read_pem(e->cert, &response->etcd_cert_pem, err) < 0 ||
	    read_pem(e->key, &response->etcd_key_pem, err) < 0)
		return -1;
	return 0;
}

/* ---- from another manager */

static int check_endpoints(const Skein__AddMemberResponse *r, struct error *err)
{
	if (r->n_etcd_endpoints == 0 || r->n_etcd_endpoints > ENDPOINTS_MAX)
		return error_set(err, ERR_INVALID, "the manager names %zu endpoints of the external etcd: accepted are 1 to %d",
				 r->n_etcd_endpoints, ENDPOINTS_MAX);
	for (size_t i = 0; i < r->n_etcd_endpoints; i++) {
		const char *url = r->etcd_endpoints[i];

		if ((!str_starts(url, "https://") && !str_starts(url, "http://")) || strlen(url) > ENDPOINT_MAX_BYTES ||
		    strpbrk(url, " \t\r\n#"))
			return error_set(err, ERR_INVALID, "endpoint of the external etcd \"%.100s\": expected http(s)://HOST:PORT",
					 url);
	}
	return 0;
}

static int keep_pem(const char *state_dir, const char *name, const char *pem, const char *key, struct strbuf *conf,
		    struct error *err)
{
	_cleanup_free_ char *path = kept_path(state_dir, name);

	if (str_empty(pem))
		return 0;
	strbuf_printf(conf, "%s = %s\n", key, path);
	return file_write(path, pem, strlen(pem), 0600, err);
}

int external_etcd_save(const char *state_dir, const Skein__AddMemberResponse *r, struct error *err)
{
	_cleanup_strbuf_ struct strbuf conf = {0};
	_cleanup_free_ char *dir = xasprintf("%s/manager", state_dir), *path = kept_path(state_dir, "etcd.conf");

	if (check_endpoints(r, err) < 0 || file_mkdirs(dir, 0700, err) < 0)
		return -1;
	strbuf_puts(&conf, "# Told by the manager that this one joined through.\n");
	for (size_t i = 0; i < r->n_etcd_endpoints; i++)
		strbuf_printf(&conf, "etcd-endpoint = %s\n", r->etcd_endpoints[i]);
	/* The file that names the others comes last: it is never there without them. */
	if (keep_pem(state_dir, "etcd-ca.crt", r->etcd_ca_pem, "etcd-ca", &conf, err) < 0 ||
	    keep_pem(state_dir, "etcd-client.crt", r->etcd_cert_pem, "etcd-cert", &conf, err) < 0 ||
	    keep_pem(state_dir, "etcd-client.key", r->etcd_key_pem, "etcd-key", &conf, err) < 0)
		return -1;
	return file_write(path, conf.p, conf.len, 0600, err);
}
