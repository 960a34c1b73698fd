/* service create, update, scale, rollback, rm. */
#include "auth.h"
#include "conn.h"
#include "converge.h"
#include "ctl.h"
#include "service_flags.h"
#include "values.h"

#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"
#include "proto/pb.h"

#include <string.h>

#define CONFLICT_RETRIES 10 /* an update in progress writes its service several times in a row */
#define ENV_FILE_MAX_BYTES (1u << 20)
#define REPLICAS_MAX UINT64_C(100000) /* of the manager */

static void print_warnings(char *const *warnings, size_t n)
{
	for (size_t i = 0; i < n; i++)
		ctl_warn("%s", warnings[i]);
}

static char *env_lookup(const char *name)
{
	return getenv(name);
}

static int read_env_files(const struct strv *paths, struct strv *texts, struct error *err)
{
	for (size_t i = 0; i < paths->n; i++) {
		_cleanup_free_ char *text = NULL;
		size_t len;

		if (file_read(paths->v[i], ENV_FILE_MAX_BYTES, &text, &len, err) < 0)
			return error_wrap(err, "--env-file");
		if (memchr(text, '\0', len))
			return error_set(err, ERR_INVALID, "--env-file %s: NUL bytes are not text",
					 paths->v[i]);
		strv_add(texts, text);
	}
	return 0;
}

static void wipe_auth(char **auth)
{
	if (*auth)
		mem_wipe(*auth, strlen(*auth));
	free(*auth);
}

/* ---------------------------------------------------------------- create */

static enum ctl_exit create_and_wait(struct ctl *ctl, const pb_service_spec *spec,
				     const struct service_flags *f, struct error *err)
{
	Skein__CreateServiceRequest request = SKEIN__CREATE_SERVICE_REQUEST__INIT;
	_cleanup_pb_ Skein__ServiceResponse *reply = NULL;
	struct progress_setup setup = {.verify_ns = f->verify};

	request.spec = (pb_service_spec *)spec;
	if (conn_call(ctl_conn(ctl), CONN_MANAGER, "CreateService", &request, CONN_TIMEOUT_MS,
		      &reply, err) < 0) {
		spec_name_flag(service_create_options, err);
		return CTL_FAILED;
	}
	if (!reply->service || !reply->service->spec) {
		error_set(err, ERR_INTERNAL, "the manager's answer holds no service");
		return CTL_FAILED;
	}
	print_warnings(reply->warnings, reply->n_warnings);
	puts(reply->service->id);
	fflush(stdout);
	if (f->detach)
		return CTL_OK;
	return converge_wait(ctl, reply->service->id, reply->service->spec->name, &setup, f->quiet,
			     err);
}

static enum ctl_exit run_create(struct ctl *ctl, const struct verb *verb, void *flags,
				const struct option_seen *seen, const struct strv *args,
				struct error *err)
{
	const struct service_flags *f = flags;
	_cleanup_(wipe_auth) char *auth = NULL;
	_cleanup_strv_ struct strv texts = {0};
	_cleanup_pb_ pb_service_spec *spec = NULL;
	struct spec_input input = {.getenv = env_lookup, .env_file_texts = &texts};

	if (read_env_files(&f->env_file, &texts, err) < 0)
		return CTL_USAGE;
	if (f->with_registry_auth && !(auth = auth_for_image(args->v[0], err))) {
		error_wrap(err, "--with-registry-auth");
		return CTL_USAGE;
	}
	input.registry_auth = auth;
	spec = spec_build(f, seen, args, &input, err);
	return spec ? create_and_wait(ctl, spec, f, err) : CTL_USAGE;
}

/* ---------------------------------------------------------------- read, change, write */

static Skein__ServiceResponse *get_service(struct ctl *ctl, const char *ref, struct error *err)
{
	Skein__RefRequest request = SKEIN__REF_REQUEST__INIT;
	Skein__ServiceResponse *reply = NULL;

	request.ref = (char *)ref;
	if (conn_call(ctl_conn(ctl), CONN_MANAGER, "GetService", &request, CONN_TIMEOUT_MS, &reply,
		      err) < 0)
		return NULL;
	if (!reply->service || !reply->service->spec) {
		pb_free(reply);
		error_set(err, ERR_INTERNAL, "the manager's answer holds no service");
		return NULL;
	}
	return reply;
}

