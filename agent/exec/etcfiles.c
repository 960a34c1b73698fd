#include "agent/exec/etcfiles.h"

#include "agent/net/dns_conf.h"
#include "common/mem.h"
#include "common/str.h"

#include <string.h>

static const char localhost[] = "127.0.0.1\tlocalhost\n"
				"::1\tlocalhost ip6-localhost ip6-loopback\n"
				"fe00::0\tip6-localnet\n"
				"ff00::0\tip6-mcastprefix\n"
				"ff02::1\tip6-allnodes\n"
				"ff02::2\tip6-allrouters\n";

static bool put_own(struct strbuf *out, const char *address, const char *hostname)
{
	if (str_empty(address))
		return false;
	strbuf_printf(out, "%.*s\t%s\n", (int)strcspn(address, "/"), address, hostname);
	return true;
}

static void put_addresses(struct strbuf *out, const struct etcfiles_input *in)
{
	bool any = false;

	for (size_t i = 0; i < in->task->n_networks; i++) {
		const pb_attachment *a = in->task->networks[i];

		any |= put_own(out, a->ipv4, in->hostname);
		any |= put_own(out, a->ipv6, in->hostname);
	}
	if (!any && str_empty(in->hosts)) /* else the network's lines name it */
		strbuf_printf(out, "127.0.1.1\t%s\n", in->hostname);
}

static void put_lines(struct strbuf *out, const char *text)
{
	strbuf_puts(out, text);
	if (out->len && out->p[out->len - 1] != '\n')
		strbuf_putc(out, '\n');
}

char *etcfiles_hosts(const struct etcfiles_input *in)
{
	const pb_container_spec *spec = in->task->spec->container;
	struct strbuf out = {0};

	if (in->host_network && in->host_hosts) {
		put_lines(&out, in->host_hosts);
	} else {
		strbuf_puts(&out, localhost);
		if (!in->host_network)
			put_addresses(&out, in);
	}
	if (!str_empty(in->hosts))
		put_lines(&out, in->hosts);
	for (size_t i = 0; i < spec->n_hosts; i++)
		if (!strchr(spec->hosts[i], '\n')) /* one line each, nothing more */
			put_lines(&out, spec->hosts[i]);
	return strbuf_take(&out);
}

char *etcfiles_resolv(const struct etcfiles_input *in)
{
	const pb_container_spec *spec = in->task->spec->container;
	struct dns_conf host;
	char *text;

	if (in->resolv_conf)
		return xstrdup(in->resolv_conf);
	if (!dns_conf_wanted(spec))
		return xstrdup(in->host_resolv ? in->host_resolv : "");
	dns_conf_parse(in->host_resolv ? in->host_resolv : "", &host);
	text = dns_conf_text(&host, spec, false);
	dns_conf_fini(&host);
	return text;
}
