/* ui-token: who may look at the managers' web page, and until when. */
#include "conn.h"
#include "ctl.h"
#include "text.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"
#include "proto/pb.h"

#define TTL_MAX_NS (31 * 24 * 3600 * NS_PER_SEC)

struct ui_token_flags {
	bool help, quiet;
	int64_t ttl;
};
#define T(kind, field) OPT_##kind(struct ui_token_flags, field)

static const struct option_def create_options[] = {
	HELP_OPTION,
	{"ttl", 0, T(DURATION, ttl), .def = "8h", .min = NS_PER_SEC, .max = TTL_MAX_NS,
	 .help = "how long it is valid; who has signed in with it is signed out then"},
	{"quiet", 'q', T(BOOL, quiet), .help = "print the token only"},
	{0},
};

static enum ctl_exit run_create(struct ctl *ctl, const struct verb *verb, void *flags, const struct option_seen *seen,
				const struct strv *args, struct error *err)
{
	const struct ui_token_flags *f = flags;
	Skein__CreateUiTokenRequest request = SKEIN__CREATE_UI_TOKEN_REQUEST__INIT;
	_cleanup_pb_ Skein__UiTokenResponse *reply = NULL;
	char human[STR_HUMAN_MAX];

	request.ttl = f->ttl;
	if (conn_call(ctl_conn(ctl), CONN_MANAGER, "CreateUiToken", &request, CONN_TIMEOUT_MS, &reply, err) < 0)
		return CTL_FAILED;
	if (f->quiet) {
		puts(reply->token);
		return CTL_OK;
	}
	printf("Open this page and sign in with the token, which is shown only now:\n\n"
	       "    %s\n    %s\n\n"
	       "It is valid for %s on every manager; clusterctl ui-token rm %s ends it before.\n",
	       reply->url, reply->token, str_duration_human(f->ttl, human), reply->id);
	return CTL_OK;
}

/* ---------------------------------------------------------------- ls, rm */

static const struct list_field ui_token_fields[] = {
	{"ID", "ID"},
	{"Expires", "EXPIRES"},
	{"CreatedAt", "CREATED"},
	{0},
};

static enum ctl_exit run_ls(struct ctl *ctl, const struct verb *verb, void *flags, const struct option_seen *seen,
			    const struct strv *args, struct error *err)
{
	const struct list_flags *f = flags;
	_cleanup_listing_ struct listing l = {0};
	_cleanup_pb_ Skein__ListUiTokensResponse *reply = NULL;
	int64_t now = clock_wall_ns();
	enum ctl_exit asked = ctl_list(ctl, CONN_MANAGER, "ListUiTokens", verb, f, &l, &reply, err);

	if (asked != CTL_OK)
		return asked;
	for (size_t i = 0; i < reply->n_tokens; i++) {
		const pb_ui_token *token = reply->tokens[i];
		_cleanup_free_ char *created = text_ago(token->meta ? token->meta->created_at : 0, now);
		char human[STR_HUMAN_MAX];

		listing_cell(&l, token->id);
		if (token->expires_at <= now)
			listing_cell(&l, "expired");
		else
			listing_cellf(&l, "in %s", str_duration_human(token->expires_at - now, human));
		listing_cell(&l, created);
	}
	listing_print(&l, stdout);
	return CTL_OK;
}

static enum ctl_exit run_rm(struct ctl *ctl, const struct verb *verb, void *flags, const struct option_seen *seen,
			    const struct strv *args, struct error *err)
{
	return ctl_for_each_ref(ctl, "RevokeUiToken", args, err);
}

const struct verb ui_token_verbs[] = {
	{
		.noun = "ui-token",
		.name = "",
		.synopsis = "[OPTIONS]",
		.help = "Make a token that lets its bearer sign in to the web page",
		.about = "Prints where the page is, and the token. The page shows nodes, services, tasks and logs; "
			 "it changes nothing. The token can neither be used for this command line nor to join.",
		.example = "clusterctl ui-token --ttl 1h",
		.options = create_options,
		.flags_size = sizeof(struct ui_token_flags),
		.run = run_create,
	},
	{
		.noun = "ui-token",
		.name = "ls",
		.aliases = "list",
		.synopsis = "[OPTIONS]",
		.help = "List tokens of the web page (without their secrets)",
		.example = "clusterctl ui-token ls",
		.options = list_options,
		.flags_size = sizeof(struct list_flags),
		.fields = ui_token_fields,
		.filters = "id",
		.run = run_ls,
	},
	{
		.noun = "ui-token",
		.name = "rm",
		.aliases = "remove|revoke",
		.synopsis = "TOKEN-ID...",
		.help = "Remove tokens: who signed in with them is signed out at once",
		.example = "clusterctl ui-token rm k3x9w2",
		.options = no_options,
		.flags_size = sizeof(struct no_flags),
		.min_args = 1,
		.max_args = ANY_NUMBER,
		.object = OBJECT_UI_TOKEN,
		.run = run_rm,
	},
	{0},
};
