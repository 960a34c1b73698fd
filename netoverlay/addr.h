/*
 * addr - addresses of this host's interfaces, read over rtnetlink.
 * Blocking (one dump, microseconds); opens and closes its own netlink socket. Any thread.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

struct error;

#define ADDR_TEXT_MAX 64

struct addr_entry {
	char interface[16];         /* IFNAMSIZ */
	char address[ADDR_TEXT_MAX]; /* "10.0.0.1", "fd00::1" */
	bool ipv6;
	bool usable;                /* global scope, not loopback, link up, not tentative or deprecated */
};

/* All addresses, in the kernel's order; the array is the caller's (free()). */
int addr_list(struct addr_entry **ret_entries, size_t *ret_n, struct error *err);

/*
 * Choose the address that peers can reach this host at.
 *   want  an address literal (must be one of ours), an interface name, or NULL/"": the only usable IPv4 address,
 *         else the source address of the default route
 *   Errors  ERR_INVALID names the candidates when the choice is not clear
 */
int addr_choose(const char *want, char ret_address[static ADDR_TEXT_MAX], struct error *err);

/* The pure part of it: entries given; default_source is the address of the default route's interface or NULL. */
int addr_choose_from(const struct addr_entry *entries, size_t n, const char *want, const char *default_source,
		     char ret_address[static ADDR_TEXT_MAX], struct error *err);
