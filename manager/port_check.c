#include "port_check.h"

#include "common/error.h"
#include "common/hostport.h"
#include "common/mem.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <uv.h>

int port_check(const char *address, struct error *err)
{
	struct sockaddr_storage addr = {0};
	_cleanup_close_ int fd = -1;
	struct hostport hp;
	int one = 1;

	if (hostport_parse(address, 0, &hp, err) < 0)
		return -1;
	if (uv_ip4_addr(hp.host, hp.port, (struct sockaddr_in *)&addr) < 0 &&
	    uv_ip6_addr(hp.host, hp.port, (struct sockaddr_in6 *)&addr) < 0)
		return 0;
	fd = socket(addr.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return error_set_errno(err, errno, "make a socket");
	/* What waits for its last packets does not count; who listens does. */
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
		return 0;
	return error_set(err, ERR_UNAVAILABLE, "listen on %s: %s", address,
			 errno == EADDRINUSE ? "the address is taken" : strerror(errno));
}
