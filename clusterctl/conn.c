#include "conn.h"

#include "ctl.h"

#include "common/error.h"
#include "common/file.h"
#include "common/log.h"
#include "common/mem.h"
#include "proto/pb.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#define PEM_MAX_BYTES (256u << 10)
#define MANAGER_PORT 2377
#define PICK_TIMEOUT_MS 3000

struct conn {
	uv_loop_t loop;
	struct rpc *rpc; /* NULL until the first request */
	struct rpc_channel *channels[2];
	const struct global_flags *global;
	struct strv hosts;  /* of --host, then those that the agent knows */
	size_t host;        /* that we talk to; hosts.n = the socket */
	bool picked;        /* of several hosts, one that answers */
	bool asked_agent;
};

static void split_hosts(const char *text, struct strv *hosts)
{
	for (size_t len; *text; text += len + (text[len] == ',')) {
		len = strcspn(text, ",");
		strv_addf(hosts, "%.*s", (int)len, text);
	}
}

struct conn *conn_new(const struct global_flags *global)
{
	struct conn *conn = xnew(struct conn);

	uv_loop_init(&conn->loop);
	conn->global = global;
	split_hosts(global->host ?: "", &conn->hosts);
	return conn;
}

static void on_closed(void *data)
{
	*(bool *)data = true;
}

void conn_free(struct conn *conn)
{
	bool closed = false;

	if (!conn)
		return;
	if (conn->rpc) {
		for (unsigned i = 0; i < ARRAY_SIZE(conn->channels); i++)
			if (conn->channels[i])
				rpc_channel_close(conn->channels[i]);
		rpc_close(conn->rpc, on_closed, &closed);
		conn_run(conn, &closed);
	}
	uv_run(&conn->loop, UV_RUN_DEFAULT);
	uv_loop_close(&conn->loop);
	strv_fini(&conn->hosts);
	free(conn);
}

uv_loop_t *conn_loop(struct conn *conn)
{
	return &conn->loop;
}

void conn_run(struct conn *conn, const bool *done)
{
	while (!*done)
		uv_run(&conn->loop, UV_RUN_ONCE);
}

/* ---------------------------------------------------------------- where to */

static char *socket_path(const struct conn *conn, enum conn_end end)
{
	return xasprintf("%s/%s", conn->global->run_dir,
			 end == CONN_MANAGER ? "manager.sock" : "agent.sock");
}

/* A daemon that is not there is found here, at once and with the kernel's reason. */
static int probe_socket(const char *path, struct error *err)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr = {.sun_family = AF_UNIX};

	if (strlen(path) >= sizeof(addr.sun_path))
		return error_set(
			err, ERR_INVALID,
			"--run-dir: the path %s is too long for a socket (at most %zu characters)",
			path, sizeof(addr.sun_path) - 1);
	strcpy(addr.sun_path, path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return error_set_errno(err, errno, "%s", path);
	return 0;
}

static int check_agent(const char *path, struct error *err)
{
	if (probe_socket(path, err) == 0)
		return 0;
	if (err->code == ERR_INVALID)
		return -1;
	if (err->code == ERR_DENIED)
		return error_wrap(
			err,
			"cannot reach the agent: run as root or as a member of the socket's group");
	return error_set(err, ERR_UNAVAILABLE,
			 "cannot reach the agent at %s: is cluster-agent running?", path);
}

/* Why there is no manager here, from the agent's point of view. Always -1. */
static int no_manager(struct conn *conn, const struct error *probe, struct error *err)
{
	_cleanup_strbuf_ struct strbuf known = {0};
	_cleanup_pb_ Skein__LocalInfo *info = NULL;
	Skein__Empty request = SKEIN__EMPTY__INIT;

	if (probe->code == ERR_DENIED)
		return error_set(err, ERR_DENIED,
				 "cannot reach the manager: %s: run as root or as a member of the "
				 "socket's group",
				 probe->msg);
	if (conn_call(conn, CONN_AGENT, "GetInfo", &request, CONN_TIMEOUT_MS, &info, err) < 0)
		return -1;
	if (str_eq(info->state, "inactive"))
		return error_set(err, ERR_PRECONDITION,
				 "this node is not part of a cluster: run 'clusterctl init' or "
				 "'clusterctl join' first, or use -H HOST:2377");
	if (str_eq(info->state, "error"))
		return error_set(err, ERR_PRECONDITION, "this node's agent is in trouble: %s",
				 info->error);
	if ((int)info->role == NODE_ROLE_MANAGER)
		return error_set(err, ERR_UNAVAILABLE,
				 "the manager of this node does not answer: %s", probe->msg);
	for (size_t i = 0; i < info->n_managers; i++)
		strbuf_printf(&known, "%s%s", i ? ", " : "", info->managers[i]);
	return error_set(err, ERR_PRECONDITION,
			 "this node is not a manager: the command needs one: use -H HOST:2377 or "
			 "run the command on a manager "
			 "(managers known here: %s)",
			 known.len ? known.p : "none");
}

