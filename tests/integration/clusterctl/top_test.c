/* What `clusterctl top` says when the manager ends its stream; the manager is played by a process of its own. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "clusterctl/ctl.h"
#include "common/error.h"
#include "common/file.h"
#include "common/mem.h"
#include "common/str.h"
#include "proto/pb.h"
#include "rpc/rpc.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void on_list_tasks(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	_cleanup_pb_ Skein__ListTasksResponse *reply = pb_new(&skein__list_tasks_response__descriptor);

	pb_kv_set(&reply->n_node_names, &reply->node_names, "n1", "one");
	rpc_call_reply(call, &reply->base);
}

/* One node has told that it is measuring; then the manager goes, in good order. */
static void on_usage(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	Skein__UsageResponse out = SKEIN__USAGE_RESPONSE__INIT;
	pb_node_usage sample = SKEIN__NODE_USAGE__INIT;

	sample.node_id = (char *)"n1";
	out.usage = &sample;
	rpc_call_send(call, &out.base, NULL);
	rpc_call_finish(call);
}

static const struct rpc_method methods[] = {
	{"ListTasks", .allow = RPC_ROLE_LOCAL, .on_message = on_list_tasks},
	{"Usage", .allow = RPC_ROLE_LOCAL, .on_message = on_usage},
};

static void serve(const char *dir, int ready)
{
	_cleanup_free_ char *address = xasprintf("unix:%s/manager.sock", dir);
	struct rpc_server *server;
	uv_loop_t loop;

	uv_loop_init(&loop);
	server = rpc_server_new(rpc_new(&loop), NULL);
	rpc_server_add_service(server, &skein__control__descriptor, methods, ARRAY_SIZE(methods), NULL);
	if (rpc_server_listen(server, address, 0600, NULL, &(struct error){0}) < 0)
		_exit(1);
	rpc_server_start(server);
	if (write(ready, "r", 1) != 1)
		_exit(1);
	uv_run(&loop, UV_RUN_DEFAULT);
	_exit(1);
}

/* `clusterctl` with these arguments: its exit status, and what it wrote to both outputs. */
static int run_ctl(const char *dir, char **argv, char **ret_text)
{
	_cleanup_free_ char *path = xasprintf("%s/said", dir);
	struct error err = ERROR_INIT;
	int argc = 0, status;
	pid_t pid = fork();

	if (pid == 0) {
		int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

		dup2(fd, STDOUT_FILENO);
		dup2(fd, STDERR_FILENO);
		while (argv[argc])
			argc++;
		status = ctl_main(argc, argv);
		fflush(NULL);
		_exit(status);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (file_read(path, 1 << 16, ret_text, NULL, &err) < 0)
		fail_msg("%s", err.msg);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void a_stream_that_ends_says_why(void **state)
{
	char dir[] = "/tmp/skein-top.XXXXXX", byte;
	_cleanup_free_ char *flag = NULL, *text = NULL;
	int ready[2], status;
	pid_t manager;

	assert_non_null(mkdtemp(dir));
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	manager = fork();
	if (manager == 0)
		serve(dir, ready[1]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	flag = xasprintf("--run-dir=%s", dir);
	status = run_ctl(dir, (char *[]){(char *)"clusterctl", flag, (char *)"top", (char *)"tasks", NULL}, &text);
	kill(manager, SIGKILL);
	waitpid(manager, NULL, 0);
	file_remove_tree(dir, NULL);
	assert_int_equal(status, CTL_FAILED);
	assert_non_null(strstr(text, "the manager ended the stream"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(a_stream_that_ends_says_why)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
