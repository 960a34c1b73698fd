/* What a container sees: user, environment, mounts, volumes, files, privileges. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/exec_fixture.h"

#include "agent/net/net.h"

#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>

static struct bed bed;

static int setup(void **state)
{
	bed_open(&bed);
	assert_string_equal(bed.err.msg, "");
	return 0;
}

static int teardown(void **state)
{
	bed_close(&bed);
	return 0;
}

static pb_container_spec *spec_of(struct box *x)
{
	return x->task->spec->container;
}

static void add_env(struct box *x, const char *var)
{
	pb_strs_add(&spec_of(x)->n_env, &spec_of(x)->env, var);
}

static pb_mount *add_mount(struct box *x, int type, const char *source, const char *target)
{
	pb_mount *m = pb_new(&skein__mount__descriptor);

	m->type = (Skein__MountType)type;
	pb_set_str(&m->source, source);
	pb_set_str(&m->target, target);
	pb_msgs_add(&spec_of(x)->n_mounts, &spec_of(x)->mounts, m);
	return m;
}

static void user_groups_and_home(void **state)
{
	struct box x;

	box_init(&x, &bed, "id -u; id -g; id -G; echo $HOME; pwd");
	pb_set_str(&spec_of(&x)->user, "web");
	pb_set_str(&spec_of(&x)->dir, "/srv/new/dir");
	pb_strs_add(&spec_of(&x)->n_groups, &spec_of(&x)->groups, "77");
	box_expect(&x, "33\n34\n34 50 77\n/srv/web\n/srv/new/dir\n");
	box_fini(&x);
}

static void env_and_templates(void **state)
{
	char *image_env[] = {"FROM=image", "BOTH=image", "GONE=x", NULL};
	struct box x;

	bed.entry.image.env = image_env;
	box_init(&x, &bed,
		 "echo $FROM $BOTH [$GONE] $WHO $HOSTNAME; hostname; cat /etc/hostname; echo "
		 "$PATH; echo [$TERM]");
	add_env(&x, "BOTH=spec");
	add_env(&x, "GONE");
	add_env(&x, "WHO={{.Service.Name}}.{{.Task.Slot}}@{{.Node.Hostname}}");
	pb_set_str(&spec_of(&x)->hostname, "h-{{.Task.Slot}}");
	box_expect(&x, "image spec [] web.1@host-a h-1\nh-1\nh-1\n"
		       "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n[]\n");
	bed.entry.image.env = NULL;
	box_fini(&x);
}

static void default_hostname_is_the_id(void **state)
{
	_cleanup_free_ char *expected = NULL;
	struct box x;

	box_init(&x, &bed, "hostname");
	expected = xasprintf("%.12s\n", x.task->id);
	box_expect(&x, expected);
	box_fini(&x);
}

static void entrypoint_and_cmd_of_the_image(void **state)
{
	char *entrypoint[] = {"/bin/echo", "entry", NULL}, *cmd[] = {"cmd", NULL};
	struct box x;

	bed.entry.image.entrypoint = entrypoint;
	bed.entry.image.cmd = cmd;
	box_init(&x, &bed, "");
	while (spec_of(&x)->n_command)
		pb_strs_del(&spec_of(&x)->n_command, &spec_of(&x)->command, 0);
	while (spec_of(&x)->n_args)
		pb_strs_del(&spec_of(&x)->n_args, &spec_of(&x)->args, 0);
	box_expect(&x, "entry cmd\n");

	x.exited = false;
	pb_strs_add(&spec_of(&x)->n_args, &spec_of(&x)->args, "args");
	box_expect(&x, "entry args\n");
	bed.entry.image.entrypoint = bed.entry.image.cmd = NULL;
	box_fini(&x);
}

static void own_network_has_only_lo(void **state)
{
	struct box x;

	box_init(&x, &bed, "ls /sys/class/net; ip addr show lo | grep -c 'inet 127.0.0.1/8'");
	box_expect(&x, "lo\n1\n");
	box_fini(&x);
}

struct space {
	char *path;
	char link[64]; /* what /proc/self/ns/net says inside */
};

/* A namespace that is held by nothing but its file. */
static void *make_space(void *data)
{
	struct space *s = data;

	assert_int_equal(unshare(CLONE_NEWNET), 0);
	assert_true(readlink("/proc/thread-self/ns/net", s->link, sizeof(s->link) - 1) > 0);
	assert_int_equal(mount("/proc/thread-self/ns/net", s->path, NULL, MS_BIND, NULL), 0);
	return NULL;
}

