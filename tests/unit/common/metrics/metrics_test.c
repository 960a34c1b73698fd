#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "common/mem.h"
#include "common/metrics/metrics.h"
#include "common/metrics/process.h"

#include <math.h>
#include <string.h>

static const double bounds[] = {0.005, 1, 2.5};
static const struct metric_family gauge = {"skein_mem_bytes", METRIC_GAUGE, "bytes", "Memory", "a,b", "1 per x"};
static const struct metric_family counter = {"skein_cpu_seconds", METRIC_COUNTER, "seconds", "CPU", NULL, "1"};
static const struct metric_family info = {"skein_node", METRIC_INFO, NULL, "What it is", "version", "1"};
static const struct metric_family histogram = {"skein_start_seconds", METRIC_HISTOGRAM, "seconds", "Start", "phase", "4", bounds, 3};

static void write_all(struct metrics_writer *w, enum metrics_format format)
{
	_cleanup_strbuf_ struct strbuf labels = {0};
	struct metric_histogram h = {0};

	metric_observe(&h, &histogram, 0.005);
	metric_observe(&h, &histogram, 1.5);
	metric_observe(&h, &histogram, 99);
	metrics_label(&labels, "a", "x");
	metrics_begin(w, format);
	metrics_family(w, &gauge);
	metrics_u64(w, &labels, NULL, UINT64_MAX);
	metrics_i64(w, &labels, "b=\"2\"", INT64_MIN);
	metrics_double(w, NULL, "b=\"3\"", 0.1);
	metrics_family(w, &counter);
	metrics_scaled(w, NULL, NULL, 12500001, 6);
	metrics_family(w, &info);
	metrics_info(w, &labels);
	metrics_family(w, &histogram);
	metrics_histogram(w, NULL, "phase=\"image\"", &h);
	metrics_end(w);
}

static void text_format(void **state)
{
	struct metrics_writer w;

	write_all(&w, METRICS_PROMETHEUS);
	assert_string_equal(w.text.p,
		"# HELP skein_mem_bytes Memory.\n# TYPE skein_mem_bytes gauge\n"
		"skein_mem_bytes{a=\"x\"} 18446744073709551615\n"
		"skein_mem_bytes{a=\"x\",b=\"2\"} -9223372036854775808\n"
		"skein_mem_bytes{b=\"3\"} 0.1\n"
		"# HELP skein_cpu_seconds_total CPU.\n# TYPE skein_cpu_seconds_total counter\n"
		"skein_cpu_seconds_total 12.500001\n"
		"# HELP skein_node_info What it is.\n# TYPE skein_node_info gauge\n"
		"skein_node_info{a=\"x\"} 1\n"
		"# HELP skein_start_seconds Start.\n# TYPE skein_start_seconds histogram\n"
		"skein_start_seconds_bucket{phase=\"image\",le=\"0.005\"} 1\n"
		"skein_start_seconds_bucket{phase=\"image\",le=\"1.0\"} 1\n"
		"skein_start_seconds_bucket{phase=\"image\",le=\"2.5\"} 2\n"
		"skein_start_seconds_bucket{phase=\"image\",le=\"+Inf\"} 3\n"
		"skein_start_seconds_sum{phase=\"image\"} 100.505\n"
		"skein_start_seconds_count{phase=\"image\"} 3\n");
	assert_int_equal(w.samples, 11);
	metrics_fini(&w);
}

static void openmetrics_format(void **state)
{
	struct metrics_writer w;

	write_all(&w, METRICS_OPENMETRICS);
	assert_non_null(strstr(w.text.p, "# TYPE skein_cpu_seconds counter\n# UNIT skein_cpu_seconds seconds\nskein_cpu_seconds_total 12.500001\n"));
	assert_non_null(strstr(w.text.p, "# TYPE skein_node info\nskein_node_info{a=\"x\"} 1\n"));
	assert_string_equal(w.text.p + w.text.len - 6, "# EOF\n");
	metrics_fini(&w);
}

static void numbers(void **state)
{
	static const struct {
		double value;
		const char *text;
	} cases[] = {{0, "0"}, {-1.5, "-1.5"}, {1e300, "1e+300"}, {NAN, "NaN"}, {INFINITY, "+Inf"}, {-INFINITY, "-Inf"},
		     {0.1 + 0.2, "0.30000000000000004"}};
	struct metrics_writer w;

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *want = xasprintf("skein_mem_bytes %s\n", cases[i].text);

		metrics_begin(&w, METRICS_PROMETHEUS);
		metrics_family(&w, &gauge);
		metrics_double(&w, NULL, NULL, cases[i].value);
		assert_string_equal(strstr(w.text.p, "gauge\n") + 6, want);
		metrics_fini(&w);
	}
}

static void scaled(void **state)
{
	static const struct {
		uint64_t value;
		unsigned decimals;
		const char *text;
	} cases[] = {{0, 6, "0"}, {1, 6, "0.000001"}, {1000000, 6, "1"}, {1500, 3, "1.5"}, {7, 0, "7"}, {1, 9, "0.000000001"},
		     {UINT64_MAX, 9, "18446744073.709551615"}};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *want = xasprintf("skein_mem_bytes %s\n", cases[i].text);
		struct metrics_writer w;

		metrics_begin(&w, METRICS_PROMETHEUS);
		metrics_family(&w, &gauge);
		metrics_scaled(&w, NULL, NULL, cases[i].value, cases[i].decimals);
		assert_non_null(strstr(w.text.p, want));
		metrics_fini(&w);
	}
}

