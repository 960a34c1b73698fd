/* probe - the smallest program there is, made at run time: it exits with PROBE_EXIT_CODE. */
#pragma once
#include <stddef.h>

#define PROBE_EXIT_CODE 42

/* A static ELF executable for this machine; ret_len its size. Static storage. */
const void *probe_program(size_t *ret_len);
