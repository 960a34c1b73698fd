#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "clusterctl/values.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"

#include <string.h>

static void csv_fields(void **state)
{
	static const struct {
		const char *text, *want; /* fields joined by ';', NULL = refused */
	} cases[] = {
		{"a=b,c", "a=b;c"},      {"\"a,b\",c", "a,b;c"}, {"\"a\"\"b\"", "a\"b"}, {"", ""},
		{"a,,b", "a;;b"},        {"a,", "a;"},           {"\"a", NULL},          {"\"a\"b", NULL},
		{"a\"b", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strv_ struct strv fields = {0};
		_cleanup_strbuf_ struct strbuf joined = {0};
		struct error err = ERROR_INIT;
		int r = value_csv(cases[i].text, &fields, &err);

		assert_int_equal(r, cases[i].want ? 0 : -1);
		strbuf_puts(&joined, "");
		for (size_t k = 0; k < fields.n; k++)
			strbuf_printf(&joined, "%s%s", k ? ";" : "", fields.v[k]);
		if (cases[i].want)
			assert_string_equal(joined.p ? joined.p : "", cases[i].want);
	}
}

static void shell_words(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"sh -c 'echo \"x\" y'", "sh|-c|echo \"x\" y"},
		{"  a\tb  ", "a|b"},
		{"\"a b\"c 'd'\"e\"", "a bc|de"},
		{"a\\ b \\\"", "a b|\""},
		{"'' x", "|x"},
		{"", ""},
		{"'open", NULL},
		{"\"open", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_strv_ struct strv words = {0};
		_cleanup_strbuf_ struct strbuf joined = {0};
		struct error err = ERROR_INIT;
		int r = value_words(cases[i].text, &words, &err);

		assert_int_equal(r, cases[i].want ? 0 : -1);
		strbuf_puts(&joined, "");
		for (size_t k = 0; k < words.n; k++)
			strbuf_printf(&joined, "%s%s", k ? "|" : "", words.v[k]);
		if (cases[i].want)
			assert_string_equal(joined.p ? joined.p : "", cases[i].want);
	}
}

static void mount_with_everything(void **state)
{
	struct error err = ERROR_INIT;
	_cleanup_pb_ pb_mount *bind = value_mount("type=bind,src=/data,dst=/mnt,readonly,bind-propagation=rslave", &err);
	_cleanup_pb_ pb_mount *tmpfs = value_mount("type=tmpfs,target=/t,tmpfs-size=64m,tmpfs-mode=1777", &err);
	_cleanup_pb_ pb_mount *volume =
		value_mount("source=v,target=/v,volume-nocopy=true,volume-label=a=b,\"volume-label=c=d,e\",ro=false", &err);

	assert_non_null(bind);
	assert_int_equal(bind->type, MOUNT_BIND);
	assert_string_equal(bind->source, "/data");
	assert_string_equal(bind->target, "/mnt");
	assert_true(bind->read_only);
	assert_string_equal(bind->propagation, "rslave");

	assert_non_null(tmpfs);
	assert_int_equal(tmpfs->type, MOUNT_TMPFS);
	assert_int_equal(tmpfs->tmpfs_size_bytes, 64 << 20);
	assert_int_equal(tmpfs->tmpfs_mode, 01777);

	assert_non_null(volume);
	assert_int_equal(volume->type, MOUNT_VOLUME);
	assert_true(volume->volume_nocopy);
	assert_false(volume->read_only);
	assert_int_equal(volume->n_labels, 2);
	assert_string_equal(pb_kv_get(volume->labels, volume->n_labels, "c"), "d,e");
}

