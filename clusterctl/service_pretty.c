/* `service inspect --pretty`: a service as people read it. */
#include "service_pretty.h"

#include "pb_json.h"
#include "text.h"
#include "values_port.h"

#include "common/clock.h"
#include "common/mem.h"

#include <string.h>

/* "Name:" and a value, aligned; nothing when the value is empty. */
static void put(FILE *out, unsigned depth, const char *name, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
static void put(FILE *out, unsigned depth, const char *name, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) < 0)
		abort();
	va_end(ap);
	if (*text)
		fprintf(out, "%*s%s:%*s%s\n", (int)depth, "", name,
			(int)MAX(24 - (int)depth - (int)strlen(name), 1), "", text);
}

static void put_duration(FILE *out, const char *name, int64_t ns)
{
	char text[STR_HUMAN_MAX];

	put(out, 1, name, "%s", str_duration(ns, text));
}

static void put_strings(FILE *out, const char *name, char *const *list, size_t n)
{
	_cleanup_strbuf_ struct strbuf text = {0};

	for (size_t i = 0; i < n; i++)
		strbuf_printf(&text, "%s%s", i ? " " : "", list[i]);
	put(out, 1, name, "%s", text.p ?: "");
}

static void put_labels(FILE *out, const char *title, pb_kv *const *labels, size_t n)
{
	if (n > 0)
		fprintf(out, "%s:\n", title);
	for (size_t i = 0; i < n; i++)
		fprintf(out, " %s=%s\n", labels[i]->key, labels[i]->value);
}

/* The name of an enum's value as inspect writes it. Yours. */
static char *enum_text(const void *msg, const char *field)
{
	json_t *json = pb_json(msg);
	char *text = xstrdup(json_string_value(json_object_get(json, field)));

	json_decref(json);
	return text ?: xstrdup("");
}

static void put_update(FILE *out, const char *title, const pb_update_config *u)
{
	_cleanup_free_ char *order = NULL, *action = NULL;

	if (!u)
		return;
	order = enum_text(u, "order");
	action = enum_text(u, "failure_action");
	fprintf(out, "%s:\n", title);
	put(out, 1, "Parallelism", "%llu", (unsigned long long)u->parallelism);
	put_duration(out, "Delay", u->delay);
	put(out, 1, "On failure", "%s", action);
	put_duration(out, "Monitoring period", u->monitor);
	put(out, 1, "Max failure ratio", "%g", (double)u->max_failure_ratio);
	put(out, 1, "Order", "%s", order);
}

static void put_status(FILE *out, const pb_update_status *status)
{
	_cleanup_free_ char *state = NULL;
	char when[CLOCK_RFC3339_MAX];

	if (!status || status->state == SKEIN__UPDATE_STATE__UPDATE_NONE)
		return;
	state = enum_text(status, "state");
	fputs("Update status:\n", out);
	put(out, 1, "State", "%s", state);
	if (status->started_at)
		put(out, 1, "Started", "%s", clock_rfc3339(status->started_at, when));
	if (status->completed_at)
		put(out, 1, "Completed", "%s", clock_rfc3339(status->completed_at, when));
	put(out, 1, "Message", "%s", status->message);
}

static void put_mounts(FILE *out, const pb_container_spec *c)
{
	if (c->n_mounts > 0)
		fputs("Mounts:\n", out);
	for (size_t i = 0; i < c->n_mounts; i++) {
		_cleanup_free_ char *type = enum_text(c->mounts[i], "type");

		fprintf(out, " %s%s%s on %s%s\n", type, *c->mounts[i]->source ? " " : "",
			c->mounts[i]->source, c->mounts[i]->target,
			c->mounts[i]->read_only ? " (read-only)" : "");
	}
}

static void put_span(FILE *out, const char *name, int64_t ns)
{
	if (ns)
		put_duration(out, name, ns);
}

/* Only what the service says itself; the rest is the image's. */
static void put_health(FILE *out, const pb_health_check *h)
{
	if (!h)
		return;
	fputs("Health check:\n", out);
	put_strings(out, "Test", h->test, h->n_test);
	put_span(out, "Interval", h->interval);
	put_span(out, "Timeout", h->timeout);
	if (h->retries)
		put(out, 1, "Retries", "%u", h->retries);
	put_span(out, "Start period", h->start_period);
	put_span(out, "Start interval", h->start_interval);
}

static void put_container(FILE *out, const pb_container_spec *c)
{
	fputs("Container:\n", out);
	put(out, 1, "Image", "%s%s%s", c->image,
	    *c->image_digest && !strchr(c->image, '@') ? "@" : "",
	    strchr(c->image, '@') ? "" : c->image_digest);
	put_strings(out, "Entrypoint", c->command, c->n_command);
	put_strings(out, "Args", c->args, c->n_args);
	put_strings(out, "Env", c->env, c->n_env);
	put(out, 1, "Hostname", "%s", c->hostname);
	put(out, 1, "User", "%s", c->user);
	put_strings(out, "Groups", c->groups, c->n_groups);
	put(out, 1, "Working directory", "%s", c->dir);
	put(out, 1, "Terminal", "%s", c->tty ? "yes" : "");
	put(out, 1, "InitCluster", "%s", c->init ? "yes" : "");
	put(out, 1, "Root", "%s", c->read_only ? "read-only" : "");
	put(out, 1, "Stop signal", "%s", c->stop_signal);
	put_duration(out, "Stop grace period", c->stop_grace_period);
	put_duration(out, "Ready wait", c->ready_wait);
	put_strings(out, "Capabilities added", c->cap_add, c->n_cap_add);
	put_strings(out, "Capabilities dropped", c->cap_drop, c->n_cap_drop);
	put_strings(out, "Name servers", c->dns_servers, c->n_dns_servers);
	put_strings(out, "Search domains", c->dns_search, c->n_dns_search);
	put_strings(out, "Resolver options", c->dns_options, c->n_dns_options);
	for (size_t i = 0; i < c->n_hosts; i++)
		put(out, 1, "Hosts line", "%s", c->hosts[i]);
	put_labels(out, "Container labels", c->labels, c->n_labels);
	put_labels(out, "Sysctls", c->sysctls, c->n_sysctls);
	put_mounts(out, c);
}

