#include "agent/exec/internal.h"

#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"
#include "common/str.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

#define STATE_MAX_BYTES 8192
#define EXIT_MAX_BYTES 16
#define PID_FILE_MAX 32

/* ---------------------------------------------------------------- container.json */

int container_file_replace(const char *dir, const char *name, const void *data, size_t len, struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name), *tmp = xasprintf("%s.tmp", path);
	_cleanup_close_ int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0 || write(fd, data, len) != (ssize_t)len || rename(tmp, path) < 0)
		return error_set_errno(err, errno, "write %s", path);
	return 0;
}

int container_state_save(const struct container *c, bool started, struct error *err)
{
	json_t *object = json_pack(
		"{s:s,s:s,s:i,s:b,s:I,s:I,s:I,s:I}", "boot_id", c->exec->boot_id, "runtime",
		c->runtime, "stop_signal", c->stop_signal, "started", started, "pid",
		(json_int_t)c->pid, "pid_start", (json_int_t)c->pid_start, "conmon_pid",
		(json_int_t)c->conmon_pid, "conmon_start", (json_int_t)c->conmon_start);
	_cleanup_free_ char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;

	json_decref(object);
	if (!text)
		return error_set(err, ERR_INTERNAL, "state of %s is not UTF-8", c->id);
	return container_file_replace(c->paths.task_dir, "container.json", text, strlen(text), err);
}

int container_state_parse(const char *text, size_t len, const char *boot_id,
			  struct container_state *ret, struct error *err)
{
	json_t *object = json_loadb(text, len, 0, NULL);
	const char *boot, *runtime;
	json_int_t pid, pid_start, conmon_pid, conmon_start;
	int started;

	*ret = (struct container_state){0};
	if (json_unpack(object, "{s:s,s:s,s:i,s:b,s:I,s:I,s:I,s:I}", "boot_id", &boot, "runtime",
			&runtime, "stop_signal", &ret->stop_signal, "started", &started, "pid",
			&pid, "pid_start", &pid_start, "conmon_pid", &conmon_pid, "conmon_start",
			&conmon_start) < 0 ||
	    pid < 0 || pid > INT32_MAX || conmon_pid < 0 || conmon_pid > INT32_MAX ||
	    pid_start < 0 || conmon_start < 0 || ret->stop_signal < 1 || ret->stop_signal > 64) {
		json_decref(object);
		return error_set(err, ERR_DATA_LOSS, "container.json is damaged");
	}
	ret->runtime = xstrdup(runtime);
	ret->same_boot = str_eq(boot, boot_id);
	ret->started = started;
	ret->pid = pid;
	ret->pid_start = (uint64_t)pid_start;
	ret->conmon_pid = conmon_pid;
	ret->conmon_start = (uint64_t)conmon_start;
	json_decref(object);
	return 0;
}

int container_state_load(const char *task_dir, const char *boot_id, struct container_state *ret,
			 struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/container.json", task_dir), *text = NULL;
	size_t len;

	if (file_read(path, STATE_MAX_BYTES, &text, &len, err) < 0)
		return -1;
	return container_state_parse(text, len, boot_id, ret, err);
}

/* ---------------------------------------------------------------- what conmon leaves */

int exit_file_parse(const char *text, size_t len, int *ret_code)
{
	_cleanup_free_ char *copy = xstrndup(text, len);
	uint64_t code;

	copy[strcspn(copy, "\n")] = '\0';
	if (strlen(copy) > 3 || str_parse_u64(copy, &code, NULL) < 0 || code > 255)
		return -1;
	*ret_code = (int)code;
	return 0;
}

bool container_exit_load(const struct container_paths *paths, enum cgroup_mode mode,
			 struct container_exit *ret)
{
	_cleanup_free_ char *path = xasprintf("%s/exit", paths->task_dir);
	_cleanup_free_ char *oom = xasprintf("%s/oom", paths->task_dir), *text = NULL;
	struct stat st;
	size_t len;

	if (stat(path, &st) < 0 || file_read(path, EXIT_MAX_BYTES, &text, &len, NULL) < 0 ||
	    exit_file_parse(text, len, &ret->exit_code) < 0)
		return false;
	ret->finished_at = st.st_mtim.tv_sec * INT64_C(1000000000) + st.st_mtim.tv_nsec;
	/* conmon can miss the event when the container ends in the same moment: the counter does
	 * not. */
	ret->oom_killed = ret->exit_code != 0 &&
			  (access(oom, F_OK) == 0 || cgroup_oom_killed(mode, paths->cgroup));
	return true;
}

int64_t container_read_pid(const struct container_paths *paths, const char *name)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", paths->run_dir, name), *text = NULL;
	int64_t pid;

	if (file_read(path, PID_FILE_MAX, &text, NULL, NULL) < 0)
		return 0;
	text[strcspn(text, "\n")] = '\0';
	return str_parse_i64(text, &pid, NULL) == 0 && pid > 1 && pid <= INT32_MAX ? pid : 0;
}
