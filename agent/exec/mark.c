#include "agent/exec/checkpoint_int.h"

#include "common/error.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"

#include <jansson.h>
#include <string.h>

#define MARK_MAX_BYTES 1024

int checkpoint_mark(struct container *c)
{
	json_t *object = json_pack("{s:s,s:b,s:I,s:I}", "boot_id", c->exec->boot_id, "frozen", c->freezing, "child",
				   (json_int_t)c->criu_pid, "child_start", (json_int_t)c->criu_start);
	_cleanup_free_ char *text = json_dumps(object, JSON_COMPACT);
	struct error err = ERROR_INIT;
	int r = container_file_replace(c->paths.task_dir, MARK_FILE, text, strlen(text), &err);

	json_decref(object);
	if (r < 0)
		log_warn("checkpoint_mark", kv_str("task", c->id), kv_err(&err));
	return r;
}

void checkpoint_mark_parse(const char *text, size_t len, const char *boot_id, struct checkpoint_mark *ret)
{
	json_t *object = json_loadb(text, len, 0, NULL);
	const char *boot;
	json_int_t child, start;
	int frozen;

	*ret = (struct checkpoint_mark){0};
	if (json_unpack(object, "{s:s,s:b,s:I,s:I}", "boot_id", &boot, "frozen", &frozen, "child", &child, "child_start",
			&start) == 0 &&
	    str_eq(boot, boot_id) && child >= 0 && child <= INT32_MAX && child != 1 && start >= 0)
		*ret = (struct checkpoint_mark){frozen, child, (uint64_t)start};
	json_decref(object);
}

void checkpoint_mark_load(const char *task_dir, const char *boot_id, struct checkpoint_mark *ret)
{
	_cleanup_free_ char *path = xasprintf("%s/" MARK_FILE, task_dir), *text = NULL;
	size_t len;

	*ret = (struct checkpoint_mark){0};
	if (file_read(path, MARK_MAX_BYTES, &text, &len, NULL) == 0)
		checkpoint_mark_parse(text, len, boot_id, ret);
}
