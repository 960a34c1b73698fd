#include "rpc/internal.h"

#include "common/mem.h"

#include <string.h>

/* Shared by the loop and the handshakes of the poller: everything under the mutex. */
struct rpc_creds {
	pthread_mutex_t mutex;
	unsigned refs;
	uint64_t generation; /* changes with the material, starts at 1 */
	char *root_pem, *cert_pem, *key_pem;
};

static void set_pem(struct rpc_creds *creds, const char *root_pem, const char *cert_pem,
		    const char *key_pem)
{
	if (creds->key_pem)
		mem_wipe(creds->key_pem, strlen(creds->key_pem));
	free(creds->root_pem);
	free(creds->cert_pem);
	free(creds->key_pem);
	creds->root_pem = xstrdup(root_pem);
	creds->cert_pem = xstrdup(cert_pem);
	creds->key_pem = xstrdup(key_pem);
	creds->generation++;
}

struct rpc_creds *rpc_creds_new(const char *root_pem, const char *cert_pem, const char *key_pem)
{
	struct rpc_creds *creds = xnew(struct rpc_creds);

	pthread_mutex_init(&creds->mutex, NULL);
	creds->refs = 1;
	set_pem(creds, root_pem, cert_pem, key_pem);
	return creds;
}

void rpc_creds_update(struct rpc_creds *creds, const char *root_pem, const char *cert_pem,
		      const char *key_pem)
{
	/* Copied first: the caller may pass what we are about to free. */
	_cleanup_free_ char *root = xstrdup(root_pem), *cert = xstrdup(cert_pem),
			    *key = xstrdup(key_pem);

	pthread_mutex_lock(&creds->mutex);
	set_pem(creds, root, cert, key);
	pthread_mutex_unlock(&creds->mutex);
	if (key)
		mem_wipe(key, strlen(key));
}

struct rpc_creds *rpc_creds_ref(struct rpc_creds *creds)
{
	pthread_mutex_lock(&creds->mutex);
	creds->refs++;
	pthread_mutex_unlock(&creds->mutex);
	return creds;
}

void rpc_creds_unref(struct rpc_creds *creds)
{
	bool last;

	if (!creds)
		return;
	pthread_mutex_lock(&creds->mutex);
	last = --creds->refs == 0;
	pthread_mutex_unlock(&creds->mutex);
	if (!last)
		return;

	set_pem(creds, NULL, NULL, NULL);
	pthread_mutex_destroy(&creds->mutex);
	free(creds);
}

uint64_t creds_generation(struct rpc_creds *creds)
{
	uint64_t generation;

	pthread_mutex_lock(&creds->mutex);
	generation = creds->generation;
	pthread_mutex_unlock(&creds->mutex);
	return generation;
}

grpc_channel_credentials *creds_for_channel(struct rpc_creds *creds, uint64_t *ret_generation)
{
	grpc_channel_credentials *ret;
	grpc_ssl_pem_key_cert_pair pair;

	pthread_mutex_lock(&creds->mutex);
	pair.private_key = creds->key_pem;
	pair.cert_chain = creds->cert_pem;
	ret = grpc_ssl_credentials_create_ex(creds->root_pem, creds->key_pem ? &pair : NULL, NULL,
					     NULL);
	*ret_generation = creds->generation;
	pthread_mutex_unlock(&creds->mutex);
	return ret;
}

/* Once per handshake, on the thread that runs it: cheap when nothing changed. */
static grpc_ssl_certificate_config_reload_status on_fetch(void *data,
							  grpc_ssl_server_certificate_config **ret)
{
	struct cert_fetcher *f = data;
	grpc_ssl_certificate_config_reload_status status =
		GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
	grpc_ssl_pem_key_cert_pair pair;
	struct rpc_creds *creds;

	tag_came_back(f);
	creds = f->creds;
	pthread_mutex_lock(&creds->mutex);
	if (!creds->key_pem || !creds->cert_pem) {
		status = GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL;
	} else if (atomic_load(&f->seen) != creds->generation) {
		pair.private_key = creds->key_pem;
		pair.cert_chain = creds->cert_pem;
		*ret = grpc_ssl_server_certificate_config_create(creds->root_pem, &pair, 1);
		atomic_store(&f->seen, creds->generation);
		status = GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
	}
	pthread_mutex_unlock(&creds->mutex);
	return status;
}

grpc_server_credentials *creds_for_server(struct rpc *rpc, struct rpc_creds *creds)
{
	struct cert_fetcher *f;

	if (!creds)
		return grpc_insecure_server_credentials_create();

	/* One per port: "unchanged" means what this port has, not what another one got. */
	f = xnew(struct cert_fetcher);
	f->creds = rpc_creds_ref(creds);
	SLIST_INSERT_HEAD(&rpc->fetchers, f, link);
	tag_handed_out(f);
	return grpc_ssl_server_credentials_create_with_options(
		grpc_ssl_server_credentials_create_options_using_config_fetcher(
			GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY, on_fetch, f));
}

void cert_fetchers_free(struct rpc *rpc)
{
	struct cert_fetcher *f;

	while ((f = SLIST_FIRST(&rpc->fetchers))) {
		SLIST_REMOVE_HEAD(&rpc->fetchers, link);
		rpc_creds_unref(f->creds);
		free(f);
	}
}
