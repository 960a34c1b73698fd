/* auth - the user's login for a registry, from the files that docker, podman and skopeo write. */
#pragma once
struct error;

/*
 * Pure: the entry for `host` in such a file, as {"auths":{"<host>":{...}}}. Yours; NULL with
 * ERR_NOT_FOUND when there is none, ERR_INVALID when the text is no such file, ERR_PRECONDITION
 * when the login is kept by a credential helper.
 */
char *auth_select(const char *text, const char *host, struct error *err);

/*
 * Look in $REGISTRY_AUTH_FILE, $XDG_RUNTIME_DIR/containers/auth.json, $DOCKER_CONFIG/config.json
 * and
 * ~/.docker/config.json for the registry of an image. Yours; NULL with err.
 */
char *auth_for_image(const char *image, struct error *err);
