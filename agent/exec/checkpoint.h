/*
 * checkpoint - freeze a running container, copy its processes out, and let such a copy run under another task's container.
 * CRIU does the work; the runtime that restores is runc (found by the probe, see exec_can_checkpoint()).
 *
 * The order of a migration; <images> are directories of the caller, one per round, siblings of each other:
 *
 *   source                                            target
 *   container_trial_dump()                            container_create() as for any start, never container_start()
 *   container_predump(images/1)            pages ->   page_server_open(images/1)
 *   container_predump(images/2, parent 1)  pages ->   page_server_open(images/2, parent 1)
 *   container_freeze(), network cut
 *   container_dump(images/3, parent 2)     pages ->   page_server_open(images/3, parent 2)
 *   the other files of images/3            files ->   images/3
 *   (stands frozen)                                   container_restore(images/3)
 *   container_remove(), or container_thaw() if the target has given up
 *
 * What the dump leaves: the processes stay where they are, frozen, with all of their memory and sockets. container_thaw()
 * lets them go on as if nothing had been; established TCP connections too (seen with Debian 12's kernel and criu 3.17.1: a client
 * over a cut and rejoined veth, and one on the loopback interface, lose and repeat no byte), as long as nobody else has spoken for
 * them meanwhile: the other copy must not have had a network. One operation at a time per container;
 * another one meanwhile ends with ERR_PRECONDITION. Loop thread; every callback exactly once, never inside the call.
 */
#pragma once
#include "agent/exec/exec.h"

#include <stdbool.h>
#include <stdint.h>

/* ---- what the node can (probe) */

/*
 * Can tasks with spec.live_migrate run here? False: *ret_why says what is missing, in words for an operator (borrowed until
 * the next probe). In the node's features: "criu" (version or ""), "checkpoint" (name of the runtime or ""),
 * "checkpoint.error" (why not), "lazy-pages", "mem-track" ("true"/"false").
 * container_create() refuses such a task with ERR_INVALID where the answer is no.
 */
bool exec_can_checkpoint(const struct exec *e, const char **ret_why);

/* ---- freeze (freeze.c) */

typedef void (*container_frozen_cb)(void *data, struct container *c, const struct error *err);
/*
 * Stop every process of the container where it stands; cb when the kernel says that all stand still. It stays so until
 * container_thaw() or its end, also over an agent's restart: container_adopt() finds it RUNNING, container_frozen() is true.
 * container_stop(), _kill(SIGKILL) and _remove() end it without any of its code running again.
 *   Errors  ERR_TIMEOUT it did not stand still within 10 s: it runs again; ERR_PRECONDITION not running, or the node has no
 *           cgroup v2; ERR_CANCELLED it ended meanwhile. Frozen already: success.
 */
void container_freeze(struct container *c, container_frozen_cb cb, void *data);
/* cb when they run again. Not frozen: success. */
void container_thaw(struct container *c, container_frozen_cb cb, void *data);
/* Was it frozen by container_freeze() (of this agent or an earlier one)? */
bool container_frozen(const struct container *c);

/* ---- copy out (checkpoint.c) */

/* What one pass did, of criu's own statistics (stats-dump; images/stats.proto there). */
struct checkpoint_stats {
	int64_t took_ns;       /* as seen here: start of the child to its end */
	int64_t freezing_ns;   /* until all stood still */
	int64_t frozen_ns;     /* how long they stood still (of a frozen container: how long criu worked) */
	int64_t memdump_ns;    /* finding and taking pages */
	int64_t memwrite_ns;   /* writing or sending them */
	uint64_t pages_scanned, pages_unchanged, pages_written; /* unchanged: the parent has them */
	uint64_t page_bytes;   /* of one page */
};

struct checkpoint_options {
	const char *images;    /* absolute; exists and is empty */
	const char *parent;    /* the directory of the round before, in the same parent directory; NULL = take everything */
	/*
	 * A stream socket of page_socket_pair() that leads to the target's page server: pages go there and `images` gets the
	 * small files only. -1 = pages go to `images` too. Taken over by the call (closed in every case).
	 */
	int pages_fd;
	uint64_t timeout_ms;   /* 0 = 10 min */
};

