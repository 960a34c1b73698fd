#include "manager/history/derive.h"
#include "manager/store/store.h"
#include "support/build.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>

/* The events of a change as one line of text: "update web (replicas.old=1 replicas.new=3)". */
static char *text_of(enum kind kind, const void *old, const void *now)
{
	const struct store_event change = {.kind = kind, .id = kind_info(kind)->id(now ? now : old), .old = old, .now = now};
	struct event_list list = {0};
	struct strbuf out = {0};

	derive(&change, 7, NOW, &list);
	for (size_t i = 0; i < list.n; i++) {
		const pb_event *e = list.v[i];

		assert_int_equal(e->revision, 7);
		assert_true(e->at != 0);
		strbuf_printf(&out, "%s%s %s %s", i ? "; " : "", e->type, e->action, e->name);
		for (size_t k = 0; k < e->n_attributes; k++)
			strbuf_printf(&out, "%s%s=%s", k ? " " : " (", e->attributes[k]->key, e->attributes[k]->value);
		strbuf_puts(&out, e->n_attributes ? ")" : "");
	}
	event_list_fini(&list);
	return strbuf_take(&out);
}

static void expect(enum kind kind, const void *old, const void *now, const char *text)
{
	_cleanup_free_ char *got = text_of(kind, old, now);

	assert_string_equal(got, text);
}

static pb_task *task_in(int state)
{
	pb_task *task = pb_new(&skein__task__descriptor);

	pb_set_str(&task->id, "t1");
	pb_set_str(&task->service_name, "web");
	task->slot = 1;
	task->status = pb_new(&skein__task_status__descriptor);
	task->status->state = state;
	return task;
}

static void tasks_tell_beginnings_and_ends(void **state)
{
	_cleanup_pb_ pb_task *pending = task_in(TASK_PENDING), *assigned = task_in(TASK_ASSIGNED), *ready = task_in(TASK_READY),
			     *running = task_in(TASK_RUNNING), *failed = task_in(TASK_FAILED), *lost = task_in(TASK_ORPHANED);

	pb_set_str(&assigned->node_id, "n1");
	failed->status->exit_code = 3;
	pb_set_str(&failed->status->err, "task: non-zero exit (3)");
	expect(KIND_TASK, NULL, assigned, "task create web.1 (service=web nodeid=n1)");
	expect(KIND_TASK, assigned, ready, "");
	expect(KIND_TASK, ready, running, "task start web.1 (service=web)");
	expect(KIND_TASK, running, failed, "task die web.1 (service=web state=failed error=task: non-zero exit (3) exitCode=3)");
	expect(KIND_TASK, failed, lost, "");
	expect(KIND_TASK, running, lost, "task orphan web.1 (service=web state=orphaned)");
	expect(KIND_TASK, failed, NULL, "");

	/* Why it waits is told when it changes. */
	expect(KIND_TASK, pending, pending, "");
	_cleanup_pb_ pb_task *waiting = task_in(TASK_PENDING);
	pb_set_str(&waiting->status->err, "no suitable node");
	expect(KIND_TASK, pending, waiting, "task pending web.1 (service=web error=no suitable node)");
	expect(KIND_TASK, waiting, waiting, "");

	/* Only just seen when all was over, as after a resync. */
	expect(KIND_TASK, NULL, failed,
	       "task create web.1 (service=web); task die web.1 (service=web state=failed error=task: non-zero exit (3) exitCode=3)");
}

static pb_service *service_with(uint64_t replicas, const char *image)
{
	pb_service *service = pb_new(&skein__service__descriptor);

	pb_set_str(&service->id, "s1");
	service->spec = pb_new(&skein__service_spec__descriptor);
	pb_set_str(&service->spec->name, "web");
	service->spec->mode_case = SKEIN__SERVICE_SPEC__MODE_REPLICATED;
	service->spec->replicated = pb_new(&skein__replicated_mode__descriptor);
	service->spec->replicated->replicas = replicas;
	service->spec->task = pb_new(&skein__task_spec__descriptor);
	service->spec->task->container = pb_new(&skein__container_spec__descriptor);
	pb_set_str(&service->spec->task->container->image, image);
	pb_set_str(&service->spec->task->container->registry_auth, "very secret");
	return service;
}

static void services_tell_what_changed(void **state)
{
	_cleanup_pb_ pb_service *one = service_with(1, "web:1"), *three = service_with(3, "web:1"), *newer = service_with(3, "web:2"),
				*updating = service_with(3, "web:2");

	updating->update = pb_new(&skein__update_status__descriptor);
	updating->update->state = SKEIN__UPDATE_STATE__UPDATE_UPDATING;
	expect(KIND_SERVICE, NULL, one, "service create web (image=web:1)");
	expect(KIND_SERVICE, one, three, "service update web (replicas.old=1 replicas.new=3)");
	expect(KIND_SERVICE, three, newer, "service update web (image.old=web:1 image.new=web:2)");
	expect(KIND_SERVICE, newer, updating, "service update web (updatestate.new=updating)");
	expect(KIND_SERVICE, newer, NULL, "service remove web (image=web:2)");

	/* What the allocator gives is nobody's change. */
	_cleanup_pb_ pb_service *given = service_with(3, "web:2");
	given->endpoint = pb_new(&skein__endpoint__descriptor);
	expect(KIND_SERVICE, newer, given, "");
}

