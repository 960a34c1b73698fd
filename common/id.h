/* id - random object ids: 25 characters of base 36, 128 bits from getrandom(2), as Swarm's. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define ID_LEN 25

void id_new(char ret_id[static ID_LEN + 1]);
bool id_valid(const char *s);

/* Big-endian bytes as base 36, left-padded with '0' to exactly `width` characters (+ NUL). */
void base36_encode(const unsigned char *bytes, size_t n, char *ret, size_t width);
/* Reverse; -1 when s has other characters than [0-9a-z] or does not fit into n bytes. */
int base36_decode(const char *s, size_t len, unsigned char *ret, size_t n);
