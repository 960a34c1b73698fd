/*
 * imagefile - archives that hold images: docker-archive (docker save) and OCI archive (a layout in a tar),
 * plain or compressed. Blocking: uv pool.
 */
#pragma once
#include "agent/image/manifest.h"

#include <stdatomic.h>
#include <stdbool.h>

struct error;

enum imagefile_kind { IMAGEFILE_DOCKER, IMAGEFILE_OCI };

/*
 * Find out by its entries. An archive that is both counts as OCI: its manifests can be kept as they are.
 *   ret_tags  of a docker-archive: its images and their names; yours
 *   Errors    ERR_DATA_LOSS neither of the two, or damaged; ERR_CANCELLED
 */
int imagefile_inspect(const char *path, const atomic_bool *cancel, enum imagefile_kind *ret_kind,
		      struct repo_tags **ret_tags, struct error *err);

/* A document of the archive; yours. Errors: ERR_NOT_FOUND, ERR_DATA_LOSS, ERR_EXHAUSTED too long, ERR_CANCELLED */
int imagefile_document(const char *path, const char *name, const atomic_bool *cancel, char **ret, size_t *ret_len,
		       struct error *err);

/*
 * Take the layout out of an OCI archive: <dir>/index.json and <dir>/blobs/sha256/<hex>, each blob with its
 * digest checked. Everything else in the archive is ignored. `dir` exists and is empty.
 *   Errors  ERR_DATA_LOSS, ERR_EXHAUSTED disk full, ERR_CANCELLED
 */
int imagefile_extract(const char *path, const char *dir, const atomic_bool *cancel, struct error *err);
