#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/build.h"

#include "manager/scheduler/constraint.h"

#include "common/error.h"

static pb_node *sample(void)
{
	return node("n1", .labels = "rack=a;Zone=North;empty=", .engine_labels = "disk=ssd",
		    .hostname = "Alpha", .address = "10.1.2.3", .role = NODE_ROLE_MANAGER)
		.obj;
}

static bool holds(const char *text, const pb_node *n)
{
	struct constraint c;
	struct error err = ERROR_INIT;

	if (constraint_parse(text, &c, &err) < 0)
		fail_msg("%s", err.msg);
	return constraint_matches(&c, n);
}

static void matching(void **state)
{
	static const struct {
		const char *text;
		bool holds;
	} cases[] = {
		{"node.id==n1", true},
		{"node.id!=n1", false},
		{"node.id==n2", false},
		{"node.hostname==alpha", true}, /* values: without regard to case */
		{"NODE.HOSTNAME == ALPHA ", true},
		{"node.role==manager", true},
		{"node.role==MANAGER", true},
		{"node.role!=worker", true},
		{"node.role==worker", false},
		{"node.platform.os==linux", true},
		{"node.platform.arch==x86_64", true},
		{"node.platform.arch==amd64", true},
		{"node.platform.arch!=amd64", false},
		{"node.platform.arch==arm64", false},
		{"node.labels.rack==a", true},
		{"node.labels.rack==A", true},
		{"node.labels.Rack==a", false}, /* names of labels: with regard to case */
		{"node.labels.rack!=b", true},
		{"node.labels.Zone==north", true},
		{"node.labels.none!=x", true}, /* a missing label is "" */
		{"node.labels.none==x", false},
		{"node.labels.rack==a*", false}, /* no patterns */
		{"engine.labels.disk==ssd", true},
		{"engine.labels.disk!=ssd", false},
		{"node.ip==10.1.2.3", true},
		{"node.ip!=10.1.2.3", false},
		{"node.ip==10.1.2.4", false},
		{"node.ip==10.1.0.0/16", true},
		{"node.ip==10.1.2.0/31", false},
		{"node.ip==10.1.2.2/31", true},
		{"node.ip!=10.2.0.0/16", true},
		{"node.ip==0.0.0.0/0", true},
		{"node.ip==::/0", false}, /* the other family */
	};
	_cleanup_pb_ pb_node *n = sample();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (holds(cases[i].text, n) != cases[i].holds)
			fail_msg("%s should%s hold", cases[i].text, cases[i].holds ? "" : " not");
}

static void refused(void **state)
{
	static const struct {
		const char *text, *in_message;
	} cases[] = {
		{"", "expected one operator from ==, !="},
		{"node.role", "expected one operator from ==, !="},
		{"node.role=manager", "expected one operator from ==, !="},
		{"node.role>=manager", "expected one operator from ==, !="},
		{"==x", "unknown key \"\""},
		{"node.rolle==x", "unknown key \"node.rolle\" (accepted: node.id, "},
		{"node.labels.==x", "unknown key \"node.labels.\""},
		{"node.labels.a b==x", "unknown key \"node.labels.a b\""},
		{"1node.id==x", "unknown key"},
		{"node.id==", "value \"\" is invalid (accepted: "},
		{"node.id==  ", "value \"\" is invalid"},
		{"node.id==a=b", "value \"a=b\" is invalid"},
		{"node.id==a!b", "value \"a!b\" is invalid"},
		{"node.ip==10.0.0", "(accepted: an IP address or a network such as 10.0.0.0/8)"},
		{"node.ip==10.0.0.0/33", "(accepted: an IP address or a network"},
		{"node.ip==10.0.0.0/", "(accepted: an IP address or a network"},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct error err = ERROR_INIT;
		struct constraint c;

		assert_int_equal(constraint_parse(cases[i].text, &c, &err), -1);
		assert_int_equal(err.code, ERR_INVALID);
		if (!strstr(err.msg, cases[i].in_message) || !strstr(err.msg, cases[i].text))
			fail_msg("%s: %s", cases[i].text, err.msg);
	}
}

static void long_text_is_refused(void **state)
{
	char text[CONSTRAINT_MAX + 20];
	struct error err = ERROR_INIT;
	struct constraint c;

	memset(text, 'a', sizeof(text));
	memcpy(text, "node.labels.x==", 15);
	text[sizeof(text) - 1] = '\0';
	assert_int_equal(constraint_parse(text, &c, &err), -1);
	assert_non_null(strstr(err.msg, "longer than 512"));
}

static void all_of_a_placement(void **state)
{
	_cleanup_pb_ pb_node *n = sample();
	_cleanup_pb_ pb_placement *placement = pb_new(&skein__placement__descriptor);

	assert_true(constraint_all_match(NULL, n));
	assert_true(constraint_all_match(placement, n));
	pb_strs_add(&placement->n_constraints, &placement->constraints, "node.labels.rack==a");
	assert_true(constraint_all_match(placement, n));
	pb_strs_add(&placement->n_constraints, &placement->constraints, "node.role==worker");
	assert_string_equal(constraint_first_mismatch(placement, n), "node.role==worker");
	pb_strs_del(&placement->n_constraints, &placement->constraints, 1);
	/* Stored by somebody who checked less: holds nowhere. */
	pb_strs_add(&placement->n_constraints, &placement->constraints, "nonsense");
	assert_false(constraint_all_match(placement, n));
}

static void node_without_description(void **state)
{
	_cleanup_pb_ pb_node *n = pb_new(&skein__node__descriptor);

	pb_set_str(&n->id, "n1");
	assert_false(holds("node.hostname==x", n));
	assert_true(holds("node.hostname!=x", n));
	assert_false(holds("node.labels.rack==a", n));
	assert_true(holds("engine.labels.rack!=a", n));
	assert_false(holds("node.ip==10.0.0.1", n));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(matching),
		cmocka_unit_test(refused),
		cmocka_unit_test(long_text_is_refused),
		cmocka_unit_test(all_of_a_placement),
		cmocka_unit_test(node_without_description),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
