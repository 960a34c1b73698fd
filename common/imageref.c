#include "imageref.h"

#include "error.h"
#include "str.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of "host/path", as the distribution project bounds it. */
#define NAME_MAX_BYTES 255
#define TAG_MAX_BYTES 128
#define DIGEST_HEX 64

static bool is_lower_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
	return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

static bool is_hex(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		if (!(s[i] >= '0' && s[i] <= '9') && !(s[i] >= 'a' && s[i] <= 'f'))
			return false;
	}
	return true;
}

/* Lower-case words joined by ".", "_", "__" or any number of "-". */
static bool component_ok(const char *s, size_t len)
{
	size_t i = 0;

	for (;;) {
		size_t start = i;

		while (i < len && is_lower_alnum(s[i]))
			i++;
		if (i == start)
			return false;
		if (i == len)
			return true;
		if (s[i] == '-') {
			while (i < len && s[i] == '-')
				i++;
		} else if (s[i] == '_' && i + 1 < len && s[i + 1] == '_') {
			i += 2;
		} else if (s[i] == '_' || s[i] == '.') {
			i++;
		} else {
			return false;
		}
	}
}

static bool path_ok(const char *path)
{
	for (;;) {
		size_t len = strcspn(path, "/");

		if (!component_ok(path, len))
			return false;
		path += len;
		if (!*path)
			return true;
		path++;
	}
}

static bool port_ok(const char *s)
{
	size_t len = strspn(s, "0123456789");

	return len >= 1 && len <= 5 && !s[len];
}

static bool host_ok(const char *host)
{
	size_t len;

	if (*host == '[') {
		len = strspn(host + 1, "0123456789abcdefABCDEF:");
		if (len < 2 || host[1 + len] != ']')
			return false;
		host += len + 2;
		return !*host || (*host == ':' && port_ok(host + 1));
	}
	for (;;) {
		len = strcspn(host, ".:");
		if (!len || !is_alnum(host[0]) || !is_alnum(host[len - 1]))
			return false;
		for (size_t i = 0; i < len; i++) {
			if (!is_alnum(host[i]) && host[i] != '-')
				return false;
		}
		host += len;
		if (*host != '.')
			return !*host || port_ok(host + 1);
		host++;
	}
}

static bool tag_ok(const char *tag)
{
	size_t len = strlen(tag);

	if (!len || len > TAG_MAX_BYTES || (!is_alnum(tag[0]) && tag[0] != '_'))
		return false;
	for (size_t i = 1; i < len; i++) {
		if (!is_alnum(tag[i]) && !strchr("_.-", tag[i]))
			return false;
	}
	return true;
}

static bool digest_ok(const char *digest)
{
	return str_starts(digest, "sha256:") && strlen(digest) == 7 + DIGEST_HEX &&
	       is_hex(digest + 7, DIGEST_HEX);
}

/* The part before the first slash is a host only if it cannot be a path component of the default host. */
static bool looks_like_host(const char *s, size_t len)
{
	if (len == 9 && memcmp(s, "localhost", 9) == 0)
		return true;
	for (size_t i = 0; i < len; i++) {
		if (s[i] == '.' || s[i] == ':' || (s[i] >= 'A' && s[i] <= 'Z'))
			return true;
	}
	return false;
}

static int split_name(const char *name, struct imageref *ref)
{
	const char *slash = strchr(name, '/');
	const char *path = name;

	snprintf(ref->host, sizeof(ref->host), "docker.io");
	if (slash && looks_like_host(name, (size_t)(slash - name))) {
		snprintf(ref->host, sizeof(ref->host), "%.*s", (int)(slash - name), name);
		path = slash + 1;
		if (!host_ok(ref->host))
			return -1;
		if (str_eq(ref->host, "index.docker.io"))
			snprintf(ref->host, sizeof(ref->host), "docker.io");
	} else if (strlen(name) == DIGEST_HEX && is_hex(name, DIGEST_HEX)) {
		return -1; /* would be taken for an image id */
	}
	if (!path_ok(path))
		return -1;
	snprintf(ref->path, sizeof(ref->path), "%s%.247s",
		 str_eq(ref->host, "docker.io") && !strchr(path, '/') ? "library/" : "", path);
	return strlen(ref->host) + 1 + strlen(ref->path) <= NAME_MAX_BYTES ? 0 : -1;
}

int imageref_parse(const char *s, struct imageref *ret, struct error *err)
{
	struct imageref ref = {0};
	char copy[IMAGEREF_MAX], *at, *colon;

	if (str_empty(s))
		return error_set(err, ERR_INVALID, "the image name is empty");
	if (strlen(s) >= sizeof(copy))
		goto invalid;
	memcpy(copy, s, strlen(s) + 1);

	at = strchr(copy, '@');
	if (at) {
		if (!digest_ok(at + 1))
			goto invalid;
		snprintf(ref.digest, sizeof(ref.digest), "%s", at + 1);
		*at = '\0';
	}
	colon = strrchr(copy, ':');
	if (colon && !strchr(colon, '/')) {
		if (!tag_ok(colon + 1))
			goto invalid;
		snprintf(ref.tag, sizeof(ref.tag), "%s", colon + 1);
		*colon = '\0';
	} else if (!at) {
		snprintf(ref.tag, sizeof(ref.tag), "latest");
	}
	if (strlen(copy) > NAME_MAX_BYTES || split_name(copy, &ref) < 0)
		goto invalid;
	*ret = ref;
	return 0;
invalid:
	return error_set(err, ERR_INVALID,
			 "\"%.300s\" is not an image name: accepted is [HOST[:PORT]/]NAME[:TAG]"
			 "[@sha256:DIGEST] with a name of lower case letters, digits and . _ - / "
			 "of at most 255 characters",
			 s);
}

static const char *format(const char *host, const char *path, const struct imageref *ref,
			  char buf[static IMAGEREF_MAX])
{
	int len = snprintf(buf, IMAGEREF_MAX, "%s%s%s%s%s%s%s", host, *host ? "/" : "", path,
			   ref->tag[0] ? ":" : "", ref->tag, ref->digest[0] ? "@" : "", ref->digest);

	if (len >= IMAGEREF_MAX) /* never: the parser bounds the name to 255 */
		abort();
	return buf;
}

const char *imageref_format(const struct imageref *ref, char buf[static IMAGEREF_MAX])
{
	return format(ref->host, ref->path, ref, buf);
}

const char *imageref_familiar(const struct imageref *ref, char buf[static IMAGEREF_MAX])
{
	const char *path = ref->path, *slash = strchr(path, '/');

	if (!str_eq(ref->host, "docker.io"))
		return format(ref->host, path, ref, buf);
	/* "docker.io/cker.io/a" without its host would name another one. */
	if (slash && looks_like_host(path, (size_t)(slash - path)))
		return format(ref->host, path, ref, buf);
	if (str_starts(path, "library/") && !strchr(path + strlen("library/"), '/'))
		path += strlen("library/");
	if (strlen(path) == DIGEST_HEX && is_hex(path, DIGEST_HEX))
		return format(ref->host, path, ref, buf);
	return format("", path, ref, buf);
}
