#include "nodeinfo.h"

#include "agent/exec/exec.h"
#include "agent/image/image.h"
#include "agent/net/net.h"
#include "common/clock.h"
#include "common/file.h"
#include "common/mem.h"
#include "common/str.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <unistd.h>

#define IMAGES_MAX 1000 /* reported; a node with more reports the first ones */

char *nodeinfo_os_name(const char *os_release)
{
	static const char key[] = "PRETTY_NAME=";
	const char *line = os_release;

	while (line && strncmp(line, key, sizeof(key) - 1) != 0) {
		line = strchr(line, '\n');
		line = line ? line + 1 : NULL;
	}
	if (!line)
		return xstrdup("");
	line += sizeof(key) - 1;
	if (*line == '"' || *line == '\'') {
		char quote = *line++;

		return xstrndup(line, strcspn(line, (char[]){quote, '\n', '\0'}));
	}
	return xstrndup(line, strcspn(line, "\n"));
}

static void add_images(pb_node_description *d, const struct image_store *images)
{
	size_t n;
	pb_image_info *const *list = image_list(images, &n);

	for (size_t i = 0; i < n && i < IMAGES_MAX; i++)
		pb_msgs_add(&d->n_images, &d->images, pb_dup(list[i]));
}

static void add_capacity(pb_node_description *d, int64_t reserved_mem_bytes)
{
	struct sysinfo info = {0};
	cpu_set_t cpus;

	d->capacity = pb_new(&skein__resources__descriptor);
	if (sched_getaffinity(0, sizeof(cpus), &cpus) == 0)
		d->capacity->cpu_nano = CPU_COUNT(&cpus) * NS_PER_SEC;
	if (sysinfo(&info) == 0)
		d->capacity->mem_bytes = MAX((int64_t)info.totalram * info.mem_unit - reserved_mem_bytes, 0);
}

static void add_labels(pb_node_description *d, char *const *labels)
{
	for (; labels && *labels; labels++) {
		const char *eq = strchr(*labels, '=');
		_cleanup_free_ char *key = eq ? xstrndup(*labels, (size_t)(eq - *labels)) : xstrdup(*labels);

		pb_kv_set(&d->n_engine_labels, &d->engine_labels, key, eq ? eq + 1 : "");
	}
}

pb_node_description *nodeinfo_describe(const struct nodeinfo_options *options)
{
	pb_node_description *d = pb_new(&skein__node_description__descriptor);
	_cleanup_free_ char *os_release = NULL, *os_name = NULL;
	pb_node_description *clean;
	struct utsname uts;
	char *dot;

	if (uname(&uts) == 0) {
		dot = strchr(uts.nodename, '.');
		if (dot)
			*dot = '\0';
		pb_set_str(&d->hostname, uts.nodename);
		pb_set_str(&d->arch, uts.machine);
		pb_set_str(&d->kernel, uts.release);
	}
	pb_set_str(&d->os, "linux");
	if (file_read("/etc/os-release", 64 << 10, &os_release, NULL, NULL) == 0) {
		os_name = nodeinfo_os_name(os_release);
		pb_set_str(&d->os_name, os_name);
	}
	pb_set_str(&d->agent_version, SKEIN_VERSION);
	add_capacity(d, options->reserved_mem_bytes);
	add_labels(d, options->engine_labels);
	if (options->exec)
		exec_features(options->exec, d);
	if (options->net)
		net_features(options->net, d);
	if (options->images)
		add_images(d, options->images);
	clean = pb_dup_clean(d);
	pb_free(d);
	return clean;
}