/* One change of a service, and what is needed to wait for it. */
struct change {
	int (*edit)(struct ctl *ctl, struct change *change, pb_service *service, struct error *err);
	const struct service_flags *flags;
	const struct option_seen *seen;
	uint64_t replicas;
	bool rollback;
	bool usage; /* edit failed because of the flags */
	struct progress_setup setup;
	char *id, *name;
};

static void change_fini(struct change *change)
{
	free(change->id);
	free(change->name);
}

static void note_change(struct change *change, const pb_service *before, const pb_service *after)
{
	change->setup.new_tasks = before->spec_version != after->spec_version;
	change->setup.rollback = change->rollback;
	change->setup.update_state = before->update ? (int)before->update->state : 0;
	change->setup.update_started_at = before->update ? before->update->started_at : 0;
	change->id = xstrdup(after->id);
	change->name = xstrdup(after->spec ? after->spec->name : after->id);
}

/* Somebody else may write between our read and our write: then read again. */
static int apply_change(struct ctl *ctl, const char *ref, struct change *change, struct error *err)
{
	for (unsigned attempt = 0;; attempt++) {
		_cleanup_pb_ Skein__ServiceResponse *before = get_service(ctl, ref, err),
						    *after = NULL;
		Skein__UpdateServiceRequest request = SKEIN__UPDATE_SERVICE_REQUEST__INIT;
		_cleanup_pb_ pb_service *edited = before ? pb_dup(before->service) : NULL;

		if (!before || (change->edit && change->edit(ctl, change, edited, err) < 0))
			return -1;
		request.ref = before->service->id;
		request.revision = before->service->meta ? before->service->meta->revision : 0;
		request.rollback = change->rollback;
		request.spec = edited->spec;
		if (conn_call(ctl_conn(ctl), CONN_MANAGER, "UpdateService", &request,
			      CONN_TIMEOUT_MS, &after, err) == 0) {
			print_warnings(after->warnings, after->n_warnings);
			note_change(change, before->service, after->service ?: before->service);
			return 0;
		}
		if (err->code != ERR_CONFLICT || attempt >= CONFLICT_RETRIES) {
			spec_name_flag(service_update_options, err);
			return -1;
		}
	}
}

/* ---------------------------------------------------------------- update, rollback */

static int edit_update(struct ctl *ctl, struct change *change, pb_service *service,
		       struct error *err)
{
	const struct service_flags *f = change->flags;
	_cleanup_(wipe_auth) char *auth = NULL;
	struct spec_input input = {.getenv = env_lookup};
	const char *image = service->spec->task && service->spec->task->container
				    ? service->spec->task->container->image
				    : "";

	change->usage = true;
	if (f->with_registry_auth && !(auth = auth_for_image(f->image ?: image, err)))
		return error_wrap(err, "--with-registry-auth");
	input.registry_auth = auth;
	if (spec_edit(service->spec, f, change->seen, &input, err) < 0)
		return -1;
	change->usage = false;
	return 0;
}

static enum ctl_exit update_and_wait(struct ctl *ctl, const char *ref, struct change *change,
				     const struct service_flags *f, struct error *err)
{
	if (apply_change(ctl, ref, change, err) < 0)
		return change->usage ? CTL_USAGE : CTL_FAILED;
	puts(ref);
	fflush(stdout);
	if (f->detach)
		return CTL_OK;
	change->setup.verify = true;
	change->setup.verify_ns = f->verify;
	return converge_wait(ctl, change->id, change->name, &change->setup, f->quiet, err);
}

/* Flags that change nothing by themselves do not make an update. */
static bool gives_nothing(const struct option_seen *seen)
{
	static const char *const silent[] = {"help", "detach", "quiet", "verify", NULL};

	for (const struct option_def *def = service_update_options; def->name; def++) {
		bool is_silent = false;

		for (const char *const *s = silent; *s; s++)
			is_silent = is_silent || str_eq(def->name, *s);
		if (!is_silent && option_was_seen(service_update_options, seen, def->name))
			return false;
	}
	return true;
}

/* Mistakes in the flags are found before anybody is asked. */
static int check_flags(const struct service_flags *f, const struct option_seen *seen,
		       struct error *err)
{
	_cleanup_pb_ pb_service_spec *trial = pb_new(&skein__service_spec__descriptor);
	struct spec_input input = {.getenv = env_lookup};

	pb_service_spec_defaults(trial);
	return spec_edit(trial, f, seen, &input, err);
}

