// links: ctl_core
/* The first byte chooses the parser; the rest is what a user typed, or a file that he named. */
#include "clusterctl/auth.h"
#include "clusterctl/template.h"
#include "clusterctl/values.h"
#include "clusterctl/values_net.h"
#include "clusterctl/values_port.h"

#include "common/error.h"
#include "common/mem.h"

#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *lookup(const char *name)
{
	return name[0] == 'H' ? (char *)"value" : NULL;
}

static void parse_mount(const char *text, struct error *err)
{
	_cleanup_pb_ pb_mount *mount = value_mount(text, err);

	if (mount && (mount->target[0] != '/' || mount->tmpfs_mode > 07777 || mount->tmpfs_size_bytes < 0))
		abort();
}

static void parse_ulimit(const char *text, struct error *err)
{
	_cleanup_pb_ pb_ulimit *limit = value_ulimit(text, err);

	if (limit && (limit->soft < -1 || limit->hard < -1 || (limit->hard != -1 && limit->soft > limit->hard)))
		abort();
}

static void parse_env(const char *text, bool file, struct error *err)
{
	_cleanup_pb_ pb_container_spec *c = pb_new(&skein__container_spec__descriptor);

	if (file)
		value_env_file(text, lookup, &c->n_env, &c->env, err);
	else
		value_env(text, lookup, &c->n_env, &c->env, err);
	for (size_t i = 0; i < c->n_env; i++)
		if (!strchr(c->env[i], '=') || c->env[i][0] == '=')
			abort();
}

static void parse_filter(const char *text, struct error *err)
{
	_cleanup_pb_ Skein__ListRequest *r = pb_new(&skein__list_request__descriptor);

	if (value_filter(text, "id|name|label", &r->n_filters, &r->filters, err) == 0 && r->n_filters != 1)
		abort();
}

static void parse_publish(const char *text, struct error *err)
{
	_cleanup_pb_ pb_endpoint_spec *e = pb_new(&skein__endpoint_spec__descriptor);
	_cleanup_free_ char *shown = NULL;

	if (value_publish(text, &e->n_ports, &e->ports, err) < 0 && e->n_ports > 0)
		abort();
	for (size_t i = 0; i < e->n_ports; i++)
		if (e->ports[i]->target < 1 || e->ports[i]->target > 65535 || e->ports[i]->published > 65535 ||
		    (*e->ports[i]->host_ip && (int)e->ports[i]->mode != PUBLISH_HOST))
			abort();
	shown = ports_text(e->ports, e->n_ports, -1);
	if (e->n_ports > 0 && !*shown)
		abort();
	value_publish_rm(text, &e->n_ports, &e->ports, err);
}

static void parse_network(const char *text, struct error *err)
{
	_cleanup_pb_ pb_attachment_config *c = value_network(text, err);
	_cleanup_pb_ pb_container_spec *container = pb_new(&skein__container_spec__descriptor);
	_cleanup_free_ char *line = value_host(text, err), *server = value_dns_server(text, err);

	if (c && !*c->network_id)
		abort();
	if (server && !*server)
		abort();
	if (line && (strchr(line, '\n') || !strchr(line, ' ')))
		abort();
	if (line)
		pb_strs_add(&container->n_hosts, &container->hosts, line);
	if (value_host_rm(text, &container->n_hosts, &container->hosts, err) == 0 && container->n_hosts > 0)
		abort();
	value_dns_search(text, err);
	value_dns_option(text, err);
	value_addr_pool(text, 24, err);
}

static void parse_small(const char *text, struct error *err)
{
	_cleanup_free_ char *cap = value_capability(text, err);
	_cleanup_strv_ struct strv words = {0}, fields = {0};
	int64_t ns;

	if (cap && !str_eq(cap, "ALL") && !str_starts(cap, "CAP_"))
		abort();
	value_placement_pref(text, err);
	value_constraint(text, err);
	value_words(text, &words, err);
	value_csv(text, &fields, err);
	if (value_time(text, INT64_C(1700000000000000000), &ns, err) == 0 && ns < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = size > 0 ? xstrndup((const char *)data + 1, size - 1) : xstrdup("");
	char *auth;
	_cleanup_template_ struct template t = {0};
	struct error err = ERROR_INIT;

	switch (size > 0 ? data[0] : 'v') {
	case 'm':
		parse_mount(text, &err);
		break;
	case 'u':
		parse_ulimit(text, &err);
		break;
	case 'e':
		parse_env(text, false, &err);
		break;
	case 'f':
		parse_env(text, true, &err);
		break;
	case 'k':
		parse_filter(text, &err);
		break;
	case 'p':
		parse_publish(text, &err);
		break;
	case 'n':
		parse_network(text, &err);
		break;
	case 't':
		template_parse(text, &t, &err);
		break;
	case 'a':
		auth = auth_select(text, "docker.io", &err);
		free(auth);
		break;
	default:
		parse_small(text, &err);
		break;
	}
	return 0;
}
