/* lean.c -- see lean.h.
 *
 * Two thirds of an operator's resident memory would be code that ran once: the loader's work and the start of some thirty libraries (libcurl's, for TLS).
 * Such pages are the page cache's, unchanged; dropped, they come back by themselves, from there, if they are ever needed. */
#include "operator/lean.h"

#include <link.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#define MMAP_BYTES (64 << 10) /* larger allocations, texts of lists, are mappings: they go as they come, and leave no holes */

void ls_lean_start(void)
{
	mallopt(M_ARENA_MAX, 1); /* few allocations at once, and memory that stays flat */
	mallopt(M_MMAP_THRESHOLD, MMAP_BYTES);
	mallopt(M_TRIM_THRESHOLD, 2 * MMAP_BYTES);
}

/* Its code itself was changed by the loader: dropped, the changes would be lost. No library of a distribution is like that. */
static bool has_changed_code(const struct dl_phdr_info *object)
{
	for (int i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &object->dlpi_phdr[i];

		if (p->p_type != PT_DYNAMIC)
			continue;
		for (const ElfW(Dyn) *d = (const void *)(object->dlpi_addr + p->p_vaddr); d->d_tag != DT_NULL; d++)
			if (d->d_tag == DT_TEXTREL || (d->d_tag == DT_FLAGS && (d->d_un.d_val & DF_TEXTREL)))
				return true;
	}
	return false;
}

/* Only segments that never were writable: those that are made read-only after relocation (RELRO) belong to a writable one. The list of objects is
 * locked meanwhile. */
static int drop_code(struct dl_phdr_info *object, size_t size, void *arg)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);

	(void)size;
	(void)arg;
	if (has_changed_code(object))
		return 0;
	for (int i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *p = &object->dlpi_phdr[i];
		uintptr_t begin = (object->dlpi_addr + p->p_vaddr) & ~(page - 1), end = (object->dlpi_addr + p->p_vaddr + p->p_memsz + page - 1) & ~(page - 1);

		if (p->p_type == PT_LOAD && !(p->p_flags & PF_W))
			(void)madvise((void *)begin, end - begin, MADV_DONTNEED); /* refused (locked in memory): they stay */
	}
	return 0;
}

void ls_lean_rest(void)
{
	malloc_trim(0);
	dl_iterate_phdr(drop_code, NULL);
}
