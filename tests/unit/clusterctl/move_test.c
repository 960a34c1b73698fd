/* move_model: what is shown of a migration, and the status that it ends with. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "clusterctl/move_model.h"

#include "common/clock.h"
#include "common/error.h"
#include "common/mem.h"

#include <string.h>

#define MS NS_PER_MS
#define MIB (UINT64_C(1) << 20)

static Skein__MigrationResponse *message(int phase)
{
	Skein__MigrationResponse *msg = pb_new(&skein__migration_response__descriptor);
	pb_migration *m = msg->migration = pb_new(&skein__migration__descriptor);

	pb_set_str(&m->id, "m1");
	pb_set_str(&m->service_name, "web");
	m->slot = 1;
	pb_set_str(&m->source_node, "n1");
	pb_set_str(&m->target_node, "n2");
	m->phase = (Skein__MigrationPhase)phase;
	m->options = pb_new(&skein__migration_options__descriptor);
	m->source = pb_new(&skein__migration_report__descriptor);
	m->target = pb_new(&skein__migration_report__descriptor);
	pb_kv_set(&msg->n_node_names, &msg->node_names, "n1", "h1");
	pb_kv_set(&msg->n_node_names, &msg->node_names, "n2", "h2");
	return msg;
}

static void add_round(Skein__MigrationResponse *msg, uint64_t bytes, int64_t took, uint64_t dirty)
{
	pb_migration_round *round = pb_new(&skein__migration_round__descriptor);
	pb_migration_report *source = msg->migration->source;

	round->bytes = bytes;
	round->took = took;
	round->dirty_per_second = dirty;
	pb_msgs_add(&source->n_rounds, &source->rounds, round);
	source->bytes_sent += bytes;
}

/* As the ends report it when all is over. */
static Skein__MigrationResponse *moved(void)
{
	Skein__MigrationResponse *msg = message(MIGRATION_MOVED);
	pb_migration *m = msg->migration;

	m->source->step = STEP_GONE;
	m->target->step = STEP_RESTORED;
	m->source->memory_bytes = 200 * MIB;
	m->source->file_bytes = MIB;
	add_round(msg, 200 * MIB, 2100 * MS, 0);
	add_round(msg, 10 * MIB, 105 * MS, 4 * MIB);
	m->source->dump = 20 * MS;
	m->source->transfer = 60 * MS;
	m->target->restore = 62 * MS;
	m->source->downtime = 142 * MS + 400000;
	return msg;
}

/* One letter per step: . waits, r runs, d done, f failed */
static void assert_states(Skein__MigrationResponse *msg, const char *expected)
{
	struct move m = {0};
	char got[MOVE_STEPS + 1] = "";

	move_feed(&m, msg);
	for (size_t i = 0; i < MOVE_STEPS; i++)
		got[i] = ".rdf"[m.steps[i].state];
	assert_string_equal(got, expected);
	move_fini(&m);
	pb_free(msg);
}

static Skein__MigrationResponse *with(int phase, int source, int target, int reached)
{
	Skein__MigrationResponse *msg = message(phase);

	msg->migration->source->step = (Skein__MigrationStep)source;
	msg->migration->target->step = (Skein__MigrationStep)target;
	msg->migration->reached = (Skein__MigrationPhase)reached;
	return msg;
}

static void steps_follow_phase_and_reports(void **state)
{
	assert_states(with(MIGRATION_NEW, 0, 0, 0), "r......");
	assert_states(with(MIGRATION_PREPARE, 0, 0, 0), "rr.....");
	assert_states(with(MIGRATION_PREPARE, STEP_PREPARED, 0, 0), "dr.....");
	assert_states(with(MIGRATION_PREPARE, 0, STEP_PREPARED, 0), "rd.....");
	assert_states(with(MIGRATION_COPY, STEP_PREPARED, STEP_PREPARED, 0), "ddr....");
	assert_states(with(MIGRATION_COPY, STEP_CONVERGED, STEP_PREPARED, 0), "ddd....");
	assert_states(with(MIGRATION_FREEZE, STEP_CONVERGED, STEP_PREPARED, 0), "dddrr..");
	assert_states(with(MIGRATION_FREEZE, STEP_FROZEN, STEP_PREPARED, 0), "ddddr..");
	assert_states(with(MIGRATION_SWITCH, STEP_SENT, STEP_RECEIVED, 0), "dddddrr");
	assert_states(with(MIGRATION_SWITCH, STEP_SENT, STEP_RESTORED, 0), "ddddddr");
	assert_states(moved(), "ddddddd");
}