static void a_network_that_is_there_is_joined(void **state)
{
	_cleanup_free_ char *expected = NULL;
	struct space space = {.path = xasprintf("%s/netns", bed.dir)};
	struct net_attachment network = {.netns = space.path, .resolv_conf = "nameserver 127.0.0.11\n", .hosts = ""};
	pb_attachment *a = pb_new(&skein__network_attachment__descriptor);
	pthread_t thread;
	struct box x;

	bed_write(bed.dir, "netns", "");
	assert_int_equal(pthread_create(&thread, NULL, make_space, &space), 0);
	pthread_join(thread, NULL);
	box_init(&x, &bed, "readlink /proc/self/ns/net; cat /etc/resolv.conf; grep -E 'box|db' /etc/hosts;"
			   "cat /proc/sys/net/ipv4/ip_default_ttl /proc/sys/net/ipv4/ip_unprivileged_port_start");
	x.network = &network;
	pb_set_str(&x.task->spec->network, "");
	pb_set_str(&spec_of(&x)->hostname, "box");
	pb_strs_add(&spec_of(&x)->n_hosts, &spec_of(&x)->hosts, "10.9.9.9 db");
	pb_kv_set(&spec_of(&x)->n_sysctls, &spec_of(&x)->sysctls, "net.ipv4.ip_default_ttl", "77");
	pb_set_str(&a->ipv4, "10.0.1.5/24");
	pb_msgs_add(&x.task->n_networks, &x.task->networks, a);
	expected = xasprintf("%s\nnameserver 127.0.0.11\n10.0.1.5\tbox\n10.9.9.9 db\n77\n0\n", space.link);
	box_expect(&x, expected);
	box_fini(&x);
	assert_int_equal(umount2(space.path, MNT_DETACH), 0);
	free(space.path);
}

static void host_network_is_the_hosts(void **state)
{
	_cleanup_free_ char *expected = NULL;
	char link[64] = "";
	struct box x;

	assert_true(readlink("/proc/self/ns/net", link, sizeof(link) - 1) > 0);
	expected = xasprintf("%s\n", link);
	box_init(&x, &bed, "readlink /proc/self/ns/net");
	pb_set_str(&x.task->spec->network, "host");
	box_expect(&x, expected);
	box_fini(&x);
}

static void named_volume_is_filled_and_kept(void **state)
{
	struct box x;

	/* The first gets the image's content with its mode, the second finds what the first wrote.
	 */
	box_init(&x, &bed, "stat -c %a /data; cat /data/seed; echo more > /data/mine");
	add_mount(&x, MOUNT_VOLUME, "vol-{{.Service.Name}}", "/data");
	box_expect(&x, "750\nfrom the image\n");
	box_fini(&x);

	box_init(&x, &bed, "cat /mnt/seed /mnt/mine");
	add_mount(&x, MOUNT_VOLUME, "vol-web", "/mnt");
	box_expect(&x, "from the image\nmore\n");
	box_fini(&x);

	box_init(&x, &bed, "ls /data");
	add_mount(&x, MOUNT_VOLUME, "other", "/data")->volume_nocopy = true;
	box_expect(&x, "");
	box_fini(&x);
}

static void image_volume_goes_with_the_container(void **state)
{
	char *volumes[] = {"/data", NULL};
	struct box x;

	bed.entry.image.volumes = volumes;
	box_init(&x, &bed, "cat /data/seed; grep -c ' /data ' /proc/self/mountinfo");
	box_expect(&x, "from the image\n1\n");
	bed.entry.image.volumes = NULL;
	box_fini(&x);
}

static void bind_and_tmpfs(void **state)
{
	_cleanup_free_ char *source = xasprintf("%s/shared", bed.dir);
	struct box x;

	bed_mkdir(bed.dir, "shared", 0755);
	bed_write(source, "note", "bound\n");
	box_init(&x, &bed,
		 "cat /b/ro/note; touch /b/ro/x 2>/dev/null || echo read-only; touch /t/y && stat "
		 "-c %a /t; "
		 "grep ' /t ' /proc/self/mountinfo | grep -o size=[0-9]*k");
	add_mount(&x, MOUNT_BIND, source, "/b/ro")->read_only = true;
	add_mount(&x, MOUNT_TMPFS, "", "/t")->tmpfs_size_bytes = 1 << 20;
	spec_of(&x)->mounts[1]->tmpfs_mode = 0750;
	box_expect(&x, "bound\nread-only\n750\nsize=1024k\n");
	box_fini(&x);
}

static void read_only_root(void **state)
{
	struct box x;

	box_init(&x, &bed, "touch /x 2>/dev/null || echo ro; touch /dev/shm/y && echo shm");
	spec_of(&x)->read_only = true;
	box_expect(&x, "ro\nshm\n");
	box_fini(&x);
}