/* ---------------------------------------------------------------- channels */

/* "" = the socket of this host's manager. */
static const char *present_host(const struct conn *conn)
{
	return conn->host < conn->hosts.n ? conn->hosts.v[conn->host] : "";
}

static struct rpc *get_rpc(struct conn *conn)
{
	if (!conn->rpc)
		conn->rpc = rpc_new(&conn->loop);
	return conn->rpc;
}

static int read_pem(const char *flag, const char *path, char **ret, size_t *ret_len,
		    struct error *err)
{
	return file_read(path, PEM_MAX_BYTES, ret, ret_len, err) < 0 ? error_wrap(err, "%s", flag)
								     : 0;
}

static struct rpc_creds *load_creds(const struct global_flags *g, struct error *err)
{
	_cleanup_free_ char *ca = NULL, *cert = NULL, *key = NULL;
	struct rpc_creds *creds;
	size_t len;

	if (read_pem("--tls-ca", g->tls_ca, &ca, &len, err) < 0 ||
	    read_pem("--tls-cert", g->tls_cert, &cert, &len, err) < 0 ||
	    read_pem("--tls-key", g->tls_key, &key, &len, err) < 0)
		return NULL;
	creds = rpc_creds_new(ca, cert, key);
	mem_wipe(key, len);
	return creds;
}

/* "host", "[::1]" and "host:port" to a target with a port. */
static char *with_port(const char *host)
{
	const char *colon = strrchr(host, ':'), *bracket = strrchr(host, ']');

	return colon && colon > bracket ? xstrdup(host) : xasprintf("%s:%d", host, MANAGER_PORT);
}

static struct rpc_channel *open_remote(struct conn *conn, struct error *err)
{
	struct rpc_creds *creds = load_creds(conn->global, err);
	_cleanup_free_ char *target = with_port(present_host(conn));
	struct rpc_channel_options options = {.target = target,
					      .creds = creds,
					      .keepalive_ms = 2000,
					      .keepalive_timeout_ms = 3000};
	struct rpc_channel *channel;

	if (!creds)
		return NULL;
	channel = rpc_channel_new(get_rpc(conn), &options);
	rpc_creds_unref(creds);
	return channel;
}

static struct rpc_channel *open_socket(struct conn *conn, enum conn_end end, struct error *err)
{
	_cleanup_free_ char *path = socket_path(conn, end);
	_cleanup_free_ char *target = xasprintf("unix:%s", path);
	struct rpc_channel_options options = {.target = target};
	struct error probe = ERROR_INIT;

	if (end == CONN_AGENT && check_agent(path, err) < 0)
		return NULL;
	if (end == CONN_MANAGER && probe_socket(path, &probe) < 0) {
		if (probe.code == ERR_INVALID)
			*err = probe;
		else
			no_manager(conn, &probe, err);
		return NULL;
	}
	return rpc_channel_new(get_rpc(conn), &options);
}

static struct rpc_channel *get_channel(struct conn *conn, enum conn_end end, struct error *err)
{
	if (!conn->channels[end])
		conn->channels[end] = end == CONN_MANAGER && !str_empty(present_host(conn))
					      ? open_remote(conn, err)
					      : open_socket(conn, end, err);
	return conn->channels[end];
}

static const ProtobufCServiceDescriptor *service_of(enum conn_end end)
{
	return end == CONN_MANAGER ? &skein__control__descriptor : &skein__local__descriptor;
}

