/* What a source may send, and when. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "agent/migrate/frames.h"
#include "agent/migrate/pack.h"
#include "common/error.h"
#include "common/mem.h"

#include <string.h>

static uint8_t ticket[FRAMES_TICKET_BYTES], bytes[8];
static struct {
	Skein__MoveHello hello;
	Skein__MoveFacts facts;
	Skein__MoveItem item;
	Skein__MoveBlock block;
	Skein__MoveEnd end;
	Skein__MovePages pages;
	Skein__MovePageBytes page_bytes;
	Skein__MoveSent sent;
} f;

/* One letter per frame: see take(). */
static int take(struct frames *frames, char what, struct error *err)
{
	Skein__MoveChunk c = SKEIN__MOVE_CHUNK__INIT;

	c.body_case = what == 'h' || what == '?' ? SKEIN__MOVE_CHUNK__BODY_HELLO
		      : what == 'i' || what == 'j' || what == 'x' ? SKEIN__MOVE_CHUNK__BODY_ITEM
		      : what == 'b' || what == 'B' || what == 'w' ? SKEIN__MOVE_CHUNK__BODY_BLOCK
		      : what == 'e' || what == 'E' ? SKEIN__MOVE_CHUNK__BODY_END
		      : what == 'p' || what == 'q' || what == 'P' || what == 'r' ? SKEIN__MOVE_CHUNK__BODY_PAGES
		      : what == 'g' || what == 'G' ? SKEIN__MOVE_CHUNK__BODY_PAGE_BYTES
		      : what == 's' || what == 'S' ? SKEIN__MOVE_CHUNK__BODY_SENT
						    : SKEIN__MOVE_CHUNK__BODY__NOT_SET;
	f.hello.ask = what == '?';
	f.hello.facts = what == '?' ? NULL : &f.facts;
	f.item.id = what == 'j' ? 2 : 1;
	f.item.name = what == 'x' ? "../etc" : "upper";
	f.block.item = f.end.item = what == 'w' || what == 'E' ? 7 : 1;
	f.block.plain_bytes = what == 'B' ? PACK_BLOCK_MAX + 1 : 0;
	f.pages.round = what == 'q' ? 2 : what == 'P' ? FRAMES_ROUNDS_MAX + 1 : 1;
	f.pages.parent = what == 'q' ? 1 : what == 'r' ? 1 : 0;
	f.page_bytes.plain_bytes = what == 'G' ? FRAMES_PAGE_BYTES + 1 : 0;
	f.sent.round = what == 'S' ? 0 : 1;
	c.hello = &f.hello; /* all members of the union are pointers */
	if (c.body_case == SKEIN__MOVE_CHUNK__BODY_ITEM)
		c.item = &f.item;
	else if (c.body_case == SKEIN__MOVE_CHUNK__BODY_BLOCK)
		c.block = &f.block;
	else if (c.body_case == SKEIN__MOVE_CHUNK__BODY_END)
		c.end = &f.end;
	else if (c.body_case == SKEIN__MOVE_CHUNK__BODY_PAGES)
		c.pages = &f.pages;
	else if (c.body_case == SKEIN__MOVE_CHUNK__BODY_PAGE_BYTES)
		c.page_bytes = &f.page_bytes;
	else if (c.body_case == SKEIN__MOVE_CHUNK__BODY_SENT)
		c.sent = &f.sent;
	return frames_take(frames, &c, err);
}

static int setup(void **state)
{
	skein__move_hello__init(&f.hello);
	skein__move_facts__init(&f.facts);
	skein__move_item__init(&f.item);
	skein__move_block__init(&f.block);
	skein__move_end__init(&f.end);
	skein__move_pages__init(&f.pages);
	skein__move_page_bytes__init(&f.page_bytes);
	skein__move_sent__init(&f.sent);
	f.hello.migration_id = "0123456789abcdefghijklmno";
	f.hello.ticket = (ProtobufCBinaryData){sizeof(ticket), ticket};
	f.block.data = (ProtobufCBinaryData){sizeof(bytes), bytes};
	return 0;
}