static void privileges_are_docker_s(void **state)
{
	struct box x;

	box_init(&x, &bed,
		 "grep -E 'CapBnd|CapInh|NoNewPrivs|^Seccomp:' /proc/self/status | tr -d '\\t' ;"
		 "mount -t tmpfs none /mnt 2>/dev/null || echo no mount; wc -c </proc/interrupts;"
		 "echo 1 2>/dev/null > /proc/sys/kernel/panic || echo no sysctl");
	box_expect(&x, "CapInh:0000000000000000\nCapBnd:00000000a80425fb\nNoNewPrivs:1\nSeccomp:2\n"
		       "no mount\n0\nno sysctl\n");
	box_fini(&x);
}

static void capabilities_change(void **state)
{
	struct box x;

	box_init(&x, &bed, "grep CapEff /proc/self/status");
	pb_strs_add(&spec_of(&x)->n_cap_drop, &spec_of(&x)->cap_drop, "ALL");
	pb_strs_add(&spec_of(&x)->n_cap_add, &spec_of(&x)->cap_add, "net_bind_service");
	box_expect(&x, "CapEff:\t0000000000000400\n");
	box_fini(&x);
}

static void terminal(void **state)
{
	struct box x;

	/* A terminal ends lines with CR LF. */
	box_init(&x, &bed, "tty >/dev/null && echo tty $TERM");
	spec_of(&x)->tty = true;
	box_expect(&x, "tty xterm\r\n");
	box_fini(&x);
}

static void init_reaps(void **state)
{
	struct box x;

	box_init(&x, &bed, "cat /proc/1/comm; [ $$ -gt 1 ] && echo child; exit 9");
	spec_of(&x)->init = true;
	box_expect(&x, "docker-init\nchild\n");
	assert_int_equal(x.exit.exit_code, 9);
	box_fini(&x);
}

static void ulimits_and_sysctls(void **state)
{
	pb_ulimit *u = pb_new(&skein__ulimit__descriptor),
		  *core = pb_new(&skein__ulimit__descriptor);
	struct box x;

	box_init(&x, &bed,
		 "ulimit -n; ulimit -c; cat /proc/sys/kernel/msgmax /proc/sys/net/core/somaxconn");
	pb_set_str(&u->name, "nofile");
	u->soft = 100;
	u->hard = 200;
	pb_msgs_add(&spec_of(&x)->n_ulimits, &spec_of(&x)->ulimits, u);
	pb_set_str(&core->name, "core");
	core->soft = core->hard = -1;
	pb_msgs_add(&spec_of(&x)->n_ulimits, &spec_of(&x)->ulimits, core);
	pb_kv_set(&spec_of(&x)->n_sysctls, &spec_of(&x)->sysctls, "kernel.msgmax", "4096");
	pb_kv_set(&spec_of(&x)->n_sysctls, &spec_of(&x)->sysctls, "net.core.somaxconn", "77");
	box_expect(&x, "100\nunlimited\n4096\n77\n");
	box_fini(&x);
}

static void many_layers(void **state)
{
	enum { N = 120 };
	char **two = bed.entry.image.layers, *many[N];
	struct box x;

	/* More than fits into mount(2)'s page as absolute paths. */
	for (int i = 0; i < N; i++) {
		many[i] = i < 2 ? two[i] : xasprintf("%s/layers/%064d", bed.dir, i);
		if (i >= 2)
			bed_mkdir(many[i], "", 0755);
	}
	bed_write(many[N - 1], "last", "topmost\n");
	bed.entry.image.layers = many;
	bed.entry.image.n_layers = N;
	box_init(&x, &bed, "cat /last /data/seed");
	box_expect(&x, "topmost\nfrom the image\n");
	bed.entry.image.layers = two;
	bed.entry.image.n_layers = 2;
	for (int i = 2; i < N; i++)
		free(many[i]);
	box_fini(&x);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(user_groups_and_home),
		cmocka_unit_test(env_and_templates),
		cmocka_unit_test(default_hostname_is_the_id),
		cmocka_unit_test(entrypoint_and_cmd_of_the_image),
		cmocka_unit_test(own_network_has_only_lo),
		cmocka_unit_test(a_network_that_is_there_is_joined),
		cmocka_unit_test(host_network_is_the_hosts),
		cmocka_unit_test(named_volume_is_filled_and_kept),
		cmocka_unit_test(image_volume_goes_with_the_container),
		cmocka_unit_test(bind_and_tmpfs),
		cmocka_unit_test(read_only_root),
		cmocka_unit_test(privileges_are_docker_s),
		cmocka_unit_test(capabilities_change),
		cmocka_unit_test(terminal),
		cmocka_unit_test(init_reaps),
		cmocka_unit_test(ulimits_and_sysctls),
		cmocka_unit_test(many_layers),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
