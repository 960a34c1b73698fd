/* Networks, published ports and names in a service spec. */
#include "service_flags.h"

#include "values_net.h"
#include "values_port.h"

#include "common/error.h"
#include "common/mem.h"

#include <string.h>

/* These are a kind of network rather than one of several. */
static bool stands_alone(const char *name)
{
	return str_eq(name, "host") || str_eq(name, "none");
}

static bool has_string(char *const *list, size_t n, const char *s)
{
	for (size_t i = 0; i < n; i++)
		if (str_eq(list[i], s))
			return true;
	return false;
}

/* ---------------------------------------------------------------- networks */

static bool is_network(const pb_attachment_config *c, const char *ref)
{
	return str_eq(c->network_name, ref) || str_eq(c->network_id, ref);
}

static void drop_network(pb_task_spec *task, const char *ref)
{
	for (size_t i = 0; i < task->n_networks; i++)
		if (is_network(task->networks[i], ref))
			pb_msgs_del(&task->n_networks, &task->networks, i--);
}

static int add_network(pb_task_spec *task, const char *text, struct error *err)
{
	_cleanup_pb_ pb_attachment_config *c = value_network(text, err);
	const char *name;

	if (!c)
		return -1;
	name = c->network_id;
	if (stands_alone(name) || str_eq(name, "bridge")) {
		if (c->n_aliases > 0 || *c->ipv4 || *c->ipv6)
			return error_set(err, ERR_INVALID,
					 "\"%.200s\": network %s has no aliases and addresses to "
					 "choose",
					 text, name);
		if (stands_alone(task->network) && !str_eq(task->network, name))
			return error_set(err, ERR_INVALID, "%s and %s exclude each other",
					 task->network, name);
		pb_set_str(&task->network, name);
		return 0;
	}
	drop_network(task, name);
	pb_msgs_add(&task->n_networks, &task->networks, TAKE_PTR(c));
	return 0;
}

static int add_networks(pb_task_spec *task, const struct strv *texts, struct error *err)
{
	for (size_t i = 0; i < texts->n; i++)
		if (add_network(task, texts->v[i], err) < 0)
			return -1;
	if (texts->n > 0 && stands_alone(task->network) && task->n_networks > 0)
		return error_set(err, ERR_INVALID, "%s goes with no other network", task->network);
	return 0;
}

static void remove_networks(pb_task_spec *task, const struct strv *names)
{
	for (size_t i = 0; i < names->n; i++) {
		drop_network(task, names->v[i]);
		if (str_eq(task->network, names->v[i]))
			pb_set_str(&task->network, "bridge");
	}
}

/* ---------------------------------------------------------------- ports */

static void ensure_endpoint(pb_service_spec *spec)
{
	if (!spec->endpoint)
		spec->endpoint = pb_new(&skein__endpoint_spec__descriptor);
}

void spec_set_endpoint_mode(pb_service_spec *spec, const char *mode)
{
	ensure_endpoint(spec);
	spec->endpoint->mode = str_eq(mode, "dnsrr") ? (Skein__EndpointMode)ENDPOINT_DNSRR
						     : (Skein__EndpointMode)ENDPOINT_VIP;
}

static int add_ports(pb_service_spec *spec, const struct strv *texts, struct error *err)
{
	if (texts->n > 0)
		ensure_endpoint(spec);
	for (size_t i = 0; i < texts->n; i++)
		if (value_publish(texts->v[i], &spec->endpoint->n_ports, &spec->endpoint->ports,
				  err) < 0)
			return -1;
	return 0;
}

static int remove_ports(pb_service_spec *spec, const struct strv *texts, struct error *err)
{
	pb_endpoint_spec none = SKEIN__ENDPOINT_SPEC__INIT;
	pb_endpoint_spec *endpoint = spec->endpoint ?: &none;

	for (size_t i = 0; i < texts->n; i++)
		if (value_publish_rm(texts->v[i], &endpoint->n_ports, &endpoint->ports, err) < 0)
			return -1;
	return 0;
}

