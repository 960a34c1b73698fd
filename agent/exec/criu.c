#include "agent/exec/criu.h"

#include "common/error.h"
#include "common/mem.h"

#include "criu_cgroup.pb-c.h"

#include <inttypes.h>
#include <string.h>

#define MAGIC_COMMON 0x54564319u
#define MAGIC_CGROUP 0x59383330u
#define HEAD_BYTES 12        /* two magic numbers and the length */
#define GHOST_LIMIT "64M"    /* of a removed file that is still open: it is copied while all stands still */
#define COLLECT_TIMEOUT_S "10"
#define EMPTY_NAME "skein-empty" /* what a masked directory is called between source and target */

/* ---------------------------------------------------------------- command lines */

static void add_pair(struct strv *argv, const char *option, const char *value)
{
	strv_add(argv, option);
	strv_add(argv, value);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? slash + 1 : path;
}

static void add_images(struct strv *argv, const char *images, const char *parent, const char *work_dir)
{
	add_pair(argv, "--images-dir", images);
	add_pair(argv, "--work-dir", work_dir);
	add_pair(argv, "--log-file", CRIU_LOG);
	strv_add(argv, "-v2"); /* errors and warnings: more costs time while everything stands still */
	if (parent) {
		strv_add(argv, "--prev-images-dir");
		strv_addf(argv, "../%s", base_name(parent));
	}
}

static void add_pages(struct strv *argv)
{
	strv_add(argv, "--ps-socket");
	strv_addf(argv, "%d", CRIU_FD);
}

static void add_external(struct strv *argv, const char *mountpoint, const char *name)
{
	strv_add(argv, "--external");
	strv_addf(argv, "mnt[%s]:%s", mountpoint, name);
}

/* Everything that comes from outside the container is named by where it is inside: runc's restore gives it this node's source. */
static void add_mounts(struct strv *argv, const struct criu_dump *d)
{
	static const char *const devices[] = {"/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/random", "/dev/urandom"};
	json_t *mount;
	size_t i;

	json_array_foreach(json_object_get(d->config, "mounts"), i, mount)
	{
		const char *type = json_string_value(json_object_get(mount, "type"));
		const char *target = json_string_value(json_object_get(mount, "destination"));

		if (str_eq(type, "bind") && target)
			add_external(argv, target, target);
	}
	for (i = 0; d->masked_files && i < d->masked_files->n; i++)
		add_external(argv, d->masked_files->v[i], "/dev/null");
	/* The runtime covers directories with an empty tmpfs each. criu would run tar for every one, here and there. */
	for (i = 0; d->masked_dirs && i < d->masked_dirs->n; i++)
		add_external(argv, d->masked_dirs->v[i], EMPTY_NAME);
	for (i = 0; i < ARRAY_SIZE(devices); i++)
		add_external(argv, devices[i], devices[i]);
}

void criu_dump_args(struct strv *argv, const struct criu_dump *d)
{
	strv_add(argv, d->criu);
	strv_add(argv, d->pre ? "pre-dump" : "dump");
	strv_add(argv, "--tree");
	strv_addf(argv, "%" PRId64, d->pid);
	add_images(argv, d->images, d->parent, d->work_dir);
	if (d->pages) {
		strv_add(argv, "--page-server");
		add_pages(argv);
	}
	add_pair(argv, "--freeze-cgroup", d->cgroup_dir);
	add_pair(argv, "--timeout", COLLECT_TIMEOUT_S);
	strv_add(argv, "--manage-cgroups=ignore");
	strv_add(argv, "--tcp-established");
	/* In its own process; iptables would be four more. The restore takes the word from the images. */
	add_pair(argv, "--network-lock", "nftables");
	strv_add(argv, "--file-locks");
	if (d->pre || d->parent || d->track)
		strv_add(argv, "--track-mem");
	if (d->pre)
		return;
	strv_add(argv, "--leave-running");
	add_pair(argv, "--ghost-limit", GHOST_LIMIT);
	add_pair(argv, "--root", d->rootfs);
	if (d->netns_inode) {
		strv_add(argv, "--external");
		strv_addf(argv, "net[%" PRIu64 "]:extRootNetNS", d->netns_inode);
	}
	add_mounts(argv, d);
}

void criu_page_server_args(struct strv *argv, const char *criu, const char *images, const char *parent, const char *work_dir)
{
	strv_add(argv, criu);
	strv_add(argv, "page-server");
	add_images(argv, images, parent, work_dir);
	add_pages(argv);
}

const char *criu_netns_path(const json_t *config)
{
	json_t *ns;
	size_t i;

	json_array_foreach(json_object_get(json_object_get(config, "linux"), "namespaces"), i, ns)
	{
		if (str_eq(json_string_value(json_object_get(ns, "type")), "network"))
			return json_string_value(json_object_get(ns, "path"));
	}
	return NULL;
}

char *criu_conf(const char *task_dir)
{
	return xasprintf("external mnt[" EMPTY_NAME "]:%s/" CRIU_EMPTY "\n", task_dir);
}

/* ---------------------------------------------------------------- images */

/* In a namespace of its own the first part of the path is the host's; the rest is the container's own. */
static bool move_member(Criu__CgroupMember *m, const char *group)
{
	char *path;

	if (!m->has_cgns_prefix || m->cgns_prefix > strlen(m->path))
		return false;
	path = xasprintf("%s%s", group, m->path + m->cgns_prefix);
	free(m->path);
	m->path = path;
	m->cgns_prefix = (uint32_t)strlen(group);
	return true;
}

static bool move_all(Criu__CgroupImage *image, const char *group)
{
	bool moved = false;

	for (size_t i = 0; i < image->n_sets; i++)
		for (size_t k = 0; k < image->sets[i]->n_ctls; k++)
			moved |= move_member(image->sets[i]->ctls[k], group);
	return moved;
}

static uint32_t u32_at(const void *data, size_t offset)
{
	uint32_t n;

	memcpy(&n, (const char *)data + offset, sizeof(n)); /* of this machine's byte order */
	return n;
}

static Criu__CgroupImage *unpack(const void *data, size_t len)
{
	if (len < HEAD_BYTES || u32_at(data, 0) != MAGIC_COMMON || u32_at(data, 4) != MAGIC_CGROUP ||
	    u32_at(data, 8) != len - HEAD_BYTES)
		return NULL;
	return criu__cgroup_image__unpack(NULL, len - HEAD_BYTES, (const uint8_t *)data + HEAD_BYTES);
}

int criu_cgroup_image(const void *data, size_t len, const char *group, void **ret, size_t *ret_len, struct error *err)
{
	Criu__CgroupImage *image = unpack(data, len);
	uint32_t size;
	char *out;

	if (!image)
		return error_set(err, ERR_DATA_LOSS, "cgroup.img is damaged (%zu bytes)", len);
	if (!move_all(image, group)) {
		criu__cgroup_image__free_unpacked(image, NULL);
		return error_set(err, ERR_DATA_LOSS, "cgroup.img names no container's control group");
	}
	size = (uint32_t)criu__cgroup_image__get_packed_size(image);
	out = xmalloc(HEAD_BYTES + size);
	memcpy(out, data, 8);
	memcpy(out + 8, &size, sizeof(size));
	criu__cgroup_image__pack(image, (uint8_t *)out + HEAD_BYTES);
	criu__cgroup_image__free_unpacked(image, NULL);
	*ret = out;
	*ret_len = HEAD_BYTES + size;
	return 0;
}
