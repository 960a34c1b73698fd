#include "dns_conf.h"

#include "common/mem.h"

#include <string.h>

#define SPACE " \t\r"

void dns_conf_fini(struct dns_conf *conf)
{
	strv_fini(&conf->servers);
	strv_fini(&conf->search);
	strv_fini(&conf->options);
	*conf = (struct dns_conf){0};
}

static void add_bounded(struct strv *list, const char *word, size_t max)
{
	if (list->n < max)
		strv_add(list, word);
}

static void parse_line(char *line, struct dns_conf *ret)
{
	char *save = NULL, *word, *key;

	line[strcspn(line, "#;")] = '\0';
	key = strtok_r(line, SPACE, &save);
	if (!key)
		return;
	if (str_eq(key, "nameserver")) {
		word = strtok_r(NULL, SPACE, &save);
		if (word)
			add_bounded(&ret->servers, word, DNS_CONF_SERVERS_MAX);
	} else if (str_eq(key, "search") || str_eq(key, "domain")) {
		strv_fini(&ret->search);
		ret->search = (struct strv){0};
		while ((word = strtok_r(NULL, SPACE, &save)))
			add_bounded(&ret->search, word, DNS_CONF_SEARCH_MAX);
	} else if (str_eq(key, "options")) {
		while ((word = strtok_r(NULL, SPACE, &save)))
			add_bounded(&ret->options, word, DNS_CONF_SEARCH_MAX);
	}
}

void dns_conf_parse(const char *text, struct dns_conf *ret)
{
	_cleanup_free_ char *copy = xstrdup(text);
	char *save = NULL;

	*ret = (struct dns_conf){0};
	for (char *line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		parse_line(line, ret);
}

/* One word that cannot end its line. */
static bool is_word(const char *s)
{
	if (str_empty(s))
		return false;
	for (; *s; s++)
		if ((unsigned char)*s <= ' ' || *s == 0x7f || *s == '#' || *s == ';')
			return false;
	return true;
}

static void put_words(struct strbuf *out, const char *key, char *const *v, size_t n)
{
	size_t start = out->len;

	for (size_t i = 0; i < n; i++)
		if (is_word(v[i]) && !str_eq(v[i], "."))
			strbuf_printf(out, "%s %s", out->len == start ? key : "", v[i]);
	if (out->len > start)
		strbuf_putc(out, '\n');
}

static void put_servers(struct strbuf *out, char *const *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (is_word(v[i]))
			strbuf_printf(out, "nameserver %s\n", v[i]);
}

static bool says_ndots(const pb_container_spec *spec)
{
	for (size_t i = 0; i < spec->n_dns_options; i++)
		if (str_starts(spec->dns_options[i], "ndots:"))
			return true;
	return false;
}

static void put_options(struct strbuf *out, const struct dns_conf *host, const pb_container_spec *spec, bool ours)
{
	_cleanup_strv_ struct strv words = {0};

	if (ours && !says_ndots(spec))
		strv_add(&words, "ndots:0");
	for (size_t i = 0; i < spec->n_dns_options; i++)
		strv_add(&words, spec->dns_options[i]);
	if (!ours && spec->n_dns_options == 0)
		put_words(out, "options", host->options.v, host->options.n);
	put_words(out, "options", words.v, words.n);
}

char *dns_conf_text(const struct dns_conf *host, const pb_container_spec *spec, bool ours)
{
	struct strbuf out = {0};

	if (ours)
		strbuf_puts(&out, "nameserver " DNS_CONF_OURS "\n");
	else if (spec->n_dns_servers)
		put_servers(&out, spec->dns_servers, spec->n_dns_servers);
	else
		put_servers(&out, host->servers.v, host->servers.n);
	if (spec->n_dns_search)
		put_words(&out, "search", spec->dns_search, spec->n_dns_search);
	else
		put_words(&out, "search", host->search.v, host->search.n);
	put_options(&out, host, spec, ours);
	return strbuf_take(&out);
}

bool dns_conf_wanted(const pb_container_spec *spec)
{
	return spec->n_dns_servers || spec->n_dns_search || spec->n_dns_options;
}
