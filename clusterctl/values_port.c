#include "values_port.h"

#include "values.h"

#include "common/error.h"
#include "common/ipaddr.h"
#include "common/mem.h"

#include <string.h>
#include <strings.h>

#define SHOWN 200
#define RANGE_MAX 1000
#define ACCEPTED                                                                                   \
	"expected [HOSTIP:]PUBLISHED:TARGET[/tcp|udp|sctp], TARGET, or "                           \
	"published=,target=,protocol=,mode=,host-ip="

struct range {
	uint32_t first, last; /* 0, 0 = none */
};

/* One --publish before it is spread over its ports. */
struct publish {
	struct range published, target;
	const char *protocol;
	int mode;
	bool has_mode;
	char host_ip[IPADDR_TEXT_MAX];
};

static int parse_port(const char *text, size_t len, uint32_t *ret)
{
	_cleanup_free_ char *copy = xstrndup(text, len);
	uint64_t port;

	if (len == 0 || len > 5 || copy[strspn(copy, "0123456789")] ||
	    str_parse_u64(copy, &port, NULL) < 0 || port < 1 || port > 65535)
		return -1;
	*ret = (uint32_t)port;
	return 0;
}

static int parse_range(const char *text, size_t len, struct range *ret, struct error *err)
{
	const char *dash = memchr(text, '-', len);
	size_t first = dash ? (size_t)(dash - text) : len;

	if (parse_port(text, first, &ret->first) < 0 ||
	    (dash && parse_port(dash + 1, len - first - 1, &ret->last) < 0))
		return error_set(err, ERR_INVALID,
				 "\"%.*s\": expected a port from 1 to 65535, or a range such as "
				 "8000-8010",
				 (int)MIN(len, (size_t)SHOWN), text);
	if (!dash)
		ret->last = ret->first;
	if (ret->last < ret->first)
		return error_set(err, ERR_INVALID, "\"%.*s\": the range ends before it begins",
				 (int)len, text);
	return 0;
}

static int parse_protocol(const char *text, const char **ret, struct error *err)
{
	static const char *const names[] = {"tcp", "udp", "sctp"};

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		if (strcasecmp(text, names[i]) == 0) {
			*ret = names[i];
			return 0;
		}
	}
	return error_set(err, ERR_INVALID, "protocol \"%.*s\": expected tcp, udp or sctp", SHOWN,
			 text);
}

static int parse_host_ip(const char *text, struct publish *p, struct error *err)
{
	struct ipaddr a;

	if (strchr(text, '/') || ipaddr_parse(text, &a, NULL) < 0)
		return error_set(err, ERR_INVALID,
				 "host address \"%.*s\": expected an IP address of the host, such "
				 "as 10.0.0.1 or [fd00::1]",
				 SHOWN, text);
	ipaddr_format_host(&a, p->host_ip);
	return 0;
}

/* ---------------------------------------------------------------- short form */

/* Takes "/PROTOCOL" off the end. */
static int split_protocol(char *text, struct publish *p, struct error *err)
{
	char *slash = strchr(strrchr(text, ':') ?: text, '/');

	if (!slash)
		return 0;
	*slash = '\0';
	return parse_protocol(slash + 1, &p->protocol, err);
}

static int parse_short(const char *text, struct publish *p, struct error *err)
{
	_cleanup_free_ char *copy = xstrdup(text);
	char *target, *published, *host = NULL;

	if (split_protocol(copy, p, err) < 0)
		return -1;
	target = strrchr(copy, ':');
	if (!target)
		return parse_range(copy, strlen(copy), &p->target, err);
	*target++ = '\0';
	published = strrchr(copy, ':');
	if (published) {
		*published++ = '\0';
		host = copy;
		if (*host == '[' && str_ends(host, "]")) {
			host[strlen(host) - 1] = '\0';
			host++;
		}
	} else {
		published = copy;
	}
	if (parse_range(target, strlen(target), &p->target, err) < 0)
		return -1;
	/* "10.0.0.1::80": the cluster chooses */
	if ((!host || *published) &&
	    parse_range(published, strlen(published), &p->published, err) < 0)
		return -1;
	if (host && parse_host_ip(host, p, err) < 0)
		return -1;
	if (host)
		p->mode = PUBLISH_HOST;
	return 0;
}

/* ---------------------------------------------------------------- long form */

static int parse_mode(const char *value, struct publish *p, struct error *err)
{
	if (str_eq(value, "host"))
		p->mode = PUBLISH_HOST;
	else if (!str_eq(value, "ingress"))
		return error_set(err, ERR_INVALID, "mode=\"%.*s\": expected ingress or host", SHOWN,
				 value);
	p->has_mode = true;
	return 0;
}

static int parse_field(char *field, struct publish *p, struct error *err)
{
	char *value = strchr(field, '=');

	if (!value)
		return error_set(err, ERR_INVALID, "\"%.*s\": " ACCEPTED, SHOWN, field);
	*value++ = '\0';
	if (str_eq(field, "target"))
		return parse_range(value, strlen(value), &p->target, err);
	if (str_eq(field, "published"))
		return parse_range(value, strlen(value), &p->published, err);
	if (str_eq(field, "protocol"))
		return parse_protocol(value, &p->protocol, err);
	if (str_eq(field, "mode"))
		return parse_mode(value, p, err);
	if (str_eq(field, "host-ip") || str_eq(field, "host_ip"))
		return parse_host_ip(value, p, err);
	return error_set(err, ERR_INVALID,
			 "unknown key \"%.*s\": expected target, published, protocol, mode, "
			 "host-ip",
			 SHOWN, field);
}