void conn_explain(struct conn *conn, enum conn_end end, struct error *err)
{
	_cleanup_free_ char *path = socket_path(conn, end);
	const char *host = present_host(conn);

	if (err->code == ERR_UNAVAILABLE && end == CONN_MANAGER && !str_empty(host))
		error_wrap(err, "the manager at %s", host);
	else if (err->code == ERR_TIMEOUT)
		error_wrap(err, "no answer from %s",
			   end == CONN_MANAGER && !str_empty(host) ? host : path);
}

/* ---------------------------------------------------------------- requests */

static void pick_manager(struct conn *conn);

struct pending {
	bool done;
	void *reply;
	struct error err;
};

static void on_reply(void *data, const ProtobufCMessage *reply, const struct error *err)
{
	struct pending *p = data;

	p->done = true;
	if (reply)
		p->reply = pb_dup(reply);
	else
		p->err = *err;
}

int conn_call(struct conn *conn, enum conn_end end, const char *method, const void *request,
	      uint64_t timeout_ms, void *ret_reply, struct error *err)
{
	struct pending p = {.err = ERROR_INIT};
	struct rpc_channel *channel;

	if (end == CONN_MANAGER)
		pick_manager(conn);
	channel = get_channel(conn, end, err);
	if (!channel)
		return -1;
	rpc_unary(channel, service_of(end), method, request, timeout_ms, on_reply, &p);
	conn_run(conn, &p.done);
	if (!p.reply) {
		*err = p.err;
		conn_explain(conn, end, err);
		return -1;
	}
	if (ret_reply)
		*(void **)ret_reply = TAKE_PTR(p.reply);
	pb_free(p.reply);
	return 0;
}

struct rpc_call *conn_stream(struct conn *conn, enum conn_end end, const char *method,
			     const struct rpc_handlers *handlers, void *data, struct error *err)
{
	struct rpc_channel *channel;

	if (end == CONN_MANAGER)
		pick_manager(conn);
	channel = get_channel(conn, end, err);
	return channel ? rpc_stream(channel, service_of(end), method, 0, handlers, data) : NULL;
}

/* ---------------------------------------------------------------- several managers */

static void close_manager(struct conn *conn)
{
	if (conn->channels[CONN_MANAGER])
		rpc_channel_close(TAKE_PTR(conn->channels[CONN_MANAGER]));
}

/*
 * Of several hosts the first that answers. It is asked for something harmless: a request that changes something must not
 * be sent twice, and whether one that failed had arrived is not known.
 */
static void pick_manager(struct conn *conn)
{
	Skein__GetInfoRequest request = SKEIN__GET_INFO_REQUEST__INIT;

	if (conn->picked)
		return;
	conn->picked = true;
	for (size_t i = 0; i < conn->hosts.n && conn->hosts.n > 1; i++) {
		struct error err = ERROR_INIT;

		conn->host = i;
		if (conn_call(conn, CONN_MANAGER, "GetInfo", &request, PICK_TIMEOUT_MS, NULL, &err) == 0 ||
		    (err.code != ERR_UNAVAILABLE && err.code != ERR_TIMEOUT))
			return;
		close_manager(conn);
	}
	conn->host = 0;
}

/* Those behind the socket are of use only with certificates. */
static void ask_agent(struct conn *conn)
{
	const struct global_flags *g = conn->global;
	_cleanup_pb_ Skein__LocalInfo *info = NULL;
	Skein__Empty request = SKEIN__EMPTY__INIT;
	struct error err = ERROR_INIT;

	if (conn->asked_agent || !str_empty(g->host) || str_empty(g->tls_ca) || str_empty(g->tls_cert) ||
	    str_empty(g->tls_key))
		return;
	if (conn_call(conn, CONN_AGENT, "GetInfo", &request, PICK_TIMEOUT_MS, &info, &err) < 0)
		return;
	conn->asked_agent = true;
	for (size_t i = 0; i < info->n_managers; i++)
		strv_add(&conn->hosts, info->managers[i]);
	conn->host = conn->hosts.n;
}

void conn_next_manager(struct conn *conn)
{
	bool socket = str_empty(conn->global->host);

	close_manager(conn);
	ask_agent(conn);
	conn->host = (conn->host + 1) % MAX(conn->hosts.n + socket, (size_t)1);
}
