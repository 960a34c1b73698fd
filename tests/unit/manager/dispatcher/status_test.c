#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "manager/dispatcher/status.h"
#include "manager/dispatcher/text.h"
#include "manager/store/txn.h"
#include "support/build.h"

static void verdicts(void **state)
{
	static const struct {
		const char *task, *node;
		int has, reported;
		enum status_verdict verdict;
	} cases[] = {
		{"t1", "n1", TASK_ASSIGNED, TASK_ACCEPTED, STATUS_TAKEN},
		{"t1", "n1", TASK_ASSIGNED, TASK_RUNNING, STATUS_TAKEN},
		{"t1", "n1", TASK_RUNNING, TASK_FAILED, STATUS_TAKEN},
		{"t1", "n1", TASK_RUNNING, TASK_RUNNING, STATUS_SAME},
		{"t1", "n1", TASK_RUNNING, TASK_STARTING, STATUS_STALE},
		{"t1", "n1", TASK_COMPLETE, TASK_RUNNING, STATUS_STALE},
		/* The first outcome stands, though FAILED is the greater number. */
		{"t1", "n1", TASK_COMPLETE, TASK_FAILED, STATUS_STALE},
		{"t1", "n1", TASK_ORPHANED, TASK_SHUTDOWN, STATUS_STALE},
		{"t1", "n2", TASK_ASSIGNED, TASK_ACCEPTED, STATUS_FOREIGN},
		{"t9", "n1", TASK_ASSIGNED, TASK_ACCEPTED, STATUS_NO_TASK},
		{"t1", "n1", TASK_ASSIGNED, TASK_ASSIGNED, STATUS_INVALID},
		{"t1", "n1", TASK_ASSIGNED, TASK_PENDING, STATUS_INVALID},
		{"t1", "n1", TASK_ASSIGNED, TASK_REMOVE, STATUS_INVALID},
		{"t1", "n1", TASK_ASSIGNED, TASK_ORPHANED, STATUS_INVALID},
		{"t1", "n1", TASK_ASSIGNED, 513, STATUS_INVALID},
		{"t1", "n1", TASK_ASSIGNED, -1, STATUS_INVALID},
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct view *v = view_of(node("n1"), service("web"),
					 task("t1", .node = "n1", .state = cases[i].has));
		Skein__TaskStatusReport report = SKEIN__TASK_STATUS_REPORT__INIT;
		pb_task_status status = SKEIN__TASK_STATUS__INIT;

		report.task_id = (char *)cases[i].task;
		report.status = &status;
		status.state = (Skein__TaskState)cases[i].reported;
		if (status_judge(v, cases[i].node, &report) != cases[i].verdict)
			fail_msg("case %zu: verdict %d", i,
				 status_judge(v, cases[i].node, &report));
		report.status = NULL;
		assert_int_equal(status_judge(v, cases[i].node, &report), STATUS_INVALID);
		view_free(v);
	}
}

static void news_of_health_is_news(void **state)
{
	struct view *v = view_of(node("n1"), service("web"), task("t1", .node = "n1"));
	Skein__TaskStatusReport report = SKEIN__TASK_STATUS_REPORT__INIT;
	_cleanup_pb_ pb_task_status *status = pb_dup(view_task(v, "t1")->status);

	(void)state;
	report.task_id = (char *)"t1";
	report.status = status;
	assert_int_equal(status_judge(v, "n1", &report), STATUS_SAME);
	status->health = pb_new(&skein__task_health__descriptor);
	status->health->state = HEALTH_UNHEALTHY;
	assert_int_equal(status_judge(v, "n1", &report), STATUS_TAKEN);
	view_free(v);
}

static Skein__StatusReports *reports_of(size_t n, const char *id, const int *states,
					const char *message)
{
	Skein__StatusReports *reports = pb_new(&skein__status_reports__descriptor);

	for (size_t i = 0; i < n; i++) {
		Skein__TaskStatusReport *report = pb_new(&skein__task_status_report__descriptor);

		pb_set_str(&report->task_id, id);
		report->status = pb_new(&skein__task_status__descriptor);
		report->status->state = (Skein__TaskState)states[i];
		pb_set_str(&report->status->message, message);
		pb_msgs_add(&reports->n_reports, &reports->reports, report);
	}
	return reports;
}

/* A later report in the same batch sees the earlier one; an older state does not come back. */
static void a_batch_is_monotonic(void **state)
{
	struct view *v = view_of(node("n1"), service("web"),
				 task("t1", .node = "n1", .state = TASK_ASSIGNED));
	const int states[] = {TASK_PREPARING, TASK_RUNNING, TASK_STARTING};
	_cleanup_pb_ Skein__StatusReports *reports = reports_of(3, "t1", states, "x");
	uint64_t counts[STATUS_VERDICTS] = {0};
	struct txn *t = txn_begin(v);
	const struct txn_change *changes;
	size_t n;

	status_stage(t, v, "n1", reports, NOW, counts);
	txn_end(t);
	changes = txn_changes(t, &n);
	assert_int_equal(n, 1);
	assert_int_equal(((const pb_task *)changes[0].obj)->status->state, TASK_RUNNING);
	assert_int_equal(((const pb_task *)changes[0].obj)->status->at, NOW);
	assert_int_equal(counts[STATUS_TAKEN], 2);
	assert_int_equal(counts[STATUS_STALE], 1);
	assert_int_equal(view_task(v, "t1")->status->state, TASK_ASSIGNED);
	txn_free(t);
	view_free(v);
}

static void texts_are_cut(void **state)
{
	struct view *v = view_of(node("n1"), service("web"),
				 task("t1", .node = "n1", .state = TASK_ASSIGNED));
	const int states[] = {TASK_RUNNING};
	_cleanup_free_ char *longest = xcalloc(1, 3 * STATUS_TEXT_MAX + 1);
	_cleanup_pb_ Skein__StatusReports *reports = NULL;
	uint64_t counts[STATUS_VERDICTS] = {0};
	struct txn *t = txn_begin(v);

	/* "é" is two bytes: the cut must not fall between them. */
	longest[0] = 'a';
	for (size_t i = 1; i + 2 <= 3 * STATUS_TEXT_MAX; i += 2)
		memcpy(longest + i, "\xc3\xa9", 2);
	reports = reports_of(1, "t1", states, longest);
	status_stage(t, v, "n1", reports, NOW, counts);
	assert_int_equal(strlen(view_task(v, "t1")->status->message), STATUS_TEXT_MAX - 1);
	txn_free(t);
	view_free(v);
}

static void dirty_text_is_cleaned_not_refused(void **state)
{
	const int states[] = {TASK_FAILED};
	_cleanup_pb_ Skein__StatusReports *reports = reports_of(1, "t1", states, "a\x1b[31mb\xff"),
					  *plain = reports_of(1, "t1", states,
							      "gr\xc3\xbc\xc3\x9f dich\n");
	_cleanup_pb_ Skein__StatusReports *clean = pb_dup_clean(&reports->base),
					  *same = pb_dup_clean(&plain->base);

	assert_string_equal(clean->reports[0]->status->message, "a?[31mb?");
	assert_string_equal(same->reports[0]->status->message, "gr\xc3\xbc\xc3\x9f dich\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(verdicts),
		cmocka_unit_test(news_of_health_is_news),
		cmocka_unit_test(a_batch_is_monotonic),
		cmocka_unit_test(texts_are_cut),
		cmocka_unit_test(dirty_text_is_cleaned_not_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