typedef void (*container_dumped_cb)(void *data, struct container *c, const struct checkpoint_stats *stats,
				    const struct error *err);
/*
 * One pass over the memory while the container runs; it stands still for the time that `frozen_ns` tells. Closing the other end
 * of pages_fd ends it early, without harm to the container.
 *   stats   NULL on error
 *   Errors  ERR_PRECONDITION not running, frozen, or criu refused (with criu's own words); ERR_TIMEOUT; ERR_CANCELLED the
 *           container ended or is being removed; ERR_UNAVAILABLE the node cannot checkpoint
 */
void container_predump(struct container *c, const struct checkpoint_options *options, container_dumped_cb cb, void *data);
/*
 * The rest of the memory and everything else. The container must be frozen (container_freeze()) and stays so, whatever comes.
 * `images` holds afterwards all that container_restore() needs, but for the pages if they were sent.
 * Errors: as container_predump().
 */
void container_dump(struct container *c, const struct checkpoint_options *options, container_dumped_cb cb, void *data);
/*
 * Would a dump succeed? Does one whose pages go nowhere; the container runs on. It stands still meanwhile for about as
 * long as a last round of a migration; established TCP connections see a pause.
 *   Errors  ERR_PRECONDITION what stands in the way, in words for an operator ("... (criu: ...)")
 */
void container_trial_dump(struct container *c, container_dumped_cb cb, void *data);
/* The callback of the freeze, thaw or dump under way will not come any more; the work itself goes on to its end. */
void container_checkpoint_drop(struct container *c);

/* ---- the target's side */

/*
 * Two connected sockets, blocking and close-on-exec, such as criu accepts: one for pages_fd, the other for the caller, who
 * carries bytes between it and the other host, both ways: criu's page server answers.
 */
int page_socket_pair(int ret_fds[2], struct error *err);

struct page_server;
typedef void (*page_server_cb)(void *data, const struct error *err);
/*
 * Take the pages of one round. Ends by itself when the sender has said that it is done; cb then, NULL: all that was
 * sent is written, whole. Ended early (connection lost) or on a full disk: error, and the directory is worth nothing.
 *   images, parent  as in struct checkpoint_options
 *   pages_fd        of page_socket_pair(); taken over
 * Returns NULL and err when it cannot begin (cb does not come then).
 */
struct page_server *page_server_open(struct exec *e, const char *images, const char *parent, int pages_fd,
				     page_server_cb cb, void *data, struct error *err);
/* Ends it if need be; no callback any more. Not needed behind cb. */
void page_server_close(struct page_server *p);

/* Of criu's stats-restore, and as seen here. */
struct restore_stats {
	int64_t took_ns;       /* from the call to running */
	int64_t forking_ns, restore_ns;
	uint64_t pages_restored;
};
typedef void (*container_restored_cb)(void *data, struct container *c, const struct restore_stats *stats,
				      const struct error *err);
/*
 * Instead of container_start(): let the processes in `images` (the last round's directory, its parents beside it) run in
 * this container, which container_create() has made for the same spec under another task id. Before that, the caller
 * has filled container_upper_dir() and container_volumes_dir(); the root is mounted anew first.
 * Behind success it is as if it had been started: on_exit, logs, checks, container_stop(), adoption. Its callback
 * comes with the processes running.
 *   Errors  ERR_PRECONDITION criu or the runtime refused (its words); the container then has ended: container_remove() it
 */
void container_restore(struct container *c, const char *images, container_restored_cb cb, void *data);

/* The writable layer of the container's root ("upper" of its overlay), borrowed. */
const char *container_upper_dir(const struct container *c);
/* Where its anonymous volumes are: <dir>/<n>/_data; missing when it has none. Borrowed. */
const char *container_volumes_dir(const struct container *c);