static pb_node *node_in(int node_state)
{
	pb_node *node = pb_new(&skein__node__descriptor);

	pb_set_str(&node->id, "n1");
	node->spec = pb_new(&skein__node_spec__descriptor);
	node->description = pb_new(&skein__node_description__descriptor);
	pb_set_str(&node->description->hostname, "h1");
	node->status = pb_new(&skein__node_status__descriptor);
	node->status->state = node_state;
	return node;
}

static void nodes_tell_state_availability_role_and_images(void **state)
{
	_cleanup_pb_ pb_node *ready = node_in(NODE_READY), *down = node_in(NODE_DOWN), *drained = node_in(NODE_READY),
			     *imaged = node_in(NODE_READY);
	pb_image_info *image = pb_new(&skein__image_info__descriptor);

	pb_set_str(&down->status->message, "silent for 1.2s");
	drained->spec->availability = AVAILABILITY_DRAIN;
	drained->role = NODE_ROLE_MANAGER;
	pb_set_str(&image->digest, "sha256:12");
	pb_strs_add(&image->n_names, &image->names, "docker.io/library/web:1");
	pb_msgs_add(&imaged->description->n_images, &imaged->description->images, image);
	expect(KIND_NODE, NULL, ready, "node create h1 (role=worker)");
	expect(KIND_NODE, ready, down, "node update h1 (state.old=ready state.new=down message=silent for 1.2s)");
	expect(KIND_NODE, ready, drained,
	       "node update h1 (availability.old=active availability.new=drain role.old=worker role.new=manager)");
	expect(KIND_NODE, ready, imaged, "image pull docker.io/library/web:1 (nodeid=n1)");
	imaged->description->images[0]->loaded = true;
	expect(KIND_NODE, ready, imaged, "image load docker.io/library/web:1 (nodeid=n1)");
	expect(KIND_NODE, imaged, ready, "image delete docker.io/library/web:1 (nodeid=n1)");
	expect(KIND_NODE, ready, NULL, "node remove h1 (role=worker)");

	/* Its capacity, say. */
	imaged->description->capacity = pb_new(&skein__resources__descriptor);
	imaged->description->capacity->pids = 5;
	expect(KIND_NODE, imaged, imaged, "");
}

static void tokens_never_tell_their_secret(void **state)
{
	_cleanup_pb_ pb_token *token = pb_new(&skein__join_token__descriptor), *used, *rotated;
	uint8_t digest[] = {1, 2, 3};

	pb_set_str(&token->id, "worker");
	pb_set_str(&token->secret, "very secret");
	used = pb_dup(token);
	used->uses = 1;
	rotated = pb_dup(token);
	rotated->secret_sha256.data = xmemdup(digest, sizeof(digest));
	rotated->secret_sha256.len = sizeof(digest);
	expect(KIND_TOKEN, NULL, token, "token create worker (role=worker)");
	expect(KIND_TOKEN, token, used, "token use worker (role=worker uses=1)");
	expect(KIND_TOKEN, token, rotated, "token rotate worker (role=worker)");
	expect(KIND_TOKEN, token, NULL, "token remove worker (role=worker)");
	expect(KIND_TOKEN, token, token, "");
}

static void times_come_from_whoever_wrote(void **state)
{
	_cleanup_pb_ pb_network *network = pb_new(&skein__network__descriptor);
	struct store_event change = {.kind = KIND_NETWORK, .id = "n", .now = network};
	struct event_list list = {0};

	pb_set_str(&network->id, "n");
	network->meta = pb_new(&skein__meta__descriptor);
	network->meta->updated_at = 42;
	derive(&change, 1, NOW, &list);
	change.old = network;
	change.now = NULL;
	derive(&change, 2, NOW, &list);
	assert_int_equal(list.n, 2);
	assert_int_equal(list.v[0]->at, 42);
	assert_string_equal(list.v[0]->action, "create");
	assert_int_equal(list.v[1]->at, NOW);
	assert_string_equal(list.v[1]->action, "remove");
	event_list_fini(&list);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tasks_tell_beginnings_and_ends),
		cmocka_unit_test(services_tell_what_changed),
		cmocka_unit_test(nodes_tell_state_availability_role_and_images),
		cmocka_unit_test(tokens_never_tell_their_secret),
		cmocka_unit_test(times_come_from_whoever_wrote),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
