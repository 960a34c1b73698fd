/* port_check - is an address free to listen on? Asked before a step that others would suffer from if it were not. */
#pragma once

struct error;

/*
 * "10.0.0.1:2377", "[::]:2377": literal addresses; a name is taken as free. Binds and closes at once.
 *   Errors  ERR_UNAVAILABLE it is taken, or not an address of this host
 */
int port_check(const char *address, struct error *err);
