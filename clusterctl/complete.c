#include "complete.h"

#include "conn.h"
#include "ctl.h"
#include "help.h"

#include "common/error.h"
#include "common/mem.h"
#include "proto/pb.h"

#include <stdio.h>
#include <string.h>

#define NAMES_TIMEOUT_MS 1000 /* a slow cluster must not hang the user's shell */

static void offer(struct completion *c, const char *word)
{
	if (str_starts(word, c->prefix) && !strv_has(&c->words, word))
		strv_add(&c->words, word);
}

static void offer_choices(struct completion *c, const char *choices)
{
	for (const char *p = choices; p && *p;) {
		size_t len = strcspn(p, "|");
		_cleanup_free_ char *word = xstrndup(p, len);

		offer(c, word);
		p += len + (p[len] == '|');
	}
}

static void offer_flags(struct completion *c, const struct option_def *defs)
{
	for (const struct option_def *def = defs; def->name; def++) {
		_cleanup_free_ char *flag = xasprintf("--%s", def->name);

		if (!def->hidden)
			offer(c, flag);
	}
}

static void offer_verbs(struct completion *c, const char *noun)
{
	for (const struct verb *const *v = verbs_all(); *v; v++)
		if (str_eq((*v)->noun, noun) && *(*v)->name)
			offer(c, (*v)->name);
	for (const struct noun *n = nouns; !noun && n->name; n++)
		offer(c, n->name);
}

/* ---------------------------------------------------------------- reading the words so far */

/* The option that a word names; *value is set when the word holds the value as well. */
static const struct option_def *option_of(const struct option_def *defs, const char *word,
					  const char **value)
{
	size_t len = strcspn(word, "=");

	*value = word[len] ? word + len + 1 : NULL;
	if (word[0] != '-' || !word[1])
		return NULL;
	for (; defs->name; defs++) {
		if (str_starts(word, "--") && strlen(defs->name) == len - 2 &&
		    strncmp(word + 2, defs->name, len - 2) == 0)
			return defs;
		if (word[1] == defs->letter && defs->letter && len == 2)
			return defs;
	}
	return NULL;
}

/* Skip options from words[i] on; returns the index of the first other word. *open: the option whose
 * value is being typed as the last word. */
static size_t skip_options(const struct option_def *defs, const struct strv *words, size_t i,
			   const struct option_def **open)
{
	while (i + 1 < words->n && words->v[i][0] == '-') {
		const char *value;
		const struct option_def *def = option_of(defs, words->v[i++], &value);

		if (!def || value || def->kind == OPTION_BOOL)
			continue;
		if (i + 1 >= words->n)
			*open = def;
		i++;
	}
	return i;
}

/* bash splits at '=': put "--mode", "=", "glo" together again. */
static void join_equals(int argc, char **argv, struct strv *words)
{
	for (int i = 0; i < argc; i++) {
		bool glue = words->n > 0 && str_starts(words->v[words->n - 1], "--") &&
			    (str_eq(argv[i], "=") || str_ends(words->v[words->n - 1], "="));

		if (glue) {
			char *joined = xasprintf("%s%s", words->v[words->n - 1], argv[i]);

			free(words->v[words->n - 1]);
			words->v[words->n - 1] = joined;
		} else {
			strv_add(words, argv[i]);
		}
	}
	if (words->n == 0)
		strv_add(words, "");
}

static void set_prefix(struct completion *c, const char *prefix)
{
	free(c->prefix);
	c->prefix = xstrdup(prefix);
}

/* The value of an option is being typed. */
static void complete_value(struct completion *c, const struct option_def *def)
{
	if (str_eq(def->arg, "NETWORK"))
		c->object = OBJECT_NETWORK;
	if (def->kind == OPTION_ENUM)
		offer_choices(c, def->choices);
	else if (def->kind == OPTION_BOOL)
		offer_choices(c, "true|false");
}