static enum ctl_exit run_update(struct ctl *ctl, const struct verb *verb, void *flags,
				const struct option_seen *seen, const struct strv *args,
				struct error *err)
{
	const struct service_flags *f = flags;
	_cleanup_(change_fini) struct change change = {.edit = f->rollback_now ? NULL : edit_update,
						       .flags = f,
						       .seen = seen,
						       .rollback = f->rollback_now};

	if (gives_nothing(seen))
		return ctl_usage(
			err,
			"nothing to change: give at least one flag, such as --image or --force");
	if (check_flags(f, seen, err) < 0)
		return CTL_USAGE;
	return update_and_wait(ctl, args->v[0], &change, f, err);
}

static enum ctl_exit run_rollback(struct ctl *ctl, const struct verb *verb, void *flags,
				  const struct option_seen *seen, const struct strv *args,
				  struct error *err)
{
	_cleanup_(change_fini) struct change change = {.rollback = true};

	return update_and_wait(ctl, args->v[0], &change, flags, err);
}

/* ---------------------------------------------------------------- scale, rm */

static int edit_scale(struct ctl *ctl, struct change *change, pb_service *service,
		      struct error *err)
{
	if (service->spec->mode_case != SKEIN__SERVICE_SPEC__MODE_REPLICATED)
		return error_set(
			err, ERR_PRECONDITION,
			"service %s is global: it has one task on every node and cannot be scaled",
			service->spec->name);
	service->spec->replicated->replicas = change->replicas;
	return 0;
}

static char *parse_scale(const char *text, uint64_t *ret_replicas, struct error *err)
{
	const char *equals = strrchr(text, '=');

	if (!equals || equals == text || str_parse_u64(equals + 1, ret_replicas, NULL) < 0 ||
	    *ret_replicas > REPLICAS_MAX) {
		error_set(err, ERR_INVALID,
			  "\"%.200s\": expected SERVICE=REPLICAS with a number from 0 to %llu",
			  text, (unsigned long long)REPLICAS_MAX);
		return NULL;
	}
	return xstrndup(text, (size_t)(equals - text));
}

static enum ctl_exit run_scale(struct ctl *ctl, const struct verb *verb, void *flags,
			       const struct option_seen *seen, const struct strv *args,
			       struct error *err)
{
	const struct service_flags *f = flags;
	_cleanup_free_ struct change *changes = xcalloc(args->n, sizeof(*changes));
	enum ctl_exit status = CTL_OK;
	uint64_t replicas;

	/* all arguments are read before the first service is touched */
	for (size_t i = 0; i < args->n; i++) {
		_cleanup_free_ char *ref = parse_scale(args->v[i], &replicas, err);

		if (!ref)
			return CTL_USAGE;
	}
	for (size_t i = 0; i < args->n && status == CTL_OK; i++) {
		_cleanup_free_ char *ref = parse_scale(args->v[i], &changes[i].replicas, err);

		changes[i].edit = edit_scale;
		if (apply_change(ctl, ref, &changes[i], err) < 0)
			status = CTL_FAILED;
		else
			printf("%s scaled to %llu\n", ref, (unsigned long long)changes[i].replicas);
	}
	fflush(stdout);
	for (size_t i = 0; i < args->n; i++) {
		changes[i].setup.verify_ns = f->verify;
		if (status == CTL_OK && !f->detach)
			status = converge_wait(ctl, changes[i].id, changes[i].name,
					       &changes[i].setup, f->quiet, err);
		change_fini(&changes[i]);
	}
	return status;
}

static enum ctl_exit run_rm(struct ctl *ctl, const struct verb *verb, void *flags,
			    const struct option_seen *seen, const struct strv *args,
			    struct error *err)
{
	return ctl_for_each_ref(ctl, "RemoveService", args, err);
}

/* ---------------------------------------------------------------- verbs */

static const struct option_def wait_options[] = {
	HELP_OPTION,
	{"detach", 'd', OPT_BOOL(struct service_flags, detach),
	 .help = "return at once instead of waiting until the service has converged"},
	{"quiet", 'q', OPT_BOOL(struct service_flags, quiet), .help = "no progress"},
	{"verify", 0, OPT_DURATION(struct service_flags, verify), .def = "0s",
	 .help = "once it has converged, watch it for so long: a task that ends meanwhile is a failure"},
	{0},
};

