/*
 * registry - what container registries hold, read by skopeo(1) as a child process: it knows transports,
 * mirrors (containers-registries.conf(5)), token logins and signature policies.
 *
 * Credentials reach the child as a file in memory that it inherits: not in argv, environment or on a disk.
 * Callbacks run exactly once, on the loop, after the call has returned.
 *   Errors  ERR_DENIED credentials, ERR_NOT_FOUND no such name, ERR_UNAVAILABLE registry cannot be reached,
 *           ERR_TIMEOUT, ERR_EXHAUSTED disk full, ERR_DATA_LOSS digest mismatch, ERR_INVALID bad reference,
 *           ERR_CANCELLED by registry_cancel()
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct error;
struct registry_request;

/* How to get in. Borrowed for the call only. */
struct registry_access {
	const char *auth_json;  /* contents of a containers-auth.json(5); NULL = auth_file */
	const char *auth_file;  /* path; NULL or missing: anonymous */
	const char *certs_dir;  /* <dir>/<host[:port]>/{*.crt,*.cert,*.key}; NULL or missing: the system's */
	const char *tmp_dir;    /* for skopeo's temporary files; NULL = its default */
};

#define REGISTRY_MAX_DOCUMENT_BYTES (4u << 20)

typedef void (*registry_document_cb)(void *data, const char *bytes, size_t len, const struct error *err);

/*
 * The manifest or index behind a reference, the bytes as the registry has them. The digest is not checked.
 *   ref  as imageref_parse() takes it; with a digest, the tag is not looked at
 */
struct registry_request *registry_manifest(uv_loop_t *loop, const struct registry_access *access,
					   const char *ref, uint64_t timeout_ms, registry_document_cb cb,
					   void *data);
/* The config of the image behind a reference. */
struct registry_request *registry_config(uv_loop_t *loop, const struct registry_access *access,
					 const char *ref, uint64_t timeout_ms, registry_document_cb cb,
					 void *data);

/*
 * The digest that a reference means now: of the index if the name is one for several platforms, as Docker
 * pins it. digest is NULL on error.
 */
typedef void (*registry_digest_cb)(void *data, const char *digest, const struct error *err);
struct registry_request *registry_resolve(uv_loop_t *loop, const struct registry_access *access,
					  const char *ref, uint64_t timeout_ms, registry_digest_cb cb,
					  void *data);

/* What to copy into an OCI layout. */
struct registry_copy_options {
	const char *ref;         /* reference in a registry; or NULL and: */
	int archive_fd;          /* open docker-archive (borrowed for the call), */
	size_t archive_index;    /* which of its images */
	const char *layout_dir;  /* made; index.json is there afterwards */
	const char *blob_dir;    /* blobs come to <blob_dir>/sha256/<hex>; what is there is not copied again */
	uint64_t timeout_ms;
	void (*on_blob)(void *data, const char *digest); /* one begins; may be NULL */
};
typedef void (*registry_done_cb)(void *data, const struct error *err);
struct registry_request *registry_copy(uv_loop_t *loop, const struct registry_access *access,
				       const struct registry_copy_options *options, registry_done_cb cb,
				       void *data);

/* The callback comes with ERR_CANCELLED, or with `why` if it is given. */
void registry_cancel(struct registry_request *request, const struct error *why);