static void complete_verb(struct completion *c, const struct verb *verb, const struct strv *words,
			  size_t i)
{
	const char *last = words->v[words->n - 1], *value = NULL;
	const struct option_def *open = NULL, *def;
	size_t positional = 0;

	while ((i = skip_options(verb->options, words, i, &open)) + 1 < words->n) {
		positional++;
		i++;
		if (verb->stop_at_first_arg)
			return;
	}
	if (open) {
		complete_value(c, open);
		return;
	}
	def = option_of(verb->options, last, &value);
	if (def && value) {
		set_prefix(c, value);
		complete_value(c, def);
	} else if (last[0] == '-') {
		offer_flags(c, verb->options);
	} else if (positional < verb->max_args) {
		c->object = verb->object;
		if (verb->object == OBJECT_ROLE)
			offer_choices(c, "worker|manager");
		if (verb->object == OBJECT_SHELL)
			offer_choices(c, "bash");
	}
}

static void complete_noun(struct completion *c, const struct noun *noun, const struct strv *words,
			  size_t i)
{
	const struct verb *alone = verb_find(noun->name, "");
	const struct verb *verb;

	if (i + 1 == words->n && words->v[i][0] != '-')
		offer_verbs(c, noun->name);
	verb = i + 1 < words->n ? verb_find(noun->name, words->v[i]) : NULL;
	if (verb && *verb->name)
		complete_verb(c, verb, words, i + 1);
	else if (alone)
		complete_verb(c, alone, words, i);
	else if (i + 1 == words->n && words->v[i][0] == '-')
		offer_flags(c, no_options);
}

void complete_words(int argc, char **argv, struct completion *c)
{
	_cleanup_strv_ struct strv words = {0};
	const struct option_def *open = NULL;
	const struct verb *verb;
	const struct noun *noun;
	size_t i;

	*c = (struct completion){0};
	join_equals(argc, argv, &words);
	set_prefix(c, words.v[words.n - 1]);
	i = skip_options(global_options, &words, 0, &open);
	if (open)
		return;
	if (i + 1 >= words.n) {
		if (words.v[words.n - 1][0] == '-')
			offer_flags(c, global_options);
		else
			offer_verbs(c, NULL);
		return;
	}
	noun = noun_find(words.v[i]);
	verb = verb_find(NULL, words.v[i]);
	if (noun)
		complete_noun(c, noun, &words, i + 1);
	else if (verb)
		complete_verb(c, verb, &words, i + 1);
}

void complete_fini(struct completion *c)
{
	strv_fini(&c->words);
	free(c->prefix);
	*c = (struct completion){0};
}

/* ---------------------------------------------------------------- names from the cluster */

static void *ask(struct conn *conn, enum conn_end end, const char *method, const void *request)
{
	struct error err = ERROR_INIT;
	void *reply = NULL;

	/* completion is silent: a TAB is no place for an error message */
	return conn_call(conn, end, method, request, NAMES_TIMEOUT_MS, &reply, &err) < 0 ? NULL
											 : reply;
}

static void offer_services(struct conn *conn, struct completion *c)
{
	Skein__ListRequest request = SKEIN__LIST_REQUEST__INIT;
	_cleanup_pb_ Skein__ListServicesResponse *reply =
		ask(conn, CONN_MANAGER, "ListServices", &request);

	for (size_t i = 0; reply && i < reply->n_services; i++)
		if (reply->services[i]->service && reply->services[i]->service->spec)
			offer(c, reply->services[i]->service->spec->name);
}

static void offer_nodes(struct conn *conn, struct completion *c)
{
	Skein__ListRequest request = SKEIN__LIST_REQUEST__INIT;
	_cleanup_pb_ Skein__ListNodesResponse *reply =
		ask(conn, CONN_MANAGER, "ListNodes", &request);

	for (size_t i = 0; reply && i < reply->n_nodes; i++) {
		const pb_node *node = reply->nodes[i];

		if (node->description && *node->description->hostname)
			offer(c, node->description->hostname);
		else
			offer(c, node->id);
	}
}

