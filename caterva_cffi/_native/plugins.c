/* Stand in for dlopen and popen in C-Blosc2, which would use them to find the plugin of a codec or filter
 * that it does not have: a number in a stranger's chunk must not load a library or start a process. */
#include <stddef.h>
#include <stdio.h>

void *cat_dlopen(const char *name, int flags);
FILE *cat_popen(const char *command, const char *mode);

void *cat_dlopen(const char *name, int flags) {
  (void)name, (void)flags;
  return NULL;
}

FILE *cat_popen(const char *command, const char *mode) {
  (void)command, (void)mode;
  return NULL;
}
