/* What the command line and the file may say together. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/config.h"
#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <string.h>

/* Without a file of the machine; "" when it is accepted. */
static void expect(const char *a, const char *b, const char *why)
{
	char *argv[] = {(char *)"cluster-agent", (char *)"--config=/dev/null", (char *)a, (char *)b, NULL};
	struct agent_config config = {0};
	struct error err = ERROR_INIT;
	int r = agent_config_load(&config, b ? 4 : 3, argv, &err);

	agent_config_fini(&config);
	assert_int_equal(r, *why ? -1 : 0);
	assert_string_equal(err.msg, why);
	assert_int_equal(err.code, *why ? ERR_INVALID : ERR_OK);
}

static void labels_of_metrics_are_different(void **state)
{
	expect("--metrics-label=a.b", "--metrics-label=a-c", "");
	expect("--metrics-label=a.b", "--metrics-label=a-b",
	       "--metrics-label a.b and --metrics-label a-b are both the label label_a_b: accepted is one of them");
	expect("--metrics-label=team", "--metrics-label=team",
	       "--metrics-label team and --metrics-label team are both the label label_team: accepted is one of them");
}

static void certificate_and_key_go_together(void **state)
{
	expect("--metrics-cert=/c", "--metrics-key=/k", "");
	expect("--metrics-cert=/c", NULL, "--metrics-cert and --metrics-key go together");
	expect("--metrics-client-ca=/c", NULL, "--metrics-client-ca needs --metrics-cert and --metrics-key");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(labels_of_metrics_are_different),
		cmocka_unit_test(certificate_and_key_go_together),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