#define INTERRUPT_TEXT "Ctrl-C ends the waiting, not the service: it goes on converging."

const struct verb service_change_verbs[] = {
	{
		.noun = "service",
		.name = "create",
		.synopsis = "[OPTIONS] IMAGE [COMMAND] [ARG...]",
		.help = "Make a service: tasks that run an image",
		.about = "What follows IMAGE replaces the image's command; flags are not read "
			 "there.\n\n"
			 "Waits until all tasks run, or have completed when --restart-condition is "
			 "not any, and shows how it\n"
			 "goes. Tasks that no node can take are waited for, with the reason. "
			 "Unlike an update, a new service\n"
			 "is not watched any longer than that, unless --verify says so.\n\n" INTERRUPT_TEXT "\n\n"
			 "Without --network, containers have a network of their own with a way out; "
			 "none: a loopback device only;\n"
			 "host: the network of their node. In a network made with 'network create' "
			 "other services find them as\n"
			 "NAME, and their tasks as tasks.NAME.\n\n"
			 "A port given with --publish is reachable on every node. With an address "
			 "or mode=host it is published\n"
			 "only where a task runs. TARGET alone: the cluster chooses a port from "
			 "30000 to 32767 ('service ls').",
		.example =
			"clusterctl service create --name web --replicas 3 --network front --publish 8080:80 "
			"nginx\n"
			"clusterctl service create --name job --restart-condition none debian:12 "
			"sh -c 'date'\n"
			"clusterctl service create --name db --constraint node.labels.disk==ssd "
			"\\\n"
			"    --mount type=volume,source=data,target=/var/lib/db --limit-memory 1g "
			"postgres:16",
		.options = service_create_options,
		.flags_size = sizeof(struct service_flags),
		.min_args = 1,
		.max_args = ANY_NUMBER,
		.stop_at_first_arg = true,
		.object = OBJECT_IMAGE,
		.run = run_create,
	},
	{
		.noun = "service",
		.name = "update",
		.synopsis = "[OPTIONS] SERVICE",
		.help = "Change a service; its tasks are replaced one after the other",
		.about = "Changes only what is given. Waits until all tasks run as asked and have "
			 "stayed so for the monitor\n"
			 "period (--update-monitor), or for --verify when that is longer. The status is 1 when the update was paused or "
			 "rolled back.\n\n" INTERRUPT_TEXT,
		.example =
			"clusterctl service update --image nginx:1.25 --update-parallelism 2 web\n"
			"clusterctl service update --env-add LEVEL=debug --constraint-rm "
			"node.role==manager web\n"
			"clusterctl service update --publish-rm 80 --publish-add 8081:80 web\n"
			"clusterctl service update --force web",
		.options = service_update_options,
		.flags_size = sizeof(struct service_flags),
		.min_args = 1,
		.max_args = 1,
		.object = OBJECT_SERVICE,
		.run = run_update,
	},
	{
		.noun = "service",
		.name = "scale",
		.synopsis = "[OPTIONS] SERVICE=REPLICAS...",
		.help = "Change the number of tasks of replicated services",
		.about = "Waits until as many tasks run as asked, and watches them for --verify. " INTERRUPT_TEXT,
		.example = "clusterctl service scale web=10 worker=3",
		.options = wait_options,
		.flags_size = sizeof(struct service_flags),
		.min_args = 1,
		.max_args = 100,
		.object = OBJECT_SERVICE,
		.run = run_scale,
	},
	{
		.noun = "service",
		.name = "rollback",
		.synopsis = "[OPTIONS] SERVICE",
		.help = "Go back to the specification before the last update",
		.about = "Waits like 'service update'. " INTERRUPT_TEXT,
		.example = "clusterctl service rollback web",
		.options = wait_options,
		.flags_size = sizeof(struct service_flags),
		.min_args = 1,
		.max_args = 1,
		.object = OBJECT_SERVICE,
		.run = run_rollback,
	},
	{
		.noun = "service",
		.name = "rm",
		.aliases = "remove",
		.synopsis = "SERVICE...",
		.help = "Remove services and stop their tasks",
		.example = "clusterctl service rm web db",
		.options = no_options,
		.flags_size = sizeof(struct no_flags),
		.min_args = 1,
		.max_args = ANY_NUMBER,
		.object = OBJECT_SERVICE,
		.run = run_rm,
	},
	{0},
};
