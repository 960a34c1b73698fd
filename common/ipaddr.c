#include "ipaddr.h"

#include "error.h"
#include "mem.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <string.h>

static unsigned bits_of(const struct ipaddr *a)
{
	return a->family == AF_INET ? 32 : a->family == AF_INET6 ? 128 : 0;
}

/* Decimal, no sign, no leading zero, at most max. */
static int parse_prefix(const char *s, unsigned max, uint8_t *ret)
{
	unsigned value = 0;
	size_t len = strspn(s, "0123456789");

	if (!len || len > 3 || s[len] || (*s == '0' && len > 1))
		return -1;
	for (; *s; s++)
		value = value * 10 + (unsigned)(*s - '0');
	if (value > max)
		return -1;
	*ret = (uint8_t)value;
	return 0;
}

static int parse(const char *s, struct ipaddr *ret, bool *ret_has_prefix)
{
	const char *slash = strchr(s, '/');
	size_t len = slash ? (size_t)(slash - s) : strlen(s);
	char host[INET6_ADDRSTRLEN];
	struct ipaddr a = {};

	if (len >= sizeof(host))
		return -1;
	memcpy(host, s, len);
	host[len] = '\0';
	a.family = strchr(host, ':') ? AF_INET6 : AF_INET;
	if (inet_pton(a.family, host, a.bytes) != 1)
		return -1;
	a.prefix = (uint8_t)bits_of(&a);
	if (slash && parse_prefix(slash + 1, a.prefix, &a.prefix) < 0)
		return -1;
	*ret_has_prefix = slash != NULL;
	*ret = a;
	return 0;
}

int ipaddr_parse(const char *s, struct ipaddr *ret, struct error *err)
{
	bool has_prefix;

	if (parse(s ? s : "", ret, &has_prefix) < 0)
		return error_set(err, ERR_INVALID,
				 "\"%.100s\" is not an address: accepted is IPv4 (10.0.0.1) or "
				 "IPv6 (fd00::1), "
				 "each with or without a prefix length (/24)",
				 s ? s : "");
	return 0;
}

int ipaddr_parse_subnet(const char *s, struct ipaddr *ret, struct error *err)
{
	char start[IPADDR_TEXT_MAX];
	struct ipaddr a, network;
	bool has_prefix;

	if (parse(s ? s : "", &a, &has_prefix) < 0 || !has_prefix)
		return error_set(err, ERR_INVALID,
				 "\"%.100s\" is not a subnet: accepted is an address and a prefix "
				 "length, as 10.0.1.0/24 "
				 "or fd00:1::/64",
				 s ? s : "");
	network = ipaddr_network(&a);
	if (!ipaddr_equal(&a, &network))
		return error_set(err, ERR_INVALID,
				 "\"%.100s\" is not a subnet: that of this address is %s", s,
				 ipaddr_format(&network, start));
	*ret = a;
	return 0;
}

const char *ipaddr_format_host(const struct ipaddr *a, char buf[static IPADDR_TEXT_MAX])
{
	if (!bits_of(a) || !inet_ntop(a->family, a->bytes, buf, IPADDR_TEXT_MAX))
		buf[0] = '\0';
	return buf;
}

const char *ipaddr_format(const struct ipaddr *a, char buf[static IPADDR_TEXT_MAX])
{
	size_t len;

	ipaddr_format_host(a, buf);
	len = strlen(buf);
	if (len && a->prefix != bits_of(a))
		snprintf(buf + len, IPADDR_TEXT_MAX - len, "/%u", a->prefix);
	return buf;
}

bool ipaddr_same_host(const struct ipaddr *a, const struct ipaddr *b)
{
	return a->family == b->family && memcmp(a->bytes, b->bytes, bits_of(a) / 8) == 0;
}

bool ipaddr_equal(const struct ipaddr *a, const struct ipaddr *b)
{
	return ipaddr_same_host(a, b) && (!a->family || a->prefix == b->prefix);
}

int ipaddr_cmp(const struct ipaddr *a, const struct ipaddr *b)
{
	int order;

	if (a->family != b->family)
		return a->family < b->family ? -1 : 1;
	order = memcmp(a->bytes, b->bytes, bits_of(a) / 8);
	if (order)
		return order < 0 ? -1 : 1;
	return (a->prefix > b->prefix) - (a->prefix < b->prefix);
}

/* The bits of a byte that are behind the prefix. */
static uint8_t host_bits(const struct ipaddr *a, unsigned byte)
{
	if (byte < a->prefix / 8u)
		return 0;
	return byte > a->prefix / 8u ? 0xff : (uint8_t)(0xffu >> a->prefix % 8);
}

