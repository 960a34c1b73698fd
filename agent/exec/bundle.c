#include "agent/exec/bundle.h"

#include "agent/exec/bundle_int.h"
#include "agent/exec/caps.h"
#include "agent/exec/signame.h"
#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <strings.h>

#define OCI_VERSION "1.0.2"
#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define HOSTNAME_MAX 64
#define INIT_IN_CONTAINER "/sbin/docker-init"

json_t *bundle_str(const char *s)
{
	json_t *value = json_string(s ? s : "");

	return value ? value : json_string("");
}

/* ---------------------------------------------------------------- what others need to know first
 */

int bundle_host_network(const pb_task *task, bool *ret, struct error *err)
{
	const char *network = task->spec->network;

	if (!str_eq(network, "host") && !str_eq(network, "none") && !str_eq(network, "bridge") &&
	    !str_empty(network))
		return error_set(err, ERR_INVALID,
				 "network \"%.64s\" (accepted: host, none, bridge)", network);
	*ret = str_eq(network, "host");
	return 0;
}

char *bundle_hostname(const pb_task *task, const struct template_values *values, const char *host,
		      struct error *err)
{
	_cleanup_free_ char *name = NULL;
	bool host_network;

	if (bundle_host_network(task, &host_network, err) < 0)
		return NULL;
	if (!str_empty(task->spec->container->hostname))
		name = template_expand(task->spec->container->hostname, values, err);
	else if (host_network)
		name = xstrdup(host);
	else
		name = xstrndup(task->id, 12);
	if (!name)
		return NULL;
	if (strlen(name) > HOSTNAME_MAX || strpbrk(name, " \t\n/")) {
		error_set(err, ERR_INVALID,
			  "hostname \"%.100s\" (accepted: at most %d characters, no spaces or "
			  "slashes)",
			  name, HOSTNAME_MAX);
		return NULL;
	}
	return TAKE_PTR(name);
}

const char *bundle_user(const pb_task *task, const struct image *image)
{
	if (!str_empty(task->spec->container->user))
		return task->spec->container->user;
	return image->user ? image->user : "";
}

char *bundle_workdir(const pb_task *task, const struct image *image, struct error *err)
{
	const char *dir = task->spec->container->dir;
	char *clean;

	if (str_empty(dir))
		dir = str_empty(image->dir) ? "/" : image->dir;
	clean = mounts_clean_path(dir);
	if (!clean)
		error_set(err, ERR_INVALID,
			  "working directory \"%.200s\" (accepted: an absolute path)", dir);
	return clean;
}

int bundle_stop_signal(const pb_task *task, const struct image *image, int *ret_signum,
		       struct error *err)
{
	if (!str_empty(task->spec->container->stop_signal))
		return signame_parse(task->spec->container->stop_signal, ret_signum, err);
	if (!str_empty(image->stop_signal))
		return signame_parse(image->stop_signal, ret_signum, err);
	*ret_signum = SIGTERM;
	return 0;
}

/* ---------------------------------------------------------------- process */

static void add_all(json_t *list, char *const *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		json_array_append_new(list, bundle_str(v[i]));
}

static void add_vector(json_t *list, char *const *v)
{
	for (; v && *v; v++)
		json_array_append_new(list, bundle_str(*v));
}

/* Docker's rule: a command of the spec replaces the image's entrypoint and drops the image's cmd.
 */
static json_t *build_args(const struct bundle_input *in, struct error *err)
{
	const pb_container_spec *spec = in->task->spec->container;
	json_t *args = json_array();

	if (spec->init) {
		json_array_append_new(args, json_string(INIT_IN_CONTAINER));
		json_array_append_new(args, json_string("--"));
	}
	if (spec->n_command)
		add_all(args, spec->command, spec->n_command);
	else
		add_vector(args, in->image->entrypoint);
	if (spec->n_args)
		add_all(args, spec->args, spec->n_args);
	else if (!spec->n_command)
		add_vector(args, in->image->cmd);

	if (json_array_size(args) == (spec->init ? 2 : 0)) {
		json_decref(args);
		error_set(err, ERR_INVALID,
			  "no command: neither the service nor the image names one");
		return NULL;
	}
	return args;
}

/* Environment as an ordered set: a later value replaces an earlier one, a bare name removes it
 * (Docker). */
struct env {
	struct strv vars;
};

static size_t env_find(const struct env *env, const char *var, size_t name_len)
{
	for (size_t i = 0; i < env->vars.n; i++)
		if (strncmp(env->vars.v[i], var, name_len) == 0 && env->vars.v[i][name_len] == '=')
			return i;
	return env->vars.n;
}

