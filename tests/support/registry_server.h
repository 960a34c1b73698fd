/* registry_server - a real docker-registry on loopback, with TLS and a password, for one test. */
#pragma once
#include "common/file.h"
#include "common/mem.h"
#include "support/pki.h"

#include <arpa/inet.h>
#include <assert.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct registry_server {
	char dir[128];         /* storage/, certs.d/, config.yml, auth.json, log */
	char certs_dir[160];   /* for image_store_options.registries_dir */
	char auth_file[160];   /* containers-auth.json with the right password */
	char host[32];         /* "127.0.0.1:port" */
	int port;
	pid_t pid;
};

static inline int sh(const char *fmt, ...)
{
	char cmd[2048];
	va_list ap;
	int n, r;

	va_start(ap, fmt);
	n = vsnprintf(cmd, sizeof(cmd), fmt, ap);
	va_end(ap);
	assert(n > 0 && (size_t)n < sizeof(cmd));
	r = system(cmd);
	if (r)
		fprintf(stderr, "failed: %s\n", cmd);
	return r;
}

static inline bool port_answers(int port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool ok = connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0;

	close(fd);
	return ok;
}

static inline int free_port(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert(bind(fd, (struct sockaddr *)&a, sizeof(a)) == 0 && getsockname(fd, (struct sockaddr *)&a, &len) == 0);
	close(fd);
	return ntohs(a.sin_port);
}

static inline void put_file(const char *dir, const char *name, const char *text)
{
	_cleanup_free_ char *path = xasprintf("%s/%s", dir, name);

	assert(file_write(path, text, strlen(text), 0600, NULL) == 0);
}

/* containers-auth.json(5) for user "puller". Yours. */
static inline char *registry_auth_json(const struct registry_server *r, const char *password)
{
	char plain[128], encoded[256];

	snprintf(plain, sizeof(plain), "puller:%s", password);
	EVP_EncodeBlock((unsigned char *)encoded, (const unsigned char *)plain, (int)strlen(plain));
	return xasprintf("{\"auths\":{\"%s\":{\"auth\":\"%s\"}}}", r->host, encoded);
}

static inline void registry_stop(struct registry_server *r)
{
	if (r->pid <= 0)
		return;
	kill(r->pid, SIGKILL);
	waitpid(r->pid, NULL, 0);
	r->pid = 0;
}

/* On the port it has, or had before. */
static inline bool registry_run(struct registry_server *r)
{
	char config[256], log[256];

	snprintf(config, sizeof(config), "%s/config.yml", r->dir);
	snprintf(log, sizeof(log), "%s/log", r->dir);
	r->pid = fork();
	if (r->pid == 0) {
		int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(fd, 1);
		dup2(fd, 2);
		execlp("docker-registry", "docker-registry", "serve", config, NULL);
		_exit(127);
	}
	for (int i = 0; i < 1000; i++) {
		if (waitpid(r->pid, NULL, WNOHANG) == r->pid) {
			r->pid = 0;
			return false; /* the port is taken */
		}
		if (port_answers(r->port))
			return true;
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	}
	return false;
}

static inline void registry_configure(struct registry_server *r, struct pki *pki, struct pki_cert *cert)
{
	char text[2048], certs[512];
	char *auth;

	r->port = free_port();
	snprintf(r->host, sizeof(r->host), "127.0.0.1:%d", r->port);
	snprintf(text, sizeof(text),
		 "version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s/storage}}\n"
		 "http: {addr: '%s', tls: {certificate: %s/cert.pem, key: %s/key.pem}}\n"
		 "auth: {htpasswd: {realm: test, path: %s/htpasswd}}\n",
		 r->dir, r->host, r->dir, r->dir, r->dir);
	put_file(r->dir, "config.yml", text);
	snprintf(certs, sizeof(certs), "%s/%s", r->certs_dir, r->host);
	assert(file_mkdirs(certs, 0700, NULL) == 0);
	put_file(certs, "ca.crt", pki->root_pem);
	auth = registry_auth_json(r, "right");
	put_file(r->dir, "auth.json", auth);
	free(auth);
}

static inline void registry_start(struct registry_server *r, const char *dir)
{
	struct pki_cert cert;
	struct pki pki;
	bool up = false;

	*r = (struct registry_server){0};
	snprintf(r->dir, sizeof(r->dir), "%s", dir);
	snprintf(r->certs_dir, sizeof(r->certs_dir), "%s/certs.d", dir);
	snprintf(r->auth_file, sizeof(r->auth_file), "%s/auth.json", dir);
	assert(file_mkdirs(dir, 0700, NULL) == 0);
	pki_init(&pki, "registry ca");
	cert = pki_issue(&pki, "registry", NULL, NULL, "IP:127.0.0.1", 3600);
	put_file(dir, "cert.pem", cert.cert_pem);
	put_file(dir, "key.pem", cert.key_pem);
	assert(sh("htpasswd -Bbn puller right >%s/htpasswd", dir) == 0);
	for (int i = 0; i < 5 && !up; i++) {
		registry_configure(r, &pki, &cert);
		up = registry_run(r);
	}
	assert(up);
	pki_cert_fini(&cert);
	pki_fini(&pki);
}

/* Push an archive ("oci-archive:/path"); options: "--all", "--format v2s2" or "". */
static inline void registry_push(struct registry_server *r, const char *source, const char *name, const char *options)
{
	assert(sh("skopeo copy -q %s --dest-authfile %s --dest-cert-dir %s/%s %s docker://%s/%s", options, r->auth_file,
		  r->certs_dir, r->host, source, r->host, name) == 0);
}

/* Where the registry keeps a blob. */
static inline void registry_blob_file(struct registry_server *r, const char *hex, char *buf, size_t size)
{
	snprintf(buf, size, "%s/storage/docker/registry/v2/blobs/sha256/%.2s/%s/data", r->dir, hex, hex);
}
