#include "agent/exec/runtime.h"

#include "common/mem.h"

#include <ctype.h>
#include <jansson.h>
#include <string.h>

#define MESSAGE_MAX 800

void runtime_args(struct strv *argv, const char *runtime, const char *root)
{
	strv_add(argv, runtime);
	strv_add(argv, "--root");
	strv_add(argv, root);
	strv_add(argv, "--log-format");
	strv_add(argv, "json");
}

static void add_pair(struct strv *argv, const char *option, const char *value)
{
	strv_add(argv, option);
	strv_add(argv, value);
}

void runtime_conmon_args(struct strv *argv, const struct conmon_args *a)
{
	_cleanup_strv_ struct strv runtime = {0};

	strv_add(argv, a->conmon);
	add_pair(argv, "--cid", a->id);
	add_pair(argv, "--cuuid", a->id);
	add_pair(argv, "--name", a->id);
	add_pair(argv, "--runtime", a->runtime);
	add_pair(argv, "--bundle", a->bundle);
	add_pair(argv, "--persist-dir", a->bundle);
	strv_addf(argv, "--container-pidfile=%s/pid", a->run_dir);
	strv_addf(argv, "--conmon-pidfile=%s/conmon.pid", a->run_dir);
	/* conmon splits this one at colons: a relative path has none. */
	add_pair(argv, "--log-path", "k8s-file:logs/log");
	strv_add(argv, "--no-sync-log");
	strv_add(
		argv,
		"--full-attach"); /* the socket lies in the bundle, its path may be of any length */
	if (a->tty)
		strv_add(argv, "--terminal");

	if (a->restore) { /* conmon adds --detach, --work-path (the bundle) and --image-path */
		add_pair(argv, "--restore", a->restore);
		strv_add(argv, "--runtime-opt=--tcp-established");
		strv_add(argv, "--runtime-opt=--file-locks");
	}
	runtime_args(&runtime, a->runtime, a->root);
	for (size_t i = 1; i < runtime.n; i++)
		strv_addf(argv, "--runtime-arg=%s", runtime.v[i]);
}

int64_t runtime_parse_sync(const char *line, size_t len, char **ret_message)
{
	json_t *object = json_loadb(line, len, JSON_DISABLE_EOF_CHECK, NULL);
	const char *message = json_string_value(json_object_get(object, "message"));
	json_t *pid = json_object_get(object, "pid");
	int64_t n =
		json_is_integer(pid) && json_integer_value(pid) > 0 ? json_integer_value(pid) : -1;

	*ret_message = xstrdup(message);
	json_decref(object);
	return n;
}

/* The last line that is not empty. */
static char *last_line(const char *text)
{
	const char *end = text + strlen(text), *start;

	while (end > text && isspace((unsigned char)end[-1]))
		end--;
	for (start = end; start > text && start[-1] != '\n'; start--)
		;
	return xstrndup(start, (size_t)(end - start));
}

/* logfmt of a runtime without --log-format: time="..." level=error msg="..." */
static char *logfmt_message(const char *line)
{
	const char *p = strstr(line, "msg=\"");
	struct strbuf out = {0};

	if (!p)
		return NULL;
	for (p += 5; *p && *p != '"'; p++) {
		if (*p == '\\' && p[1])
			p++;
		strbuf_putc(&out, *p);
	}
	return strbuf_take(&out);
}

char *runtime_message(const char *text)
{
	_cleanup_free_ char *line = last_line(text);
	json_t *object = json_loads(line, 0, NULL);
	const char *msg = json_string_value(json_object_get(object, "msg"));
	char *result = msg ? xstrndup(msg, MESSAGE_MAX) : logfmt_message(line);

	if (!result)
		result = xstrndup(line, MESSAGE_MAX);
	json_decref(object);
	return result;
}

char *runtime_version(const char *text)
{
	for (const char *p = text; *p;) {
		size_t len;

		p += strspn(p, " \t\n");
		len = strcspn(p, " \t\n");
		if (isdigit((unsigned char)*p))
			return xstrndup(p, len);
		p += len;
	}
	return xstrdup("");
}

char *runtime_parse_state(const char *text, size_t len)
{
	json_t *object = json_loadb(text, len, 0, NULL);
	char *status = xstrdup(json_string_value(json_object_get(object, "status")));

	json_decref(object);
	return status;
}

static char *find_in(const char *dirs, const char *name)
{
	for (const char *dir = dirs; *dir;) {
		size_t len = strcspn(dir, ":");
		char *path = xasprintf("%.*s/%s", (int)len, dir, name);

		if (len && access(path, X_OK) == 0)
			return path;
		free(path);
		dir += len;
		dir += *dir == ':';
	}
	return NULL;
}

char *runtime_find(const char *name)
{
	const char *path = getenv("PATH");
	char *found;

	if (strchr(name,
		   '/')) /* conmon runs elsewhere: a relative path would mean another file there */
		return access(name, X_OK) == 0 ? realpath(name, NULL) : NULL;
	found = find_in(path ? path : "", name);
	return found ? found
		     : find_in("/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			       name);
}
