/* Walks the table of verbs: what every verb promises to its users. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "clusterctl/complete.h"
#include "clusterctl/ctl.h"
#include "clusterctl/help.h"

#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"

#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *help_of(const struct verb *verb)
{
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	help_verb(verb, out);
	fclose(out);
	return text;
}

static void check_options(const struct option_def *defs, const char *command)
{
	for (const struct option_def *def = defs; def->name; def++) {
		if (!def->hidden && str_empty(def->help))
			fail_msg("%s: --%s has no help", command, def->name);
		if (def->help && ((isupper((unsigned char)def->help[0]) && !isupper((unsigned char)def->help[1])) || (str_ends(def->help, ".") && !str_ends(def->help, "..."))))
			fail_msg("%s: --%s: help is lower case without a full stop", command, def->name);
		if (def->kind == OPTION_ENUM && str_empty(def->choices))
			fail_msg("%s: --%s has no choices", command, def->name);
		for (const struct option_def *other = def + 1; other->name; other++) {
			if (def->letter && def->letter == other->letter)
				fail_msg("%s: -%c is taken twice", command, def->letter);
			if (str_eq(def->name, other->name))
				fail_msg("%s: --%s is there twice", command, def->name);
		}
	}
}

static void every_verb_is_complete(void **state)
{
	size_t n = 0;

	for (const struct verb *const *v = verbs_all(); *v; v++, n++) {
		const struct verb *verb = *v;
		_cleanup_free_ char *command = help_command(verb);

		if (str_empty(verb->help) || !isupper((unsigned char)verb->help[0]) || str_ends(verb->help, "."))
			fail_msg("%s: help is one line, capital first, no full stop", command);
		if (str_empty(verb->example) || !strstr(verb->example, command))
			fail_msg("%s: no example that shows it", command);
		if (!verb->synopsis || !verb->run || verb->max_args < verb->min_args)
			fail_msg("%s: synopsis, run or the numbers of arguments", command);
		if (!verb->options || !str_eq(verb->options[0].name, "help") || verb->options[0].offset != 0)
			fail_msg("%s: --help stands first", command);
		if (verb->flags_size < sizeof(bool))
			fail_msg("%s: no struct for its flags", command);
		if (verb->noun && !noun_find(verb->noun))
			fail_msg("%s: no such noun", command);
		check_options(verb->options, command);
	}
	assert_true(n >= 34);
}

static void no_verb_is_there_twice(void **state)
{
	for (const struct verb *const *v = verbs_all(); *v; v++) {
		const struct verb *found = verb_find((*v)->noun, (*v)->name);

		assert_ptr_equal(found, *v);
	}
}

static void aliases_are_dockers(void **state)
{
	assert_non_null(verb_find("service", "list"));
	assert_ptr_equal(verb_find("service", "remove"), verb_find("service", "rm"));
	assert_ptr_equal(verb_find("task", "ps"), verb_find("task", "ls"));
	assert_ptr_equal(verb_find("node", "list"), verb_find("node", "ls"));
	assert_ptr_equal(verb_find("image", "remove"), verb_find("image", "rm"));
	assert_null(verb_find("service", "l"));
	assert_null(verb_find("service", "list|"));
	assert_null(verb_find(NULL, ""));
}

static void help_shows_every_option_and_the_exit_status(void **state)
{
	for (const struct verb *const *v = verbs_all(); *v; v++) {
		_cleanup_free_ char *text = help_of(*v);

		for (const struct option_def *def = (*v)->options; def->name; def++) {
			_cleanup_free_ char *flag = xasprintf("--%s", def->name);

			if (!def->hidden)
				assert_non_null(strstr(text, flag));
		}
		assert_non_null(strstr(text, "Example:"));
		assert_non_null(strstr(text, "Exit status:"));
	}
	check_options(global_options, "clusterctl");
}

/* The flags that users of Swarm know. */
static void service_create_has_swarms_flags(void **state)
{
	static const char *const names[] = {
		"cap-add", "cap-drop", "constraint", "container-label", "detach", "entrypoint", "env", "env-file", "group",
		"hostname", "init", "label", "limit-cpu", "limit-memory", "limit-pids", "mode", "mount", "name", "network",
		"oom-score-adj", "placement-pref", "quiet", "read-only", "replicas", "replicas-max-per-node", "reserve-cpu",
		"reserve-memory", "restart-condition", "restart-delay", "restart-max-attempts", "restart-window",
		"rollback-delay", "rollback-failure-action", "rollback-max-failure-ratio", "rollback-monitor", "rollback-order",
		"rollback-parallelism", "stop-grace-period", "stop-signal", "sysctl", "tty", "ulimit", "update-delay",
		"update-failure-action", "update-max-failure-ratio", "update-monitor", "update-order", "update-parallelism",
		"user", "with-registry-auth", "workdir",
	};
	const struct verb *verb = verb_find("service", "create");

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		const struct option_def *def = verb->options;

		while (def->name && !str_eq(def->name, names[i]))
			def++;
		if (!def->name)
			fail_msg("service create has no --%s", names[i]);
	}
}

