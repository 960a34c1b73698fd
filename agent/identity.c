#include "identity.h"

#include "common/clock.h"
#include "common/log.h"
#include "common/loop.h"
#include "common/mem.h"
#include "rpc/rpc.h"

#include <string.h>

#define RENEW_TIMEOUT_MS 10000
#define BACKOFF_MIN_NS NS_PER_SEC
#define BACKOFF_MAX_NS (60 * NS_PER_SEC)
#define CHECK_NS (600 * NS_PER_SEC) /* the wall clock may be set, or the host may have slept */
#define MANAGERS_MAX 64

struct identity {
	struct identity_options o;
	char *dir;
	struct identity_data data;
	struct rpc_creds *creds;
	struct closer closer;

	/* Renewing: one attempt at a time, one manager per attempt. */
	uv_timer_t timer;
	int64_t renew_at_ns;             /* wall */
	struct identity_data next;       /* with the new key; certificate once issued */
	struct rpc_channel *channel;     /* an attempt is under way */
	size_t manager;                  /* tried next */
	unsigned failures;               /* attempts in a row */
	bool again;

	/* Writing: one at a time. */
	struct save *save;
	bool info_dirty;
};

/* A copy for the pool. */
struct save {
	struct identity *i;
	char *dir;
	struct identity_data data;
	bool all;                        /* else node.json only */
	struct error err;
};

static void set_timer(struct identity *i);
static void write_info(struct identity *i);

/* ---- pure */

int64_t identity_renew_at(int64_t not_before_ns, int64_t not_after_ns, uint32_t random)
{
	int64_t begin = not_before_ns + PKI_BACKDATE_NS, life;

	if (begin >= not_after_ns)
		begin = not_before_ns;
	life = not_after_ns - begin;
	return begin + life / 2 + (int64_t)((double)life * 0.3 * ((double)random / UINT32_MAX));
}

int identity_accept(struct identity_data *data, const Skein__IssueResponse *response, const char *root_pem,
		    int64_t now_ns, struct error *err)
{
	struct pki_cert cert;

	if (pki_key_check(response->cert_pem, data->key_pem, err) < 0 ||
	    pki_verify(root_pem, response->cert_pem, PKI_NODE_NAME, now_ns, err) < 0 ||
	    pki_cert_parse(response->cert_pem, &cert, err) < 0)
		return error_wrap(err, "certificate issued by the manager");
	if (!str_eq(cert.cn, response->node_id) || !str_eq(cert.org, response->cluster_id) ||
	    (int)cert.role != (int)response->role || str_empty(cert.cn) || str_empty(cert.org) ||
	    response->n_managers > MANAGERS_MAX)
		return error_set(err, ERR_INVALID, "the manager's answer and its certificate do not agree");
	free(data->node_id);
	free(data->cluster_id);
	free(data->cert_pem);
	data->node_id = xstrdup(cert.cn);
	data->cluster_id = xstrdup(cert.org);
	data->cert_pem = xstrdup(response->cert_pem);
	if (data->root_pem != root_pem) {
		free(data->root_pem);
		data->root_pem = xstrdup(root_pem);
	}
	data->role = cert.role;
	data->not_before_ns = cert.not_before_ns;
	data->not_after_ns = cert.not_after_ns;
	if (response->n_managers) {
		strv_fini(&data->managers);
		for (size_t n = 0; n < response->n_managers; n++)
			strv_add(&data->managers, response->managers[n]);
	}
	return 0;
}

/* ---- writing */

static void save_work(void *data)
{
	struct save *s = data;

	if (s->all)
		identity_dir_save(s->dir, &s->data, &s->err);
	else
		identity_dir_save_info(s->dir, &s->data, &s->err);
}

static void failed(struct identity *i, const struct error *err);

/* The new certificate is on disk: from here on it is ours. */
static void adopt(struct identity *i)
{
	bool role_changed = i->next.role != i->data.role;

	if (i->info_dirty) { /* a newer list came while the files were written */
		strv_fini(&i->next.managers);
		i->next.managers = i->data.managers;
		i->data.managers = (struct strv){0};
	}
	identity_data_fini(&i->data);
	i->data = i->next;
	i->next = (struct identity_data){0};
	rpc_creds_update(i->creds, i->data.root_pem, i->data.cert_pem, i->data.key_pem);
	i->failures = 0;
	i->renew_at_ns = 0;
	log_info("certificate_renewed", kv_str("role", i->data.role == PKI_MANAGER ? "manager" : "worker"));
	set_timer(i);
	if (i->o.on_renewed)
		i->o.on_renewed(i->o.data, role_changed);
}

