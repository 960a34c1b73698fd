/*
 * frames - is what a source sends in order and within bounds? (proto/peer.proto, Move). Pure. (Fuzzed.)
 */
#pragma once
#include "proto/pb.h"

#include <stdbool.h>
#include <stdint.h>

struct error;

#define FRAMES_TICKET_BYTES 32
#define FRAMES_FACTS_MAX 256          /* paths, devices */
#define FRAMES_PAGE_BYTES (256u << 10)
#define FRAMES_ROUNDS_MAX 64
#define FRAMES_MESSAGE_MAX (2u << 20) /* of one frame on the wire */

/* What has come so far. */
struct frames {
	bool greeted, asks, sent;
	uint32_t item, last_item;    /* open; 0 = none */
	uint32_t round, last_round;
};

/* Take the next one. Errors: ERR_INVALID with what is wrong; nothing may be taken behind it. */
int frames_take(struct frames *f, const Skein__MoveChunk *c, struct error *err);
/* The round's pages are all there: the next one may begin. */
void frames_round_over(struct frames *f);

enum frames_dir { FRAMES_UPPER, FRAMES_VOLUMES, FRAMES_IMAGES };
/* "upper", "volumes", "images/7" (ret_round; 1 to FRAMES_ROUNDS_MAX, without leading zeros). */
int frames_dir_parse(const char *name, enum frames_dir *ret, uint32_t *ret_round, struct error *err);

/* Equal, in a time that does not depend on where they differ. */
bool frames_ticket_fits(const ProtobufCBinaryData *want, const ProtobufCBinaryData *got);