static void assert_label(const char *value, const char *want)
{
	_cleanup_strbuf_ struct strbuf labels = {0};
	_cleanup_free_ char *all = xasprintf("l=\"%s\"", want);

	metrics_label(&labels, "l", value);
	assert_string_equal(labels.p, all);
}

static void hostile_labels(void **state)
{
	char longer[METRIC_LABEL_VALUE_MAX + 50];
	_cleanup_strbuf_ struct strbuf labels = {0};

	assert_label("a\"b\\c\nd", "a\\\"b\\\\c\\nd");
	assert_label("\"} 1\nevil 2", "\\\"} 1\\nevil 2");
	assert_label("", "");
	assert_label(NULL, "");
	assert_label("gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f");
	assert_label("\xff\xfe", "\xef\xbf\xbd\xef\xbf\xbd");
	assert_label("\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd");         /* overlong */
	assert_label("\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"); /* surrogate */
	assert_label("a\xe2\x82", "a\xef\xbf\xbd\xef\xbf\xbd");
	assert_label("\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80");
	/* Cut at the bound, not inside a character. */
	memset(longer, 'a', sizeof(longer));
	memcpy(longer + METRIC_LABEL_VALUE_MAX - 1, "\xc3\xbc", 3);
	metrics_label(&labels, "l", longer);
	assert_int_equal(labels.len, METRIC_LABEL_VALUE_MAX - 1 + strlen("l=\"\""));
	metrics_label(&labels, "m", "n");
	assert_string_equal(labels.p + labels.len - 6, ",m=\"n\"");
}

static void label_names(void **state)
{
	_cleanup_free_ char *a = metrics_label_name("label_", "com.example/team-a"), *b = metrics_label_name("", "9\xc3\xbc");

	assert_string_equal(a, "label_com_example_team_a");
	assert_string_equal(b, "___");
}

static void negotiation(void **state)
{
	assert_int_equal(metrics_negotiate(NULL), METRICS_PROMETHEUS);
	assert_int_equal(metrics_negotiate("*/*"), METRICS_PROMETHEUS);
	assert_int_equal(metrics_negotiate("text/plain;version=0.0.4"), METRICS_PROMETHEUS);
	assert_int_equal(metrics_negotiate("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;"
					   "q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"), METRICS_OPENMETRICS);
	assert_int_equal(metrics_negotiate("application/openmetrics-text;q=0"), METRICS_PROMETHEUS);
	assert_int_equal(metrics_negotiate("text/plain, application/openmetrics-text; q=0.9"), METRICS_OPENMETRICS);
}

static void checks(void **state)
{
	struct error err = ERROR_INIT;
	static const double descending[] = {2, 1};
	struct metric_family bad[] = {
		{"Skein_x", METRIC_GAUGE, NULL, "x", NULL, "1"},
		{"skein_x_total", METRIC_COUNTER, NULL, "x", NULL, "1"},
		{"skein_x", METRIC_GAUGE, "bytes", "x", NULL, "1"},
		{"skein_x", METRIC_GAUGE, NULL, "x.", NULL, "1"},
		{"skein_x", METRIC_GAUGE, NULL, "x", NULL, NULL},
		{"skein_x", METRIC_HISTOGRAM, NULL, "x", NULL, "1"},
		{"skein_x", METRIC_HISTOGRAM, NULL, "x", NULL, "1", descending, 2},
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(metrics_check(&bad[i], &err), -1);
	assert_int_equal(metrics_check(&gauge, NULL), 0);
	assert_int_equal(metrics_check(&histogram, NULL), 0);
	for (size_t i = 0; i < process_table.n; i++) {
		if (metrics_check(&process_table.families[i], &err) < 0)
			fail_msg("%s", err.msg);
	}
}

static void documentation(void **state)
{
	static const struct metric_family families[] = {
		{"skein_x_bytes", METRIC_GAUGE, "bytes", "This | that", "a,b", "1 per a"},
		{"skein_y", METRIC_COUNTER, NULL, "Y", NULL, "1"},
	};
	const struct metric_table table = {"Things", families, 2}, *const tables[] = {&table};
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	metrics_doc(out, tables, 1);
	fclose(out);
	assert_string_equal(text, "### Things\n\n| metric | type | meaning | labels | series |\n|---|---|---|---|---|\n"
			    "| `skein_x_bytes` | gauge | This \\| that | `a`, `b` | 1 per a |\n"
			    "| `skein_y_total` | counter | Y |  | 1 |\n");
	free(text);
}

static void own_process(void **state)
{
	struct metrics_writer w;

	metrics_begin(&w, METRICS_PROMETHEUS);
	process_collect(&w, NULL);
	process_collect_pool(&w);
	metrics_end(&w);
	assert_non_null(strstr(w.text.p, "\nprocess_open_fds "));
	assert_null(strstr(w.text.p, "\nprocess_resident_memory_bytes 0\n"));
	assert_non_null(strstr(w.text.p, "\nprocess_start_time_seconds 1"));
	metrics_fini(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_format), cmocka_unit_test(openmetrics_format), cmocka_unit_test(numbers),
		cmocka_unit_test(scaled), cmocka_unit_test(hostile_labels), cmocka_unit_test(label_names),
		cmocka_unit_test(negotiation), cmocka_unit_test(checks), cmocka_unit_test(documentation), cmocka_unit_test(own_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
