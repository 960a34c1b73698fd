/*
 * external_etcd - where an etcd that is not ours is found, and with which certificate.
 *
 * The first manager has it from its configuration; one that joins later gets it from another manager and keeps it
 * in <state>/manager/ (0600), so that it starts even when no other manager runs. Short blocking I/O.
 */
#pragma once
#include "common/str.h"
#include "proto/pb.h"

struct error;
struct manager_config;

struct external_etcd {
	struct strv endpoints;          /* empty: the etcd is ours */
	char *ca, *cert, *key;          /* files; NULL = none */
};

void external_etcd_fini(struct external_etcd *e);

/*
 * What the configuration names, or what an earlier external_etcd_save() kept.
 *   Errors  ERR_NOT_FOUND neither: the etcd is (to be) ours; ERR_INVALID the kept file is damaged
 */
int external_etcd_load(const struct manager_config *config, struct external_etcd *ret, struct error *err);

/* For another manager: endpoints and the contents of the files. */
int external_etcd_answer(const struct external_etcd *e, Skein__AddMemberResponse *response, struct error *err);

/*
 * Keep what another manager answered.
 *   Errors  ERR_INVALID no endpoint, or one that is not a URL; else of writing the files
 */
int external_etcd_save(const char *state_dir, const Skein__AddMemberResponse *response, struct error *err);
