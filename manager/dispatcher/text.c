#include "text.h"

#include <string.h>

void text_clip(char *s, size_t max)
{
	if (strlen(s) <= max)
		return;
	while (max && ((unsigned char)s[max] & 0xc0) == 0x80)
		max--;
	s[max] = '\0';
}
