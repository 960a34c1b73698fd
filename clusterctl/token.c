/* join-token: the standing tokens, and ones with a life and a number of uses. */
#include "conn.h"
#include "ctl.h"
#include "text.h"
#include "values.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"
#include "proto/pb.h"

#include <string.h>

struct token_flags {
	bool help, quiet, rotate;
	char *role;
	int64_t ttl;
	uint64_t uses;
	struct strv labels;
};
#define T(kind, field) OPT_##kind(struct token_flags, field)

static const struct option_def show_options[] = {
	HELP_OPTION,
	{"quiet", 'q', T(BOOL, quiet), .help = "print the token only"},
	{"rotate", 0, T(BOOL, rotate),
	 .help = "make a new token: the old one lets nobody in any more"},
	{0},
};

static const struct option_def create_options[] = {
	HELP_OPTION,
	{"role", 0, T(ENUM, role), .choices = "worker|manager", .def = "worker",
	 .help = "role of nodes that join with it"},
	{"ttl", 0, T(DURATION, ttl), .help = "how long it is valid (0 = until it is removed)"},
	{"uses", 0, T(U64, uses), .max = UINT32_MAX,
	 .help = "how many nodes may join with it (0 = any number)"},
	{"label", 'l', T(LIST, labels), .arg = "KEY=VALUE", .help = "label that such nodes get"},
	{"quiet", 'q', T(BOOL, quiet), .help = "print the token only"},
	{0},
};

static Skein__NodeRole role_of(const char *name)
{
	return (Skein__NodeRole)(str_eq(name, "manager") ? NODE_ROLE_MANAGER : NODE_ROLE_WORKER);
}

static void print_token(const Skein__TokenResponse *reply, const char *role, bool quiet)
{
	if (quiet) {
		puts(reply->token);
		return;
	}
	printf("To add a %s to this cluster, run on its host:\n\n    clusterctl join --token %s",
	       role, reply->token);
	for (size_t i = 0; i < reply->n_managers && i < 3; i++)
		printf(" %s", reply->managers[i]);
	puts("\n");
}

static enum ctl_exit run_show(struct ctl *ctl, const struct verb *verb, void *flags,
			      const struct option_seen *seen, const struct strv *args,
			      struct error *err)
{
	const struct token_flags *f = flags;
	Skein__TokenRequest request = SKEIN__TOKEN_REQUEST__INIT;
	_cleanup_pb_ Skein__TokenResponse *reply = NULL;

	if (!str_eq(args->v[0], "worker") && !str_eq(args->v[0], "manager"))
		return ctl_usage(err,
				 "unknown role \"%.100s\": expected worker or manager (or one of "
				 "the commands create, ls, rm)",
				 args->v[0]);
	request.role = role_of(args->v[0]);
	request.rotate = f->rotate;
	if (conn_call(ctl_conn(ctl), CONN_MANAGER, "GetToken", &request, CONN_TIMEOUT_MS, &reply,
		      err) < 0)
		return CTL_FAILED;
	if (f->rotate && !f->quiet)
		puts("The token was changed.\n");
	print_token(reply, args->v[0], f->quiet);
	return CTL_OK;
}

static enum ctl_exit run_create(struct ctl *ctl, const struct verb *verb, void *flags,
				const struct option_seen *seen, const struct strv *args,
				struct error *err)
{
	const struct token_flags *f = flags;
	_cleanup_pb_ Skein__CreateTokenRequest *request =
		pb_new(&skein__create_token_request__descriptor);
	_cleanup_pb_ Skein__TokenResponse *reply = NULL;

	request->role = role_of(f->role);
	request->ttl = f->ttl;
	request->max_uses = (uint32_t)f->uses;
	for (size_t i = 0; i < f->labels.n; i++) {
		const char *value;
		_cleanup_free_ char *key = value_pair(f->labels.v[i], &value, err);

		if (!key) {
			error_wrap(err, "--label");
			return CTL_USAGE;
		}
		pb_kv_set(&request->n_labels, &request->labels, key, value);
	}
	if (conn_call(ctl_conn(ctl), CONN_MANAGER, "CreateToken", request, CONN_TIMEOUT_MS, &reply,
		      err) < 0)
		return CTL_FAILED;
	if (!f->quiet)
		printf("Token %s was made. It is shown only now.\n\n", reply->id);
	print_token(reply, f->role, f->quiet);
	return CTL_OK;
}

