#include "addresses.h"

#include "pools.h"
#include "rests.h"

#include "manager/store/plan.h"

#include "common/error.h"
#include "common/mem.h"
#include "common/str.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Of a larger pool only the beginning is given away: 128 KiB of bits, a million addresses. */
#define WINDOW_MAX (UINT64_C(1) << 20)
#define WORD_BITS 64

struct rest {
	uint64_t at; /* in the window */
	int64_t since;
};

/* One family of a network. Bits stand for addresses from `first` on. */
struct range {
	struct ipaddr subnet, shown; /* the whole; what is given away from */
	uint64_t first, n;
	uint64_t *used;	   /* not free */
	uint64_t *resting; /* free, but rather not yet */
	uint64_t n_free, n_used; /* network, broadcast and gateway addresses are neither */
	uint64_t next; /* where the search goes on */
	struct rest *rests;
	size_t n_rests;
};

struct netpool {
	UT_hash_handle hh;
	struct range v4, v6;
	char id[];
};

struct addresses {
	struct plan *p;
	struct netpool *networks;
};

/* ---- bits */

static bool bit(const uint64_t *bits, uint64_t at)
{
	return bits[at / WORD_BITS] >> at % WORD_BITS & 1;
}

static void set_bit(uint64_t *bits, uint64_t at)
{
	bits[at / WORD_BITS] |= UINT64_C(1) << at % WORD_BITS;
}

static void clear_bit(uint64_t *bits, uint64_t at)
{
	bits[at / WORD_BITS] &= ~(UINT64_C(1) << at % WORD_BITS);
}

/* The first free address that does not rest, in [from, to); `to` when there is none. */
static uint64_t find_free(const struct range *r, uint64_t from, uint64_t to)
{
	while (from < to) {
		uint64_t word = from / WORD_BITS;
		uint64_t clear = ~(r->used[word] | r->resting[word]) >> from % WORD_BITS;

		if (clear)
			return MIN(from + (uint64_t)__builtin_ctzll(clear), to);
		from = (word + 1) * WORD_BITS;
	}
	return to;
}

/* ---- reading a network */

/* Place in the window; false when it is outside. */
static bool place_of(const struct range *r, const struct ipaddr *a, uint64_t *ret)
{
	uint64_t index = r->n ? ipaddr_index(&r->subnet, a) : UINT64_MAX;

	if (index == UINT64_MAX || index < r->first || index - r->first >= r->n)
		return false;
	*ret = index - r->first;
	return true;
}

static struct range *range_of(struct netpool *pool, int family)
{
	return family == AF_INET6 ? &pool->v6 : &pool->v4;
}

/* Nobody ever gets it. */
static void block(struct range *r, const struct ipaddr *a)
{
	uint64_t at;

	if (!place_of(r, a, &at) || bit(r->used, at))
		return;
	set_bit(r->used, at);
	r->n_free--;
}

static void use_place(struct range *r, uint64_t at)
{
	if (bit(r->used, at))
		return;
	set_bit(r->used, at);
	r->n_free--;
	r->n_used++;
}

static void use(struct range *r, const struct ipaddr *a)
{
	uint64_t at;

	if (place_of(r, a, &at))
		use_place(r, at);
}

/* Text with or without prefix length; whatever is none is ignored. */
static bool parse(struct netpool *pool, const char *text, struct ipaddr *ret, struct range **ret_range)
{
	if (str_empty(text) || ipaddr_parse(text, ret, NULL) < 0)
		return false;
	*ret_range = range_of(pool, ret->family);
	return true;
}

static void use_text(struct netpool *pool, const char *text)
{
	struct range *r;
	struct ipaddr a;

	if (parse(pool, text, &a, &r))
		use(r, &a);
}

static void rest(struct range *r, const struct ipaddr *a, int64_t since)
{
	uint64_t at;

	if (!place_of(r, a, &at))
		return;
	set_bit(r->resting, at);
	r->rests = xreallocarray(r->rests, r->n_rests + 1, sizeof(*r->rests));
	r->rests[r->n_rests++] = (struct rest){at, since};
}

static void on_rest(void *data, const struct ipaddr *a, int64_t since)
{
	rest(range_of(data, a->family), a, since);
}

