#include "nftdiff.h"

#include "common/mem.h"
#include "common/str.h"

#include <string.h>

#define USER_CHAIN "chain skein-user"

static bool opens_object(const char *line, size_t len)
{
	return len > 3 && line[0] == '\t' && line[1] != '\t' && line[1] != '}' && line[len - 1] == '{';
}

static void add_object(struct nftobjects *o, const char *name, size_t name_len, const char *body, size_t body_len)
{
	o->v = xreallocarray(o->v, o->n + 1, sizeof(*o->v));
	o->v[o->n++] = (struct nftobject){xstrndup(name, name_len), xstrndup(body, body_len)};
}

void nftobjects_parse(const char *listing, struct nftobjects *ret)
{
	const char *name = NULL, *body = NULL;
	size_t name_len = 0;

	*ret = (struct nftobjects){0};
	for (const char *line = listing; *line;) {
		size_t len = strcspn(line, "\n");

		if (!name && opens_object(line, len)) {
			name = line + 1;
			name_len = len - 3; /* without the tab and " {" */
			body = line + len + (line[len] == '\n');
		} else if (name && len == 2 && line[0] == '\t' && line[1] == '}') {
			add_object(ret, name, name_len, body, (size_t)(line - body));
			name = NULL;
		}
		line += len + (line[len] == '\n');
	}
}

void nftobjects_fini(struct nftobjects *o)
{
	for (size_t i = 0; i < o->n; i++) {
		free(o->v[i].name);
		free(o->v[i].body);
	}
	free(o->v);
	*o = (struct nftobjects){0};
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct nftobject *)a)->name, ((const struct nftobject *)b)->name);
}

const struct nftobject *nftobjects_find(const struct nftobjects *o, const char *name)
{
	for (size_t i = 0; i < o->n; i++)
		if (str_eq(o->v[i].name, name))
			return &o->v[i];
	return NULL;
}

bool nftdiff_ours(const char *name)
{
	return str_starts(name, "chain p_") || str_starts(name, "chain h_") || str_starts(name, "chain v_");
}

static struct nftobject *sorted(const struct nftobjects *o)
{
	struct nftobject *v = xreallocarray(NULL, o->n + 1, sizeof(*v));

	if (o->n)
		memcpy(v, o->v, o->n * sizeof(*v));
	qsort(v, o->n, sizeof(*v), by_name);
	return v;
}

size_t nftdiff(const struct nftobjects *want, const struct nftobjects *have, nftdiff_cb cb, void *data)
{
	_cleanup_free_ struct nftobject *w = sorted(want), *h = sorted(have);
	size_t i = 0, j = 0, n = 0;

	while (i < want->n || j < have->n) {
		int r = i == want->n ? 1 : j == have->n ? -1 : strcmp(w[i].name, h[j].name);
		const struct nftobject *a = r <= 0 ? &w[i++] : NULL, *b = r >= 0 ? &h[j++] : NULL;

		if (a && b && (str_eq(a->name, USER_CHAIN) || str_eq(a->body, b->body)))
			continue;
		if (!a && !nftdiff_ours(b->name))
			continue;
		cb(data, a ? a->name : b->name, a ? a->body : NULL, b ? b->body : NULL);
		n++;
	}
	return n;
}

char *nftdiff_sweep(const struct nftobjects *have)
{
	struct strbuf b = {0};

	if (nftobjects_find(have, "map ingress"))
		strbuf_puts(&b, "flush map inet skein ingress\n");
	if (nftobjects_find(have, "map hostports"))
		strbuf_puts(&b, "flush map inet skein hostports\n");
	for (size_t i = 0; i < have->n; i++) {
		if (nftdiff_ours(have->v[i].name)) /* which begins with "chain " */
			strbuf_printf(&b, "flush chain inet skein %s\ndelete chain inet skein %s\n", have->v[i].name + 6,
				      have->v[i].name + 6);
	}
	return strbuf_take(&b);
}
