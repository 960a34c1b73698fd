/* complete - what bash is told when the user presses TAB. */
#pragma once
#include "verbs.h"

#include <stdio.h>

struct ctl;

/* `clusterctl __complete WORD...`: the words so far, the last one incomplete; a candidate per line.
 */
int complete_run(struct ctl *ctl, int argc, char **argv);

/* What the words so far ask for. */
struct completion {
	struct strv words;	/* candidates that are known here */
	enum ctl_object object; /* names that only the cluster knows */
	char *prefix;		/* that candidates begin with */
};
/* Pure: from the table of verbs alone. */
void complete_words(int argc, char **argv, struct completion *ret);
void complete_fini(struct completion *c);
