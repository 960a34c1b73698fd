/* endpoints - what services get: virtual addresses and published ports. */
#pragma once

struct addresses;
struct plan;

/* Services in scope, those in networks where room came up, and, when ports came free, all that wait for something. */
void endpoints_plan(struct plan *p, struct addresses *a);
