/* What is wrong, and what to do about it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "manager/control/health.h"
#include "support/build.h"

static uint64_t replicas(void *data, const void *service)
{
	const pb_service *s = service;

	return s->spec->replicated ? s->spec->replicated->replicas : 1;
}

static struct health_facts well(void)
{
	return (struct health_facts){.connected = true, .embedded = true, .has_leader = true, .managers = 3, .managers_ready = 3,
				     .complaint = "", .now = NOW, .desired = replicas};
}

static void expect(const struct view *v, const struct health_facts *f, const char *what, const char *advice)
{
	struct health h = {0};

	health_check(v, f, &h);
	assert_int_equal(h.what.n, h.advice.n);
	if (!what) {
		if (h.what.n)
			fail_msg("warns of %s", h.what.v[0]);
	} else if (!h.what.n || strcmp(h.what.v[0], what) || !strstr(h.advice.v[0], advice)) {
		fail_msg("\"%s\" (%s), not \"%s\" (%s)", h.what.n ? h.what.v[0] : "nothing", h.what.n ? h.advice.v[0] : "", what, advice);
	}
	health_fini(&h);
}

static void all_is_well(void **state)
{
	struct view *v = view_of(node("n1"), node("n2", .availability = AVAILABILITY_DRAIN), service("web", .replicas = 1),
				 task("t1", .slot = 1, .node = "n1"), network("front", .given = "10.0.1.0/24"));
	struct health_facts f = well();

	expect(v, &f, NULL, NULL);
	f.managers = f.managers_ready = 1;
	expect(v, &f, NULL, NULL);
	/* An external etcd counts no managers. */
	f.embedded = false;
	f.managers = 2;
	expect(v, &f, NULL, NULL);
	view_free(v);
}

static void managers(void **state)
{
	struct view *v = view_of(node("n1"));
	struct health_facts f = well();

	f.managers_ready = 2;
	expect(v, &f, "2 of 3 managers are healthy: the quorum is lost when one more manager fails", "node ls --filter role=manager");
	f.managers_ready = 1;
	expect(v, &f, "the managers have lost their quorum: 1 of 3 are healthy, 2 are needed; containers go on, but nothing can change",
	       "--force-new-cluster");
	f.managers = f.managers_ready = 2;
	expect(v, &f, "2 managers: losing either one loses the quorum; a third one would make it safe", "node promote");
	f.managers = f.managers_ready = 4;
	expect(v, &f, "4 managers: an even number tolerates no more failures than one less", "promote");
	f = well();
	f.has_leader = false;
	expect(v, &f, "no manager leads: nothing is decided at the moment", "logs");
	f = well();
	f.complaint = "listen at 0.0.0.0:9641: the address is taken";
	expect(v, &f, "this manager serves no metrics and no page: listen at 0.0.0.0:9641: the address is taken", "manager-http-listen");
	f.connected = f.embedded = false;
	expect(v, &f, "etcd is not reachable from this manager: what it shows may be old, and nothing can change", "external etcd");
	view_free(v);
}

static void nodes(void **state)
{
	struct view *v = view_of(node("n1"), node("n2", .state = NODE_DOWN, .hostname = "h2"), node("n3", .state = NODE_DISCONNECTED, .hostname = "h3"),
				 node("n4", .state = NODE_DOWN, .hostname = "h4"), node("n5", .state = NODE_DOWN, .hostname = "h5"));
	struct health_facts f = well();
	pb_node *n;

	expect(v, &f, "4 of 5 nodes are not ready: h2, h3, h4 and 1 more", "node inspect --pretty h2");
	view_free(v);

	v = view_of(node("n1", .hostname = "h1"), node("n2"));
	n = pb_dup(view_node(v, "n1"));
	n->cert_expires_at = NOW + 3 * 24 * 3600 * SEC;
	pb_free(view_put(v, KIND_NODE, n));
	expect(v, &f, "the certificate of h1 ends within a week", "log of the agent");
	n = pb_dup(view_node(v, "n1"));
	n->cert_expires_at = NOW + 30 * 24 * 3600 * SEC;
	pb_set_str(&n->description->agent_version, "0.1.0");
	pb_free(view_put(v, KIND_NODE, n));
	n = pb_dup(view_node(v, "n2"));
	pb_set_str(&n->description->agent_version, "0.2.0");
	pb_free(view_put(v, KIND_NODE, n));
	expect(v, &f, "agents of 2 versions: 0.1.0, 0.2.0", "upgrade");
	view_free(v);
}

static void services(void **state)
{
	struct view *v = view_of(node("n1"), service("web", .replicas = 2), task("t1", .slot = 1, .node = "n1"));
	struct health_facts f = well();
	pb_service *s;

	expect(v, &f, "1 service is below the number of tasks wanted: web", "clusterctl service explain web");
	s = pb_dup(view_service(v, "web"));
	s->update = pb_new(&skein__update_status__descriptor);
	s->update->state = SKEIN__UPDATE_STATE__UPDATE_UPDATING;
	pb_free(view_put(v, KIND_SERVICE, s));
	expect(v, &f, NULL, NULL);
	s = pb_dup(view_service(v, "web"));
	s->update->state = SKEIN__UPDATE_STATE__UPDATE_PAUSED;
	pb_free(view_put(v, KIND_SERVICE, s));
	expect(v, &f, "1 update is paused after failures: web", "service rollback web");
	view_free(v);

	v = view_of(node("n1"), network("front", .err = "no subnet is left"));
	expect(v, &f, "1 network got no subnet or number: front", "network inspect front");
	view_free(v);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(all_is_well), cmocka_unit_test(managers), cmocka_unit_test(nodes), cmocka_unit_test(services)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