static void what_failed_is_marked(void **state)
{
	/* Refused by the source's trial dump; the target had its image. */
	assert_states(with(MIGRATION_REFUSED, 0, STEP_PREPARED, MIGRATION_PREPARE), "fd.....");
	assert_states(with(MIGRATION_ROLLED_BACK, STEP_RESUMED, STEP_DISCARDED, MIGRATION_COPY), "ddf....");
	assert_states(with(MIGRATION_ABORT, STEP_FROZEN, STEP_PREPARED, MIGRATION_FREEZE), "ddddf..");
	assert_states(with(MIGRATION_ROLLED_BACK, STEP_RESUMED, STEP_DISCARDED, MIGRATION_SWITCH), "dddddff");
}

static Skein__MigrationResponse *dry(int phase)
{
	Skein__MigrationResponse *msg = message(phase);

	msg->migration->options->dry_run = true;
	return msg;
}

static void a_dry_run_ends_behind_the_preflight(void **state)
{
	assert_states(dry(MIGRATION_PREPARE), "rr.....");
	assert_states(dry(MIGRATION_CHECKED), "dd.....");
}

/* ---- lines */

static char *screen_of(Skein__MigrationResponse *msg, unsigned width)
{
	_cleanup_strv_ struct strv lines = {0};
	_cleanup_strbuf_ struct strbuf out = {0};
	struct move m = {0};

	move_feed(&m, msg);
	move_screen(&m, width, &lines);
	for (size_t i = 0; i < lines.n; i++)
		strbuf_printf(&out, "%s\n", lines.v[i]);
	move_fini(&m);
	pb_free(msg);
	return xstrdup(out.p ?: "");
}

static void the_picture(void **state)
{
	Skein__MigrationResponse *msg = with(MIGRATION_COPY, STEP_PREPARED, STEP_PREPARED, 0);
	_cleanup_free_ char *copying = NULL, *checking = NULL, *narrow = NULL;

	msg->migration->source->memory_bytes = 200 * MIB;
	add_round(msg, 200 * MIB, 2100 * MS, 0);
	add_round(msg, 10 * MIB, 105 * MS, 4 * MIB);
	narrow = screen_of(pb_dup(msg), 24);
	copying = screen_of(msg, 120);
	assert_string_equal(copying,
			    "web.1: h1 -> h2: copy\n"
			    "  preflight  done\n"
			    "  image      done\n"
			    "  pre-copy   ...     round 2: 10MiB in 105ms, dirty 4MiB/s; 210MiB sent, memory 200MiB\n"
			    "  freeze\n"
			    "  transfer\n"
			    "  restore\n"
			    "  switch\n");
	assert_null(strstr(narrow, "round 2: 10MiB"));
	msg = dry(MIGRATION_PREPARE);
	pb_set_str(&msg->migration->source->doing, "trial dump");
	pb_set_str(&msg->migration->target_node, "");
	checking = screen_of(msg, 80);
	assert_string_equal(checking, "web.1: h1 -> ?: prepare\n"
				      "  preflight  ...     trial dump\n"
				      "  image      ...\n");
}

static void feed_plain(struct move *m, struct move_plain *last, Skein__MigrationResponse *msg, struct strbuf *out)
{
	move_feed(m, msg);
	move_plain(last, m, out);
	pb_free(msg);
}

static void plain_lines_come_once(void **state)
{
	_cleanup_strbuf_ struct strbuf out = {0};
	struct move_plain last = {0};
	struct move m = {0};
	Skein__MigrationResponse *msg = message(MIGRATION_NEW);

	pb_set_str(&msg->migration->target_node, "");
	feed_plain(&m, &last, msg, &out);
	feed_plain(&m, &last, with(MIGRATION_PREPARE, STEP_PREPARED, 0, 0), &out);
	msg = with(MIGRATION_COPY, STEP_PREPARED, STEP_PREPARED, 0);
	add_round(msg, 200 * MIB, 2100 * MS, 0);
	feed_plain(&m, &last, pb_dup(msg), &out);
	feed_plain(&m, &last, msg, &out);
	feed_plain(&m, &last, moved(), &out);
	assert_string_equal(out.p, "web.1: preflight: begins\n"
				   "web.1: h1 -> h2\n"
				   "web.1: preflight: done\n"
				   "web.1: image: begins\n"
				   "web.1: image: done\n"
				   "web.1: pre-copy: begins\n"
				   "web.1: pre-copy: round 1: 200MiB in 2.1s\n"
				   "web.1: pre-copy: round 2: 10MiB in 105ms, dirty 4MiB/s\n"
				   "web.1: pre-copy: done\n"
				   "web.1: freeze: done: 20ms\n"
				   "web.1: transfer: done: 60ms\n"
				   "web.1: restore: done: 62ms\n"
				   "web.1: switch: done\n");
	move_plain_fini(&last);
	move_fini(&m);
}