static void put_resources(FILE *out, const char *title, const pb_resources *r)
{
	char memory[STR_HUMAN_MAX];

	if (!r || (!r->cpu_nano && !r->mem_bytes && !r->pids))
		return;
	fprintf(out, "%s:\n", title);
	if (r->cpu_nano)
		put(out, 1, "CPU", "%g", (double)r->cpu_nano / 1e9);
	if (r->mem_bytes)
		put(out, 1, "Memory", "%s", str_bytes_human(r->mem_bytes, memory));
	if (r->pids)
		put(out, 1, "Processes", "%lld", (long long)r->pids);
}

static void put_restart(FILE *out, const pb_restart_policy *r)
{
	_cleanup_free_ char *condition = NULL;

	if (!r)
		return;
	condition = enum_text(r, "condition");
	fputs("Restart:\n", out);
	put(out, 1, "Condition", "%s", condition);
	put_duration(out, "Delay", r->delay);
	put(out, 1, "Max attempts", "%llu%s", (unsigned long long)r->max_attempts,
	    r->max_attempts ? "" : " (no limit)");
	if (r->window)
		put_duration(out, "Window", r->window);
}

static void put_placement(FILE *out, const pb_placement *p)
{
	if (!p || (p->n_constraints == 0 && p->n_spread == 0 && p->max_replicas_per_node == 0))
		return;
	fputs("Placement:\n", out);
	put_strings(out, "Constraints", p->constraints, p->n_constraints);
	put_strings(out, "Spread over", p->spread, p->n_spread);
	if (p->max_replicas_per_node)
		put(out, 1, "Max per node", "%llu", (unsigned long long)p->max_replicas_per_node);
}

static const pb_vip *vip_in(const pb_service *service, const char *network_id)
{
	for (size_t i = 0; service->endpoint && i < service->endpoint->n_vips; i++)
		if (str_eq(service->endpoint->vips[i]->network_id, network_id))
			return service->endpoint->vips[i];
	return NULL;
}

/* "front  VIP 10.0.1.2  aliases db, cache" */
static void put_network(FILE *out, const pb_attachment_config *c, const pb_vip *vip)
{
	_cleanup_strbuf_ struct strbuf text = {0};

	for (size_t i = 0; i < c->n_aliases; i++)
		strbuf_printf(&text, "%s%s", i ? ", " : "  aliases ", c->aliases[i]);
	if (*c->ipv4)
		strbuf_printf(&text, "  address %s", c->ipv4);
	if (*c->ipv6)
		strbuf_printf(&text, "  address %s", c->ipv6);
	if (vip)
		strbuf_printf(&text, "  VIP %s%s%s", vip->ipv4,
			      *vip->ipv4 && *vip->ipv6 ? " " : "", vip->ipv6);
	fprintf(out, " %s%s\n", *c->network_name ? c->network_name : c->network_id, text.p ?: "");
}

static void put_networks(FILE *out, const pb_service *service)
{
	const pb_task_spec *task = service->spec->task;

	if (task->n_networks == 0) {
		put(out, 0, "Network", "%s", task->network);
		return;
	}
	fputs("Networks:\n", out);
	for (size_t i = 0; i < task->n_networks; i++)
		put_network(out, task->networks[i],
			    vip_in(service, task->networks[i]->network_id));
}

static void put_endpoint(FILE *out, const pb_service *service)
{
	const pb_endpoint *e = service->endpoint;

	put(out, 0, "Endpoint mode", "%s",
	    service->spec->endpoint && (int)service->spec->endpoint->mode == ENDPOINT_DNSRR ? "dnsrr"
											   : "vip");
	if (!e)
		return;
	put(out, 1, "Error", "%s", e->err);
	if (e->n_ports > 0)
		fputs("Ports:\n", out);
	for (size_t i = 0; i < e->n_ports; i++) {
		_cleanup_free_ char *port = ports_text(e->ports + i, 1, -1);

		fprintf(out, " %s %s\n", port,
			(int)e->ports[i]->mode == PUBLISH_HOST ? "host" : "ingress");
	}
}

void service_pretty(const void *msg, FILE *out)
{
	const pb_service *service = msg;
	const pb_service_spec *spec = service->spec;

	put(out, 0, "ID", "%s", service->id);
	put(out, 0, "Name", "%s", spec->name);
	put_labels(out, "Labels", spec->labels, spec->n_labels);
	if (spec->mode_case == SKEIN__SERVICE_SPEC__MODE_REPLICATED) {
		put(out, 0, "Mode", "replicated");
		put(out, 1, "Replicas", "%llu", (unsigned long long)spec->replicated->replicas);
	} else {
		put(out, 0, "Mode", "global");
	}
	put_status(out, service->update);
	if (spec->task) {
		put_placement(out, spec->task->placement);
		if (spec->task->container)
			put_container(out, spec->task->container);
		if (spec->task->container)
			put_health(out, spec->task->container->health);
		if (spec->task->resources) {
			put_resources(out, "Reservations", spec->task->resources->reservations);
			put_resources(out, "Limits", spec->task->resources->limits);
		}
		put_restart(out, spec->task->restart);
		put_networks(out, service);
	}
	put_endpoint(out, service);
	put_update(out, "Update", spec->update);
	put_update(out, "Rollback", spec->rollback);
}
