#include "validate.h"

#include "common/error.h"
#include "common/ipaddr.h"
#include "common/mem.h"
#include "common/str.h"

#include <ctype.h>
#include <string.h>

#define SERVERS_MAX 8
#define SEARCH_MAX 32
#define OPTIONS_MAX 32
#define HOSTS_MAX 512
#define HOSTNAME_MAX 253
#define LABEL_MAX 63
#define OPTION_MAX_BYTES 64
#define HOST_LINE_MAX 1024

bool validate_is_hostname(const char *name)
{
	size_t label = 0;

	if (str_empty(name) || strlen(name) > HOSTNAME_MAX)
		return false;
	for (const char *p = name;; p++) {
		bool end = !*p || *p == '.';
		bool ok = end ? label > 0 && label <= LABEL_MAX && p[-1] != '-'
			      : isalnum((unsigned char)*p) || (*p == '-' && label > 0);

		if (!ok)
			return false;
		if (!*p)
			return true;
		label = end ? 0 : label + 1;
	}
}

static int check_count(const char *field, size_t n, size_t max, struct error *err)
{
	if (n <= max)
		return 0;
	return error_set(err, ERR_EXHAUSTED, "task.container.%s: %zu of them: at most %zu", field,
			 n, max);
}

static int check_servers(const pb_container_spec *c, struct error *err)
{
	struct ipaddr addr;

	if (check_count("dns_servers", c->n_dns_servers, SERVERS_MAX, err) < 0)
		return -1;
	for (size_t i = 0; i < c->n_dns_servers; i++)
		if (ipaddr_parse(c->dns_servers[i], &addr, NULL) < 0 ||
		    strchr(c->dns_servers[i], '/'))
			return validate_refuse(err, c->dns_servers[i], "must be an IP address",
					       "task.container.dns_servers[%zu]", i);
	return 0;
}

/* A search domain may have underscores and a last dot; "." alone: none at all. */
static bool is_search(const char *s)
{
	_cleanup_free_ char *name = xstrdup(s);
	size_t len = strlen(name);

	if (str_eq(name, "."))
		return true;
	if (len && name[len - 1] == '.')
		name[len - 1] = '\0';
	for (char *p = name; *p; p++)
		*p = *p == '_' ? 'x' : *p;
	return validate_is_hostname(name);
}

/* resolv.conf(5): words, some with a number. */
static bool is_option(const char *s)
{
	if (str_empty(s) || strlen(s) > OPTION_MAX_BYTES || *s == ':')
		return false;
	for (; *s && *s != ':'; s++)
		if (!isalnum((unsigned char)*s) && *s != '-' && *s != '_')
			return false;
	return !*s || (s[1] && strspn(s + 1, "0123456789") == strlen(s + 1));
}

static int check_search(const pb_container_spec *c, struct error *err)
{
	if (check_count("dns_search", c->n_dns_search, SEARCH_MAX, err) < 0 ||
	    check_count("dns_options", c->n_dns_options, OPTIONS_MAX, err) < 0)
		return -1;
	for (size_t i = 0; i < c->n_dns_search; i++)
		if (!is_search(c->dns_search[i]))
			return validate_refuse(err, c->dns_search[i],
					       "must be a domain, or \".\" for none",
					       "task.container.dns_search[%zu]", i);
	for (size_t i = 0; i < c->n_dns_options; i++)
		if (!is_option(c->dns_options[i]))
			return validate_refuse(err, c->dns_options[i],
					       "must be an option of resolv.conf(5), like ndots:2",
					       "task.container.dns_options[%zu]", i);
	return 0;
}

/* "10.0.0.1 name [alias...]" */
static bool is_host_line(const char *line)
{
	_cleanup_free_ char *copy = xstrdup(line);
	struct ipaddr addr;
	size_t names = 0;
	char *rest = copy, *word = strsep(&rest, " \t");

	if (strlen(line) > HOST_LINE_MAX || strchr(word, '/') ||
	    ipaddr_parse(word, &addr, NULL) < 0)
		return false;
	while ((word = strsep(&rest, " \t"))) {
		if (!*word)
			continue;
		for (char *p = word; *p; p++)
			*p = *p == '_' ? 'x' : *p;
		if (!validate_is_hostname(word))
			return false;
		names++;
	}
	return names > 0;
}

int validate_names(const pb_container_spec *c, struct error *err)
{
	if (check_servers(c, err) < 0 || check_search(c, err) < 0 ||
	    check_count("hosts", c->n_hosts, HOSTS_MAX, err) < 0)
		return -1;
	for (size_t i = 0; i < c->n_hosts; i++)
		if (!is_host_line(c->hosts[i]))
			return validate_refuse(err, c->hosts[i],
					       "must be an IP address and names, separated by spaces",
					       "task.container.hosts[%zu]", i);
	return 0;
}