static void range_init(struct range *r, const pb_ipam_pool *pool)
{
	struct ipaddr a, range;
	uint64_t words;

	if (!pool || ipaddr_parse_subnet(pool->subnet, &r->subnet, NULL) < 0)
		return;
	r->shown = r->subnet;
	if (!str_empty(pool->ip_range) && ipaddr_parse_subnet(pool->ip_range, &range, NULL) == 0 &&
	    ipaddr_contains(&r->subnet, &range)) {
		r->shown = range;
		r->first = ipaddr_index(&r->subnet, &range);
	}
	r->n = MIN(ipaddr_count(&r->shown), WINDOW_MAX);
	r->n_free = r->n;
	words = (r->n + WORD_BITS - 1) / WORD_BITS;
	r->used = xcalloc(words, sizeof(*r->used));
	r->resting = xcalloc(words, sizeof(*r->resting));
	/* RFC 3021: a subnet of two has no such addresses. RFC 4291 2.6.1: the first of IPv6 means any router. */
	if (ipaddr_count(&r->subnet) > 2) {
		a = ipaddr_nth(&r->subnet, 0);
		block(r, &a);
		a = ipaddr_last(&r->subnet);
		if (a.family == AF_INET)
			block(r, &a);
	}
	if (ipaddr_parse(pool->gateway, &a, NULL) == 0)
		block(r, &a);
	for (size_t i = 0; i < pool->n_aux_addresses; i++)
		if (ipaddr_parse(pool->aux_addresses[i]->value, &a, NULL) == 0)
			use(r, &a);
}

/* Who was born last got the address that was given last; of several the one with the highest address. */
struct newest {
	int64_t at;
	uint64_t place;
};

struct reading {
	struct addresses *a;
	struct netpool *pool;
	struct newest newest4, newest6;
};

/* An object that was made at this time has the address. */
static void hold(struct reading *reading, const char *text, int64_t created_at)
{
	struct range *r;
	struct ipaddr a;
	struct newest *newest;
	uint64_t at;

	if (!parse(reading->pool, text, &a, &r) || !place_of(r, &a, &at))
		return;
	use_place(r, at);
	newest = a.family == AF_INET6 ? &reading->newest6 : &reading->newest4;
	if (created_at > newest->at || (created_at == newest->at && at + 1 > newest->place))
		*newest = (struct newest){created_at, at + 1};
}

static void read_service(struct reading *reading, const pb_service *service)
{
	const pb_task_spec *spec = service_task_spec(service);
	int64_t created_at = service->meta ? service->meta->created_at : 0;

	for (size_t i = 0; service->endpoint && i < service->endpoint->n_vips; i++) {
		const pb_vip *vip = service->endpoint->vips[i];

		if (!str_eq(vip->network_id, reading->pool->id))
			continue;
		hold(reading, vip->ipv4, created_at);
		hold(reading, vip->ipv6, created_at);
	}
	/* Kept for the service's task, which may be between two lives. */
	for (size_t i = 0; spec && i < spec->n_networks; i++) {
		if (!str_eq(spec->networks[i]->network_id, reading->pool->id))
			continue;
		use_text(reading->pool, spec->networks[i]->ipv4);
		use_text(reading->pool, spec->networks[i]->ipv6);
	}
}

static void rest_text(struct reading *reading, const char *text, int64_t since)
{
	struct range *r;
	struct ipaddr a;

	if (parse(reading->pool, text, &a, &r))
		rest(r, &a, since);
}

static void read_attachment(struct reading *reading, const pb_task *task, const pb_attachment *at)
{
	int64_t ended_at = MIN(task->meta ? task->meta->updated_at : 0, reading->a->p->now);

	if (task_holds_addresses(task)) {
		hold(reading, at->ipv4, task_created_at(task));
		hold(reading, at->ipv6, task_created_at(task));
	} else if (ended_at > reading->a->p->now - RESTS_NS) {
		rest_text(reading, at->ipv4, ended_at);
		rest_text(reading, at->ipv6, ended_at);
	}
}

static void read_task(void *data, const pb_task *task)
{
	struct reading *reading = data;

	for (size_t i = 0; i < task->n_networks; i++)
		if (str_eq(task->networks[i]->network_id, reading->pool->id))
			read_attachment(reading, task, task->networks[i]);
}

/*
 * What the store has, before this round. Of a plan perhaps only the beginning is committed: what one object of it gives
 * up, another one cannot have yet.
 */