/* ---------------------------------------------------------------- completion */

#define COMPLETE(want_object, want, ...)                                                           \
	do {                                                                                       \
		char *words_[] = {__VA_ARGS__};                                                    \
		check_completion((int)ARRAY_SIZE(words_), words_, want_object, want);              \
	} while (0)

static void check_completion(int argc, char **argv, enum ctl_object object, const char *want)
{
	_cleanup_strbuf_ struct strbuf joined = {0};
	struct completion c;

	complete_words(argc, argv, &c);
	strbuf_puts(&joined, "");
	for (size_t i = 0; i < c.words.n; i++)
		strbuf_printf(&joined, "%s%s", i ? " " : "", c.words.v[i]);
	assert_string_equal(joined.p ? joined.p : "", want);
	assert_int_equal(c.object, object);
	complete_fini(&c);
}

static void completion_of_static_words(void **state)
{
	COMPLETE(OBJECT_NONE, "service", "ser");
	COMPLETE(OBJECT_NONE, "init info", "in");
	COMPLETE(OBJECT_NONE, "create", "service", "cr");
	COMPLETE(OBJECT_NONE, "replicated global", "service", "create", "--mode", "");
	COMPLETE(OBJECT_NONE, "global", "service", "create", "--mode", "=", "g");
	COMPLETE(OBJECT_NONE, "replicated global", "service", "create", "--mode", "=");
	COMPLETE(OBJECT_NONE, "global", "service", "create", "--mode=g");
	COMPLETE(OBJECT_NONE, "--replicas --replicas-max-per-node", "service", "create", "--repl");
	COMPLETE(OBJECT_NONE, "--host", "--ho");
	COMPLETE(OBJECT_NONE, "", "--host", "x");
	COMPLETE(OBJECT_NONE, "scale", "--host", "h:1", "service", "sc");
	COMPLETE(OBJECT_ROLE, "worker", "join-token", "w");
	COMPLETE(OBJECT_ROLE, "manager", "join-token", "-q", "m");
	COMPLETE(OBJECT_NONE, "--rotate", "join-token", "--ro");
	COMPLETE(OBJECT_SHELL, "bash", "completion", "");
	COMPLETE(OBJECT_NONE, "", "nonsense", "x");
	COMPLETE(OBJECT_NONE, "active pause drain", "node", "update", "--availability", "");
}

static void completion_of_names(void **state)
{
	COMPLETE(OBJECT_SERVICE, "", "service", "ps", "");
	COMPLETE(OBJECT_SERVICE, "", "service", "ps", "--no-trunc", "a", "b");
	COMPLETE(OBJECT_SERVICE, "", "service", "remove", "w");
	COMPLETE(OBJECT_NODE, "", "node", "inspect", "h");
	COMPLETE(OBJECT_TASK, "", "task", "logs", "-n", "5", "");
	COMPLETE(OBJECT_NONE, "", "task", "logs", "x", "");
	COMPLETE(OBJECT_IMAGE, "", "service", "create", "--name", "w", "");
	COMPLETE(OBJECT_NONE, "", "service", "create", "img", "--mo");
	COMPLETE(OBJECT_NONE, "", "service", "ps", "--filter", "x");
}

static void mistyped_words(void **state)
{
	assert_string_equal(help_nearest(NULL, "sevice"), "service");
	assert_string_equal(help_nearest("service", "crate"), "create");
	assert_string_equal(help_nearest("node", "promot"), "promote");
	assert_null(help_nearest(NULL, "xyzzy"));
}

/* ---------------------------------------------------------------- man pages */

static void man_pages_for_everything(void **state)
{
	char dir[] = "/tmp/man_test.XXXXXX";
	struct error err = ERROR_INIT;

	assert_non_null(mkdtemp(dir));
	assert_int_equal(man_write(dir, &err), 0);
	for (const struct verb *const *v = verbs_all(); *v; v++) {
		_cleanup_free_ char *page = help_command(*v), *path = NULL, *text = NULL;
		size_t len;

		for (char *p = page; *p; p++)
			*p = *p == ' ' ? '-' : *p;
		path = xasprintf("%s/%s.1", dir, page);
		assert_int_equal(file_read(path, 1 << 20, &text, &len, &err), 0);
		assert_non_null(strstr(text, ".SH SYNOPSIS"));
		if (*(*v)->name)
			assert_non_null(strstr(text, ".SH EXIT STATUS"));
	}
	assert_int_equal(file_remove_tree(dir, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_verb_is_complete),
		cmocka_unit_test(no_verb_is_there_twice),
		cmocka_unit_test(aliases_are_dockers),
		cmocka_unit_test(help_shows_every_option_and_the_exit_status),
		cmocka_unit_test(service_create_has_swarms_flags),
		cmocka_unit_test(completion_of_static_words),
		cmocka_unit_test(completion_of_names),
		cmocka_unit_test(mistyped_words),
		cmocka_unit_test(man_pages_for_everything),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