/* ---- the end */

static void assert_end(Skein__MigrationResponse *msg, int status, const char *text)
{
	_cleanup_strbuf_ struct strbuf out = {0};
	struct move m = {0};

	pb_set_str(&msg->migration->message, (int)msg->migration->phase < MIGRATION_REFUSED ? "" : "a device: /dev/kvm");
	move_feed(&m, msg);
	assert_true(m.over);
	assert_int_equal(move_conclude(&m, &out), status);
	assert_string_equal(out.p, text);
	move_fini(&m);
	pb_free(msg);
}

static void each_end_has_its_status_and_words(void **state)
{
	Skein__MigrationResponse *nowhere = with(MIGRATION_REFUSED, 0, 0, MIGRATION_NEW);
	Skein__NodeVerdict *verdict = pb_new(&skein__node_verdict__descriptor);

	assert_end(moved(), CTL_OK,
		   "web.1 moved from h1 to h2: downtime 142ms, 210MiB sent in 2 rounds\n"
		   "  dump 20ms, transfer 60ms, restore 62ms; memory 200MiB, files 1MiB\n");
	assert_end(dry(MIGRATION_CHECKED), CTL_OK, "web.1 can be moved from h1 to h2\n");
	assert_end(with(MIGRATION_REFUSED, 0, 0, MIGRATION_PREPARE), CTL_REFUSED,
		   "web.1 was not moved: a device: /dev/kvm; nothing was touched");
	assert_end(with(MIGRATION_ROLLED_BACK, 0, 0, MIGRATION_COPY), CTL_ROLLED_BACK,
		   "web.1 was not moved, it runs on h1 as before: a device: /dev/kvm");
	assert_end(with(MIGRATION_LOST, 0, 0, MIGRATION_SWITCH), CTL_FAILED,
		   "web.1 is on neither node any more: a device: /dev/kvm; its slot begins anew");
	pb_set_str(&verdict->node_name, "h3");
	pb_set_str(&verdict->reason, "insufficient memory");
	pb_msgs_add(&nowhere->n_nodes, &nowhere->nodes, verdict);
	assert_end(nowhere, CTL_REFUSED,
		   "web.1 was not moved: a device: /dev/kvm; nothing was touched\n  h3: insufficient memory");
}

static void refusals_are_told_from_failures(void **state)
{
	static const struct {
		int code, status;
	} rows[] = {
		{ERR_PRECONDITION, CTL_REFUSED}, {ERR_NOT_FOUND, CTL_REFUSED},	{ERR_INVALID, CTL_REFUSED},
		{ERR_UNAVAILABLE, CTL_FAILED},	 {ERR_TIMEOUT, CTL_FAILED},	{ERR_INTERNAL, CTL_FAILED},
	};

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct error err = ERROR_INIT;

		error_set(&err, (enum error_code)rows[i].code, "x");
		assert_int_equal(move_refusal(&err), rows[i].status);
	}
}

static void times_are_short(void **state)
{
	static const struct {
		int64_t ns;
		const char *text;
	} rows[] = {
		{0, "0s"},			 {1234567, "1.23ms"},		    {142400000, "142ms"},
		{1214000000, "1.21s"},		 {59996000000, "1m0s"},		    {182400000000, "3m2s"},
	};
	char buf[STR_HUMAN_MAX];

	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		assert_string_equal(move_took(rows[i].ns, buf), rows[i].text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steps_follow_phase_and_reports),
		cmocka_unit_test(what_failed_is_marked),
		cmocka_unit_test(a_dry_run_ends_behind_the_preflight),
		cmocka_unit_test(the_picture),
		cmocka_unit_test(plain_lines_come_once),
		cmocka_unit_test(each_end_has_its_status_and_words),
		cmocka_unit_test(refusals_are_told_from_failures),
		cmocka_unit_test(times_are_short),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
