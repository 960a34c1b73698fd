/*
 * Files and bytes from agent to agent: the real stream over mutual TLS, real trees, and at the other end of the page sockets a
 * reader of the test's own in place of criu.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/migrate/frames.h"
#include "agent/migrate/incoming.h"
#include "agent/migrate/outgoing.h"
#include "common/digest.h"
#include "common/error.h"
#include "common/file.h"
#include "common/loop.h"
#include "common/mem.h"
#include "common/str.h"
#include "proto/pb.h"
#include "rpc/rpc.h"
#include "support/imagemaker.h"
#include "support/pki.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>

const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "ignore_noninstrumented_modules=1";
}

/* What stands for criu's page server: reads to the end, answers each MiB with a byte. */
struct reader {
	int fd;
	uint64_t bytes;
	unsigned slow_us;
	struct digest_sum *sum;
	char digest[DIGEST_MAX];
	pthread_t thread;
};

struct fixture {
	char dir[64], from[96], to[96], address[32];
	uv_loop_t loop;
	struct rpc *rpc;
	struct pki pki;
	struct rpc_creds *creds;
	struct rpc_server *server;
	/* the target's */
	struct incoming *in;
	struct rpc_call *call;
	struct reader reader;
	bool has_reader, in_over, sent;
	uint32_t sent_round;
	struct error in_err;
	uv_timer_t timer;            /* waits for the reader */
	/* the source's */
	struct outgoing *out;
	bool out_over, done, pages_done;
	struct error err, out_err, pages_err;
	struct snapshot *now;
	uint64_t bytes, pages;
};

/* ---------------------------------------------------------------- target */

static void *read_all(void *data)
{
	static uint8_t buf[65536];
	struct reader *r = data;
	uint64_t answered = 0;
	ssize_t n;

	while ((n = recv(r->fd, buf, sizeof(buf), 0)) > 0) {
		digest_sum_add(r->sum, buf, (size_t)n);
		r->bytes += (uint64_t)n;
		if (r->slow_us)
			usleep(r->slow_us);
		for (; answered < r->bytes >> 20; answered++)
			send(r->fd, "k", 1, MSG_NOSIGNAL);
	}
	digest_sum_end(r->sum, r->digest);
	shutdown(r->fd, SHUT_RDWR);
	return NULL;
}

static void look_for_reader(uv_timer_t *timer)
{
	struct fixture *f = timer->data;

	if (pthread_tryjoin_np(f->reader.thread, NULL) != 0)
		return;
	uv_timer_stop(timer);
	close(f->reader.fd);
	digest_sum_free(f->reader.sum);
	f->has_reader = false;
	if (f->in)
		incoming_round_done(f->in, NULL);
}

static char *item_dir(void *data, const char *name, struct error *err)
{
	struct fixture *f = data;

	return xasprintf("%s/%s", f->to, name);
}

