/*
 * image - the images a node holds: content-addressed blobs and unpacked layers, each once.
 *
 *   <dir>/blobs/sha256/<hex>      manifests, configs, layers as they came (served to peers)
 *   <dir>/layers/<diff id hex>/   unpacked layers: lower directories of overlayfs
 *   <dir>/images.json             names -> manifest digest, where it came from; replaced atomically
 *
 * Registries and archives are read by skopeo (child process) into an OCI layout; layers are checked and
 * unpacked by libarchive on the uv pool. All other calls: loop thread.
 */
#pragma once
#include "common/error.h"
#include "proto/pb.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct image_store;

/* What a container needs of an image. Counted; plain data. */
struct image {
	char digest[80];            /* of the manifest, "sha256:<hex>" */
	char **layers;              /* absolute paths of unpacked layers, lowest first */
	size_t n_layers;
	/* From the image's config; NULL-terminated vectors, "" or NULL when absent. */
	char **entrypoint, **cmd, **env;
	char *user, *dir, *stop_signal;
	char **volumes;             /* paths declared as volumes */
	char **exposed_ports;       /* "80/tcp" */
	pb_health_check *health;    /* NULL when it has none */
};
struct image *image_ref(struct image *image);
void image_unref(struct image *image); /* a referenced image cannot be removed without force */

struct image_store_options {
	uv_loop_t *loop;
	const char *dir;            /* made when missing, 0700 */
	const char *tmp_dir;        /* same file system as dir */
	const char *auth_file;      /* containers-auth.json(5) of the node; NULL or missing: none */
	const char *registries_dir; /* certs.d for skopeo (--src-cert-dir is chosen per registry); NULL = default */
};

/* Open: reads images.json, drops temporary leftovers. Short blocking I/O. */
struct image_store *image_store_new(const struct image_store_options *options, struct error *err);
void image_store_close(struct image_store *s, void (*closed)(void *data), void *data);

/* Where else an image can be had: fetches a blob from a peer agent. Implemented by agent/peer_client. */
struct image_fetcher {
	/* Write the blob to fd; done once, on the loop; *total may be unknown. Bounded by max_bytes. */
	void (*fetch)(void *data, const char *peer_address, const char *digest, int fd, int64_t max_bytes,
		      void (*done)(void *done_data, const struct error *err), void *done_data);
	void *data;
	/* Stop the fetch that was started with this done_data; its done comes soon, with ERR_CANCELLED. May be NULL. */
	void (*cancel)(void *data, void *done_data);
};
void image_store_set_fetcher(struct image_store *s, const struct image_fetcher *fetcher);

struct image_want {
	const char *ref;            /* normalised name, "docker.io/library/web:latest"; may carry @sha256:... */
	const char *digest;         /* wanted manifest digest; NULL or "" = whatever the name means now */
	bool loaded;                /* origin LOADED: ask peers, then the registry; else registry, then peers */
	const char *registry_auth;  /* containers-auth JSON for this pull; NULL = the node's file */
	const char *const *peers;   /* "host:port", NULL-terminated; may be NULL */
};

/* progress may be NULL. done exactly once; image is borrowed in the callback (image_ref to keep).
 * Two wants of one digest share the work. Errors: ERR_NOT_FOUND nobody has it; ERR_DENIED credentials;
 * ERR_DATA_LOSS digest mismatch or bad archive; ERR_EXHAUSTED disk full; the message names source and layer. */
typedef void (*image_progress_cb)(void *data, const char *message);
typedef void (*image_done_cb)(void *data, struct image *image, const struct error *err);
struct image_job;
struct image_job *image_ensure(struct image_store *s, const struct image_want *want,
			       image_progress_cb progress, image_done_cb done, void *data);
/* Always asks the registry (pull). */
struct image_job *image_pull(struct image_store *s, const char *ref, const char *registry_auth,
			     image_progress_cb progress, image_done_cb done, void *data);
/* Load a docker-archive or OCI archive from a file (removed afterwards when `remove`). */
struct image_job *image_load(struct image_store *s, const char *path, bool remove,
			     image_progress_cb progress, image_done_cb done, void *data);
/* done comes with ERR_CANCELLED; nothing half-done stays. */
void image_job_cancel(struct image_job *job);

/* The image that this node holds under a digest (of a manifest or of an index that led to it); NULL when it does not.
 * Borrowed: image_ref to keep. Never fetches anything. */
struct image *image_held(struct image_store *s, const char *digest);

/* What there is; heap messages owned by the store, valid until the next change. */
pb_image_info *const *image_list(const struct image_store *s, size_t *ret_n);
/* Names and digests (prefix of at least 4 hex) untag or delete; heap strings are added to the response. */
int image_remove(struct image_store *s, const char *ref, bool force, Skein__RemoveImageResponse *resp,
		 struct error *err);
/* Called after every change of the list. */
void image_store_on_change(struct image_store *s, void (*cb)(void *data), void *data);

/* What became of the attempts to get images so far, by where they were asked for. */
enum image_source { IMAGE_SOURCE_REGISTRY, IMAGE_SOURCE_PEERS, IMAGE_SOURCE_ARCHIVE, IMAGE_SOURCES };
struct image_stats {
	uint64_t got[IMAGE_SOURCES], failed[IMAGE_SOURCES];
};
const struct image_stats *image_stats(const struct image_store *s);

/* Path of a blob for serving; NULL when the store does not have it. Yours. */
char *image_blob_path(const struct image_store *s, const char *digest);