/* ---------------------------------------------------------------- names */

static int add_dns(pb_container_spec *c, const struct service_flags *f, const char *suffix,
		   struct error *err)
{
	for (size_t i = 0; i < f->dns.n; i++) {
		_cleanup_free_ char *server = value_dns_server(f->dns.v[i], err);

		if (!server)
			return error_wrap(err, "--dns%s", suffix);
		if (!has_string(c->dns_servers, c->n_dns_servers, server))
			pb_strs_add(&c->n_dns_servers, &c->dns_servers, server);
	}
	for (size_t i = 0; i < f->dns_search.n; i++) {
		if (value_dns_search(f->dns_search.v[i], err) < 0)
			return error_wrap(err, "--dns-search%s", suffix);
		if (!has_string(c->dns_search, c->n_dns_search, f->dns_search.v[i]))
			pb_strs_add(&c->n_dns_search, &c->dns_search, f->dns_search.v[i]);
	}
	for (size_t i = 0; i < f->dns_options.n; i++) {
		if (value_dns_option(f->dns_options.v[i], err) < 0)
			return error_wrap(err, "--dns-option%s", suffix);
		if (!has_string(c->dns_options, c->n_dns_options, f->dns_options.v[i]))
			pb_strs_add(&c->n_dns_options, &c->dns_options, f->dns_options.v[i]);
	}
	return 0;
}

static int add_hosts(pb_container_spec *c, const struct strv *texts, struct error *err)
{
	for (size_t i = 0; i < texts->n; i++) {
		_cleanup_free_ char *line = value_host(texts->v[i], err);

		if (!line)
			return -1;
		if (!has_string(c->hosts, c->n_hosts, line))
			pb_strs_add(&c->n_hosts, &c->hosts, line);
	}
	return 0;
}

static void remove_strings(size_t *n, char ***list, const struct strv *names)
{
	for (size_t i = 0; i < *n; i++)
		if (strv_has(names, (*list)[i]))
			pb_strs_del(n, list, i--);
}

static int remove_dns(pb_container_spec *c, const struct service_flags *f, struct error *err)
{
	_cleanup_strv_ struct strv servers = {0};

	for (size_t i = 0; i < f->dns_rm.n; i++) {
		_cleanup_free_ char *server = value_dns_server(f->dns_rm.v[i], err);

		if (!server)
			return error_wrap(err, "--dns-rm");
		strv_add(&servers, server);
	}
	remove_strings(&c->n_dns_servers, &c->dns_servers, &servers);
	remove_strings(&c->n_dns_search, &c->dns_search, &f->dns_search_rm);
	remove_strings(&c->n_dns_options, &c->dns_options, &f->dns_options_rm);
	for (size_t i = 0; i < f->hosts_rm.n; i++)
		if (value_host_rm(f->hosts_rm.v[i], &c->n_hosts, &c->hosts, err) < 0)
			return error_wrap(err, "--host-rm");
	return 0;
}

/* ---------------------------------------------------------------- both commands */

int spec_add_net(pb_service_spec *spec, const struct service_flags *f, const char *suffix,
		 struct error *err)
{
	pb_container_spec *c = spec->task->container;

	if (add_networks(spec->task, &f->networks, err) < 0)
		return error_wrap(err, "--network%s", suffix);
	if (add_ports(spec, &f->publish, err) < 0)
		return error_wrap(err, "--publish%s", suffix);
	if (add_dns(c, f, suffix, err) < 0)
		return -1;
	if (add_hosts(c, &f->hosts, err) < 0)
		return error_wrap(err, "--host%s", suffix);
	return 0;
}

int spec_remove_net(pb_service_spec *spec, const struct service_flags *f, struct error *err)
{
	remove_networks(spec->task, &f->networks_rm);
	if (remove_ports(spec, &f->publish_rm, err) < 0)
		return error_wrap(err, "--publish-rm");
	return remove_dns(spec->task->container, f, err);
}
