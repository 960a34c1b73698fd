/* tls_server - a TLS server in a thread of the test, on a port of its own: shows certificates, says nothing. */
#pragma once
#include <arpa/inet.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

enum tls_server_manner {
	TLS_SERVER_GOOD,   /* handshake, then close */
	TLS_SERVER_SILENT, /* accepts and never answers */
	TLS_SERVER_RUDE,   /* closes at once */
};

struct tls_server {
	int fd, stop[2];
	int port;
	enum tls_server_manner manner;
	SSL_CTX *ctx;
	pthread_t thread;
	unsigned accepted;
};

static inline void *tls_server_run(void *data)
{
	struct tls_server *s = data;
	int kept[16], n_kept = 0;

	for (;;) {
		struct pollfd fds[2] = {{.fd = s->fd, .events = POLLIN}, {.fd = s->stop[0], .events = POLLIN}};
		int fd;

		poll(fds, 2, -1);
		if (fds[1].revents)
			break;
		fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC);
		__atomic_add_fetch(&s->accepted, 1, __ATOMIC_SEQ_CST);
		if (s->manner == TLS_SERVER_SILENT && n_kept < 16) {
			kept[n_kept++] = fd;
			continue;
		}
		if (s->manner == TLS_SERVER_GOOD) {
			SSL *ssl = SSL_new(s->ctx);
			char byte;

			SSL_set_fd(ssl, fd);
			if (SSL_accept(ssl) == 1)
				SSL_read(ssl, &byte, 1); /* until the client goes */
			SSL_free(ssl);
		}
		close(fd);
	}
	while (n_kept)
		close(kept[--n_kept]);
	return NULL;
}

/* chain_pem: what it shows, leaf first. */
static inline void tls_server_start(struct tls_server *s, enum tls_server_manner manner, const char *chain_pem,
				    const char *key_pem)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(addr);

	*s = (struct tls_server){.manner = manner, .ctx = SSL_CTX_new(TLS_server_method())};
	if (chain_pem) {
		BIO *bio = BIO_new_mem_buf(chain_pem, -1), *key_bio = BIO_new_mem_buf(key_pem, -1);
		X509 *leaf = PEM_read_bio_X509(bio, NULL, NULL, NULL), *next;
		EVP_PKEY *key = PEM_read_bio_PrivateKey(key_bio, NULL, NULL, NULL);

		SSL_CTX_use_certificate(s->ctx, leaf);
		SSL_CTX_use_PrivateKey(s->ctx, key);
		while ((next = PEM_read_bio_X509(bio, NULL, NULL, NULL)))
			SSL_CTX_add_extra_chain_cert(s->ctx, next);
		X509_free(leaf);
		EVP_PKEY_free(key);
		BIO_free(bio);
		BIO_free(key_bio);
	}
	s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(s->fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
	assert_int_equal(listen(s->fd, 16), 0);
	assert_int_equal(getsockname(s->fd, (struct sockaddr *)&addr, &len), 0);
	s->port = ntohs(addr.sin_port);
	assert_int_equal(pipe(s->stop), 0);
	assert_int_equal(pthread_create(&s->thread, NULL, tls_server_run, s), 0);
}

static inline void tls_server_stop(struct tls_server *s)
{
	close(s->stop[1]);
	pthread_join(s->thread, NULL);
	close(s->stop[0]);
	close(s->fd);
	SSL_CTX_free(s->ctx);
}
