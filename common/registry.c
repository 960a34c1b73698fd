#include "common/registry.h"

#include "common/digest.h"
#include "common/error.h"
#include "common/imageref.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/proc.h"
#include "common/str.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define POLICY_FILE "/etc/containers/policy.json"
#define AUTH_MAX_BYTES (1u << 20)
#define STDERR_MAX_BYTES 8192
#define NAME_BYTES 768

struct registry_request {
	uv_loop_t *loop;
	struct proc *proc;
	char *ref;	    /* for messages */
	struct error early; /* it could not be started */
	struct error cancelled;
	struct strbuf out, errout; /* of a copy: what its lines said last */
	void (*on_blob)(void *data, const char *digest);
	registry_document_cb document_cb;
	registry_digest_cb digest_cb;
	registry_done_cb done_cb;
	void *data;
};

/* ---------------------------------------------------------------- what skopeo says */

/* The text of msg="..." of the last fatal line, unescaped; else the last line. */
static char *fatal_text(const char *errout)
{
	struct strbuf b = {0};
	const char *p = errout, *msg = NULL, *next;

	while ((next = strstr(p, "msg=\""))) {
		msg = next + strlen("msg=\"");
		p = msg;
	}
	if (!msg) {
		const char *line = strrchr(errout, '\n');

		while (line && !line[1] && line > errout) { /* trailing newline */
			const char *q = line - 1;

			while (q > errout && *q != '\n')
				q--;
			line = q;
		}
		return xstrndup(line ? line + (*line == '\n') : errout, 600);
	}
	for (; *msg && *msg != '"' && b.len < 600; msg++) {
		if (*msg == '\\' && msg[1])
			msg++;
		strbuf_putc(&b, (unsigned char)*msg < 0x20 ? ' ' : *msg);
	}
	return strbuf_take(&b);
}

static enum error_code code_of_text(const char *text)
{
	static const struct {
		const char *part;
		enum error_code code;
	} known[] = {
		{"no space left on device", ERR_EXHAUSTED},
		{"disk quota exceeded", ERR_EXHAUSTED},
		{"unauthorized", ERR_DENIED},
		{"authentication required", ERR_DENIED},
		{"invalid username/password", ERR_DENIED},
		{"access to the requested resource", ERR_DENIED},
		{"denied", ERR_DENIED},
		{"rejected by policy", ERR_DENIED},
		{"manifest unknown", ERR_NOT_FOUND},
		{"name unknown", ERR_NOT_FOUND},
		{"not found", ERR_NOT_FOUND},
		{"no image found", ERR_NOT_FOUND},
		{"connection refused", ERR_UNAVAILABLE},
		{"no such host", ERR_UNAVAILABLE},
		{"timeout", ERR_UNAVAILABLE},
		{"x509", ERR_UNAVAILABLE},
		{"pinging container registry", ERR_UNAVAILABLE},
		{"toomanyrequests", ERR_UNAVAILABLE},
		{"does not match", ERR_DATA_LOSS},
		{"did not match", ERR_DATA_LOSS},
		{"corrupt", ERR_DATA_LOSS},
		{"unexpected EOF", ERR_DATA_LOSS},
	};

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (strcasestr(text, known[i].part))
			return known[i].code;
	}
	return ERR_UNAVAILABLE;
}

static void error_of_exit(const struct registry_request *r, const struct proc_exit *exit,
			  const char *errout, struct error *err)
{
	_cleanup_free_ char *text = NULL;
	const char *shown;

	if (error_is_set(&r->cancelled)) {
		*err = r->cancelled;
		return;
	}
	if (exit->timed_out) {
		error_set(err, ERR_TIMEOUT, "%s: no complete answer in time", r->ref);
		return;
	}
	text = fatal_text(errout);
	/* Our caller knows the name: drop skopeo's own preface. */
	shown = str_starts(text, "Error parsing image name") ? strstr(text, "\": ") : NULL;
	shown = shown ? shown + 3 : text;
	if (!*shown && exit->signal)
		error_set(err, ERR_UNAVAILABLE, "%s: skopeo was killed by signal %d", r->ref,
			  exit->signal);
	else
		error_set(err, code_of_text(shown), "%s: %s", r->ref,
			  *shown ? shown : "skopeo gave no reason");
}

/* ---------------------------------------------------------------- end of a request */

static void finish(struct registry_request *r, const char *bytes, size_t len,
		   const struct error *err)
{
	char digest[DIGEST_MAX];

	if (r->document_cb)
		r->document_cb(r->data, err ? NULL : bytes, err ? 0 : len, err);
	else if (r->done_cb)
		r->done_cb(r->data, err);
	else if (err)
		r->digest_cb(r->data, NULL, err);
	else {
		digest_of(bytes, len, digest);
		r->digest_cb(r->data, digest, NULL);
	}
	strbuf_fini(&r->out);
	strbuf_fini(&r->errout);
	free(r->ref);
	free(r);
}

