#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "support/build.h"

#include "manager/allocator/rests.h"
#include "manager/changes.h"

static void on_rest(void *data, const struct ipaddr *address, int64_t since)
{
	char text[IPADDR_TEXT_MAX];

	strbuf_printf(data, " %s", ipaddr_format(address, text));
}

/* "all schedule subnets ports services=web nodes=n1 networks=front rests=10.0.3.2" */
static char *noted(enum kind kind, const void *old, const void *now)
{
	struct dirty dirty = {0};
	struct rests *rests = rests_new();
	struct strbuf out = {0}, resting = {0};
	struct store_event event = {kind, kind_info(kind)->id(now ? now : old), old, now};
	const struct {
		const char *name;
		const struct idset *set;
	} sets[] = {{"services", &dirty.services}, {"nodes", &dirty.nodes}, {"networks", &dirty.networks}};

	changes_note(&dirty, rests, &event, NOW);
	strbuf_puts(&out, dirty.all ? "all " : "");
	strbuf_puts(&out, dirty.schedule ? "schedule " : "");
	strbuf_puts(&out, dirty.subnets ? "subnets " : "");
	strbuf_puts(&out, dirty.ports ? "ports " : "");
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
		for (struct idset_entry *e = sets[i].set->entries; e; e = e->hh.next)
			strbuf_printf(&out, "%s=%s ", sets[i].name, e->id);
	rests_each(rests, "front", NOW, on_rest, &resting);
	strbuf_printf(&out, "%s%s", resting.len ? "rests" : "", resting.len ? resting.p : "");
	strbuf_fini(&resting);
	rests_free(rests);
	dirty_clear(&dirty);
	return strbuf_take(&out);
}

#define AT "front=10.0.3.2/24"

static void what_has_to_be_looked_at(void **state)
{
	struct {
		struct built old, now;
		const char *noted;
	} cases[] = {
		/* tasks */
		{{0}, task("t", .state = TASK_NEW), "schedule services=web "},
		{task("t", .state = TASK_ASSIGNED, .addresses = AT), task("t", .state = TASK_STARTING, .addresses = AT), ""},
		{task("t", .state = TASK_STARTING, .addresses = AT), task("t", .addresses = AT), "services=web "},
		{task("t", .addresses = AT), task("t", .desired = TASK_SHUTDOWN, .addresses = AT), "schedule services=web "},
		{task("t", .addresses = AT), task("t", .state = TASK_FAILED, .addresses = AT),
		 "schedule services=web networks=front rests 10.0.3.2"},
		{task("t", .addresses = AT), {0}, "schedule services=web networks=front rests 10.0.3.2"},
		{task("t", .state = TASK_FAILED, .addresses = AT), {0}, "services=web "},
		{task("t", .state = TASK_PENDING, .addresses = AT),
		 task("t", .state = TASK_PENDING, .desired = TASK_SHUTDOWN, .addresses = AT),
		 "schedule services=web networks=front rests 10.0.3.2"},
		{task("t", .state = TASK_NEW), task("t", .state = TASK_PENDING, .addresses = AT), "schedule services=web "},
		/* services */
		{{0}, service("web"), "services=web "},
		{service("web", .given_vips = AT), service("web", .given_vips = AT), "services=web "},
		{service("web", .given_vips = "front=10.0.3.2"), service("web"), "services=web networks=front rests 10.0.3.2"},
		{service("web", .given_vips = "front=10.0.3.2"), {0}, "services=web networks=front rests 10.0.3.2"},
		{service("web", .given_ports = "80:80/tcp"), service("web", .given_ports = "80:80/tcp;81:81/tcp"), "services=web "},
		{service("web", .given_ports = "80:80/tcp"), {0}, "ports services=web "},
		{service("web", .given_ports = "80:80/tcp/host"), service("web"), "schedule ports services=web "},
		/* nodes */
		{{0}, node("n1"), "schedule nodes=n1 "},
		{node("n1", .index = 0), node("n1", .index = 5, .image = "x"), ""},
		{node("n1"), node("n1", .features = "runtime=crun"), ""},
		{node("n1"), node("n1", .features = "network.vxlan=true"), "schedule nodes=n1 "},
		{node("n1", .features = "network.vxlan=true"), node("n1", .features = "network.vxlan=false"), "schedule nodes=n1 "},
		{node("n1", .features = "network.vxlan=true"), node("n1"), "schedule nodes=n1 "},
		{node("n1"), node("n1", .state = NODE_DOWN), "schedule nodes=n1 "},
		{node("n1"), {0}, "schedule nodes=n1 "},
		/* networks */
		{{0}, network("front"), "subnets networks=front "},
		{network("front"), network("front", .vni = 5), "networks=front "},
		{network("front"), {0}, "subnets networks=front "},
		/* the cluster */
		{cluster(5), cluster(5), ""},
		{cluster(5), cluster(6), "all "},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		enum kind kind = cases[i].now.obj ? cases[i].now.kind : cases[i].old.kind;
		_cleanup_free_ char *got = noted(kind, cases[i].old.obj, cases[i].now.obj);

		if (!str_eq(got, cases[i].noted))
			fail_msg("case %zu: \"%s\", not \"%s\"", i, got, cases[i].noted);
		pb_free(cases[i].old.obj);
		pb_free(cases[i].now.obj);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_has_to_be_looked_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
