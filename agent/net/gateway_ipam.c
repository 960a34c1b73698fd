#include "gateway_ipam.h"

#include "common/error.h"
#include "common/mem.h"

#include <string.h>
#include <sys/socket.h>

#define FIRST 2u          /* the subnet itself, the bridge */
#define LIMIT_MAX 65536u  /* more tasks than this do not fit on a node */

int gateway_ipam_init(struct gateway_ipam *ipam, const struct ipaddr *subnet4, const struct ipaddr *subnet6, struct error *err)
{
	char text[IPADDR_TEXT_MAX];

	memset(ipam, 0, sizeof(*ipam));
	if (subnet4->family != AF_INET || subnet4->prefix > 29 || subnet4->prefix < 8)
		return error_set(err, ERR_INVALID, "gateway subnet \"%s\": an IPv4 subnet from /8 to /29 is accepted",
				 ipaddr_format(subnet4, text));
	ipam->subnet4 = *subnet4;
	ipam->subnet6 = *subnet6;
	ipam->limit = (uint32_t)MIN(ipaddr_count(subnet4), LIMIT_MAX) - 1; /* without the broadcast address */
	ipam->next = FIRST;
	ipam->used = xcalloc(ipam->limit / 8 + 1, 1);
	return 0;
}

void gateway_ipam_fini(struct gateway_ipam *ipam)
{
	free(ipam->used);
	ipam->used = NULL;
}

static bool is_used(const struct gateway_ipam *ipam, uint32_t i)
{
	return ipam->used[i / 8] & (1u << (i % 8));
}

static struct ipaddr nth(const struct ipaddr *subnet, uint32_t i)
{
	struct ipaddr a;

	if (!ipaddr_is_set(subnet))
		return (struct ipaddr){.family = 0};
	a = ipaddr_nth(subnet, i);
	a.prefix = subnet->prefix;
	return a;
}

int gateway_ipam_take(struct gateway_ipam *ipam, struct ipaddr *ret4, struct ipaddr *ret6, struct error *err)
{
	uint32_t n = ipam->limit - FIRST;
	char text[IPADDR_TEXT_MAX];

	for (uint32_t tried = 0; tried < n; tried++) {
		uint32_t i = ipam->next;

		ipam->next = i + 1 < ipam->limit ? i + 1 : FIRST;
		if (is_used(ipam, i))
			continue;
		ipam->used[i / 8] |= (uint8_t)(1u << (i % 8));
		*ret4 = nth(&ipam->subnet4, i);
		*ret6 = nth(&ipam->subnet6, i);
		return 0;
	}
	return error_set(err, ERR_EXHAUSTED, "gateway subnet %s: no free address (%u in use)",
			 ipaddr_format(&ipam->subnet4, text), n);
}

bool gateway_ipam_reserve(struct gateway_ipam *ipam, const struct ipaddr *a4, struct ipaddr *ret6)
{
	uint64_t i = ipaddr_index(&ipam->subnet4, a4);

	if (i < FIRST || i >= ipam->limit || is_used(ipam, (uint32_t)i))
		return false;
	ipam->used[i / 8] |= (uint8_t)(1u << (i % 8));
	ipam->next = (uint32_t)i + 1 < ipam->limit ? (uint32_t)i + 1 : FIRST;
	*ret6 = nth(&ipam->subnet6, (uint32_t)i);
	return true;
}

void gateway_ipam_give(struct gateway_ipam *ipam, const struct ipaddr *a4)
{
	uint64_t i = ipaddr_index(&ipam->subnet4, a4);

	if (i >= FIRST && i < ipam->limit)
		ipam->used[i / 8] &= (uint8_t)~(1u << (i % 8));
}

struct ipaddr gateway_ipam_gateway4(const struct gateway_ipam *ipam)
{
	return nth(&ipam->subnet4, 1);
}

struct ipaddr gateway_ipam_gateway6(const struct gateway_ipam *ipam)
{
	return nth(&ipam->subnet6, 1);
}
