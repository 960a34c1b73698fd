/* Who may connect, who may call what, and new certificates while connections live. */
#include "fixture.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/stat.h>

static void a_manager_calls_and_is_known(void **state)
{
	struct fixture *f = *state;
	struct outcome o = get_info(f, channel_as(f, "manager"));

	assert_int_equal(o.code, ERR_OK);
	assert_string_equal(o.text, "the cluster");
	assert_int_equal(f->peer.role, RPC_ROLE_MANAGER);
	assert_string_equal(f->peer.node_id, "n1");
	assert_string_equal(f->peer.cluster_id, "c1");
	assert_int_equal(strncmp(f->peer.address, "ipv4:127.0.0.1:", 15), 0);
}

static void a_worker_is_denied_what_managers_may(void **state)
{
	struct fixture *f = *state;
	struct rpc_channel *c = channel_as(f, "worker");
	struct outcome o = get_info(f, c);

	assert_int_equal(o.code, ERR_DENIED);
	assert_non_null(strstr(o.msg, "skein.Control/GetInfo may not be called by a worker"));
	assert_int_equal(f->calls, 0);
	assert_int_equal(f->dones, 0);

	start_session(f, c, 0, &f->a);
	send_beat(f->a.call, 1, NULL);
	run_until(f, f->a.messages == 1);
	assert_int_equal(f->peer.role, RPC_ROLE_WORKER);
}

static void without_a_certificate_only_some_methods(void **state)
{
	struct fixture *f = *state;
	struct rpc_channel *c = channel_as(f, NULL);
	struct outcome o = get_root(f, c);

	assert_int_equal(o.code, ERR_OK);
	assert_int_equal(f->peer.role, RPC_ROLE_ANONYMOUS);
	assert_string_equal(f->peer.node_id, "");
	assert_int_equal(get_info(f, c).code, ERR_UNAUTHENTICATED);
	assert_int_equal(f->calls, 0);
}

/* The bytes are rubbish for the method: the role is asked first. */
static void the_role_is_checked_before_the_message(void **state)
{
	struct fixture *f = *state;
	struct rpc_channel *anonymous = channel_as(f, NULL), *worker = channel_as(f, "worker");
	Skein__RenewRequest request = SKEIN__RENEW_REQUEST__INIT;
	struct outcome o;

	request.csr_pem = "longer than the sixteen bytes accepted";
	o = call_unary(f, anonymous, &skein__ca__descriptor, "Renew", &request.base);
	assert_int_equal(o.code, ERR_UNAUTHENTICATED);
	o = call_unary(f, worker, &skein__ca__descriptor, "Renew", &request.base);
	assert_int_equal(o.code, ERR_EXHAUSTED);
	assert_non_null(strstr(o.msg, "at most 16"));
	request.csr_pem = "";
	o = call_unary(f, worker, &skein__ca__descriptor, "Renew", &request.base);
	assert_int_equal(o.code, ERR_OK);
	assert_string_equal(o.text, "n1");
}

static void a_certificate_without_a_role_is_anonymous(void **state)
{
	struct fixture *f = *state;
	struct pki_cert cert =
		pki_issue(&f->pki, "n1", "c1", "manager", "DNS:manager.skein.internal", 3600);
	struct rpc_channel *c = channel_to(
		f, f->target, rpc_creds_new(f->pki.root_pem, cert.cert_pem, cert.key_pem));

	assert_int_equal(get_root(f, c).code, ERR_OK);
	assert_int_equal(f->peer.role, RPC_ROLE_ANONYMOUS);
	assert_int_equal(get_info(f, c).code, ERR_UNAUTHENTICATED);
	pki_cert_fini(&cert);
}

static void foreign_and_expired_certificates_do_not_connect(void **state)
{
	struct fixture *f = *state;
	struct pki other;
	struct pki_cert cert;

	pki_init(&other, "other ca");
	cert = pki_node(&other, "n1", "manager", 3600);
	assert_int_equal(
		get_root(f, channel_to(f, f->target,
				       rpc_creds_new(f->pki.root_pem, cert.cert_pem, cert.key_pem)))
			.code,
		ERR_UNAVAILABLE);
	pki_cert_fini(&cert);

	cert = pki_node(&f->pki, "n1", "manager", -60);
	assert_int_equal(
		get_root(f, channel_to(f, f->target,
				       rpc_creds_new(f->pki.root_pem, cert.cert_pem, cert.key_pem)))
			.code,
		ERR_UNAVAILABLE);
	pki_cert_fini(&cert);

	/* We do not talk to the server of another CA either. */
	assert_int_equal(
		get_root(f, channel_to(f, f->target, rpc_creds_new(other.root_pem, NULL, NULL)))
			.code,
		ERR_UNAVAILABLE);
	pki_fini(&other);
}

