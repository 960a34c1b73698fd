// links: agent_core
/* Bytes as the images and logs that come from another host's criu: statistics, cgroup.img, an error log, cgroup.events, a mark. */
#include "agent/exec/checkpoint_int.h"
#include "agent/exec/criu.h"
#include "agent/exec/crstats.h"
#include "common/error.h"
#include "common/mem.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What was moved once can be moved again, to the same bytes. */
static void cgroup_image(const void *data, size_t size)
{
	_cleanup_free_ void *moved = NULL, *again = NULL;
	size_t len, again_len;

	if (criu_cgroup_image(data, size, "/skein/target", &moved, &len, NULL) < 0)
		return;
	if (criu_cgroup_image(moved, len, "/skein/target", &again, &again_len, NULL) < 0 || len != again_len ||
	    memcmp(moved, again, len) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = xstrndup((const char *)data, size), *reason = crstats_reason((const char *)data, size);
	struct checkpoint_stats dumped = {0};
	struct restore_stats restored = {0};
	struct checkpoint_mark mark;
	bool frozen;

	crstats_dump(data, size, &dumped, NULL);
	crstats_restore(data, size, &restored, NULL);
	cgroup_image(data, size);
	freeze_parse_events(text, &frozen);
	checkpoint_mark_parse((const char *)data, size, "b", &mark);
	if (mark.child < 0 || mark.child == 1)
		abort();
	return 0;
}