struct ipaddr ipaddr_network(const struct ipaddr *a)
{
	struct ipaddr n = *a;

	for (unsigned i = n.prefix / 8u; i < bits_of(a) / 8; i++)
		n.bytes[i] &= (uint8_t)~host_bits(a, i);
	return n;
}

struct ipaddr ipaddr_last(const struct ipaddr *subnet)
{
	struct ipaddr l = *subnet;

	for (unsigned i = l.prefix / 8u; i < bits_of(subnet) / 8; i++)
		l.bytes[i] |= host_bits(subnet, i);
	l.prefix = (uint8_t)bits_of(subnet);
	return l;
}

struct ipaddr ipaddr_host(const struct ipaddr *a)
{
	struct ipaddr h = *a;

	h.prefix = (uint8_t)bits_of(a);
	return h;
}

bool ipaddr_contains(const struct ipaddr *subnet, const struct ipaddr *host_or_subnet)
{
	struct ipaddr of = *host_or_subnet, want = ipaddr_network(subnet);

	if (!subnet->family || subnet->family != of.family || of.prefix < subnet->prefix)
		return false;
	of.prefix = subnet->prefix;
	of = ipaddr_network(&of);
	return ipaddr_same_host(&of, &want);
}

bool ipaddr_overlaps(const struct ipaddr *a, const struct ipaddr *b)
{
	return ipaddr_contains(a, b) || ipaddr_contains(b, a);
}

uint64_t ipaddr_count(const struct ipaddr *subnet)
{
	unsigned bits = bits_of(subnet) - subnet->prefix;

	if (!subnet->family)
		return 0;
	return bits >= 64 ? UINT64_MAX : UINT64_C(1) << bits;
}

struct ipaddr ipaddr_nth(const struct ipaddr *subnet, uint64_t n)
{
	struct ipaddr a = ipaddr_network(subnet);

	assert(n < ipaddr_count(subnet) || ipaddr_count(subnet) == UINT64_MAX);
	a.prefix = (uint8_t)bits_of(subnet);
	for (unsigned i = bits_of(subnet) / 8; i-- && n; n >>= 8)
		a.bytes[i] |= (uint8_t)n; /* those bits are clear: no carry */
	return a;
}

uint64_t ipaddr_index(const struct ipaddr *subnet, const struct ipaddr *host)
{
	struct ipaddr start = ipaddr_network(subnet), at = ipaddr_host(host);
	uint64_t n = 0;

	if (!ipaddr_contains(subnet, &at))
		return UINT64_MAX;
	for (unsigned i = 0; i < bits_of(subnet) / 8; i++) {
		if (n >> 56)
			return UINT64_MAX;
		n = n << 8 | (uint8_t)(at.bytes[i] ^ start.bytes[i]);
	}
	return n;
}

struct mac mac_of_address(const struct ipaddr *a)
{
	struct mac m = {{0x02, a->family == AF_INET6 ? 0x43 : 0x42}};

	memcpy(m.bytes + 2, a->bytes + (a->family == AF_INET6 ? 12 : 0), 4);
	return m;
}

struct mac mac_of_node(uint32_t index)
{
	return (struct mac){
		{0x02, 0x53, 0x4b, (uint8_t)(index >> 16), (uint8_t)(index >> 8), (uint8_t)index}};
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int mac_parse(const char *s, struct mac *ret, struct error *err)
{
	struct mac m = {};
	const char *text = s ? s : "";
	bool ok = strnlen(text, MAC_TEXT_MAX) == MAC_TEXT_MAX - 1;

	for (size_t i = 0; ok && i < sizeof(m.bytes); i++) {
		int high = hex_digit(text[i * 3]), low = hex_digit(text[i * 3 + 1]);

		ok = high >= 0 && low >= 0 && text[i * 3 + 2] == (i == 5 ? '\0' : ':');
		m.bytes[i] = (uint8_t)(high << 4 | low);
	}
	if (!ok)
		return error_set(err, ERR_INVALID,
				 "\"%.100s\" is not a MAC address: accepted is 02:42:0a:00:00:01",
				 text);
	*ret = m;
	return 0;
}

const char *mac_format(const struct mac *m, char buf[static MAC_TEXT_MAX])
{
	snprintf(buf, MAC_TEXT_MAX, "%02x:%02x:%02x:%02x:%02x:%02x", m->bytes[0], m->bytes[1],
		 m->bytes[2], m->bytes[3], m->bytes[4], m->bytes[5]);
	return buf;
}
