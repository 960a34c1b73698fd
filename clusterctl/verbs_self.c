/* What clusterctl says about itself. */
#include "verbs.h"

#include "ctl.h"
#include "help.h"

#include "common/error.h"

static enum ctl_exit run_completion(struct ctl *ctl, const struct verb *verb, void *flags,
				    const struct option_seen *seen, const struct strv *args,
				    struct error *err)
{
	if (!str_eq(args->v[0], "bash"))
		return ctl_usage(err, "unknown shell \"%.100s\": expected bash", args->v[0]);
	complete_script(stdout);
	return CTL_OK;
}

const struct verb self_verbs[] = {
	{
		.noun = "completion",
		.name = "",
		.synopsis = "bash",
		.help = "Print the completion script for a shell",
		.about = "Prints a script that teaches the shell to complete commands, flags, "
			 "their values, and the names of\n"
			 "services, nodes, tasks and images. Put it into "
			 "/etc/bash_completion.d/clusterctl, or evaluate it in\n"
			 "~/.bashrc.",
		.example = "eval \"$(clusterctl completion bash)\"",
		.options = no_options,
		.flags_size = sizeof(struct no_flags),
		.min_args = 1,
		.max_args = 1,
		.object = OBJECT_SHELL,
		.run = run_completion,
	},
	{0},
};
