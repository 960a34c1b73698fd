// links: agent_core
/* First line: user; second: a group; then /etc/passwd, a line "=", /etc/group. */
#include "agent/exec/users.h"
#include "common/error.h"
#include "common/mem.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Cut off a line; the rest stays in *text. */
static char *line(char **text)
{
	char *start = *text, *end = strchr(start, '\n');

	*text = end ? end + 1 : start + strlen(start);
	if (end)
		*end = '\0';
	return start;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *copy = xstrndup((const char *)data, size), *passwd = NULL,
			    *group = NULL;
	_cleanup_free_ struct user *user = xnew(struct user);
	char *rest = copy, *who = line(&rest), *groups[] = {line(&rest)},
	     *border = strstr(rest, "=\n");
	struct users_files files = {0};
	struct error err = ERROR_INIT;

	/* Copies of the exact size, so that one byte too far is seen. */
	files.passwd_len = border ? (size_t)(border - rest) : strlen(rest);
	files.group_len = border ? strlen(border + 2) : 0;
	files.passwd = passwd = xmemdup(rest, files.passwd_len);
	files.group = group = xmemdup(border ? border + 2 : rest, files.group_len);
	if (users_lookup(&files, who, groups, groups[0][0] ? 1 : 0, user, &err) < 0 &&
	    err.code == ERR_OK)
		abort();
	return 0;
}
