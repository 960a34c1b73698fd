/*
 * A blocking HTTP client in a thread of its own, while the test's loop serves: bytes as they are, no library between.
 */
#pragma once
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

/* ---- in the client's thread */

static inline int client_connect(uint16_t port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		close(fd);
		fd = -1;
	}
	return fd;
}

static inline bool client_send(int fd, const char *text)
{
	size_t len = strlen(text);

	return send(fd, text, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* Read until the other side ends, `until` was seen, or nothing comes for 10 s. Yours, NUL-terminated. */
static inline char *client_read(int fd, const char *until, size_t *ret_len)
{
	size_t len = 0, cap = 1 << 16;
	char *text = malloc(cap);

	for (;;) {
		struct pollfd p = {.fd = fd, .events = POLLIN};
		ssize_t n;

		if (len + 1 >= cap)
			text = realloc(text, cap *= 2);
		if (poll(&p, 1, 10000) <= 0)
			break;
		n = recv(fd, text + len, cap - len - 1, 0);
		if (n <= 0)
			break;
		len += (size_t)n;
		text[len] = '\0';
		if (until && memmem(text, len, until, strlen(until)))
			break;
	}
	text[len] = '\0';
	if (ret_len)
		*ret_len = len;
	return text;
}

/* One request on a connection of its own; the whole answer. `head`: request line and headers, without the empty line. */
static inline char *client_ask(uint16_t port, const char *head, const char *body, size_t *ret_len)
{
	int fd = client_connect(port);
	char *request = NULL, *answer;

	if (asprintf(&request, "%s\r\nHost: x\r\nConnection: close\r\n\r\n%s", head, body ? body : "") < 0)
		abort();
	client_send(fd, request);
	free(request);
	answer = client_read(fd, NULL, ret_len);
	close(fd);
	return answer;
}

/* ---- in the test's */

struct client_run {
	void (*fn)(void *data);
	void *data;
	uv_async_t done;
	bool ended;
};

static inline void client_ended(uv_async_t *async)
{
	struct client_run *r = (struct client_run *)async->data;

	r->ended = true;
	uv_close((uv_handle_t *)async, NULL);
}

static inline void *client_main(void *data)
{
	struct client_run *r = data;

	r->fn(r->data);
	uv_async_send(&r->done);
	return NULL;
}

/* Run fn in a thread, and the loop until it has ended. */
static inline void client_run(uv_loop_t *loop, void (*fn)(void *data), void *data)
{
	struct client_run r = {.fn = fn, .data = data};
	pthread_t thread;

	uv_async_init(loop, &r.done, client_ended);
	r.done.data = &r;
	if (pthread_create(&thread, NULL, client_main, &r) != 0)
		abort();
	while (!r.ended)
		uv_run(loop, UV_RUN_ONCE);
	pthread_join(thread, NULL);
	uv_run(loop, UV_RUN_NOWAIT);
}
