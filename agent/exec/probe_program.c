#include "agent/exec/probe.h"

#include <elf.h>

#define BASE 0x400000

struct program {
	Elf64_Ehdr head;
	Elf64_Phdr segment;
	unsigned char code[16];
};

/* exit_group(42), nothing else: no libc, no loader, no file of the host is needed. */
static const struct program program = {
	.head =
		{
			.e_ident = {ELFMAG0, ELFMAG1, ELFMAG2, ELFMAG3, ELFCLASS64, ELFDATA2LSB,
				    EV_CURRENT},
			.e_type = ET_EXEC,
#if defined(__x86_64__)
			.e_machine = EM_X86_64,
#elif defined(__aarch64__)
			.e_machine = EM_AARCH64,
#else
#error "write the probe program for this architecture"
#endif
			.e_version = EV_CURRENT,
			.e_entry = BASE + offsetof(struct program, code),
			.e_phoff = offsetof(struct program, segment),
			.e_ehsize = sizeof(Elf64_Ehdr),
			.e_phentsize = sizeof(Elf64_Phdr),
			.e_phnum = 1,
		},
	.segment =
		{
			.p_type = PT_LOAD,
			.p_flags = PF_R | PF_X,
			.p_vaddr = BASE,
			.p_paddr = BASE,
			.p_filesz = sizeof(struct program),
			.p_memsz = sizeof(struct program),
			.p_align = 0x1000,
		},
#if defined(__x86_64__)
	.code = {0xbf, PROBE_EXIT_CODE, 0, 0, 0, /* mov edi, 42 */
		 0xb8, 231, 0, 0, 0,		 /* mov eax, SYS_exit_group */
		 0x0f, 0x05},			 /* syscall */
#else
	.code = {0x40, 0x05, 0x80, 0xd2,  /* mov x0, #42 */
		 0xc8, 0x0b, 0x80, 0xd2,  /* mov x8, #SYS_exit_group (94) */
		 0x01, 0x00, 0x00, 0xd4}, /* svc #0 */
#endif
};

const void *probe_program(size_t *ret_len)
{
	*ret_len = sizeof(program);
	return &program;
}
