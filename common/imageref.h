/*
 * imageref - image references: "[host[:port]/]path[:tag][@sha256:<hex>]", the grammar of the
 * distribution project. Used by clusterctl and the manager (validation) and by agents.
 */
#pragma once
struct error;

#define IMAGEREF_MAX 512

struct imageref {
	char host[256];      /* "docker.io" when none was given */
	char path[256];      /* "library/web" */
	char tag[129];       /* "latest" when neither tag nor digest was given; else "" if only a digest */
	char digest[72];     /* "sha256:<64 hex>" or "" */
};

/* Errors: ERR_INVALID with the value and what is accepted. (Fuzzed.) */
int imageref_parse(const char *s, struct imageref *ret, struct error *err);
/* "docker.io/library/web:latest[@sha256:...]" into buf. */
const char *imageref_format(const struct imageref *ref, char buf[static IMAGEREF_MAX]);
/* Short form as users know it: "web:latest". */
const char *imageref_familiar(const struct imageref *ref, char buf[static IMAGEREF_MAX]);
