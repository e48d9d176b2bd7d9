/* symbols.c -- see symbols.h. */
#include "core/symbols.h"

#include <dlfcn.h>
#include <string.h>

const char *ls_symbols(void *library, const char *const *names, size_t n, void *ret_table)
{
	size_t i;

	for (i = 0; i < n; i++) {
		void *at = dlsym(library, names[i]);

		if (!at)
			return names[i];
		memcpy((char *)ret_table + i * sizeof(at), &at, sizeof(at)); /* ISO C has no cast from object to function pointers */
	}
	return NULL;
}
