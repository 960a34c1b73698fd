#include "events_text.h"

#include "text.h"

#include "common/clock.h"
#include "common/mem.h"
#include "common/str.h"

#include <stdlib.h>
#include <string.h>

struct attribute {
	const char *key, *value;
};

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct attribute *)a)->key, ((const struct attribute *)b)->key);
}

/* With the name among them, sorted, as Docker has it. */
static struct attribute *sorted(const pb_event *e, size_t *ret_n)
{
	struct attribute *list = xcalloc(e->n_attributes + 1, sizeof(*list));
	size_t n = 0;

	for (size_t i = 0; i < e->n_attributes; i++)
		list[n++] = (struct attribute){e->attributes[i]->key, e->attributes[i]->value};
	if (*e->name)
		list[n++] = (struct attribute){"name", e->name};
	qsort(list, n, sizeof(*list), by_key);
	*ret_n = n;
	return list;
}

void events_line(const pb_event *e, struct strbuf *out)
{
	char when[CLOCK_RFC3339_MAX];
	size_t n;
	_cleanup_free_ struct attribute *list = sorted(e, &n);

	strbuf_printf(out, "%s %s %s %s", clock_rfc3339(e->at, when), e->type, e->action, e->id);
	for (size_t i = 0; i < n; i++) {
		strbuf_printf(out, "%s%s=", i ? ", " : " (", list[i].key);
		text_cut(out, list[i].value, TEXT_NO_LIMIT);
	}
	strbuf_puts(out, n ? ")\n" : "\n");
}

json_t *events_json(const pb_event *e)
{
	json_t *attributes = json_object(), *json;
	char when[CLOCK_RFC3339_MAX];
	size_t n;
	_cleanup_free_ struct attribute *list = sorted(e, &n);

	for (size_t i = 0; i < n; i++)
		json_object_set_new(attributes, list[i].key, json_string(list[i].value));
	json = json_pack("{s:s, s:s, s:{s:s, s:o}, s:s, s:I, s:I}", "Type", e->type, "Action", e->action, "Actor", "ID", e->id,
			 "Attributes", attributes, "scope", "swarm", "time", (json_int_t)(e->at / NS_PER_SEC), "timeNano",
			 (json_int_t)e->at);
	json_object_set_new(json, "ID", json_string(e->id));
	json_object_set_new(json, "Name", json_string(e->name));
	json_object_set_new(json, "At", json_string(clock_rfc3339(e->at, when)));
	json_object_set_new(json, "Revision", json_integer((json_int_t)e->revision));
	return json;
}
