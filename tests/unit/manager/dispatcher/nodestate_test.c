#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "common/error.h"
#include "manager/dispatcher/nodestate.h"
#include "support/build.h"

#include <stdio.h>

static Skein__Register *registration(void)
{
	Skein__Register *r = pb_new(&skein__register__descriptor);

	pb_set_str(&r->address, "10.0.0.1");
	r->peer_port = 7946;
	r->cert_expires_at = NOW + 90 * SEC;
	r->description = pb_new(&skein__node_description__descriptor);
	pb_set_str(&r->description->hostname, "alpha");
	return r;
}

static void registering_again_changes_nothing(void **state)
{
	_cleanup_pb_ Skein__Register *r = registration();
	_cleanup_pb_ pb_node *n = pb_new(&skein__node__descriptor);

	assert_true(nodestate_ready(n, r, NODE_ROLE_WORKER, "m1", NOW));
	assert_int_equal(n->status->state, NODE_READY);
	assert_int_equal(n->status->since, NOW);
	assert_string_equal(n->status->manager_id, "m1");
	assert_string_equal(n->description->hostname, "alpha");
	assert_false(nodestate_ready(n, r, NODE_ROLE_WORKER, "m1", NOW + SEC));
	assert_true(nodestate_ready(n, r, NODE_ROLE_WORKER, "m2", NOW + SEC));
	/* It was READY all the time. */
	assert_int_equal(n->status->since, NOW);
}

static void down_only_while_the_session_is_where_it_was(void **state)
{
	_cleanup_pb_ Skein__Register *r = registration();
	_cleanup_pb_ pb_node *n = pb_new(&skein__node__descriptor);

	nodestate_ready(n, r, NODE_ROLE_WORKER, "m2", NOW);
	assert_false(nodestate_down(n, "m1", "gone", NOW + SEC));
	assert_true(nodestate_down(n, "m2", "gone", NOW + SEC));
	assert_int_equal(n->status->state, NODE_DOWN);
	assert_int_equal(n->status->since, NOW + SEC);
	assert_string_equal(n->status->message, "gone");
	assert_string_equal(n->status->manager_id, "");
	assert_false(nodestate_down(n, "", "gone again", NOW + 2 * SEC));
	assert_true(nodestate_ready(n, r, NODE_ROLE_WORKER, "m2", NOW + 3 * SEC));
	assert_string_equal(n->status->message, "");
}

static void describing_keeps_what_is_not_said(void **state)
{
	_cleanup_pb_ Skein__Register *r = registration();
	_cleanup_pb_ pb_node *n = pb_new(&skein__node__descriptor);
	_cleanup_pb_ pb_node_description *d = pb_new(&skein__node_description__descriptor);

	nodestate_ready(n, r, NODE_ROLE_WORKER, "m1", NOW);
	pb_kv_set(&d->n_features, &d->features, "runtime", "runc");
	assert_true(nodestate_describe(n, d));
	assert_string_equal(n->description->hostname, "alpha");
	assert_string_equal(
		pb_kv_get(n->description->features, n->description->n_features, "runtime"), "runc");
	assert_false(nodestate_describe(n, d));
}

static void bad_registrations_are_refused(void **state)
{
	struct error err = ERROR_INIT;
	_cleanup_pb_ Skein__Register *r = registration();

	assert_int_equal(nodestate_check_register(r, &err), 0);
	pb_set_str(&r->address, "host.example");
	assert_int_equal(nodestate_check_register(r, &err), -1);
	assert_non_null(strstr(err.msg, "host.example"));
	pb_set_str(&r->address, "fd00::1");
	r->peer_port = 70000;
	assert_int_equal(nodestate_check_register(r, &err), -1);
	assert_non_null(strstr(err.msg, "70000"));
	r->peer_port = 1;
	pb_set_msg(&r->description, NULL);
	assert_int_equal(nodestate_check_register(r, &err), -1);
	assert_int_equal(err.code, ERR_INVALID);
}

static void descriptions_are_bounded(void **state)
{
	struct error err = ERROR_INIT;
	_cleanup_pb_ Skein__Register *r = registration();
	pb_node_description *d = r->description;
	char digest[80], hostname[600];

	for (int i = 0; i <= NODESTATE_IMAGES_MAX; i++) {
		pb_image_info *image = pb_new(&skein__image_info__descriptor);

		snprintf(digest, sizeof(digest), "sha256:%064d", i);
		pb_set_str(&image->digest, digest);
		pb_msgs_add(&d->n_images, &d->images, image);
	}
	assert_int_equal(nodestate_check_description(d, &err), -1);
	assert_int_equal(err.code, ERR_EXHAUSTED);
	pb_msgs_del(&d->n_images, &d->images, 0);
	assert_int_equal(nodestate_check_description(d, &err), 0);
	pb_set_str(&d->images[3]->digest, "sha256:xyz");
	assert_int_equal(nodestate_check_description(d, &err), -1);
	assert_non_null(strstr(err.msg, "sha256:xyz"));
	pb_msgs_del(&d->n_images, &d->images, 3);
	memset(hostname, 'h', sizeof(hostname) - 1);
	hostname[sizeof(hostname) - 1] = '\0';
	pb_set_str(&d->hostname, hostname);
	assert_int_equal(nodestate_check_description(d, &err), -1);
	pb_set_str(&d->hostname, "ok");
	d->capacity = pb_new(&skein__resources__descriptor);
	d->capacity->mem_bytes = -1;
	assert_int_equal(nodestate_check_description(d, &err), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(registering_again_changes_nothing),
		cmocka_unit_test(down_only_while_the_session_is_where_it_was),
		cmocka_unit_test(describing_keeps_what_is_not_said),
		cmocka_unit_test(bad_registrations_are_refused),
		cmocka_unit_test(descriptions_are_bounded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
