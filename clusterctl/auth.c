#include "auth.h"

#include "common/error.h"
#include "common/file.h"
#include "common/imageref.h"
#include "common/mem.h"
#include "common/str.h"

#include <jansson.h>
#include <string.h>

#define AUTH_MAX_BYTES (1u << 20)

/* "https://index.docker.io/v1/" and "docker.io" are the same place. */
static char *bare_host(const char *key)
{
	const char *start = strstr(key, "://");
	_cleanup_free_ char *host = NULL;

	start = start ? start + 3 : key;
	host = xstrndup(start, strcspn(start, "/"));
	if (str_eq(host, "index.docker.io") || str_eq(host, "registry-1.docker.io"))
		return xstrdup("docker.io");
	return TAKE_PTR(host);
}

static json_t *find_entry(json_t *auths, const char *host)
{
	const char *key;
	json_t *entry;

	json_object_foreach(auths, key, entry)
	{
		_cleanup_free_ char *bare = bare_host(key);

		if (str_eq(bare, host) && json_is_object(entry) && json_object_size(entry) > 0)
			return entry;
	}
	return NULL;
}

static bool has_helper(json_t *root, const char *host)
{
	json_t *helpers = json_object_get(root, "credHelpers");

	return json_is_string(json_object_get(root, "credsStore")) ||
	       (helpers && json_object_get(helpers, host));
}

static char *dump_entry(json_t *entry, const char *host)
{
	json_t *out = json_pack("{s:{s:O}}", "auths", host, entry);
	char *text = out ? json_dumps(out, JSON_COMPACT) : NULL;

	json_decref(out);
	return text;
}

char *auth_select(const char *text, const char *host, struct error *err)
{
	json_error_t parse;
	json_t *root = json_loads(text, 0, &parse);
	json_t *entry = find_entry(json_object_get(root, "auths"), host);
	char *ret = entry ? dump_entry(entry, host) : NULL;

	if (!json_is_object(root))
		error_set(err, ERR_INVALID,
			  "not a file of registry logins: expected JSON with \"auths\"");
	else if (!entry && has_helper(root, host))
		error_set(err, ERR_PRECONDITION,
			  "the login for %s is kept by a credential helper, which clusterctl does "
			  "not ask: "
			  "use 'skopeo login %s'",
			  host, host);
	else if (!entry)
		error_set(err, ERR_NOT_FOUND, "no login for %s", host);
	json_decref(root);
	return ret;
}

static void candidate(struct strv *paths, const char *dir, const char *file)
{
	if (!str_empty(dir))
		strv_addf(paths, "%s%s", dir, file);
}

static char *select_from(const char *path, const char *host, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	char *ret;
	size_t len;

	if (file_read(path, AUTH_MAX_BYTES, &text, &len, err) < 0)
		return NULL;
	ret = auth_select(text, host, err);
	mem_wipe(text, len);
	if (!ret)
		error_wrap(err, "%s", path);
	return ret;
}

char *auth_for_image(const char *image, struct error *err)
{
	_cleanup_strv_ struct strv paths = {0};
	struct imageref ref;

	if (imageref_parse(image, &ref, err) < 0)
		return NULL;
	candidate(&paths, getenv("REGISTRY_AUTH_FILE"), "");
	candidate(&paths, getenv("XDG_RUNTIME_DIR"), "/containers/auth.json");
	candidate(&paths, getenv("DOCKER_CONFIG"), "/config.json");
	candidate(&paths, getenv("HOME"), "/.docker/config.json");
	for (size_t i = 0; i < paths.n; i++) {
		char *found = select_from(paths.v[i], ref.host, err);

		if (found)
			return found;
		if (err->code != ERR_NOT_FOUND)
			return NULL;
	}
	error_set(err, ERR_NOT_FOUND,
		  "no login for %s was found: use 'skopeo login %s' first (looked at "
		  "$REGISTRY_AUTH_FILE, "
		  "$XDG_RUNTIME_DIR/containers/auth.json and ~/.docker/config.json)",
		  ref.host, ref.host);
	return NULL;
}