static void save_done(void *data)
{
	struct save *s = data;
	struct identity *i = s->i;

	i->save = NULL;
	if (s->all && error_is_set(&s->err)) {
		identity_data_fini(&i->next);
		if (!i->closer.closing)
			failed(i, &s->err);
	} else if (s->all && i->closer.closing) {
		identity_data_fini(&i->next);
	} else if (s->all) {
		adopt(i);
	} else if (error_is_set(&s->err)) {
		log_warn("identity_not_saved", kv_err(&s->err));
	}
	if (i->info_dirty && !i->closer.closing)
		write_info(i);
	free(s->dir);
	identity_data_fini(&s->data);
	free(s);
	closer_drop(&i->closer);
}

static void start_save(struct identity *i, const struct identity_data *what, bool all)
{
	struct save *s = xnew(struct save);

	*s = (struct save){.i = i, .dir = xstrdup(i->dir), .data = identity_data_copy(what), .all = all};
	i->save = s;
	closer_hold(&i->closer);
	loop_work(i->o.loop, save_work, save_done, s);
}

static void write_info(struct identity *i)
{
	i->info_dirty = true;
	if (i->save)
		return;
	i->info_dirty = false;
	start_save(i, &i->data, false);
}

void identity_set_managers(struct identity *i, const char *const *managers, size_t n)
{
	bool same = n == i->data.managers.n;

	if (n == 0 || n > MANAGERS_MAX || i->closer.closing)
		return;
	for (size_t k = 0; same && k < n; k++)
		same = str_eq(managers[k], i->data.managers.v[k]);
	if (same)
		return;
	strv_fini(&i->data.managers);
	for (size_t k = 0; k < n; k++)
		strv_add(&i->data.managers, managers[k]);
	write_info(i);
}

/* ---- renewing */

static bool busy(const struct identity *i)
{
	return i->channel || i->next.key_pem;
}

static void failed(struct identity *i, const struct error *err)
{
	i->failures++;
	log_warn("certificate_not_renewed", kv_u64("attempt", i->failures),
		 kv_i64("expires_in_s", (i->data.not_after_ns - clock_wall_ns()) / NS_PER_SEC), kv_err(err));
	set_timer(i);
}

static void on_reply(void *data, const ProtobufCMessage *reply, const struct error *err)
{
	struct identity *i = data;
	struct error local = ERROR_INIT;

	if (i->channel)
		rpc_channel_close(TAKE_PTR(i->channel));
	strv_fini(&i->next.managers);
	for (size_t n = 0; n < i->data.managers.n; n++) /* as of now, unless the answer names them */
		strv_add(&i->next.managers, i->data.managers.v[n]);
	if (i->closer.closing) {
		identity_data_fini(&i->next);
		closer_drop(&i->closer);
		return;
	}
	if (err) {
		local = *err;
	} else if (identity_accept(&i->next, (const Skein__IssueResponse *)reply, i->data.root_pem,
				   clock_wall_ns(), &local) == 0 &&
		   (!str_eq(i->next.node_id, i->data.node_id) ||
		    !str_eq(i->next.cluster_id, i->data.cluster_id))) {
		error_set(&local, ERR_INVALID, "the manager issued a certificate for another node");
	}
	if (error_is_set(&local)) {
		identity_data_fini(&i->next);
		failed(i, &local);
		if (err && err->code == ERR_DENIED && i->o.on_removed)
			i->o.on_removed(i->o.data, err);
	} else if (i->save) {
		/* Rare: node.json is being written. The key is thrown away, the next attempt is near. */
		identity_data_fini(&i->next);
		i->failures = 0;
		i->again = true;
		set_timer(i);
	} else {
		start_save(i, &i->next, true);
	}
	closer_drop(&i->closer);
}

