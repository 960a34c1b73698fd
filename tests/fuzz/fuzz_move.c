// links: agent_core
/* Frames of a Move stream, one behind the other: 2 bytes of length, then a MoveChunk. What is a block becomes files below a directory
 * beside which nothing may appear. */
#include "agent/migrate/apply.h"
#include "agent/migrate/frames.h"
#include "agent/migrate/pack.h"
#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/tmp/fuzz-move-XXXXXX";

static void clean_up(void)
{
	file_remove_tree(dir, NULL);
}

static void take(struct frames *frames, struct apply *a, const uint8_t *data, size_t len)
{
	Skein__MoveChunk *c = pb_unpack(&skein__move_chunk__descriptor, data, len);
	struct error err = ERROR_INIT;

	if (c && frames_take(frames, c, &err) == 0) {
		/* No tree of a few bytes may fill a disk with a hole's end. */
		if (c->body_case == SKEIN__MOVE_CHUNK__BODY_BLOCK)
			apply_block(a, c->block->data.data, c->block->data.len, &err);
		else if (c->body_case == SKEIN__MOVE_CHUNK__BODY_SENT)
			frames_round_over(frames);
	}
	pb_free(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frames frames = {0};
	struct stat before, after;
	struct apply *a;
	char root[64];

	if (strstr(dir, "XXXXXX")) {
		if (!mkdtemp(dir))
			abort();
		atexit(clean_up);
	}
	snprintf(root, sizeof(root), "%s/root", dir);
	if (file_remove_tree(root, NULL) < 0 || mkdir(root, 0700) < 0)
		abort();
	a = apply_new(root, NULL);
	if (!a || stat(dir, &before) < 0)
		abort();
	while (size >= 2) {
		size_t len = MIN((size_t)data[0] << 8 | data[1], size - 2);

		take(&frames, a, data + 2, len);
		data += 2 + len;
		size -= 2 + len;
	}
	apply_free(a);
	if (stat(dir, &after) < 0 || before.st_mtim.tv_nsec != after.st_mtim.tv_nsec || before.st_nlink != after.st_nlink)
		abort();
	return 0;
}
