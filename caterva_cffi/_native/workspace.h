/* Memory that a thread works in, kept from one call to the next. To allocate it, and to make a context
 * of Zstandard, would take longer than a small read.
 *
 * What is kept is bounded. One atomic exchange takes a workspace or gives it back. If a process forks
 * while one is in use, the child loses that one, and nothing else. */
#ifndef CATERVA_CFFI_WORKSPACE_H
#define CATERVA_CFFI_WORKSPACE_H

#include <stdint.h>

typedef struct {
  uint8_t *memory;
  int64_t size; /* bytes */
  uint8_t *stored; /* bytes that were read from a file */
  int64_t stored_size;
  void *zstd; /* a ZSTD_DCtx, or NULL */
} workspace;

/* Take one that was kept, or a new one; NULL without memory. */
workspace *cat_take_workspace(void);

/* Keep one for another call, or free it; NULL is fine. */
void cat_give_workspace(workspace *given);

/* Memory of at least `size` bytes, with undefined contents; NULL without memory. What was reserved
 * before is gone. */
uint8_t *cat_reserve(workspace *own, int64_t size);

/* The same for bytes that are read from a file; both can be used at once. */
uint8_t *cat_reserve_stored(workspace *own, int64_t size);

#endif