static void renew(struct identity *i)
{
	Skein__RenewRequest request = SKEIN__RENEW_REQUEST__INIT;
	struct rpc_channel_options options = {.creds = i->creds};
	_cleanup_free_ char *csr = NULL;
	struct error err = ERROR_INIT;

	i->again = false;
	if (i->data.managers.n == 0) {
		error_set(&err, ERR_UNAVAILABLE, "no manager is known");
		failed(i, &err);
		return;
	}
	i->next = identity_data_copy(&i->data);
	pki_secret_free(TAKE_PTR(i->next.key_pem));
	if (pki_key_new(&i->next.key_pem, &err) < 0 || pki_csr_new(i->next.key_pem, &csr, &err) < 0) {
		identity_data_fini(&i->next);
		failed(i, &err);
		return;
	}
	options.target = i->data.managers.v[i->manager++ % i->data.managers.n];
	i->channel = rpc_channel_new(i->o.rpc, &options);
	request.csr_pem = csr;
	request.address = i->data.address;
	closer_hold(&i->closer);
	rpc_unary(i->channel, &skein__ca__descriptor, "Renew", &request.base, RENEW_TIMEOUT_MS, on_reply, i);
}

static void on_timer(uv_timer_t *timer)
{
	struct identity *i = timer->data;

	if (busy(i))
		return;
	if (i->failures || i->again || clock_wall_ns() >= i->renew_at_ns)
		renew(i);
	else
		set_timer(i);
}

/* When to look again: soon after a failure, else when due or after a while. */
static void set_timer(struct identity *i)
{
	int64_t delay_ns;
	uint32_t random;

	pki_random(&random, sizeof(random));
	if (!i->renew_at_ns)
		i->renew_at_ns = identity_renew_at(i->data.not_before_ns, i->data.not_after_ns, random);
	if (i->failures) {
		/* Every manager once, quickly, before waiting longer. */
		unsigned rounds = i->failures / (unsigned)MAX(i->data.managers.n, (size_t)1);
		int64_t limit_ns = MIN(BACKOFF_MIN_NS << MIN(rounds, 6u), BACKOFF_MAX_NS);

		delay_ns = limit_ns / 2 + random % (limit_ns / 2);
	} else if (i->again) {
		delay_ns = 0;
	} else {
		delay_ns = MIN(i->renew_at_ns - clock_wall_ns(), CHECK_NS);
	}
	loop_timer_in(&i->timer, delay_ns, on_timer);
}

void identity_renew_now(struct identity *i)
{
	if (i->closer.closing)
		return;
	i->again = true;
	if (!busy(i)) {
		i->failures = 0;
		set_timer(i);
	}
}

/* ---- life cycle */

struct identity *identity_open(const struct identity_options *options, struct error *err)
{
	struct identity_data data = {0};
	struct identity *i;

	if (identity_dir_load(options->dir, &data, err) < 0)
		return NULL;
	i = xnew(struct identity);
	i->o = *options;
	i->dir = xstrdup(options->dir);
	i->data = data;
	i->creds = rpc_creds_new(data.root_pem, data.cert_pem, data.key_pem);
	closer_init(&i->closer);
	uv_timer_init(options->loop, &i->timer);
	i->timer.data = i;
	set_timer(i);
	return i;
}

const struct identity_data *identity_get(const struct identity *i)
{
	return &i->data;
}

struct rpc_creds *identity_creds(struct identity *i)
{
	return i->creds;
}

struct closing {
	struct identity *i;
	void (*closed)(void *data);
	void *data;
};

static void on_closed(void *data)
{
	struct closing c = *(struct closing *)data;

	free(data);
	rpc_creds_unref(c.i->creds);
	identity_data_fini(&c.i->data);
	identity_data_fini(&c.i->next);
	free(c.i->dir);
	free(c.i);
	if (c.closed)
		c.closed(c.data);
}

void identity_close(struct identity *i, void (*closed)(void *data), void *data)
{
	struct closing *c = xnew(struct closing);

	*c = (struct closing){i, closed, data};
	if (!closer_begin(&i->closer, on_closed, c)) {
		free(c);
		return;
	}
	closer_add(&i->closer, (uv_handle_t *)&i->timer);
	if (i->channel)
		rpc_channel_close(TAKE_PTR(i->channel)); /* its call ends with ERR_CANCELLED */
	closer_end(&i->closer);
}
