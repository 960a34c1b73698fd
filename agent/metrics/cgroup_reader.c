#include "cgroup_reader.h"

#include "common/mem.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define TEXT_MAX (32u << 10) /* io.stat of a host with hundreds of disks; more is cut at a line */

static int open_one(enum cgroup_mode mode, const char *root, const char *path, const struct usage_file *file)
{
	char name[512];

	if (mode == CGROUP_V2)
		snprintf(name, sizeof(name), "%s%s/%s", root, path, file->name);
	else
		snprintf(name, sizeof(name), "%s/%s%s/%s", root, file->controller, path, file->name);
	return open(name, O_RDONLY | O_CLOEXEC);
}

bool cgroup_reader_open(struct cgroup_reader *r, enum cgroup_mode mode, const char *root, const char *path)
{
	unsigned n = 0;

	r->files = mode == CGROUP_V2 ? usage_files_v2 : usage_files_v1;
	for (size_t i = 0; r->files[i].name; i++) {
		r->fds[i] = open_one(mode, root, path, &r->files[i]);
		n += r->fds[i] >= 0;
	}
	r->open = n > 0;
	return r->open;
}

void cgroup_reader_close(struct cgroup_reader *r)
{
	for (size_t i = 0; r->open && r->files[i].name; i++)
		mem_closep(&r->fds[i]);
	r->open = false;
}

bool cgroup_reader_read(const struct cgroup_reader *r, struct usage *ret)
{
	char text[TEXT_MAX];
	unsigned n_read = 0;

	memset(ret, 0, sizeof(*ret));
	for (size_t i = 0; r->open && r->files[i].name; i++) {
		ssize_t n = r->fds[i] < 0 ? -1 : pread(r->fds[i], text, sizeof(text) - 1, 0);

		/* Some files cannot be read at the moment (pressure is off): the others still say what they say. */
		if (n < 0)
			continue;
		text[n] = '\0';
		if (n == (ssize_t)sizeof(text) - 1 && strrchr(text, '\n'))
			strrchr(text, '\n')[1] = '\0'; /* half a number would be a counter that went back */
		r->files[i].parse(text, ret);
		n_read++;
	}
	return n_read > 0;
}
