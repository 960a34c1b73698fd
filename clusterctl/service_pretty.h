/* service_pretty - a service as text for people. */
#pragma once
#include "proto/pb.h"

#include <stdio.h>

/* msg: a pb_service with its spec. */
void service_pretty(const void *msg, FILE *out);
/* What ExplainService found: per task, and per node that refused it. Pure. */
void explain_print(const Skein__ExplainServiceResponse *reply, FILE *out);