static int parse_long(const char *text, struct publish *p, struct error *err)
{
	_cleanup_strv_ struct strv fields = {0};

	if (value_csv(text, &fields, err) < 0)
		return -1;
	for (size_t i = 0; i < fields.n; i++)
		if (parse_field(fields.v[i], p, err) < 0)
			return -1;
	if (p->target.first == 0)
		return error_set(err, ERR_INVALID,
				 "\"%.*s\": target= is missing: expected the container's port",
				 SHOWN, text);
	if (p->host_ip[0] && p->has_mode && p->mode != PUBLISH_HOST)
		return error_set(err, ERR_INVALID,
				 "host-ip=%s goes only with mode=host: every node publishes an "
				 "ingress port",
				 p->host_ip);
	if (p->host_ip[0])
		p->mode = PUBLISH_HOST;
	return 0;
}

/* ---------------------------------------------------------------- messages */

static pb_port *port_at(const struct publish *p, uint32_t i)
{
	pb_port *port = pb_new(&skein__port_config__descriptor);

	port->target = p->target.first + i;
	port->published = p->published.first ? p->published.first + i : 0;
	port->mode = (Skein__PublishMode)p->mode;
	pb_set_str(&port->protocol, p->protocol);
	pb_set_str(&port->host_ip, p->host_ip);
	return port;
}

static bool has_port(pb_port *const *list, size_t n, const pb_port *port)
{
	for (size_t i = 0; i < n; i++)
		if (list[i]->published == port->published && list[i]->target == port->target &&
		    list[i]->mode == port->mode && str_eq(list[i]->protocol, port->protocol) &&
		    str_eq(list[i]->host_ip, port->host_ip))
			return true;
	return false;
}

int value_publish(const char *text, size_t *n, pb_port ***list, struct error *err)
{
	struct publish p = {.protocol = "tcp", .mode = PUBLISH_INGRESS};
	int r = strchr(text, '=') ? parse_long(text, &p, err) : parse_short(text, &p, err);

	if (r < 0)
		return -1;
	if (p.published.first &&
	    p.published.last - p.published.first != p.target.last - p.target.first)
		return error_set(err, ERR_INVALID,
				 "\"%.*s\": published are %u ports, targets %u: expected as many",
				 SHOWN, text, p.published.last - p.published.first + 1,
				 p.target.last - p.target.first + 1);
	if (p.target.last - p.target.first >= RANGE_MAX)
		return error_set(err, ERR_INVALID, "\"%.*s\": expected a range of at most %d ports",
				 SHOWN, text, RANGE_MAX);
	for (uint32_t i = 0; i <= p.target.last - p.target.first; i++) {
		_cleanup_pb_ pb_port *port = port_at(&p, i);

		/* the same twice is once */
		if (!has_port(*list, *n, port))
			pb_msgs_add(n, list, TAKE_PTR(port));
	}
	return 0;
}

int value_publish_rm(const char *text, size_t *n, pb_port ***list, struct error *err)
{
	struct publish p = {.protocol = "tcp"};
	_cleanup_free_ char *copy = xstrdup(text);

	if (strpbrk(text, ":="))
		return error_set(err, ERR_INVALID,
				 "\"%.*s\": expected the container's port, TARGET[/tcp|udp|sctp]",
				 SHOWN, text);
	if (split_protocol(copy, &p, err) < 0 ||
	    parse_range(copy, strlen(copy), &p.target, err) < 0)
		return -1;
	for (size_t i = 0; i < *n; i++) {
		const pb_port *port = (*list)[i];

		if (port->target >= p.target.first && port->target <= p.target.last &&
		    str_eq(port->protocol, p.protocol))
			pb_msgs_del(n, list, i--);
	}
	return 0;
}

/* ---------------------------------------------------------------- text */

static bool follows(const pb_port *a, const pb_port *b)
{
	return b->published == a->published + 1 && b->target == a->target + 1 &&
	       a->published != 0 && b->mode == a->mode && str_eq(a->protocol, b->protocol) &&
	       str_eq(a->host_ip, b->host_ip);
}

static void put_range(struct strbuf *out, uint32_t first, uint32_t last)
{
	strbuf_printf(out, "%u", first);
	if (last != first)
		strbuf_printf(out, "-%u", last);
}

static void put_ports(struct strbuf *out, const pb_port *first, const pb_port *last)
{
	bool v6 = strchr(first->host_ip, ':') != NULL;

	strbuf_printf(out, "%s%s%s%s:", out->len ? ", " : "", v6 ? "[" : "",
		      *first->host_ip ? first->host_ip : "*", v6 ? "]" : "");
	if (first->published)
		put_range(out, first->published, last->published);
	else
		strbuf_puts(out, "?"); /* not given yet */
	strbuf_puts(out, "->");
	put_range(out, first->target, last->target);
	strbuf_printf(out, "/%s", first->protocol);
}

char *ports_text(pb_port *const *ports, size_t n, int mode)
{
	struct strbuf out = {0};

	for (size_t i = 0; i < n; i++) {
		size_t last = i;

		if (mode >= 0 && (int)ports[i]->mode != mode)
			continue;
		while (last + 1 < n && follows(ports[last], ports[last + 1]))
			last++;
		put_ports(&out, ports[i], ports[last]);
		i = last;
	}
	return out.p ? strbuf_take(&out) : xstrdup("");
}
