#include "agent/migrate/frames.h"

#include "agent/migrate/pack.h"
#include "common/error.h"
#include "common/id.h"
#include "common/str.h"

#include <string.h>

static int bad(struct error *err, const char *what)
{
	return error_set(err, ERR_INVALID, "%s", what);
}

static int take_hello(struct frames *f, const Skein__MoveHello *h, struct error *err)
{
	if (f->greeted)
		return bad(err, "a second hello");
	if (!id_valid(h->migration_id))
		return error_set(err, ERR_INVALID, "migration id \"%.64s\", accepted are %d characters of 0-9 and a-z", h->migration_id,
				 ID_LEN);
	if (h->ticket.len != FRAMES_TICKET_BYTES)
		return error_set(err, ERR_INVALID, "a ticket of %zu bytes, accepted are %d", h->ticket.len, FRAMES_TICKET_BYTES);
	if (!h->ask && !h->facts)
		return bad(err, "a hello without facts");
	if (h->facts && (h->facts->n_paths > FRAMES_FACTS_MAX || h->facts->n_devices > FRAMES_FACTS_MAX))
		return error_set(err, ERR_INVALID, "facts name %zu paths and %zu devices, accepted are %d", h->facts->n_paths,
				 h->facts->n_devices, FRAMES_FACTS_MAX);
	f->greeted = true;
	f->asks = h->ask;
	return 0;
}

static int take_item(struct frames *f, const Skein__MoveItem *i, struct error *err)
{
	enum frames_dir dir;
	uint32_t round;

	if (f->item)
		return error_set(err, ERR_INVALID, "item %u begins before item %u has ended", i->id, f->item);
	if (i->id <= f->last_item)
		return error_set(err, ERR_INVALID, "item %u behind item %u", i->id, f->last_item);
	if (frames_dir_parse(i->name, &dir, &round, err) < 0)
		return -1;
	f->item = f->last_item = i->id;
	return 0;
}

static int check_bytes(const char *what, size_t len, uint32_t plain, size_t max, struct error *err)
{
	if (len > max || plain > max)
		return error_set(err, ERR_INVALID, "%s of %zu bytes (%u plain), accepted are %zu", what, len, plain, max);
	return 0;
}

static int take_block(const struct frames *f, const Skein__MoveBlock *b, struct error *err)
{
	if (!f->item || b->item != f->item)
		return error_set(err, ERR_INVALID, "a block of item %u, which is not open", b->item);
	return check_bytes("a block", b->data.len, b->plain_bytes, PACK_BLOCK_MAX, err);
}

static int take_pages(struct frames *f, const Skein__MovePages *p, struct error *err)
{
	if (f->round)
		return error_set(err, ERR_INVALID, "round %u begins before round %u has ended", p->round, f->round);
	if (p->round <= f->last_round || p->round > FRAMES_ROUNDS_MAX)
		return error_set(err, ERR_INVALID, "round %u, accepted are %u to %d", p->round, f->last_round + 1, FRAMES_ROUNDS_MAX);
	if (p->parent >= p->round)
		return error_set(err, ERR_INVALID, "round %u with parent %u", p->round, p->parent);
	f->round = f->last_round = p->round;
	return 0;
}

static int take_sent(struct frames *f, const Skein__MoveSent *s, struct error *err)
{
	if (f->item || f->round)
		return bad(err, "all is said to be sent, but something is under way");
	if (s->round == 0 || s->round > FRAMES_ROUNDS_MAX)
		return error_set(err, ERR_INVALID, "round %u, accepted are 1 to %d", s->round, FRAMES_ROUNDS_MAX);
	f->sent = true;
	return 0;
}

static int take_body(struct frames *f, const Skein__MoveChunk *c, struct error *err)
{
	switch (c->body_case) {
	case SKEIN__MOVE_CHUNK__BODY_ITEM:
		return take_item(f, c->item, err);
	case SKEIN__MOVE_CHUNK__BODY_BLOCK:
		return take_block(f, c->block, err);
	case SKEIN__MOVE_CHUNK__BODY_END:
		if (!f->item || c->end->item != f->item)
			return error_set(err, ERR_INVALID, "the end of item %u, which is not open", c->end->item);
		f->item = 0;
		return 0;
	case SKEIN__MOVE_CHUNK__BODY_PAGES:
		return take_pages(f, c->pages, err);
	case SKEIN__MOVE_CHUNK__BODY_PAGE_BYTES:
		if (!f->round)
			return bad(err, "pages of a round that has not begun");
		return check_bytes("pages", c->page_bytes->data.len, c->page_bytes->plain_bytes, FRAMES_PAGE_BYTES, err);
	case SKEIN__MOVE_CHUNK__BODY_SENT:
		return take_sent(f, c->sent, err);
	default:
		return error_set(err, ERR_INVALID, "a frame of kind %d", (int)c->body_case);
	}
}

int frames_take(struct frames *f, const Skein__MoveChunk *c, struct error *err)
{
	if (c->body_case == SKEIN__MOVE_CHUNK__BODY_HELLO)
		return take_hello(f, c->hello, err);
	if (!f->greeted)
		return bad(err, "the first frame is no hello");
	if (f->asks || f->sent)
		return bad(err, f->asks ? "a frame behind a question" : "a frame behind the last one");
	return take_body(f, c, err);
}

void frames_round_over(struct frames *f)
{
	f->round = 0;
}

int frames_dir_parse(const char *name, enum frames_dir *ret, uint32_t *ret_round, struct error *err)
{
	uint64_t round = 0;

	*ret_round = 0;
	if (str_eq(name, "upper") || str_eq(name, "volumes")) {
		*ret = str_eq(name, "upper") ? FRAMES_UPPER : FRAMES_VOLUMES;
		return 0;
	}
	if (str_starts(name, "images/") && name[7] != '0' && str_parse_u64(name + 7, &round, NULL) == 0 && round > 0 &&
	    round <= FRAMES_ROUNDS_MAX) {
		*ret = FRAMES_IMAGES;
		*ret_round = (uint32_t)round;
		return 0;
	}
	return error_set(err, ERR_INVALID, "item \"%.64s\", accepted are upper, volumes, images/1 to images/%d", name, FRAMES_ROUNDS_MAX);
}

bool frames_ticket_fits(const ProtobufCBinaryData *want, const ProtobufCBinaryData *got)
{
	volatile uint8_t differ = 0;

	if (want->len != FRAMES_TICKET_BYTES || got->len != FRAMES_TICKET_BYTES)
		return false;
	for (size_t i = 0; i < FRAMES_TICKET_BYTES; i++)
		differ |= want->data[i] ^ got->data[i];
	return differ == 0;
}