/* '|' = the round is over. The last frame of a refused one is the one that is refused. */
static const struct row {
	const char *frames, *err;
} rows[] = {
	{"h", NULL},
	{"hibbej", NULL},
	{"hpgg|qg", NULL},
	{"hpigbge|s", NULL},
	{"?", NULL},
	{"i", "no hello"},
	{"hh", "second hello"},
	{"?i", "behind a question"},
	{"hb", "not open"},
	{"hiw", "not open"},
	{"hiE", "not open"},
	{"hij", "before item 1 has ended"},
	{"hiei", "behind item 1"},
	{"hx", "accepted are upper"},
	{"hiB", "a block of"},
	{"hg", "has not begun"},
	{"hpp", "before round 1 has ended"},
	{"hp|p", "accepted are 2 to"},
	{"hP", "accepted are 1 to"},
	{"hr", "with parent 1"},
	{"hpG", "pages of"},
	{"his", "under way"},
	{"hps", "under way"},
	{"hS", "round 0"},
	{"hsi", "behind the last one"},
	{"hz", "a frame of kind 0"},
};

static void order(void **state)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		struct frames frames = {0};
		struct error err = ERROR_INIT;

		for (const char *p = rows[i].frames; *p; p++) {
			if (*p == '|') {
				frames_round_over(&frames);
				continue;
			}
			if (take(&frames, *p, &err) < 0 && (p[1] || !rows[i].err))
				fail_msg("%s: '%c' refused: %s", rows[i].frames, *p, err.msg);
		}
		if (rows[i].err && (err.code != ERR_INVALID || !strstr(err.msg, rows[i].err)))
			fail_msg("%s: %d %s", rows[i].frames, err.code, err.msg);
	}
}

static void hello_bounds(void **state)
{
	struct frames frames = {0};
	struct error err = ERROR_INIT;
	char *many[FRAMES_FACTS_MAX + 1];

	f.hello.migration_id = "../x";
	assert_int_equal(take(&frames, 'h', &err), -1);
	setup(NULL);
	f.hello.ticket.len = 31;
	assert_int_equal(take(&frames, 'h', &err), -1);
	setup(NULL);
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = "/x";
	f.facts.n_paths = ARRAY_SIZE(many);
	f.facts.paths = many;
	assert_int_equal(take(&frames, 'h', &err), -1);
	setup(NULL);
	assert_int_equal(take(&frames, 'h', &err), 0);
}

static void directories(void **state)
{
	static const char *const bad[] = {"", "images", "images/", "images/0", "images/01", "images/65", "images/1/..", "images/-1", "upper/",
					  "images/1 ", "/upper", "images/18446744073709551617"};
	enum frames_dir dir;
	uint32_t round;

	assert_int_equal(frames_dir_parse("images/64", &dir, &round, NULL), 0);
	assert_true(dir == FRAMES_IMAGES && round == 64);
	assert_int_equal(frames_dir_parse("volumes", &dir, &round, NULL), 0);
	assert_true(dir == FRAMES_VOLUMES && round == 0);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		if (frames_dir_parse(bad[i], &dir, &round, NULL) == 0)
			fail_msg("\"%s\" was taken", bad[i]);
	}
}

static void tickets(void **state)
{
	uint8_t a[FRAMES_TICKET_BYTES] = {1, 2, 3}, b[FRAMES_TICKET_BYTES] = {1, 2, 3};
	ProtobufCBinaryData x = {sizeof(a), a}, y = {sizeof(b), b}, none = {0};

	assert_true(frames_ticket_fits(&x, &y));
	b[31] = 1;
	assert_false(frames_ticket_fits(&x, &y));
	b[31] = 0;
	y.len = 31;
	assert_false(frames_ticket_fits(&x, &y));
	assert_false(frames_ticket_fits(&none, &none)); /* no order has an empty one */
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(order, setup),
		cmocka_unit_test_setup(hello_bounds, setup),
		cmocka_unit_test(directories),
		cmocka_unit_test(tickets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