static void offer_tasks(struct conn *conn, struct completion *c)
{
	Skein__ListTasksRequest request = SKEIN__LIST_TASKS_REQUEST__INIT;
	_cleanup_pb_ Skein__ListTasksResponse *reply =
		ask(conn, CONN_MANAGER, "ListTasks", &request);

	for (size_t i = 0; reply && i < reply->n_tasks; i++)
		offer(c, reply->tasks[i]->id);
}

static void offer_images(struct conn *conn, struct completion *c)
{
	Skein__ListRequest request = SKEIN__LIST_REQUEST__INIT;
	_cleanup_pb_ Skein__ListImagesResponse *reply =
		ask(conn, CONN_AGENT, "ListImages", &request);

	for (size_t i = 0; reply && i < reply->n_images; i++)
		for (size_t k = 0; k < reply->images[i]->n_names; k++)
			offer(c, reply->images[i]->names[k]);
}

static void offer_networks(struct conn *conn, struct completion *c)
{
	Skein__ListRequest request = SKEIN__LIST_REQUEST__INIT;
	_cleanup_pb_ Skein__ListNetworksResponse *reply =
		ask(conn, CONN_MANAGER, "ListNetworks", &request);

	for (size_t i = 0; reply && i < reply->n_networks; i++)
		if (reply->networks[i]->spec)
			offer(c, reply->networks[i]->spec->name);
}

static void offer_tokens(struct conn *conn, struct completion *c)
{
	Skein__ListRequest request = SKEIN__LIST_REQUEST__INIT;
	_cleanup_pb_ Skein__ListTokensResponse *reply =
		ask(conn, CONN_MANAGER, "ListTokens", &request);

	for (size_t i = 0; reply && i < reply->n_tokens; i++)
		offer(c, reply->tokens[i]->id);
}

static void offer_ui_tokens(struct conn *conn, struct completion *c)
{
	Skein__ListRequest request = SKEIN__LIST_REQUEST__INIT;
	_cleanup_pb_ Skein__ListUiTokensResponse *reply =
		ask(conn, CONN_MANAGER, "ListUiTokens", &request);

	for (size_t i = 0; reply && i < reply->n_tokens; i++)
		offer(c, reply->tokens[i]->id);
}

static void offer_objects(struct ctl *ctl, struct completion *c)
{
	switch (c->object) {
	case OBJECT_SERVICE:
		offer_services(ctl_conn(ctl), c);
		break;
	case OBJECT_NODE:
		offer_nodes(ctl_conn(ctl), c);
		break;
	case OBJECT_TASK:
		offer_tasks(ctl_conn(ctl), c);
		break;
	case OBJECT_IMAGE:
		offer_images(ctl_conn(ctl), c);
		break;
	case OBJECT_NETWORK:
		offer_networks(ctl_conn(ctl), c);
		break;
	case OBJECT_TOKEN:
		offer_tokens(ctl_conn(ctl), c);
		break;
	case OBJECT_UI_TOKEN:
		offer_ui_tokens(ctl_conn(ctl), c);
		break;
	default:
		break;
	}
}

int complete_run(struct ctl *ctl, int argc, char **argv)
{
	struct completion c;

	complete_words(argc, argv, &c);
	offer_objects(ctl, &c);
	for (size_t i = 0; i < c.words.n; i++)
		puts(c.words.v[i]);
	complete_fini(&c);
	return CTL_OK;
}

void complete_script(FILE *out)
{
	fputs("# bash completion for clusterctl: eval \"$(clusterctl completion bash)\"\n"
	      "_clusterctl()\n"
	      "{\n"
	      "\tlocal IFS=$'\\n'\n"
	      "\tCOMPREPLY=($(clusterctl __complete \"${COMP_WORDS[@]:1:COMP_CWORD}\" "
	      "2>/dev/null))\n"
	      "}\n"
	      "complete -o bashdefault -o default -F _clusterctl clusterctl\n",
	      out);
}
