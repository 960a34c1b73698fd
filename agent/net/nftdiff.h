/*
 * nftdiff - listings of a table (nft list table) taken apart into its objects, and compared. Pure, any thread.
 * Objects are chains, maps and sets; their order does not count, nor do what operators put into "chain skein-user" and
 * objects that we do not know of.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct nftobjects {
	struct nftobject {
		char *name; /* "chain p_tcp_80" */
		char *body;
	} *v;
	size_t n;
};

/* A listing; text that is none gives no objects. */
void nftobjects_parse(const char *listing, struct nftobjects *ret);
void nftobjects_fini(struct nftobjects *o);
const struct nftobject *nftobjects_find(const struct nftobjects *o, const char *name);

/*
 * cb for each object of `want` that `have` lacks or has otherwise, and for those of `have` whose name begins like one of
 * our per-port chains and that should not be there. have NULL = lacks; want NULL = too many. Returns how many.
 */
typedef void (*nftdiff_cb)(void *data, const char *name, const char *want, const char *have);
size_t nftdiff(const struct nftobjects *want, const struct nftobjects *have, nftdiff_cb cb, void *data);

/* Chains that follow what is published: "chain p_...", "chain h_...", "chain v_...". */
bool nftdiff_ours(const char *name);

/*
 * Text to put before one that fills the host's table anew (in the same transaction): takes away the chains of ports that
 * an earlier agent left, and what refers to them. Yours.
 */
char *nftdiff_sweep(const struct nftobjects *have);