static void bad_mounts_say_what_is_wrong(void **state)
{
	static const struct {
		const char *text, *want;
	} cases[] = {
		{"type=nfs,target=/x", "type=\"nfs\": expected bind, volume or tmpfs"},
		{"type=bind,source=/x", "target= is missing: expected an absolute path in the container"},
		{"type=bind,source=x,target=/x", "source=\"x\": expected an absolute path on the host for type=bind"},
		{"type=bind,target=/x", "source=\"\": expected an absolute path on the host for type=bind"},
		{"source=/x,target=/x", "source=\"/x\": expected a volume's name; a path needs type=bind"},
		{"type=tmpfs,source=x,target=/x", "source=\"x\": a tmpfs has no source"},
		{"target=x", "target=\"x\": expected an absolute path"},
		{"target=/x,readonly=maybe", "readonly=\"maybe\": expected nothing, true or false"},
		{"type=tmpfs,target=/x,bind-propagation=shared", "bind-propagation= goes only with type=bind, not with type=tmpfs"},
		{"target=/x,tmpfs-size=1m", "tmpfs-size= goes only with type=tmpfs, not with type=volume"},
		{"type=tmpfs,target=/x,tmpfs-mode=9", "tmpfs-mode=\"9\": expected an octal mode such as 1777"},
		{"type=tmpfs,target=/x,tmpfs-mode=77777", "tmpfs-mode=\"77777\": expected an octal mode such as 1777"},
		{"type=tmpfs,target=/x,tmpfs-size=-1", "tmpfs-size=\"-1\": expected a size such as 64m"},
		{"type=bind,source=/x,target=/x,bind-propagation=up", "bind-propagation=\"up\": expected rprivate, private, rshared, "
								     "shared, rslave or slave"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = ERROR_INIT;

		assert_null(value_mount(cases[i].text, &err));
		assert_int_equal(err.code, ERR_INVALID);
		assert_string_equal(err.msg, cases[i].want);
	}
}

static void ulimits(void **state)
{
	struct error err = ERROR_INIT;
	_cleanup_pb_ pb_ulimit *both = value_ulimit("nofile=1024:-1", &err);
	_cleanup_pb_ pb_ulimit *one = value_ulimit("core=0", &err);
	static const char *const bad[] = {"nofile", "files=1", "nofile=x", "nofile=1:2:3", "nofile=5:4", "nofile=-1:4",
					  "nofile=-2", "=1", " =1", "as core=1", "nofile="};

	assert_int_equal(both->soft, 1024);
	assert_int_equal(both->hard, -1);
	assert_int_equal(one->hard, 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_null(value_ulimit(bad[i], &err));
}

static void placement_and_constraints(void **state)
{
	struct error err = ERROR_INIT;

	assert_string_equal(value_placement_pref("spread=node.labels.rack", &err), "node.labels.rack");
	assert_null(value_placement_pref("spread=node.labels.", &err));
	assert_null(value_placement_pref("spread=node.id", &err));
	assert_null(value_placement_pref("rack", &err));
	assert_int_equal(value_constraint("node.role==manager", &err), 0);
	assert_int_equal(value_constraint("node.role != manager", &err), 0);
	assert_int_equal(value_constraint("node.role=manager", &err), -1);
	assert_int_equal(value_constraint("==manager", &err), -1);
	assert_int_equal(value_constraint("node.role== ", &err), -1);
}

static void capabilities(void **state)
{
	struct error err = ERROR_INIT;
	_cleanup_free_ char *plain = value_capability("net_admin", &err), *full = value_capability("CAP_SYS_TIME", &err);
	_cleanup_free_ char *all = value_capability("all", &err);

	assert_string_equal(plain, "CAP_NET_ADMIN");
	assert_string_equal(full, "CAP_SYS_TIME");
	assert_string_equal(all, "ALL");
	assert_null(value_capability("", &err));
	assert_null(value_capability("CAP_", &err));
	assert_null(value_capability("net admin", &err));
}

static char *lookup(const char *name)
{
	return strcmp(name, "HOME") == 0 ? (char *)"/root" : NULL;
}

static void environment(void **state)
{
	_cleanup_pb_ pb_container_spec *c = pb_new(&skein__container_spec__descriptor);
	struct error err = ERROR_INIT;

	assert_int_equal(value_env("A=1", lookup, &c->n_env, &c->env, &err), 0);
	assert_int_equal(value_env("HOME", lookup, &c->n_env, &c->env, &err), 0);
	assert_int_equal(value_env("UNSET", lookup, &c->n_env, &c->env, &err), 0);
	assert_int_equal(value_env("A=2=3", lookup, &c->n_env, &c->env, &err), 0);
	assert_int_equal(c->n_env, 2);
	assert_string_equal(c->env[0], "A=2=3");
	assert_string_equal(c->env[1], "HOME=/root");
	assert_int_equal(value_env("=x", lookup, &c->n_env, &c->env, &err), -1);
	assert_int_equal(value_env("A B=x", lookup, &c->n_env, &c->env, &err), -1);
}

static void environment_file(void **state)
{
	_cleanup_pb_ pb_container_spec *c = pb_new(&skein__container_spec__descriptor);
	struct error err = ERROR_INIT;

	assert_int_equal(value_env_file("\xef\xbb\xbf" "A=1\r\n\n  # no\n\tB=x y # z\nHOME\nA=2", lookup, &c->n_env, &c->env, &err), 0);
	assert_int_equal(c->n_env, 3);
	assert_string_equal(c->env[0], "A=2");
	assert_string_equal(c->env[1], "B=x y # z");
	assert_string_equal(c->env[2], "HOME=/root");
	assert_int_equal(value_env_file("A=1\nB C=2\n", lookup, &c->n_env, &c->env, &err), -1);
	assert_non_null(strstr(err.msg, "line 2"));
}

static void filters(void **state)
{
	_cleanup_pb_ Skein__ListRequest *r = pb_new(&skein__list_request__descriptor);
	struct error err = ERROR_INIT;

	assert_int_equal(value_filter("name=a", "id|name", &r->n_filters, &r->filters, &err), 0);
	assert_int_equal(value_filter("name=b", "id|name", &r->n_filters, &r->filters, &err), 0);
	assert_int_equal(r->n_filters, 2);
	assert_string_equal(r->filters[1]->value, "b");
	assert_int_equal(value_filter("nam=b", "id|name", &r->n_filters, &r->filters, &err), -1);
	assert_string_equal(err.msg, "unknown filter \"nam\": expected one of id|name");
	assert_int_equal(value_filter("name", "id|name", &r->n_filters, &r->filters, &err), -1);
	assert_int_equal(value_filter("=x", "id|name", &r->n_filters, &r->filters, &err), -1);
}

static void points_in_time(void **state)
{
	const int64_t now = INT64_C(1700000000) * NS_PER_SEC;
	static const struct {
		const char *text;
		int64_t want; /* -1 = refused */
	} cases[] = {
		{"10m", (INT64_C(1700000000) - 600) * NS_PER_SEC},
		{"1600000000", INT64_C(1600000000) * NS_PER_SEC},
		{"1600000000.5", INT64_C(1600000000) * NS_PER_SEC + NS_PER_SEC / 2},
		{"2020-09-13T12:26:40Z", INT64_C(1600000000) * NS_PER_SEC},
		{"2020-09-13T12:26:40.25Z", INT64_C(1600000000) * NS_PER_SEC + NS_PER_SEC / 4},
		{"2020-09-13T14:26:40+02:00", INT64_C(1600000000) * NS_PER_SEC},
		{"2020-09-13T12:26", (INT64_C(1600000000) - 40) * NS_PER_SEC},
		{"2020-09-13", (INT64_C(1600000000) - 44800) * NS_PER_SEC},
		{"yesterday", -1},
		{"2020-13-13", -1},
		{"2020-09-13T12:26:40+99:00", -1},
		{"2020-09-13T12:26:40Zx", -1},
		{"-5m", -1},
		{"", -1},
		{"99999999999999999999", -1},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = ERROR_INIT;
		int64_t ns = 0;

		assert_int_equal(value_time(cases[i].text, now, &ns, &err), cases[i].want < 0 ? -1 : 0);
		if (cases[i].want >= 0)
			assert_int_equal(ns, cases[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(csv_fields),
		cmocka_unit_test(shell_words),
		cmocka_unit_test(mount_with_everything),
		cmocka_unit_test(bad_mounts_say_what_is_wrong),
		cmocka_unit_test(ulimits),
		cmocka_unit_test(placement_and_constraints),
		cmocka_unit_test(capabilities),
		cmocka_unit_test(environment),
		cmocka_unit_test(environment_file),
		cmocka_unit_test(filters),
		cmocka_unit_test(points_in_time),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
