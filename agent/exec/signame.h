/* signame - signals by name or number, as in STOPSIGNAL of an image: "SIGTERM", "term", "15",
 * "SIGRTMIN+3". */
#pragma once
struct error;

/* Errors: ERR_INVALID with the value and what is accepted. */
int signame_parse(const char *s, int *ret_signum, struct error *err);