static void on_exit_document(void *data, struct proc *proc, const struct proc_exit *exit)
{
	struct registry_request *r = data;
	struct error err = ERROR_INIT;

	if (exit->exit_code != 0 || error_is_set(&r->cancelled))
		error_of_exit(r, exit, exit->errout, &err);
	else if (exit->out_len > REGISTRY_MAX_DOCUMENT_BYTES)
		error_set(&err, ERR_EXHAUSTED, "%s: document is longer than %u bytes", r->ref,
			  REGISTRY_MAX_DOCUMENT_BYTES);
	finish(r, exit->out, exit->out_len, error_is_set(&err) ? &err : NULL);
}

static void on_copy_line(void *data, const char *line, bool is_stderr)
{
	static const char blob[] = "Copying blob ";
	struct registry_request *r = data;
	char digest[DIGEST_MAX];

	if (is_stderr && r->errout.len < STDERR_MAX_BYTES) {
		strbuf_puts(&r->errout, line);
		strbuf_putc(&r->errout, '\n');
	}
	if (is_stderr || !r->on_blob || !str_starts(line, blob) || error_is_set(&r->cancelled))
		return;
	snprintf(digest, sizeof(digest), "%.71s", line + strlen(blob));
	if (digest_valid(digest))
		r->on_blob(r->data, digest);
}

static void on_exit_copy(void *data, struct proc *proc, const struct proc_exit *exit)
{
	struct registry_request *r = data;
	struct error err = ERROR_INIT;

	if (exit->exit_code != 0 || error_is_set(&r->cancelled))
		error_of_exit(r, exit, r->errout.p ? r->errout.p : "", &err);
	finish(r, NULL, 0, error_is_set(&err) ? &err : NULL);
}

static void nothing(void *data) {}

static void on_failed_early(void *data)
{
	struct registry_request *r = data;

	finish(r, NULL, 0, &r->early);
}

/* ---------------------------------------------------------------- start */

