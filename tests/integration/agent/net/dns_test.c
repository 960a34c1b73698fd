/* Names over real sockets: ours, and those of others. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/dns_world.h"

/* ---------------------------------------------------------------- names of ours */

static void names_of_the_cluster(void **state)
{
	says("+short web", "10.0.1.2\n");
	says("+short +tcp web", "10.0.1.2\n");
	says("+short web AAAA", "fd00:1::2\n");
	says("+short web.2", "10.0.1.12\n");
	says("+short -x 10.0.1.11", "web.1.front.\n");
	says("+short -x fd00:1::2", "web.front.\n");
	contains("web MX", "status: NOERROR");
	contains("-x 10.0.1.99", "status: NXDOMAIN");
	contains("web", "\t5\tIN\tA\t10.0.1.2");
	contains("tasks.db", "ANSWER: 2,");
	contains("+noedns web", "ADDITIONAL: 0");
	/* nobody else was asked */
	for (unsigned i = 0; i < UPSTREAMS; i++)
		assert_int_equal(w.upstreams[i].by_udp + w.upstreams[i].by_tcp, 0);
}

/* ---------------------------------------------------------------- names of others */

static void the_first_two_are_asked_at_once(void **state)
{
	const char *got = dig("+short www.example.com");

	assert_true(str_eq(got, "192.0.2.1\n") || str_eq(got, "192.0.2.2\n"));
	assert_int_equal(w.upstreams[0].by_udp, 1);
	assert_int_equal(w.upstreams[1].by_udp, 1);
	assert_int_equal(w.upstreams[2].by_udp, 0);
	contains("+tcp www.example.com", "ANSWER: 1,");
	assert_int_equal(w.upstreams[0].by_tcp, 0); /* it was not truncated */
}

static void one_silent_resolver_costs_no_time(void **state)
{
	int64_t begin = clock_mono_ns();

	w.upstreams[0].behaviour = SILENT;
	says("+short www.example.com", "192.0.2.2\n");
	assert_true(clock_mono_ns() - begin < 2 * NS_PER_SEC);
}

static void one_that_fails_neither(void **state)
{
	int64_t begin = clock_mono_ns();

	w.upstreams[0].behaviour = w.upstreams[1].behaviour = FAIL;
	says("+short www.example.com", "192.0.2.3\n");
	assert_true(clock_mono_ns() - begin < 2 * NS_PER_SEC);
}

static void one_that_is_not_there_neither(void **state)
{
	int64_t begin;

	write_resolv("nameserver 127.0.7.77\nnameserver 127.0.7.78\nnameserver 127.0.7.3\n");
	until(str_eq(dig("+short www.example.com"), "192.0.2.3\n")); /* it has been read */
	begin = clock_mono_ns();
	says("+short www.example.com", "192.0.2.3\n");
	assert_true(clock_mono_ns() - begin < 2 * NS_PER_SEC);
}

static void the_others_come_after_two_seconds(void **state)
{
	int64_t begin = clock_mono_ns();

	w.upstreams[0].behaviour = w.upstreams[1].behaviour = SILENT;
	says("+short www.example.com", "192.0.2.3\n");
	assert_true(clock_mono_ns() - begin >= 2 * NS_PER_SEC);
}

static void without_any_answer_it_fails(void **state)
{
	for (unsigned i = 0; i < UPSTREAMS; i++)
		w.upstreams[i].behaviour = SILENT;
	contains("www.example.com", "status: SERVFAIL");
}

static void without_any_resolver_too(void **state)
{
	write_resolv("# none\n");
	until(strstr(dig("www.example.com"), "status: SERVFAIL"));
	says("+short web", "10.0.1.2\n");
}

/* A service's first label must not hide a name of the outside; what nobody there has is ours. */
static void search_domains_of_others_come_first(void **state)
{
	w.upstreams[0].behaviour = SILENT;
	says("+short web.corp.example", "192.0.2.2\n");
	for (unsigned i = 0; i < UPSTREAMS; i++)
		w.upstreams[i].behaviour = NO_SUCH_NAME;
	says("+short web.corp.example", "10.0.1.2\n");
	says("+short +tcp web.1.front.corp.example AAAA", "fd00:1::11\n");
	contains("nothing.corp.example", "status: NXDOMAIN");
}

static void the_last_word_of_a_resolver_is_passed_on(void **state)
{
	for (unsigned i = 0; i < UPSTREAMS; i++)
		w.upstreams[i].behaviour = i == 0 ? NO_SUCH_NAME : SILENT;
	contains("nosuch.example.com", "status: NXDOMAIN");
}

static void forged_answers_are_not_taken(void **state)
{
	w.upstreams[0].behaviour = LIE_FIRST;
	w.upstreams[1].behaviour = SILENT;
	says("+short www.example.com", "192.0.2.1\n");
}

static void large_answers_come_by_tcp(void **state)
{
	w.upstreams[0].behaviour = TRUNCATE;
	w.upstreams[1].behaviour = SILENT;
	contains("+ignore www.example.com", "flags: qr tc");
	assert_int_equal(w.upstreams[0].by_tcp, 0);
	contains("+tcp www.example.com", "ANSWER: 40,");
	assert_int_equal(w.upstreams[0].by_tcp, 1);
	/* dig itself goes on by TCP */
	contains("www.example.com", "ANSWER: 40,");
	assert_int_equal(w.upstreams[0].by_tcp, 2);
}

static void the_specs_resolvers_are_asked_instead(void **state)
{
	pb_container_spec *spec = w.task->spec->container;

	pb_strs_add(&spec->n_dns_servers, &spec->dns_servers, "127.0.7.3");
	attach_again();
	says("+short www.example.com", "192.0.2.3\n");
	assert_int_equal(w.upstreams[0].by_udp, 0);
}

static void a_changed_resolv_conf_counts(void **state)
{
	says("+short web", "10.0.1.2\n");
	contains("www.example.com", "ANSWER: 1,");
	write_resolv("nameserver 127.0.7.3\n");
	until(str_eq(dig("+short www.example.com"), "192.0.2.3\n"));
}

static void internal_networks_do_not_lead_out(void **state)
{
	pb_set_str(&w.task->networks[0]->network_id, "back-id");
	attach_again();
	contains("www.example.com", "status: REFUSED");
	says("+short other", "10.0.2.2\n");
	assert_int_equal(w.upstreams[0].by_udp, 0);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(names_of_the_cluster),
		T(the_first_two_are_asked_at_once),
		T(one_silent_resolver_costs_no_time),
		T(one_that_fails_neither),
		T(one_that_is_not_there_neither),
		T(the_others_come_after_two_seconds),
		T(without_any_answer_it_fails),
		T(without_any_resolver_too),
		T(search_domains_of_others_come_first),
		T(the_last_word_of_a_resolver_is_passed_on),
		T(forged_answers_are_not_taken),
		T(large_answers_come_by_tcp),
		T(the_specs_resolvers_are_asked_instead),
		T(a_changed_resolv_conf_counts),
		T(internal_networks_do_not_lead_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