static void env_put(struct env *env, const char *var)
{
	size_t name_len = strcspn(var, "="), i = env_find(env, var, name_len);

	if (name_len == 0)
		return;
	if (!var[name_len]) {
		if (i < env->vars.n) {
			free(env->vars.v[i]);
			memmove(&env->vars.v[i], &env->vars.v[i + 1],
				(env->vars.n - i) * sizeof(char *));
			env->vars.n--;
		}
	} else if (i < env->vars.n) {
		free(env->vars.v[i]);
		env->vars.v[i] = xstrdup(var);
	} else {
		strv_add(&env->vars, var);
	}
}

static void env_put_pair(struct env *env, const char *name, const char *value)
{
	_cleanup_free_ char *var = xasprintf("%s=%s", name, value);

	env_put(env, var);
}

static json_t *build_env(const struct bundle_input *in, struct error *err)
{
	const pb_container_spec *spec = in->task->spec->container;
	struct env env = {0};
	json_t *list = NULL;

	env_put_pair(&env, "PATH", DEFAULT_PATH);
	env_put_pair(&env, "HOSTNAME", in->hostname);
	if (spec->tty)
		env_put_pair(&env, "TERM", "xterm");
	env_put_pair(&env, "HOME", in->user->home);
	for (char *const *v = in->image->env; v && *v; v++)
		env_put(&env, *v);
	for (size_t i = 0; i < spec->n_env; i++) {
		_cleanup_free_ char *var = template_expand(spec->env[i], in->values, err);

		if (!var) {
			error_wrap(err, "env");
			goto out;
		}
		env_put(&env, var);
	}
	list = json_array();
	add_all(list, env.vars.v, env.vars.n);
out:
	strv_fini(&env.vars);
	return list;
}

static json_t *build_user(const struct user *user)
{
	json_t *groups = json_array();

	for (size_t i = 0; i < user->n_groups; i++)
		json_array_append_new(groups, json_integer(user->groups[i]));
	return json_pack("{s:I,s:I,s:o}", "uid", (json_int_t)user->uid, "gid",
			 (json_int_t)user->gid, "additionalGids", groups);
}

/* Inheritable and ambient stay empty: a program of another user must not inherit any. */
static json_t *build_caps(uint64_t caps)
{
	json_t *list = json_array(), *object = json_object();

	for (unsigned i = 0; caps_name(i); i++)
		if (caps & UINT64_C(1) << i)
			json_array_append_new(list, json_string(caps_name(i)));
	json_object_set(object, "bounding", list);
	json_object_set(object, "effective", list);
	json_object_set_new(object, "permitted", list);
	return object;
}

/* "Unlimited" is 2^64-1, more than jansson's integers hold: it is -1 until bundle_text() writes it.
 */
static json_int_t limit_value(int64_t value)
{
	return value < 0 ? -1 : value;
}

static json_t *build_rlimits(const pb_container_spec *spec, struct error *err)
{
	static const char *const names[] = {
		"as",	"core",	  "cpu",   "data", "fsize",  "locks",  "memlock",    "msgqueue",
		"nice", "nofile", "nproc", "rss",  "rtprio", "rttime", "sigpending", "stack"};
	json_t *list = json_array();

	for (size_t i = 0; i < spec->n_ulimits; i++) {
		const pb_ulimit *u = spec->ulimits[i];
		char type[32] = "RLIMIT_";
		size_t k = 0;

		while (k < ARRAY_SIZE(names) && strcasecmp(names[k], u->name) != 0)
			k++;
		if (k == ARRAY_SIZE(names)) {
			error_set(err, ERR_INVALID,
				  "ulimit \"%.32s\" (accepted: as, core, cpu, data, fsize, locks, "
				  "memlock, msgqueue, "
				  "nice, nofile, nproc, rss, rtprio, rttime, sigpending, stack)",
				  u->name);
			goto fail;
		}
		if (u->hard >= 0 && (u->soft < 0 || u->soft > u->hard)) {
			error_set(err, ERR_INVALID,
				  "ulimit %s: soft limit %" PRId64
				  " is above the hard limit %" PRId64,
				  names[k], u->soft, u->hard);
			goto fail;
		}
		for (size_t j = 0; names[k][j]; j++)
			type[7 + j] = (char)(names[k][j] - 'a' + 'A');
		json_array_append_new(list, json_pack("{s:s,s:I,s:I}", "type", type, "soft",
						      limit_value(u->soft), "hard",
						      limit_value(u->hard)));
	}
	return list;
fail:
	json_decref(list);
	return NULL;
}

