#include "agent/exec/prepare.h"

#include "agent/exec/bundle.h"
#include "agent/exec/caps.h"
#include "agent/exec/cgroup.h"
#include "agent/exec/criu.h"
#include "agent/exec/etcfiles.h"
#include "agent/exec/mounts.h"
#include "agent/exec/rootfs.h"
#include "agent/exec/users.h"
#include "agent/exec/volumes.h"
#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"
#include "common/str.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#define ETC_FILE_MAX (1u << 20)

/* What prepare_container makes inside task_dir. */
static const char *const parts[] = {"upper",	   "work",	     "etc",  "logs", "volumes",
				    "config.json", "container.json", "exit", "oom",  "attach",
				    "ctl",	   "winsz",	     CHECK_FILE};

void container_paths_fini(struct container_paths *p)
{
	free(p->task_dir);
	free(p->run_dir);
	free(p->rootfs);
	free(p->cgroup);
	*p = (struct container_paths){0};
}

/* ---------------------------------------------------------------- small files */

/* Not synced: after a crash of the host nothing of a container is used again. */
static int put_file(const char *dir, const char *name, const char *text, mode_t mode,
		    struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);
	_cleanup_close_ int fd =
		open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	size_t len = strlen(text);

	if (fd < 0)
		return error_set_errno(err, errno, "create %s", path);
	for (size_t done = 0; done < len;) {
		ssize_t n = write(fd, text + done, len - done);

		if (n < 0 && errno != EINTR)
			return error_set_errno(err, errno, "write %s", path);
		done += n > 0 ? (size_t)n : 0;
	}
	return fchmod(fd, mode) < 0 ? error_set_errno(err, errno, "chmod %s", path) : 0;
}

/* Copies of the host's files, so that a container cannot write to the host's. Readable by every
 * user of the container: 0644, behind a directory that is closed on the host. */
static int make_etc(const struct prepare *p, const char *hostname, bool host_network,
		    struct error *err)
{
	_cleanup_free_ char *dir = xasprintf("%s/etc", p->paths->task_dir);
	_cleanup_free_ char *host_hosts = NULL, *host_resolv = NULL;
	_cleanup_free_ char *hosts = NULL, *resolv = NULL, *name = xasprintf("%s\n", hostname);
	struct etcfiles_input in = {
		.task = p->task,
		.hostname = hostname,
		.host_network = host_network,
		.hosts = p->hosts,
		.resolv_conf = p->resolv_conf,
	};

	file_read("/etc/hosts", ETC_FILE_MAX, &host_hosts, NULL, NULL);
	file_read("/etc/resolv.conf", ETC_FILE_MAX, &host_resolv, NULL, NULL);
	in.host_hosts = host_hosts;
	in.host_resolv = host_resolv;
	hosts = etcfiles_hosts(&in);
	resolv = etcfiles_resolv(&in);
	if (put_file(dir, "hosts", hosts, 0644, err) < 0 ||
	    put_file(dir, "resolv.conf", resolv, 0644, err) < 0)
		return -1;
	return put_file(dir, "hostname", name, 0644, err);
}

/* ---------------------------------------------------------------- steps */

static int make_dir(const char *parent, const char *name, mode_t mode, struct error *err)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", parent, name);

	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return error_set_errno(err, errno, "make directory %s", path);
	return chmod(path, mode) < 0 ? error_set_errno(err, errno, "chmod %s", path) : 0;
}

static int make_dirs(const struct container_paths *paths, struct error *err)
{
	if (file_mkdirs(paths->task_dir, 0700, err) < 0 ||
	    file_mkdirs(paths->run_dir, 0700, err) < 0)
		return -1;
	/* The upper directory's mode is that of the container's "/". */
	if (make_dir(paths->task_dir, "upper", 0755, err) < 0 ||
	    make_dir(paths->task_dir, "work", 0700, err) < 0 ||
	    make_dir(paths->task_dir, "etc", 0755, err) < 0 ||
	    make_dir(paths->task_dir, "logs", 0700, err) < 0)
		return -1;
	return make_dir(paths->run_dir, "rootfs", 0755, err);
}

static int mount_rootfs(const struct prepare *p, struct error *err)
{
	_cleanup_free_ char *upper = xasprintf("%s/upper", p->paths->task_dir);
	_cleanup_free_ char *work = xasprintf("%s/work", p->paths->task_dir);

	return mounts_overlay(p->image->layers, p->image->n_layers, upper, work, p->paths->rootfs,
			      err);
}

static int make_criu(const struct prepare *p, struct error *err)
{
	_cleanup_free_ char *text = criu_conf(p->paths->task_dir);

	if (!p->task->spec->live_migrate)
		return 0;
	if (make_dir(p->paths->task_dir, CRIU_EMPTY, 0555, err) < 0)
		return -1;
	return put_file(p->paths->task_dir, CRIU_CONF, text, 0600, err);
}