/* Credentials as an open file without a name. -1 without error: there are none. */
static int auth_open(const struct registry_access *how, int *ret_fd, struct error *err)
{
	_cleanup_close_ int fd = -1;
	size_t len;

	*ret_fd = -1;
	if (str_empty(how->auth_json)) {
		if (str_empty(how->auth_file))
			return 0;
		*ret_fd = open(how->auth_file, O_RDONLY | O_CLOEXEC);
		if (*ret_fd < 0 && errno != ENOENT)
			return error_set_errno(err, errno, "open %s", how->auth_file);
		return 0;
	}
	len = strlen(how->auth_json);
	if (len > AUTH_MAX_BYTES)
		return error_set(err, ERR_INVALID,
				 "registry credentials have %zu bytes, accepted are at most %u",
				 len, AUTH_MAX_BYTES);
	fd = memfd_create("auth", MFD_CLOEXEC);
	if (fd < 0 || fchmod(fd, 0600) < 0 || write(fd, how->auth_json, len) != (ssize_t)len)
		return error_set_errno(err, errno, "hand over credentials");
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static void add_env(struct strv *env)
{
	static const char *const passed[] = {
		"PATH",	    "HOME",	  "HTTP_PROXY",	 "HTTPS_PROXY",
		"NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	};

	for (size_t i = 0; i < ARRAY_SIZE(passed); i++) {
		if (getenv(passed[i]))
			strv_addf(env, "%s=%s", passed[i], getenv(passed[i]));
	}
	strv_add(env, "LANG=C.UTF-8");
}

static void add_globals(struct strv *argv, const struct registry_access *how)
{
	strv_add(argv, "skopeo");
	if (access(POLICY_FILE, F_OK) < 0) /* without one skopeo refuses everything */
		strv_add(argv, "--insecure-policy");
	if (!str_empty(how->tmp_dir)) {
		strv_add(argv, "--tmpdir");
		strv_add(argv, how->tmp_dir);
	}
}

/* `side` is "" or "src-": inspect and copy spell their options differently. */
static void add_access(struct strv *argv, const struct registry_access *how,
		       const struct imageref *ref, const char *side, int auth_fd)
{
	_cleanup_free_ char *certs = NULL;
	struct stat st;

	if (auth_fd >= 0)
		strv_addf(argv, "--%sauthfile=/proc/self/fd/3", side);
	else
		strv_addf(argv, "--%sno-creds", side);
	if (str_empty(how->certs_dir))
		return;
	certs = xasprintf("%s/%s", how->certs_dir, ref->host);
	if (stat(certs, &st) == 0 && S_ISDIR(st.st_mode))
		strv_addf(argv, "--%scert-dir=%s", side, certs);
}

/* skopeo takes a tag or a digest, not both. */
static void source_name(const struct imageref *ref, char buf[static NAME_BYTES])
{
	if (ref->digest[0])
		snprintf(buf, NAME_BYTES, "docker://%s/%s@%s", ref->host, ref->path, ref->digest);
	else
		snprintf(buf, NAME_BYTES, "docker://%s/%s:%s", ref->host, ref->path, ref->tag);
}

static struct registry_request *request_new(uv_loop_t *loop, const char *ref, void *data)
{
	struct registry_request *r = xnew(struct registry_request);

	r->loop = loop;
	r->ref = xstrdup(ref);
	r->data = data;
	return r;
}

/* From here on the callback is sure to come. */
static struct registry_request *launch(struct registry_request *r, const struct strv *argv,
				       const int *fds, unsigned n_fds, uint64_t timeout_ms)
{
	bool is_copy = r->done_cb;
	_cleanup_strv_ struct strv env = {0};

	if (!error_is_set(&r->early)) {
		add_env(&env);
		r->proc = proc_spawn(
			r->loop,
			&(struct proc_options){
				.argv = (const char *const *)argv->v,
				.env = (const char *const *)env.v,
				.max_capture = is_copy ? 0 : REGISTRY_MAX_DOCUMENT_BYTES + 1,
				.on_line = is_copy ? on_copy_line : NULL,
				.timeout_ms = timeout_ms,
				.die_signal = SIGKILL,
				.extra_fds = fds,
				.n_extra_fds = n_fds,
				.on_exit = is_copy ? on_exit_copy : on_exit_document,
				.data = r,
			},
			&r->early);
	}
	if (!r->proc) {
		error_wrap(&r->early, "%s", r->ref);
		loop_work(r->loop, nothing, on_failed_early, r);
	}
	return r;
}

static struct registry_request *inspect(struct registry_request *r,
					const struct registry_access *how, bool config,
					uint64_t timeout_ms)
{
	_cleanup_strv_ struct strv argv = {0};
	_cleanup_close_ int auth_fd = -1;
	char source[NAME_BYTES];
	struct imageref ref;

	if (imageref_parse(r->ref, &ref, &r->early) == 0 &&
	    auth_open(how, &auth_fd, &r->early) == 0) {
		add_globals(&argv, how);
		strv_add(&argv, "inspect");
		strv_add(&argv, "--raw");
		if (config)
			strv_add(&argv, "--config");
		add_access(&argv, how, &ref, "", auth_fd);
		source_name(&ref, source);
		strv_add(&argv, source);
	}
	return launch(r, &argv, &auth_fd, auth_fd >= 0, timeout_ms);
}

struct registry_request *registry_manifest(uv_loop_t *loop, const struct registry_access *how,
					   const char *ref, uint64_t timeout_ms,
					   registry_document_cb cb, void *data)
{
	struct registry_request *r = request_new(loop, ref, data);

	r->document_cb = cb;
	return inspect(r, how, false, timeout_ms);
}

struct registry_request *registry_config(uv_loop_t *loop, const struct registry_access *how,
					 const char *ref, uint64_t timeout_ms,
					 registry_document_cb cb, void *data)
{
	struct registry_request *r = request_new(loop, ref, data);

	r->document_cb = cb;
	return inspect(r, how, true, timeout_ms);
}

struct registry_request *registry_resolve(uv_loop_t *loop, const struct registry_access *how,
					  const char *ref, uint64_t timeout_ms,
					  registry_digest_cb cb, void *data)
{
	struct registry_request *r = request_new(loop, ref, data);

	r->digest_cb = cb;
	return inspect(r, how, false, timeout_ms);
}

static void add_copy(struct strv *argv, const struct registry_copy_options *o)
{
	strv_add(argv, "copy");
	/* Layers stay the bytes they are: their digests are in the manifest. */
	strv_add(argv, "--dest-oci-accept-uncompressed-layers");
	strv_addf(argv, "--dest-shared-blob-dir=%s", o->blob_dir);
}

struct registry_request *registry_copy(uv_loop_t *loop, const struct registry_access *how,
				       const struct registry_copy_options *o, registry_done_cb cb,
				       void *data)
{
	struct registry_request *r = request_new(loop, o->ref ? o->ref : "archive", data);
	_cleanup_strv_ struct strv argv = {0};
	_cleanup_close_ int auth_fd = -1;
	char source[NAME_BYTES];
	struct imageref ref;
	int fds[1] = {-1};

	r->done_cb = cb;
	r->on_blob = o->on_blob;
	if (o->ref && (imageref_parse(o->ref, &ref, &r->early) < 0 ||
		       auth_open(how, &auth_fd, &r->early) < 0))
		return launch(r, &argv, NULL, 0, 0);
	add_globals(&argv, how);
	add_copy(&argv, o);
	if (o->ref) {
		add_access(&argv, how, &ref, "src-", auth_fd);
		source_name(&ref, source);
		fds[0] = auth_fd;
	} else {
		snprintf(source, sizeof(source), "docker-archive:/proc/self/fd/3:@%zu",
			 o->archive_index);
		fds[0] = o->archive_fd;
	}
	strv_add(&argv, source);
	strv_addf(&argv, "oci:%s:image", o->layout_dir);
	return launch(r, &argv, fds, fds[0] >= 0, o->timeout_ms);
}

void registry_cancel(struct registry_request *r, const struct error *why)
{
	if (error_is_set(&r->cancelled))
		return;
	if (why)
		r->cancelled = *why;
	else
		error_set(&r->cancelled, ERR_CANCELLED, "%s: cancelled", r->ref);
	if (r->proc)
		proc_kill(r->proc, SIGKILL);
}
