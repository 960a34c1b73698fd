/*
 * nlsock - one netlink socket: many requests per send, their answers read behind, and dumps.
 * Messages are built with libnl's attribute functions; blocking, with a bound on how long. Internal to netoverlay.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct error;
struct nl_msg;
struct nl_sock;
struct nlmsghdr;

struct nlsock {
	struct nl_sock *sock; /* NULL = not open */
	uint32_t seq;
};

/* Opens it in the namespace that the thread is in. */
int nlsock_open(struct nlsock *nl, int protocol, struct error *err);
void nlsock_close(struct nlsock *nl);
uint32_t nlsock_port(const struct nlsock *nl);

/* ---- requests in batches */

#define NLSOCK_BATCH_MAX 256
#define NLSOCK_MESSAGE_MAX 4096
#define NLSOCK_BATCH_BYTES (64 * 1024)

/* The request did not succeed; errno_value > 0; text is the kernel's own explanation or "". */
typedef void (*nlsock_failed_cb)(void *data, size_t tag, int errno_value, const char *text);

struct nlsock_batch {
	struct nlsock *nl;
	nlsock_failed_cb failed;
	void *data;
	struct nl_msg *msg; /* the one that is being built */
	uint8_t *buf;
	size_t len;
	unsigned n;
	struct nlsock_request {
		size_t tag;
		uint32_t seq;
		int tolerated[3]; /* errors that mean "already so" or "already gone" */
		bool answered;
	} requests[NLSOCK_BATCH_MAX];
	int fds[NLSOCK_BATCH_MAX]; /* that messages refer to: closed when they were sent */
	unsigned n_fds;
};

void nlsock_batch_init(struct nlsock_batch *b, struct nlsock *nl, nlsock_failed_cb failed, void *data);
/* Drops what was not flushed. */
void nlsock_batch_fini(struct nlsock_batch *b);
/* A fresh message with the fixed header; add attributes to it, then nlsock_batch_add. */
struct nl_msg *nlsock_batch_begin(struct nlsock_batch *b, uint16_t type, uint16_t flags, const void *header, size_t header_len);
/* Queue it, and send when the batch is full. Tolerated: up to three errnos, 0 = none. */
void nlsock_batch_add(struct nlsock_batch *b, size_t tag, int tolerate1, int tolerate2, int tolerate3);
/* fd is closed when what is queued has been sent. */
void nlsock_batch_keep_fd(struct nlsock_batch *b, int fd);
/* Send what is queued and read the answers. */
void nlsock_batch_flush(struct nlsock_batch *b);

#define NLSOCK_TEXT_MAX 160

/* ---- reading */

/* One answer; false ends the reading with what error err says. */
typedef bool (*nlsock_message_cb)(void *data, const struct nlmsghdr *nlh, struct error *err);

/* Send a request and hand out its answers: with NLM_F_DUMP until its end, otherwise one. The message is the caller's.
 *   Errors  ERR_CONFLICT the kernel's tables changed meanwhile and the dump may lack something: read again */
int nlsock_read(struct nlsock *nl, struct nl_msg *msg, nlsock_message_cb cb, void *data, struct error *err);

struct nl_msg *nlsock_msg(uint16_t type, uint16_t flags, const void *header, size_t header_len);

/* Payload of a message behind its fixed header is attributes: its length was checked. */
const void *nlsock_header(const struct nlmsghdr *nlh, size_t header_len);

/* What an error message says: -errno or 0; text gets the kernel's words. -EBADMSG when it is malformed. */
int nlsock_error_of(const struct nlmsghdr *nlh, char text[NLSOCK_TEXT_MAX]);

/* Read once without waiting, for notifications. Number of bytes; 0 = nothing there; -1 = some were lost. */
long nlsock_poll(struct nlsock *nl, void *buf, size_t size);
