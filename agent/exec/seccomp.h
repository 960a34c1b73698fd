/*
 * seccomp - the default system call filter of containers: Docker's profile, in a table of our own.
 * Everything that is not listed fails with EPERM; some calls are open only with a capability.
 */
#pragma once
#include <jansson.h>
#include <stdint.h>

/*
 * The `linux.seccomp` object of an OCI config.json for this machine's architecture and what its
 * kernel runs beside it.
 *   caps  the container's capabilities, a mask as caps_build() makes it
 */
json_t *seccomp_profile(uint64_t caps);