static json_t *build_process(const struct bundle_input *in, uint64_t caps, struct error *err)
{
	const pb_container_spec *spec = in->task->spec->container;
	_cleanup_free_ char *cwd = bundle_workdir(in->task, in->image, err);
	json_t *args = NULL, *env = NULL, *rlimits = NULL, *process;

	if (!cwd || !(args = build_args(in, err)) || !(env = build_env(in, err)) ||
	    !(rlimits = build_rlimits(spec, err))) {
		json_decref(args);
		json_decref(env);
		return NULL;
	}
	process = json_pack("{s:b,s:o,s:o,s:o,s:o,s:o,s:b,s:o}", "terminal", spec->tty, "user",
			    build_user(in->user), "args", args, "env", env, "cwd", bundle_str(cwd),
			    "capabilities", build_caps(caps), "noNewPrivileges", true, "rlimits",
			    rlimits);
	if (spec->oom_score_adj)
		json_object_set_new(process, "oomScoreAdj", json_integer(spec->oom_score_adj));
	return process;
}

/* ---------------------------------------------------------------- all */

static int check(const struct bundle_input *in, struct error *err)
{
	const pb_container_spec *spec = in->task->spec->container;

	if (spec->oom_score_adj < -1000 || spec->oom_score_adj > 1000)
		return error_set(err, ERR_INVALID, "oom-score-adj %d (accepted: -1000 to 1000)",
				 spec->oom_score_adj);
	if (spec->init && !in->init_path)
		return error_set(
			err, ERR_INVALID,
			"init: no small init program on this node (install tini or catatonit)");
	return 0;
}

json_t *bundle_build(const struct bundle_input *in, struct error *err)
{
	const pb_container_spec *spec = in->task->spec->container;
	json_t *process = NULL, *kernel, *config;
	uint64_t caps;
	bool host_network;

	if (check(in, err) < 0 || bundle_host_network(in->task, &host_network, err) < 0 ||
	    caps_build(spec->cap_add, spec->n_cap_add, spec->cap_drop, spec->n_cap_drop,
		       in->caps_available, &caps, err) < 0)
		return NULL;
	process = build_process(in, caps, err);
	if (!process)
		return NULL;
	kernel = bundle_linux(in, host_network, caps, err);
	if (!kernel) {
		json_decref(process);
		return NULL;
	}
	config = json_pack("{s:s,s:o,s:{s:o,s:b},s:o,s:o,s:o}", "ociVersion", OCI_VERSION, "process",
			   process, "root", "path", bundle_str(in->rootfs), "readonly",
			   spec->read_only, "hostname", bundle_str(in->hostname), "mounts",
			   bundle_mounts(in), "linux", kernel);
	if (in->criu_conf)
		json_object_set_new(config, "annotations",
				    json_pack("{s:o}", "org.criu.config", bundle_str(in->criu_conf)));
	return config;
}

json_t *bundle_check(const json_t *config, const pb_health_check *check)
{
	static const char *const shell[] = {"/bin/sh", "-c"};
	json_t *process, *args;

	if (!check || check->n_test < 2)
		return NULL;
	process = json_copy(json_object_get(config, "process"));
	args = json_array();
	for (size_t i = 0; str_eq(check->test[0], "CMD-SHELL") && i < ARRAY_SIZE(shell); i++)
		json_array_append_new(args, json_string(shell[i]));
	add_all(args, check->test + 1, check->n_test - 1);
	json_object_set_new(process, "args", args);
	json_object_set_new(process, "terminal", json_false());
	return process;
}

static void replace_all(struct strbuf *out, const char *text, const char *from, const char *to)
{
	const char *hit;

	while ((hit = strstr(text, from))) {
		strbuf_add(out, text, (size_t)(hit - text));
		strbuf_puts(out, to);
		text = hit + strlen(from);
	}
	strbuf_puts(out, text);
}

char *bundle_text(const json_t *config)
{
	_cleanup_free_ char *text = json_dumps(config, JSON_COMPACT), *soft = NULL;
	struct strbuf out = {0};

	/* Inside a string the quotes would be escaped, so these can only be members. */
	replace_all(&out, text, "\"soft\":-1", "\"soft\":18446744073709551615");
	soft = strbuf_take(&out);
	replace_all(&out, soft, "\"hard\":-1", "\"hard\":18446744073709551615");
	return strbuf_take(&out);
}
