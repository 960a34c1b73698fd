#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/pki.h"
#include "common/tls.h"
#include "support/tls_server.h"

#include <signal.h>

#define HOUR INT64_C(3600000000000)

static char *root, *root_key, *key, *chain, *leaf;

static int setup_all(void **state)
{
	_cleanup_free_ char *csr = NULL;
	struct pki_issue issue = {.node_id = "n1", .cluster_id = "c1", .role = PKI_MANAGER, .life_ns = HOUR};

	signal(SIGPIPE, SIG_IGN);
	issue.now_ns = clock_wall_ns();
	if (pki_root_new("c1", issue.now_ns, &root, &root_key, NULL) < 0 || pki_key_new(&key, NULL) < 0 ||
	    pki_csr_new(key, &csr, NULL) < 0)
		return -1;
	issue.root_cert_pem = root;
	issue.root_key_pem = root_key;
	issue.csr_pem = csr;
	if (pki_issue(&issue, &leaf, NULL) < 0)
		return -1;
	chain = pki_chain(leaf, root);
	return 0;
}

static int teardown_all(void **state)
{
	free(root);
	pki_secret_free(root_key);
	pki_secret_free(key);
	free(chain);
	free(leaf);
	return 0;
}

static void whole_chain_is_fetched(void **state)
{
	_cleanup_free_ char *got = NULL;
	struct tls_server server;

	tls_server_start(&server, TLS_SERVER_GOOD, chain, key);
	assert_int_equal(tls_fetch_chain("127.0.0.1", (uint16_t)server.port, 5000, &got, NULL), 0);
	tls_server_stop(&server);
	assert_string_equal(got, chain);
}

static void nobody_listens(void **state)
{
	_cleanup_free_ char *got = NULL;
	struct error err = ERROR_INIT;
	struct tls_server server;

	tls_server_start(&server, TLS_SERVER_RUDE, NULL, NULL);
	tls_server_stop(&server);
	assert_int_equal(tls_fetch_chain("127.0.0.1", (uint16_t)server.port, 5000, &got, &err), -1);
	assert_int_equal(err.code, ERR_UNAVAILABLE);
	assert_int_equal(tls_fetch_chain("no.such.host.invalid", 1, 5000, &got, &err), -1);
	assert_int_equal(err.code, ERR_UNAVAILABLE);
	assert_null(got);
}

static void not_a_tls_server(void **state)
{
	_cleanup_free_ char *got = NULL;
	struct error err = ERROR_INIT;
	struct tls_server server;

	tls_server_start(&server, TLS_SERVER_RUDE, NULL, NULL);
	assert_int_equal(tls_fetch_chain("127.0.0.1", (uint16_t)server.port, 5000, &got, &err), -1);
	tls_server_stop(&server);
	assert_int_equal(err.code, ERR_UNAVAILABLE);
}

static void silence_ends_at_the_deadline(void **state)
{
	_cleanup_free_ char *got = NULL;
	struct error err = ERROR_INIT;
	struct tls_server server;
	int64_t begin;

	tls_server_start(&server, TLS_SERVER_SILENT, NULL, NULL);
	begin = clock_mono_ns();
	assert_int_equal(tls_fetch_chain("127.0.0.1", (uint16_t)server.port, 200, &got, &err), -1);
	assert_true(clock_mono_ns() - begin >= 200 * NS_PER_MS);
	tls_server_stop(&server);
	assert_int_equal(err.code, ERR_TIMEOUT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_chain_is_fetched),
		cmocka_unit_test(nobody_listens),
		cmocka_unit_test(not_a_tls_server),
		cmocka_unit_test(silence_ends_at_the_deadline),
	};

	return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
