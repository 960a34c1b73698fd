/* text - bounds of strings from agents. */
#pragma once
#include <stddef.h>

/* Cut a string to at most `max` bytes in place, never inside a UTF-8 sequence. */
void text_clip(char *s, size_t max);