static void a_worker_cannot_pose_as_manager(void **state)
{
	struct fixture *f = *state;
	struct rpc_creds *creds = node_creds(f, "w1", "worker");
	struct rpc_server *fake = rpc_server_new(f->rpc, creds);
	struct rpc_channel_options options = {.creds = creds};
	struct error err = ERROR_INIT;
	char target[64];
	int port;

	offer(fake, f);
	assert_int_equal(rpc_server_listen(fake, "127.0.0.1:0", 0, &port, &err), 0);
	rpc_server_start(fake);
	snprintf(target, sizeof(target), "127.0.0.1:%d", port);
	options.target = target;
	assert_int_equal(get_root(f, rpc_channel_new(f->rpc, &options)).code, ERR_UNAVAILABLE);

	options.server_name = RPC_NODE_NAME; /* as a node it is what it says */
	assert_int_equal(get_root(f, rpc_channel_new(f->rpc, &options)).code, ERR_OK);
	rpc_creds_unref(creds);
}

static int guard_n2(struct rpc_peer *peer, void *data, struct error *err)
{
	return str_eq(peer->node_id, "n2")
		       ? error_set(err, ERR_DENIED, "node %s was removed", peer->node_id)
		       : 0;
}

static void the_guard_refuses_removed_nodes(void **state)
{
	struct fixture *f = *state;
	struct rpc_channel *removed = channel_to(f, f->target, node_creds(f, "n2", "manager"));
	struct outcome o;

	rpc_server_set_guard(f->server, guard_n2, f);
	o = get_info(f, removed);
	assert_int_equal(o.code, ERR_DENIED);
	assert_string_equal(o.msg, "node n2 was removed");
	assert_int_equal(f->calls, 0);
	assert_int_equal(get_info(f, channel_as(f, "manager")).code, ERR_OK);
}

static int guard_demoted(struct rpc_peer *peer, void *data, struct error *err)
{
	if (peer->role == RPC_ROLE_MANAGER)
		peer->role = RPC_ROLE_WORKER;
	return 0;
}

static void the_guard_may_lower_a_role(void **state)
{
	struct fixture *f = *state;
	struct rpc_channel *c = channel_as(f, "manager");

	rpc_server_set_guard(f->server, guard_demoted, f);
	assert_int_equal(get_info(f, c).code, ERR_DENIED);
	assert_int_equal(f->calls, 0);
	start_session(f, c, 0, &f->a);
	send_beat(f->a.call, 1, NULL);
	run_until(f, f->a.messages == 1);
	assert_int_equal(f->peer.role, RPC_ROLE_WORKER);
}

static void unknown_methods_are_unimplemented(void **state)
{
	struct fixture *f = *state;
	Skein__ListRequest request = SKEIN__LIST_REQUEST__INIT;

	assert_int_equal(call_unary(f, channel_as(f, "manager"), &skein__control__descriptor,
				    "ListNodes", &request.base)
				 .code,
			 ERR_UNIMPLEMENTED);
}

static void renewal_keeps_connections(void **state)
{
	struct fixture *f = *state;
	struct rpc_creds *creds = node_creds(f, "n1", "manager");
	struct rpc_channel *c = channel_to(f, f->target, rpc_creds_ref(creds));
	struct pki_cert cert;
	struct pki next;
	char *both;

	start_session(f, c, 0, &f->a);
	send_beat(f->a.call, 1, NULL);
	run_until(f, f->a.messages == 1);

	/* A new CA takes over: both are trusted for a while, everybody gets a new certificate. */
	pki_init(&next, "next ca");
	both = xasprintf("%s%s", f->pki.root_pem, next.root_pem);
	cert = pki_node(&next, "m1", "manager", 3600);
	rpc_creds_update(f->server_creds, both, cert.cert_pem, cert.key_pem);
	pki_cert_fini(&cert);
	cert = pki_node(&next, "n9", "manager", 3600);
	rpc_creds_update(creds, both, cert.cert_pem, cert.key_pem);
	pki_cert_fini(&cert);

	/* The next call is made with the new one, under which the server knows us. */
	assert_int_equal(get_info(f, c).code, ERR_OK);
	assert_string_equal(f->peer.node_id, "n9");

	/* The old session is the same connection as before. */
	send_beat(f->a.call, 2, NULL);
	run_until(f, f->a.messages == 2);
	assert_string_equal(f->peer.node_id, "n1");
	assert_int_equal(f->a.done, 0);

	/* Who trusts only the old CA is out: the server shows its new certificate. */
	assert_int_equal(get_root(f, channel_as(f, NULL)).code, ERR_UNAVAILABLE);
	rpc_creds_unref(creds);
	free(both);
	pki_fini(&next);
}

