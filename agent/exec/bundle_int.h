/* bundle_int - shared by bundle.c (process and checks) and bundle_linux.c (kernel side). */
#pragma once
#include "agent/exec/bundle.h"

/* Each returns a new reference; NULL on error. */
json_t *bundle_linux(const struct bundle_input *in, bool host_network, uint64_t caps,
		     struct error *err);
json_t *bundle_mounts(const struct bundle_input *in);

/* A JSON string of text that should be UTF-8; what is not becomes "". */
json_t *bundle_str(const char *s);
