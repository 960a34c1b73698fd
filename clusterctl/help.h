/* help - the texts made from the table of verbs: --help, man pages, completion. No request is sent
 * here. */
#pragma once
#include "verbs.h"

#include <stdio.h>

void help_program(FILE *out);
void help_noun(const struct noun *noun, FILE *out);
void help_verb(const struct verb *verb, FILE *out);
/* "clusterctl service create" */
char *help_command(const struct verb *verb);
/* Nearest noun or verb for a mistyped word; NULL when none is near. */
const char *help_nearest(const char *noun, const char *word);

/* Write clusterctl.1 and a page for every noun and verb. */
int man_write(const char *dir, struct error *err);

/* The script for `eval "$(clusterctl completion bash)"`. */
void complete_script(FILE *out);
