/*
 * network_uses - which addresses of a network are in use, by whom, and how many are free. Pure.
 */
#pragma once
#include "proto/pb.h"

struct redact;
struct view;

/* Fill `uses` and `free`; what is new is allocated in `r`, the rest borrowed from the view. */
void network_uses(const struct view *v, const pb_network *network, struct redact *r,
		  Skein__NetworkResponse *response);
