#include "agent/exec/template.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <inttypes.h>
#include <string.h>

static char *slot_of(const pb_task *task, const char *node_id)
{
	if (task->slot == 0)
		return xstrdup(node_id ? node_id : "");
	return xasprintf("%" PRIu64, task->slot);
}

char *template_task_name(const pb_task *task, const char *node_id)
{
	_cleanup_free_ char *slot = slot_of(task, node_id);

	return xasprintf("%s.%s.%s", task->service_name, slot, task->id);
}

static char *label(const struct template_values *v, const char *key)
{
	const char *value = pb_kv_get(v->task->service_labels, v->task->n_service_labels, key);

	return xstrdup(value ? value : "");
}

/* index .Service.Labels "key" */
static char *index_label(const struct template_values *v, const char *expr)
{
	static const char prefix[] = "index .Service.Labels \"";
	_cleanup_free_ char *key = NULL;
	size_t len = strlen(expr);

	if (!str_starts(expr, prefix) || len < sizeof(prefix) || expr[len - 1] != '"')
		return NULL;
	key = xstrndup(expr + sizeof(prefix) - 1, len - sizeof(prefix));
	return label(v, key);
}

/* The value of one placeholder, without its braces and spaces; NULL when there is no such one. */
static char *evaluate(const struct template_values *v, const char *expr)
{
	if (str_eq(expr, ".Service.ID"))
		return xstrdup(v->task->service_id);
	if (str_eq(expr, ".Service.Name"))
		return xstrdup(v->task->service_name);
	if (str_starts(expr, ".Service.Labels."))
		return label(v, expr + strlen(".Service.Labels."));
	if (str_eq(expr, ".Node.ID"))
		return xstrdup(v->node_id ? v->node_id : "");
	if (str_eq(expr, ".Node.Hostname"))
		return xstrdup(v->node_hostname ? v->node_hostname : "");
	if (str_eq(expr, ".Node.Platform.Architecture"))
		return xstrdup(v->arch ? v->arch : "");
	if (str_eq(expr, ".Node.Platform.OS"))
		return xstrdup("linux");
	if (str_eq(expr, ".Task.ID"))
		return xstrdup(v->task->id);
	if (str_eq(expr, ".Task.Name"))
		return template_task_name(v->task, v->node_id);
	if (str_eq(expr, ".Task.Slot"))
		return slot_of(v->task, v->node_id);
	return index_label(v, expr);
}

static char *trimmed(const char *start, const char *end)
{
	while (start < end && strchr(" \t", *start))
		start++;
	while (start < end && strchr(" \t", end[-1]))
		end--;
	return xstrndup(start, (size_t)(end - start));
}

char *template_expand(const char *text, const struct template_values *values, struct error *err)
{
	_cleanup_strbuf_ struct strbuf out = {0};
	const char *p = text;

	for (;;) {
		_cleanup_free_ char *expr = NULL, *value = NULL;
		const char *open = strstr(p, "{{"), *close;

		if (!open) {
			strbuf_puts(&out, p);
			return strbuf_take(&out);
		}
		strbuf_add(&out, p, (size_t)(open - p));
		close = strstr(open, "}}");
		if (!close) {
			error_set(err, ERR_INVALID, "template \"%.200s\": {{ without }}", text);
			return NULL;
		}
		expr = trimmed(open + 2, close);
		value = evaluate(values, expr);
		if (!value) {
			error_set(
				err, ERR_INVALID,
				"template: unknown placeholder {{%.100s}} (accepted: "
				".Service.ID|Name|"
				"Labels.KEY, .Node.ID|Hostname|Platform.Architecture|Platform.OS, "
				".Task.ID|Name|Slot)",
				expr);
			return NULL;
		}
		strbuf_puts(&out, value);
		if (out.len > TEMPLATE_MAX_BYTES) {
			error_set(err, ERR_EXHAUSTED,
				  "template \"%.64s...\" gives more than %d bytes", text,
				  TEMPLATE_MAX_BYTES);
			return NULL;
		}
		p = close + 2;
	}
}
