/*
 * rpc_bench - what a call costs: client and server in one process over TLS on loopback.
 * CPU is of both ends together, all threads. usage: rpc_bench [SECONDS]
 */
#include "integration/rpc/fixture.h"

#include <sys/resource.h>
#include <time.h>

static double seconds = 2;

struct bench {
	struct fixture *f;
	struct rpc_channel *channel;
	uint64_t end_ns, ops;
	int running;
	uint64_t sequence;
	struct rpc_call *call;
	bool over;
};

static double cpu_us(void)
{
	struct rusage u;

	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 +
	       (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void unary_next(struct bench *b);

static void on_unary(void *data, const ProtobufCMessage *reply, const struct error *err)
{
	struct bench *b = data;

	b->running--;
	b->ops++;
	if (err)
		fprintf(stderr, "unary: %s\n", err->msg);
	if (uv_hrtime() < b->end_ns)
		unary_next(b);
}

static void unary_next(struct bench *b)
{
	Skein__GetInfoRequest request = SKEIN__GET_INFO_REQUEST__INIT;

	b->running++;
	rpc_unary(b->channel, &skein__control__descriptor, "GetInfo", &request.base, 10000,
		  on_unary, b);
}

static void on_pong(struct rpc_call *call, const ProtobufCMessage *msg, void *data)
{
	struct bench *b = data;

	b->ops++;
	if (uv_hrtime() < b->end_ns)
		send_beat(call, ++b->sequence, NULL);
	else
		b->over = true;
}

static void flood(struct bench *b)
{
	while (uv_hrtime() < b->end_ns && rpc_call_unsent(b->call) < (64u << 10))
		send_beat(b->call, ++b->sequence, NULL);
	if (uv_hrtime() >= b->end_ns && !b->over) {
		b->over = true;
		rpc_call_half_close(b->call);
	}
}

static void on_flood_drain(struct rpc_call *call, void *data)
{
	flood(data);
}

static void on_bench_done(struct rpc_call *call, const struct error *err, void *data)
{
	struct bench *b = data;

	b->call = NULL;
}

static void report(const char *name, uint64_t ops, uint64_t start_ns, double cpu_before)
{
	double took = (double)(uv_hrtime() - start_ns) / 1e9, cpu = cpu_us() - cpu_before;

	printf("%-32s %10.0f /s   %7.1f us CPU per operation\n", name, (double)ops / took,
	       cpu / (double)ops);
}

static void bench_unary(struct fixture *f, const char *role, int outstanding, const char *name)
{
	struct bench b = {.f = f,
			  .channel = channel_as(f, role),
			  .end_ns = uv_hrtime() + (uint64_t)(seconds * 1e9)};
	double cpu;
	uint64_t start;

	get_info(f, b.channel);
	cpu = cpu_us();
	start = uv_hrtime();
	for (int i = 0; i < outstanding; i++)
		unary_next(&b);
	run_until(f, b.running == 0);
	report(name, b.ops, start, cpu);
}

static void bench_ping_pong(struct fixture *f)
{
	const struct rpc_handlers handlers = {.on_message = on_pong, .on_done = on_bench_done};
	struct bench b = {.f = f,
			  .channel = channel_as(f, "worker"),
			  .end_ns = uv_hrtime() + (uint64_t)(seconds * 1e9)};
	double cpu = cpu_us();
	uint64_t start = uv_hrtime();

	b.call = rpc_stream(b.channel, &skein__dispatcher__descriptor, "Session", 0, &handlers, &b);
	send_beat(b.call, ++b.sequence, NULL);
	run_until(f, b.over);
	report("stream, ping-pong", b.ops, start, cpu);
	rpc_call_half_close(b.call);
	run_until(f, !b.call);
}

static void bench_flood(struct fixture *f)
{
	const struct rpc_handlers handlers = {.on_drain = on_flood_drain, .on_done = on_bench_done};
	struct bench b = {.f = f,
			  .channel = channel_as(f, "worker"),
			  .end_ns = uv_hrtime() + (uint64_t)(seconds * 1e9)};
	int before = f->messages;
	double cpu = cpu_us();
	uint64_t start = uv_hrtime();

	f->echo = false;
	b.call = rpc_stream(b.channel, &skein__dispatcher__descriptor, "Session", 0, &handlers, &b);
	flood(&b);
	run_until(f, !b.call);
	report("stream, client floods server", (uint64_t)(f->messages - before), start, cpu);
	f->echo = true;
}

int main(int argc, char **argv)
{
	struct fixture *f;
	void *state;

	if (argc > 1)
		seconds = atof(argv[1]);
	fixture_setup(&state);
	f = state;
	bench_unary(f, "manager", 1, "unary, 1 outstanding");
	bench_unary(f, "manager", 64, "unary, 64 outstanding");
	bench_ping_pong(f);
	bench_flood(f);
	return fixture_teardown(&state);
}