static void a_local_socket_has_its_own_role(void **state)
{
	struct fixture *f = *state;
	struct rpc_server *local = rpc_server_new(f->rpc, NULL);
	struct error err = ERROR_INIT;
	struct rpc_channel *c;
	bool closed = false;
	char address[128];
	struct stat st;
	int port = 1;

	assert_int_equal(rpc_server_listen(local, "127.0.0.1:0", 0, &port, &err), -1);
	assert_int_equal(err.code, ERR_INVALID);

	/* The socket of a daemon that was killed is in the way. */
	snprintf(address, sizeof(address), "unix:%s/s", f->dir);
	for (int i = 0; i < 2; i++) {
		struct sockaddr_un {
			sa_family_t family;
			char path[108];
		} old = {.family = AF_UNIX};
		int fd = socket(AF_UNIX, SOCK_STREAM, 0);

		strcpy(old.path, address + 5);
		if (i == 0)
			assert_int_equal(bind(fd, (struct sockaddr *)&old, sizeof(old)), 0);
		close(fd);
	}
	offer(local, f);
	if (rpc_server_listen(local, address, 0620, &port, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(port, 0);
	rpc_server_start(local);
	assert_int_equal(stat(address + 5, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0620);

	c = channel_to(f, address, NULL);
	assert_int_equal(get_info(f, c).code, ERR_OK);
	assert_int_equal(f->peer.role, RPC_ROLE_LOCAL);

	rpc_server_close(local, on_flag, &closed);
	run_until(f, closed);
	assert_int_equal(get_info(f, c).code, ERR_UNAVAILABLE);
	assert_int_equal(stat(address + 5, &st), -1);
}

static void addresses_that_do_not_work_say_why(void **state)
{
	struct fixture *f = *state;
	struct rpc_server *s = rpc_server_new(f->rpc, f->server_creds);
	struct error err = ERROR_INIT;
	char path[128];
	FILE *file;

	assert_int_equal(rpc_server_listen(s, f->target, 0, NULL, &err), -1);
	assert_int_equal(err.code, ERR_EXISTS);
	assert_non_null(strstr(err.msg, f->target));

	assert_int_equal(rpc_server_listen(s, "192.0.2.1:2377", 0, NULL, &err), -1);
	assert_non_null(strstr(err.msg, "192.0.2.1:2377"));
	assert_int_equal(rpc_server_listen(s, "rubbish", 0, NULL, &err), -1);
	assert_int_equal(err.code, ERR_INVALID);
	assert_int_equal(rpc_server_listen(s, "unix:relative", 0600, NULL, &err), -1);
	assert_int_equal(err.code, ERR_INVALID);

	/* Not a socket: not ours to remove. */
	snprintf(path, sizeof(path), "unix:%s/file", f->dir);
	file = fopen(path + 5, "w");
	fclose(file);
	assert_int_equal(rpc_server_listen(s, path, 0600, NULL, &err), -1);
	assert_int_equal(err.code, ERR_EXISTS);
	assert_int_equal(unlink(path + 5), 0);
}

static void host_names_and_ipv6_are_targets(void **state)
{
	struct fixture *f = *state;
	struct rpc_server *six = rpc_server_new(f->rpc, f->server_creds);
	struct error err = ERROR_INIT;
	char target[64];
	int port;

	snprintf(target, sizeof(target), "localhost%s", strrchr(f->target, ':'));
	assert_int_equal(get_info(f, channel_to(f, target, node_creds(f, "n1", "manager"))).code,
			 ERR_OK);

	offer(six, f);
	if (rpc_server_listen(six, "[::1]:0", 0, &port, &err) < 0) {
		print_message("no IPv6 here: %s\n", err.msg);
		skip();
	}
	rpc_server_start(six);
	snprintf(target, sizeof(target), "[::1]:%d", port);
	assert_int_equal(get_info(f, channel_to(f, target, node_creds(f, "n1", "manager"))).code,
			 ERR_OK);
	assert_int_equal(strncmp(f->peer.address, "ipv6:", 5), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_manager_calls_and_is_known),
		TEST(a_worker_is_denied_what_managers_may),
		TEST(without_a_certificate_only_some_methods),
		TEST(the_role_is_checked_before_the_message),
		TEST(a_certificate_without_a_role_is_anonymous),
		TEST(foreign_and_expired_certificates_do_not_connect),
		TEST(a_worker_cannot_pose_as_manager),
		TEST(the_guard_refuses_removed_nodes),
		TEST(the_guard_may_lower_a_role),
		TEST(unknown_methods_are_unimplemented),
		TEST(renewal_keeps_connections),
		TEST(a_local_socket_has_its_own_role),
		TEST(host_names_and_ipv6_are_targets),
		TEST(addresses_that_do_not_work_say_why),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
