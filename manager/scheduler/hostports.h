/* hostports - which services publish the same port of a host. */
#pragma once
#include "proto/pb.h"

#include <stddef.h>

struct view;

/* The first host-mode port that a service was given; NULL = it has none (or there is no such service). */
const pb_port *hostports_first(const pb_service *service);

/* The port of `a` that `b` has, too: same protocol and number, and one address or all. NULL = none. */
const pb_port *hostports_shared(const pb_service *a, const pb_service *b);

/* Services that share a host-mode port with this one, itself (when it has any) included. The array is the caller's. */
const pb_service **hostports_rivals(const struct view *view, const pb_service *service, size_t *ret_n);
