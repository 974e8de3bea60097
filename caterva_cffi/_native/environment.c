/* Stands in for getenv in C-Blosc2, whose contexts let environment variables override what they are
 * given: a chunk would not have the codec, the blocks or the item size that its array says. */
#undef getenv /* before the header that declares it */
#include <stdlib.h>
#include <string.h>

char *cat_getenv(const char *name);

char *cat_getenv(const char *name) {
  static const char *const overrides[] = {
      "BLOSC_BLOCKSIZE", "BLOSC_BLOSC1_COMPAT", "BLOSC_CLEVEL",   "BLOSC_COMPRESSOR",
      "BLOSC_DELTA",     "BLOSC_NOLOCK",        "BLOSC_NTHREADS", "BLOSC_SHUFFLE",
      "BLOSC_SPLITMODE", "BLOSC_TYPESIZE",      "BTUNE_TRADEOFF"};
  if (getenv("CATERVA_CFFI_BLOSC_VARIABLES") == NULL) {
    for (size_t i = 0; i < sizeof overrides / sizeof *overrides; i++) {
      if (strcmp(name, overrides[i]) == 0) {
        return NULL;
      }
    }
  }
  return getenv(name);
}
