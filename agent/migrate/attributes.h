/*
 * attributes - extended attributes of files that move: user.*, security.capability, access lists, and what overlayfs needs to know
 * of its upper layer. Its notes about one host's inodes (trusted.overlay.origin, .nlink, ...) stay there. Blocking.
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>

struct error;

bool attributes_wanted(const char *name);
/* Of an open file or directory, into the entry; adds to *bytes what they take. Errors: of the system. */
int attributes_read(int fd, Skein__MoveEntry *e, size_t *bytes, struct error *err);
/* Through an O_PATH descriptor, of anything. */
int attributes_read_path(int fd, Skein__MoveEntry *e, size_t *bytes, struct error *err);

/* Make the file's attributes those of the entry: others that would have moved are removed. Errors: ERR_INVALID a name that is not
 * accepted; of the system. */
int attributes_write(int fd, const Skein__MoveEntry *e, struct error *err);
/* The same for what stands at a path (last part not followed). */
int attributes_write_path(const char *path, const Skein__MoveEntry *e, struct error *err);