static int prepare_mounts(const struct mount_plan *plan, int root_fd, struct error *err)
{
	for (size_t i = 0; i < plan->n; i++) {
		const struct mount_item *m = &plan->items[i];

		if (m->type == MOUNT_BIND && access(m->source, F_OK) < 0)
			return error_set(err, ERR_INVALID, "bind source path does not exist: %s",
					 m->source);
		if (m->type == MOUNT_VOLUME &&
		    volumes_prepare(m->source, root_fd, m->target, m->copy_up, err) < 0)
			return error_wrap(err, "volume for %s", m->target);
	}
	return 0;
}

static int write_config(struct prepare *p, const struct user *user, const struct mount_plan *plan,
			const struct template_values *values, const char *hostname,
			struct error *err)
{
	_cleanup_free_ char *etc_dir = xasprintf("%s/etc", p->paths->task_dir);
	_cleanup_free_ char *criu_path = xasprintf("%s/" CRIU_CONF, p->paths->task_dir);
	_cleanup_free_ char *text = NULL, *check_text = NULL;
	struct bundle_input in = {
		.task = p->task,
		.image = p->image,
		.user = user,
		.mounts = plan,
		.values = values,
		.rootfs = p->paths->rootfs,
		.etc_dir = etc_dir,
		.hostname = hostname,
		.init_path = p->init_path,
		.cgroup_path = p->paths->cgroup,
		.criu_conf = p->task->spec->live_migrate ? criu_path : NULL,
		.netns = p->netns,
		.caps_available = caps_available(),
		.cgroup_v2 = p->cgroup_v2,
		.seccomp = p->seccomp,
		.limit_swap = p->limit_swap,
	};
	json_t *config = bundle_build(&in, err), *check;

	if (!config)
		return -1;
	text = bundle_text(config);
	check = bundle_check(config, p->task->spec->container->health);
	check_text = check ? bundle_text(check) : NULL;
	json_decref(check);
	json_decref(config);
	if (check_text && put_file(p->paths->task_dir, CHECK_FILE, check_text, 0600, err) < 0)
		return -1;
	return put_file(p->paths->task_dir, "config.json", text, 0600, err);
}

/* Everything that can be refused without touching the disk comes first. */
static int prepare_steps(struct prepare *p, struct mount_plan *plan, struct user *user,
			 struct error *err)
{
	struct utsname host;
	struct template_values values = {p->task, p->node_id, p->node_hostname, NULL};
	_cleanup_free_ char *hostname = NULL, *workdir = NULL, *anonymous = NULL;
	_cleanup_close_ int root_fd = -1;
	const pb_container_spec *spec = p->task->spec->container;
	bool host_network;

	uname(&host);
	values.arch = host.machine;
	anonymous = xasprintf("%s/volumes", p->paths->task_dir);
	hostname = bundle_hostname(p->task, &values, host.nodename, err);
	workdir = hostname ? bundle_workdir(p->task, p->image, err) : NULL;
	if (!workdir || bundle_host_network(p->task, &host_network, err) < 0 ||
	    bundle_stop_signal(p->task, p->image, &p->ret_stop_signal, err) < 0 ||
	    mounts_plan(spec, p->image->volumes, &values, p->volumes_dir, anonymous, plan, err) < 0)
		return -1;

	if (make_dirs(p->paths, err) < 0 || mount_rootfs(p, err) < 0)
		return -1;
	root_fd = open(p->paths->rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root_fd < 0)
		return error_set_errno(err, errno, "open %s", p->paths->rootfs);

	if (users_resolve(root_fd, bundle_user(p->task, p->image), spec->groups, spec->n_groups,
			  user, err) < 0 ||
	    prepare_mounts(plan, root_fd, err) < 0 ||
	    make_etc(p, hostname, host_network, err) < 0 || make_criu(p, err) < 0 ||
	    rootfs_mkdirs(root_fd, workdir, err) < 0)
		return -1;
	return write_config(p, user, plan, &values, hostname, err);
}

int prepare_container(struct prepare *p, struct error *err)
{
	_cleanup_(mount_plan_fini) struct mount_plan plan = {0};
	_cleanup_free_ struct user *user = xnew(struct user);

	if (!p->task->spec || !p->task->spec->container)
		return error_set(err, ERR_INVALID, "task %.64s has no container spec", p->task->id);
	/* An earlier attempt may have been cut off in the middle. */
	if (prepare_undo(p->paths, err) < 0)
		return -1;
	if (prepare_steps(p, &plan, user, err) < 0) {
		prepare_undo(p->paths, NULL);
		return -1;
	}
	return 0;
}

int prepare_undo(const struct container_paths *paths, struct error *err)
{
	if (mounts_unmount(paths->rootfs, err) < 0 || file_remove_tree(paths->run_dir, err) < 0)
		return -1;
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		_cleanup_free_ char *path = xasprintf("%s/%s", paths->task_dir, parts[i]);

		if (file_remove_tree(path, err) < 0)
			return -1;
	}
	rmdir(paths->task_dir); /* only when nothing else is in it */
	return 0;
}
