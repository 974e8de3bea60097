/* C-Blosc2's shuffle.c, compiled in its stead: it tells nobody which implementation it has chosen for
 * this processor. */
#include <shuffle.c>

const char *cat_shuffle_name(void);

const char *cat_shuffle_name(void) {
  init_shuffle_implementation();
  return host_implementation.name;
}
