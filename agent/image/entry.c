/* One image of the store: made of its documents, counted, given back. */
#include "agent/image/store.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

static char **strs_dup(char *const *v)
{
	struct strv copy = {0};

	for (size_t i = 0; v && v[i]; i++)
		strv_add(&copy, v[i]);
	return copy.v;
}

static void strs_free(char **v)
{
	for (size_t i = 0; v && v[i]; i++)
		free(v[i]);
	free(v);
}

static void entry_free(struct entry *e)
{
	for (size_t i = 0; i < e->image.n_layers; i++)
		free(e->image.layers[i]);
	free(e->image.layers);
	strs_free(e->image.entrypoint);
	strs_free(e->image.cmd);
	strs_free(e->image.env);
	strs_free(e->image.volumes);
	strs_free(e->image.exposed_ports);
	free(e->image.user);
	free(e->image.dir);
	free(e->image.stop_signal);
	pb_free(e->image.health);
	strv_fini(&e->names);
	strv_fini(&e->aliases);
	strv_fini(&e->blobs);
	strv_fini(&e->diff_ids);
	free(e);
}

struct image *image_ref(struct image *image)
{
	struct entry *e = (struct entry *)image;

	e->refs++;
	return image;
}

void image_unref(struct image *image)
{
	struct entry *e = (struct entry *)image;

	if (!e)
		return;
	assert(e->refs > 0);
	e->refs--;
	if (e->refs == 1 && e->doomed && e->store) {
		store_drop(e->store, e); /* drops the store's reference as well */
		return;
	}
	if (e->refs == 0)
		entry_free(e);
}

bool entry_in_use(const struct entry *e)
{
	return e->refs > 1;
}

static bool later_again(const struct image_config *config, size_t i)
{
	for (size_t k = i + 1; k < config->n_diff_ids; k++) {
		if (str_eq(config->diff_ids[i], config->diff_ids[k]))
			return true;
	}
	return false;
}

/* overlayfs takes no directory twice; of equal layers the upper one covers all of the lower one. */
static void set_layers(struct entry *e, const struct image_config *config)
{
	e->image.layers = xcalloc(config->n_diff_ids + 1, sizeof(char *));
	for (size_t i = 0; i < config->n_diff_ids; i++) {
		if (later_again(config, i))
			continue;
		strv_add(&e->diff_ids, config->diff_ids[i]);
		e->image.layers[e->image.n_layers++] =
			store_layer_path(e->store, config->diff_ids[i]);
	}
}

static void hold_blob(struct entry *e, const char *digest)
{
	if (strv_has(&e->blobs, digest))
		return;
	strv_add(&e->blobs, digest);
	store_pin(e->store, CONTENT_BLOB, digest);
}

void store_add_alias(struct entry *e, const char *digest)
{
	if (str_eq(digest, e->image.digest) || strv_has(&e->aliases, digest))
		return;
	strv_add(&e->aliases, digest);
	hold_blob(e, digest);
}

struct entry *entry_new(struct image_store *s, const char *digest, size_t manifest_len,
			const struct manifest *manifest, const struct image_config *config,
			const struct strv *aliases)
{
	struct entry *e = xnew(struct entry);

	e->refs = 1;
	e->store = s;
	e->created_at = clock_wall_ns();
	snprintf(e->image.digest, sizeof(e->image.digest), "%s", digest);
	e->image.entrypoint = strs_dup(config->entrypoint);
	e->image.cmd = strs_dup(config->cmd);
	e->image.env = strs_dup(config->env);
	e->image.volumes = strs_dup(config->volumes);
	e->image.exposed_ports = strs_dup(config->exposed_ports);
	e->image.user = xstrdup(config->user);
	e->image.dir = xstrdup(config->dir);
	e->image.stop_signal = xstrdup(config->stop_signal);
	e->image.health = pb_dup(config->health);
	set_layers(e, config);
	for (size_t i = 0; i < e->diff_ids.n; i++)
		store_pin(s, CONTENT_LAYER, e->diff_ids.v[i]);
	hold_blob(e, digest);
	hold_blob(e, manifest->config.digest);
	e->size_bytes = (int64_t)manifest_len + manifest->config.size_bytes;
	for (size_t i = 0; i < manifest->n_layers; i++) {
		hold_blob(e, manifest->layers[i].digest);
		e->size_bytes += manifest->layers[i].size_bytes;
	}
	for (size_t i = 0; i < aliases->n; i++)
		store_add_alias(e, aliases->v[i]);
	return e;
}
