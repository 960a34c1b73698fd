#include "verbs.h"

#include "values.h"

#include "common/error.h"
#include "common/mem.h"

#include <string.h>

const struct noun nouns[] = {
	{"node", "Nodes of the cluster: list, label, drain, promote, remove"},
	{"service", "Services: create, change, scale, watch, explain"},
	{"task", "Tasks: the containers that services are made of"},
	{"network", "Networks that services are in"},
	{"image", "Images on this host"},
	{"top", "What nodes, services and tasks use now"},
	{"join-token", "Tokens that let hosts join the cluster"},
	{"ui-token", "Tokens that let somebody sign in to the managers' web page"},
	{"completion", "Completion of commands in the shell"},
	{0},
};

static const struct verb *const parts[] = {
	cluster_verbs,	 token_verbs,  ui_token_verbs, node_verbs,    drain_verbs, service_change_verbs, service_show_verbs,
	rebalance_verbs, service_verbs, task_verbs,	migrate_verbs, events_verbs, top_verbs,		 network_verbs,
	image_verbs,	 self_verbs,
};

#define MAX_VERBS 100

const struct verb *const *verbs_all(void)
{
	static const struct verb *all[MAX_VERBS + 1];
	size_t n = 0;

	if (all[0])
		return all;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		for (const struct verb *verb = parts[i]; verb->name && n < MAX_VERBS; verb++)
			all[n++] = verb;
	return all;
}

static bool is_named(const struct verb *verb, const char *name)
{
	size_t len = strlen(name);

	if (str_eq(verb->name, name))
		return true;
	for (const char *p = verb->aliases; p && *p && len > 0;) {
		size_t alias = strcspn(p, "|");

		if (alias == len && strncmp(p, name, len) == 0)
			return true;
		p += alias + (p[alias] == '|');
	}
	return false;
}

const struct verb *verb_find(const char *noun, const char *name)
{
	for (const struct verb *const *v = verbs_all(); *v; v++)
		if (str_eq((*v)->noun, noun) && is_named(*v, name))
			return *v;
	return NULL;
}

const struct noun *noun_find(const char *name)
{
	for (const struct noun *noun = nouns; noun->name; noun++)
		if (str_eq(noun->name, name))
			return noun;
	return NULL;
}

const struct option_def no_options[] = {HELP_OPTION, {0}};

const struct option_def list_options[] = {
	HELP_OPTION,	      LIST_FILTER_OPTION, LIST_FORMAT_OPTION,
	LIST_NO_TRUNC_OPTION, LIST_QUIET_OPTION,  {0},
};

const struct option_def ps_options[] = {
	HELP_OPTION,
	LIST_FILTER_OPTION,
	LIST_FORMAT_OPTION,
	LIST_NO_RESOLVE_OPTION,
	LIST_NO_TRUNC_OPTION,
	LIST_QUIET_OPTION,
	{0},
};

int list_prepare(struct listing *l, const struct verb *verb, const struct list_flags *flags,
		 size_t *n_filters, pb_kv ***filters, struct error *err)
{
	for (size_t i = 0; i < flags->filters.n; i++)
		if (value_filter(flags->filters.v[i], verb->filters, n_filters, filters, err) < 0)
			return error_wrap(err, "--filter");
	return listing_init(l, verb->fields, flags->format, flags->quiet, err);
}

const char *list_id(const struct list_flags *flags, const char *id,
		    char buf[static TEXT_ID_SHOWN + 1])
{
	if (flags->no_trunc || strlen(id) <= TEXT_ID_SHOWN)
		return id;
	memcpy(buf, id, TEXT_ID_SHOWN);
	buf[TEXT_ID_SHOWN] = '\0';
	return buf;
}
