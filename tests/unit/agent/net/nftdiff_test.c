/* Listings of tables, taken apart and compared. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/net/nftdiff.h"
#include "common/mem.h"
#include "common/str.h"

static const char listing[] = "table inet skein {\n"
			      "\tmap ingress {\n"
			      "\t\ttype inet_proto . inet_service : verdict\n"
			      "\t\telements = { tcp . 80 : jump p_tcp_80 }\n"
			      "\t}\n"
			      "\n"
			      "\tchain skein-user {\n"
			      "\t\tip saddr 192.0.2.0/24 drop\n"
			      "\t}\n"
			      "\n"
			      "\tchain p_tcp_80 {\n"
			      "\t\tdnat ip to 10.0.0.1:80\n"
			      "\t}\n"
			      "}\n";

static struct strbuf found;

static void on_diff(void *data, const char *name, const char *want, const char *have)
{
	strbuf_printf(&found, "%s%s%s;", name, want ? "" : " extra", have ? "" : " missing");
}

#define assert_diff(want_text, have_text, expected)                                                \
	do {                                                                                       \
		struct nftobjects w_, h_;                                                          \
		_cleanup_free_ char *found_ = NULL;                                                \
		nftobjects_parse(want_text, &w_);                                                  \
		nftobjects_parse(have_text, &h_);                                                  \
		nftdiff(&w_, &h_, on_diff, NULL);                                                  \
		found_ = strbuf_take(&found);                                                      \
		assert_string_equal(found_, expected);                                             \
		nftobjects_fini(&w_);                                                              \
		nftobjects_fini(&h_);                                                              \
	} while (0)

static void a_listing_is_its_objects(void **state)
{
	struct nftobjects o;

	nftobjects_parse(listing, &o);
	assert_int_equal(o.n, 3);
	assert_string_equal(o.v[0].name, "map ingress");
	assert_string_equal(nftobjects_find(&o, "chain p_tcp_80")->body, "\t\tdnat ip to 10.0.0.1:80\n");
	assert_null(nftobjects_find(&o, "chain p_tcp_81"));
	nftobjects_fini(&o);
	nftobjects_parse("", &o);
	assert_int_equal(o.n, 0);
	nftobjects_fini(&o);
	nftobjects_parse("table inet skein {\n\tchain cut {\n\t\tip", &o);
	assert_int_equal(o.n, 0);
	nftobjects_fini(&o);
}

static void order_does_not_count(void **state)
{
	assert_diff("t {\n\tchain a {\n\t\tx\n\t}\n\tchain b {\n\t\ty\n\t}\n}\n",
		    "t {\n\tchain b {\n\t\ty\n\t}\n\tchain a {\n\t\tx\n\t}\n}\n", "");
}

static void differences_are_found(void **state)
{
	assert_diff(listing, "", "chain p_tcp_80 missing;chain skein-user missing;map ingress missing;");
	assert_diff("t {\n\tchain a {\n\t\tx\n\t}\n}\n", "t {\n\tchain a {\n\t\ty\n\t}\n}\n", "chain a;");
	assert_diff("", "t {\n\tchain p_tcp_1 {\n\t}\n\tchain v_0a000001 {\n\t}\n}\n",
		    "chain p_tcp_1 extra;chain v_0a000001 extra;");
}

static void the_operators_things_are_left_alone(void **state)
{
	assert_diff("t {\n\tchain skein-user {\n\t}\n}\n",
		    "t {\n\tchain skein-user {\n\t\tdrop\n\t}\n\tset mine {\n\t}\n\tchain my_own {\n\t}\n}\n", "");
}

static void what_an_earlier_agent_left_is_swept(void **state)
{
	struct nftobjects o;
	_cleanup_free_ char *text = NULL;

	nftobjects_parse(listing, &o);
	text = nftdiff_sweep(&o);
	assert_string_equal(text, "flush map inet skein ingress\n"
				  "flush chain inet skein p_tcp_80\ndelete chain inet skein p_tcp_80\n");
	nftobjects_fini(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_listing_is_its_objects),
		cmocka_unit_test(order_does_not_count),
		cmocka_unit_test(differences_are_found),
		cmocka_unit_test(the_operators_things_are_left_alone),
		cmocka_unit_test(what_an_earlier_agent_left_is_swept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
