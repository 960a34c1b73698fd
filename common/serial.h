/*
 * serial - one thread that runs jobs in the order given, for blocking work that must not overtake
 * itself (netlink, namespaces). The thread may change its own namespaces: nobody else uses it.
 */
#pragma once
#include <uv.h>

struct serial;

typedef void (*serial_fn)(void *data);

/* Starts the thread; name at most 15 characters. */
struct serial *serial_new(uv_loop_t *loop, const char *name);
/* Run work on the thread, then done (may be NULL) on the loop thread. Copies nothing. */
void serial_run(struct serial *s, serial_fn work, serial_fn done, void *data);
/* What was given still runs, done callbacks included; closed once, on the loop thread, then s is freed. */
void serial_close(struct serial *s, void (*closed)(void *data), void *data);
