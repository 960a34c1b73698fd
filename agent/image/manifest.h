/*
 * manifest - the JSON documents of an image: manifest (OCI, Docker schema 2), index (manifest list),
 * config, and the table of contents of a docker-archive. Pure; every size is bounded. (Fuzzed.)
 *
 *   Errors  ERR_DATA_LOSS not such a document; ERR_UNIMPLEMENTED schema 1, encrypted layers;
 *           ERR_EXHAUSTED more layers or entries than accepted
 *   Source  OCI image-spec 1.1, Docker "image manifest version 2, schema 2", Docker image spec 1.2
 */
#pragma once
#include "common/digest.h"
#include "proto/pb.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;

#define MANIFEST_MAX_BYTES (4u << 20)
#define MANIFEST_MAX_LAYERS 127u       /* Docker's bound */
#define MANIFEST_MAX_ENTRIES 512u      /* of an index */
#define MANIFEST_MAX_BLOB_BYTES (INT64_C(1) << 40)

/* A blob as another document names it. */
struct descriptor {
	char digest[DIGEST_MAX];
	int64_t size_bytes;
};

enum manifest_kind { MANIFEST_IMAGE, MANIFEST_INDEX };
/* Which of the two it is. */
int manifest_kind(const char *json, size_t len, enum manifest_kind *ret, struct error *err);

struct manifest {
	struct descriptor config;
	struct descriptor *layers; /* lowest first */
	size_t n_layers;
};
struct manifest *manifest_parse(const char *json, size_t len, struct error *err);
void manifest_free(struct manifest *m);
/* The same manifest with another config. Text, yours. */
char *manifest_with_config(const char *json, size_t len, const struct descriptor *config, struct error *err);
static inline void manifest_freep(struct manifest **p)
{
	manifest_free(*p);
	*p = NULL;
}

/* "linux", "amd64", "v7": GOOS, GOARCH and the variant. */
struct platform {
	char os[16], arch[24], variant[16];
};
/* Of this machine, from uname(2). */
void platform_host(struct platform *ret);

struct index_entry {
	struct descriptor blob;
	struct platform platform; /* all "" when the index does not say */
	bool is_attestation;      /* build provenance and such: no image */
	char *name;               /* from the annotations, normalised; NULL = none */
};
struct image_index {
	struct index_entry *entries;
	size_t n;
};
struct image_index *image_index_parse(const char *json, size_t len, struct error *err);
void image_index_free(struct image_index *x);
static inline void image_index_freep(struct image_index **p)
{
	image_index_free(*p);
	*p = NULL;
}
/* The entry for a platform: exact variant before any variant before "does not say". NULL: none. */
const struct index_entry *image_index_choose(const struct image_index *x, const struct platform *host);

/* What a container needs of an image's config, and what its layers unpack to. */
struct image_config {
	char (*diff_ids)[DIGEST_MAX]; /* lowest first */
	size_t n_diff_ids;
	char **entrypoint, **cmd, **env, **volumes, **exposed_ports; /* NULL-terminated or NULL */
	char *user, *dir, *stop_signal;                             /* NULL when absent */
	pb_health_check *health;                                    /* NULL when absent */
};
struct image_config *image_config_parse(const char *json, size_t len, struct error *err);
void image_config_free(struct image_config *c);
static inline void image_config_freep(struct image_config **p)
{
	image_config_free(*p);
	*p = NULL;
}

/* A docker-archive's manifest.json: the names of each of its images, normalised, and their configs. */
struct repo_tags {
	char ***names; /* n NULL-terminated vectors */
	char **configs; /* where the config of each is in the archive; "" when it is not said */
	size_t n;
};
struct repo_tags *repo_tags_parse(const char *json, size_t len, struct error *err);
void repo_tags_free(struct repo_tags *a);
static inline void repo_tags_freep(struct repo_tags **p)
{
	repo_tags_free(*p);
	*p = NULL;
}