static int begin_pages(void *data, uint32_t round, uint32_t parent, struct error *err)
{
	struct fixture *f = data;
	int fds[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	f->reader = (struct reader){.fd = fds[0], .sum = digest_sum_new(), .slow_us = f->reader.slow_us};
	f->has_reader = true;
	pthread_create(&f->reader.thread, NULL, read_all, &f->reader);
	uv_timer_start(&f->timer, look_for_reader, 1, 1);
	return fds[1];
}

static void on_sent(void *data, uint32_t round)
{
	struct fixture *f = data;
	Skein__MoveAck ack = SKEIN__MOVE_ACK__INIT;

	f->sent = true;
	f->sent_round = round;
	ack.body_case = SKEIN__MOVE_ACK__BODY_RECEIVED;
	ack.received = true;
	incoming_ack(f->in, &ack);
	incoming_finish(f->in, NULL);
}

static void on_in_end(void *data, const struct error *err)
{
	struct fixture *f = data;

	f->in = NULL;
	f->in_over = true;
	if (err)
		f->in_err = *err;
}

static void on_move(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	static const struct incoming_handlers handlers = {.dir = item_dir, .pages = begin_pages, .sent = on_sent, .end = on_in_end};
	const Skein__MoveChunk *chunk = (const Skein__MoveChunk *)msg;
	struct fixture *f = data;

	f->call = call;
	if (f->in)
		incoming_take(f->in, chunk);
	else
		f->in = incoming_new(&f->loop, call, chunk->hello, &handlers, f);
}

static void on_half_close(struct rpc_call *call, void *data)
{
}

static void on_move_done(struct rpc_call *call, void *data)
{
	struct fixture *f = data;

	f->call = NULL;
	if (f->in)
		incoming_gone(f->in);
}

/* ---------------------------------------------------------------- source */

static void on_ack(void *data, const Skein__MoveAck *ack)
{
	struct fixture *f = data;

	if (ack->body_case == SKEIN__MOVE_ACK__BODY_RECEIVED)
		f->done = true;
}

static void on_end(void *data, const struct error *err)
{
	struct fixture *f = data;

	f->out_over = true;
	if (err)
		f->out_err = *err;
}

static void on_tree(void *data, struct snapshot *now, uint64_t bytes, const struct error *err)
{
	struct fixture *f = data;

	f->now = now;
	f->bytes = bytes;
	f->done = true;
	f->err = err ? *err : ERROR_INIT;
}

static void on_pages(void *data, uint64_t bytes, const struct error *err)
{
	struct fixture *f = data;

	f->pages = bytes;
	f->pages_done = true;
	f->pages_err = err ? *err : ERROR_INIT;
}

static void open_stream(struct fixture *f)
{
	static uint8_t ticket[FRAMES_TICKET_BYTES];
	Skein__MoveChunk chunk = SKEIN__MOVE_CHUNK__INIT;
	Skein__MoveHello hello = SKEIN__MOVE_HELLO__INIT;
	Skein__MoveFacts facts = SKEIN__MOVE_FACTS__INIT;
	struct outgoing_options options = {
		.loop = &f->loop, .rpc = f->rpc, .creds = f->creds, .address = f->address, .on_ack = on_ack, .on_end = on_end, .data = f,
	};

	f->out = outgoing_open(&options);
	hello.migration_id = "0123456789abcdefghijklmno";
	hello.ticket = (ProtobufCBinaryData){sizeof(ticket), ticket};
	hello.facts = &facts;
	chunk.body_case = SKEIN__MOVE_CHUNK__BODY_HELLO;
	chunk.hello = &hello;
	assert_int_equal(outgoing_send(f->out, &chunk), 0);
}

static void drop_snapshot(struct fixture *f)
{
	if (f->now)
		snapshot_fini(f->now);
	free(f->now);
	f->now = NULL;
}

static void begin_tree(struct fixture *f, struct snapshot *before)
{
	struct send_tree_options options = {.dir = f->from, .name = "upper", .before = before, .still = before != NULL};

	f->done = false;
	send_tree(f->out, &options, on_tree, f);
}

static void expect_file(const char *dir, const char *name, const void *data, size_t len)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name), *got = NULL;
	struct error err = ERROR_INIT;
	size_t got_len;

	if (file_read(path, 64 << 20, &got, &got_len, &err) < 0)
		fail_msg("%s", err.msg);
	assert_int_equal(got_len, len);
	assert_memory_equal(got, data, len);
}

static void put(struct fixture *f, const char *name, const void *data, size_t len)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", f->from, name);
	struct error err = ERROR_INIT;

	if (file_put(path, data, len, 0640, &err) < 0)
		fail_msg("%s", err.msg);
}

/* ---------------------------------------------------------------- life */

