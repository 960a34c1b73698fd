// links: agent_core
/* A layer as its bytes: unpacked below a directory beside which nothing may appear. */
#include "agent/image/unpack.h"
#include "common/file.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/tmp/fuzz-layer-XXXXXX";

static void clean_up(void)
{
	file_remove_tree(dir, NULL);
}

static void make_dir(void)
{
	if (!mkdtemp(dir))
		abort();
	atexit(clean_up);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char root[64], blob[64];
	struct stat before, after;
	int fd;

	if (strstr(dir, "XXXXXX"))
		make_dir();
	snprintf(root, sizeof(root), "%s/root", dir);
	snprintf(blob, sizeof(blob), "%s/blob", dir);
	fd = open(blob, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, data, size) != (ssize_t)size || mkdir(root, 0755) < 0 || stat(dir, &before) < 0)
		abort();
	close(fd);
	unpack_layer(&(struct unpack_options){.blob_path = blob, .root = root, .max_bytes = 4 << 20, .max_entries = 256},
		     NULL);
	/* An entry made or removed in it would have changed the time and mode of the directory. */
	if (stat(dir, &after) < 0 || before.st_mtim.tv_sec != after.st_mtim.tv_sec ||
	    before.st_mtim.tv_nsec != after.st_mtim.tv_nsec || before.st_nlink != after.st_nlink ||
	    before.st_mode != after.st_mode || getxattr(dir, "trusted.overlay.opaque", NULL, 0) >= 0)
		abort();
	if (stat(blob, &after) < 0 || after.st_size != (off_t)size || after.st_nlink != 1)
		abort();
	if (file_remove_tree(root, NULL) < 0)
		abort();
	return 0;
}