/* ---------------------------------------------------------------- ls, rm */

static const struct list_field token_fields[] = {
	{"ID", "ID"},
	{"Role", "ROLE"},
	{"Expires", "EXPIRES"},
	{"Uses", "USES"},
	{"Labels", "LABELS"},
	{"CreatedAt", "CREATED"},
	{0},
};

static void add_token(struct listing *l, const pb_token *token, int64_t now)
{
	_cleanup_strbuf_ struct strbuf labels = {0};
	_cleanup_free_ char *created = text_ago(token->meta ? token->meta->created_at : 0, now);
	char human[STR_HUMAN_MAX];

	for (size_t i = 0; i < token->n_labels; i++)
		strbuf_printf(&labels, "%s%s=%s", i ? "," : "", token->labels[i]->key,
			      token->labels[i]->value);
	listing_cell(l, token->id);
	listing_cell(l, pb_role_name((int)token->role));
	if (token->expires_at == 0)
		listing_cell(l, "never");
	else if (token->expires_at <= now)
		listing_cell(l, "expired");
	else
		listing_cellf(l, "in %s", str_duration_human(token->expires_at - now, human));
	if (token->max_uses > 0)
		listing_cellf(l, "%u/%u", token->uses, token->max_uses);
	else
		listing_cellf(l, "%u", token->uses);
	listing_cell(l, labels.p);
	listing_cell(l, created);
}

#define TOKEN_FILTERS "id|role|label"

static enum ctl_exit run_ls(struct ctl *ctl, const struct verb *verb, void *flags,
			    const struct option_seen *seen, const struct strv *args,
			    struct error *err)
{
	const struct list_flags *f = flags;
	_cleanup_listing_ struct listing l = {0};
	_cleanup_pb_ Skein__ListTokensResponse *reply = NULL;
	enum ctl_exit asked = ctl_list(ctl, CONN_MANAGER, "ListTokens", verb, f, &l, &reply, err);

	if (asked != CTL_OK)
		return asked;
	for (size_t i = 0; i < reply->n_tokens; i++)
		add_token(&l, reply->tokens[i], clock_wall_ns());
	listing_print(&l, stdout);
	return CTL_OK;
}

static enum ctl_exit run_rm(struct ctl *ctl, const struct verb *verb, void *flags,
			    const struct option_seen *seen, const struct strv *args,
			    struct error *err)
{
	return ctl_for_each_ref(ctl, "RevokeToken", args, err);
}

const struct verb token_verbs[] = {
	{
		.noun = "join-token",
		.name = "",
		.synopsis = "[OPTIONS] worker|manager",
		.help = "Show the standing token of a role, or change it",
		.about = "Prints the command that lets a host join. Nodes that joined already are "
			 "not affected by --rotate.",
		.example =
			"clusterctl join-token worker\nclusterctl join-token --rotate -q manager",
		.options = show_options,
		.flags_size = sizeof(struct token_flags),
		.min_args = 1,
		.max_args = 1,
		.object = OBJECT_ROLE,
		.run = run_show,
	},
	{
		.noun = "join-token",
		.name = "create",
		.synopsis = "[OPTIONS]",
		.help = "Make a token with a life, a number of uses and labels",
		.example = "clusterctl join-token create --role worker --ttl 30m --uses 2 --label "
			   "rack=a",
		.options = create_options,
		.flags_size = sizeof(struct token_flags),
		.run = run_create,
	},
	{
		.noun = "join-token",
		.name = "ls",
		.aliases = "list",
		.synopsis = "[OPTIONS]",
		.help = "List tokens (without their secrets)",
		.example = "clusterctl join-token ls --filter role=worker",
		.options = list_options,
		.flags_size = sizeof(struct list_flags),
		.fields = token_fields,
		.filters = TOKEN_FILTERS,
		.run = run_ls,
	},
	{
		.noun = "join-token",
		.name = "rm",
		.aliases = "remove",
		.synopsis = "TOKEN-ID...",
		.help = "Remove tokens: nobody can join with them any more",
		.example = "clusterctl join-token rm k3x9w2",
		.options = no_options,
		.flags_size = sizeof(struct no_flags),
		.min_args = 1,
		.max_args = ANY_NUMBER,
		.object = OBJECT_TOKEN,
		.run = run_rm,
	},
	{0},
};
