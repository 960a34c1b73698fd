// links: manager_core
#include "common/error.h"
#include "manager/store/txn.h"
#include "manager/store/view.h"
#include "manager/web/token.h"

#include <stdlib.h>
#include <string.h>

#define NOW 1

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *good;

/* A view with one token. */
static struct view *cluster(void)
{
	static const unsigned char random[WEB_TOKEN_RANDOM_BYTES];
	struct view *v = view_new();
	struct txn *t = txn_begin(v);
	struct error err = ERROR_INIT;
	pb_ui_token *made;
	char *id;

	if (web_token_create(v, t, 1000, NOW, random, &id, &good, &err) < 0)
		abort();
	made = pb_dup(view_ui_token(v, id));
	txn_end(t);
	txn_free(t);
	view_put(v, KIND_UI_TOKEN, made);
	free(id);
	return v;
}

/* The token has exactly one text. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct view *v;
	char *text = malloc(size + 1);

	if (!v)
		v = cluster();
	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if ((web_token_check(v, text, NOW) != NULL) != (strcmp(text, good) == 0))
		abort();
	free(text);
	return 0;
}
