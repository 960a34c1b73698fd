#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/image/manifest.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <stdio.h>
#include <string.h>

#define HEX_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HEX_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define HEX_C "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
#define BLOB(hex, size) "{\"digest\":\"sha256:" hex "\",\"size\":" #size "}"

static void reads_a_manifest(void **state)
{
	static const char oci[] = "{\"schemaVersion\":2,\"config\":" BLOB(HEX_A, 10) ",\"layers\":[" BLOB(HEX_B, 20) ","
				  BLOB(HEX_C, 30) "]}";
	struct error err = ERROR_INIT;
	struct manifest *m = manifest_parse(oci, strlen(oci), &err);

	assert_non_null(m);
	assert_string_equal(m->config.digest, "sha256:" HEX_A);
	assert_int_equal(m->config.size_bytes, 10);
	assert_int_equal(m->n_layers, 2);
	assert_string_equal(m->layers[1].digest, "sha256:" HEX_C);
	assert_int_equal(m->layers[1].size_bytes, 30);
	manifest_free(m);
}

static void refuses_bad_manifests(void **state)
{
	static const struct {
		const char *json;
		enum error_code code;
		const char *part;
	} cases[] = {
		{"", ERR_DATA_LOSS, "not JSON"},
		{"[]", ERR_DATA_LOSS, "not a JSON object"},
		{"{}", ERR_DATA_LOSS, "neither"},
		{"{\"schemaVersion\":1,\"fsLayers\":[]}", ERR_UNIMPLEMENTED, "schema version 1"},
		{"{\"config\":{},\"layers\":[]}", ERR_DATA_LOSS, "config has digest"},
		{"{\"config\":{\"digest\":\"sha256:../../etc\",\"size\":1},\"layers\":[]}", ERR_DATA_LOSS, "../../etc"},
		{"{\"config\":{\"digest\":\"sha512:" HEX_A "\",\"size\":1},\"layers\":[]}", ERR_DATA_LOSS, "sha512"},
		{"{\"config\":" BLOB(HEX_A, -1) ",\"layers\":[]}", ERR_DATA_LOSS, "size"},
		{"{\"config\":" BLOB(HEX_A, 5000000) ",\"layers\":[]}", ERR_EXHAUSTED, "5000000"},
		{"{\"config\":" BLOB(HEX_A, 1) ",\"layers\":[1]}", ERR_DATA_LOSS, "layer"},
		{"{\"config\":" BLOB(HEX_A, 1) ",\"layers\":[" BLOB(HEX_A, 2000000000000) "]}", ERR_DATA_LOSS, "2^40"},
		{"{\"config\":" BLOB(HEX_A, 1) ",\"layers\":[{\"mediaType\":\"a+encrypted\"}]}", ERR_UNIMPLEMENTED,
		 "encrypted"},
		{"{\"manifests\":[]}", ERR_DATA_LOSS, "an index"},
		{"{\"manifests\":[],\"config\":{},\"layers\":[]}", ERR_DATA_LOSS, "neither"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = ERROR_INIT;

		assert_null(manifest_parse(cases[i].json, strlen(cases[i].json), &err));
		if (err.code != cases[i].code || !strstr(err.msg, cases[i].part))
			fail_msg("%s: %s %s", cases[i].json, error_code_name(err.code), err.msg);
	}
}

static void bounds_layers(void **state)
{
	for (unsigned n = MANIFEST_MAX_LAYERS; n <= MANIFEST_MAX_LAYERS + 1; n++) {
		_cleanup_strbuf_ struct strbuf b = {0};
		struct error err = ERROR_INIT;
		struct manifest *m;

		strbuf_puts(&b, "{\"config\":" BLOB(HEX_A, 1) ",\"layers\":[");
		for (unsigned i = 0; i < n; i++)
			strbuf_puts(&b, i ? "," BLOB(HEX_B, 1) : BLOB(HEX_B, 1));
		strbuf_puts(&b, "]}");
		m = manifest_parse(b.p, b.len, &err);
		assert_int_equal(m != NULL, n <= MANIFEST_MAX_LAYERS);
		assert_int_equal(err.code, m ? ERR_OK : ERR_EXHAUSTED);
		manifest_free(m);
	}
}

static void chooses_the_platform(void **state)
{
#define ENTRY(hex, platform) "{\"digest\":\"sha256:" hex "\",\"size\":1,\"platform\":{" platform "}}"
	static const char json[] =
		"{\"manifests\":[" ENTRY(HEX_A, "\"os\":\"linux\",\"architecture\":\"arm\",\"variant\":\"v6\"") ","
		ENTRY(HEX_B, "\"os\":\"linux\",\"architecture\":\"arm\",\"variant\":\"v7\"") ","
		ENTRY(HEX_C, "\"os\":\"unknown\",\"architecture\":\"unknown\"") "]}";
	static const char unsaid[] = "{\"manifests\":[" ENTRY(HEX_A, "") "]}";
	static const struct platform arm = {"linux", "arm", "v7"}, amd64 = {"linux", "amd64", ""};
	struct image_index *x = image_index_parse(json, strlen(json), NULL);

	assert_non_null(x);
	assert_int_equal(x->n, 3);
	assert_string_equal(image_index_choose(x, &arm)->blob.digest, "sha256:" HEX_B);
	assert_null(image_index_choose(x, &amd64));
	assert_true(x->entries[2].is_attestation);
	image_index_free(x);
	x = image_index_parse(unsaid, strlen(unsaid), NULL);
	assert_string_equal(image_index_choose(x, &amd64)->blob.digest, "sha256:" HEX_A);
	image_index_free(x);
}

static void names_of_entries(void **state)
{
	static const struct {
		const char *annotations, *name;
	} cases[] = {
		{"\"org.opencontainers.image.ref.name\":\"latest\"", NULL},
		{"\"org.opencontainers.image.ref.name\":\"web:1\"", "docker.io/library/web:1"},
		{"\"org.opencontainers.image.ref.name\":\"10.0.0.1:5000/a/b:c\"", "10.0.0.1:5000/a/b:c"},
		{"\"org.opencontainers.image.ref.name\":\"1\",\"io.containerd.image.name\":\"docker.io/library/x:1\"",
		 "docker.io/library/x:1"},
		{"\"org.opencontainers.image.ref.name\":\"a/UPPER:1\"", NULL},
		{"", NULL},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		char json[512];
		struct image_index *x;

		snprintf(json, sizeof(json), "{\"manifests\":[{\"digest\":\"sha256:" HEX_A "\",\"size\":1,\"annotations\":{%s}}]}",
			 cases[i].annotations);
		x = image_index_parse(json, strlen(json), NULL);
		assert_non_null(x);
		if (!str_eq(x->entries[0].name, cases[i].name))
			fail_msg("%s: %s", json, x->entries[0].name);
		image_index_free(x);
	}
}

static void another_config_for_a_manifest(void **state)
{
	static const char json[] = "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"t\",\"digest\":\"sha256:" HEX_A
				   "\",\"size\":5},\"layers\":[{\"digest\":\"sha256:" HEX_A "\",\"size\":7}]}";
	struct descriptor config = {.digest = "sha256:0000000000000000000000000000000000000000000000000000000000000000",
				    .size_bytes = 99};
	struct error err = ERROR_INIT;
	char *text = manifest_with_config(json, strlen(json), &config, &err);
	struct manifest *m;

	assert_non_null(text);
	m = manifest_parse(text, strlen(text), &err);
	assert_non_null(m);
	assert_string_equal(m->config.digest, config.digest);
	assert_int_equal(m->config.size_bytes, 99);
	assert_int_equal(m->n_layers, 1);
	assert_string_equal(m->layers[0].digest, "sha256:" HEX_A);
	manifest_free(m);
	free(text);
	assert_null(manifest_with_config("{}", 2, &config, &err));
	assert_null(manifest_with_config("[", 1, &config, &err));
}

static void reads_a_config(void **state)
{
	static const char json[] =
		"{\"rootfs\":{\"diff_ids\":[\"sha256:" HEX_A "\"]},\"config\":{\"Entrypoint\":[\"/bin/sh\",\"-c\"],"
		"\"Cmd\":null,\"Env\":[\"A=b\"],\"User\":\"web:web\",\"WorkingDir\":\"/srv\",\"StopSignal\":\"SIGQUIT\","
		"\"Volumes\":{\"/data\":{}},\"ExposedPorts\":{\"80/tcp\":{},\"53/udp\":{}},"
		"\"Healthcheck\":{\"Test\":[\"CMD-SHELL\",\"nc -z localhost 80\"],\"Interval\":5000000000,\"Timeout\":1000000000,"
		"\"Retries\":4,\"StartPeriod\":2000000000,\"StartInterval\":100000000}}}";
	static const char bare[] = "{\"rootfs\":{\"diff_ids\":[]}}";
	struct image_config *c = image_config_parse(json, strlen(json), NULL);

	assert_non_null(c);
	assert_int_equal(c->n_diff_ids, 1);
	assert_string_equal(c->diff_ids[0], "sha256:" HEX_A);
	assert_string_equal(c->entrypoint[1], "-c");
	assert_null(c->entrypoint[2]);
	assert_null(c->cmd);
	assert_string_equal(c->env[0], "A=b");
	assert_string_equal(c->user, "web:web");
	assert_string_equal(c->dir, "/srv");
	assert_string_equal(c->stop_signal, "SIGQUIT");
	assert_string_equal(c->volumes[0], "/data");
	assert_string_equal(c->exposed_ports[1], "53/udp");
	assert_int_equal(c->health->n_test, 2);
	assert_string_equal(c->health->test[1], "nc -z localhost 80");
	assert_int_equal(c->health->interval, INT64_C(5000000000));
	assert_int_equal(c->health->timeout, INT64_C(1000000000));
	assert_int_equal(c->health->retries, 4);
	assert_int_equal(c->health->start_period, INT64_C(2000000000));
	assert_int_equal(c->health->start_interval, INT64_C(100000000));
	image_config_free(c);
	c = image_config_parse(bare, strlen(bare), NULL);
	assert_non_null(c);
	assert_null(c->env);
	assert_null(c->user);
	assert_null(c->health);
	image_config_free(c);
}

static void refuses_bad_configs(void **state)
{
	static const char *const cases[] = {
		"{}", "{\"rootfs\":{\"diff_ids\":[\"x\"]}}", "{\"rootfs\":{\"diff_ids\":[]},\"config\":[]}",
		"{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Env\":[1]}}",
		"{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Env\":\"A=b\"}}",
		"{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"User\":0}}",
		"{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Volumes\":[\"/data\"]}}",
		"{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Healthcheck\":[]}}",
		"{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Healthcheck\":{\"Test\":\"true\"}}}",
		"{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Healthcheck\":{\"Test\":[\"CMD\",1]}}}",
		"{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Healthcheck\":{\"Test\":[],\"Interval\":-1}}}",
		"{\"rootfs\":{\"diff_ids\":[]},\"config\":{\"Healthcheck\":{\"Retries\":\"3\"}}}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = ERROR_INIT;

		if (image_config_parse(cases[i], strlen(cases[i]), &err))
			fail_msg("accepted: %s", cases[i]);
		assert_int_equal(err.code, ERR_DATA_LOSS);
	}
}

static void reads_names_of_an_archive(void **state)
{
	static const char json[] = "[{\"Config\":\"c\",\"RepoTags\":[\"web:1\",\"web:1\",\"docker.io/library/web:latest\",\"-bad-\"]},"
				   "{\"RepoTags\":null}]";
	struct repo_tags *tags = repo_tags_parse(json, strlen(json), NULL);

	assert_non_null(tags);
	assert_int_equal(tags->n, 2);
	assert_string_equal(tags->names[0][0], "docker.io/library/web:1");
	assert_string_equal(tags->names[0][1], "docker.io/library/web:latest");
	assert_null(tags->names[0][2]);
	assert_null(tags->names[1][0]);
	repo_tags_free(tags);
	assert_null(repo_tags_parse("[]", 2, NULL));
	assert_null(repo_tags_parse("{}", 2, NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_a_manifest),      cmocka_unit_test(refuses_bad_manifests),
		cmocka_unit_test(bounds_layers),         cmocka_unit_test(chooses_the_platform),
		cmocka_unit_test(names_of_entries),      cmocka_unit_test(another_config_for_a_manifest), cmocka_unit_test(reads_a_config),
		cmocka_unit_test(refuses_bad_configs),   cmocka_unit_test(reads_names_of_an_archive),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
