#include "tls.h"

#include "clock.h"
#include "error.h"
#include "mem.h"
#include "pki.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>

#define CHAIN_MAX 8

DEFINE_CLEANUP(SSL_CTX *, SSL_CTX_free)
DEFINE_CLEANUP(SSL *, SSL_free)
DEFINE_CLEANUP(BIO *, BIO_free_all)
DEFINE_CLEANUP(struct addrinfo *, freeaddrinfo)

/* Wait for the descriptor until the deadline (monotonic). */
static int wait_for(int fd, short events, int64_t deadline_ns, struct error *err)
{
	for (;;) {
		int64_t left_ns = deadline_ns - clock_mono_ns();
		struct pollfd pfd = {.fd = fd, .events = events};
		int r;

		if (left_ns <= 0)
			return error_set(err, ERR_TIMEOUT, "no answer in time");
		r = poll(&pfd, 1, (int)(left_ns / NS_PER_MS + 1));
		if (r > 0)
			return 0;
		if (r < 0 && errno != EINTR)
			return error_set_errno(err, errno, "poll");
	}
}

static int connect_to(const struct addrinfo *ai, int64_t deadline_ns, struct error *err)
{
	_cleanup_close_ int fd = socket(ai->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	socklen_t len = sizeof(int);
	int status = 0;

	if (fd < 0)
		return error_set_errno(err, errno, "socket");
	if (connect(fd, ai->ai_addr, ai->ai_addrlen) < 0) {
		if (errno != EINPROGRESS)
			return error_set_errno(err, errno, "connect");
		if (wait_for(fd, POLLOUT, deadline_ns, err) < 0)
			return -1;
		if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &status, &len) < 0 || status)
			return error_set_errno(err, status ? status : errno, "connect");
	}
	return TAKE_FD(fd);
}

static int handshake(SSL *ssl, int fd, int64_t deadline_ns, struct error *err)
{
	ERR_clear_error(); /* of whoever used this thread before */
	for (;;) {
		int r = SSL_connect(ssl), why;
		unsigned long code;

		if (r == 1)
			return 0;
		why = SSL_get_error(ssl, r);
		if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE) {
			if (wait_for(fd, why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, deadline_ns, err) < 0)
				return -1;
			continue;
		}
		code = ERR_get_error();
		ERR_clear_error();
		return error_set(err, ERR_UNAVAILABLE, "no TLS there: %s",
				 code ? ERR_reason_error_string(code) : "connection closed");
	}
}

static int chain_of(SSL *ssl, char **ret_chain_pem, struct error *err)
{
	STACK_OF(X509) *chain = SSL_get_peer_cert_chain(ssl);
	_cleanup_(BIO_free_allp) BIO *bio = BIO_new(BIO_s_mem());
	int n = chain ? sk_X509_num(chain) : 0;
	char *data;
	long len;

	for (int i = 0; i < n && i < CHAIN_MAX; i++) {
		if (PEM_write_bio_X509(bio, sk_X509_value(chain, i)) != 1)
			n = 0;
	}
	len = BIO_get_mem_data(bio, &data);
	if (n == 0 || len <= 0 || len > (long)PKI_PEM_MAX_BYTES)
		return error_set(err, ERR_UNAVAILABLE, "the server sends no usable certificates");
	*ret_chain_pem = xstrndup(data, (size_t)len);
	return 0;
}

static int fetch(int fd, int64_t deadline_ns, char **ret_chain_pem, struct error *err)
{
	static const unsigned char alpn[] = "\x02h2"; /* a gRPC server talks to nobody else */
	_cleanup_(SSL_CTX_freep) SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	_cleanup_(SSL_freep) SSL *ssl = NULL;

	if (ctx) {
		SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
		SSL_CTX_set_verify(ctx, SSL_VERIFY_NONE, NULL);
		SSL_CTX_set_alpn_protos(ctx, alpn, sizeof(alpn) - 1);
		ssl = SSL_new(ctx);
	}
	if (!ssl || SSL_set_fd(ssl, fd) != 1)
		return error_set(err, ERR_INTERNAL, "OpenSSL failed");
	if (handshake(ssl, fd, deadline_ns, err) < 0)
		return -1;
	return chain_of(ssl, ret_chain_pem, err);
}

int tls_fetch_chain(const char *host, uint16_t port, uint64_t timeout_ms, char **ret_chain_pem,
		    struct error *err)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
	_cleanup_(freeaddrinfop) struct addrinfo *list = NULL;
	int64_t deadline_ns;
	char service[8];
	int r;

	snprintf(service, sizeof(service), "%u", port);
	r = getaddrinfo(host, service, &hints, &list);
	if (r)
		return error_set(err, ERR_UNAVAILABLE, "%s: %s", host, gai_strerror(r));
	deadline_ns = clock_mono_ns() + (int64_t)timeout_ms * NS_PER_MS;
	for (const struct addrinfo *ai = list; ai; ai = ai->ai_next) {
		_cleanup_close_ int fd = connect_to(ai, deadline_ns, err);

		if (fd >= 0 && fetch(fd, deadline_ns, ret_chain_pem, err) == 0)
			return 0;
	}
	return error_wrap(err, "%s port %u", host, port);
}