static void read_before(struct reading *reading)
{
	size_t n;
	const struct txn_change *changes = txn_changes(reading->a->p->txn, &n);

	for (size_t i = 0; i < n; i++) {
		if (changes[i].kind == KIND_TASK && changes[i].old)
			read_task(reading, changes[i].old);
		else if (changes[i].kind == KIND_SERVICE && changes[i].old)
			read_service(reading, changes[i].old);
	}
}

/* The leader knows best; a new one sees it from who is there. */
static void set_next(struct addresses *a, struct netpool *pool, struct range *r, const struct newest *newest)
{
	struct ipaddr last = rests_last(a->p->rests, pool->id, r->subnet.family);
	uint64_t at;

	r->next = place_of(r, &last, &at) ? at + 1 : newest->place;
}

static struct netpool *read_network(struct addresses *a, const pb_network *network)
{
	struct reading reading = {.a = a, .newest4.at = INT64_MIN, .newest6.at = INT64_MIN};
	size_t len = strlen(network->id), n;
	struct netpool *pool = xcalloc(1, sizeof(*pool) + len + 1);
	_cleanup_free_ const pb_service **services = NULL;

	memcpy(pool->id, network->id, len);
	HASH_ADD_KEYPTR(hh, a->networks, pool->id, len, pool);
	range_init(&pool->v4, pools_find(network, AF_INET));
	range_init(&pool->v6, pools_find(network, AF_INET6));
	reading.pool = pool;
	services = view_services_of_network(a->p->view, network->id, &n);
	for (size_t i = 0; i < n; i++)
		read_service(&reading, services[i]);
	view_each_task_of_network(a->p->view, network->id, read_task, &reading);
	read_before(&reading);
	rests_each(a->p->rests, network->id, a->p->now, on_rest, pool);
	set_next(a, pool, &pool->v4, &reading.newest4);
	set_next(a, pool, &pool->v6, &reading.newest6);
	return pool;
}

static struct netpool *netpool_of(struct addresses *a, const pb_network *network)
{
	struct netpool *pool;

	HASH_FIND_STR(a->networks, network->id, pool);
	return pool ? pool : read_network(a, network);
}

struct addresses *addresses_new(struct plan *p)
{
	struct addresses *a = xnew(struct addresses);

	a->p = p;
	return a;
}

static void range_fini(struct range *r)
{
	free(r->used);
	free(r->resting);
	free(r->rests);
}

void addresses_free(struct addresses *a)
{
	struct netpool *pool, *tmp;

	if (!a)
		return;
	HASH_ITER(hh, a->networks, pool, tmp) {
		HASH_DEL(a->networks, pool);
		range_fini(&pool->v4);
		range_fini(&pool->v6);
		free(pool);
	}
	free(a);
}

/* ---- a wanted address */

struct owner {
	const char *network_id, *for_id;
	struct ipaddr address;
	char *text;
};

static bool is_it(const struct owner *o, const char *text)
{
	struct ipaddr a;

	return !str_empty(text) && ipaddr_parse(text, &a, NULL) == 0 && ipaddr_same_host(&a, &o->address);
}

static void look_task(void *data, const pb_task *task)
{
	struct owner *o = data;

	if (o->text || !task_holds_addresses(task) || str_eq(task->id, o->for_id))
		return;
	for (size_t i = 0; i < task->n_networks && !o->text; i++) {
		const pb_attachment *at = task->networks[i];

		if (str_eq(at->network_id, o->network_id) && (is_it(o, at->ipv4) || is_it(o, at->ipv6)))
			o->text = task->slot ? xasprintf("task %s.%" PRIu64 " (%s)", task->service_name, task->slot, task->id)
					     : xasprintf("task %s (%s)", task->service_name, task->id);
	}
}

static void look_service(struct owner *o, const pb_service *service)
{
	const pb_endpoint *endpoint = service->endpoint;

	for (size_t i = 0; endpoint && i < endpoint->n_vips && !o->text; i++)
		if (str_eq(endpoint->vips[i]->network_id, o->network_id) &&
		    (is_it(o, endpoint->vips[i]->ipv4) || is_it(o, endpoint->vips[i]->ipv6)))
			o->text = xasprintf("service %s", service->spec->name);
}

static void look_services(struct owner *o, const struct view *view)
{
	_cleanup_free_ const pb_service **services = NULL;
	size_t n;

	services = view_services_of_network(view, o->network_id, &n);
	for (size_t i = 0; i < n; i++)
		look_service(o, services[i]);
}