static int setup(void **state)
{
	struct fixture *f = xnew(struct fixture);
	struct pki_cert cert;
	static const struct rpc_method methods[] = {
		{"Move", .on_message = on_move, .on_half_close = on_half_close, .on_done = on_move_done,
		 .allow = RPC_ROLE_WORKER | RPC_ROLE_MANAGER, .max_request_bytes = FRAMES_MESSAGE_MAX},
	};
	int port = 0;

	strcpy(f->dir, "/var/tmp/stream-test-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	path_in(f->from, sizeof(f->from), f->dir, "from");
	path_in(f->to, sizeof(f->to), f->dir, "to");
	assert_int_equal(mkdir(f->from, 0755), 0);
	assert_int_equal(mkdir(f->to, 0755), 0);
	uv_loop_init(&f->loop);
	uv_timer_init(&f->loop, &f->timer);
	f->timer.data = f;
	f->rpc = rpc_new(&f->loop);
	pki_init(&f->pki, "cluster ca");
	cert = pki_node(&f->pki, "worker", "worker", 3600);
	f->creds = rpc_creds_new(f->pki.root_pem, cert.cert_pem, cert.key_pem);
	pki_cert_fini(&cert);
	f->server = rpc_server_new(f->rpc, f->creds);
	rpc_server_add_service(f->server, &skein__peer__descriptor, methods, ARRAY_SIZE(methods), f);
	assert_int_equal(rpc_server_listen(f->server, "127.0.0.1:0", 0, &port, NULL), 0);
	rpc_server_start(f->server);
	snprintf(f->address, sizeof(f->address), "127.0.0.1:%d", port);
	open_stream(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;
	bool closed = false;

	outgoing_close(f->out);
	rpc_close(f->rpc, flag_set, &closed);
	loop_until(&f->loop, &closed);
	if (f->has_reader) {
		pthread_join(f->reader.thread, NULL);
		close(f->reader.fd);
		digest_sum_free(f->reader.sum);
	}
	if (f->in)
		loop_until(&f->loop, &f->in_over);
	uv_close((uv_handle_t *)&f->timer, NULL);
	uv_run(&f->loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&f->loop), 0);
	rpc_creds_unref(f->creds);
	pki_fini(&f->pki);
	drop_snapshot(f);
	umount2(f->to, MNT_DETACH);
	file_remove_tree(f->dir, NULL);
	free(f);
	return 0;
}

static uint8_t *noise(size_t len)
{
	uint8_t *p = xmalloc(len);
	uint64_t x = 88172645463325252u;

	for (size_t i = 0; i + 8 <= len; i += 8) {
		x ^= x << 13, x ^= x >> 7, x ^= x << 17;
		memcpy(p + i, &x, 8);
	}
	return p;
}

/* ---------------------------------------------------------------- tests */

static void files_twice_and_pages_beside_them(void **state)
{
	struct fixture *f = *state;
	size_t len = 24 << 20;
	_cleanup_free_ uint8_t *big = noise(4 << 20), *pages = noise(len);
	char digest[DIGEST_MAX];
	Skein__MoveChunk chunk = SKEIN__MOVE_CHUNK__INIT;
	Skein__MoveSent sent = SKEIN__MOVE_SENT__INIT;
	int fds[2], answers = 0;
	struct snapshot *before;
	size_t done = 0;
	char got;

	put(f, "big", big, 4 << 20);
	put(f, "small", "one", 3);
	memset(pages + len / 2, 7, len / 2); /* half of it shrinks */
	digest_of(pages, len, digest);
	begin_tree(f, NULL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	send_pages(f->out, 1, 0, fds[1], on_pages, f);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	while (done < len) {
		ssize_t n = send(fds[0], pages + done, MIN(len - done, 1u << 20), MSG_NOSIGNAL);

		done += n > 0 ? (size_t)n : 0;
		uv_run(&f->loop, UV_RUN_NOWAIT);
		assert_false(f->out_over);
	}
	shutdown(fds[0], SHUT_WR);
	loop_until(&f->loop, &f->done);
	loop_until(&f->loop, &f->pages_done);
	if (error_is_set(&f->err) || error_is_set(&f->pages_err))
		fail_msg("%s %s", f->err.msg, f->pages_err.msg);
	assert_int_equal(f->pages, len);
	assert_string_equal(f->reader.digest, digest);
	while (recv(fds[0], &got, 1, MSG_DONTWAIT) == 1)
		answers++;
	assert_int_equal(answers, len >> 20);
	close(fds[0]);
	expect_file(f->to, "upper/big", big, 4 << 20);
	/* Noise cannot shrink; the pages' other half and nothing else has. */
	assert_in_range(outgoing_bytes(f->out), (4 << 20) + len / 2, (4 << 20) + len * 3 / 4);

	put(f, "small", "two", 3);
	before = TAKE_PTR(f->now);
	done = outgoing_bytes(f->out);
	begin_tree(f, before);
	loop_until(&f->loop, &f->done);
	assert_false(error_is_set(&f->err));
	expect_file(f->to, "upper/small", "two", 3);
	assert_true(f->bytes <= 4096 && outgoing_bytes(f->out) - done < 4096);

	f->done = false;
	sent.round = 1;
	chunk.body_case = SKEIN__MOVE_CHUNK__BODY_SENT;
	chunk.sent = &sent;
	assert_int_equal(outgoing_send(f->out, &chunk), 0);
	loop_until(&f->loop, &f->done);
	assert_int_equal(f->sent_round, 1);
	loop_until(&f->loop, &f->out_over);
	assert_false(error_is_set(&f->out_err));
}

/* A page server that is slower than the network: what waits on the way stays bounded. */
static void backpressure(void **state)
{
	struct fixture *f = *state;
	size_t len = 64 << 20, done = 0, most = 0;
	_cleanup_free_ uint8_t *pages = noise(1 << 20);
	int fds[2];

	f->reader.slow_us = 500;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	send_pages(f->out, 1, 0, fds[1], on_pages, f);
	fcntl(fds[0], F_SETFL, O_NONBLOCK);
	while (done < len) {
		ssize_t n = send(fds[0], pages + (done & 0xfffff), MIN(len - done, (1u << 20) - (done & 0xfffff)), MSG_NOSIGNAL);

		done += n > 0 ? (size_t)n : 0;
		uv_run(&f->loop, UV_RUN_NOWAIT);
		most = MAX(most, done - MIN(done, __atomic_load_n(&f->reader.bytes, __ATOMIC_RELAXED)));
	}
	shutdown(fds[0], SHUT_WR);
	loop_until(&f->loop, &f->pages_done);
	close(fds[0]);
	assert_false(error_is_set(&f->pages_err));
	assert_int_equal(f->reader.bytes, len);
	assert_in_range(most, 1, 24 << 20);
}

static void a_cut_link(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ uint8_t *big = noise(8 << 20);
	int fds[2];

	put(f, "big", big, 8 << 20);
	begin_tree(f, NULL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	send_pages(f->out, 1, 0, fds[1], on_pages, f);
	while (!f->call || !f->has_reader)
		uv_run(&f->loop, UV_RUN_ONCE);
	rpc_call_cancel(f->call);
	loop_until(&f->loop, &f->out_over);
	assert_true(f->done && f->pages_done);
	assert_true(error_is_set(&f->err) && error_is_set(&f->pages_err) && error_is_set(&f->out_err));
	loop_until(&f->loop, &f->in_over);
	assert_true(error_is_set(&f->in_err));
	close(fds[0]);
}

static void closed_in_the_middle(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ uint8_t *big = noise(8 << 20);
	int fds[2];
	char got;

	put(f, "big", big, 8 << 20);
	begin_tree(f, NULL);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	send_pages(f->out, 1, 0, fds[1], on_pages, f);
	while (!f->has_reader)
		uv_run(&f->loop, UV_RUN_ONCE);
	outgoing_close(TAKE_PTR(f->out));
	loop_until(&f->loop, &f->in_over);
	assert_false(f->done || f->pages_done || f->out_over);
	/* Who writes pages learns that nobody reads them. */
	while (recv(fds[0], &got, 1, MSG_DONTWAIT) < 0)
		uv_run(&f->loop, UV_RUN_ONCE);
	close(fds[0]);
}

static void a_full_disk(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ uint8_t *big = noise(8 << 20);

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", f->to, "tmpfs", 0, "size=6m") < 0)
		fail_msg("cannot mount a small file system");
	put(f, "big", big, 8 << 20);
	begin_tree(f, NULL);
	loop_until(&f->loop, &f->out_over);
	assert_true(f->done && error_is_set(&f->err));
	assert_int_equal(f->err.code, ERR_EXHAUSTED);
	loop_until(&f->loop, &f->in_over);
	assert_int_equal(f->in_err.code, ERR_EXHAUSTED);
}

static void a_frame_out_of_order(void **state)
{
	struct fixture *f = *state;
	Skein__MoveChunk chunk = SKEIN__MOVE_CHUNK__INIT;
	Skein__MoveEnd end = SKEIN__MOVE_END__INIT;

	end.item = 3;
	chunk.body_case = SKEIN__MOVE_CHUNK__BODY_END;
	chunk.end = &end;
	assert_int_equal(outgoing_send(f->out, &chunk), 0);
	loop_until(&f->loop, &f->out_over);
	assert_int_equal(f->out_err.code, ERR_INVALID);
	assert_non_null(strstr(f->out_err.msg, "item 3"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(files_twice_and_pages_beside_them, setup, teardown),
		cmocka_unit_test_setup_teardown(backpressure, setup, teardown),
		cmocka_unit_test_setup_teardown(a_cut_link, setup, teardown),
		cmocka_unit_test_setup_teardown(closed_in_the_middle, setup, teardown),
		cmocka_unit_test_setup_teardown(a_frame_out_of_order, setup, teardown),
		cmocka_unit_test_setup_teardown(a_full_disk, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
