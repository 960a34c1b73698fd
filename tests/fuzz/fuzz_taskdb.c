// links: agent_core
/* A task file as an earlier agent (or a broken disk) left it. */
#include "agent/taskdb.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	pb_free(taskdb_parse(data, size));
	return 0;
}
