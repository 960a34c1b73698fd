// links: common
#include "common/ipaddr.h"

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool ok)
{
	if (!ok)
		abort();
}

/* What is accepted prints as text that means the same; a subnet has room for its own ends. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1), buf[IPADDR_TEXT_MAX], mac_text[MAC_TEXT_MAX];
	struct ipaddr a, back, end;
	struct mac m, m2;

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	if (ipaddr_parse(text, &a, NULL) == 0) {
		check(ipaddr_parse(ipaddr_format(&a, buf), &back, NULL) == 0 &&
		      ipaddr_equal(&a, &back));
		check(ipaddr_parse(ipaddr_format_host(&a, buf), &back, NULL) == 0 &&
		      ipaddr_same_host(&a, &back));
		back = ipaddr_network(&a);
		check(ipaddr_contains(&back, &a) && ipaddr_overlaps(&a, &back));
		end = ipaddr_last(&a);
		check(ipaddr_contains(&back, &end));
		if (ipaddr_count(&a) != UINT64_MAX)
			check(ipaddr_index(&back, &end) == ipaddr_count(&a) - 1);
		if (ipaddr_index(&back, &a) != UINT64_MAX) {
			end = ipaddr_nth(&back, ipaddr_index(&back, &a));
			check(ipaddr_same_host(&end, &a));
		}
	}
	if (ipaddr_parse_subnet(text, &a, NULL) == 0) {
		back = ipaddr_network(&a);
		check(ipaddr_equal(&a, &back));
	}
	if (mac_parse(text, &m, NULL) == 0)
		check(mac_parse(mac_format(&m, mac_text), &m2, NULL) == 0 &&
		      memcmp(&m, &m2, sizeof(m)) == 0);
	free(text);
	return 0;
}
