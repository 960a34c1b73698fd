// links: manager_serve
/*
 * A service spec as it comes over the wire: whatever the bytes are, it is refused with a message or
 * is a spec that stays valid when it is stored and read again.
 */
#include "common/error.h"
#include "manager/control/validate.h"
#include "proto/pb.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int constraint_check(void *data, const char *expr, struct error *err)
{
	return strstr(expr, "==") ? 0 : error_set(err, ERR_INVALID, "constraint \"%.40s\"", expr);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct validate_ops ops = {NULL, constraint_check};
	struct error err = ERROR_INIT;
	pb_service_spec *spec = pb_unpack(&skein__service_spec__descriptor, data, size);
	pb_service_spec *again;

	if (!spec)
		return 0;
	validate_normalise_service(spec);
	if (validate_service(spec, &ops, &err) < 0) {
		if (!err.msg[0] || (err.code != ERR_INVALID && err.code != ERR_EXHAUSTED))
			abort();
	} else {
		again = pb_dup(spec);
		validate_normalise_service(again);
		if (!pb_equal(spec, again) || validate_service(again, &ops, &err) < 0)
			abort();
		pb_free(again);
	}
	pb_free(spec);
	return 0;
}
