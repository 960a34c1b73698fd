/*
 * image - what the nodes say about an image name. Pure.
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>

struct view;

/*
 * The newest image (by created_at) that any node reports under a normalised name.
 *   ref          "docker.io/library/web:latest", or with "@sha256:...": then that digest
 *   loaded_only  only images that came from an archive
 *   returns      its digest, borrowed from the view; NULL when no node has it
 */
const char *image_known_digest(const struct view *v, const char *ref, bool loaded_only);