static void look_before(struct owner *o, const struct txn *txn)
{
	size_t n;
	const struct txn_change *changes = txn_changes(txn, &n);

	for (size_t i = 0; i < n; i++) {
		if (changes[i].kind == KIND_TASK && changes[i].old)
			look_task(o, changes[i].old);
		else if (changes[i].kind == KIND_SERVICE && changes[i].old)
			look_service(o, changes[i].old);
	}
}

static void look_pool(struct owner *o, const pb_ipam_pool *pool)
{
	if (is_it(o, pool->gateway))
		o->text = xstrdup("the gateway");
	for (size_t i = 0; i < pool->n_aux_addresses && !o->text; i++)
		if (is_it(o, pool->aux_addresses[i]->value))
			o->text = xasprintf("auxiliary address %s", pool->aux_addresses[i]->key);
}

static int take_wanted(struct addresses *a, const pb_network *network, struct range *r, const char *want,
		       const char *for_id, struct ipaddr *ret, struct error *err)
{
	struct owner o = {.network_id = network->id, .for_id = for_id};
	char subnet[IPADDR_TEXT_MAX];

	if (ipaddr_parse(want, &o.address, NULL) < 0 || !ipaddr_contains(&r->subnet, &o.address))
		return error_set(err, ERR_INVALID, "network %s: address %.60s is not in %s", network->spec->name, want,
				 ipaddr_format(&r->subnet, subnet));
	o.address = ipaddr_host(&o.address);
	look_pool(&o, pools_find(network, r->subnet.family));
	if (!o.text)
		look_services(&o, a->p->view);
	if (!o.text)
		view_each_task_of_network(a->p->view, network->id, look_task, &o);
	look_before(&o, a->p->txn);
	if (o.text) {
		error_set(err, ERR_EXISTS, "network %s: address %.60s is in use by %.200s", network->spec->name, want, o.text);
		free(o.text);
		return -1;
	}
	use(r, &o.address);
	*ret = o.address;
	return 0;
}

/* ---- any address */

/* No other is left: the one that has rested longest. */
static bool take_resting(struct range *r, uint64_t *ret)
{
	struct rest *best = NULL;

	for (size_t i = 0; i < r->n_rests; i++)
		if (!bit(r->used, r->rests[i].at) && (!best || r->rests[i].since < best->since))
			best = &r->rests[i];
	if (!best)
		return false;
	*ret = best->at;
	return true;
}

static int take_any(struct addresses *a, const pb_network *network, struct range *r, struct ipaddr *ret,
		    struct error *err)
{
	uint64_t at = r->n;
	char shown[IPADDR_TEXT_MAX];

	if (r->n_free) {
		uint64_t next = r->next < r->n ? r->next : 0;

		at = find_free(r, next, r->n);
		if (at == r->n) {
			at = find_free(r, 0, next);
			at = at == next ? r->n : at;
		}
		if (at == r->n && !take_resting(r, &at))
			at = r->n;
	}
	if (at == r->n)
		return error_set(err, ERR_EXHAUSTED, "network %s: no free address in %s (%" PRIu64 " in use)",
				 network->spec->name, ipaddr_format(&r->shown, shown), r->n_used);
	*ret = ipaddr_nth(&r->subnet, r->first + at);
	use(r, ret);
	r->next = at + 1;
	rests_set_last(a->p->rests, network->id, ret);
	return 0;
}

int addresses_take(struct addresses *a, const pb_network *network, int family, const char *want, const char *for_id,
		   struct ipaddr *ret, struct error *err)
{
	struct range *r = range_of(netpool_of(a, network), family);

	if (!r->n)
		return error_set(err, ERR_INVALID, "network %s has no IPv%c addresses", network->spec->name,
				 family == AF_INET6 ? '6' : '4');
	if (!str_empty(want)) {
		if (take_wanted(a, network, r, want, for_id, ret, err) < 0)
			return -1;
	} else if (take_any(a, network, r, ret, err) < 0) {
		return -1;
	}
	ret->prefix = r->subnet.prefix;
	return 0;
}

void addresses_give_back(struct addresses *a, const pb_network *network, const struct ipaddr *address)
{
	struct range *r = range_of(netpool_of(a, network), address->family);
	uint64_t at;

	if (!place_of(r, address, &at) || !bit(r->used, at))
		return;
	clear_bit(r->used, at);
	r->n_free++;
	r->n_used--;
}
