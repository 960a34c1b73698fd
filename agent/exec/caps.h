/*
 * caps - which Linux capabilities a container gets. Pure.
 * A set is a bit mask: bit n is capability number n of linux/capability.h.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct error;

/* "CAP_CHOWN" for 0, ...; NULL beyond the last known one. Static string. */
const char *caps_name(unsigned number);

/* Docker's default set. */
uint64_t caps_default(void);

/*
 * Docker's rules: (default - drop) + add; ALL in `add` is everything but `drop`, ALL in `drop` is
 * nothing but `add`. Names are accepted with and without "CAP_", in any case.
 *   available  what the agent itself holds: defaults outside it are left out silently
 *   Errors     ERR_INVALID unknown name, or one asked for that is not available
 */
int caps_build(char *const *add, size_t n_add, char *const *drop, size_t n_drop, uint64_t available,
	       uint64_t *ret, struct error *err);

/* The bounding set of this process (prctl(2)). */
uint64_t caps_available(void);
